import { dispose, Engine, ShapeError, TenfoldError, Tensor } from "../gpu/index.js";
import { inspect, inspection, scaleByPower, sumOfSquares, toFloat } from "../ops/index.js";

/** What a solver works on: X as f32, brought near 1 by a power of two, checked. */
export interface Prepared {
  /** the caller's tensor where nothing had to be changed, else a copy that `using` frees */
  readonly x: Tensor;
  /** X = 2^exponent · x */
  readonly exponent: number;
  /** ‖x‖² */
  readonly squaredNorm: number;
  /** the largest magnitude in x */
  readonly largest: number;
  /** whether every entry is 0 */
  readonly isZero: boolean;
  /** frees the copy, if one was made */
  [dispose](): void;
}

/**
 * Largest magnitudes from 2⁻¹⁰ to 2¹⁴ stay as they are. Solvers take Gram matrices of products X·Xᵀ·A: of 2³⁰ entries of 2¹⁴ those reach
 * 2¹¹⁶, and rounding errors beside entries of 2⁻¹⁰ are still seen at 2⁻⁹⁰, inside f32 either way. There a power of two changes no digit of
 * any result.
 */
const SAFE = [-10, 14] as const;
const LARGEST = 3.4028234663852886e38;
const LEAST = 2 ** -149;

/** Throws where a solver is not called with an engine and one of its tensors. */
export function checkCall(engine: Engine, operation: string, x: Tensor): void {
  const call = `call ${operation}(engine, tensor, options)`;
  if (!(engine instanceof Engine)) {
    const given = (engine as unknown) instanceof Tensor ? "a tensor" : nameOf(engine);
    throw new TenfoldError(`${operation}: the first argument is ${given}, needs an engine: ${call}`);
  }
  if (!(x instanceof Tensor))
    throw new TenfoldError(
      `${operation}: the second argument is ${nameOf(x)}, needs a tensor: ${call}, the tensor from engine.tensor(shape, data)`,
    );
  if (x.engine !== engine) throw new TenfoldError(`${operation}: ${x} belongs to another engine`);
  if (!x.storage.alive) throw new TenfoldError(`${operation}: ${x} was destroyed`);
  if (x.order === 0) throw new ShapeError(`${operation}: ${x} has order 0, needs at least one mode`);
}

function nameOf(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  return `an object (${value.constructor?.name ?? "Object"})`;
}

/**
 * Looks at X before a solver starts, in one pass over it and one readback. Integers and bytes become f32 of the same value. Entries
 * of 2¹⁵ and more, or all below 2⁻¹⁰, are multiplied by the power of two that brings the largest between 1 and 2, so that no square
 * overflows or vanishes; f(2ᵏX) is then 2ᵏ·f(X) exactly.
 *
 * @throws TenfoldError for what is no tensor of this engine, and for NaN and infinity: how many, and where the first is
 */
export async function prepare(engine: Engine, operation: string, x: Tensor): Promise<Prepared> {
  checkCall(engine, operation, x);
  const copies: Tensor[] = [];
  const copy = (): Tensor => {
    const made = engine.tensor(x.shape, null, { label: x.label });
    copies.push(made);
    return made;
  };
  using found = engine.tensor([4], new Uint32Array(4), { label: "inspection" });
  using norm = engine.tensor([1], null, { label: "squared norm" });
  try {
    const floats = x.dtype === "f32" ? x : copy();
    await engine.run((s) => {
      if (floats !== x) toFloat(s, x, { out: floats });
      inspect(s, floats, found);
      sumOfSquares(s, floats, { out: norm });
    }, `${operation} input`);
    const [words, squared] = await engine.read([found, norm]);
    const { notFinite, first, largest } = inspection(words!);
    if (first) {
      const entries = notFinite === 1 ? "1 entry that is" : `${notFinite} entries that are`;
      const where = `${notFinite === 1 ? "" : "the first "}${first.kind} at [${indexOf(first.index, x.shape).join(", ")}]`;
      throw new TenfoldError(
        `${operation}: ${x} has ${entries} not finite, ${where}; remove or replace ${notFinite === 1 ? "it" : "them"}`,
      );
    }
    const free = () => {
      for (const tensor of copies.splice(0)) tensor.destroy();
    };
    const exponent = largest ? Math.floor(Math.log2(largest)) : 0;
    if (exponent >= SAFE[0] && exponent <= SAFE[1])
      return { x: floats, exponent: 0, squaredNorm: squared![0]!, largest, isZero: largest === 0, [dispose]: free };
    const scaled = copy();
    await engine.run((s) => {
      scaleByPower(s, floats, -exponent, { out: scaled });
      sumOfSquares(s, scaled, { out: norm });
    }, `${operation} scaling`);
    const squaredNorm = (await engine.read(norm))[0]!;
    if (floats !== x) copies.splice(copies.indexOf(floats), 1)[0]!.destroy();
    return {
      x: scaled,
      exponent,
      squaredNorm,
      largest: timesPower(largest, -exponent),
      isZero: false,
      [dispose]: free,
    };
  } catch (error) {
    for (const tensor of copies) tensor.destroy();
    throw error;
  }
}

/**
 * What was found for x, as that of X = 2^exponent · x: `tensor` itself where the exponent is 0, else a new one in its place (`tensor` is
 * destroyed). Where it throws, `tensor` is left alone.
 *
 * @throws TenfoldError where the result is beyond the range of f32
 */
export async function restore(
  engine: Engine,
  operation: string,
  what: string,
  tensor: Tensor,
  exponent: number,
): Promise<Tensor> {
  if (exponent === 0) return tensor;
  using found = engine.tensor([4], new Uint32Array(4), { label: "inspection" });
  const scaled = engine.tensor(tensor.shape, null, { label: tensor.label });
  try {
    await engine.run((s) => {
      inspect(s, tensor, found);
      scaleByPower(s, tensor, exponent, { out: scaled });
    }, `${operation} ${what}`);
    checkRange(operation, what, inspection(await engine.read(found)).largest, exponent);
  } catch (error) {
    scaled.destroy();
    throw error;
  }
  tensor.destroy();
  return scaled;
}

/** The same for a few numbers that the host holds. */
export function restoreValues(
  operation: string,
  what: string,
  values: ArrayLike<number>,
  exponent: number,
): Float32Array {
  const largest = Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  checkRange(operation, what, largest, exponent);
  return Float32Array.from(values, (value) => timesPower(value, exponent));
}

/** In two steps, as 2^exponent itself may be beyond f64 when it is halved for values of f32's ends. */
const timesPower = (value: number, exponent: number): number => {
  const half = Math.trunc(exponent / 2);
  return value * 2 ** half * 2 ** (exponent - half);
};

function checkRange(operation: string, what: string, largest: number, exponent: number): void {
  const value = timesPower(largest, exponent);
  if (largest === 0 || (value <= LARGEST && value >= LEAST)) return;
  const [bound, advice] =
    value > LARGEST
      ? ["above 3.4e38, the largest f32", "divide X by a power of ten first, and multiply the result afterwards"]
      : ["below 1.4e-45, the least f32", "multiply X by a power of ten first, and divide the result afterwards"];
  throw new TenfoldError(
    `${operation}: the ${what} of the result would be ${value.toPrecision(3)}, ${bound}; ${advice}`,
  );
}

/** Multi-index of a flat index. */
function indexOf(flat: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  let rest = flat;
  for (const extent of [...shape].reverse()) {
    index.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  return index;
}
