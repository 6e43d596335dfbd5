import { describe, expect, it } from "vitest";
import type { Figures, Shown } from "../../../bench/page/compress/compression.js";
import {
  type Event,
  factsOf,
  initial,
  pageOf,
  parse,
  ratioOf,
  type State,
  sortedWords,
  sortPictures,
  summaryOf,
  tunedWords,
  update,
  written,
} from "../../../bench/page/compress/state.js";
import { type Epoch, METHODS } from "../../../src/index.js";
import fc from "../../property.js";
import { anyQuery } from "./queries.js";

const figures = (weights: number, accuracy: number, ms: number | null = null): Figures => ({
  weights,
  multiplications: 10 * weights,
  accuracy,
  predictions: new Array(2000).fill(0),
  ms,
});
const shown: Shown = {
  method: "svd",
  cost: "weights",
  ratio: 4,
  layers: [],
  reached: true,
  before: figures(4000, 0.98),
  after: figures(1000, 0.9),
  untuned: null,
};
const epoch = (number: number): Epoch =>
  ({ epoch: number, loss: 0.1, accuracy: 0.95, validationLoss: 0.2, validationAccuracy: 0.93 }) as Epoch;
const start = (query = ""): State => initial(new URLSearchParams(query));
const after = (state: State, ...events: Event[]): State => events.reduce(update, state);

describe("Compress in the URL", () => {
  it("takes nonsense for the nearest that makes sense", () => {
    const settings = parse(new URLSearchParams("method=pca&cost=money&ratio=-3&epochs=1e9&images=x"));
    expect(settings).toEqual({ method: "tucker2", cost: "multiplications", ratio: 4, epochs: 3, images: 7000 });
  });

  it("saves what the method is made to save, unless told otherwise", () => {
    expect(start("method=svd").settings.cost).toBe("weights");
    expect(start("method=svd&cost=multiplications").settings.cost).toBe("multiplications");
  });

  it("has targets in steps of a half, from 1.5 to 16", () => {
    const ratioIn = (text: string): number => parse(new URLSearchParams({ ratio: text })).ratio;
    expect(["2.4", "9.5", "1.5", "16", "17", "1", "x", ""].map(ratioIn)).toEqual([2.5, 9.5, 1.5, 16, 4, 4, 4, 4]);
  });

  it("comes back as it was written, whatever is asked for", () => {
    const names = ["method", "cost", "ratio", "epochs", "images"];
    const values = [...METHODS.map(({ name }) => name), "weights", "multiplications", "2.5", "7", "500"];
    fc.assert(
      fc.property(anyQuery(names, values), (query) => {
        const settings = parse(query);
        expect(parse(new URLSearchParams(written(settings)))).toEqual(settings);
      }),
    );
  });

  it("goes Back and Forward", () => {
    const first = start("method=svd&ratio=4");
    const second = after(first, { type: "change", values: { method: "jaderberg1" } });
    expect(written(second.settings)).toEqual({ method: "jaderberg1", cost: "multiplications", ratio: "4" });
    const back = after(second, { type: "moved", query: new URLSearchParams(written(first.settings)) });
    expect(back.settings).toEqual(first.settings);
  });
});

describe("what Compress shows", () => {
  it("the slider moves before its target is asked for", () => {
    const sliding = after(start(), { type: "slide", ratio: 7 });
    expect([ratioOf(sliding), sliding.settings.ratio]).toEqual([7, 4]);
    const rested = after(sliding, { type: "change", values: { ratio: 7.5 } });
    expect([ratioOf(rested), rested.sliding]).toEqual([7.5, null]);
  });

  it("the network alone, then both, then how it was tuned", () => {
    const words = (state: State): Record<string, string> => Object.fromEntries(factsOf(state, 100));
    expect(words(start())).toEqual({});
    const opened = after(start(), { type: "opened", original: figures(4000, 0.98) });
    expect(words(opened).weights).toBe("4,000");
    const both = after(opened, { type: "compressed", shown });
    expect(words(both)).toMatchObject({
      weights: "4,000 → 1,000 (÷ 4.00)",
      "accuracy on 2,000 held-out images": "98.00 %; 90.00 % before fine-tuning",
      "time of 100 images": "… → …",
    });
    const timed = after(both, { type: "timed", before: figures(4000, 0.98, 20), after: figures(1000, 0.9, 10) });
    expect(words(timed)["time of 100 images"]).toBe("20.0 ms → 10.0 ms (÷ 2.00)");
    const tuned = after(timed, { type: "epoch", epoch: epoch(1) }, { type: "tuned", after: figures(1000, 0.96, 10) });
    const key = "accuracy on 2,000 held-out images";
    expect(words(tuned)[key]).toBe("98.00 % → 90.00 % → tuned 96.00 %");
    const again = after(tuned, { type: "tuned", after: figures(1000, 0.97, 10) });
    expect(words(again)[key]).toBe("98.00 % → 90.00 % → tuned 97.00 %");
    expect(tunedWords(again.curve)).toBe("After 1 epoch: 95.0 % on training images, 93.0 % on others.");
    // another network has not been tuned
    expect(after(again, { type: "compressed", shown }).curve).toEqual([]);
  });

  it("nothing of a network that was lost with its device", () => {
    const lost = after(start(), { type: "compressed", shown }, { type: "ready", ready: true }, { type: "forgotten" });
    expect(lost).toMatchObject({ shown: null, original: null, curve: [], ready: false });
    expect(after(lost, { type: "tuned", after: figures(1, 1) }).shown).toBeNull();
    expect(after(lost, { type: "timed", before: figures(1, 1), after: figures(1, 1) }).shown).toBeNull();
  });

  it("says where a target is out of reach", () => {
    expect(summaryOf(shown)).toBe(
      "÷ 4.00 weights, ÷ 4.00 multiplications: accuracy 98.00 %, now 90.00 % before fine-tuning.",
    );
    expect(summaryOf({ ...shown, reached: false, cost: "multiplications", ratio: 8 })).toMatch(
      /^SVD .+ cannot reach ÷ 8 multiplications here; this is within 5 % of the least it can do\. ÷ 4\.00 weights/,
    );
  });
});

describe("the pictures of Compress", () => {
  // the last fifth of ten is held out
  const digits = { images: new Uint8Array(), labels: Uint8Array.from({ length: 20 }, (_, i) => i % 10) };

  it("are sorted by whether each network is right", () => {
    // labels 6, 7, 8, 9
    const sorted = sortPictures(digits, [6, 0, 8, 0], [0, 7, 8, 0]);
    expect(sorted.all.map(({ index }) => index)).toEqual([16, 17, 18, 19]);
    expect([sorted.lost, sorted.gained, sorted.both].map((those) => those.map(({ label }) => label))).toEqual([
      [6],
      [7],
      [9],
    ]);
    expect(sortedWords(sorted)).toBe(
      "Of 4 held-out images 1 were read right before and are wrong now; 1 the other way round; both networks are wrong on 1.",
    );
  });

  it("are turned a page at a time, within what there is", () => {
    const some = Array.from({ length: 60 }, (_, index) => ({ index, label: 0, before: 0, after: 0 }));
    expect(pageOf(some, 0)).toEqual({ start: 0, stop: 24, words: "1 to 24 of 60" });
    expect(pageOf(some, 48)).toEqual({ start: 48, stop: 60, words: "49 to 60 of 60" });
    expect(pageOf(some, 9000)).toEqual({ start: 48, stop: 60, words: "49 to 60 of 60" });
    expect(pageOf(some, -24)).toEqual({ start: 0, stop: 24, words: "1 to 24 of 60" });
    expect(pageOf([], 0)).toEqual({ start: 0, stop: 0, words: "None." });
  });

  it("begin anew in another group", () => {
    const turned = after(start(), { type: "turn", at: 24 });
    expect(after(turned, { type: "group", group: "all" })).toMatchObject({ group: "all", at: 0 });
  });
});
