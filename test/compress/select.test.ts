import { describe, expect, it } from "vitest";
import { type Candidate, selectRanks } from "../../src/compress/select.js";
import { timesOf } from "../../src/compress/time.js";
import fc from "../property.js";

const of = (weights: number, loss: number): Candidate => ({ weights, multiplications: 2 * weights, loss });

describe("selectRanks", () => {
  it("saves where the loss is least", () => {
    const layers = [
      [of(100, 0), of(50, 0.5), of(10, 0.9)],
      [of(100, 0), of(50, 0.01), of(10, 0.02)],
    ];
    expect(selectRanks(layers, { cost: "weights", ratio: 1 })).toEqual({ choice: [0, 0], reached: true });
    expect(selectRanks(layers, { cost: "weights", ratio: 1.8 })).toEqual({ choice: [0, 2], reached: true });
    expect(selectRanks(layers, { cost: "multiplications", ratio: 4 })).toEqual({ choice: [2, 2], reached: true });
    expect(selectRanks(layers, { cost: "weights", ratio: 20 })).toEqual({ choice: [2, 2], reached: false });
  });

  it("gives up no layer for the last percents of a target that is out of reach", () => {
    const layers = [
      [of(1000, 0), of(500, 0.2)],
      [of(20, 0), of(2, 0.9)],
    ];
    expect(selectRanks(layers, { cost: "weights", ratio: 100 })).toEqual({ choice: [1, 0], reached: false });
    expect(selectRanks(layers, { cost: "weights", ratio: 2 })).toEqual({ choice: [1, 1], reached: true });
    // 560 are more than 5 % above the least possible, 502
    const dearer = [layers[0]!, [of(60, 0), of(2, 0.9)]];
    expect(selectRanks(dearer, { cost: "weights", ratio: 100 })).toEqual({ choice: [1, 1], reached: false });
  });

  it("spends what the last step left over", () => {
    const layers = [
      [of(100, 0), of(20, 0.3)],
      [of(30, 0), of(10, 0.01)],
    ];
    // the second layer is reduced first; the first layer then saves more than is asked, so the second one comes back
    expect(selectRanks(layers, { cost: "weights", ratio: 2.5 })).toEqual({ choice: [1, 0], reached: true });
  });

  it("takes two steps at once where the first alone loses much for little", () => {
    const layers = [
      [of(100, 0), of(90, 0.5), of(10, 0.55)],
      [of(100, 0), of(50, 0.4), of(20, 0.9)],
    ];
    // step by step the second layer would go first, twice, and then the first step of the first layer: 1.4 lost
    expect(selectRanks(layers, { cost: "weights", ratio: 200 / 110 })).toEqual({ choice: [2, 0], reached: true });
  });

  it("leaves out what grows or loses more for nothing", () => {
    const layers = [[of(100, 0), of(130, 0.1), of(60, 0.5), of(60, 0.3), of(55, 0.2)]];
    expect(selectRanks(layers, { cost: "weights", ratio: 1.2 })).toEqual({ choice: [4], reached: true });
  });

  it("spends time where it saves most for what it loses, whatever the weights", () => {
    const timed = (time: number, weights: number, loss: number): Candidate => ({ ...of(weights, loss), time });
    const layers = [
      // a layer whose decomposition has fewer weights and is slower
      [timed(8, 100, 0), timed(9, 10, 0.01), timed(3, 50, 0.2)],
      [timed(2, 900, 0), timed(1, 20, 0.03)],
    ];
    expect(selectRanks(layers, { cost: "time", ratio: 1.1 })).toEqual({ choice: [0, 1], reached: true });
    expect(selectRanks(layers, { cost: "time", ratio: 2 })).toEqual({ choice: [2, 0], reached: true });
    expect(selectRanks(layers, { cost: "time", ratio: 2.5 })).toEqual({ choice: [2, 1], reached: true });
    expect(selectRanks(layers, { cost: "time", ratio: 3 }).reached).toBe(false);
  });

  it("needs a cost that was measured", () => {
    expect(() => selectRanks([[of(1, 0)]], { cost: "time", ratio: 2 })).toThrow("has no time");
    expect(() => selectRanks([[of(1, 0)]], { cost: "weights", ratio: 0.5 })).toThrow("×0.5, needs at least 1");
  });

  it("is within one step of the best of all choices", () => {
    const candidate = fc.record({
      weights: fc.integer({ min: 1, max: 90 }),
      loss: fc.double({ min: 0.01, max: 1, noNaN: true }),
    });
    const layer = fc
      .array(candidate, { minLength: 1, maxLength: 4 })
      .map((rest) => [of(100, 0), ...rest.map(({ weights, loss }) => of(weights, loss))]);
    fc.assert(
      fc.property(
        fc.array(layer, { minLength: 1, maxLength: 3 }),
        fc.double({ min: 1, max: 5, noNaN: true }),
        (layers, ratio) => {
          const { choice, reached } = selectRanks(layers, { cost: "weights", ratio });
          const sums = (indices: readonly number[]) => {
            const chosen = indices.map((index, at) => layers[at]![index]!);
            const total = (key: "weights" | "loss") => chosen.reduce((sum, candidate) => sum + candidate[key], 0);
            return { weights: total("weights"), loss: total("loss") };
          };
          let all: number[][] = [[]];
          for (const candidates of layers)
            all = all.flatMap((before) => candidates.map((_, index) => [...before, index]));
          const budget = (100 * layers.length) / ratio;
          const possible = all.map(sums).filter(({ weights }) => weights <= budget * (1 + 1e-12));
          expect(reached).toBe(possible.length > 0);
          if (!reached) return;
          const { weights, loss } = sums(choice);
          expect(weights).toBeLessThanOrEqual(budget * (1 + 1e-9));
          // a step of one layer loses at most the largest loss of any candidate
          const least = Math.min(...possible.map((sum) => sum.loss));
          const step = Math.max(...layers.flat().map((candidate) => candidate.loss));
          expect(loss).toBeLessThanOrEqual(least + step + 1e-9);
        },
      ),
    );
  });
});

describe("times of passes in turn", () => {
  it("are ratios to the first pass, also on a machine whose speed changes", () => {
    // the second pass takes half the time of the first, on a machine that becomes three times slower, then still slower
    const busy = [1, 1, 3, 3, 3, 4, 5, 6, 7];
    const first = busy.map((slowness) => 2 * slowness);
    // one turn of the second pass was disturbed
    const second = busy.map((slowness, round) => (round === 4 ? 50 : slowness));
    expect(timesOf([first, second])).toEqual([6, 3]);
    expect(timesOf([[4, 1, 9]])).toEqual([4]);
  });
});
