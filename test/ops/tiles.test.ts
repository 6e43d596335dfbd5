/** Arithmetic of tiles and cut sums; which of them an op takes on which adapter is in choices.test.ts. */
import { describe, expect, it } from "vitest";
import {
  arrange,
  evenRuns,
  gpuTile,
  type Lanes,
  laneBusyness,
  readsVectors,
  runsOf,
  splitSums,
  sumTeam,
  TILES,
  tallOf,
  thinOf,
  tileBusyness,
  tileOf,
  tileRows,
} from "../../src/ops/tiles.js";

const ENOUGH = 256;
const FOUR: Lanes = { count: 4, mostRuns: 2, vectorsAlongSum: false, enough: 64 };
const EIGHT: Lanes = { count: 8, mostRuns: 1, vectorsAlongSum: true, enough: 64 };

describe("a GPU's tile", () => {
  it("is large where there are enough of them, and thin for few columns", () => {
    const sizes = (rows: number, terms: number, columns: number, batch = 1) => {
      const { high, wide, thin } = gpuTile({ rows, columns, terms, batch }, ENOUGH);
      return thin ? ["thin", high, wide] : [high, wide];
    };
    expect(sizes(4096, 4096, 4096)).toEqual([128, 128]);
    expect(sizes(1024, 1024, 1024)).toEqual([64, 64]);
    expect(sizes(512, 512, 512)).toEqual([32, 32]);
    expect(sizes(256, 65536, 64)).toEqual([64, 64]);
    expect(sizes(30000, 784, 16)).toEqual(["thin", 128, 16]);
    expect(sizes(168_000, 28, 10)).toEqual(["thin", 256, 16]);
    expect(sizes(65536, 256, 20)).toEqual(["thin", 128, 32]);
    expect(sizes(10, 28, 28, 6000)).toEqual([32, 32]);
    expect(sizes(16, 30000, 16)).toEqual([16, 16]);
  });

  it("is larger on a GPU that fewer workgroups keep busy", () => {
    const side = (enough: number) => gpuTile({ rows: 1024, columns: 1024, terms: 1024 }, enough).high;
    expect([16, 256, 4096].map(side)).toEqual([128, 64, 32]);
  });

  it("has 256 invocations, whatever its shape", () => {
    for (const { tile } of TILES) {
      const { HIGH, WIDE, ROWS, COLUMNS, SLICES } = tile.constants as Record<string, number>;
      expect([tile.high, tile.wide]).toEqual([HIGH, WIDE]);
      expect((HIGH! / ROWS!) * (WIDE! / COLUMNS!) * SLICES!).toBe(tile === TILES[2]!.tile ? 64 : 256);
    }
    expect(tileOf([32, 16], [4, 2], 1, 8).constants).toEqual({
      ...{ HIGH: 32, WIDE: 16, ROWS: 4, COLUMNS: 2, SLICES: 1, TILE_K: 8 },
    });
    expect(thinOf(16, 8)).toEqual({ thin: true, high: 128, wide: 16, constants: { THIN: 16, SLICES: 8 } });
    expect([16, 32].map((THIN) => tallOf({ THIN, SLICES: 4 }))).toEqual([256, 128]);
  });
});

describe("a subgroup's tile", () => {
  it("has as few rows as cover the product in tiles of at most 16", () => {
    expect([1, 4, 5, 16, 17, 30, 33, 64].map(tileRows)).toEqual([4, 4, 8, 16, 12, 16, 12, 16]);
  });

  it("has two runs of columns where that is allowed, they lie in vec4s, and are many", () => {
    expect(runsOf(FOUR, true, 256, 256)).toBe(2);
    expect(runsOf(FOUR, false, 256, 256)).toBe(1);
    expect(runsOf(FOUR, true, 256, 124)).toBe(1);
    expect(runsOf(FOUR, true, 32, 128)).toBe(1);
    expect(runsOf(EIGHT, true, 256, 256)).toBe(1);
  });

  it("has the side in its lanes that wastes less", () => {
    const both = { natural: true, turned: true };
    expect(arrange(EIGHT, 4, 300, both)).toBe("natural");
    expect(arrange(EIGHT, 300, 4, both)).toBe("turned");
    expect(arrange(EIGHT, 64, 64, both)).toBe("natural");
    expect(arrange(EIGHT, 64, 64, { natural: false, turned: true })).toBe("turned");
  });
});

it("GPUs turn a product whose rows are the thin side", () => {
  const both = { natural: true, turned: true };
  expect(arrange(null, 16, 1000, both)).toBe("turned");
  expect(arrange(null, 1000, 16, both)).toBe("natural");
  expect(arrange(null, 16, 16, both)).toBe("natural");
});

it("operands are read as vec4s where their rows begin at multiples of 4, and along a sum by some", () => {
  const across = { acrossOutputs: true, extents: [8, 0] };
  const along = { acrossOutputs: false, extents: [8, 0] };
  expect([FOUR, EIGHT, null].map((lanes) => readsVectors(lanes, across))).toEqual([true, true, true]);
  expect([FOUR, EIGHT, null].map((lanes) => readsVectors(lanes, along))).toEqual([false, true, false]);
  expect(readsVectors(null, along, true)).toBe(true);
  expect(readsVectors(EIGHT, { acrossOutputs: true, extents: [8, 6] })).toBe(false);
});

it.each([null, FOUR, EIGHT])(
  "sums are split only where there is too little work at once or they are too long (%o)",
  (lanes) => {
    const split = (rows: number, columns: number, inner: number, outer = 1) => {
      const extents = { rows, columns, terms: inner * outer };
      const busy = lanes ? laneBusyness(lanes, extents) : tileBusyness(gpuTile(extents, ENOUGH), extents, ENOUGH);
      return splitSums(busy, inner, outer);
    };
    expect(split(1024, 1024, 1024)).toEqual({ inner: 1024, outer: 1, count: 1 });
    expect(split(1, 1, 100)).toEqual({ inner: 100, outer: 1, count: 1 });
    expect(split(2048, 2048, 512).count).toBe(1);
    expect(split(4, 4, 60_000).count).toBeGreaterThan(15);
    for (const [rows, columns, inner, outer] of [
      [1, 1, 1, 1],
      [3, 3, 977, 31],
      [4, 4, 5, 100_003],
      [512, 512, 100_000, 1],
    ] as const) {
      const { inner: innerChunk, outer: outerChunk, count } = split(rows, columns, inner, outer);
      expect(Math.ceil(inner / innerChunk) * Math.ceil(outer / outerChunk)).toBe(count);
      expect(innerChunk * outerChunk).toBeLessThan(8192);
      expect(innerChunk === inner || innerChunk % 4 === 0).toBe(true);
    }
  },
);

it("careful sums have about as many runs as each has terms", () => {
  expect(evenRuns(100, 1000)).toEqual({ inner: 12, outer: 1, count: 9 });
  expect(evenRuns(10_000, 1000)).toEqual({ inner: 628, outer: 1, count: 16 });
  expect(evenRuns(10_000, 3)).toEqual({ inner: 3336, outer: 1, count: 3 });
  expect(evenRuns(1, 0)).toEqual({ inner: 1, outer: 1, count: 1 });
});

it("invocations share long sums where they may", () => {
  expect([15, 16, 127, 128].map((terms) => sumTeam(terms, 16).SLICES)).toEqual([1, 4, 4, 16]);
  expect(sumTeam(1000, 1)).toEqual({ WIDTH: 64, SLICES: 1 });
  expect(sumTeam(1000, 4)).toEqual({ WIDTH: 256, SLICES: 4 });
});
