/** Runs that go on from the values at a place in a network. */
import { describe, expect, it } from "vitest";
import { Relay } from "../../../src/compress/onnx/relay.js";
import { type OnnxFeeds, type OnnxSessions, Part, runtimeSessions } from "../../../src/compress/onnx/session.js";
import { readOnnx } from "../../../src/onnx/index.js";
import { ort } from "../../onnx/runtime.js";
import { integers, modelOf, normals } from "./models.js";

const inner = runtimeSessions(ort as never, { executionProviders: ["wasm"] });
/** nodes that sessions had, over all runs */
let nodes = 0;
const sessions: OnnxSessions = async (bytes) => {
  const session = await inner(bytes);
  const { length } = readOnnx(bytes).graph.node;
  return {
    ...session,
    run: (feeds) => {
      nodes += length;
      return session.run(feeds);
    },
  };
};

const draw = normals(6);
const matrix = (rows: number, columns: number) => ({ shape: [rows, columns], data: draw(rows * columns) });
/** four products; the first one's result is read at the end, too, and the input's shape, which is made of integers */
const bytes = modelOf(
  [
    { op: "Shape", inputs: ["x"], output: "shape" },
    { op: "Identity", inputs: ["w2"], output: "same" },
    { op: "MatMul", inputs: ["x", "w1"], output: "a" },
    { op: "Relu", inputs: ["a"], output: "b" },
    { op: "MatMul", inputs: ["b", "same"], output: "c" },
    { op: "Add", inputs: ["b", "c"], output: "d" },
    { op: "MatMul", inputs: ["d", "w3"], output: "e" },
    { op: "Add", inputs: ["e", "a"], output: "f" },
    { op: "MatMul", inputs: ["f", "w4"], output: "g" },
    { op: "Concat", inputs: ["shape", "end"], output: "long", attributes: { axis: 0 } },
    { op: "Slice", inputs: ["long", "zero", "two"], output: "wanted" },
    { op: "Reshape", inputs: ["g", "wanted"], output: "y" },
  ],
  {
    w1: matrix(6, 6),
    w2: matrix(6, 6),
    w3: matrix(6, 6),
    w4: matrix(6, 6),
    end: integers(1),
    zero: integers(0),
    two: integers(2),
  },
  [null, 6],
  [null, 6],
);
const model = readOnnx(bytes);
const runs: OnnxFeeds[] = [3, 1, 2].map((rows) => ({
  x: { dtype: "float32", shape: [rows, 6], data: draw(rows * 6) },
}));
const VALUES = ["d", "f", "y"].map((name) => ({ name, dataType: 1 }));

async function valuesOf(relay: Relay, name: string) {
  const { runs, from } = await relay.reach();
  const part = await Part.open(
    sessions,
    model,
    VALUES.filter((one) => one.name === name),
    from,
  );
  const out: number[][] = [];
  for (const feeds of runs) out.push(Array.from((await part.run(feeds))[name]!.data as Float32Array));
  await part.release();
  return out;
}

describe("runs from a place on", () => {
  it("give what whole runs give, and leave out what stands before", async () => {
    const fresh = () => new Relay(sessions, runs, 1e6);
    nodes = 0;
    const whole = [];
    for (const { name } of VALUES) whole.push(await valuesOf(fresh(), name));
    const wholeNodes = nodes;
    const relay = fresh();
    nodes = 0;
    const parts = [];
    for (const [at, { name }] of VALUES.entries()) {
      relay.settle(() => model, [["c"], ["e"], ["g"]][at]!);
      parts.push(await valuesOf(relay, name));
    }
    expect(parts).toEqual(whole);
    expect(nodes).toBeLessThan(0.8 * wholeNodes);
    const { from } = await relay.reach();
    // what follows from weights alone is not kept
    expect(from.map(({ name, dataType }) => [name, dataType])).toEqual([
      ["g", 1],
      ["wanted", 7],
    ]);
  });

  it("go one place after the other when they are needed, and stay where values take too much memory", async () => {
    const relay = new Relay(sessions, runs, 1e6);
    nodes = 0;
    for (const name of ["c", "e"]) relay.settle(() => model, [name]);
    expect(nodes).toBe(0);
    const before = await valuesOf(relay, "f");
    const { from } = await relay.reach();
    expect(from.map(({ name }) => name).sort()).toEqual(["a", "e", "shape"]);
    const poor = new Relay(sessions, runs, 40);
    poor.settle(() => model, ["e"]);
    expect((await poor.reach()).from).toEqual([]);
    expect(await valuesOf(poor, "f")).toEqual(before);
    // nothing stands before the first node
    const first = new Relay(sessions, runs, 1e6);
    first.settle(() => model, ["x"]);
    expect((await first.reach()).from).toEqual([]);
  });

  it("go on with a part that has changed", async () => {
    const other = readOnnx(
      modelOf(
        [
          { op: "MatMul", inputs: ["x", "w"], output: "inside" },
          { op: "MatMul", inputs: ["inside", "v"], output: "a" },
          { op: "Relu", inputs: ["a"], output: "y" },
        ],
        { w: matrix(6, 2), v: matrix(2, 6) },
        [null, 6],
        [null, 6],
      ),
    );
    const relay = new Relay(sessions, runs, 1e6);
    relay.settle(() => other, ["a"]);
    const { runs: begun, from } = await relay.reach();
    expect(from.map(({ name }) => name)).toEqual(["a"]);
    const part = await Part.open(sessions, other, [{ name: "y", dataType: 1 }]);
    for (const [at, feeds] of runs.entries()) {
      const y = (await part.run(feeds)).y!.data as Float32Array;
      expect(Array.from(begun[at]!.a!.data as Float32Array, (value) => Math.max(value, 0))).toEqual(Array.from(y));
    }
    await part.release();
  });
});
