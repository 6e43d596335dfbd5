import { describe, expect, it } from "vitest";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import { contract } from "../../src/ops/contract.js";
import { gram } from "../../src/ops/gram.js";
import { hadamard } from "../../src/ops/hadamard.js";
import { khatriRao } from "../../src/ops/khatriRao.js";
import { kronecker } from "../../src/ops/kronecker.js";
import { kruskalDifference, kruskalResidual, kruskalToTensor } from "../../src/ops/kruskal.js";
import { matmul as matmulOp } from "../../src/ops/matmul.js";
import { modeProduct } from "../../src/ops/modeProduct.js";
import { mttkrp, partialMttkrp } from "../../src/ops/mttkrp.js";
import { mttkrpFromPartial } from "../../src/ops/mttkrpFromPartial.js";
import { unfoldedProduct } from "../../src/ops/unfoldedProduct.js";
import { evaluate, expectClose, plainEngine, siblingEngine, testEngine } from "../engine.js";
import fc from "../property.js";
import * as products from "../reference/products.js";
import { matmul, randomArray } from "../reference.js";

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, extent) => product * extent, 1);

/** A random tensor and a random factor for every mode, on the CPU and on the GPU. */
function problem(engine: Engine, shape: readonly number[], rank: number) {
  const x = randomArray(sizeOf(shape), 11);
  const factors = shape.map((extent, mode) => randomArray(extent * rank, 20 + mode));
  return {
    x,
    factors,
    tx: engine.tensor(shape, x),
    tfactors: factors.map((factor, mode) => engine.tensor([shape[mode]!, rank], factor)),
    destroy(this: { tx: Tensor; tfactors: Tensor[] }) {
      for (const tensor of [this.tx, ...this.tfactors]) tensor.destroy();
    },
  };
}

const shapes: number[][] = [
  [5],
  [7, 1],
  [1, 6],
  [13, 17],
  [3, 5, 7],
  [1, 4, 1],
  [8, 12, 16],
  [31, 2, 29],
  [2, 3, 4, 5],
  [6, 1, 5, 1, 3],
  [3, 2, 2, 3, 2, 2],
  [2, 2, 3, 2, 2, 2, 2, 2, 3],
];
const many = [...shapes, [300, 9, 10], [3, 2000, 4], [5, 6, 1500], [64, 64, 64]];

describe("modeProduct", () => {
  it.each(many.map((shape) => [shape]))("in every mode of %j", async (shape) => {
    const engine = await testEngine();
    const x = randomArray(sizeOf(shape), 1);
    using tx = engine.tensor(shape, x);
    for (const size of [1, 6, 8]) {
      const matrices = shape.map((extent, mode) => randomArray(extent * size, 2 + mode));
      const straight = matrices.map((u, mode) => engine.tensor([size, shape[mode]!], u));
      const transposed = matrices.map((u, mode) => engine.tensor([shape[mode]!, size], u));
      const results = await evaluate(engine, (s) =>
        shape.flatMap((_, mode) => [
          modeProduct(s, tx, straight[mode]!, mode),
          modeProduct(s, tx, transposed[mode]!, mode, { transpose: true }),
        ]),
      );
      shape.forEach((_, mode) => {
        const expected = (transpose: boolean) => products.modeProduct(x, shape, matrices[mode]!, size, mode, transpose);
        expectClose(results[2 * mode]!, expected(false), 3e-6);
        expectClose(results[2 * mode + 1]!, expected(true), 3e-6);
      });
      for (const tensor of [...straight, ...transposed]) tensor.destroy();
    }
  });

  it("commutes between different modes", async () => {
    const engine = await testEngine();
    const extents = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(extents, fc.nat(), fc.nat(), fc.integer({ min: 1, max: 6 }), async (shape, p, q, size) => {
        const m = p % shape.length;
        const n = (m + 1 + (q % (shape.length - 1))) % shape.length;
        using x = engine.tensor(shape, randomArray(sizeOf(shape), p));
        using u = engine.tensor([size, shape[m]!], randomArray(size * shape[m]!, q));
        using v = engine.tensor([size + 1, shape[n]!], randomArray((size + 1) * shape[n]!, q + 1));
        const [one, other] = await evaluate(engine, (s) => [
          modeProduct(s, modeProduct(s, x, u, m), v, n),
          modeProduct(s, modeProduct(s, x, v, n), u, m),
        ]);
        expectClose(one!, other!, 1e-5);
      }),
      { numRuns: 25, seed: 7 },
    );
  });

  it("says what does not fit", async () => {
    const engine = await testEngine();
    using x = engine.tensor([3, 4, 5]);
    using u = engine.tensor([2, 3]);
    using s = engine.scheduler();
    expect(() => modeProduct(s, x, u, 1)).toThrow("modeProduct (mode 1): the matrix is 2×3, expected 2×4");
    expect(() => modeProduct(s, x, u, 3)).toThrow("modeProduct: mode 3 of a tensor of shape 3×4×5, needs 0 to 2");
  });
});

describe("mttkrp", () => {
  it.each(many.filter((shape) => shape.length > 1).map((shape) => [shape]))("in every mode of %j", async (shape) => {
    const engine = await testEngine();
    for (const rank of [1, 7, 16]) {
      const operands = problem(engine, shape, rank);
      const results = await evaluate(engine, (s) =>
        shape.map((_, mode) => mttkrp(s, operands.tx, operands.tfactors, mode)),
      );
      shape.forEach((_, mode) => {
        expectClose(results[mode]!, products.mttkrp(operands.x, shape, operands.factors, rank, mode), 3e-6);
      });
      operands.destroy();
    }
  });

  it("is the unfolding times the Khatri-Rao product", async () => {
    const engine = await testEngine();
    const extents = fc.tuple(...[1, 2, 3].map(() => fc.integer({ min: 1, max: 14 })));
    await fc.assert(
      fc.asyncProperty(extents, fc.integer({ min: 1, max: 9 }), fc.nat(2), async (shape, rank, mode) => {
        const operands = problem(engine, shape, rank);
        const [first, second] = operands.tfactors.filter((_, other) => other !== mode) as [Tensor, Tensor];
        const [fused, kr] = await evaluate(engine, (s) => [
          mttkrp(s, operands.tx, operands.tfactors, mode),
          khatriRao(s, first, second),
        ]);
        const unfolded = products.unfold(operands.x, shape, mode);
        expectClose(fused!, matmul(unfolded, kr!, shape[mode]!, unfolded.length / shape[mode]!, rank), 1e-5);
        operands.destroy();
      }),
      { numRuns: 25, seed: 8 },
    );
  });

  it("reads the tensor once, stores nothing of its size, and a sweep of order 3 reads it twice", async () => {
    const engine = await testEngine();
    const shape = [24, 20, 28];
    const operands = problem(engine, shape, 8);
    const s = engine.scheduler();
    const [, b, c] = operands.tfactors as [Tensor, Tensor, Tensor];
    const m0 = mttkrp(s, operands.tx, operands.tfactors, 0);
    const partial = partialMttkrp(s, operands.tx, operands.tfactors, [1, 3]);
    const m1 = mttkrpFromPartial(s, partial, [b, c], [1, 3], 1);
    const m2 = mttkrpFromPartial(s, partial, [b, c], [1, 3], 2);
    const schedule = await s.compile();
    expect(schedule.reads(operands.tx)).toBe(2);
    engine.submit(schedule);
    const results = await engine.read([m0, m1, m2]);
    results.forEach((result, mode) => {
      expectClose(result, products.mttkrp(operands.x, shape, operands.factors, 8, mode), 3e-6);
    });
    schedule.destroy();
    operands.destroy();
  });

  it("says which factor does not fit", async () => {
    const engine = await testEngine();
    using x = engine.tensor([30, 40, 5]);
    using a = engine.tensor([30, 5]);
    using c = engine.tensor([5, 5]);
    using s = engine.scheduler();
    expect(() => mttkrp(s, x, [a, a, a], 1)).toThrow("mttkrp (mode 1): factor 2 is 30×5, expected 5×5");
    expect(() => mttkrp(s, x, [a, c], 1)).toThrow("mttkrp (mode 1): 2 factors for a tensor of shape 30×40×5");
  });
});

describe("partialMttkrp and what follows it", () => {
  it.each(many.filter((shape) => shape.length > 1).map((shape) => [shape]))("over every range of %j", async (shape) => {
    const engine = await testEngine();
    const rank = 5;
    const operands = problem(engine, shape, rank);
    const order = shape.length;
    const ranges = shape.flatMap((_, start) =>
      Array.from({ length: order - start }, (_, length): [number, number] => [start, start + length + 1]).filter(
        ([from, to]) => to - from < order,
      ),
    );
    // every range would take long: about nine of them, spread out
    const chosen = ranges.filter((_, index) => index % Math.ceil(ranges.length / 9) === 0);
    const results = await evaluate(engine, (s) =>
      chosen.flatMap(([start, stop]) => {
        const partial = partialMttkrp(s, operands.tx, operands.tfactors, [start, stop]);
        const rangeFactors = operands.tfactors.slice(start, stop);
        const rest = rangeFactors.map((_, index) =>
          mttkrpFromPartial(s, partial, rangeFactors, [start, stop], start + index),
        );
        return [partial, ...rest];
      }),
    );
    let at = 0;
    for (const [start, stop] of chosen) {
      const expected = products.partialMttkrp(operands.x, shape, operands.factors, rank, start, stop);
      expectClose(results[at++]!, expected, 3e-6);
      for (let mode = start; mode < stop; mode++)
        expectClose(results[at++]!, products.mttkrp(operands.x, shape, operands.factors, rank, mode), 3e-6);
    }
    operands.destroy();
  });
});

describe("unfoldedProduct", () => {
  it.each(many.map((shape) => [shape]))("in every mode of %j", async (shape) => {
    const engine = await testEngine();
    const x = randomArray(sizeOf(shape), 1);
    using tx = engine.tensor(shape, x);
    const sizes = [1, 5];
    const others = shape.flatMap((_, mode) =>
      sizes.map((size) => {
        const shapeY = shape.map((extent, index) => (index === mode ? size : extent));
        return { mode, shapeY, y: randomArray(sizeOf(shapeY), 3 + mode) };
      }),
    );
    const tys = others.map(({ shapeY, y }) => engine.tensor(shapeY, y));
    const results = await evaluate(engine, (s) => [
      ...others.map(({ mode }, index) => unfoldedProduct(s, tx, tys[index]!, mode)),
      ...shape.map((_, mode) => unfoldedProduct(s, tx, tx, mode)),
    ]);
    const expected = (y: ArrayLike<number>, shapeY: readonly number[], mode: number) =>
      products.timesTransposed(
        products.unfold(x, shape, mode),
        products.unfold(y, shapeY, mode),
        sizeOf(shape) / shape[mode]!,
      );
    others.forEach(({ mode, shapeY, y }, index) => {
      expectClose(results[index]!, expected(y, shapeY, mode), 3e-6);
    });
    shape.forEach((extent, mode) => {
      if (extent <= 300) expectClose(results[others.length + mode]!, expected(x, shape, mode), 3e-6);
    });
    for (const tensor of tys) tensor.destroy();
  });
});

describe("the small products", () => {
  const matrices: [number, number][] = [
    [1, 1],
    [5, 1],
    [1, 7],
    [13, 11],
    [1000, 6],
    [17, 40],
  ];

  it.each(matrices)("gram, hadamard of %i×%i", async (rows, columns) => {
    const engine = await testEngine();
    const [a, b] = [randomArray(rows * columns, 1), randomArray(rows * columns, 2)];
    using ta = engine.tensor([rows, columns], a);
    using tb = engine.tensor([rows, columns], b);
    const [grams, hadamards] = await evaluate(engine, (s) => [gram(s, ta), hadamard(s, ta, tb)]);
    expectClose(grams!, matmul(a, a, columns, rows, columns, { transposeA: true }), 3e-6);
    expectClose(
      hadamards!,
      Array.from(a, (value, e) => value * b[e]!),
      1e-7,
    );
  });

  it.each(matrices)("khatriRao, kronecker of %i×%i with others", async (rows, columns) => {
    const engine = await testEngine();
    const a = randomArray(rows * columns, 1);
    const b = randomArray(3 * columns, 2);
    using ta = engine.tensor([rows, columns], a);
    using tb = engine.tensor([3, columns], b);
    const [kr, kron] = await evaluate(engine, (s) => [khatriRao(s, ta, tb), kronecker(s, ta, tb)]);
    expectClose(kr!, products.khatriRao(a, b, columns), 1e-7);
    expectClose(kron!, products.kronecker(a, columns, b, columns), 1e-7);
  });
});

describe("contract", () => {
  /** the sum over all indices, in f64 */
  function contracted(
    [a, b]: readonly [Float32Array, Float32Array],
    indices: string,
    extents: Readonly<Record<string, number>>,
  ): number[] {
    const [inA, inB, kept] = indices.split(/,|->/) as [string, string, string];
    const names = [...new Set([...kept, ...inA, ...inB])];
    const at = (list: string, place: Readonly<Record<string, number>>) =>
      [...list].reduce((offset, index) => offset * extents[index]! + place[index]!, 0);
    const out = new Array<number>(sizeOf([...kept].map((index) => extents[index]!))).fill(0);
    for (let e = 0; e < sizeOf(names.map((index) => extents[index]!)); e++) {
      let rest = e;
      const place: Record<string, number> = {};
      for (const index of names) {
        place[index] = rest % extents[index]!;
        rest = Math.floor(rest / extents[index]!);
      }
      out[at(kept, place)]! += a[at(inA, place)]! * b[at(inB, place)]!;
    }
    return out;
  }

  it.each([
    "ijlr,jcr->ilc",
    "ijrl,jcr->ilc",
    "ijlr,ilc->jcr",
    "lrms,crds->lcmd",
    "lcmd,lrms->crds",
    "jcr,crds->jds",
    "ilc,jcr->ijrl",
    "ij,jl->il",
    "j,ij->i",
    "ij,ij->",
  ])("%s", async (indices) => {
    const engine = await testEngine();
    for (const extents of [
      { i: 5, j: 3, l: 4, r: 2, c: 3, d: 3, m: 4, s: 2 },
      { i: 1, j: 33, l: 2, r: 7, c: 1, d: 1, m: 2, s: 7 },
    ] as Record<string, number>[]) {
      const lists = indices.split(/,|->/).map((list) => [...list].map((index) => extents[index]!));
      const [a, b, before] = lists.map((shape, at) => randomArray(sizeOf(shape), 5 + at)) as [
        Float32Array,
        Float32Array,
        Float32Array,
      ];
      using ta = engine.tensor(lists[0]!, a);
      using tb = engine.tensor(lists[1]!, b);
      using out = engine.tensor(lists[2]!, before);
      const [plain, added] = await evaluate(engine, (s) => [
        contract(s, ta, tb, indices),
        contract(s, ta, tb, indices, { alpha: -0.5, beta: 2, out }),
      ]);
      const sum = contracted([a, b], indices, extents);
      expectClose(plain!, sum, 1e-5);
      expectClose(
        added!,
        sum.map((value, e) => 2 * before[e]! - 0.5 * value),
        1e-5,
      );
    }
  });

  it("refuses indices that it does not know", async () => {
    const engine = await testEngine();
    using a = engine.tensor([2, 3]);
    const s = engine.scheduler("refused");
    for (const indices of ["ij,jk", "ij,jk->ijk", "ii,ij->j", "ij,kl->ijkl", "ij,jk->ijx", "ij,ik->j"])
      expect(() => contract(s, a, a, indices)).toThrow(/^contract \(.*\): needs indices such as/);
    expect(() => contract(s, a, a, "ij,jk->ik")).toThrow(/differ in index j/);
    expect(() => contract(s, a, a, "ijk,jk->i")).toThrow(/has not the indices ijk/);
    expect(() => contract(s, a, a, "ij,kj->ik", { beta: 1 })).toThrow(/beta 1 needs out/);
  });
});

describe("the Kruskal tensor", () => {
  // the last two modes of the last one are merged
  it.each([...many, [5463, 7, 7]].map((shape) => [shape]))("of shape %j, in full and as a residual", async (shape) => {
    const engine = await testEngine();
    const rank = 5;
    const operands = problem(engine, shape, rank);
    const weights = randomArray(rank, 9);
    using tweights = engine.tensor([rank], weights);
    const [full, plain, residual, difference, another, squaredNorm] = await evaluate(engine, (s) => {
      const squaredNorm = s.tensor([1]);
      return [
        kruskalToTensor(s, tweights, operands.tfactors),
        kruskalToTensor(s, null, operands.tfactors),
        kruskalResidual(s, operands.tx, tweights, operands.tfactors),
        kruskalDifference(s, operands.tx, tweights, operands.tfactors),
        kruskalDifference(s, operands.tx, tweights, operands.tfactors, { squaredNorm }),
        squaredNorm,
      ];
    });
    const model = products.kruskal(weights, operands.factors, rank);
    expectClose(full!, model, 2e-6);
    expectClose(plain!, products.kruskal(null, operands.factors, rank), 2e-6);
    const expected = model.reduce((sum, value, e) => sum + (operands.x[e]! - value) ** 2, 0);
    const lack = model.map((value, e) => operands.x[e]! - value);
    for (const squares of [residual!, squaredNorm!]) expectClose(squares, [expected], 2e-6);
    for (const values of [difference!, another!]) expectClose(values, lack, 2e-6);
    operands.destroy();
  });

  it("leaves a residual of rounding size where the model is exact", async () => {
    const engine = await testEngine();
    const operands = problem(engine, [20, 30, 25], 4);
    const exact = products.kruskal(null, operands.factors, 4);
    using x = engine.tensor([20, 30, 25], Float32Array.from(exact));
    const norm = exact.reduce((sum, value) => sum + value * value, 0);
    const [residual] = await evaluate(engine, (s) => kruskalResidual(s, x, null, operands.tfactors));
    expect(residual! / norm).toBeLessThan(1e-13);
    operands.destroy();
  });

  it("says what does not fit", async () => {
    const engine = await testEngine();
    using a = engine.tensor([3, 2]);
    using b = engine.tensor([4, 3]);
    using s = engine.scheduler();
    expect(() => kruskalToTensor(s, null, [a, b])).toThrow("kruskalToTensor: factor 1 is 4×3, expected 4×2");
    expect(() => kruskalResidual(s, b, a, [a, a])).toThrow("kruskalResidual: weights are 3×2, expected 2");
  });
});

it.each([
  ["with its features", testEngine],
  ["without features, as on GPUs", plainEngine],
])("merges a short mode of a large tensor with its neighbour, %s", async (_, open) => {
  const engine = await open();
  for (const shape of [
    [64, 9, 30, 20],
    [30, 20, 450],
  ]) {
    const operands = problem(engine, shape, 5);
    const results = await evaluate(engine, (s) =>
      shape.map((_, mode) => mttkrp(s, operands.tx, operands.tfactors, mode)),
    );
    shape.forEach((_, mode) => {
      expectClose(results[mode]!, products.mttkrp(operands.x, shape, operands.factors, 5, mode), 3e-6);
    });
    operands.destroy();
  }
});

describe("by the kernels of GPUs", () => {
  it("sums that several invocations share are the same", async () => {
    const engine = await plainEngine();
    for (const shape of [
      [20, 33, 6],
      [3, 200, 4],
      [150, 5, 7],
    ]) {
      const operands = problem(engine, shape, 5);
      const results = await evaluate(engine, (s) =>
        [
          [0, 2],
          [1, 3],
        ].flatMap(([start, stop]) => {
          const partial = partialMttkrp(s, operands.tx, operands.tfactors, [start!, stop!]);
          const rangeFactors = operands.tfactors.slice(start, stop);
          return [0, 1].map((at) => mttkrpFromPartial(s, partial, rangeFactors, [start!, stop!], start! + at));
        }),
      );
      [0, 1, 1, 2].forEach((mode, index) => {
        expectClose(results[index]!, products.mttkrp(operands.x, shape, operands.factors, 5, mode), 3e-6);
      });
      operands.destroy();
    }
  });

  it("a long sum is cut into parts that are added up by several", async () => {
    const engine = await plainEngine();
    const [a, b] = [randomArray(3 * 9000, 1), randomArray(9000 * 5, 2)];
    using ta = engine.tensor([3, 9000], a);
    using tb = engine.tensor([9000, 5], b);
    expectClose(await evaluate(engine, (s) => matmulOp(s, ta, tb)), matmul(a, b, 3, 9000, 5), 3e-6);
  });

  it("short sums of many rows are shared by fewer", async () => {
    using engine = await siblingEngine({ variants: { matmul: "tiled" } });
    const [rows, inner, columns] = [65540, 12, 5];
    const [a, b] = [randomArray(rows * inner, 1), randomArray(inner * columns, 2)];
    using ta = engine.tensor([rows, inner], a);
    using across = engine.tensor([inner, rows], a);
    using tb = engine.tensor([inner, columns], b);
    const [along, transposed] = await evaluate(engine, (s) => [
      matmulOp(s, ta, tb),
      matmulOp(s, across, tb, { transposeA: true }),
    ]);
    expectClose(along!, matmul(a, b, rows, inner, columns), 3e-6);
    expectClose(transposed!, matmul(a, b, rows, inner, columns, { transposeA: true }), 3e-6);
  });

  it("many small products are small tiles, tall ones thin tiles", async () => {
    using engine = await siblingEngine({ variants: { matmul: "tiled" } });
    for (const [shape, size] of [
      [[1100, 6, 7], 5],
      [[9, 130, 30], 20],
      [[5, 17, 700], 12],
    ] as const) {
      const x = randomArray(sizeOf(shape), 1);
      using tx = engine.tensor(shape, x);
      const us = shape.map((extent, mode) => randomArray(extent * size, 2 + mode));
      const results = await evaluate(engine, (s) =>
        us.map((u, mode) => modeProduct(s, tx, engine.tensor([size, shape[mode]!], u), mode)),
      );
      results.forEach((result, mode) => {
        expectClose(result, products.modeProduct(x, shape, us[mode]!, size, mode), 3e-6);
      });
    }
  });
});

const forced: [Record<string, string>, shapes: number[][]][] = [
  [
    { mttkrp: "register", kruskal: "register", residual: "register" },
    [
      [13, 17, 9],
      [3, 5, 2, 7],
      [70, 36, 33],
    ],
  ],
  // kruskal and residual stay "register", because software drivers take seconds to compile their tiled kernels
  [
    { mttkrp: "tiled", kruskal: "register", residual: "register" },
    [
      [13, 17, 9],
      [70, 36, 33],
      // thin tiles, for both ways that X may lie, with rows that are a multiple of four long, and with others
      [150, 5, 12],
      [150, 3, 149],
      [3, 7, 300],
      [7, 150, 131],
    ],
  ],
  // large enough for the wider tiles of SwiftShader
  [{}, [[3, 4, 2052]]],
];
it.each(forced)("the other families give the same (%j)", async (variants, shapes) => {
  using engine = await siblingEngine({ variants });
  for (const shape of shapes) await agree(engine, shape);
  // more columns are more runs of 16 columns, up to 64 in a tile
  for (const rank of [21, 70]) await agree(engine, [11, 17, 9], rank);
});

async function agree(engine: Engine, shape: number[], rank = 7): Promise<void> {
  const operands = problem(engine, shape, rank);
  const [full, residual, ...results] = await evaluate(engine, (s) => [
    kruskalToTensor(s, null, operands.tfactors),
    kruskalResidual(s, operands.tx, null, operands.tfactors),
    ...shape.map((_, mode) => mttkrp(s, operands.tx, operands.tfactors, mode)),
  ]);
  const model = products.kruskal(null, operands.factors, rank);
  expectClose(full!, model, 2e-6);
  expectClose(residual!, [model.reduce((sum, value, e) => sum + (operands.x[e]! - value) ** 2, 0)], 2e-6);
  results.forEach((result, mode) => {
    expectClose(result, products.mttkrp(operands.x, shape, operands.factors, rank, mode), 3e-6);
  });
}
