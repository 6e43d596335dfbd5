/** Kernels of a chain put together, and the last one fitted to outputs, against sums over all indices in f64. */
import { describe, expect, it } from "vitest";
import { composeGrouped, composeKernels, type DenseKernel } from "../../src/nn/factorised/hostKernels.js";
import { Features, targetOf } from "../../src/nn/factorised/lastKernel.js";
import { Products } from "../../src/nn/factorised/products.js";
import { expectClose, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

const kernel = (
  inputs: number,
  outputs: number,
  size: [number, number],
  groups = 1,
  seed = inputs + 7 * outputs,
): DenseKernel => ({
  ...{ inputs, outputs, size, groups },
  weight: Float64Array.from(randomArray((outputs * inputs * size[0] * size[1]) / groups, seed)),
});

/** The weight of output o for input s at a tap, which is 0 across groups. */
function entry({ weight, inputs, outputs, groups, size }: DenseKernel, o: number, s: number, tap: number): number {
  const [into, from] = [outputs / groups, inputs / groups];
  const group = Math.floor(o / into);
  if (Math.floor(s / from) !== group) return 0;
  return weight[(o * from + s - group * from) * size[0] * size[1] + tap]!;
}

/** Two kernels as one, by its definition. */
function compose(first: DenseKernel, next: DenseKernel): DenseKernel {
  const [h1, w1] = first.size;
  const [h2, w2] = next.size;
  const [height, width] = [h1 + h2 - 1, w1 + w2 - 1];
  const out = new Float64Array(next.outputs * first.inputs * height * width);
  for (let o = 0; o < next.outputs; o++)
    for (let s = 0; s < first.inputs; s++)
      for (let m = 0; m < first.outputs; m++)
        for (let t2 = 0; t2 < h2 * w2; t2++)
          for (let t1 = 0; t1 < h1 * w1; t1++) {
            const [y, x] = [Math.floor(t1 / w1) + Math.floor(t2 / w2), (t1 % w1) + (t2 % w2)];
            out[((o * first.inputs + s) * height + y) * width + x]! += entry(next, o, m, t2) * entry(first, m, s, t1);
          }
  return { weight: out, inputs: first.inputs, outputs: next.outputs, groups: 1, size: [height, width] };
}

const chains: [name: string, parts: DenseKernel[]][] = [
  ["one convolution with groups", [kernel(6, 4, [3, 2], 2)]],
  ["vertical, horizontal", [kernel(5, 7, [3, 1]), kernel(7, 4, [1, 3])]],
  ["both depthwise, then 1×1", [kernel(3, 6, [2, 1], 3), kernel(6, 6, [1, 3], 6), kernel(6, 5, [1, 1])]],
  [
    "1×1, both depthwise, 1×1",
    [kernel(4, 5, [1, 1]), kernel(5, 5, [3, 1], 5), kernel(5, 5, [1, 2], 5), kernel(5, 3, [1, 1])],
  ],
  ["1×1, groups, 1×1", [kernel(5, 6, [1, 1]), kernel(6, 4, [3, 3], 2), kernel(4, 7, [1, 1])]],
  ["groups that do not fit into each other", [kernel(6, 6, [1, 1], 2), kernel(6, 9, [2, 2], 3)]],
  ["groups, then one group of them all", [kernel(4, 6, [2, 1], 2), kernel(6, 3, [1, 2])]],
];

describe.each(chains)("%s", (_, parts) => {
  it("are one kernel, on the host and on the GPU", async () => {
    using gpu = new Products(await testEngine(), 0);
    const expected = parts.slice(1).reduce(compose, compose(kernelOfOnes(parts[0]!.inputs), parts[0]!));
    expectClose((await composeKernels(parts)).weight, expected.weight, 1e-12);
    expectClose((await composeKernels(parts, gpu)).weight, expected.weight, 1e-6);
    const some = await composeGrouped(parts);
    expect([some.inputs, some.outputs, some.size]).toEqual([expected.inputs, expected.outputs, expected.size]);
  });
});

/** What gives its inputs. */
const kernelOfOnes = (channels: number): DenseKernel => ({
  weight: Float64Array.from({ length: channels ** 2 }, (_, e) => (e % (channels + 1) === 0 ? 1 : 0)),
  ...{ inputs: channels, outputs: channels, groups: 1, size: [1, 1] },
});

describe.each(chains.filter(([, parts]) => parts.length > 1 && parts.at(-1)!.groups === 1))("%s", (_, parts) => {
  it.each([false, true])("has the least error in the outputs once refitted (on the GPU: %s)", async (onGpu) => {
    const engine = await testEngine();
    using products = new Products(engine, onGpu ? 0 : undefined);
    const [first, last] = [parts[0]!, parts.at(-1)!];
    const { size } = await composeKernels(parts);
    const target = kernel(first.inputs, last.outputs, [size[0], size[1]], 1, 99);
    const side = first.inputs * size[0] * size[1];
    const samples = randomArray(3 * side * side, 5);
    const patches = new Float64Array(side * side);
    for (let n = 0; n < 3 * side; n++)
      for (let i = 0; i < side; i++)
        for (let j = 0; j < side; j++) patches[i * side + j]! += samples[n * side + i]! * samples[n * side + j]!;
    /** tr((W − Ŵ)·C·(W − Ŵ)ᵀ) */
    const errorOf = (weight: Float64Array | Float32Array): number => {
      const near = [...parts.slice(0, -1), { ...last, weight }].reduce(compose);
      let error = 0;
      for (let o = 0; o < last.outputs; o++)
        for (let i = 0; i < side; i++)
          for (let j = 0; j < side; j++) {
            const [a, b] = [o * side + i, o * side + j];
            error +=
              (target.weight[a]! - near.weight[a]!) * patches[i * side + j]! * (target.weight[b]! - near.weight[b]!);
          }
      return error;
    };
    const features = await Features.of(parts, await targetOf(target, patches, products, undefined), products);
    const tolerance = onGpu ? 1e-5 : 1e-10;
    expect(Math.abs((await features.error(last.weight)) / errorOf(last.weight) - 1)).toBeLessThan(tolerance);
    const best = await features.refit(0);
    const least = errorOf(best);
    expect(Math.abs((await features.error(best)) / least - 1)).toBeLessThan(tolerance);
    // no other weights do better
    for (const at of [0, 3, best.length - 1])
      for (const step of [-0.1, 0.1]) {
        const moved = Float64Array.from(best);
        moved[at]! += step * Math.hypot(...best);
        expect(errorOf(moved)).toBeGreaterThan(least);
      }
    if (last.size[0] * last.size[1] > 1) return;
    // terms are the products of a map's kernel and a weight
    const front = (await composeKernels(parts.slice(0, -1))).weight;
    const row = front.length / last.inputs;
    const energyOf = (weight: Float64Array | Float32Array): number =>
      Float64Array.from(weight).reduce((sum, w, e) => {
        const map = e % last.inputs;
        return sum + w * w * Math.hypot(...front.subarray(map * row, (map + 1) * row)) ** 2;
      }, 0);
    expect(Math.abs(features.termEnergy() / energyOf(last.weight) - 1)).toBeLessThan(tolerance);
    const bound = 0.6 * energyOf(best);
    const bounded = await features.refit(0, bound);
    expect(energyOf(bounded)).toBeLessThanOrEqual(bound * (1 + tolerance));
    expect(energyOf(bounded)).toBeGreaterThan(0.99 * bound);
    expect(errorOf(bounded)).toBeGreaterThan(least);
  });
});
