/** The arrays of a result, as `--out` writes them. */

import type { Numeric, NumericArray } from "../io/index.js";
import type { Method, Solution } from "../methods/index.js";
import { fitsF32 } from "../report/hostModel.js";
import { namedTensors, scaledParts } from "../tensors/files.js";
import { BlockTermTensor, TuckerTensor } from "../tensors/index.js";

export interface Saved {
  arrays: [name: string, array: NumericArray][];
  /** what was left out, and why */
  notes: string[];
}

/** The arrays of the result of a tensor that was divided by 2^exponent: those of the tensor itself. */
export async function savedArrays({ tensor }: Solution, { names = {} }: Method, exponent: number): Promise<Saved> {
  const parts = namedTensors(tensor);
  const scaled = scaledParts(tensor);
  const values = await tensor.engine.read(parts.map(([, part]) => part));
  const { identities, notes } = leftAlone(tensor);
  const arrays = parts.map(([name, { shape }], at): [string, NumericArray] => [
    name,
    { shape, data: scaled.includes(name) ? rescale(values[at]!, exponent) : values[at]! },
  ]);
  // identities stand among the factors, in the order of modes
  arrays.push(...identities);
  if (identities.length) arrays.sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
  const order = Object.keys(names);
  if (order.length) arrays.sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
  return { arrays: arrays.map(([name, array]) => [names[name] ?? name, array]), notes };
}

/** The values times 2^exponent: as f64 if a result is outside of f32's normal range, otherwise as f32. */
function rescale(values: Float32Array, exponent: number): Numeric {
  const exact = Float64Array.from(values, (value) => value * 2 ** exponent);
  return exact.every(fitsF32) ? Float32Array.from(exact) : exact;
}

/** The largest extent of a mode without a Tucker factor for which an identity matrix is written. */
const LARGEST_IDENTITY = 4096;

/** The identities of modes that a Tucker tensor leaves alone, as factors; large ones are left out. */
function leftAlone(tensor: Solution["tensor"]): { identities: [string, NumericArray][]; notes: string[] } {
  const tuckers: [prefix: string, tucker: TuckerTensor][] =
    tensor instanceof TuckerTensor
      ? [["", tensor]]
      : tensor instanceof BlockTermTensor
        ? tensor.blocks.map((block, g) => [`block_${g}_`, block])
        : [];
  const identities: [string, NumericArray][] = [];
  const notes: string[] = [];
  for (const [prefix, { shape, factors }] of tuckers)
    for (const [mode, factor] of factors.entries()) {
      if (factor) continue;
      const name = `${prefix}factor_${mode}`;
      if (shape[mode]! <= LARGEST_IDENTITY) identities.push([name, identity(shape[mode]!)]);
      else notes.push(`${name} is the identity of ${shape[mode]} and left out`);
    }
  return { identities, notes };
}

function identity(extent: number): NumericArray {
  const data = new Float32Array(extent * extent);
  for (let i = 0; i < extent; i++) data[i * (extent + 1)] = 1;
  return { shape: [extent, extent], data };
}
