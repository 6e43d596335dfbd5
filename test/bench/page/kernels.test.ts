import { describe, expect, it } from "vitest";
import {
  barsOf,
  chosenCases,
  digits,
  durationWords,
  type Event,
  endWords,
  headsOf,
  initial,
  likest,
  type Measured,
  roofOf,
  rowsOf,
  type State,
  secondsOf,
  shownReport,
  titleOf,
  togglePicked,
  update,
  written,
} from "../../../bench/page/kernels/state.js";
import type { Adapter, CaseInfo } from "../../../bench/page/kernels/worker.js";
import type { Report } from "../../../bench/report.js";
import type { Result } from "../../../bench/result.js";
import type { Opened } from "../../../bench/session.js";
import fc from "../../property.js";
import { anyQuery } from "./queries.js";

const committed = ["nvidia-h200-2026-11-01-10-00", "swiftshader"];
const cases = (["matmul 512", "eigen 16", "eigen 64", "MTTKRP 128³ R16, mode 0"] as const).map((name): CaseInfo => {
  const op = name.startsWith("matmul") ? "matmul" : name.startsWith("eigen") ? "eigen" : "mttkrp";
  return { name, shapes: "", flops: 1e6, bytes: 1e6, steps: 1, op };
});
const resultOf = (name: string, ms: number, state = "measured"): Result =>
  ({
    name,
    flops: 1e6,
    bytes: 1e6,
    rows: [
      { party: "tenfold", state, ms: { median: ms }, error: 1e-7 },
      { party: "tenfold (tiled)", state: "measured", ms: { median: 2 * ms }, ratio: { median: 2 } },
    ],
  }) as unknown as Result;
const report = (name: string, ms: number): Report =>
  ({
    device: "an H200",
    environment: "Node",
    date: "2026-11-01",
    probes: { flops: 1e12, bytes: 1e12 },
    results: [resultOf(name, ms)],
  }) as unknown as Report;
const opened = { device: "a GPU", probes: { flops: 2e9, bytes: 4e9 } } as unknown as Opened;

const start = (query = ""): State => initial(new URLSearchParams(query), committed);
const listed = (query = ""): State => update(start(query), { type: "listed", cases, adapter: null });
const after = (state: State, ...events: Event[]): State => events.reduce(update, state);
const named = (state: State): Measured => ({ ...state, beside: "an H200" });
const namesOf = (state: State): string[] => chosenCases(state).map((index) => state.cases[index]!.name);

describe("Kernels in the URL", () => {
  it.each(["cases=.", "cases=1.x", "cases=1..2", "cases=-1", "cases="])("takes %s for a few", (query) => {
    expect(start(query).settings).toEqual({ group: "few", picked: [], rounds: 5, recorded: null });
  });

  it("takes other nonsense for the nearest that makes sense", () => {
    expect(start("rounds=0&with=no").settings).toMatchObject({ rounds: 5, recorded: null });
    expect(start("with=").settings.recorded).toBe("");
    expect(start("with=swiftshader").settings.recorded).toBe("swiftshader");
  });

  it("comes back as it was written, whatever is asked for", () => {
    fc.assert(
      fc.property(anyQuery(["cases", "rounds", "with"], ["all", "1.2", "own", "7", "swiftshader"]), (query) => {
        const state = initial(query, committed);
        const again = initial(new URLSearchParams(written(state)), committed).settings;
        expect(again).toEqual(state.settings);
      }),
    );
  });
});

describe("the choice of cases", () => {
  it("by group, or one by one", () => {
    expect(namesOf(listed())).toEqual(["matmul 512", "eigen 64", "MTTKRP 128³ R16, mode 0"]);
    expect(namesOf(listed("cases=linear"))).toEqual(["eigen 16", "eigen 64"]);
    expect(namesOf(listed("cases=all"))).toHaveLength(4);
    expect(namesOf(listed("cases=1.3"))).toEqual(["eigen 16", "MTTKRP 128³ R16, mode 0"]);
    expect(namesOf(start("cases=all"))).toEqual([]);
  });

  it("of one's own begins with what was chosen, and changes case by case", () => {
    const state = after(listed("cases=linear"), { type: "change", values: { group: "own" } });
    expect(state.settings.picked).toEqual([1, 2]);
    expect([togglePicked(state, 0), togglePicked(state, 2)]).toEqual([[0, 1, 2], [1]]);
    const back = after(state, { type: "moved", query: new URLSearchParams("cases=linear") });
    expect(back.settings).toMatchObject({ group: "linear", picked: [] });
  });
});

const adapterOf = (...words: string[]): Adapter => ({
  info: Object.fromEntries(words.map((word, at) => [String(at), word])),
  limits: [],
  features: [],
});

describe("what is told before a run", () => {
  const names = [
    "google-swiftshader-chromium-2026-11-26-15-27",
    "mesa-software-lavapipe-mesa-25-node-2026-11-26-15-14",
    "mesa-software-lavapipe-mesa-25-node-2026-11-28-15-14",
    "nvidia-h200-node-2026-11-26-11-12",
    "nvidia-h200-peers-node-2026-11-26-11-13",
  ];

  it("the recorded adapter most like this one stands beside it", () => {
    expect(likest(names, adapterOf("google", "swiftshader"))).toBe(names[0]);
    expect(likest(names, adapterOf("mesa", "lavapipe"))).toBe(names[2]);
    expect(likest(names, adapterOf("amd", "rdna-3"))).toBe(names[3]);
    expect(likest(names, null)).toBe(names[3]);
    expect(likest([], null)).toBe("");
    const state = initial(new URLSearchParams(), names);
    expect(shownReport(state)).toBe("");
    const soft = update(state, { type: "listed", cases, adapter: adapterOf("google", "swiftshader") });
    expect(shownReport(soft)).toBe(names[0]);
    expect(shownReport(update(soft, { type: "change", values: { recorded: "" } }))).toBe("");
  });

  it("how long it takes", () => {
    expect(secondsOf(listed())).toBeNull();
    const on = (adapter: Adapter): number => secondsOf(update(start(), { type: "listed", cases, adapter: adapter }))!;
    expect(on(adapterOf("swiftshader"))).toBeGreaterThan(5 * on(adapterOf("amd")));
    expect([3, 33, 70, 200].map(durationWords)).toEqual([
      ...["some seconds", "about 30 seconds", "about a minute", "about 3 minutes"],
    ]);
  });
});

describe("what Kernels shows", () => {
  const asked = after(listed("cases=1"), { type: "opened", opened, adapter: null as never, choices: {} });

  it("a row for every case: waiting, running, measured", () => {
    const stateOf = (state: State): string => rowsOf(named(state), state.current)[0]!.state;
    expect(stateOf(asked)).toBe("waiting");
    const running = after(asked, { type: "began" }, { type: "measuring", name: "eigen 16" });
    expect([stateOf(running), rowsOf(named(running), running.current)[0]!.cells[0]]).toEqual(["running", "running…"]);
    const measured = after(running, { type: "measured", result: resultOf("eigen 16", 1) }, { type: "rested" });
    expect(rowsOf(named(measured), measured.current)[0]).toMatchObject({
      state: "measured",
      cells: ["1", "1", "50 %", "1", "25 %", "1e-7", "tiled 2"],
    });
    expect(endWords(measured)).toBe("1 case measured, all correct.");
    expect(after(measured, { type: "began" }).results.size).toBe(0);
  });

  it("says what is not right", () => {
    const wrong = after(asked, { type: "measured", result: resultOf("eigen 16", 1, "wrong") });
    expect(endWords(wrong)).toBe("1 case measured, 1 not right.");
  });

  it("what was recorded beside it, without another device's variants", () => {
    const beside = after(asked, { type: "report", report: report("eigen 16", 0.5) });
    expect(headsOf(named(beside)).slice(-2)).toEqual(["ms on an H200", "here, beside it"]);
    expect(rowsOf(named(beside), "")[0]!.cells.slice(-2)).toEqual(["0.5", ""]);
    const both = after(beside, { type: "measured", result: resultOf("eigen 16", 1) });
    expect(rowsOf(named(both), "")[0]!.cells.slice(-2)).toEqual(["0.5", "2 times slower"]);
    expect(barsOf(named(both)).bars.map(({ party }) => party)).toEqual([
      "tenfold, here",
      "tenfold (tiled), here",
      "tenfold, recorded",
    ]);
    const { points, roofs } = roofOf(named(both));
    expect(points.map(({ where }) => where)).toEqual(["here", "recorded"]);
    expect(new Set(roofs.map(({ where }) => where))).toEqual(new Set(["here", "recorded"]));
    // of cases that were not chosen nothing
    expect(barsOf(named(after(asked, { type: "report", report: report("eigen 64", 1) }))).bars).toEqual([]);
  });

  it("names and numbers as people read them", () => {
    expect(titleOf("nvidia-h200-2026-11-01-10-00")).toBe("NVIDIA H200, 2026-11-01");
    expect(titleOf("nvidia-h200-peers-node-2026-11-01-10-00")).toBe(
      "NVIDIA H200 in Node, beside other libraries, 2026-11-01",
    );
    expect(titleOf("swiftshader")).toBe("SwiftShader (software)");
    expect(titleOf("apple-m9-chromium-2027-01-02-03-04")).toBe("apple m9 in Chromium, 2027-01-02");
    expect([0.000123456, 12.3456, 12345.6].map((value) => digits(value))).toEqual(["0.000123", "12.3", "12,300"]);
  });
});
