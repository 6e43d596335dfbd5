/** `--runtime` of `tenfold compress`: everything runs in the runtime that is named. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CompressReport } from "../../src/cli/compress.js";
import { readPlan } from "../../src/cli/plans.js";
import { openRuntime, type Runtime } from "../../src/cli/runtime.js";
import type { OnnxPlan } from "../../src/compress/onnx/index.js";
import { writeNpz } from "../../src/io/index.js";
import { readMnistData } from "../../src/node/index.js";
import { readOnnx } from "../../src/onnx/index.js";
import { difference, ort, runModel } from "../onnx/runtime.js";
import { command } from "./command.js";

const NETWORK = join(import.meta.dirname, "../fixtures/networks/vgg.onnx");
const SAMPLES = 48;
let folder: string;
let digits: Float32Array;
const path = (name: string): string => join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tenfold-runtime-"));
  digits = Float32Array.from(readMnistData().images.subarray(0, SAMPLES * 784), (byte) => byte / 255);
  writeFileSync(path("digits.npz"), writeNpz([["digits", { shape: [SAMPLES, 1, 28, 28], data: digits }]]));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const compress = (...more: string[]) =>
  command(["compress", NETWORK, "--calibration", path("digits.npz"), "--patches", "2000", "--no-refit", ...more]);

describe("tenfold compress --runtime wasm", () => {
  it.each(["mult/2", "time/1.2"])("writes a smaller model for %s", { timeout: 300_000 }, async (target) => {
    const [out, json] = [path(`${target.replace("/", "-")}.onnx`), path("r.json")];
    const words = ["--target", target, "--runtime", "wasm", "--out", out, "--json", json, "--plan", `${out}.plan`];
    const { code, stdout, stderr } = await compress(...words);
    expect({ code, stdout, stderr }).toMatchObject({ code: 0 });
    const report = JSON.parse(readFileSync(json, "utf8")) as CompressReport;
    expect(report).toMatchObject({ runtime: "wasm", reason: null });
    expect(report.time!.before).toBeGreaterThan(0);
    expect(report.verified!.error).toBeLessThan(0.5);
    const [original, small] = [readFileSync(NETWORK), readFileSync(out)].map((bytes) => new Uint8Array(bytes));
    expect(small!.length).toBeLessThan(original!.length);
    expect(readOnnx(small!).metadata.get("tenfold.factorised")).toContain("ranks");
    const run = async (bytes: Uint8Array) => {
      const feeds = {
        [readOnnx(bytes).inputs[0]!.name]: new ort.Tensor("float32", digits.slice(0, 7840), [10, 1, 28, 28]),
      };
      return [...(await runModel(bytes, feeds)).values()][0]!;
    };
    expect(difference(await run(original!), await run(small!))).toBeLessThan(0.5);

    const plan = JSON.parse(readFileSync(`${out}.plan`, "utf8")) as OnnxPlan & { runtime: string };
    expect(plan.runtime).toBe("wasm");
    expect(plan.layers.some(({ time }) => time !== undefined)).toBe(target.startsWith("time"));
    // times of another runtime do not count
    expect(readPlan(`${out}.plan`, "wasm")).toEqual({ ...plan, runtime: undefined });
    const other = readPlan(`${out}.plan`, "node")!;
    expect(JSON.stringify(other)).not.toContain(`"time":`);
    expect(other).toMatchObject({ timeTotal: 0, fingerprint: plan.fingerprint });
    expect(other.layers.map(({ candidates }) => candidates.length)).toEqual(
      plan.layers.map(({ candidates }) => candidates.length),
    );
  });

  it("is opened on one thread, or as many as are asked for; node has the CPU", async () => {
    const runtime = { env: { wasm: {} } } as Runtime;
    const load = async () => runtime;
    expect(await openRuntime("wasm", 0, load)).toEqual({ runtime, settings: { executionProviders: ["wasm"] } });
    expect(runtime.env).toEqual({ wasm: { numThreads: 1 }, logLevel: "error" });
    await openRuntime("wasm", 3, load);
    expect(runtime.env!.wasm.numThreads).toBe(3);
    const node = { executionProviders: ["cpu"], intraOpNumThreads: 2 };
    expect((await openRuntime("node", 2, load)).settings).toEqual(node);
    expect((await openRuntime("node", 0, load)).settings).toEqual({ executionProviders: ["cpu"] });
  });

  it("names the package that is missing, and refuses other runtimes in one line", async () => {
    const out = path("none.onnx");
    const words = ["compress", NETWORK, "--calibration", path("digits.npz"), "--target", "mult/2", "--out", out];
    const names: string[] = [];
    const loadRuntime = (name: string) => {
      names.push(name);
      return Promise.reject(new Error("not found"));
    };
    const missing = await command([...words, "--runtime", "wasm"], { loadRuntime });
    expect(missing.code).toBe(2);
    expect(missing.stderr).toContain("runs the model in onnxruntime-web: npm install onnxruntime-web (not found)");
    await command(words, { loadRuntime });
    expect(names).toEqual(["wasm", "node"]);
    for (const [name, said] of [
      ["webgpu", "WebGPU of onnxruntime-web needs a browser: use the page, or compressOnnx"],
      ["cuda", "It needs node or wasm."],
    ] as const) {
      const { code, stdout, stderr } = await command([...words, "--runtime", name]);
      expect([code, stdout]).toEqual([2, ""]);
      expect(stderr).toContain(said);
      expect(stderr).toMatch(/^error: [^\n]+\n$/);
    }
    expect(existsSync(out)).toBe(false);
  });
});
