import shader from "../../shaders/to_float.wgsl?late";
import vectorsShader from "../../shaders/to_float_vectors.wgsl?late";
import { type DType, grid1d, Kernel, type Scheduler, ShapeError, sizeOf, type Tensor } from "../gpu/index.js";
import { bitsOf } from "./bits.js";
import { assertCall, assertShape } from "./shapes.js";

const grid = ({ size }: Readonly<Record<string, number>>, { WIDTH }: Readonly<Record<string, number>>) =>
  grid1d(size!, WIDTH!);
const kernel = new Kernel(shader, grid);
const vectors = new Kernel(vectorsShader, grid);
const KINDS = { u32: 0, i32: 1, u8: 2, i8: 3, u16: 4, i16: 5, f16: 6, bf16: 7 } as const;

/** How numbers are kept that the GPU's kernels read as f32. */
export type PackedFormat = keyof typeof KINDS;

/** Bytes that a number takes. */
export const PACKED_BYTES = { f32: 4, u32: 4, i32: 4, u8: 1, i8: 1, u16: 2, i16: 2, f16: 2, bf16: 2 } as const;

export interface ToFloatOptions {
  /** how the numbers are kept, where the tensor's dtype does not say: `x` has words of 32 bits then, the first number in the lowest bits */
  packed?: { format: PackedFormat; shape: readonly number[] };
  out?: Tensor | undefined;
}

/**
 * Integers, bytes or packed numbers as f32 of the same value (a byte from 0 to 255; `unpackBytes` gives 0 to 1), rounded to nearest.
 *
 * @throws ShapeError where `x` is f32 already, or has too few words for the numbers of `packed`
 */
export function toFloat(s: Scheduler, x: Tensor<DType>, { packed, ...options }: ToFloatOptions = {}): Tensor {
  assertCall("toFloat", s, { x });
  if (x.dtype === "f32") throw new ShapeError(`toFloat: ${x} is f32 already`);
  const { format, shape } = packed ?? { format: x.dtype, shape: x.shape };
  const bytes = sizeOf(shape) * PACKED_BYTES[format];
  if (x.bytes < bytes) throw new ShapeError(`toFloat: ${x} has ${x.bytes} bytes, needs ${bytes} for ${format}`);
  if (options.out) assertShape("toFloat", "out", options.out, shape);
  const out = options.out ?? s.tensor(shape, { label: x.label });
  const size = sizeOf(shape);
  const isInVectors = size % 4 === 0;
  s.run(
    (isInVectors ? vectors : kernel).with({ KIND: KINDS[format] }),
    { x: bitsOf(x), out: bitsOf(out) },
    { size: isInVectors ? size / 4 : size },
  );
  return out;
}
