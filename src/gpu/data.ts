import { formatShape, ShapeError, TenfoldError } from "./errors.js";
import { shown } from "./options.js";
import { type DType, sizeOf, type TensorData, type TypedArray } from "./tensor.js";

/** The arrays of a dtype's elements. */
export const ARRAYS = {
  f32: Float32Array,
  u32: Uint32Array,
  i32: Int32Array,
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  f16: Uint16Array,
  bf16: Uint16Array,
};

/** A list of numbers or of lists, as something with a length and indices; null for a value that is neither. */
const listOf = (value: unknown): ArrayLike<unknown> | null => {
  if (Array.isArray(value)) return value;
  const numbers = ArrayBuffer.isView(value) && "length" in value && !/^Big/.test(value.constructor.name);
  return numbers ? (value as unknown as ArrayLike<unknown>) : null;
};

const NEEDS = "needs a typed array, a list of numbers, or lists in lists of the tensor's shape";

/** How to make numbers of data that is not taken, for an error. */
function adviceFor(data: unknown): string {
  if (data instanceof DataView || data instanceof ArrayBuffer) return "; new Float32Array(…) reads it as numbers";
  if (ArrayBuffer.isView(data)) return "; Float64Array.from(data, Number) makes numbers of it";
  return "";
}

/**
 * The elements of a tensor of this shape and dtype, in one typed array. Lists in lists need to be as the shape says.
 *
 * @param target how errors call the tensor
 * @throws ShapeError where there are more or fewer of them, TenfoldError where they are no numbers or the dtype cannot hold them
 */
export function elementsOf(
  operation: string,
  data: TensorData,
  shape: readonly number[],
  dtype: DType,
  target = formatShape(shape),
): TypedArray {
  const Wanted = ARRAYS[dtype];
  const size = sizeOf(shape);
  const top = listOf(data);
  if (!top) throw new TenfoldError(`${operation}: data is ${shown(data)}, ${NEEDS}${adviceFor(data)}`);
  const nested = Array.isArray(data) && data.length > 0 && listOf(data[0]) !== null;
  if (!nested && top.length !== size)
    throw new ShapeError(`${operation}: ${top.length} values given, ${target} needs ${size}`);
  if (data instanceof Wanted) return data;
  if (dtype === "f16" || dtype === "bf16")
    throw new TenfoldError(`${operation}: elements of ${dtype} are given as their bits, needs a Uint16Array`);
  const out = new Wanted(size);
  let at = 0;
  /** Copies a list of numbers behind those copied before; errors call it `place`. */
  const put = (numbers: ArrayLike<unknown>, place: string): void => {
    const start = at;
    at += numbers.length;
    if (Array.isArray(numbers))
      for (let index = 0; index < numbers.length; index++)
        if (typeof numbers[index] !== "number")
          throw new TenfoldError(`${operation}: ${place}[${index}] is ${shown(numbers[index])}, needs a number`);
    out.set(numbers as ArrayLike<number>, start);
    if (dtype === "f32") return;
    for (let index = 0; index < numbers.length; index++)
      if (out[start + index] !== numbers[index])
        throw new TenfoldError(
          `${operation}: ${place}[${index}] is ${shown(numbers[index])}, which ${dtype} does not hold`,
        );
  };
  const take = (row: unknown, depth: number, place: string): void => {
    const list = listOf(row);
    const extent = shape[depth];
    if (!list || list.length !== extent) {
      const has = list ? `has ${list.length} values` : `is ${shown(row)}`;
      const needs = extent === undefined ? "a number" : `${extent} values`;
      throw new ShapeError(`${operation}: ${place} ${has}, ${target} needs ${needs} there`);
    }
    if (depth === shape.length - 1) put(list, place);
    else for (let index = 0; index < extent; index++) take(list[index], depth + 1, `${place}[${index}]`);
  };
  if (nested) take(data, 0, "data");
  else put(top, "data");
  return out;
}
