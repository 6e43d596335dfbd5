import { TenfoldError } from "../errors.js";

/**
 * A `.safetensors` file of f32 with its numbers rounded to bfloat16 (8 significant bits), which `readSafetensors` gives back as f32: half
 * the bytes, and fewer still when they are packed, as the digits that trained weights have beyond are noise.
 *
 * @throws TenfoldError where a tensor is not of f32
 */
export function toBf16(file: Uint8Array): Uint8Array {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const start = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, start))) as Record<
    string,
    { dtype?: string; data_offsets?: [number, number] }
  >;
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    if (entry.dtype !== "F32") throw new TenfoldError(`toBf16: tensor ${name} is ${entry.dtype}, needs F32`);
    entry.dtype = "BF16";
    entry.data_offsets = entry.data_offsets!.map((offset) => offset / 2) as [number, number];
  }
  // the header ends at a multiple of 8 bytes
  const text = JSON.stringify(header);
  const head = new TextEncoder().encode(
    text.padEnd(text.length + ((8 - (new TextEncoder().encode(text).length % 8)) % 8)),
  );
  const count = (file.length - start) / 4;
  const out = new Uint8Array(8 + head.length + 2 * count);
  const words = new DataView(out.buffer);
  words.setBigUint64(0, BigInt(head.length), true);
  out.set(head, 8);
  for (let index = 0; index < count; index++) {
    const bits = view.getUint32(start + 4 * index, true);
    // to the nearest, of two as near the even one
    const rounded = (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
    words.setUint16(8 + head.length + 2 * index, rounded, true);
  }
  return out;
}
