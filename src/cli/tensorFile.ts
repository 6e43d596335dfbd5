/** Reads the tensor that a command works on. */
import { formatShape } from "../gpu/index.js";
import { type NumericArray, readNpy, readNpz, unravel } from "../io/index.js";
import { readBytes } from "../node/files.js";
import { InputError } from "./context.js";
import { formatCount } from "./table.js";

export const LARGEST_F32 = 3.4028234663852886e38;

/** What the help texts say of the argument that {@link readTensor} reads. */
export const TENSOR_FILE = "the tensor: f2, f4, f8, integers or booleans, C or Fortran order";

/** A tensor as a command hands it to a solver. */
export interface TensorFile {
  shape: number[];
  /** the entries as f32, divided by 2^exponent so that the largest is between 1/2 and 1 */
  values: Float32Array;
  exponent: number;
}

/**
 * Reads a tensor from a NumPy file.
 *
 * @throws FileError and FormatError where it cannot be read, InputError where it has fewer than two modes, no entries, entries that are not
 * finite or beyond f32, or zeros alone
 */
export function readTensor(file: string): TensorFile {
  const array = readNpy(readBytes(file), file);
  const shape = [...array.shape];
  if (shape.length < 2) throw new InputError(`${file}: shape ${formatShape(shape)}, needs at least two modes`);
  const empty = shape.indexOf(0);
  if (empty >= 0) throw new InputError(`${file}: shape ${formatShape(shape)} has no entries, mode ${empty} is empty`);
  return { shape, ...toF32(file, array) };
}

/**
 * Reads a factor, a matrix in a NumPy file.
 *
 * @param shape what it needs: the extent of its mode by the rank
 * @throws InputError where it has another shape, or entries that f32 does not hold
 */
export const readFactor = (file: string, shape: readonly [extent: number, rank: number]): Float32Array =>
  factorOf(file, readNpy(readBytes(file), file), shape);

/**
 * Reads all factors of a CP model from the file that `tenfold decompose --out` writes.
 *
 * @throws InputError where one is missing, has another shape, or entries that f32 does not hold
 */
export function readFactors(file: string, shape: readonly number[], rank: number): Float32Array[] {
  const members = readNpz(readBytes(file), file);
  return shape.map((extent, mode) => {
    const name = `factor_${mode}`;
    const member = members.get(name);
    if (!member) throw new InputError(`${file}: no ${name}, needs one for each of ${shape.length} modes`);
    return factorOf(`${file}: ${name}`, member, [extent, rank]);
  });
}

function factorOf(
  name: string,
  { shape, data }: NumericArray,
  needed: readonly [extent: number, rank: number],
): Float32Array {
  if (formatShape(shape) !== formatShape(needed))
    throw new InputError(
      `${name}: shape ${formatShape(shape)}, needs ${formatShape(needed)}: a row for each index of the mode, a column for each term`,
    );
  const values = Float32Array.from(data);
  const wrong = values.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0)
    throw new InputError(`${name}: entry [${unravel(wrong, shape).join(", ")}] is ${data[wrong]}, needs an f32`);
  return values;
}

/**
 * The entries as f32, divided by 2^exponent so that the largest is between 1/2 and 1. Then squares neither overflow nor vanish,
 * and scaling by a power of two changes no digit.
 */
function toF32(file: string, { shape, data }: NumericArray): { values: Float32Array; exponent: number } {
  let largest = 0;
  let first = -1;
  let wrong = 0;
  for (let i = 0; i < data.length; i++) {
    const size = Math.abs(data[i]!);
    if (size <= LARGEST_F32) {
      if (size > largest) largest = size;
      continue;
    }
    if (!wrong++) first = i;
  }
  if (wrong) {
    const value = data[first]!;
    const others = wrong > 1 ? ` and ${formatCount(wrong - 1)} more are like it` : "";
    const problem = Number.isFinite(value) ? "beyond 3.4e38, the largest f32" : "not finite";
    throw new InputError(`${file}: entry [${unravel(first, shape).join(", ")}] is ${value}, ${problem}${others}`);
  }
  if (largest === 0) throw new InputError(`${file}: every entry is 0, there is nothing to decompose`);
  const exponent = Math.floor(Math.log2(largest)) + 1;
  // in two steps, because 2^-exponent may be too large for f64
  const half = Math.trunc(exponent / 2);
  const [one, two] = [2 ** -half, 2 ** -(exponent - half)];
  const values = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) values[i] = data[i]! * one * two;
  return { values, exponent };
}
