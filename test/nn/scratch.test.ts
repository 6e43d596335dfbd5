import { describe, expect, it } from "vitest";
import {
  BlockTermConv,
  CpConv,
  type Layer,
  SeparableBasisConv,
  SpatialConv,
  SvdLinear,
  TensorRingConv,
  TensorRingLinear,
  TensorTrainLinear,
  Tucker2Conv,
  Tucker2Conv3d,
  TuckerLinear,
} from "../../src/nn/index.js";
import { testEngine } from "../engine.js";
import { startLayers } from "./start.js";

type Start = "uniform" | "he";
interface Scratch {
  name: string;
  /** number of products that an output of the dense layer sums */
  terms: number;
  make: (start: Start) => Layer & { toDense(): Promise<Float32Array> };
}

const flat = { inputs: 16, outputs: 16, kernel: 3 };
const volume = { inputs: 12, outputs: 12, kernel: [2, 3, 2] as const };
const modes = { inputModes: [4, 8, 8], outputModes: [8, 8, 4] };

const layers: Scratch[] = [
  { name: "SVD", terms: 256, make: (start) => new SvdLinear({ inputs: 256, outputs: 256, rank: 64, start }) },
  { name: "tensor train", terms: 256, make: (start) => new TensorTrainLinear({ ...modes, ranks: 12, start }) },
  { name: "tensor ring", terms: 256, make: (start) => new TensorRingLinear({ ...modes, ranks: 8, start }) },
  {
    name: "Tucker",
    terms: 256,
    make: (start) => new TuckerLinear({ ...modes, ranks: [4, 6, 6, 6, 6, 4], start }),
  },
  {
    name: "Tucker of two modes",
    terms: 256,
    make: (start) => new TuckerLinear({ inputModes: [256], outputModes: [256], ranks: [48, 32], start }),
  },
  { name: "Jaderberg 2", terms: 144, make: (start) => new SpatialConv({ ...flat, rank: 32, start }) },
  { name: "Jaderberg 1", terms: 144, make: (start) => new SeparableBasisConv({ ...flat, rank: 6, start }) },
  { name: "CP", terms: 144, make: (start) => new CpConv({ ...flat, rank: 96, start }) },
  { name: "Tucker-2", terms: 144, make: (start) => new Tucker2Conv({ ...flat, ranks: [12, 14], start }) },
  { name: "Tucker-1", terms: 144, make: (start) => new Tucker2Conv({ ...flat, ranks: [16, 12], start }) },
  { name: "BTD", terms: 144, make: (start) => new BlockTermConv({ ...flat, blocks: 4, ranks: [5, 6], start }) },
  {
    name: "tensor ring convolution",
    terms: 144,
    make: (start) => new TensorRingConv({ ...flat, inputModes: [4, 4], outputModes: [4, 4], ranks: 8, start }),
  },
  { name: "Tucker-2 of volumes", terms: 144, make: (start) => new Tucker2Conv3d({ ...volume, ranks: [9, 10], start }) },
];

describe("random factors give a dense kernel with the variance of a dense layer's start", () => {
  it.each(layers)("$name", async ({ terms, make }) => {
    const engine = await testEngine();
    for (const start of ["uniform", "he"] as const) {
      const samples = Array.from({ length: 8 }, () => make(start));
      const arena = await startLayers(engine, samples, 3);
      let variance = 0;
      for (const layer of samples) {
        const weight = await layer.toDense();
        variance += weight.reduce((sum, value) => sum + value * value, 0) / weight.length / samples.length;
      }
      arena.destroy();
      const expected = (start === "he" ? 2 : 1 / 3) / terms;
      expect(variance / expected).toBeGreaterThan(0.8);
      expect(variance / expected).toBeLessThan(1.25);
    }
  });
});
