/**
 * Runs every shader with workgroup memory through the race detector of wgsl_reflect. The detector interprets the shader on the
 * CPU. It steps the invocations of a workgroup in turn, and reports two that touch the same bytes without a barrier between,
 * where at least one of them writes. Params, constants and sizes are those that the ops record. The detector does not see
 * scalars in workgroup memory, races between workgroups, and which of the two kinds of memory a barrier orders.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { CallExpr, detectRaces, MemoryTracker, WgslDebug } from "wgsl_reflect/wgsl_reflect.module.js";
import { linkShader, reflectShader, shaderFolder } from "../../shaders/loader.js";
import {
  type Bindings,
  type DType,
  Engine,
  Kernel,
  type Params,
  type Scheduler,
  type Tensor,
  Variants,
} from "../../src/gpu/index.js";
import { packParams } from "../../src/gpu/params.js";
import * as ops from "../../src/ops/index.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { plainDevice } from "./kernels.js";

type Sample = (s: Scheduler, tensor: (...shape: number[]) => Tensor, engine: Engine) => void;

/** Small uses of ops: together they record every shader that has workgroup memory. */
const samples: Sample[] = [
  (s, tensor, engine) =>
    ops.canonicalizeColumns(s, tensor(11, 2), engine.tensor([2], new Uint32Array([1, 0])), tensor(2)),
  (s, tensor, engine) => {
    const grams = tensor(3, 12);
    const shared = { product: tensor(9, 3), grams, ridge: 1e-7 };
    const before = ops.alsUpdate(s, { ...shared, mode: 1, factor: tensor(9, 3) });
    const previous = ops.alsUpdate(s, { ...shared, mode: 2, factor: tensor(9, 3), previous: before });
    const trace = { rows: tensor(2, 6), counter: engine.tensor([1], new Uint32Array(1)) };
    ops.alsNormalize(s, { previous, grams, weights: tensor(3), values: tensor(6), trace });
  },
  (s, tensor, engine) => {
    const [grams, factor, weights] = [tensor(3, 12), tensor(9, 3), tensor(3)];
    const { out, parts } = ops.halsUpdate(s, { product: tensor(2, 9, 3), grams, mode: 2, factor, weights, passes: 2 });
    const last = {
      squaredNorm: 1,
      values: tensor(8),
      trace: { rows: tensor(2, 8), counter: engine.tensor([1], new Uint32Array(1)) },
    };
    const matrices = [{ rows: 9, start: 0 }];
    ops.unitColumns(s, { stack: out, matrices, parts, factors: factor, grams, modes: [2], weights, keep: true, last });
  },
  (s, tensor) =>
    ops.unitColumnsStep(s, tensor(3, 3), tensor(9, 3), { factor: tensor(9, 3), weights: tensor(3), passes: 2 }),
  (s, tensor) => {
    const [core, product, grams] = [tensor(2, 3, 2), tensor(2, 3, 2), tensor(3, 9)];
    ops.coreSteps(s, { core, product, grams, steps: 2, squaredNorm: 1, error: tensor(1) });
  },
  (s, tensor) => ops.cholesky(s, positive(tensor(5, 5))),
  (s, tensor) => ops.cholesky(s, positive(tensor(41, 41))),
  // in blocks
  (s, tensor) => ops.cholesky(s, positive(tensor(129, 129))),
  (s, tensor) => ops.cutOff(s, tensor(11), 0.1),
  (s, tensor, engine) => {
    const state = new ops.GaussNewtonState(engine, [3, 2, 2], 2, 3);
    state.evaluate(s, tensor(3, 2, 2), tensor(1, 3, 2, 2));
    state.step(s);
  },
  // rows in chunks
  (s, _, engine) => new ops.GaussNewtonState(engine, [600, 2, 2], 8, 1).step(s),
  (s, tensor) => ops.symmetricEigen(s, positive(tensor(5, 5))),
  (s, tensor) => ops.orthogonalise(s, tensor(7, 3)),
  (s, tensor) => ops.orthogonalise(s, tensor(900, 2)),
  (s, tensor) => ops.orthogonalise(s, tensor(66, 66)),
  (s, tensor, engine) => {
    const heights = engine.tensor([2], new Uint32Array([9, 2]));
    const qr = new ops.EachQr(tensor(2, 9, 3), heights, (shape, _, dtype) => engine.tensor(shape, null, { dtype }));
    qr.triangles(s);
    qr.apply(s, tensor(2, 3, 2));
  },
  (s, _, engine) => ops.tridiagonalStep(s, ops.startTridiagonal(engine, 9)),
  (s, _, engine) => ops.bidiagonalStep(s, ops.startBidiagonal(engine, 9)),
  (s, tensor, engine) => ops.inspect(s, tensor(70), engine.tensor([4], new Uint32Array(4)), { squaredNorm: tensor(1) }),
  (s, tensor) => ops.jacobiSvd(s, tensor(5, 5)),
  (s, tensor) => ops.jacobiSvd(s, tensor(129, 129)),
  (s, tensor) => ops.kruskalResidual(s, tensor(5, 4, 3), null, [tensor(5, 2), tensor(4, 2), tensor(3, 2)]),
  (s, tensor) =>
    ops.batchNorm(
      s,
      tensor(3, 2, 5),
      { weight: tensor(2), bias: tensor(2), running: tensor(2, 2) },
      { training: true },
    ),
  // four invocations a row
  (s, tensor) => ops.softmax(s, tensor(3, 70)),
  (s, tensor) => ops.softmaxGradient(s, tensor(3, 70), tensor(3, 70)),
  (s, tensor) => ops.layerNorm(s, tensor(3, 70), { weight: tensor(70), bias: tensor(70) }),
  (s, tensor) =>
    ops.layerNormGradient(s, tensor(3, 70), tensor(3, 70), { weight: tensor(70), out: { weight: tensor(70) } }),
  (s, tensor) => ops.lowRankMatmul(s, tensor(5, 20), tensor(3, 20), tensor(7, 3)),
  (s, tensor) => ops.matmul(s, tensor(5, 20), tensor(20, 6)),
  (s, tensor) =>
    ops.tucker2Conv2d(s, tensor(2, 3, 9, 10), {
      first: tensor(2, 3, 1, 1),
      core: tensor(3, 2, 3, 3),
      last: tensor(5, 3, 1, 1),
    }),
  (s, tensor) => ops.mttkrp(s, tensor(5, 4, 3), [tensor(5, 2), tensor(4, 2), tensor(3, 2)], 0),
  // thin tiles, and sums that several invocations share
  (s, tensor) => ops.matmul(s, tensor(130, 20), tensor(20, 6)),
  (s, tensor) => ops.mttkrp(s, tensor(130, 5, 4), [tensor(130, 2), tensor(5, 2), tensor(4, 2)], 0),
  (s, tensor) => ops.matmul(s, tensor(2, 3000), tensor(3000, 2)),
  (s, tensor) => ops.mttkrpFromPartial(s, tensor(20, 4, 2), [tensor(20, 2), tensor(4, 2)], [0, 2], 1),
  (s, tensor) => {
    const [fresh, accepted, next] = [tensor(70), tensor(70), tensor(70)];
    ops.momentum(s, { fresh, error: tensor(1), accepted, next, state: tensor(4), clip: [0, 9] });
  },
  (s, tensor) => ops.permute(s, tensor(33, 9), [1, 0]),
  (s, tensor, engine) => {
    const heights = engine.tensor([1], Uint32Array.of(4));
    contents.set(heights, new Float32Array(Uint32Array.of(4).buffer));
    ops.polar(s, tensor(1, 5, 3), heights, { rotation: tensor(1, 3, 3) });
  },
  (s, tensor) => ops.sumOfSquares(s, tensor(70)),
  (s, tensor, engine) => {
    const labels = engine.tensor([5], Uint32Array.of(2, 0, 1, 1, 0));
    const state = engine.tensor([4], new Uint32Array(4));
    ops.softmaxCrossEntropy(s, tensor(5, 3), labels, { curve: tensor(1, 2), column: 0, state });
  },
  (s, tensor, engine) => {
    const state = engine.tensor([4], new Uint32Array(4));
    ops.softCrossEntropy(s, tensor(5, 3), tensor(5, 3), { curve: tensor(1, 2), column: 0, state }, { temperature: 2 });
  },
  (s, tensor, engine) => {
    const weights = engine.tensor([128]);
    const bias = (at: number, size: number) => weights.rows(at, at + size);
    const layers = [
      { inputs: 3, outputs: 2, weight: weights.rows(0, 6).reshape([2, 3]), bias: null, relu: true, dropout: null },
      { inputs: 2, outputs: 3, weight: bias(64, 6).reshape([3, 2]), bias: null, relu: false, dropout: null },
    ];
    ops.trainDense(
      s,
      layers,
      {
        inputs: tensor(9, 3),
        labels: engine.tensor([9], new Uint32Array(9)),
        weights,
        scratch: ops.denseScratch(engine, layers, 6),
        state: ops.trainingState(engine),
        curve: tensor(1, 2),
      },
      {
        batchSize: 6,
        shuffle: false,
        seed: 1,
        double: false,
        optimiser: { kind: "sgd", rate: 0.1, momentum: 0, weightDecay: 0, nesterov: false },
      },
    );
  },
];
/** Smaller values of constants, for shaders that have them: fewer invocations and rounds, so that the detector is quick. */
const SMALLER: Record<string, number> = { WIDTH: 8, ACROSS: 4, TEAM: 2, BLOCK: 4, SWEEPS: 2, SLICES: 2 };
const SMALLER_TILES: Record<string, number> = { HIGH: 8, WIDE: 8, ROWS: 4, COLUMNS: 4, TILE_K: 4 };
const SMALLER_THIN: Record<string, number> = { THREADS: 32, SLICES: 4 };

/**
 * The detector knows no subgroups; the one shader of these with workgroup memory shares its barriers with train_dense_register.
 * jacobi_eigen has those of jacobi_eigen_small, and is for matrices that are too large for the detector.
 */
const APART = ["train_dense_subgroup.wgsl", "jacobi_eigen.wgsl"];
const shaders = readdirSync(shaderFolder)
  .filter((file) => file.endsWith(".wgsl") && !APART.includes(file))
  .filter((file) => /var\s*<\s*workgroup\s*>/.test(linkShader(join(shaderFolder, file)).code))
  .map((file) => file.replace(".wgsl", ""));

/** Contents of tensors for the detector; tensors that are not in this map have random contents. */
const contents = new Map<Tensor<DType>, Float32Array>();

/** A symmetric positive matrix. */
function positive(tensor: Tensor): Tensor {
  const n = tensor.shape[0]!;
  const data = Float32Array.from({ length: n * n }, (_, e) => 1 / (1 + Math.floor(e / n) + (e % n)));
  for (let i = 0; i < n; i++) data[i * n + i]! += 1;
  contents.set(tensor, data);
  return tensor;
}

/**
 * Rewrites what the detector (1.6) does not see: workgroupUniformLoad is a load between two barriers, and a barrier that
 * is the first statement of a block or follows a loop is stepped over unless another statement comes before it.
 */
function spellOut(code: string): string {
  const loads = code.replace(
    /^(.*)workgroupUniformLoad\(&([^)]*)\)/gm,
    (_, before: string, name: string) =>
      `workgroupBarrier(); let loaded_${name} = ${name}; workgroupBarrier(); ${before}loaded_${name}`,
  );
  let count = 0;
  return loads.replace(/\b(workgroup|storage)Barrier\(\);/g, (barrier) => `let step_${count++} = 0u; ${barrier}`);
}

/**
 * The detector (1.6) stores what a function returned by its call site, so invocations that are stepped in turn get values of
 * another invocation. This patch stores it by invocation, which the invocation's stack identifies.
 */
const step = WgslDebug.prototype.stepStack;
let current: object = {};
WgslDebug.prototype.stepStack = function (this: WgslDebug, stack, into) {
  current = stack;
  return step.call(this, stack, into);
};
CallExpr.prototype.setCachedReturnValue = function (this: CallExpr, value: unknown) {
  const patched = Object.getOwnPropertyDescriptor(this, "cachedReturnValue");
  if (!patched?.set) {
    const values = new WeakMap<object, unknown>();
    Object.defineProperty(this, "cachedReturnValue", {
      get: () => values.get(current) ?? null,
      set: (returned: unknown) => void values.set(current, returned),
    });
  }
  this.cachedReturnValue = value;
};

/** The detector compares every access of a phase with all others. This patch leaves out repeats, and accesses that cannot race. */
const record = MemoryTracker.prototype.record;
let readOnly = new Set<string>();
const seen = new WeakMap<MemoryTracker, Set<string>>();
MemoryTracker.prototype.record = function (this: MemoryTracker, buffer, offset, size, kind, atomic) {
  if (readOnly.has(buffer)) return;
  let phase = seen.get(this);
  if (!phase) seen.set(this, (phase = new Set()));
  const access = `${buffer} ${offset} ${size} ${kind} ${atomic} ${this.currentInvocation}`;
  if (phase.has(access)) return;
  phase.add(access);
  record.call(this, buffer, offset, size, kind, atomic);
};
const endPhase = MemoryTracker.prototype.endPhase;
MemoryTracker.prototype.endPhase = function (this: MemoryTracker) {
  seen.delete(this);
  endPhase.call(this);
};

interface Found {
  races: string[];
  errors: string[];
}

function racesOf(kernel: Kernel, params: Params, bindings: Record<string, Tensor<DType> | Float32Array>): Found {
  const group: Record<string, unknown> = { 0: { uniform: packParams(kernel.source, params) } };
  for (const { binding, name } of kernel.source.bindings) {
    const bound = bindings[name]!;
    const size = bound instanceof Float32Array ? bound.length : bound.size;
    const known = bound instanceof Float32Array ? bound : contents.get(bound);
    const integers = !(bound instanceof Float32Array) && bound.dtype !== "f32";
    // a multiple of four elements, because shaders may read vec4s
    const data = new Float32Array(Math.ceil(size / 4) * 4);
    if (known || !integers) data.set(known ?? randomArray(size, binding));
    group[binding] = data.buffer;
  }
  const constant = kernel.source.bindings.filter(({ access }) => access === "read").map(({ name }) => name);
  // the detector takes all variables of a module for shared, private ones too
  const privates = [...kernel.code.matchAll(/var<private> (\w+)/g)].map(([, name]) => name!);
  readOnly = new Set(["params", ...constant, ...privates]);
  const { races, errors } = detectRaces(spellOut(kernel.code), "main", [Math.min(2, kernel.workgroups(params)[0])], {
    0: group,
  });
  const unlike = (messages: string[]) => [...new Set(messages)].slice(0, 5);
  return { races: unlike(races.map(({ message }) => message)), errors: unlike(errors) };
}

interface Dispatched {
  kernel: Kernel;
  bindings: Bindings;
  params: Params;
}
const dispatched = new Map<string, Dispatched>();

beforeAll(async () => {
  // ops pick other kernels where the device has subgroups
  const plain = new Engine(await plainDevice());
  for (const engine of [await testEngine(), plain]) for (const sample of samples) collect(engine, sample);
  plain.device.destroy();
});

function collect(engine: Engine, sample: Sample): void {
  using s = engine.scheduler("races");
  const run = vi.spyOn(s, "run");
  sample(s, (...shape) => engine.tensor(shape), engine);
  for (const [recorded, bindings, params = {}] of run.mock.calls) {
    for (const kernel of recorded instanceof Variants ? Object.values(recorded.kernels) : [recorded]) {
      const smaller = Object.entries({
        ...SMALLER,
        ...(kernel.name.endsWith("_tiled") && SMALLER_TILES),
        ...(kernel.name.endsWith("_thin") && SMALLER_THIN),
      }).filter(([name]) => name in kernel.constants);
      const entry = { kernel: kernel.with(Object.fromEntries(smaller)), bindings, params };
      if (!dispatched.has(kernel.name)) dispatched.set(kernel.name, entry);
    }
  }
}

describe("shaders with workgroup memory", () => {
  it.each(shaders)("%s has no races, and is caught without its barriers", (name) => {
    const recorded = dispatched.get(name);
    if (!recorded) throw new Error(`no sample in test/gpu/races.test.ts records ${name}: add one`);
    const { kernel, bindings, params } = recorded;
    expect(racesOf(kernel, params, bindings)).toEqual({ races: [], errors: [] });
    const code = kernel.source.code.replace(/(workgroup|storage)Barrier\(\);/g, "");
    const broken = new Kernel({ ...kernel.source, code }, kernel.grid, { ...kernel.constants });
    expect(racesOf(broken, params, bindings).races.length).toBeGreaterThan(0);
  });
});

describe("the detector", () => {
  const shader = (body: string, compute: string): Kernel => {
    const code = `struct Params { count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
var<workgroup> shared_sum: array<f32, 8>;
var<workgroup> flag: u32;
${compute} @workgroup_size(8)
fn main(@builtin(local_invocation_index) lane: u32) {
${body}
}`;
    return new Kernel(reflectShader("made_up", code), () => [1]);
  };
  const check = (body: string, compute = "@compute"): Found =>
    racesOf(shader(body, compute), { count: 8 }, { out: new Float32Array(8) });

  it("finds a missing barrier in workgroup memory and names the invocations", () => {
    const read = "out[lane] = shared_sum[7u - lane];";
    const { races } = check(`shared_sum[lane] = out[lane];\n${read}`);
    expect(races[0]).toMatch(
      /Data race on 'shared_sum' byte \d+: invocation \d+ \((read|write), line \d+\) and invocation \d+/,
    );
    expect(check(`shared_sum[lane] = out[lane];\nworkgroupBarrier();\n${read}`)).toEqual({ races: [], errors: [] });
  });

  it("finds a missing barrier in storage memory", () => {
    const write = "if (lane == 0u) { out[1] = 2.0; }";
    expect(check(`let x = out[lane];\n${write}\nshared_sum[lane] = x;`).races.join()).toContain("'out'");
    expect(check(`let x = out[lane];\nstorageBarrier();\n${write}\nshared_sum[lane] = x;`).races).toEqual([]);
  });

  it("finds a tree that is one barrier short", () => {
    const tree = (barrier: string) => `shared_sum[lane] = out[lane];
for (var width = 4u; width > 0u; width /= 2u) {
  ${barrier}
  if (lane < width) { shared_sum[lane] += shared_sum[lane + width]; }
}
if (lane == 0u) { out[0] = shared_sum[0]; }`;
    expect(check(tree("")).races.length).toBeGreaterThan(0);
    expect(check(tree("workgroupBarrier();"))).toEqual({ races: [], errors: [] });
  });

  it("finds a barrier that not all reach", () => {
    const { errors } = check("if (lane < 4u) { workgroupBarrier(); }\nout[lane] = 1.0;");
    expect(errors.join()).toMatch(/Barrier divergence/);
  });

  it("keeps what functions return apart", () => {
    const helper = "fn mirrored(lane: u32) -> u32 { if (lane > 3u) { return 7u - lane; } return lane; }\n@compute";
    const body = "let place = mirrored(lane);\nlet other = lane;\nif (lane < 4u) { shared_sum[place] = 1.0; }";
    expect(check(body, helper)).toEqual({ races: [], errors: [] });
    expect(check(body.replace("lane < 4u", "lane < 5u"), helper).races.length).toBeGreaterThan(0);
  });

  it("takes workgroupUniformLoad for the barriers that it is", () => {
    const body =
      "shared_sum[lane] = 1.0;\nif (workgroupUniformLoad(&flag) == 0u) { out[lane] = shared_sum[7u - lane]; }";
    expect(check(body)).toEqual({ races: [], errors: [] });
  });
});

it("the shaders that are read are those of the folder", () => {
  const withMemory = readdirSync(shaderFolder).filter(
    (file) => file.endsWith(".wgsl") && readFileSync(join(shaderFolder, file), "utf8").includes("var<workgroup>"),
  );
  expect(readdirSync(shaderFolder)).toEqual(expect.arrayContaining(APART));
  // others have what they import
  expect(shaders.map((name) => `${name}.wgsl`)).toEqual(
    expect.arrayContaining(withMemory.filter((file) => !APART.includes(file))),
  );
  // and no shader outside the folder is recorded
  const recorded = [...dispatched].filter(([, { kernel }]) => /var\s*<\s*workgroup\s*>/.test(kernel.source.code));
  const names = recorded.map(([name]) => name).filter((name) => !APART.includes(`${name}.wgsl`));
  expect(names.sort()).toEqual([...shaders].sort());
});
