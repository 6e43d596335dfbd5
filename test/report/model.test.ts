import { describe, expect, it } from "vitest";
import {
  type DecompositionData,
  errorsWithoutOne,
  errorWithout,
  flipped,
  type HostModel,
  imagesOf,
  type KruskalModel,
  leverages,
  namedArrays,
  ordered,
  sizesOf,
  type TuckerModel,
  termProducts,
  toggled,
  turned,
  unturned,
  type Values,
} from "../../src/report/model.js";
import fc from "../property.js";

/** Numbers between −1 and 1 that look random, the same every time. */
const noise = (seed: number) => {
  let state = seed * 2654435761 + 12345;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
};
const matrix = (rows: number, columns: number, next: () => number): Values => ({
  shape: [rows, columns],
  data: Float32Array.from({ length: rows * columns }, next),
});

function kruskal(shape: readonly number[], rank: number, seed: number): KruskalModel {
  const next = noise(seed);
  const factors = shape.map((extent) => matrix(extent, rank, next));
  for (const { data } of factors)
    for (let r = 0; r < rank; r++) {
      let square = 0;
      for (let at = r; at < data.length; at += rank) square += data[at]! ** 2;
      for (let at = r; at < data.length; at += rank) data[at]! /= Math.sqrt(square);
    }
  return { kind: "kruskal", weights: Float32Array.from({ length: rank }, (_, r) => 3 / (1 + r)), factors };
}

/** X̂, entry by entry in f64; without the components that are hidden. */
function full(model: HostModel, shape: readonly number[], hidden: readonly (readonly boolean[])[]): Float64Array {
  const size = shape.reduce((a, b) => a * b, 1);
  const placeOf = (at: number): number[] => {
    const out: number[] = [];
    for (const extent of [...shape].reverse()) {
      out.unshift(at % extent);
      at = Math.floor(at / extent);
    }
    return out;
  };
  if (model.kind === "kruskal")
    return Float64Array.from({ length: size }, (_, at) => {
      const place = placeOf(at);
      let sum = 0;
      for (let r = 0; r < model.weights.length; r++)
        if (!hidden[0]?.[r])
          sum += place.reduce(
            (product, i, n) => product * model.factors[n]!.data[i * model.weights.length + r]!,
            model.weights[r]!,
          );
      return sum;
    });
  const { core, factors } = model as TuckerModel;
  return Float64Array.from({ length: size }, (_, at) => {
    const place = placeOf(at);
    let sum = 0;
    core.data.forEach((value, from) => {
      let rest = from;
      let product = value;
      for (let n = core.shape.length - 1; n >= 0; n--) {
        const r = rest % core.shape[n]!;
        rest = Math.floor(rest / core.shape[n]!);
        if (hidden[n]?.[r]) product = 0;
        const factor = factors[n];
        product *= factor ? factor.data[place[n]! * core.shape[n]! + r]! : Number(place[n] === r);
      }
      sum += product;
    });
    return sum;
  });
}

const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.sqrt(Array.from(a, (value, at) => (value - b[at]!) ** 2).reduce((x, y) => x + y, 0));
const norm = (a: ArrayLike<number>): number => distance(a, new Float64Array(a.length));

/** What is measured of a model of X. */
function measured(
  model: HostModel,
  x: Float64Array,
  shape: readonly number[],
): Pick<DecompositionData, "model" | "relativeError" | "squaredNorm" | "products"> {
  const products =
    model.kind === "kruskal"
      ? {
          between: termProducts(model),
          withX: Float32Array.from(model.weights, (_, r) => {
            const alone = full(model, shape, [[...model.weights].map((__, s) => s !== r)]);
            return alone.reduce((sum, value, at) => sum + value * x[at]!, 0);
          }),
        }
      : null;
  return { model, products, squaredNorm: norm(x) ** 2, relativeError: distance(x, full(model, shape, [])) / norm(x) };
}

describe("a model without some of its components", () => {
  it("has the error of what is left, whatever is hidden: Kruskal", () => {
    const shape = [5, 4, 3];
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.nat(1000), fc.nat(31), (rank, seed, bits) => {
        const model = kruskal(shape, rank, seed);
        const next = noise(seed + 7);
        const x = full(model, shape, []).map((value) => value + 0.1 * next());
        const hidden = [Array.from({ length: rank }, (_, r) => !!(bits & (1 << r)))];
        const right = distance(x, full(model, shape, hidden)) / norm(x);
        expect(errorWithout(measured(model, x, shape), hidden)).toBeCloseTo(right, 5);
        const first = [Array.from({ length: rank }, (_, r) => r === 0)];
        const alone = distance(x, full(model, shape, first)) / norm(x);
        expect(errorsWithoutOne(measured(model, x, shape), 0)[0]).toBeCloseTo(alone, 5);
      }),
    );
  });

  it("has the error of what is left where terms nearly cancel, and the fit is exact", () => {
    const shape = [6, 5, 4];
    const model = kruskal(shape, 2, 3);
    // the second term is nearly the negative of the first
    for (const { data } of model.factors)
      for (let at = 0; at < data.length; at += 2) data[at + 1] = data[at]! + 0.01 * (at % 3);
    model.weights[1] = -model.weights[0]!;
    const x = full(model, shape, []);
    const data = measured(model, x, shape);
    expect(data.relativeError).toBe(0);
    expect(errorWithout(data, [[false, false]])).toBe(0);
    const right = distance(x, full(model, shape, [[false, true]])) / norm(x);
    expect(errorWithout(data, [[false, true]])! / right).toBeCloseTo(1, 4);
  });

  it("has the error of what is left: Tucker with orthonormal columns, one mode without a factor", () => {
    const shape = [4, 3, 2];
    const next = noise(5);
    const half = Math.SQRT1_2;
    const model: TuckerModel = {
      kind: "tucker",
      core: { shape: [2, 3, 2], data: Float32Array.from({ length: 12 }, next) },
      factors: [
        { shape: [4, 2], data: Float32Array.of(half, 0, half, 0, 0, half, 0, half) },
        null,
        { shape: [2, 2], data: Float32Array.of(half, half, half, -half) },
      ],
    };
    // what the factors do not span is the residual
    const outside = full(model, shape, []).map((value, at) => value + (at < 6 ? 0.3 : at < 12 ? -0.3 : 0));
    for (const hidden of [
      [[true, false], [], []],
      [
        [false, true],
        [false, false, true],
        [true, false],
      ],
    ]) {
      const right = distance(outside, full(model, shape, hidden)) / norm(outside);
      expect(errorWithout(measured(model, outside, shape), hidden)).toBeCloseTo(right, 5);
    }
    const data = measured(model, outside, shape);
    const none = [
      [false, false],
      [false, false, false],
      [false, false],
    ];
    expect(errorsWithoutOne(data, 1)[2]).toBeCloseTo(
      errorWithout(data, [none[0]!, [false, false, true], none[2]!])!,
      6,
    );
  });

  it("has no error that could be told where nothing was measured, and for cores", () => {
    const model = kruskal([3, 3], 2, 1);
    const data = { model, relativeError: 0.5, squaredNorm: 1, products: null };
    expect(errorWithout(data, [[true, false]])).toBeNull();
    expect(errorWithout(data, [[false, false]])).toBe(0.5);
    expect(errorWithout({ ...data, model: { kind: "train", cores: [] } }, [])).toBe(0.5);
  });
});

describe("a model that is turned", () => {
  it.each(["kruskal", "tucker"] as const)("is the same tensor: %s", (kind) => {
    const shape = [4, 3, 5];
    const model: HostModel =
      kind === "kruskal"
        ? kruskal(shape, 3, 9)
        : {
            kind,
            core: { shape: [2, 3, 2], data: Float32Array.from({ length: 12 }, noise(4)) },
            factors: [matrix(4, 2, noise(1)), null, matrix(5, 2, noise(2))],
          };
    let turn = unturned(model);
    turn = { ...turn, orders: turn.orders.map((order) => [...order].reverse()) };
    turn = kind === "kruskal" ? flipped(turn, 1, [0, 2]) : flipped(flipped(turn, 1, [0]), 0, [2]);
    const after = turned(model, turn);
    expect(distance(full(after, shape, []), full(model, shape, []))).toBeLessThan(1e-5);
    expect(namedArrays(after).map(([name]) => name)).toEqual(
      kind === "kruskal" ? ["weights", "factor_0", "factor_1", "factor_2"] : ["core", "factor_0", "factor_2"],
    );
    // one sign alone would be another tensor
    if (kind === "kruskal")
      expect(
        distance(full(turned(model, flipped(unturned(model), 1, [0])), shape, []), full(model, shape, [])),
      ).toBeGreaterThan(0.1);
  });

  it("is ordered by size, and back", () => {
    const model = { ...kruskal([3, 3], 3, 2), weights: Float32Array.of(1, -5, 3) };
    const turn = ordered(model, unturned(model), "size");
    expect(turn.orders).toEqual([[1, 2, 0]]);
    expect([...(turned(model, turn) as KruskalModel).weights]).toEqual([-5, 3, 1]);
    expect(ordered(model, turn, "as computed").orders).toEqual([[0, 1, 2]]);
    expect(toggled(toggled(turn, 0, 2), 0, 2)).toEqual(turn);
    const tucker: TuckerModel = {
      kind: "tucker",
      core: { shape: [2, 2], data: Float32Array.of(0, 1, 3, 4) },
      factors: [null, matrix(3, 2, noise(1))],
    };
    expect(sizesOf(tucker).map((of) => of.map((value) => value ** 2))).toEqual([
      [1, expect.closeTo(25, 10)],
      [expect.closeTo(9, 10), expect.closeTo(17, 10)],
    ]);
    expect(ordered(tucker, unturned(tucker), "size").orders).toEqual([
      [0, 1],
      [1, 0],
    ]);
  });
});

describe("images of components", () => {
  it("are outer products, or folded columns, and coarser where they are large", () => {
    const model = kruskal([3, 4, 5], 2, 6);
    const pair = imagesOf(model, { kind: "pair", modes: [1, 2] }, 64)!;
    expect([pair.rows, pair.columns, pair.images.length, pair.axis]).toEqual([4, 5, 2, 0]);
    expect(pair.images[1]![2 * 5 + 3]).toBeCloseTo(
      model.factors[1]!.data[2 * 2 + 1]! * model.factors[2]!.data[3 * 2 + 1]!,
      6,
    );
    const fold = imagesOf(model, { kind: "fold", mode: 1, rows: 2 }, 64)!;
    expect([fold.rows, fold.columns]).toEqual([2, 2]);
    expect([...fold.images[0]!]).toEqual([0, 1, 2, 3].map((i) => model.factors[1]!.data[2 * i]));
    expect(imagesOf(model, { kind: "fold", mode: 1, rows: 3 }, 64)).toBeNull();
    const small = imagesOf(model, { kind: "fold", mode: 1, rows: 2 }, 1)!;
    expect(small.images[0]![0]).toBeCloseTo(
      [0, 1, 2, 3].reduce((sum, i) => sum + model.factors[1]!.data[2 * i]! / 4, 0),
      5,
    );
  });

  it("of a Tucker model are the core times two factors", () => {
    const model: TuckerModel = {
      kind: "tucker",
      core: { shape: [2, 2, 3], data: Float32Array.from({ length: 12 }, noise(8)) },
      factors: [matrix(4, 2, noise(1)), matrix(5, 2, noise(2)), null],
    };
    const { rows, columns, images, axis } = imagesOf(model, { kind: "pair", modes: [1, 2] }, 64)!;
    expect([rows, columns, images.length, axis]).toEqual([5, 3, 2, 0]);
    const right = (r: number, i: number, j: number): number =>
      [0, 1].reduce((sum, a) => sum + model.core.data[r * 6 + a * 3 + j]! * model.factors[1]!.data[i * 2 + a]!, 0);
    expect(images[1]![4 * 3 + 2]).toBeCloseTo(right(1, 4, 2), 6);
  });
});

describe("leverages", () => {
  it("add up to the rank, and are none where columns are dependent", () => {
    const factor = matrix(9, 3, noise(3));
    const values = leverages(factor)!;
    expect(values.reduce((a, b) => a + b, 0)).toBeCloseTo(3, 6);
    expect(Math.min(...values)).toBeGreaterThan(0);
    const dependent = { shape: [4, 2], data: Float32Array.of(1, 2, 2, 4, 3, 6, 4, 8) };
    expect(leverages(dependent)).toBeNull();
  });
});
