import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { LENET_STEP } from "../../src/cli/float8.js";
import type { Comparison } from "../../src/experiments/compare.js";
import { readSafetensors } from "../../src/io/index.js";
import { Linear, Sequential, saveModel } from "../../src/nn/index.js";
import { testEngine } from "../engine.js";
import { command } from "./command.js";

const folder = mkdtempSync(join(tmpdir(), "tenfold-compare-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const MODEL = "src/experiments/models/lenet.safetensors";

describe("tenfold compare", () => {
  it("decomposes a trained LeNet, fine-tunes, prints tables, writes JSON and a report", async () => {
    const [json, save] = [join(folder, "compare.json"), join(folder, "lenet.safetensors")];
    const { code, stdout, stderr } = await command([
      ...["compare", "--quick", "--model", MODEL, "--methods", "svd", "--ratios", "3,500", "--images", "300"],
      ...[
        "--epochs",
        "1",
        "--seeds",
        "2",
        "--seed",
        "7",
        "--json",
        json,
        "--save",
        save,
        "--report",
        join(folder, "report"),
      ],
    ]);
    expect(`${code}: ${stderr.split("\n").filter((line) => line.startsWith("error"))}`).toBe("0: ");
    expect(stderr).toContain(`${MODEL} may have seen the held-out images`);
    expect(stderr).toMatch(/compare: 100\/100 %/);
    const { rows, images, network, stopped } = JSON.parse(readFileSync(json, "utf8")) as Comparison;
    expect(images).toEqual({ train: 300, test: 2000 });
    expect([network, stopped]).toEqual(["LeNet 1-6-16-400-120-84-10", undefined]);
    expect(rows.map(({ method, target, reached }) => `${method} ${target} ${reached}`)).toEqual([
      "original  true",
      "svd ×3 weights true",
      // SVD leaves the convolutions as they are, and they alone have more weights than that
      "svd ×500 weights false",
      "loadings  true",
    ]);
    const [original, svd, , loadings] = rows as [Comparison["rows"][0], ...Comparison["rows"]];
    expect(original.weights).toBe(61706);
    expect(original.multiplications).toBe(416520);
    // accuracy on images that the network was not trained on
    expect(original.before).toBeGreaterThan(0.97);
    expect(svd!.weights).toBeLessThanOrEqual(61706 / 3);
    expect(svd!.weights).toBe(svd!.layers.reduce((sum, { weights }) => sum + weights[1], 0));
    expect(svd!.before).toBeGreaterThan(0.9);
    expect(svd!.after.values).toHaveLength(2);
    // for a single image the two layers of low rank are fused into one dispatch
    expect(svd!.dispatches).toBeLessThanOrEqual(original.dispatches);
    expect(svd!.dispatches).toBeGreaterThanOrEqual(7);
    // projection onto 39 components, 622 hidden neurons, ten classes
    expect(loadings).toMatchObject({
      weights: 784 * 39 + (39 * 622 + 622) + (6220 + 10),
      multiplications: 784 * 39 + 39 * 622 + 6220,
      before: null,
      epochs: 7,
    });
    expect(loadings!.after.mean).toBeGreaterThan(0.6);
    for (const { time } of rows) {
      expect(time.map(({ batch }) => batch)).toEqual([1, 100]);
      for (const { ms, original } of time) expect(Math.min(ms, original)).toBeGreaterThan(0);
    }
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(120);
    expect(stdout).toMatch(/method +weights .* after +ms 1 +ms 100 +t × 1 +t × 100 +÷ th\./);
    expect(stdout).toContain("epochs: of fine-tuning 1, of training 7 (loadings)\n");
    const faster = rows[1]!.time[1]!.original / rows[1]!.time[1]!.ms;
    const shown = stdout.match(/\nsvd +×3 w .*/)![0].split(/ +/);
    expect(Number(shown.at(-2))).toBeCloseTo(faster, 2);
    expect(Number(shown.at(-1))).toBeCloseTo(faster / rows[1]!.multiplicationsRatio, 2);
    expect(stdout).toContain("×500 w!");
    expect(stdout).toMatch(/ranks +Conv2d 1→6 +Conv2d 6→16 +Linear 400→120 /);
    expect(stdout).toMatch(/\nsvd +×3 w +– +– +\d+ +\d+ +(\d+|–)/);
    expect(stdout).toContain("\n– svd: Conv2d 1→6, Conv2d 6→16: svd is for dense layers and 1×1 kernels\n");
    const page = readFileSync(join(folder, "report/index.html"), "utf8");
    expect(page).toContain('"kind":"comparison"');
    const repeat = `tenfold compare --quick --model ${MODEL} --methods svd --ratios 3,500 --epochs 1 --images 300 --seeds 2 --seed 7`;
    expect(page).toContain(`"command":"${repeat}"`);
    expect(readFileSync(save)).toEqual(readFileSync(MODEL));
  }, 600_000);

  it("keeps what is finished when it is stopped", async () => {
    const controller = new AbortController();
    const [json, save] = [join(folder, "stopped.json"), join(folder, "stopped.safetensors")];
    const { code, stdout, stderr } = await command(
      [
        ...["compare", "--quick", "--methods", "svd,tt", "--images", "100"],
        ...["--json", json, "--save", save, "--report", join(folder, "stopped")],
      ],
      {
        signal: controller.signal,
        onStderr: (text) => {
          if (text.startsWith("compare:")) controller.abort();
        },
      },
    );
    expect(code).toBe(130);
    const { rows, stopped } = JSON.parse(readFileSync(json, "utf8")) as Comparison;
    expect(stopped).toBe(`stopped after ${rows.length} of 4 rows`);
    expect(rows[0]!.method).toBe("original");
    expect(stderr).toMatch(new RegExp(`\\n${stopped}; the table holds these\\n$`));
    expect(stdout).toMatch(/\noriginal +61,706 /);
    expect(stdout).toContain(`\n${stopped}\n`);
    expect(readFileSync(join(folder, "stopped/index.html"), "utf8")).toContain(`"stopped":"${stopped}"`);
    // the trained LeNet, whose weights travel as floats of 8 bits, those of matrices in steps
    const [saved, trained] = [save, MODEL].map((file) => readSafetensors(new Uint8Array(readFileSync(file))).tensors);
    expect([...saved!.keys()]).toEqual([...trained!.keys()]);
    for (const [name, { data, shape }] of trained!) {
      const rounded = saved!.get(name)!.data;
      expect(rounded.length).toBe(data.length);
      const step = shape.length === 2 ? LENET_STEP / 2 : 2 ** -10;
      const excess = Array.from(rounded, (value, at) => {
        const exact = Number(data[at]);
        return Math.abs(Number(value) - exact) - Math.max(Math.abs(exact) / 16, step);
      });
      expect(Math.max(...excess)).toBeLessThanOrEqual(0);
    }
  }, 600_000);

  it("writes nothing when it is stopped before the first row", async () => {
    const controller = new AbortController();
    const json = join(folder, "nothing.json");
    const { code, stdout, stderr } = await command(
      ["compare", "--images", "100", "--no-report", "--json", json, "--methods", "svd"],
      {
        signal: controller.signal,
        // the first text is the adapter's name, and training starts after it
        onStderr: () => controller.abort(),
      },
    );
    expect([code, stdout]).toEqual([130, ""]);
    expect(stderr).toMatch(/\nstopped; no table was written\n$/);
    expect(existsSync(json)).toBe(false);
  });

  it("refuses ratios that are none", async () => {
    for (const ratios of ["0.5", "two", "2,,4", "Infinity"]) {
      const { code, stderr } = await command(["compare", "--ratios", ratios]);
      expect([code, stderr]).toEqual([2, expect.stringContaining("Needs numbers from 1, as in 2,4,8.")]);
    }
  });

  it("says which methods there are", async () => {
    const { code, stderr } = await command(["compare", "--methods", "magic"]);
    expect(code).toBe(2);
    expect(stderr).toContain("No method magic; there are svd, tt");
  });

  it("says of a model for other samples what it needs", async () => {
    const engine = await testEngine();
    const file = join(folder, "other.safetensors");
    for (const [inputShape, outputs, said] of [
      [[784], 10, "takes samples of 784 to 10 numbers"],
      [[6], 3, "takes samples of 6 to 3 numbers"],
    ] as const) {
      using other = await Sequential.create(engine, [new Linear(inputShape[0], outputs)], { inputShape });
      writeFileSync(file, await saveModel(other));
      const { code, stdout, stderr } = await command(["compare", "--no-report", "--model", file]);
      expect([code, stdout]).toEqual([2, ""]);
      expect(stderr).toContain(`error: ${file}: ${said}, the comparison needs 1×28×28 to 10 classes\n`);
    }
  });
});
