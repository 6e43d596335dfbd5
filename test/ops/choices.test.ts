/** Which kernels, constants and splits every op takes on which adapter, recorded: what was measured stays as it is. */
import { describe, expect, it } from "vitest";
import { type Engine, type Scheduler, type Tensor, Variants } from "../../src/gpu/index.js";
import * as ops from "../../src/ops/index.js";
import { PAPER, type PaperAdapter, paperEngine, recordingOf } from "./paperEngine.js";

type Record = (s: Scheduler) => unknown;

const t = (s: Scheduler, ...shape: number[]): Tensor => s.tensor(shape);
const u32 = (s: Scheduler, ...shape: number[]): Tensor<"u32"> => s.tensor(shape, { dtype: "u32" });

const MATRICES: readonly (readonly [rows: number, inner: number, columns: number])[] = [
  [1, 7, 1],
  [5, 1, 3],
  [64, 64, 64],
  [65, 17, 130],
  [3, 5000, 2],
  [20, 3001, 7],
  [1500, 12, 4],
  [2, 9, 3001],
  [300, 13, 30],
  [31, 14, 300],
  [128, 256, 132],
  [200, 300, 16],
  [260, 140, 32],
  [512, 512, 512],
  [1024, 1024, 1024],
  [2048, 64, 2048],
  [4096, 4096, 4096],
  [30000, 784, 16],
  [168_000, 28, 10],
  [16, 30000, 16],
  [100, 784, 128],
  [100, 784, 10],
  [40000, 40, 40],
];

function* products(): Generator<[string, Record]> {
  for (const [rows, inner, columns] of MATRICES) {
    const name = `${rows}×${inner}×${columns}`;
    yield [`matmul ${name}`, (s) => ops.matmul(s, t(s, rows, inner), t(s, inner, columns))];
    if (rows * columns * inner > 2 ** 25) continue;
    const options = { transposeA: true, transposeB: true, activation: "relu" } as const;
    yield [
      `matmul ${name}, transposed, bias`,
      (s) => ops.matmul(s, t(s, inner, rows), t(s, columns, inner), { ...options, bias: t(s, columns) }),
    ];
    yield [
      `matmul ${name}, transposed B, careful`,
      (s) => ops.matmul(s, t(s, rows, inner), t(s, columns, inner), { transposeB: true, careful: true }),
    ];
  }
  for (const [rows, columns] of [
    [200, 16],
    [262_144, 16],
    [10_000, 64],
    [5000, 7],
  ] as const) {
    yield [`gram ${rows}×${columns}`, (s) => ops.gram(s, t(s, rows, columns))];
    yield [`careful gram ${rows}×${columns}`, (s) => ops.carefulGram(s, t(s, rows, columns))];
  }
  for (const shape of [
    [64, 64, 64],
    [256, 256, 256],
    [6000, 28, 28],
    [20, 30, 50, 7],
  ])
    for (const mode of shape.keys()) {
      const name = `${shape.join("×")}, mode ${mode}`;
      yield [`mode product ${name}`, (s) => ops.modeProduct(s, t(s, ...shape), t(s, 10, shape[mode]!), mode)];
      yield [`unfolded product ${name}`, (s) => ops.unfoldedProduct(s, t(s, ...shape), t(s, ...shape), mode)];
    }
}

function* khatriRao(): Generator<[string, Record]> {
  for (const [shape, rank] of [
    [[30, 40, 50], 5],
    [[200, 200, 200], 10],
    [[256, 256, 256], 16],
    [[3000, 20, 20], 12],
    [[70, 20, 28, 60], 32],
    [[100, 300, 20, 40], 20],
    [[8, 9, 10, 11, 12], 7],
    [[64, 64], 8],
  ] as [number[], number][]) {
    const factors = (s: Scheduler) => shape.map((extent) => t(s, extent, rank));
    const name = `${shape.join("×")} R${rank}`;
    for (const mode of shape.keys()) {
      yield [`mttkrp ${name}, mode ${mode}`, (s) => ops.mttkrp(s, t(s, ...shape), factors(s), mode)];
      yield [
        `mttkrp from partial ${name}, mode ${mode}`,
        (s) => ops.mttkrpFromPartial(s, t(s, ...shape, rank), factors(s), [0, shape.length], mode),
      ];
    }
    yield [`partial mttkrp ${name}`, (s) => ops.partialMttkrp(s, t(s, ...shape), factors(s), [0, shape.length - 1])];
    yield [`partial mttkrp ${name}, end`, (s) => ops.partialMttkrp(s, t(s, ...shape), factors(s), [1, shape.length])];
    yield [`kruskal ${name}`, (s) => ops.kruskalToTensor(s, t(s, rank), factors(s))];
    yield [`kruskal difference ${name}`, (s) => ops.kruskalDifference(s, t(s, ...shape), null, factors(s))];
    yield [`residual ${name}`, (s) => ops.kruskalResidual(s, t(s, ...shape), t(s, rank), factors(s))];
  }
}

function* convolutions(): Generator<[string, Record]> {
  for (const [x, w, options] of [
    [[100, 1, 28, 28], [6, 1, 5, 5], { padding: 2 }],
    [[100, 6, 14, 14], [16, 6, 5, 5], {}],
    [[1, 64, 56, 56], [64, 64, 3, 3], { padding: 1 }],
    [[2, 32, 28, 28], [32, 1, 3, 3], { padding: 1, groups: 32 }],
    [[2, 32, 28, 28], [64, 1, 3, 3], { stride: 2, groups: 32 }],
    [[3, 8, 9, 11], [18, 8, 1, 1], {}],
    [[1, 3, 64, 64], [20, 3, 7, 7], { stride: 2, dilation: 2, padding: 3 }],
  ] as [number[], number[], ops.ConvolutionOptions][]) {
    const name = `${x.join("×")} by ${w.join("×")}`;
    const kernel = [w[2]!, w[3]!] as const;
    const {
      stride = 1,
      padding = 0,
      dilation = 1,
    } = options as { stride?: number; padding?: number; dilation?: number };
    const size = [0, 1].map((at) => ops.outputExtent(x[at + 2]!, kernel[at]!, stride, padding, dilation));
    const dy = [x[0]!, w[0]!, ...size];
    const inputSize = [x[2]!, x[3]!] as const;
    yield [`conv2d ${name}`, (s) => ops.conv2d(s, t(s, ...x), t(s, ...w), options)];
    yield [
      `conv2d input gradient ${name}`,
      (s) => ops.conv2dInputGradient(s, t(s, ...dy), t(s, ...w), { ...options, inputSize }),
    ];
    yield [
      `conv2d weight gradient ${name}`,
      (s) => ops.conv2dWeightGradient(s, t(s, ...x), t(s, ...dy), { ...options, kernel }),
    ];
  }
  for (const [x, w] of [
    [
      [10, 1, 9, 10, 11],
      [4, 1, 3, 3, 3],
    ],
    [
      [16, 4, 20, 30, 30],
      [8, 4, 5, 5, 5],
    ],
  ] as [number[], number[]][]) {
    const dy = [x[0]!, w[0]!, ...[2, 3, 4].map((at) => x[at]! - w[at]! + 1)];
    const kernel = [w[2]!, w[3]!, w[4]!] as const;
    yield [`conv3d ${x.join("×")}`, (s) => ops.conv3d(s, t(s, ...x), t(s, ...w))];
    yield [
      `conv3d input gradient ${x.join("×")}`,
      (s) => ops.conv3dInputGradient(s, t(s, ...dy), t(s, ...w), { inputShape: x }),
    ];
    yield [
      `conv3d weight gradient ${x.join("×")}`,
      (s) => ops.conv3dWeightGradient(s, t(s, ...x), t(s, ...dy), { kernel }),
    ];
  }
  for (const batch of [1, 2, 4, 16, 100, 1000, 100_000])
    for (const [ranks, size] of [
      [[3, 3], 28],
      [[4, 10], 14],
      [[16, 16], 56],
    ] as const)
      yield [
        `tucker2 is one dispatch: ${batch} × ${size}², ranks ${ranks.join(", ")}`,
        (s) => {
          const [first, core, last] = [
            [ranks[0], 6, 1, 1],
            [ranks[1], ranks[0], 5, 5],
            [16, ranks[1], 1, 1],
          ];
          const weights = { first: t(s, ...first!), core: t(s, ...core!), last: t(s, ...last!) };
          return ops.prefersTucker2(t(s, batch, 6, size, size), weights, { padding: 2 });
        },
      ];
}

function* dense(): Generator<[string, Record]> {
  const settings = { kind: "sgd", rate: 0.1, momentum: 0, weightDecay: 0, nesterov: false } as const;
  for (const [widths, batch] of [
    [[784, 10, 10], 100],
    [[784, 128, 10], 100],
    [[784, 128, 10], 10],
    [[20, 16, 3], 7],
    [[64, 32, 16, 4], 32],
    [[784, 200, 10], 100],
    [[5, 3], 1],
  ] as [number[], number][]) {
    const layersOf = (s: Scheduler): ops.DenseLayer[] =>
      widths.slice(1).map((outputs, index) => ({
        inputs: widths[index]!,
        outputs,
        weight: t(s, outputs, widths[index]!),
        bias: t(s, outputs),
        relu: index < widths.length - 2,
        dropout: null,
      }));
    const name = `${widths.join("→")} batch ${batch}`;
    yield [`training is one workgroup: ${name}`, (s) => ops.isSmall(s.engine, layersOf(s), batch)];
    yield [
      `training ${name}`,
      (s) => {
        const layers = layersOf(s);
        const scratch = ops.denseScratch(s.engine, layers, batch);
        const state = ops.trainingState(s.engine);
        const inputs = t(s, 1000, widths[0]!);
        const tensors = { inputs, labels: u32(s, 1000), weights: t(s, 2 ** 20), scratch, state, curve: t(s, 3, 4) };
        const options = { batchSize: batch, shuffle: true, seed: 1, double: false, optimiser: settings };
        ops.trainDense(s, layers, tensors, options);
        return scratch.shape.join("×");
      },
    ];
  }
  for (const [rows, inputs, rank, outputs] of [
    [1, 784, 16, 128],
    [4, 784, 16, 128],
    [5, 784, 16, 128],
    [1, 1024, 16, 1024],
    [1, 200, 64, 56],
    [1, 200, 64, 57],
    [1, 10, 65, 10],
  ] as const)
    yield [
      `low rank is one dispatch: ${rows}×${inputs}×${rank}×${outputs}`,
      (s) => ops.prefersLowRank(t(s, rows, inputs), t(s, rank, inputs), t(s, outputs, rank)),
    ];
}

function* linearAlgebra(): Generator<[string, Record]> {
  for (const n of [1, 16, 17, 33, 40, 41, 128, 129, 260]) {
    yield [`eigen ${n}`, (s) => void ops.symmetricEigen(s, t(s, n, n))];
    if (n < 40) yield [`svd ${n}`, (s) => void ops.jacobiSvd(s, t(s, n, n))];
    yield [`cholesky ${n}`, (s) => void ops.cholesky(s, t(s, n, n))];
    yield [`tridiagonal step ${n}`, (s) => ops.tridiagonalStep(s, ops.startTridiagonal(s.engine, n))];
    yield [`bidiagonal step ${n}`, (s) => ops.bidiagonalStep(s, ops.startBidiagonal(s.engine, n))];
  }
  yield ["tridiagonal step 512, 100 left", (s) => ops.tridiagonalStep(s, ops.startTridiagonal(s.engine, 512), 100)];
  yield ["bidiagonal step 512, 100 left", (s) => ops.bidiagonalStep(s, ops.startBidiagonal(s.engine, 512), 100)];
  for (const [rows, columns] of [
    [40, 7],
    [700, 16],
    [1000, 64],
    [100_000, 10],
    [300, 200],
  ] as const) {
    yield [`orthogonalise ${rows}×${columns}`, (s) => void ops.orthogonalise(s, t(s, rows, columns))];
  }
  yield [
    "QR of 50 matrices 140×40",
    (s) => {
      const allocate: ConstructorParameters<typeof ops.EachQr>[2] = (shape, label, dtype) =>
        s.tensor(shape, { label, dtype });
      const qr = new ops.EachQr(t(s, 50, 140, 40), u32(s, 50), allocate);
      qr.triangles(s);
      qr.apply(s, t(s, 50, 40, 10));
    },
  ];
  yield ["svd 130", (s) => void ops.jacobiSvd(s, t(s, 130, 130))];
  yield ["cut off", (s) => ops.cutOff(s, t(s, 50), 1e-6)];
  yield ["canonicalize", (s) => ops.canonicalizeColumns(s, t(s, 50, 6), u32(s, 6), t(s, 6))];
  yield ["solve by eigenvalues", (s) => ops.solveSymmetric(s, t(s, 20, 20), t(s, 9, 20), { method: "pseudoInverse" })];
  for (const rank of [1, 8, 16, 17, 32]) {
    yield [`ALS update is one dispatch: rank ${rank}`, (s) => ops.fusesAls(s.engine, rank)];
    for (const rows of [9, 100, 200, 1000, 5000])
      yield [
        `ALS update ${rows}×${rank}`,
        (s) => {
          const grams = t(s, 3, rank ** 2 + rank);
          const update = { product: t(s, 4, rows, rank), grams, mode: 0, factor: t(s, rows, rank), ridge: 0 };
          const previous = ops.alsUpdate(s, update);
          ops.alsNormalize(s, { previous, grams, weights: t(s, rank), values: t(s, 6) });
        },
      ];
  }
}

/** One iteration of `models` CP models. */
function* gaussNewton(): Generator<[string, Record]> {
  for (const [shape, rank, models] of [
    [[18, 60, 30], 3, 4],
    [[7, 300, 12], 16, 1],
    [[200, 190, 180], 10, 1],
  ] as const)
    yield [
      `Gauss-Newton ${shape.join("×")} R${rank}, ${models} models`,
      (s) => {
        const state = new ops.GaussNewtonState(s.engine, shape, rank, shape[0], { models });
        state.evaluate(s, t(s, ...shape), t(s, models, ...shape));
        state.step(s);
        state.destroy();
      },
    ];
}

function* dataMovement(): Generator<[string, Record]> {
  for (const shape of [
    [1, 50, 1],
    [1, 300, 1],
    [1, 100_000, 1],
    [1, 16_777_216, 1],
    [7, 33, 1],
    [7, 32, 1],
    [7, 5000, 7],
    [7, 5000, 8],
    [1, 1_000_000, 16],
    [3000, 20, 500],
  ])
    yield [`sum ${shape.join("×")} over axis 1`, (s) => ops.sum(s, t(s, ...shape), { axis: 1 })];
  yield ["norm 1000×1000", (s) => ops.norm(s, t(s, 1000, 1000))];
  for (const [shape, axes] of [
    [
      [200, 300],
      [1, 0],
    ],
    [
      [8, 8],
      [1, 0],
    ],
    [
      [7, 300],
      [1, 0],
    ],
    [
      [300, 7],
      [1, 0],
    ],
    [
      [20, 30, 40],
      [2, 0, 1],
    ],
    [
      [20, 30, 40],
      [1, 0, 2],
    ],
    [
      [4, 5, 6, 7],
      [3, 1, 0, 2],
    ],
    [
      [16, 9, 30, 12],
      [0, 3, 2, 1],
    ],
  ] as [number[], number[]][])
    yield [`permute ${shape.join("×")} to ${axes.join()}`, (s) => ops.permute(s, t(s, ...shape), axes)];
}

const CASES = [
  ...products(),
  ...khatriRao(),
  ...convolutions(),
  ...dense(),
  ...linearAlgebra(),
  ...gaussNewton(),
  ...dataMovement(),
];

const recorded = (engine: Engine, cases = CASES): string =>
  cases
    .map(
      ([name, record]) =>
        `${name}\n${recordingOf(engine, record)
          .map((line) => `  ${line}\n`)
          .join("")}`,
    )
    .join("");

describe("choices", () => {
  it.each(Object.entries(PAPER) as [string, PaperAdapter][])("on %s", async (name, adapter) => {
    await expect(recorded(paperEngine(adapter))).toMatchFileSnapshot(`choices/${name}.txt`);
  });

  it.each<[string, PaperAdapter]>([
    ["has no subgroups", {}],
    ["has subgroups of several sizes", { ...PAPER.gpu, subgroups: [4, 128] }],
    [
      "is software whose subgroups have several sizes",
      { description: "Microsoft Basic Render Driver", ...PAPER.gpu, subgroups: [4, 128] },
    ],
    ["is SwiftShader without the feature", { ...PAPER.swiftshader, subgroups: undefined as never }],
  ])("of an adapter that %s are a GPU's", (_, adapter) => {
    expect(recorded(paperEngine(adapter))).toBe(recorded(paperEngine(PAPER.gpu)));
  });

  it("of a GPU with little room for a binding make fewer runs of careful sums", () => {
    const some: [string, Record][] = [
      ["matmul 1000×5000×1000, careful", (s) => ops.matmul(s, t(s, 1000, 5000), t(s, 5000, 1000), { careful: true })],
    ];
    expect(recorded(paperEngine({ bindingBytes: 2 ** 25 }), some)).toContain("splits=8");
    expect(recorded(paperEngine(PAPER.gpu), some)).toContain("splits=16");
  });

  it.each<[string, PaperAdapter, { [name: string]: string }]>([
    ["tiled", PAPER.lavapipe, { matmul: "tiled", mttkrp: "tiled" }],
    [
      "register",
      PAPER.swiftshader,
      { matmul: "register", mttkrp: "register", kruskal: "register", residual: "register", conv2d: "register" },
    ],
    ["one dispatch", PAPER.gpu, { training: "fused", lowRank: "fused", tucker2: "fused" }],
    ["several dispatches", PAPER.lavapipe, { training: "layers", lowRank: "chain", tucker2: "chain" }],
  ])("can be forced: %s", async (name, adapter, variants) => {
    const some = CASES.filter(([op]) =>
      /^(matmul (64|300|1500)|mttkrp|kruskal 30|residual 30|conv2d|tucker2|low rank|training)/.test(op),
    );
    await expect(recorded(paperEngine(adapter, { variants }), some)).toMatchFileSnapshot(`choices/forced ${name}.txt`);
  });
});

describe("probes", () => {
  it.each(Object.entries(PAPER) as [string, PaperAdapter][])("on %s", async (name, adapter) => {
    const engine = paperEngine(adapter);
    const families = new Map<string, Variants>();
    for (const [op, record] of CASES) {
      if (!/^(matmul|mttkrp|kruskal|residual) \d/.test(op)) continue;
      const s = engine.scheduler("families");
      const run = s.run.bind(s);
      s.run = (kernel, bindings, params) => {
        if (kernel instanceof Variants && !families.has(kernel.name)) families.set(kernel.name, kernel);
        run(kernel, bindings, params);
      };
      record(s);
      s.destroy();
    }
    const text = [...families].flatMap(([family, { kernels, sample }]) =>
      Object.entries(kernels).flatMap(([variant, kernel]) =>
        [1, 2, 4].map(
          (size) =>
            `${family} ${variant}, size ${size}\n${recordingOf(engine, (s) => void sample(s, kernel, size))
              .map((line) => `  ${line}\n`)
              .join("")}`,
        ),
      ),
    );
    await expect(text.join("")).toMatchFileSnapshot(`choices/probes ${name}.txt`);
  });
});
