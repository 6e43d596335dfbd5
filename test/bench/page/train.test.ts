import { describe, expect, it } from "vitest";
import {
  aboutWords,
  chartWords,
  type Event,
  initial,
  parse,
  pointsOf,
  type State,
  update,
  written,
} from "../../../bench/page/train/state.js";
import type { TrainedNetwork } from "../../../bench/page/train/training.js";
import type { Epoch } from "../../../src/index.js";
import fc from "../../property.js";
import { anyQuery } from "./queries.js";

const curveOf = (epochs: number): Epoch[] =>
  Array.from({ length: epochs }, (_, index) => ({
    epoch: index + 1,
    loss: 1,
    accuracy: 0.5,
    validationLoss: 1,
    validationAccuracy: 0.6,
  })) as Epoch[];
const networkOf = (name: TrainedNetwork["name"]): TrainedNetwork => ({
  name,
  layout: "3-5-3",
  parameters: 30,
  multiplications: 30,
  seconds: 1,
  curve: curveOf(6),
  testAccuracy: 0.9,
  confusion: [[1]],
});
const summary = { relativeError: 0.5, images: { train: 700, validation: 100, test: 200 } };
const start = (query = ""): State => initial(new URLSearchParams(query));
const after = (state: State, ...events: Event[]): State => events.reduce(update, state);

describe("Train in the URL", () => {
  it("has the thesis' sizes where none are asked for", () => {
    expect(start().settings).toMatchObject({
      digits: [3, 4, 7],
      rank: 3,
      hidden: 5,
      full: 3,
      recipe: "fixed",
      seed: 1,
    });
    expect(start("digits=0123456789").settings).toMatchObject({ rank: 15, hidden: 15, full: 10 });
    expect(start("digits=0123456789&rank=4").settings).toMatchObject({ rank: 4, hidden: 15 });
  });

  it("takes nonsense for the nearest that makes sense", () => {
    const nonsense = "digits=3&rank=-4&images=x&recipe=none&hidden=0&full=65&epochs=-1&seed=x";
    expect(parse(new URLSearchParams(nonsense))).toEqual(start().settings);
  });

  it("comes back as it was written, whatever is asked for", () => {
    const names = ["digits", "images", "recipe", "rank", "hidden", "full", "centred", "epochs", "seed"];
    fc.assert(
      fc.property(anyQuery(names, ["0379", "500", "slides", "1", "50", "64"]), (query) => {
        const settings = parse(query);
        expect(parse(new URLSearchParams(written(settings)))).toEqual(settings);
      }),
    );
  });

  it("goes Back to what it was", () => {
    const first = start("rank=4");
    const changed = after(first, { type: "change", values: { seed: 2 } });
    const back = after(changed, { type: "moved", query: new URLSearchParams(written(first.settings)) });
    expect(back.settings).toEqual(first.settings);
  });
});

describe("what Train shows", () => {
  it("other digits bring other sizes along", () => {
    const ten = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    const state = after(start("rank=4&seed=5"), { type: "change", values: { digits: ten } });
    expect(state.settings).toMatchObject({ digits: ten, rank: 15, hidden: 15, full: 10, seed: 5 });
    expect(after(state, { type: "change", values: { rank: 9 } }).settings).toMatchObject({ rank: 9, hidden: 15 });
  });

  it("curves as they grow, and networks as they end", () => {
    const learning = after(start(), { type: "learnt", network: "loadings", curve: curveOf(2) });
    expect(pointsOf(learning.curves).map(({ epoch, set }) => `${epoch} ${set}`)).toEqual([
      "1 training",
      "1 validation",
      "2 training",
      "2 validation",
    ]);
    expect(aboutWords(learning)).toBe("Numbers come as the networks learn.");
    const ended = after(learning, { type: "finished", network: networkOf("loadings"), summary });
    expect(chartWords(ended.curves)).toBe("Accuracy against epoch. Validation so far: loadings 60.0 %.");
    expect(aboutWords(ended)).toBe(
      "digits 3, 4, 7: 700 images to train on, 100 to watch, 200 held out. Rank 3 leaves a relative error of 0.5000.",
    );
    expect(ended.curves.loadings).toHaveLength(6);
  });

  it("many epochs thinned out, the last one always", () => {
    const points = pointsOf({ pixels: curveOf(1001) });
    expect(points.length).toBeLessThan(2 * 152);
    expect(points.at(-1)!.epoch).toBe(1001);
  });

  it("nothing of the run before once it starts again; the drawing stays", () => {
    const drawing = new Float32Array(784);
    const answer = { reconstruction: drawing, loadings: [1, 0, 0], pixels: [0, 1, 0] };
    const state = after(
      start(),
      { type: "finished", network: networkOf("pixels"), summary },
      { type: "drawn", drawing },
      { type: "answered", answer },
      { type: "cleared" },
    );
    expect(state).toMatchObject({ curves: {}, finished: {}, summary: null, answer: null, drawing });
  });

  it("what the networks say, in words once the pen rests", () => {
    const drawing = new Float32Array(784);
    const answer = { reconstruction: drawing, loadings: [0.1, 0.2, 0.7], pixels: [0.9, 0.1, 0] };
    const asked = after(start(), { type: "drawn", drawing }, { type: "answered", answer });
    expect(asked.said).toBe("");
    expect(after(asked, { type: "rested" }).said).toBe("3 (90 %) on pixels, 7 (70 %) on loadings");
    expect(after(asked, { type: "answered", answer: null }, { type: "rested" }).said).toBe("");
  });

  it("recorded networks, and nothing to set", () => {
    const settings = parse(new URLSearchParams("digits=34&rank=2"));
    const networks = [networkOf("loadings"), networkOf("pixels")];
    const state = after(start(), { type: "recorded", settings, networks, summary });
    expect(state).toMatchObject({ recorded: true, settings, summary });
    expect(Object.keys(state.finished).sort()).toEqual(["loadings", "pixels"]);
  });
});
