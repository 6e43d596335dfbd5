/** Folding changes no output, and leaves what only looks as if it could be folded. */
import { expect, it } from "vitest";
import { foldOnnx, onnxSites, readOnnx, writeOnnx } from "../../src/onnx/index.js";
import { difference, feedsOf, fixture, runModel } from "./runtime.js";

it("folds BatchNormalization and constants into the layer before", async () => {
  const model = readOnnx(fixture("normalised.onnx"));
  const { model: folded, folded: said } = await foldOnnx(model);
  expect(said).toEqual([
    "BatchNormalization bn1_node into Conv c1_node",
    "Mul m2_node into Conv c2_node",
    "Add a2_node into Conv c2_node",
    "BatchNormalization bn2_node into Conv c2_node",
    "Div d3_node into ConvTranspose c3_node",
    "Sub s3_node into ConvTranspose c3_node",
    "BatchNormalization bn4_node into Gemm g1_node",
    "Mul m4_node into Gemm g2_node",
  ]);
  expect(folded.graph.node.map(({ name }) => name)).toEqual(
    "c1 r1 c2 c3 bn3 c4 not_by_channel second_user g1 g2 reversed g3 higher_rank"
      .split(" ")
      .map((name) => `${name}_node`),
  );
  const feeds = feedsOf({ x: [2, 4, 9, 9], r: [3, 6] });
  const [before, after] = [await runModel(fixture("normalised.onnx"), feeds), await runModel(writeOnnx(folded), feeds)];
  for (const [name, value] of before) expect([name, difference(value, after.get(name)) < 2e-6]).toEqual([name, true]);
  // weights of the folded nodes are gone, a constant that others use is not
  const names = folded.graph.initializer.map(({ name }) => name);
  for (const name of ["bn1_g", "scale", "shift", "c1_w", "c2_b", "by_channel"]) expect(names).not.toContain(name);
  expect(names).toContain("two");
  expect(onnxSites(folded, { smallest: 0 }).sites).toHaveLength(onnxSites(model, { smallest: 0 }).sites.length);
  // a second time there is nothing to do
  const again = await foldOnnx(folded);
  expect([again.model === folded, again.folded]).toEqual([true, []]);
});

it("leaves weights that callers may hand in, unless told otherwise", async () => {
  const model = readOnnx(fixture("normalised.onnx"));
  const inputs = model.graph.initializer.map(({ name }) => name);
  const { makeValueInfo } = await import("../../src/onnx/proto.js");
  model.graph.input.push(...inputs.map((name) => makeValueInfo(name, 1, [])));
  expect((await foldOnnx(model)).folded).toEqual([]);
  expect((await foldOnnx(model, { fixedInputs: true })).folded).toHaveLength(8);
});
