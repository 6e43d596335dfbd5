/** The vectors that a layer's weights are multiplied with, of its input as a run gives it. */
import type { OnnxSite } from "../../onnx/index.js";
import { floatsOfArray, type OnnxArray } from "./session.js";

/** Zeros before and after each spatial axis; those of SAME follow from the input's size. */
export function padsOf({ geometry }: OnnxSite, size: readonly number[]): { before: number[]; after: number[] } {
  const { kernel, strides, dilations, pads, autoPad } = geometry!;
  const before: number[] = [];
  const after: number[] = [];
  for (const [axis, extent] of kernel.entries()) {
    if (autoPad === "SAME_UPPER" || autoPad === "SAME_LOWER") {
      const reach = (extent - 1) * dilations[axis]! + 1;
      const outputs = Math.ceil(size[axis]! / strides[axis]!);
      const total = Math.max((outputs - 1) * strides[axis]! + reach - size[axis]!, 0);
      const less = Math.floor(total / 2);
      before.push(autoPad === "SAME_UPPER" ? less : total - less);
      after.push(autoPad === "SAME_UPPER" ? total - less : less);
    } else {
      before.push(pads?.[axis] ?? 0);
      after.push(pads?.[axis + kernel.length] ?? 0);
    }
  }
  return { before, after };
}

/** The patches of one input: how many there are, and a function that puts one into an array. */
export interface Patches {
  count: number;
  /** writes the patch of an index, less `shift`, from `at` on */
  write(index: number, out: Float32Array, at: number, shift: Float32Array): void;
}

/**
 * @param x the input of a dense layer or of a convolution, whose groups have patches each. A transposed convolution multiplies each place's channels with
 *   the weights of all taps, so these are its patches.
 */
export function patchesOf(site: OnnxSite, x: OnnxArray, group = 0): Patches {
  const values = floatsOfArray(x);
  const { geometry, inputAxis } = site;
  const inputs = site.shape[1]!;
  if (!geometry) {
    if (inputAxis === -1 || x.shape.length === 1)
      return {
        count: values.length / inputs,
        write(index, out, at, shift) {
          const from = index * inputs;
          for (let i = 0; i < inputs; i++) out[at + i] = values[from + i]! - shift[i]!;
        },
      };
    const columns = x.shape.at(-1)!;
    return {
      count: values.length / inputs,
      write(index, out, at, shift) {
        const from = Math.floor(index / columns) * inputs * columns + (index % columns);
        for (let i = 0; i < inputs; i++) out[at + i] = values[from + i * columns]! - shift[i]!;
      },
    };
  }
  const size = x.shape.slice(2);
  const [ones, zeros] = [1, 0].map((value) => size.map(() => value)) as [number[], number[]];
  const transposed = site.kind === "transposedConvolution";
  const { kernel, strides, dilations } = transposed ? { kernel: ones, strides: ones, dilations: ones } : geometry;
  const { before, after } = transposed ? { before: zeros, after: zeros } : padsOf(site, size);
  const outputs = kernel.map((extent, axis) => {
    const room = size[axis]! + before[axis]! + after[axis]! - (extent - 1) * dilations[axis]! - 1;
    return Math.max(0, Math.floor(room / strides[axis]!) + 1);
  });
  const positions = outputs.reduce((a, b) => a * b, 1);
  const plane = size.reduce((a, b) => a * b, 1);
  const steps = size.map((_, axis) => size.slice(axis + 1).reduce((a, b) => a * b, 1));
  const taps = kernel.reduce((a, b) => a * b, 1);
  // the place of each tap within the kernel, one list an axis
  const tapAt = kernel.map((extent, axis) => {
    const inner = kernel.slice(axis + 1).reduce((a, b) => a * b, 1);
    return Array.from({ length: taps }, (_, tap) => Math.floor(tap / inner) % extent);
  });
  const offsets = new Int32Array(taps);
  return {
    count: x.shape[0]! * positions,
    write(index, out, at, shift) {
      const sample = Math.floor(index / positions);
      offsets.fill(0);
      for (let axis = kernel.length - 1, left = index % positions; axis >= 0; axis--) {
        const start = (left % outputs[axis]!) * strides[axis]! - before[axis]!;
        left = Math.floor(left / outputs[axis]!);
        for (let tap = 0; tap < taps; tap++) {
          const place = start + tapAt[axis]![tap]! * dilations[axis]!;
          // outside of the input are zeros
          if (place < 0 || place >= size[axis]!) offsets[tap] = -1;
          else if (offsets[tap]! >= 0) offsets[tap]! += place * steps[axis]!;
        }
      }
      for (let channel = 0, to = at; channel < inputs; channel++) {
        const from = ((sample * site.groups + group) * inputs + channel) * plane;
        for (let tap = 0; tap < taps; tap++, to++) {
          const offset = offsets[tap]!;
          out[to] = (offset < 0 ? 0 : values[from + offset]!) - shift[to - at]!;
        }
      }
    },
  };
}
