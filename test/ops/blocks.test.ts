import { describe, expect, it } from "vitest";
import { accumulate, diagonalBlocks, paste } from "../../src/ops/index.js";
import { unravel } from "../decompositions/planted.js";
import { evaluate, plainEngine, testEngine } from "../engine.js";
import fc from "../property.js";
import { randomArray } from "../reference.js";

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

describe.each([
  ["with its features", testEngine],
  ["without subgroups", plainEngine],
] as const)("on an adapter %s:", (_, open) => {
  it("paste writes a block where it belongs, and nothing else", async () => {
    const engine = await open();
    const axis = fc.tuple(fc.nat(4), fc.integer({ min: 1, max: 8 }), fc.nat(4));
    await fc.assert(
      fc.asyncProperty(fc.array(axis, { minLength: 1, maxLength: 5 }), async (axes) => {
        const starts = axes.map(([start]) => start);
        const sizes = axes.map(([, extent]) => extent);
        const shape = axes.map(([start, extent, more]) => start + extent + more);
        const [block, background] = [randomArray(size(sizes), 1), randomArray(size(shape), 2)];
        using x = engine.tensor(sizes, block);
        using out = engine.tensor(shape, background);
        await engine.run((s) => paste(s, x, out, starts));
        const expected = background.map((value, e) => {
          const at = unravel(e, shape).map((index, k) => index - starts[k]!);
          if (at.some((index, k) => index < 0 || index >= sizes[k]!)) return value;
          return block[at.reduce((flat, index, k) => flat * sizes[k]! + index, 0)]!;
        });
        expect([...(await engine.read(out))]).toEqual([...expected]);
      }),
      { numRuns: 20 },
    );
  });

  it("accumulate adds in place, and leaves a residual", async () => {
    const engine = await open();
    for (const n of [1, 7, 64, 260]) {
      const [a, b] = [randomArray(n, 1), randomArray(n, 2)];
      using x = engine.tensor([n], a);
      using sum = engine.tensor([n], b);
      using rest = engine.tensor([n], b);
      using mixed = engine.tensor([n], b);
      await engine.run((s) => {
        accumulate(s, x, sum);
        accumulate(s, x, rest, { beta: -1 });
        accumulate(s, x, mixed, { alpha: -0.5, beta: 2 });
      });
      const [sums, rests, mixes] = await engine.read([sum, rest, mixed]);
      for (let i = 0; i < n; i++) {
        expect(sums![i]).toBeCloseTo(a[i]! + b[i]!, 6);
        expect(rests![i]).toBeCloseTo(a[i]! - b[i]!, 6);
        expect(mixes![i]).toBeCloseTo(2 * b[i]! - 0.5 * a[i]!, 6);
      }
    }
  });

  it.each([
    { blocks: 3, widths: [2, 1] },
    { blocks: 2, widths: [2, null, 3] },
    { blocks: 4, widths: [null, null, 2, null, 1, 1] },
    { blocks: 2, widths: [1, 1, null, 1, 1, null, 1, 1] },
    { blocks: 1, widths: [3, 2] },
  ])("diagonalBlocks keeps, and adds, $blocks blocks of widths $widths", async ({ blocks, widths }) => {
    const engine = await open();
    const shape = widths.map((width) => (width ? width * blocks : 3));
    const [data, before] = [randomArray(size(shape), 1), randomArray(size(shape), 2)];
    const blockAt = (e: number): number | null => {
      const numbers = unravel(e, shape).flatMap((at, k) => (widths[k] ? [Math.floor(at / widths[k])] : []));
      return numbers.every((number) => number === numbers[0]) ? numbers[0]! : null;
    };
    using x = engine.tensor(shape, data);
    using sum = engine.tensor(shape, before);
    const only = blocks - 1;
    const [all, one] = await evaluate(engine, (s) => {
      diagonalBlocks(s, x, widths, { only, out: sum, add: true });
      return [diagonalBlocks(s, x, widths), diagonalBlocks(s, x, widths, { only })];
    });
    const added = await engine.read(sum);
    const expected = (keeps: (block: number | null) => boolean) =>
      Array.from(data, (value, e) => (keeps(blockAt(e)) ? value : 0));
    expect([...all!]).toEqual(expected((block) => block !== null));
    expect([...one!]).toEqual(expected((block) => block === only));
    for (let e = 0; e < data.length; e++)
      expect(added[e]).toBeCloseTo(before[e]! + (blockAt(e) === only ? data[e]! : 0), 6);
  });

  it("say what does not fit", async () => {
    const engine = await open();
    using x = engine.tensor([4, 6]);
    using small = engine.tensor([2, 2]);
    using many = engine.tensor([2, 1, 2, 1, 2, 1, 2, 1, 2]);
    const s = engine.scheduler();
    expect(() => paste(s, small, x, [3, 0])).toThrow("paste: tensor 2×2 does not fit into tensor 4×6 from 3, 0");
    expect(() => paste(s, small, x, [0])).toThrow(/does not fit/);
    expect(() => accumulate(s, small, x)).toThrow("accumulate: out is 4×6, expected 2×2");
    expect(() => diagonalBlocks(s, x, [2, 2])).toThrow(/widths 2, 2 of tensor 4×6, needs/);
    expect(() => diagonalBlocks(s, x, [2])).toThrow(/needs a width for each mode/);
    expect(() => diagonalBlocks(s, x, [2, null], { only: 2 })).toThrow("diagonalBlocks: block 2 of 2 in tensor 4×6");
    expect(() => diagonalBlocks(s, x, [2, 3], { add: true })).toThrow(/needs out/);
    expect(() => diagonalBlocks(s, many, [1, null, 1, null, 1, null, 1, null, 1])).toThrow(/9 axes.*at most 8/);
    s.destroy();
  });
});
