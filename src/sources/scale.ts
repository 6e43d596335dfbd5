import { type Engine, TenfoldError, type Tensor } from "../gpu/index.js";
import { inspect, inspection, scaleByPower } from "../ops/index.js";

const LARGEST = 3.4028234663852886e38;
const LEAST = 2 ** -149;

/**
 * A result for x as the one for X = 2^exponent · x: `tensor` itself where the exponent is 0, else a new one in its place (`tensor` is
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
  using words = engine.tensor([4], new Uint32Array(4), { label: "inspection" });
  const scaled = engine.tensor(tensor.shape, null, { label: tensor.label });
  try {
    await engine.run((s) => {
      inspect(s, tensor, words);
      scaleByPower(s, tensor, exponent, { out: scaled });
    }, `${operation} ${what}`);
    checkRange(operation, what, inspection(await engine.read(words)).largest, exponent);
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

/** value · 2^exponent, in two steps: 2^exponent alone may leave f64. */
export const timesPower = (value: number, exponent: number): number => {
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
