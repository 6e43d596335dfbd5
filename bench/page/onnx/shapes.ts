/** Shapes of a model's inputs, and random values for them. */
import type { OnnxFeeds } from "../../../src/compress/onnx/index.js";
import type { OnnxModel } from "../../../src/onnx/index.js";
import type { ModelInfo } from "./messages.js";

type Inputs = OnnxModel["inputs"];
export type Shapes = Readonly<Record<string, readonly number[]>>;

/** Inputs with an extent, beside the first, that the model leaves open. The first is the batch: 1. */
export const openInputs = (inputs: Inputs): string[] =>
  inputs.filter(({ shape }) => !shape?.slice(1).every((extent) => typeof extent === "number")).map(({ name }) => name);

/** `x=1x3x48x224`: a shape that may be written for an input. The model's extents stay; of pictures, sides are 224. */
export function exampleShape({ name, shape }: ModelInfo["inputs"][number]): string {
  const extents = shape ?? [null, 3, null, null];
  const open = extents.length === 4 ? 224 : 128;
  return `${name}=${extents.map((extent, axis) => (typeof extent === "number" ? extent : axis ? open : 1)).join("x")}`;
}

/** The shapes that are asked for, and those that the model has. */
export function extentsOf(inputs: Inputs, asked: Shapes): Record<string, readonly number[]> {
  const open = openInputs(inputs);
  const known = inputs.filter(({ name }) => !asked[name] && !open.includes(name));
  return {
    ...asked,
    ...Object.fromEntries(
      known.map(({ name, shape }) => [name, shape!.map((extent) => (typeof extent === "number" ? extent : 1))]),
    ),
  };
}

/** `x=1x3x48x320; mask=1x320` as shapes by name; with one input the name may be left out. Null where it is none. */
export function parseShapes(text: string, names: readonly string[]): Record<string, number[]> | null {
  const shapes: Record<string, number[]> = {};
  for (const part of text.split(";")) {
    if (!part.trim()) continue;
    const [, name = names.length === 1 ? names[0] : undefined, extents] =
      /^\s*(?:(.+?)\s*=)?\s*(\d+(?:\s*[x×,]\s*\d+)*)\s*$/.exec(part) ?? [];
    if (!extents || !name || !names.includes(name)) return null;
    const numbers = extents.split(/[x×,]/).map(Number);
    if (numbers.some((extent) => extent < 1)) return null;
    shapes[name] = numbers;
  }
  return shapes;
}

type Maker = (size: number, next: () => number) => OnnxFeeds[string]["data"];
const fill = <T extends { [at: number]: number | bigint; length: number }>(out: T, value: () => number | bigint): T => {
  for (let at = 0; at < out.length; at++) out[at] = value();
  return out;
};
/** whole numbers from 0 to 9: indices of a vocabulary stay within it */
const digit = (next: () => number) => Math.floor(10 * next());
const MAKERS: Readonly<Record<string, Maker>> = {
  float32: (size, next) => fill(new Float32Array(size), next),
  float64: (size, next) => fill(new Float64Array(size), next),
  int64: (size, next) => fill(new BigInt64Array(size), () => BigInt(digit(next))),
  uint64: (size, next) => fill(new BigUint64Array(size), () => BigInt(digit(next))),
  int32: (size, next) => fill(new Int32Array(size), () => digit(next)),
  uint32: (size, next) => fill(new Uint32Array(size), () => digit(next)),
  int16: (size, next) => fill(new Int16Array(size), () => digit(next)),
  uint16: (size, next) => fill(new Uint16Array(size), () => digit(next)),
  int8: (size, next) => fill(new Int8Array(size), () => digit(next)),
  uint8: (size, next) => fill(new Uint8Array(size), () => digit(next)),
  bool: (size, next) => fill(new Uint8Array(size), () => Number(next() < 0.5)),
};

/** One run of random inputs. */
export function randomFeeds(inputs: Inputs, shapes: Shapes): OnnxFeeds {
  let state = 20261129;
  const next = (): number => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  return Object.fromEntries(
    inputs.map(({ name, dtype }) => {
      const shape = shapes[name];
      if (!shape) throw new Error(`The shape of ${name} is open: say above what it is`);
      const make = MAKERS[dtype];
      if (!make) throw new Error(`${name} is ${dtype}, which random inputs cannot be: bring samples`);
      return [
        name,
        {
          dtype,
          shape,
          data: make(
            shape.reduce((a, b) => a * b, 1),
            next,
          ),
        },
      ];
    }),
  );
}
