import { describe, expect, it } from "vitest";
import type { Decomposed } from "../../../bench/page/decompose/decomposition.js";
import {
  type Event,
  factsOf,
  hundredOf,
  imagesKey,
  initial,
  knownErrors,
  mostRank,
  parse,
  rankToCompute,
  readyResult,
  resultKey,
  type State,
  shownError,
  shownRank,
  turned,
  update,
  written,
} from "../../../bench/page/decompose/state.js";
import fc from "../../property.js";
import { anyQuery } from "./queries.js";

const set = { images: new Uint8Array(250 * 784), labels: new Uint8Array(250).fill(3) };

/** A result whose error grows as components are left out. */
function resultOf(
  rank: number,
  { aborted = false, method = "tucker" as Decomposed["settings"]["method"] } = {},
): Decomposed {
  const basis = Float32Array.from({ length: rank * 784 }, (_, i) => 1 / (1 + Math.floor(i / 784)));
  return {
    settings: { method, rank, centred: false, seed: 1 },
    count: 250,
    loadings: new Float32Array(250 * rank),
    basis,
    mean: null,
    errors: [0.5, 0.3],
    relativeError: 1 / (rank + 1),
    parameters: 1000 + rank,
    converged: true,
    aborted,
    seconds: 1,
  };
}
const start = (query = ""): State => initial(new URLSearchParams(query), null);
const after = (state: State, ...events: Event[]): State => events.reduce(update, state);
const change = (values: Partial<State["settings"]>): Event => ({ type: "change", values });

/** The images are chosen, and what the settings ask for is computed. */
function computed(state: State, result: Decomposed): State {
  return after(
    state,
    { type: "chosen", key: imagesKey(state.settings), set },
    { type: "computed", key: resultKey(state.settings, rankToCompute(state.settings)), result },
  );
}

describe("Decompose in the URL", () => {
  it("shows 3, 4 and 7 at rank 3 where nothing is asked for", () => {
    expect(start().settings).toEqual({
      digits: [3, 4, 7],
      images: 3000,
      method: "tucker",
      rank: 3,
      centred: false,
      seed: 1,
      at: 0,
    });
  });

  it("takes nonsense for the nearest that makes sense", () => {
    expect(parse(new URLSearchParams("digits=3&rank=-4&images=x&method=svd&at=1e9&seed=2.5&centred=yes"))).toEqual(
      start().settings,
    );
  });

  it("comes back as it was written, whatever is asked for", () => {
    const names = ["digits", "images", "method", "rank", "centred", "seed", "at"];
    fc.assert(
      fc.property(anyQuery(names, ["0379", "500", "cp", "tucker10", "1", "50"]), (query) => {
        const settings = parse(query);
        expect(parse(new URLSearchParams(written(settings)))).toEqual(settings);
        expect(settings.rank >= 1 && settings.rank <= 50 && settings.digits.length >= 2).toBe(true);
      }),
    );
  });
});

describe("what Decompose shows", () => {
  it("nothing until it is computed; then every smaller rank without computing again", () => {
    const state = start("rank=12");
    expect(rankToCompute(state.settings)).toBe(20);
    expect([state.shown, readyResult(state)]).toEqual([null, undefined]);
    const done = computed(state, resultOf(20));
    expect([shownRank(done), done.shown!.result.settings.rank]).toEqual([12, 20]);
    const slid = after(done, { type: "slide", rank: 5 });
    expect([shownRank(slid), slid.settings.rank]).toEqual([5, 12]);
    expect(shownError(slid)).toBeGreaterThan(shownError(done));
    const set = after(slid, change({ rank: 7 }));
    expect([shownRank(set), set.sliding, readyResult(set)]).toEqual([7, null, done.shown!.result]);
    expect(knownErrors(set.settings, set.results)).toHaveLength(20);
  });

  it("a rank beyond what is known is computed, and what was shown stays meanwhile", () => {
    const done = after(computed(start(), resultOf(20)), change({ rank: 21 }));
    expect([rankToCompute(done.settings), readyResult(done)]).toEqual([50, undefined]);
    expect(shownRank(done)).toBe(20);
  });

  it("ranks of CP are problems of their own; those that are known make the curve", () => {
    let state = start("method=cp&rank=4");
    expect(rankToCompute(state.settings)).toBe(4);
    for (const rank of [4, 2]) state = computed(after(state, change({ rank })), resultOf(rank, { method: "cp" }));
    expect(knownErrors(state.settings, state.results)).toEqual([
      { rank: 2, error: 1 / 3 },
      { rank: 4, error: 1 / 5 },
    ]);
    expect(readyResult(after(state, change({ rank: 3 })))).toBeUndefined();
  });

  it("goes Back and Forward through results that are known", () => {
    const first = computed(start("rank=6"), resultOf(20));
    const second = computed(after(first, change({ method: "cp" })), resultOf(6, { method: "cp" }));
    const back = after(second, { type: "moved", query: new URLSearchParams(written(first.settings)) });
    expect(back.settings).toEqual(first.settings);
    expect(back.shown!.result).toBe(first.shown!.result);
    const forward = after(back, { type: "moved", query: new URLSearchParams(written(second.settings)) });
    expect(forward.shown!.result).toBe(second.shown!.result);
  });

  it("a run that was stopped is shown, but not remembered", () => {
    const state = computed(start(), resultOf(20, { aborted: true }));
    expect(state.shown!.result.aborted).toBe(true);
    expect([state.results.size, readyResult(state)]).toEqual([0, undefined]);
  });

  it("a run that ends after something else was asked for is not shown", () => {
    const state = after(start(), { type: "chosen", key: imagesKey(start().settings), set });
    const key = resultKey(state.settings, 20);
    const late = after(state, change({ digits: [0, 1] }), { type: "computed", key, result: resultOf(20) });
    expect(late.shown).toBeNull();
    expect([...late.results.keys()]).toEqual([key]);
  });

  it("knows again what it knew when it was left", () => {
    const done = computed(start("rank=3"), resultOf(20));
    const again = initial(new URLSearchParams("rank=5"), done);
    expect(again.shown!.result).toBe(done.shown!.result);
    expect([again.task.phase, again.running]).toEqual(["idle", null]);
    expect(initial(new URLSearchParams("digits=01"), done).shown).toBeNull();
  });

  it("remembers sixty results, the latest ones", () => {
    let state = after(start("method=cp"), { type: "chosen", key: imagesKey(start().settings), set });
    for (let seed = 1; seed <= 70; seed++)
      state = computed(after(state, change({ seed })), resultOf(3, { method: "cp" }));
    expect(state.results.size).toBe(60);
    expect([...state.results.keys()].at(-1)).toBe(resultKey(state.settings, 3));
  });

  it("shows every rank of a recorded result, and no other", () => {
    const state = after(start("rank=40&digits=01"), {
      type: "recorded",
      settings: parse(new URLSearchParams("images=1000&rank=3")),
      result: resultOf(20),
      set,
    });
    expect([mostRank(state), shownRank(state), state.settings.digits]).toEqual([20, 20, [3, 4, 7]]);
    expect(shownRank(after(state, { type: "slide", rank: 2 }))).toBe(2);
  });

  it("tells the facts of the rank on show", () => {
    const state = computed(start("rank=20"), resultOf(20));
    const facts = Object.fromEntries(factsOf(state));
    expect(facts.images).toBe("250 of digits 3, 4, 7");
    expect(facts["relative error"]).toBe((1 / 21).toFixed(4));
    expect(facts["numbers stored"]).toBe("20,680 (10.6 % of the pixels)");
  });
});

describe("the hundreds of Decompose", () => {
  it("are turned within the images", () => {
    const state = computed(start(), resultOf(20));
    expect(hundredOf(state)).toEqual({ start: 0, stop: 100, total: 250 });
    expect([turned(state, -100), turned(state, 100)]).toEqual([0, 100]);
    const last = after(state, change({ at: 9000 }));
    expect(hundredOf(last)).toEqual({ start: 200, stop: 250, total: 250 });
    expect([turned(last, -100), turned(last, 100)]).toEqual([100, 200]);
  });
});

describe("the sweeps of Decompose", () => {
  it("are counted while it runs", () => {
    const running = after(
      start(),
      { type: "began", key: "a" },
      { type: "swept", error: 0.5 },
      { type: "swept", error: 0.4 },
    );
    expect(running.running).toEqual({ key: "a", errors: [0.5, 0.4] });
    expect(after(running, { type: "stopped" }).running).toBeNull();
    expect(after(start(), { type: "swept", error: 0.5 }).running).toBeNull();
  });
});
