import { describe, expect, it } from "vitest";
import { hosvd, stHosvd, type TuckerOptions, tuckerHOOI } from "../../src/decompositions/index.js";
import type { Tensor } from "../../src/gpu/index.js";
import type { TuckerTensor } from "../../src/tensors/index.js";
import { evaluate, testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { randomTucker } from "../tensors/models.js";
import { distance, plantedTucker } from "./planted.js";

const engine = await testEngine();
const SOLVERS = { hosvd, stHosvd, tuckerHOOI };
const errorOf = async (tensor: TuckerTensor, data: ArrayLike<number>): Promise<number> =>
  distance(data, await evaluate(engine, (s) => tensor.full(s)));

describe.each(Object.entries(SOLVERS))("%s of some modes", (name, solve) => {
  const shape = [9, 8, 7];
  const { data } = plantedTucker(shape, [9, 3, 2], 0.05, 4);

  it("leaves the others alone, by null, by full ranks and by modes alike", async () => {
    using x = engine.tensor(shape, data);
    const fulls: Float32Array[] = [];
    for (const options of [
      { ranks: [null, 3, 2] },
      { ranks: [9, 3, 2] },
      { ranks: [2, 3], modes: [2, 1] },
    ] as TuckerOptions[]) {
      const { tensor, relativeError } = await solve(engine, x, { ...options, sweeps: 30 });
      expect(tensor.factors[0]).toBeNull();
      expect(tensor.ranks).toEqual([9, 3, 2]);
      expect(relativeError).toBeLessThan(0.055);
      expect(Math.abs(relativeError - (await errorOf(tensor, data)))).toBeLessThan(1e-6);
      fulls.push(await evaluate(engine, (s) => tensor.full(s)));
      tensor.destroy();
    }
    expect(fulls[1]).toEqual(fulls[0]);
    expect(fulls[2]).toEqual(fulls[0]);
    const { tensor } = await solve(engine, x, { ranks: 2, modes: [0] });
    expect(tensor.ranks).toEqual([2, 8, 7]);
    tensor.destroy();
  });

  it.each([0.5, 0.2, 0.12])(
    "keeps the promised error %f by modes, at ranks no larger than needed",
    async (relativeError) => {
      using x = engine.tensor(shape, data);
      for (const modes of [[1], [1, 2], [0, 1, 2]]) {
        const { tensor, relativeError: reached } = await solve(engine, x, { relativeError, modes });
        expect(await errorOf(tensor, data)).toBeLessThanOrEqual(relativeError);
        expect(reached).toBeLessThanOrEqual(relativeError);
        for (const [mode, extent] of shape.entries())
          if (!modes.includes(mode)) expect(tensor.ranks[mode]).toBe(extent);
        if (relativeError === 0.12 && modes.length < 3)
          for (const mode of modes) expect(tensor.ranks[mode]).toBeLessThanOrEqual([9, 3, 2][mode]!);
        tensor.destroy();
      }
    },
  );

  it("answers zeros, and says what does not fit", async () => {
    using zeros = engine.tensor([3, 4, 2], new Float32Array(24));
    const { tensor } = await solve(engine, zeros, { relativeError: 0.1, modes: [1] });
    expect(tensor.ranks).toEqual([3, 1, 2]);
    tensor.destroy();
    const call = (options: object) => solve(engine, zeros, options as TuckerOptions);
    await expect(call({ ranks: [2], modes: [3] })).rejects.toThrow(`${name}: mode 3 of tensor 3×4×2, needs 0 to 2`);
    await expect(call({ ranks: [2, 2], modes: [0] })).rejects.toThrow(
      /2 ranks for .* one for each of the 1 modes listed/,
    );
    await expect(call({ ranks: [2, 2], modes: [0, 0] })).rejects.toThrow(
      /modes is \[0, 0\], needs a list of different modes/,
    );
    await expect(call({ ranks: [null, 0, 1] })).rejects.toThrow(/where null leaves a mode alone/);
    await expect(call({ ranks: [2, 2] })).rejects.toThrow(/2 ranks for .* its 3 modes/);
    if (name !== "tuckerHOOI")
      await expect(call({ ranks: 1, initialize: "random" })).rejects.toThrow(/is an option of tuckerHOOI/);
  });
});

describe("tuckerHOOI's start", () => {
  const shape = [9, 8, 7];
  const ranks = [3, 2, 2];

  it("may be random or the factors of another result, with the same end", async () => {
    const { data } = plantedTucker(shape, ranks, 0.1, 4);
    using x = engine.tensor(shape, data);
    const usual = await tuckerHOOI(engine, x, { ranks, tolerance: 1e-7 });
    for (const initialize of ["random", usual.tensor] as const) {
      const { tensor, relativeError, errors } = await tuckerHOOI(engine, x, { ranks, initialize, tolerance: 1e-7 });
      expect(Math.abs(relativeError - usual.relativeError)).toBeLessThan(2e-6);
      expect(Math.abs(relativeError - (await errorOf(tensor, data)))).toBeLessThan(1e-6);
      if (initialize !== "random") expect(Math.abs(errors[0]! - usual.relativeError)).toBeLessThan(2e-6);
      tensor.destroy();
    }
    usual.tensor.destroy();
  });

  it("need not have orthonormal columns, and is not changed", async () => {
    const { tensor: start } = randomTucker(engine, shape, ranks, 6);
    const before = await start.factors[0]!.read();
    using x: Tensor = engine.tensor(shape, randomArray(504, 3));
    const live = engine.memory().live;
    const result = await tuckerHOOI(engine, x, { ranks, initialize: start, sweeps: 40 });
    const usual = await tuckerHOOI(engine, x, { ranks, sweeps: 40 });
    // noise has many local minima, all about as good
    expect(Math.abs(result.relativeError - usual.relativeError)).toBeLessThan(0.03);
    for (const factor of result.tensor.factors) {
      const [rows, columns] = factor!.shape as [number, number];
      const data = await factor!.read();
      for (let r = 0; r < columns; r++)
        expect(Math.hypot(...Array.from({ length: rows }, (_, i) => data[i * columns + r]!))).toBeCloseTo(1, 5);
    }
    expect([...(await start.factors[0]!.read())]).toEqual([...before]);
    result.tensor.destroy();
    usual.tensor.destroy();
    expect(engine.memory().live).toBe(live);
    await expect(tuckerHOOI(engine, x, { ranks: 2, initialize: start })).rejects.toThrow(
      "initialize has shape 9×8×7 and ranks 3×2×2, needs 9×8×7 and 2×2×2",
    );
    await expect(tuckerHOOI(engine, x, { relativeError: 0.1, initialize: "random" })).rejects.toThrow(/by ranks/);
    start.destroy();
  });
});
