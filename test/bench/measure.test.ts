/** The benchmark's protocol, with parties made up: what is wrong is called so, what fails does not vanish, goals are judged. */
import { describe, expect, it } from "vitest";
import type { Case, Peer, Prepared } from "../../bench/case.js";
import { cases } from "../../bench/cases/index.js";
import type { Goal } from "../../bench/goals.js";
import { modelFactors, modelled } from "../../bench/inputs.js";
import { type MeasureOptions, measure } from "../../bench/measure.js";
import { entries, relativeErrorOf, spread } from "../../bench/reference.js";
import { markdown, plainText, type Report } from "../../bench/report.js";
import { isBad, type Result, type Row } from "../../bench/result.js";
import { median, quantile, ratiosOf } from "../../bench/statistics.js";
import { verdicts } from "../../bench/verdicts.js";
import { isSoftware } from "../../src/gpu/index.js";
import { testEngine } from "../engine.js";

const quick: MeasureOptions = { rounds: 3, sampleMs: 1, budget: 1, variants: false };
const small = cases({ slim: true }).find(({ work }) => work.op === "modeProduct") as Case;

/** A peer that answers `result` after `ms`. */
function peer(name: string, result: (right: Float32Array) => Float32Array, ms = 0): Peer & { turns: number } {
  const made = {
    name,
    turns: 0,
    async prepare(): Promise<Prepared> {
      const inputs = small.inputs();
      const right = rightFor(inputs);
      return {
        async run(times) {
          made.turns++;
          await new Promise((resolve) => setTimeout(resolve, ms * times));
        },
        outputs: async () => [result(right)],
        destroy() {},
      };
    },
  };
  return made;
}

/** The mode product, by plain loops. */
function rightFor([x, u]: readonly Float32Array[]): Float32Array {
  const { work } = small as Case & { work: { op: "modeProduct"; x: { shape: number[] }; mode: number } };
  const { shape } = work.x;
  const extent = shape[work.mode]!;
  const after = shape.slice(work.mode + 1).reduce((a, b) => a * b, 1);
  const before = x!.length / extent / after;
  const columns = u!.length / extent;
  const out = new Float32Array(before * columns * after);
  for (let b = 0; b < before; b++)
    for (let j = 0; j < columns; j++)
      for (let a = 0; a < after; a++) {
        let sum = 0;
        for (let i = 0; i < extent; i++) sum += u![j * extent + i]! * x![(b * extent + i) * after + a]!;
        out[(b * columns + j) * after + a] = sum;
      }
  return out;
}

const rowOf = (rows: readonly Row[], name: string): Row => rows.find(({ party }) => party === name)!;

describe("measure", () => {
  it("begins no second round where one took longer than the budget", async () => {
    const { device } = await testEngine();
    const samples = async (budget: number): Promise<number> => {
      const slow = peer("slow 1.0", (result) => result, 60);
      const { rows } = await measure(device, small, [slow], { ...quick, rounds: 4, budget });
      return rowOf(rows, "slow 1.0").ms!.samples.length;
    };
    expect(await samples(0.02)).toBe(1);
    expect(await samples(30)).toBe(4);
  });

  it("times who is right, calls who is not WRONG, and keeps who fails in the table", async () => {
    const { device } = await testEngine();
    const right = peer("right 1.0", (result) => result, 0.2);
    const wrong = peer("wrong 1.0", (result) =>
      result.map((value, at) => (at === result.length - 1 ? value + 1 : value)),
    );
    const blank = peer("blank 1.0", (result) => result.map(() => Number.NaN));
    const broken: Peer = { name: "broken 1.0", prepare: () => Promise.reject(new Error("no adapter")) };
    const unable: Peer = { name: "unable 1.0", prepare: async () => null };
    const { rows } = await measure(device, small, [right, wrong, blank, broken, unable], quick);
    expect(rows.map(({ party, state }) => `${party}: ${state}`)).toEqual([
      "tenfold: measured",
      "right 1.0: measured",
      "wrong 1.0: WRONG",
      "blank 1.0: WRONG",
      "broken 1.0: failed",
      "unable 1.0: cannot",
    ]);
    // a peer that fails is the peer's affair; a wrong row is everybody's
    expect(rows.filter(isBad).map(({ party }) => party)).toEqual(["wrong 1.0", "blank 1.0"]);
    expect(rowOf(rows, "right 1.0").ms!.samples).toHaveLength(3);
    expect(rowOf(rows, "wrong 1.0").ms).toBeNull();
    expect(wrong.turns).toBe(1);
    expect(rowOf(rows, "broken 1.0").message).toBe("no adapter");
  });

  it("says who does not reach an error that is asked for, with the error and how long it tried, and calls nobody wrong", async () => {
    const { device } = await testEngine();
    const target: Case = { ...small, isTarget: true, tolerance: 1e-4 };
    const far: Peer = {
      ...peer("far 1.0", (result) => result),
      async prepare() {
        const right = rightFor(small.inputs());
        const outputs = async () => [right.map((value) => 1.01 * value)];
        return { run: async () => {}, outputs, way: "2000 sweeps", destroy() {} };
      },
    };
    const { rows } = await measure(device, target, [far], quick);
    expect(rows.map(({ party, state }) => `${party}: ${state}`)).toEqual(["tenfold: measured", "far 1.0: not reached"]);
    expect(rows[1]!.message).toBe("error 1.0e-2 after 2000 sweeps, 0.0001 asked");
    expect([rows[1]!.ms, rows.some(isBad)]).toEqual([null, false]);
  });

  it("says that ours is bad where it fails", async () => {
    const { device } = await testEngine();
    const failing: Case = {
      ...small,
      run: () => {
        throw new Error("out of luck");
      },
    };
    const { rows } = await measure(device, failing, [], quick);
    expect(rows.map(({ state, message }) => `${state}: ${message}`)).toEqual(["failed: out of luck"]);
    expect(rows.every(isBad)).toBe(true);
  });

  it("measures the variants of a choice as parties, and the kernels of its own rows after every turn", async () => {
    const { device, adapterName } = await testEngine();
    for (const choice of ["matmul", "conv2d", "training"] as const) {
      const slimCase = cases({ slim: true }).find((one) => one.choice === choice)!;
      const { rows } = await measure(device, slimCase, [], { ...quick, variants: true });
      expect(rows.map(({ state }) => state).join()).toBe(rows.map(() => "measured").join());
      // software adapters have subgroups; a GPU has one kernel of conv2d
      const most = {
        matmul: ["subgroup", "tiled", "register"],
        conv2d: ["subgroup", "register"],
        training: ["fused", "layers"],
      };
      const names = most[choice].map((name) => `tenfold (${name})`);
      if (isSoftware(adapterName))
        expect(
          rows
            .slice(1)
            .map(({ party }) => party)
            .sort(),
        ).toEqual(names.sort());
      if (!device.features.has("timestamp-query")) continue;
      for (const { kernels, wallToKernels } of rows) {
        expect(kernels!.median).toBeGreaterThan(0);
        expect(wallToKernels!.median).toBeGreaterThan(0);
      }
    }
  });

  it("counts the bytes that the work needs, not those of reading it back", async () => {
    const { device } = await testEngine();
    const slimCase = cases({ slim: true }).find(({ name }) => name.startsWith("matmul"))!;
    const { rows } = await measure(device, slimCase, [], { ...quick, rounds: 0 });
    const { a, b } = slimCase.work as Extract<Case["work"], { op: "matmul" }>;
    const bytes = 4 * (a.shape[0]! * a.shape[1]! + b.shape[0]! * b.shape[1]! + a.shape[0]! * b.shape[1]!);
    // buffers come in size classes a quarter apart at most
    expect(rows[0]!.counts!.peakBytes).toBeGreaterThanOrEqual(bytes);
    expect(rows[0]!.counts!.peakBytes).toBeLessThan(1.6 * bytes + 4096);
  });
});

describe("checks", () => {
  it("tell the relative error of a CP model in f64, which is that of the noise for the terms that were planted", () => {
    const spec = { shape: [7, 5, 6, 4], seed: 3, rank: 2, cosine: 0.9, noise: 0.01 };
    const factors = modelFactors(spec);
    for (const [mode, factor] of factors.entries()) {
      const columns = [0, 1].map((r) => Array.from({ length: spec.shape[mode]! }, (_, i) => factor[2 * i + r]!));
      const product = (a: number[], b: number[]) => a.reduce((sum, value, at) => sum + value * b[at]!, 0);
      expect(product(columns[0]!, columns[0]!)).toBeCloseTo(1, 12);
      expect(product(columns[0]!, columns[1]!)).toBeCloseTo(0.9, 12);
    }
    const check = relativeErrorOf(modelled(spec), spec.shape);
    const outputs = [Float32Array.of(1, 1), ...factors.map((factor) => Float32Array.from(factor))];
    expect(check(outputs)).toBeGreaterThan(0.0085);
    expect(check(outputs)).toBeLessThan(0.0115);
    expect(check([new Float32Array(2), ...outputs.slice(1)])).toBe(1);
    expect(relativeErrorOf(modelled({ ...spec, noise: 0 }), spec.shape)(outputs)).toBeLessThan(1e-6);
  });

  it("look at entries that meet every row and column, whatever the size", () => {
    for (const size of [960_000, 1_152_000, 1_920_000, 2 ** 20, 720_720, 97, 10_007]) {
      const stride = spread(size);
      const seen = new Set(Array.from({ length: 1000 }, (_, index) => (index * stride) % size));
      expect(seen.size).toBe(Math.min(1000, size));
      for (const width of [30, 32, 75, 125])
        if (size > 1e4) expect(new Set([...seen].map((at) => at % width)).size).toBe(width);
    }
  });

  it("find one wrong entry where all are looked at, and what is not finite anywhere", () => {
    const check = entries(1000, 1, (index) => index);
    const right = Float32Array.from({ length: 1000 }, (_, index) => index);
    expect(check([right])).toBe(0);
    expect(check([right.with(417, 418)])).toBeCloseTo(1 / 999);
    expect(check([right.subarray(1)])).toBe(Number.POSITIVE_INFINITY);
    const large = entries(10 ** 6, 1e5, (index) => index);
    const many = Float32Array.from({ length: 10 ** 6 }, (_, index) => index);
    expect(large([many])).toBe(0);
    expect(large([many.with(12_345, Number.NaN)])).toBe(Number.POSITIVE_INFINITY);
  });
});

const row = (party: string, samples: number[] | null, more: Partial<Row> = {}): Row => ({
  party,
  state: samples ? "measured" : "failed",
  interleaved: true,
  error: 0,
  firstMs: 1,
  ms: samples && { median: median(samples), quartiles: [quantile(samples, 0.25), quantile(samples, 0.75)], samples },
  repetitions: 1,
  ratio: null,
  kernels: null,
  wallToKernels: null,
  counts: null,
  ...more,
});

const lavapipe = { device: "mesa llvmpipe", probes: { flops: 1e9, bytes: 1e9 } };
const card = { device: "nvidia hopper (H100)", probes: { flops: 1e9, bytes: 1e9 } };
const judged = (goals: Goal[], rows: Row[], on = lavapipe) => verdicts({ goals, rows, flops: 1e6, bytes: 2e6 }, on);

describe("goals", () => {
  const ours = row("tenfold", [1, 2, 3]);

  it("are judged by pairs of rounds, against the fastest peer or the one that is named", () => {
    const rows = [
      ours,
      row("jax-js 0.1", [4, 4, 4]),
      row("tfjs 4", [2, 8, 3]),
      row("tenfold (tiled)", [0.1, 0.1, 0.1]),
    ];
    const [best, jax] = judged(
      [
        { against: "best peer", limit: 0.5 },
        { against: "jax-js", limit: 0.5 },
      ],
      rows,
    );
    expect(best).toMatchObject({ by: "tfjs 4", value: 0.5, quartiles: [0.375, 0.75], reached: true });
    expect(jax).toMatchObject({ by: "jax-js 0.1", value: 0.5, reached: true });
    expect(judged([{ against: "best peer", limit: 0.49 }], rows)[0]!.reached).toBe(false);
  });

  it("do not vanish with a peer that failed, only with one that cannot or was not asked", () => {
    const goal: Goal = { against: "jax-js", limit: 0.5 };
    expect(judged([goal], [ours, row("jax-js 0.1", null)])).toMatchObject([
      { by: "jax-js 0.1: failed", reached: false },
    ]);
    expect(judged([goal], [ours, row("jax-js 0.1", null, { state: "cannot" })])).toEqual([]);
    expect(judged([goal], [ours])).toEqual([]);
  });

  it("of a GPU and of software are told apart; probes are shares, by the kernels where those are shorter", () => {
    const goals: Goal[] = [
      { against: "best peer", limit: 0.5, on: "software" },
      { against: "floor", limit: 0.7, on: "GPU" },
      { against: "FMA probe", limit: 0.6, on: "GPU" },
      { against: "TensorLy on CUDA", limit: 0.2, on: "GPU" },
      { against: "torch on CUDA", limit: 1, on: "GPU" },
    ];
    const timed = row("tenfold", [4, 4, 4], { kernels: { median: 2, quartiles: [2, 2] } });
    const others = [row("jax-js 0.1", [4]), row("TensorLy 0.9 on NumPy (CPU)", [1], { interleaved: false })];
    const cuda = row("TensorLy 0.9 on PyTorch 2 (CUDA, H100)", [40, 40, 40], { interleaved: false });
    const torch = row("torch.linalg 2.9 (CUDA, H100)", [1, 1, 1], { interleaved: false });
    const onNumPy = row("torch.linalg 2.9 (CPU)", [9, 9, 9], { interleaved: false });
    expect(judged(goals, [timed, ...others, cuda, torch, onNumPy]).map(({ goal }) => goal.against)).toEqual([
      "best peer",
    ]);
    expect(judged(goals, [timed, ...others, cuda, onNumPy, torch], card)).toMatchObject([
      // 2 ms of bytes and 5.5 µs of waiting
      { by: "floor", value: expect.closeTo(1.00275, 9), reached: true },
      { by: "FMA probe", value: 0.5, reached: false },
      { by: cuda.party, value: 0.1, quartiles: null, reached: true },
      { by: torch.party, value: 4, quartiles: null, reached: false },
    ]);
  });

  it("of wall time ÷ kernels need timestamps", () => {
    const goal: Goal = { against: "its kernels", limit: 1.25 };
    expect(judged([goal], [ours])).toEqual([]);
    const wallToKernels = { median: 1.3, quartiles: [1.2, 1.4] as [number, number] };
    expect(judged([goal], [{ ...ours, wallToKernels }])).toMatchObject([{ value: 1.3, reached: false }]);
  });
});

describe("statistics and tables", () => {
  it("take quantiles as NumPy does, and ratios by round", () => {
    expect([0, 0.25, 0.5, 0.75, 1].map((q) => quantile([4, 1, 3, 2], q))).toEqual([1, 1.75, 2.5, 3.25, 4]);
    expect(ratiosOf([2, 9, 5], [1, 3])).toEqual([2, 3]);
  });

  it("say what was wrong, and which goals are reached", () => {
    const result: Result = {
      name: "matmul 9",
      shapes: "9×9 · 9×9",
      flops: 1e6,
      bytes: 1e6,
      steps: 1,
      rows: [
        row("tenfold", [1, 2, 3]),
        row("tfjs 4", [4, 4, 4]),
        row("jax-js 0.1", null, { state: "WRONG", message: "relative error 1.0e+0, at most 0.0001 allowed" }),
      ],
      goals: [{ against: "best peer", limit: 0.4 }],
    };
    const report: Report = {
      ...lavapipe,
      environment: "Node",
      date: "2026-01-01",
      command: "npm run bench",
      version: "0.1.0",
      peers: ["tfjs 4", "jax-js 0.1"],
      fineTimestamps: true,
      load: null,
      rounds: 3,
      results: [result],
    };
    for (const text of [plainText(report), markdown(report)]) {
      expect(text).toMatch(/matmul 9.*tfjs 4.*0\.500.*0\.375–0\.625.*≤ 0\.4.*not reached/);
      expect(text).toContain("✗ matmul 9, jax-js 0.1: WRONG: relative error 1.0e+0");
    }
  });
});
