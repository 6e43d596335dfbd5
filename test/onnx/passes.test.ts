/** Folding changes no output, and leaves what only looks as if it could be folded. */
import { expect, it } from "vitest";
import { foldOnnx, onnxSites, readOnnx, writeOnnx } from "../../src/onnx/index.js";
import { foldTransposes } from "../../src/onnx/passes.js";
import { randomArray } from "../reference.js";
import { buildModel } from "./build.js";
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

it("turns constants that only a Transpose uses, and factorises what reads them", async () => {
  const random = (...shape: number[]) => ({
    shape,
    data: randomArray(
      shape.reduce((a, b) => a * b, 1),
      shape.length,
    ),
  });
  const node = (op: string, inputs: string[], output: string, attributes = {}) => ({
    ...{ op, inputs, attributes },
    outputs: [output],
  });
  const bytes = buildModel({
    inputs: { x: ["n", 12] },
    outputs: { y: null, t: null },
    weights: { ...{ a: random(20, 12), b: random(20, 16), c: random(5, 16), d: random(3, 2, 5) }, k: random(12, 4) },
    nodes: [
      node("Transpose", ["a"], "at", { perm: [1, 0] }),
      node("MatMul", ["x", "at"], "h"),
      node("Identity", ["b"], "b2"),
      node("Transpose", ["b2"], "bt"),
      node("Gemm", ["h", "bt"], "g", { transB: 1 }),
      // two nodes use this one
      node("Transpose", ["c"], "ct"),
      node("MatMul", ["g", "ct"], "z"),
      node("MatMul", ["z", "c"], "v"),
      node("MatMul", ["v", "ct"], "w"),
      node("Transpose", ["d"], "dt", { perm: [1, 2, 0] }),
      node("MatMul", ["w", "dt"], "y"),
      // the model gives it away
      node("Transpose", ["k"], "t"),
    ],
  });
  const read = readOnnx(bytes);
  const leftOf = (model: typeof read) =>
    onnxSites(model, { smallest: 0 }).leftAlone.map(({ name, reason }) => `${name}: ${reason}`);
  expect(leftOf(read)).toContain("h_node: its weights are turned by a Transpose: foldOnnx turns them");
  const shared = "its weights are shared: 2 nodes, inner graphs or outputs use them";
  const { model, folded } = await foldOnnx(read);
  expect(folded).toEqual(['Transpose at_node into "a"', 'Transpose bt_node into "b"', 'Transpose dt_node into "d"']);
  expect(onnxSites(model, { smallest: 0 }).sites.map(({ name, shape }) => [name, shape])).toEqual([
    ["h_node", [20, 12]],
    ["g_node", [16, 20]],
  ]);
  // where nobody reads weights, none are read
  const unread = readOnnx(bytes);
  for (const tensor of unread.graph.initializer) tensor.rawData = new Uint8Array();
  const described = (await foldTransposes(unread, {}, false)).model;
  const shapesOf = (of: typeof read) => onnxSites(of, { smallest: 0 }).sites.map(({ id, shape }) => [id, shape]);
  expect(shapesOf(described)).toEqual(shapesOf(model));
  expect(leftOf(model)).toEqual([
    ...["z", "v", "w"].map((name) => `${name}_node: ${shared}`),
    "y_node: its weights are a stack of matrices",
  ]);
  expect(model.graph.initializer.map(({ name }) => name).sort()).toEqual(["at", "bt", "c", "dt", "k"]);
  expect(model.graph.node.map(({ opType }) => opType).filter((op) => op !== "MatMul")).toEqual([
    "Gemm",
    "Transpose",
    "Transpose",
  ]);
  const feeds = feedsOf({ x: [3, 12] });
  const [before, after] = [await runModel(bytes, feeds), await runModel(writeOnnx(model), feeds)];
  for (const [name, value] of before) expect([name, difference(value, after.get(name))]).toEqual([name, 0]);
  expect((await foldOnnx(model)).folded).toEqual([]);
});
