/** `tenfold compress`: the table, the files, and what it refuses. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CompressReport } from "../../src/cli/compress.js";
import { writeNpz } from "../../src/io/index.js";
import { readOnnx } from "../../src/onnx/index.js";
import { lowRank, modelOf, normals } from "../compress/onnx/models.js";
import { ort } from "../onnx/runtime.js";
import { command } from "./command.js";

let folder: string;
let model: string;
let samples: string;
const path = (name: string): string => join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tenfold-"));
  [model, samples] = [path("model.onnx"), path("samples.npz")];
  const draw = normals(2);
  const weights = {
    a: { shape: [20, 16], data: lowRank(draw, 20, 16, 4) },
    b: { shape: [16, 8], data: draw(128, 0.3) },
  };
  writeFileSync(
    model,
    modelOf(
      [
        { op: "MatMul", inputs: ["x", "a"], output: "hidden" },
        { op: "Relu", inputs: ["hidden"], output: "relu" },
        { op: "MatMul", inputs: ["relu", "b"], output: "y" },
      ],
      weights,
      [null, 20],
      [null, 8],
    ),
  );
  writeFileSync(samples, writeNpz([["x", { shape: [300, 20], data: draw(6000) }]]));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const missing = () => Promise.reject(new Error("not found"));
const compress = (...argv: string[]) => command(["compress", ...argv], { loadRuntime: missing });
/** onnxruntime-web in the place of onnxruntime-node: it has no provider called cpu */
const web = async () => ({
  ...ort,
  InferenceSession: {
    create: (bytes: Uint8Array) =>
      ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 3 }),
  },
});

describe("tenfold compress", () => {
  it("says that the runtime is missing, and writes nothing", async () => {
    const { code, stderr } = await compress(
      model,
      "--calibration",
      samples,
      "--target",
      "size/1.3",
      "--out",
      path("no.onnx"),
    );
    expect(code).toBe(2);
    expect(stderr).toContain("onnxruntime-node: npm install onnxruntime-node (not found)");
    expect(existsSync(path("no.onnx"))).toBe(false);
  });

  it("compresses by the weights alone, and says so", async () => {
    const { code, stdout } = await compress(
      model,
      "--target",
      "size/1.3",
      "--shape",
      "x=1x20",
      "--out",
      path("blind.onnx"),
    );
    expect({ code, stdout }).toMatchObject({ code: 0 });
    expect(stdout).toContain("no calibration samples");
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    expect(readOnnx(readFileSync(path("blind.onnx"))).metadata.get("tenfold.factorised")).toContain(
      "hidden: lowRank, ranks 4",
    );
  });

  it("compresses with samples, verifies, and writes a report", async () => {
    const metric = path("metric.mjs");
    writeFileSync(metric, "export default async (run) => 1;");
    const { code, stdout, stderr } = await command(
      [
        "compress",
        ...[
          model,
          "--calibration",
          samples,
          "--target",
          "mult/1.3",
          "--out",
          path("small.onnx"),
          "--json",
          path("r.json"),
        ],
        ...["--evaluate", metric, "--max-loss", "0.01"],
      ],
      { loadRuntime: web as never },
    );
    expect({ code, stdout, stderr }).toMatchObject({ code: 0 });
    const words = stdout.replace(/\s+/g, " ");
    expect(words).toMatch(/hidden 16×20 lowRank\*? 4 45.0 % 45.0 %/);
    expect(words).toContain("verified on 60 samples that nothing was fitted to: relative error 0.000");
    expect(words).toContain("metric 1 before, 1 after");
    const report = JSON.parse(readFileSync(path("r.json"), "utf8")) as CompressReport;
    expect(report).toMatchObject({
      reason: null,
      out: path("small.onnx"),
      samples: { fit: 180, choose: 60, verify: 60 },
    });
    expect(report.bytes.after).toBe(readFileSync(path("small.onnx")).length);
  });

  it("tells of int8 beside the file, and what was folded", async () => {
    const [file, data] = [path("normalised.onnx"), path("images.npz")];
    const draw = normals(7);
    const channels = (value: number) => ({ shape: [32], data: draw(32, 0.1).map((one) => value + one) });
    writeFileSync(
      file,
      modelOf(
        [
          { op: "Conv", inputs: ["x", "w"], output: "conv", attributes: { pads: [1, 1, 1, 1] } },
          { op: "BatchNormalization", inputs: ["conv", "scale", "shift", "mean", "variance"], output: "normal" },
          { op: "Relu", inputs: ["normal"], output: "y" },
        ],
        {
          ...{ w: { shape: [32, 32, 3, 3], data: draw(9216, 0.1) }, scale: channels(1), shift: channels(0) },
          ...{ mean: channels(0), variance: channels(1) },
        },
        [null, 32, 6, 6],
        [null, 32, 6, 6],
      ),
    );
    writeFileSync(data, writeNpz([["x", { shape: [40, 32, 6, 6], data: draw(46_080) }]]));
    const words = ["compress", file, "--calibration", data, "--target", "mult/3", "--out", path("third.onnx")];
    const more = ["--json", path("beside.json"), "--report", path("beside")];
    const { code, stdout, stderr } = await command([...words, ...more], { loadRuntime: web as never });
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stdout).toContain("folded first: BatchNormalization normal into Conv conv\n");
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    const { versions, folded } = JSON.parse(readFileSync(path("beside.json"), "utf8")) as CompressReport;
    expect(folded).toEqual(["BatchNormalization normal into Conv conv"]);
    expect(versions!.map(({ name }) => name)).toEqual(["original", "int8", "low rank"]);
    const lines = stdout.split("\n");
    const at = lines.findIndex((line) => /^ +bytes +ms a run +error +cosine$/.test(line));
    const rows = lines.slice(at + 1, at + 4).map((line) => line.trim().split(/ {2,}/));
    expect(rows).toEqual(
      versions!.map(({ name, bytes, milliseconds, error, cosine }) => [
        name,
        `${bytes.toLocaleString("en-US")}${name === "original" ? "" : ` (÷${(versions![0]!.bytes / bytes).toFixed(2)})`}`,
        expect.stringMatching(new RegExp(`^${milliseconds.toPrecision(3)}${name === "original" ? "$" : " \\(÷"}`)),
        error.toFixed(4),
        cosine.toFixed(5),
      ]),
    );
    expect(versions![1]!.bytes).toBeLessThan(versions![2]!.bytes);
    const advice = /int8 \(--int8\) is the better way to a small file of this model \(÷\d\.\d\d, an error of 0\.0\d+\)/;
    expect(stdout.replace(/\s+/g, " ")).toMatch(advice);
    const page = readFileSync(path("beside/index.html"), "utf8");
    expect(page).toMatch(advice);
    expect(page).toContain(rows[1]![1]);
  });

  it("keeps a plan, goes on from it, and tells what each step brings", async () => {
    const [out, plan] = [path("planned.onnx"), path("plan.json")];
    const words = ["compress", model, "--calibration", samples, "--target", "mult/1.3", "--out", out, "--plan", plan];
    const first = await command(words, { loadRuntime: web as never });
    expect(first).toMatchObject({ code: 0 });
    const bytes = readFileSync(out);
    rmSync(out);
    const folder = path("report");
    const again = await command([...words, "--ablation", "--report", folder], { loadRuntime: web as never });
    expect(again).toMatchObject({ code: 0 });
    expect(readFileSync(out)).toEqual(bytes);
    expect(again.stdout.replace(/\s+/g, " ")).toMatch(/step error same class weights alone, .* refitted in order 0/);
    const page = readFileSync(join(folder, "index.html"), "utf8");
    expect(page).toContain("model.onnx: compressed");
    expect(page).toContain("Worst samples");
    expect(readFileSync(join(folder, "samples.csv"), "utf8").split("\n").length).toBe(62);
    expect(page).toContain(
      `--target mult/1.5 --calibration ${samples} --out ${out} --plan ${plan} --ablation --report`,
    );
    expect(page).not.toMatch(/src=|href="http/);
    expect(readFileSync(join(folder, "layers.csv"), "utf8").split("\n")[1]).toMatch(/^hidden,lowRank,4,/);
    expect(readFileSync(join(folder, "budgets.csv"), "utf8").split("\n").length).toBeGreaterThan(2);
    expect(readFileSync(join(folder, "budgets.svg"), "utf8")).toContain("<svg");
    writeFileSync(plan, "{");
    expect((await command(words, { loadRuntime: web as never })).stderr).toContain("is no plan of tenfold compress");
    expect((await compress(model, "--target", "mult/2", "--ablation")).stderr).toContain("--ablation needs");
  });

  it("gives every option in the commands of other budgets", async () => {
    const metric = path("one.mjs");
    writeFileSync(metric, "export default () => 1;");
    const report = path("budgets");
    const options = [
      ...["--calibration", samples, "--int8", "--tune", "2", "--no-refit", "--max-loss=0.5", "--evaluate", metric],
      ...[
        "--seed",
        "3",
        "--patches",
        "4000",
        "--multiple",
        "4",
        "--threads",
        "1",
        "--fixed-inputs",
        "--verify",
        samples,
      ],
      ...["--plan", path("all.json"), "--report", report, "--shape", "x=1x20", "--shape", "y=1x8"],
    ];
    const argv = ["compress", model, ...options, "--target", "size/1.3"];
    const { code, stderr } = await command(argv, { loadRuntime: web as never });
    expect({ code, stderr }).toMatchObject({ code: 0 });
    const told = options.map((word) => (/^[xy]=/.test(word) ? `&quot;${word}&quot;` : word.replace("loss=", "loss ")));
    expect(readFileSync(join(report, "index.html"), "utf8")).toContain(
      `data-command="tenfold compress ${model} --target size/1.5 ${told.join(" ")} --out small.onnx"`,
    );
  });

  it("tunes, and says what it brought", async () => {
    const [out, report] = [path("tuned.onnx"), path("tuned")];
    const words = ["compress", model, "--calibration", samples, "--target", "mult/1.9", "--out", out];
    const tuned = await command([...words, "--tune", "60", "--report", report], { loadRuntime: web as never });
    expect(tuned).toMatchObject({ code: 0 });
    // what is left of these layers is the best of its rank already
    const told = /tuned x to y, 60 steps on 180 samples: (error 0\.\d{4} to 0\.\d{4} after|no better than error)/;
    expect(tuned.stdout.replace(/\s+/g, " ")).toMatch(told);
    expect(readFileSync(join(report, "index.html"), "utf8")).toMatch(/of 60 steps|no better after 60 steps/);
    expect((await compress(model, "--target", "mult/2", "--tune", "9")).stderr).toContain("--tune needs --calibration");
  });

  it("writes nothing where there is nothing to be gained", async () => {
    const { code, stdout, stderr } = await compress(
      model,
      "--target",
      "size/9",
      "--shape",
      "x=1x20",
      "--out",
      path("none.onnx"),
    );
    expect(code).toBe(2);
    expect(stdout.replace(/\s+/g, " ")).toContain("no file: no choice of ranks divides the weights by 9: at most by");
    expect(stderr).toContain("compress: nothing was written");
    expect(existsSync(path("none.onnx"))).toBe(false);
  });

  it("answers wrong input with one line", async () => {
    expect((await compress(model)).stderr).toContain("needs --target, as in --target mult/2, or --max-loss");
    expect((await compress(model, "--target", "mult2")).stderr).toContain("It needs mult/2, size/2 or time/2");
    expect((await compress(model, "--target", "time/2")).stderr).toContain("this target needs --calibration");
    expect((await compress(model, "--max-loss", "0.1")).stderr).toContain("--max-loss needs --calibration");
    expect((await compress(model, "--int8")).stderr).toContain("--int8 needs --calibration");
    expect((await compress(model, "--target", "mult/2", "--out", model)).stderr).toContain("--out");
    const text = path("samples.txt");
    writeFileSync(text, "1 2 3");
    expect((await compress(model, "--target", "mult/2", "--calibration", text)).stderr).toContain(
      "samples are read from .npz, .npy, .mjs, .js, or a folder of images",
    );
    const empty = path("empty.mjs");
    writeFileSync(empty, "export default [];");
    expect((await compress(model, "--target", "mult/2", "--calibration", empty)).stderr).toContain("yields no feeds");
    expect((await compress("none.onnx", "--target", "mult/2")).stderr).toContain("no such file");
  });
});
