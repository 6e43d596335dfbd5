/** Times of layers in a runtime: layers alike are timed once. */
import { describe, expect, it } from "vitest";
import type { FitCandidate } from "../../../src/compress/onnx/fits.js";
import { type OnnxSessions, runtimeSessions } from "../../../src/compress/onnx/index.js";
import { LayerTimes } from "../../../src/compress/onnx/times.js";
import { onnxSites, readOnnx } from "../../../src/onnx/index.js";
import { ort } from "../../onnx/runtime.js";
import { modelOf, normals } from "./models.js";

const draw = normals(3);
const kernel = (outputs: number, inputs: number) => ({
  shape: [outputs, inputs, 3, 3],
  data: draw(outputs * inputs * 9, 0.1),
});
/** convolutions of 8 channels: the first two and the last are alike, the third has half of the places */
const model = readOnnx(
  modelOf(
    [
      { op: "Conv", inputs: ["x", "a"], output: "first", attributes: { pads: [1, 1, 1, 1] } },
      { op: "Conv", inputs: ["first", "b"], output: "second", attributes: { pads: [1, 1, 1, 1] } },
      { op: "Conv", inputs: ["second", "c"], output: "strided", attributes: { pads: [1, 1, 1, 1], strides: [2, 2] } },
      { op: "Conv", inputs: ["strided", "d"], output: "smaller", attributes: { pads: [1, 1, 1, 1] } },
    ],
    { a: kernel(8, 8), b: kernel(8, 8), c: kernel(8, 8), d: kernel(8, 8) },
    [1, 8, 12, 12],
    [1, 8, 6, 6],
  ),
);
const { sites } = onnxSites(model, { smallest: 0 });

function counting() {
  const counts = { opened: 0, released: 0, runs: 0 };
  const open = runtimeSessions(ort as never, { executionProviders: ["wasm"] });
  const sessions: OnnxSessions = async (bytes) => {
    counts.opened++;
    const session = await open(bytes);
    return {
      run: (feeds) => {
        counts.runs++;
        return session.run(feeds);
      },
      release: () => {
        counts.released++;
        return session.release();
      },
    };
  };
  return { counts, times: new LayerTimes(sessions, model, { fixedInputs: false, join: false }) };
}
const candidate = (rank: number): FitCandidate => ({
  ...{ scheme: "pointwiseFirst", ranks: [rank], weights: 0, multiplications: 0, error: rank / 100 },
});

describe("times of layers", () => {
  it("are taken once of layers alike, with the candidates' own errors", async () => {
    const { counts, times } = counting();
    const [first, second, strided, smaller] = sites;
    expect(sites.map(({ id }) => id)).toEqual(["first", "second", "strided", "smaller"]);
    const before = await times.of(first!, [candidate(2), candidate(4)]);
    // the layer and two candidates, in eight pairs each
    expect(counts).toEqual({ opened: 3, released: 3, runs: 32 });
    expect([before.original, ...before.candidates.map(({ time }) => time!)].every((ms) => ms > 0)).toBe(true);

    const again = await times.of(second!, [
      { ...candidate(2), error: 0.5 },
      { ...candidate(4), error: 0.25 },
    ]);
    expect(counts.opened).toBe(3);
    expect(again.original).toBe(before.original);
    expect(again.candidates.map(({ time }) => time)).toEqual(before.candidates.map(({ time }) => time));
    expect(again.candidates.map(({ error }) => error)).toEqual([0.5, 0.25]);

    // another stride, another size, other candidates
    await times.of(strided!, [candidate(2), candidate(4)]);
    expect(counts.opened).toBe(6);
    await times.of(smaller!, [candidate(2), candidate(4)]);
    expect(counts.opened).toBe(9);
    await times.of(second!, [candidate(3)]);
    expect(counts).toEqual({ opened: 11, released: 11, runs: 112 });
  });

  it("of layers by themselves are too", async () => {
    const { counts, times } = counting();
    const all: number[] = [];
    for (const site of sites) all.push(await times.alone(site));
    expect(counts).toEqual({ opened: 3, released: 3, runs: 24 });
    expect(all.every((ms) => ms > 0)).toBe(true);
    expect(all[1]).toBe(all[0]);
  });
});
