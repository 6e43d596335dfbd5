import { KernelError } from "./errors.js";
import type { Params, ShaderSource } from "./kernel.js";

const RANGES = {
  u32: "a whole number from 0 to 2³² − 1",
  i32: "a whole number from −2³¹ to 2³¹ − 1",
  f32: "a finite number in the range of f32",
};

/** Writes params into the bytes that the shader's struct lays out. */
export function packParams(source: ShaderSource, params: Params): ArrayBuffer {
  const block = new ArrayBuffer(source.paramsSize);
  const views = { u32: new Uint32Array(block), i32: new Int32Array(block), f32: new Float32Array(block) };
  for (const { name, scalar, offset, length, stride } of source.params) {
    if (!(name in params)) continue;
    const value = params[name]!;
    const view = views[scalar];
    const values = typeof value === "number" ? [value] : value;
    const step = stride > 1 && length / stride === values.length ? stride : 1;
    if (values.length * step > length)
      throw new KernelError(
        [source.name],
        `${source.name}: param "${name}" holds ${length} values, given ${values.length}`,
      );
    values.forEach((item, index) => {
      const at = offset / 4 + index * step;
      view[at] = item;
      // a number that reads back as another one was no u32 or i32, or is too large
      if (!Number.isFinite(item) || (scalar === "f32" ? !Number.isFinite(view[at]) : view[at] !== item))
        throw new KernelError([source.name], `${source.name}: param "${name}" is ${item}, needs ${RANGES[scalar]}`);
    });
  }
  return block;
}

/** @internal The params of many dispatches in one buffer: its bytes, and where those of each dispatch begin. */
export interface PackedParams {
  bytes: Uint8Array<ArrayBuffer>;
  offsets: number[];
}

/** @internal Packs the params of dispatches one after the other; equal ones share their place. Places begin at multiples of `alignment`. */
export function packAll(
  dispatches: readonly { source: ShaderSource; params: Params }[],
  alignment: number,
): PackedParams {
  /** by their content */
  const places = new Map<string, { block: ArrayBuffer; offset: number }>();
  let end = 0;
  const offsets = dispatches.map(({ source, params }) => {
    const block = packParams(source, params);
    const content = `${block.byteLength}:${new Uint32Array(block).join()}`;
    let place = places.get(content);
    if (!place) {
      places.set(content, (place = { block, offset: end }));
      end += Math.ceil(block.byteLength / alignment) * alignment;
    }
    return place.offset;
  });
  const bytes = new Uint8Array(end);
  for (const { block, offset } of places.values()) bytes.set(new Uint8Array(block), offset);
  return { bytes, offsets };
}
