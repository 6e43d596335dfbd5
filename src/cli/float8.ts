import { TenfoldError } from "../errors.js";

/** what entries of the trained LeNet's matrices are rounded to in the package, where their root mean square is 0.06 */
export const LENET_STEP = 2 ** -5;

/** the largest number of F8_E4M3 */
const LARGEST = 448;

/** The bits of the F8_E4M3 that is nearest to a number: a sign, 4 bits of exponent, 3 of mantissa (Micikevicius et al. 2022, arXiv:2209.05433). */
function bitsOf(value: number): number {
  const magnitude = Math.abs(value);
  // below 2^−6 numbers lie as far apart as above it
  const exponent = Math.max(-6, Math.floor(Math.log2(magnitude)));
  const steps = Math.round(magnitude / 2 ** (exponent - 3));
  // a mantissa that rounds up to the next power of two carries into the exponent
  return ((exponent + 6) * 8 + steps) | (value < 0 ? 0x80 : 0);
}

/**
 * A `.safetensors` file of f32 with its numbers rounded to floats of 8 bits (F8_E4M3: 4 significant bits), which `readSafetensors` gives back
 * as f32: a quarter of the bytes, and fewer still when they are packed. Entries of matrices are rounded to multiples of `step` before, so that
 * few different bytes are left of them, and they pack the smaller.
 *
 * @throws TenfoldError where a tensor is not of f32, or a number is beyond ±448
 */
export function toFloat8(file: Uint8Array, { step = 0 }: { step?: number } = {}): Uint8Array {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const start = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, start))) as Record<
    string,
    { dtype?: string; shape?: number[]; data_offsets?: [number, number] }
  >;
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    if (entry.dtype !== "F32") throw new TenfoldError(`toFloat8: tensor ${name} is ${entry.dtype}, needs F32`);
    entry.dtype = "F8_E4M3";
    entry.data_offsets = entry.data_offsets!.map((offset) => offset / 4) as [number, number];
  }
  // the header ends at a multiple of 8 bytes
  const text = JSON.stringify(header);
  const head = new TextEncoder().encode(
    text.padEnd(text.length + ((8 - (new TextEncoder().encode(text).length % 8)) % 8)),
  );
  const out = new Uint8Array(8 + head.length + (file.length - start) / 4);
  new DataView(out.buffer).setBigUint64(0, BigInt(head.length), true);
  out.set(head, 8);
  for (const { shape, data_offsets } of Object.values(header)) {
    const [first, end] = data_offsets ?? [0, 0];
    const isCoarse = step > 0 && shape?.length === 2;
    for (let index = first; index < end; index++) {
      const value = view.getFloat32(start + 4 * index, true);
      if (!(Math.abs(value) <= LARGEST)) throw new TenfoldError(`toFloat8: ${value}, needs numbers from −448 to 448`);
      out[8 + head.length + index] = bitsOf(isCoarse ? Math.round(value / step) * step : value);
    }
  }
  return out;
}
