/** onnx's checker and its strict shape inference take what is written; runs where Python has onnx. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import {
  foldOnnx,
  type OnnxModel,
  onnxSites,
  quantiseOnnx,
  readOnnx,
  replaceSites,
  splitOnnx,
  writeOnnx,
} from "../../src/onnx/index.js";
import { exactReplacement, schemesOf } from "./exact.js";
import { fixture } from "./runtime.js";

const python = process.env.PYTHON ?? "python3";
const hasOnnx = spawnSync(python, ["-c", "import onnx"]).status === 0;

/** All values that nodes of the main graph read or make. */
const valuesOf = ({ graph }: OnnxModel): string[] => graph.node.flatMap(({ input, output }) => [...input, ...output]);

it.runIf(hasOnnx)("changed files pass onnx's checker", { timeout: 300_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "tenfold-onnx-"));
  try {
    const files: string[] = [];
    const put = (name: string, bytes: Uint8Array): void => {
      files.push(join(folder, name));
      writeFileSync(files.at(-1)!, bytes);
    };
    for (const name of [
      "convolutions",
      "transposed",
      "products",
      "transformer",
      "normalised",
      "torture",
      "half",
      "old",
      "bfloat16",
    ]) {
      const model = readOnnx(fixture(`${name}.onnx`));
      const { model: folded } = await foldOnnx(model, { fixedInputs: true });
      put(`${name}-folded.onnx`, writeOnnx(folded));
      const options = { fixedInputs: true };
      const ranges = new Map([...valuesOf(folded)].map((value) => [value, { min: -1, max: 1.5 }]));
      const operators = ["Conv", "Gemm", "MatMul"] as const;
      const { model: quantised } = await quantiseOnnx(folded, { ranges, operators, ...options });
      put(`${name}-int8.onnx`, writeOnnx(quantised));
      const { sites } = onnxSites(model, { ...options, smallest: 0 });
      for (const scheme of new Set(sites.flatMap(schemesOf))) {
        const taken = sites.filter((site) => schemesOf(site).includes(scheme));
        const replacements = await Promise.all(
          taken.map(async (site, at) => {
            const exact = await exactReplacement(site, scheme);
            return at % 2 ? exact : { ...exact, bias: new Float32Array(site.shape[0]!) };
          }),
        );
        put(`${name}-${scheme}.onnx`, writeOnnx(replaceSites(model, replacements, options)));
      }
    }
    const split = splitOnnx(readOnnx(fixture("convolutions.onnx")), { location: "split.data", smallest: 1 });
    const data: Uint8Array[] = [];
    for await (const part of split.data) data.push(part.slice());
    writeFileSync(join(folder, "split.data"), Buffer.concat(data));
    put("split.onnx", split.model);
    expect(files.length).toBeGreaterThan(39);
    const script = join(import.meta.dirname, "check.py");
    expect(() => execFileSync(python, [script, ...files], { stdio: "pipe", encoding: "utf8" })).not.toThrow();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
