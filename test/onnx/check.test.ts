/** onnx's checker and its strict shape inference take what is written; runs where Python has onnx. */
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
import { checkOnnx, hasOnnx } from "./checker.js";
import { exactReplacement, schemesOf } from "./exact.js";
import { fixture } from "./runtime.js";

/** All values that nodes of the main graph read or make. */
const valuesOf = ({ graph }: OnnxModel): string[] => graph.node.flatMap(({ input, output }) => [...input, ...output]);

it.runIf(hasOnnx)("changed files pass onnx's checker", { timeout: 300_000 }, async () => {
  const files = new Map<string, Uint8Array>();
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
    files.set(`${name}-folded.onnx`, writeOnnx(folded));
    const options = { fixedInputs: true };
    const ranges = new Map([...valuesOf(folded)].map((value) => [value, { min: -1, max: 1.5 }]));
    const operators = ["Conv", "Gemm", "MatMul"] as const;
    const { model: quantised } = await quantiseOnnx(folded, { ranges, operators, ...options });
    files.set(`${name}-int8.onnx`, writeOnnx(quantised));
    const { sites } = onnxSites(model, { ...options, smallest: 0 });
    for (const scheme of new Set(sites.flatMap(schemesOf))) {
      const taken = sites.filter((site) => schemesOf(site).includes(scheme));
      const replacements = await Promise.all(
        taken.map(async (site, at) => {
          const exact = await exactReplacement(site, scheme);
          return at % 2 ? exact : { ...exact, bias: new Float32Array(site.shape[0]!) };
        }),
      );
      files.set(`${name}-${scheme}.onnx`, writeOnnx(replaceSites(model, replacements, options)));
    }
  }
  const split = splitOnnx(readOnnx(fixture("convolutions.onnx")), { location: "split.data", smallest: 1 });
  const data: Uint8Array[] = [];
  for await (const part of split.data) data.push(part.slice());
  files.set("split.onnx", split.model);
  expect(files.size).toBeGreaterThan(39);
  expect(checkOnnx(files, new Map([["split.data", Buffer.concat(data)]]))).toBe("");
});
