/** `tenfold inspect`: the table, JSON, times of a runtime, and what it refuses. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { InspectReport } from "../../src/cli/inspect.js";
import { measureTimes, timesOf } from "../../src/cli/inspectTimes.js";
import { readOnnx } from "../../src/onnx/index.js";
import { command } from "./command.js";

const fixture = (name: string): string => join(import.meta.dirname, "../onnx/fixtures", name);
/** no command here opens a GPU */
const withEngine = () => Promise.reject(new Error("opened"));
const inspect = (...argv: string[]) => command(["inspect", ...argv], { withEngine });

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tenfold-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("tenfold inspect", () => {
  it("lists layers, weights and multiplications, and what is left alone", async () => {
    const { code, stdout, stderr } = await inspect(fixture("torture.onnx"));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    const words = stdout.replace(/\s+/g, " ");
    expect(words).toContain("opset 17, fixtures.py inputs: x float32 1×4×6×6; flag bool scalar; d float64 2×5");
    expect(words).toContain("585 weights");
    expect(words).toContain(
      "layer operator shape weights share mult. share by_alias_node Conv 4×4×3×3 144 24.6 % 5.18 k",
    );
    expect(words).toContain("in_double_node Gemm 4×5 20 3.4 % 40");
    expect(words).toContain("1 LSTM");
    expect(words).toMatch(/low rank wins most where kernels have several taps: \d+\.\d % of/);
    expect(words).toMatch(/int8 would save some [\d.]+ kB of [\d.]+ kB/);
    expect(words).toContain("quantised: factorise the float model first");
    expect(words).toContain("some shapes could not be inferred");
  });

  it("takes the extents of open inputs", async () => {
    const open = await inspect(fixture("transformer.onnx"));
    expect(open.stdout).toContain("unknown multiplications");
    expect(open.stdout).toContain("multiplications need extents: --shape tokens=1x…");
    // no columns of unknown numbers
    expect(open.stdout).toMatch(/layer +operator +shape +weights +share *\n/);
    expect(open.stdout.replace(/\s+/g, " ")).toContain("kernels have several taps: 0.0 % of weights here; 1×1");
    const known = await inspect(fixture("transformer.onnx"), "--shape", "tokens=2x7");
    expect(known.stdout).toContain("3,536 weights, 50,624 multiplications");
    expect(known.stdout.replace(/\s+/g, " ")).toContain("MatMul ×3 48×16 768 21.7 % 10.8 k 21.2 %");
  });

  it("writes JSON", async () => {
    const file = join(folder, "out.json");
    const { code, stdout } = await inspect(fixture("convolutions.onnx"), "--json", file, "--smallest", "5");
    expect(code).toBe(0);
    const report = JSON.parse(readFileSync(file, "utf8")) as InspectReport;
    expect(report).toMatchObject({
      opset: 17,
      irVersion: 8,
      producer: "fixtures.py",
      timesMissing: "pass --time to measure it",
    });
    expect(report.sites.length + report.leftAlone.length).toBe(19);
    expect(report.sites[0]).toMatchObject({ kind: "convolution", op: "Conv", dtype: "float32", time: null });
    expect(stdout).toContain("small: less than 5 %");
    const standard = await inspect(fixture("convolutions.onnx"), "--json", "-");
    expect(JSON.parse(standard.stdout)).toMatchObject({ totals: { weights: expect.any(Number) } });
    expect(standard.stderr).toContain("left alone");
  });

  it("says how weights that are inputs are taken", async () => {
    const { stdout } = await inspect(fixture("old.onnx"));
    expect(stdout).toContain("nothing here can be factorised");
    expect(stdout).toContain("--fixed-inputs takes weights that are inputs as they are");
    expect((await inspect(fixture("old.onnx"), "--fixed-inputs")).stdout).toMatch(/y_node +Conv +4×3×3×3/);
  });

  it("says why times are missing", async () => {
    const { code, stdout } = await inspect(fixture("old.onnx"), "--time");
    expect(code).toBe(0);
    expect(stdout).toContain("time was not measured: it needs onnxruntime-node: npm install onnxruntime-node");
  });

  it("takes times in WebAssembly, each layer by itself", async () => {
    const file = join(folder, "times.json");
    const network = join(import.meta.dirname, "../fixtures/networks/vgg.onnx");
    const { code, stdout } = await inspect(network, "--time", "--runtime", "wasm", "--json", file);
    expect(code).toBe(0);
    expect(stdout).toMatch(/time: [\d.]+ ms a run in onnxruntime-web, one thread/);
    expect(stdout.replace(/\s+/g, " ")).toMatch(/several taps: [\d.]+ % of time here/);
    const report = JSON.parse(readFileSync(file, "utf8")) as InspectReport;
    expect(report).toMatchObject({ runtime: "wasm", timesMissing: null });
    const shares = report.sites.map(({ time }) => time!);
    expect(shares.length).toBeGreaterThan(4);
    expect(shares.every((share) => share > 0)).toBe(true);
    expect(shares.reduce((a, b) => a + b)).toBeLessThan(1 + 1e-9);
    const missing = await command(["inspect", network, "--time", "--runtime", "wasm"], {
      ...{ withEngine, loadRuntime: () => Promise.reject(new Error("not found")) },
    });
    expect(missing.stdout).toContain("it needs onnxruntime-web: npm install onnxruntime-web");
  });

  it("answers wrong input with one line", async () => {
    writeFileSync(join(folder, "no.onnx"), "no model at all");
    const cases: [string[], string][] = [
      [[join(folder, "no.onnx")], "is no ONNX model"],
      [[join(folder, "missing.onnx")], "no such file or folder"],
      [[fixture("old.onnx"), "--shape", "y=1x2"], "--shape y: the inputs are x"],
      [[fixture("old.onnx"), "--shape", "x"], "It needs a name and extents, as in x=1x3x224x224."],
      [[fixture("old.onnx"), "--shape", "x=1x2"], 'shape 1,2 of "x": needs 2×3×5×5'],
      [[fixture("old.onnx"), "--smallest", "101"], "It needs a number from 0 to 100."],
      [[fixture("old.onnx"), "--runtime", "cuda"], "It needs node or wasm."],
    ];
    for (const [argv, expected] of cases) {
      const { code, stdout, stderr } = await inspect(...argv);
      expect([code, stdout]).toEqual([2, ""]);
      expect(stderr).toContain(expected);
      expect(stderr).toMatch(/^error: [^\n]+\n$/);
    }
  });
});

describe("times of a runtime", () => {
  const profile = JSON.stringify([
    { cat: "Session", name: "model_run", dur: 900 },
    ...[500, 100, 300].flatMap((dur) => [
      { cat: "Node", name: "y_node_fence_before", dur: 1 },
      { cat: "Node", name: "y_node_kernel_time", dur },
      { cat: "Node", name: "z_node_kernel_time", dur: 50 },
    ]),
  ]);

  it("are means over all runs but the first", () => {
    const { total, nodes } = timesOf(profile);
    expect([...nodes]).toEqual([
      ["y_node", 0.2],
      ["z_node", 0.05],
    ]);
    expect(total).toBeCloseTo(0.25, 12);
  });

  it("come from a session's profile, and say why there are none", async () => {
    const model = readOnnx(new Uint8Array(readFileSync(fixture("old.onnx"))));
    const runs: unknown[] = [];
    const runtime = {
      Tensor: class {
        constructor(
          readonly type: string,
          readonly data: unknown,
          readonly dims: readonly number[],
        ) {}
      },
      InferenceSession: {
        create: async (_: string, { profileFilePrefix }: { profileFilePrefix: string }) => ({
          run: async (feeds: object) => runs.push(feeds),
          endProfiling: () => writeFileSync(`${profileFilePrefix}_2020.json`, profile),
          release: async () => {},
        }),
      },
    };
    const measure = (shapes: Record<string, number[]>, loaded: unknown) =>
      measureTimes("node", { file: "old.onnx", model, sites: [], shapes }, async () => loaded as never);
    expect(await measure({ x: [2, 3, 5, 5] }, runtime)).toMatchObject({ total: 0.25 });
    expect(runs).toHaveLength(5);
    expect(runs[0]).toMatchObject({ x: { type: "float32", dims: [2, 3, 5, 5] } });
    expect(await measure({}, runtime)).toBe("it needs extents: --shape x=…");
    const failing = {
      ...runtime,
      InferenceSession: { create: () => Promise.reject(new Error("no such operator\nat")) },
    };
    expect(await measure({ x: [2, 3, 5, 5] }, failing)).toBe("onnxruntime-node failed: no such operator");
  });
});
