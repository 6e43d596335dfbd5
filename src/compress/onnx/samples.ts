/** Calibration samples: read from arrays, checked against a model, split, and joined to batches. */
import { TenfoldError } from "../../gpu/index.js";
import { FormatError, type NumericArray, unravel } from "../../io/index.js";
import type { OnnxModel, OnnxValue } from "../../onnx/index.js";
import { toHalf } from "../../onnx/tensors.js";
import type { OnnxArray, OnnxFeeds } from "./session.js";

/** Typed arrays of onnxruntime's element types. */
export const ARRAYS: Readonly<Record<string, (data: ArrayLike<number>) => OnnxArray["data"]>> = {
  // as bits
  float16: (data) => Uint16Array.from(data, toHalf),
  float32: (data) => (data instanceof Float32Array ? data : Float32Array.from(data)),
  float64: (data) => Float64Array.from(data),
  int8: (data) => Int8Array.from(data),
  uint8: (data) => (data instanceof Uint8Array ? data : Uint8Array.from(data)),
  int16: (data) => Int16Array.from(data),
  uint16: (data) => Uint16Array.from(data),
  int32: (data) => (data instanceof Int32Array ? data : Int32Array.from(data)),
  uint32: (data) => Uint32Array.from(data),
  int64: (data) => BigInt64Array.from(Array.from(data, BigInt)),
  uint64: (data) => BigUint64Array.from(Array.from(data, BigInt)),
  bool: (data) => Uint8Array.from(data),
};

/**
 * Samples for `compressOnnx` of arrays by name, as a .npz file has them: one array for every input of the model, samples along the
 * first axis. Samples of different shapes go into several arrays, `NAME.0`, `NAME.1`, …; inputs with equal endings belong together.
 * Where the model has one input and there is one array, its name does not matter. An input without a first axis of samples, a
 * scalar of the model's, is the same for all.
 *
 * @throws FormatError where arrays are missing or do not fit the model
 */
export function samplesOf(
  model: OnnxModel,
  arrays: ReadonlyMap<string, NumericArray>,
  file = "calibration samples",
): OnnxFeeds[] {
  const { inputs } = model;
  const names = inputs.map(({ name }) => name);
  const groups = new Map<string, Map<string, NumericArray>>();
  for (const [key, array] of arrays) {
    // the longest name, because one input may be called like another with an ending
    const name =
      names.length === 1 && arrays.size === 1
        ? names[0]!
        : names.filter((one) => key === one || key.startsWith(`${one}.`)).sort((a, b) => b.length - a.length)[0];
    if (name === undefined)
      throw new FormatError(file, `has ${JSON.stringify(key)}, and the model's inputs are ${names.join(", ")}`);
    const ending = key.startsWith(`${name}.`) ? key.slice(name.length) : "";
    const group = groups.get(ending) ?? new Map<string, NumericArray>();
    groups.set(ending, group.set(name, array));
  }
  const samples: OnnxFeeds[] = [];
  for (const [ending, group] of groups) {
    const missing = names.find((name) => !group.has(name));
    if (missing !== undefined)
      throw new FormatError(
        file,
        `has no array ${missing}${ending}; the model's inputs are ${names.join(", ")}${names.length > 1 ? ", and a .npz has one array for each" : ""}`,
      );
    const counts = inputs.map((input) => countOf(input, group.get(input.name)!));
    const count = Math.max(...counts.map((one) => one ?? 1));
    for (const [at, one] of counts.entries())
      if (one !== null && one !== count)
        throw new FormatError(file, `${names[at]}${ending} has ${one} samples, and another array has ${count}`);
    for (let index = 0; index < count; index++)
      samples.push(
        Object.fromEntries(inputs.map((input) => [input.name, sampleAt(file, input, group.get(input.name)!, index)])),
      );
  }
  if (!samples.length) throw new FormatError(file, "has no samples");
  for (const [key, { data, shape }] of arrays) {
    const at = placeOfNaN(data);
    if (at >= 0)
      throw new FormatError(file, `${key}: entry [${unravel(at, shape).join(", ")}] is NaN, and samples need numbers`);
  }
  return samples;
}

/** Where the first NaN is; -1 where there is none, as in integers. Infinite entries may mask, and are taken. */
const placeOfNaN = (data: OnnxArray["data"] | NumericArray["data"]): number =>
  data instanceof Float32Array || data instanceof Float64Array ? data.findIndex(Number.isNaN) : -1;

/** Samples in an array for an input; null where it is one value for all. */
function countOf({ shape }: OnnxValue, array: NumericArray): number | null {
  if (shape && array.shape.length === shape.length - 1) return null;
  if (shape?.length === 0) return null;
  const batch = typeof shape?.[0] === "number" ? shape[0] : 1;
  return Math.floor((array.shape[0] ?? 0) / Math.max(batch, 1));
}

function sampleAt(file: string, input: OnnxValue, array: NumericArray, index: number): OnnxArray {
  const { name, dtype, shape } = input;
  const convert = ARRAYS[dtype];
  if (!convert)
    throw new FormatError(
      file,
      `input ${name} of the model is ${dtype}, which samples cannot be: compress the model with float32 inputs, and convert the result`,
    );
  const large = dtype === "float16" ? array.data.findIndex(isBeyondHalf) : -1;
  if (large >= 0)
    throw new FormatError(
      file,
      `${name}: entry [${unravel(large, array.shape).join(", ")}] is ${array.data[large]}, and the model takes float16, which ends at 65504`,
    );
  const wanted = shape?.map((extent) => extent ?? "?").join("×") ?? "unknown";
  const fits = (extents: readonly number[]): boolean =>
    !shape ||
    (extents.length === shape.length &&
      extents.every((extent, axis) => typeof shape[axis] !== "number" || shape[axis] === extent));
  if (countOf(input, array) === null) {
    // a value for all: the same shape, or without the batch of one
    const extents = shape && array.shape.length < shape.length ? [1, ...array.shape] : array.shape;
    if (!fits(extents)) throw new FormatError(file, `${name} is ${array.shape.join("×")}, the model takes ${wanted}`);
    return { dtype, shape: extents, data: convert(array.data) };
  }
  const batch = typeof shape?.[0] === "number" ? shape[0] : 1;
  const extents = [batch, ...array.shape.slice(1)];
  if (!fits(extents)) throw new FormatError(file, `${name} is ${array.shape.join("×")}, the model takes ${wanted}`);
  const size = extents.reduce((a, b) => a * b, 1);
  return { dtype, shape: extents, data: convert(array.data.subarray(index * size, (index + 1) * size)) };
}

/** Whether a finite number becomes infinite as float16. */
const isBeyondHalf = (value: number): boolean => Number.isFinite(value) && Math.abs(value) >= 65520;

/** Checks samples that a program hands in. */
export function checkSamples(model: OnnxModel, samples: readonly OnnxFeeds[]): void {
  for (const [at, feeds] of samples.entries())
    for (const { name, dtype } of model.inputs) {
      const array = feeds?.[name];
      const problem = !array
        ? "is missing"
        : array.dtype !== dtype
          ? `is ${array.dtype}, needs ${dtype}`
          : array.data?.length !== array.shape?.reduce((a, b) => a * b, 1)
            ? `has ${array.data?.length} entries, its shape ${array.shape?.join("×")} needs others`
            : placeOfNaN(array.data) >= 0
              ? `entry ${placeOfNaN(array.data)} is NaN, needs numbers`
              : null;
      if (problem) throw new TenfoldError(`compressOnnx: sample ${at}, input ${name}: ${problem}`, { code: "OPTION" });
    }
}

/** Whether several samples are all the same. */
export function areAlike([first, ...others]: readonly OnnxFeeds[]): boolean {
  const isFirst = (feeds: OnnxFeeds): boolean =>
    Object.entries(feeds).every(([name, { data }]) => {
      const same = first![name]!.data as Float32Array;
      return data.length === same.length && (data as Float32Array).every((value, at) => value === same[at]);
    });
  return others.length > 0 && others.every(isFirst);
}

/** Numbers from 0 to 1, the same ones for a seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A number of 32 bits that stands for a text or for bytes (FNV-1a). */
export function hashOf(content: string | Uint8Array, before = 0x811c9dc5): number {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  let hash = before;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash >>> 0;
}

/** Samples for the fits, for choices between plans, and for the last word. */
export interface SplitSamples {
  fit: OnnxFeeds[];
  choose: OnnxFeeds[];
  verify: OnnxFeeds[];
}

/**
 * Splits samples by a seed: a fifth each for choices and for the last word, at least one. Files are sorted by class, or alternate, so
 * they are drawn. Those for the fits are in the user's order: neighbours are more alike than others, and parts of them are held back from fits
 * together.
 *
 * @throws TenfoldError where there are fewer samples than parts
 */
export function splitSamples(samples: readonly OnnxFeeds[], verify: readonly OnnxFeeds[], seed: number): SplitSamples {
  const random = randomNumbers(seed);
  const order = samples.map((_, at) => at);
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  const taken = (places: readonly number[]): OnnxFeeds[] => places.map((at) => samples[at]!);
  const needed = verify.length ? 2 : 3;
  if (order.length < needed)
    throw new TenfoldError(
      `compressOnnx: ${order.length} sample${order.length === 1 ? "" : "s"}, needs ${needed} or more: one to fit, one to choose by${verify.length ? "" : ", one to verify with"}; 32 or more are wanted`,
      { code: "INPUT" },
    );
  const fifth = Math.max(1, Math.round(order.length / 5));
  const fit = order.slice(verify.length ? fifth : 2 * fifth).sort((a, b) => a - b);
  return {
    fit: taken(fit),
    choose: taken(order.slice(0, fifth)),
    verify: verify.length ? [...verify] : taken(order.slice(fifth, 2 * fifth)),
  };
}

/** Whether a model takes several samples at once: no input fixes the first extent. */
export const takesBatches = (model: OnnxModel): boolean =>
  model.inputs.every(({ shape }) => !!shape?.length && typeof shape[0] !== "number");

/** Neighbouring samples of equal shapes as one, at most `most` of them. */
export const batches = (samples: readonly OnnxFeeds[], most: number): OnnxFeeds[] =>
  batchGroups(samples, most).map(joined);

/** The samples of each batch. */
export function batchGroups(samples: readonly OnnxFeeds[], most: number): OnnxFeeds[][] {
  const groups = new Map<string, OnnxFeeds[]>();
  for (const feeds of samples) {
    const key = JSON.stringify(Object.entries(feeds).map(([name, { dtype, shape }]) => [name, dtype, shape]));
    groups.set(key, [...(groups.get(key) ?? []), feeds]);
  }
  return [...groups.values()].flatMap((group) =>
    Array.from({ length: Math.ceil(group.length / most) }, (_, at) => group.slice(at * most, (at + 1) * most)),
  );
}

/** The runs with samples of the most frequent shapes: a network takes samples of one shape. */
export function alike(runs: readonly OnnxFeeds[]): readonly OnnxFeeds[] {
  const kinds = new Map<string, OnnxFeeds[]>();
  for (const feeds of runs) {
    const kind = JSON.stringify(Object.entries(feeds).map(([name, { shape }]) => [name, shape.slice(1)]));
    const others = kinds.get(kind);
    if (others) others.push(feeds);
    else kinds.set(kind, [feeds]);
  }
  return [...kinds.values()].reduce((most, kind) => (kind.length > most.length ? kind : most));
}

export function joined(group: readonly OnnxFeeds[]): OnnxFeeds {
  if (group.length === 1) return group[0]!;
  return Object.fromEntries(
    Object.entries(group[0]!).map(([name, { dtype, shape, data }]) => {
      const Kind = data.constructor as new (
        length: number,
      ) => OnnxArray["data"] & { set(a: unknown, at: number): void };
      const all = new Kind(data.length * group.length);
      for (const [at, feeds] of group.entries()) all.set(feeds[name]!.data, at * data.length);
      return [name, { dtype, shape: [shape[0]! * group.length, ...shape.slice(1)], data: all }];
    }),
  );
}
