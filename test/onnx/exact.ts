/** Factors of full rank that give a layer's weights exactly: one-hot rows in a mixed order, scaled and scaled back. */
import type { OnnxFactor, OnnxReplacement, OnnxScheme, OnnxSite } from "../../src/onnx/index.js";

/** The schemes that a site can be written by. */
export function schemesOf({ kind, geometry, groups }: OnnxSite): OnnxScheme[] {
  if (kind === "dense") return ["lowRank", "whole"];
  const axes = geometry!.kernel.length;
  const split = !geometry!.outputShape;
  return [
    ...(["pointwiseFirst", "kernelFirst", "tucker2"] as const),
    ...(axes === 2 && split ? (["vertical", "horizontal"] as const) : []),
    ...(axes === 1 || split ? (["cp"] as const) : []),
    ...(groups === 1 ? (["blockTerm"] as const) : []),
    "whole",
  ];
}

/** A replacement of full rank. */
export async function exactReplacement(site: OnnxSite, scheme: OnnxScheme): Promise<OnnxReplacement> {
  return { site: site.id, scheme, factors: exactFactors(site, scheme, await site.weights()) };
}

/** Numbers from 0.5 to 2, different for neighbours. */
const scaleOf = (index: number): number => 0.5 + 1.5 * ((index * 0.618) % 1);
/** An order that is not the identity from three on. */
const mixed = (count: number): number[] =>
  Array.from({ length: count }, (_, i) => i).sort((a, b) => ((a * 7 + 3) % (count + 1)) - ((b * 7 + 3) % (count + 1)));

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** A factor whose entries are set by their indices: the channels, and the place in the kernel. */
class Factor implements OnnxFactor {
  readonly data: Float64Array;
  private readonly taps: number;
  constructor(readonly shape: readonly number[]) {
    this.data = new Float64Array(product(shape));
    this.taps = product(shape.slice(2));
  }
  set(output: number, input: number, tap: number, value: number): void {
    this.data[(output * this.shape[1]! + input) * this.taps + tap] = value;
  }
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

function exactFactors(site: OnnxSite, scheme: OnnxScheme, weights: Float32Array): OnnxFactor[] {
  const { groups } = site;
  const [outputs, inputs, ...kernel] = site.shape as [number, number, ...number[]];
  const one = kernel.map(() => 1);
  const taps = product(kernel);
  const perGroup = outputs / groups;
  const w = (o: number, i: number, tap: number): number => weights[(o * inputs + i) * taps + tap]!;
  const order = mixed(inputs);
  /** channel r of a group is the input order[r], scaled */
  const gather = (): Factor => {
    const first = new Factor([groups * inputs, inputs, ...one]);
    for (const g of range(groups)) for (const r of range(inputs)) first.set(g * inputs + r, order[r]!, 0, scaleOf(r));
    return first;
  };
  /** channel r of a group is the output outputOrder[r], scaled; `scatter` puts it back */
  const outputOrder = mixed(perGroup);
  const madeBy = (o: number): number => o - (o % perGroup) + outputOrder[o % perGroup]!;
  const scatter = (): Factor => {
    const last = new Factor([outputs, perGroup, ...one]);
    for (const o of range(outputs)) last.set(madeBy(o), o % perGroup, 0, 1 / scaleOf(o % perGroup));
    return last;
  };
  /** the kernel for the channels of `gather`, for the outputs or for what `scatter` takes */
  const core = (scattered: boolean): Factor => {
    const factor = new Factor([outputs, inputs, ...kernel]);
    for (const o of range(outputs))
      for (const r of range(inputs))
        for (const tap of range(taps)) {
          const value = w(scattered ? madeBy(o) : o, order[r]!, tap) / scaleOf(r);
          factor.set(o, r, tap, scattered ? scaleOf(o % perGroup) * value : value);
        }
    return factor;
  };
  switch (scheme) {
    case "lowRank":
    case "pointwiseFirst":
      return [gather(), core(false)];
    case "kernelFirst": {
      const first = new Factor([outputs, inputs, ...kernel]);
      for (const o of range(outputs))
        for (const i of range(inputs))
          for (const tap of range(taps)) first.set(o, i, tap, scaleOf(o % perGroup) * w(madeBy(o), i, tap));
      return [first, scatter()];
    }
    case "tucker2":
      return [gather(), core(true), scatter()];
    case "whole": {
      const factor = new Factor([outputs, inputs, ...kernel]);
      factor.data.set(weights);
      return [factor];
    }
    case "vertical":
    case "horizontal": {
      const [height, width] = kernel as [number, number];
      const vertical = scheme === "vertical";
      const [along, across] = vertical ? [height, width] : [width, height];
      // one channel for every input and place along the first axis
      const rank = inputs * along;
      const first = new Factor([groups * rank, inputs, ...(vertical ? [height, 1] : [1, width])]);
      const last = new Factor([outputs, rank, ...(vertical ? [1, width] : [height, 1])]);
      for (const i of range(inputs))
        for (const a of range(along)) {
          const r = i * along + a;
          for (const g of range(groups)) first.set(g * rank + r, i, a, scaleOf(r));
          for (const o of range(outputs))
            for (const b of range(across))
              last.set(o, r, b, w(o, i, vertical ? a * width + b : b * width + a) / scaleOf(r));
        }
      return [first, last];
    }
    case "cp": {
      // one term for every input and place of the kernel
      const rank = inputs * taps;
      const first = new Factor([groups * rank, inputs, ...one]);
      const last = new Factor([outputs, rank, ...one]);
      const along = kernel.map((extent, axis) => {
        const factor = new Factor([groups * rank, 1, ...kernel.map((_, other) => (other === axis ? extent : 1))]);
        const inner = product(kernel.slice(axis + 1));
        for (const r of range(groups * rank)) factor.set(r, 0, Math.floor((r % taps) / inner) % extent, 1);
        return factor;
      });
      for (const i of range(inputs))
        for (const tap of range(taps)) {
          const r = i * taps + tap;
          for (const g of range(groups)) first.set(g * rank + r, i, 0, scaleOf(r));
          for (const o of range(outputs)) last.set(o, r, 0, w(o, i, tap) / scaleOf(r));
        }
      return [first, ...along, last];
    }
    case "blockTerm": {
      // each block takes a part of the inputs, and gives all outputs
      const blocks = inputs % 2 ? 1 : 2;
      const taken = inputs / blocks;
      const middle = new Factor([blocks * outputs, taken, ...kernel]);
      const last = new Factor([outputs, blocks * outputs, ...one]);
      for (const b of range(blocks))
        for (const o of range(outputs)) {
          last.set(o, b * outputs + o, 0, 1);
          for (const i of range(taken))
            for (const tap of range(taps)) {
              const r = b * taken + i;
              middle.set(b * outputs + o, i, tap, w(o, order[r]!, tap) / scaleOf(r));
            }
        }
      return [gather(), middle, last];
    }
  }
}
