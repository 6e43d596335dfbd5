import { describe, expect, it } from "vitest";
import { bytes } from "../../../../bench/page/bytes.js";
import { createExample, EXAMPLE } from "../../../../bench/page/tensor/example.js";
import type { Inspection } from "../../../../bench/page/tensor/formats.js";
import type { Slice } from "../../../../bench/page/tensor/pieces.js";
import {
  canRun,
  type Event,
  endingOf,
  factsOfFile,
  fillValue,
  imageChoices,
  imageOf,
  initial,
  methodOf,
  obstacle,
  optionsInWords,
  parse,
  parseList,
  placeOf,
  rowsFor,
  type State,
  shownError,
  subjectOf,
  update,
  written,
} from "../../../../bench/page/tensor/state.js";
import type { DecompositionData } from "../../../../src/report/model.js";
import fc from "../../../property.js";
import { anyQuery } from "../queries.js";

const start = (query = ""): State => initial(new URLSearchParams(query), null);
const after = (state: State, ...events: Event[]): State => events.reduce(update, state);
const right: Inspection = {
  ...{ entries: 60, missing: 0, infinite: 0, firstBad: -1, beyond: 0, zeros: 2, negative: 3 },
  ...{ least: -1, largest: 4, mean: 1.25, norm: 9 },
};
const member = (name: string, shape: number[], isColumnMajor = false) => ({
  ...{ name, shape, dtype: "f32", modes: null, isColumnMajor, note: "" },
});
const opened = (...members: (ReturnType<typeof member> & { slices?: readonly Slice[] })[]): Event => ({
  type: "opened",
  file: { blob: new Blob(["x"]), name: "x.npz", kind: "NumPy archive", members, skipped: [] },
});
/** A file of 3×4×5 that was looked at. */
const withFile = (query = "data=file", inspection: Partial<Inspection> = {}, shape = [3, 4, 5]): State =>
  after(start(query), opened(member("x", shape)), { type: "inspected", inspection: { ...right, ...inspection } });
const result: DecompositionData = {
  ...{
    data: "x.npz",
    shape: [3, 4, 5],
    modes: ["a", "b", "c"],
    method: "CP",
    options: "",
    ending: "done",
    adapter: "",
    date: "",
  },
  model: {
    kind: "kruskal",
    weights: Float32Array.of(2, 1),
    factors: [3, 4, 5].map((rows) => ({ shape: [rows, 2], data: new Float32Array(2 * rows) })),
  },
  ...{
    errors: [0.5],
    relativeError: 0.1,
    seconds: 1,
    parameters: 26,
    starts: null,
    squaredNorm: 5,
    slices: null,
    residuals: null,
    match: null,
  },
  products: { withX: [4, 1], between: [4, 0, 0, 1] },
};

describe("a tensor of one's own in the URL", () => {
  it("is the example by CP where nothing is asked for", () => {
    expect(start().settings).toMatchObject({
      data: "example",
      method: "cp",
      rank: 3,
      ranks: [3],
      starts: null,
      fill: "stop",
    });
    expect(written(start().settings)).toEqual({ data: "example", method: "cp" });
  });

  it("comes back as it was written, whatever is asked for", () => {
    const names = [
      "data",
      "method",
      "algorithm",
      "nonnegative",
      "rank",
      "ranks",
      "blocks",
      "starts",
      "seed",
      "sweeps",
      "fill",
      "shape",
      "image",
    ];
    const values = ["file", "tucker", "hosvd", "true", "4", "3,4,5", "2x3", "1x2", "0f28", "mean", "9f1", "1x"];
    fc.assert(
      fc.property(anyQuery(names, values), (query) => {
        const settings = parse(query);
        expect(parse(new URLSearchParams(written(settings)))).toEqual(settings);
      }),
    );
  });

  it("lists are read as people write them", () => {
    expect(
      ["3", "3,4 , 5", "3x4×5", "3 4", "0", "3,-1", "", "a", "1.5", "1,1,1,1,1,1,1,1,1"].map((text) => parseList(text)),
    ).toEqual([[3], [3, 4, 5], [3, 4, 5], [3, 4], null, null, null, null, null, null]);
  });
});

describe("a file", () => {
  it("is looked at before it can be decomposed", () => {
    const open = after(start("data=file"), opened(member("x", [3, 4, 5]), member("y", [7, 2])));
    expect([canRun(open), obstacle(open)]).toEqual([false, null]);
    expect(canRun(after(open, { type: "inspected", inspection: right }))).toBe(true);
    expect(
      canRun(after(open, { type: "inspected", inspection: right }, { type: "reading", task: { type: "begin" } })),
    ).toBe(false);
    const other = after(open, { type: "inspected", inspection: right }, { type: "member", member: 1 });
    expect([other.file!.inspection, subjectOf(other)!.shape, subjectOf(other)!.name]).toEqual([
      null,
      [7, 2],
      "x.npz: y",
    ]);
    expect(canRun(start("data=file"))).toBe(false);
    expect(canRun(start())).toBe(true);
  });

  it("tells its facts", () => {
    const facts = Object.fromEntries(factsOfFile(withFile("data=file", { missing: 1200, entries: 60 })));
    expect(facts).toMatchObject({ shape: "3 × 4 × 5", type: "f32", missing: "1,200", infinite: "0", range: "-1 to 4" });
    expect(facts["memory on the GPU"]).toBe("240 bytes, up to about 720 bytes while it runs");
    expect([0, 999, 1000, 200e6, 2.5e9].map(bytes)).toEqual(["0 bytes", "999 bytes", "1 kB", "200 MB", "2.5 GB"]);
  });

  it("of several matrices is all of them for PARAFAC2, which is told what does not suit", () => {
    const slices = [5, 9].map((rows, at) => ({ name: `run${at}`, rows, member: at }));
    const all = { ...member("all 2 matrices, as slices", [14, 4]), slices };
    const open = (query: string): State =>
      after(start(`data=file${query}`), opened(member("run0", [5, 4]), member("run1", [9, 4]), all), {
        type: "inspected",
        inspection: { ...right, entries: 56 },
      });
    const state = open("&method=parafac2&rank=3&shape=7x8");
    expect(state.file!.member).toBe(2);
    expect(subjectOf(state)).toMatchObject({ shape: [2, 9, 4], modes: ["slice", "row", "column"], entries: 56 });
    expect(factsOfFile(state).slice(0, 3)).toEqual([
      ["shape", "2 slices of 5 to 9 × 4"],
      ["type", "f32"],
      ["entries", "56"],
    ]);
    expect(canRun(state)).toBe(true);
    expect(obstacle(open("&method=parafac2&rank=5"))!.words).toBe("Rank 5 is larger than the slice run0, 5×4.");
    const byCp = open("&method=cp");
    expect(byCp.file!.member).toBe(0);
    const words = obstacle(after(byCp, { type: "member", member: 2 }))!.words;
    expect(words).toBe("CP takes one array.");
  });

  it.each([
    [
      "",
      { missing: 2, infinite: 1, firstBad: 27 },
      [3, 4, 5],
      /^3 entries are not finite \(2 missing, 1 infinite\), the first at \[1, 1, 2\]\.$/,
    ],
    ["&fill=mean", { missing: 2, infinite: 1 }, [3, 4, 5], null],
    ["&fill=missing", { missing: 2, infinite: 1 }, [3, 4, 5], null],
    ["&fill=missing&method=tucker&algorithm=hosvd", { missing: 2 }, [3, 4, 5], /takes no missing entries/],
    ["&method=parafac2", {}, [6, 10], /PARAFAC2 needs 3/],
    ["&method=parafac2&rank=5", {}, [3, 4, 5], /^Rank 5 is larger than 4/],
    ["&method=nmf", {}, [3, 4, 5], /has 3 modes, NMF needs 2/],
    ["&method=nmf", {}, [3, 20], null],
    ["&fill=zero", { missing: 60 }, [3, 4, 5], /^No entry is a finite number/],
    ["", { beyond: 1 }, [3, 4, 5], /beyond 3\.4e38/],
    ["", { zeros: 60 }, [3, 4, 5], /^Every entry is 0/],
    ["", {}, [60], /^Shape 60 has 1 mode, CP needs 2 or more/],
    ["&shape=6x10", {}, [60], null],
    ["&shape=6x11", {}, [60], /66 entries, the array has 60/],
    ["", { entries: 0 }, [3, 0, 5], /no entries/],
    ["&method=block-term", {}, [6, 10], /Block terms needs 3 or more/],
    ["&method=tucker&ranks=2,2", {}, [3, 4, 5], /^2 ranks for 3 modes/],
    ["&method=tucker&ranks=2,9,2", {}, [3, 4, 5], /^Rank 9 is larger than mode 1, which has 4/],
    ["&method=tucker&ranks=9", {}, [3, 4, 5], null],
    ["&method=tensor-train&ranks=2,2", {}, [3, 4, 5], null],
    ["&method=tensor-train&ranks=2,2,2", {}, [3, 4, 5], /^3 ranks for 2 pairs of neighbouring modes/],
  ] as const)("with %s and %o of %o: %s", (query, inspection, shape, words) => {
    const problem = obstacle(withFile(`data=file${query}`, inspection, [...shape]));
    if (words === null) expect(problem).toBeNull();
    else {
      expect(problem!.words).toMatch(words);
      expect(problem!.advice).not.toBe("");
    }
  });

  it("places are told in the file's order of modes", () => {
    expect(placeOf(27, member("x", [3, 4, 5]))).toEqual([1, 1, 2]);
    expect(placeOf(27, member("x", [3, 4, 5], true))).toEqual([0, 1, 2]);
  });

  it("what is not finite is refused, or filled", () => {
    expect(["stop", "zero", "mean"].map((fill) => fillValue(withFile(`data=file&fill=${fill}`)))).toEqual([
      null,
      0,
      1.25,
    ]);
  });
});

describe("a run", () => {
  it("gathers errors by start, and leaves what was shown when it fails", () => {
    const shown = after(start(), { type: "computed", data: result });
    const running = after(
      shown,
      { type: "began" },
      ...[
        [1, 0.9],
        [2, 0.5],
        [1, 0.8],
      ].map(([sweep, error]): Event => ({ type: "swept", sweep: sweep!, error: error! })),
    );
    expect(running.running).toEqual([[0.9, 0.5], [0.8]]);
    const failed = after(running, { type: "problem", problem: { words: "No.", advice: "Yes." } }, { type: "ended" });
    expect([failed.running, failed.shown, failed.problem!.words]).toEqual([null, result, "No."]);
    expect(after(failed, { type: "began" }).problem).toBeNull();
    // an error of the next file leaves file and result
    const both = after(failed, opened(member("x", [2, 2])), { type: "problem", problem: { words: "!", advice: "." } });
    expect([both.file!.name, both.shown]).toEqual(["x.npz", result]);
    expect(after(start(), { type: "swept", sweep: 1, error: 1 }).running).toBeNull();
  });

  it("tells the error of the components on show, and forgets the turn with the next result", () => {
    const shown = after(start(), { type: "computed", data: result });
    expect(shownError(shown)).toBe(0.1);
    const hidden = after(shown, { type: "turn", turn: { ...shown.turn!, hidden: [[true, false]] } });
    // ‖E‖² = 0.05, the first term has 4 of ‖X‖² = 5
    expect(shownError(hidden)).toBeCloseTo(Math.sqrt(4.05 / 5), 6);
    const again = after(
      hidden,
      { type: "select", selected: { axis: 0, component: 1 } },
      { type: "computed", data: result },
    );
    expect([shownError(again), again.selected]).toEqual([0.1, null]);
  });

  it("is known again when the part was left, but not that it ran", () => {
    const left = after(withFile(), { type: "computed", data: result }, { type: "began" });
    const again = initial(new URLSearchParams("data=file"), left);
    expect([again.shown, again.file, again.running, again.task.phase]).toEqual([result, left.file, null, "idle"]);
  });

  it("ends in words, and its options are told", () => {
    const how = { converged: false, stalled: false, aborted: false, errors: [1, 0.5] };
    expect(
      [{ converged: true }, { stalled: true }, { aborted: true }, {}, { errors: [] }, { errors: [1] }].map((other) =>
        endingOf({ ...how, ...other }),
      ),
    ).toEqual([
      "converged after 2 sweeps",
      "as far as f32 can tell after 2 sweeps",
      "stopped after 2 sweeps",
      "out of sweeps after 2 sweeps",
      "done",
      "out of sweeps after 1 sweep",
    ]);
    const { settings } = withFile("data=file&fill=mean&method=tucker&ranks=2,3,4");
    expect(optionsInWords(settings, methodOf("tucker"))).toBe(
      "ranks 2×3×4, seed 0, at most 100 sweeps, entries that are not finite as the mean",
    );
  });
});

describe("images", () => {
  it("are offered where components have some, and others are none", () => {
    const { model } = result;
    expect(imageChoices(model, [3, 4, 784], ["a", "b", "c"])).toEqual([
      ["", "no images"],
      ["0x1", "a × b"],
      ["0x2", "a × c"],
      ["1x2", "b × c"],
      ["2f28", "c, folded"],
    ]);
    expect(imageOf({ image: "1x2" }, model, [3, 4, 5])).toEqual({ kind: "pair", modes: [1, 2] });
    expect(imageOf({ image: "2x1" }, model, [3, 4, 5])).toEqual({ kind: "pair", modes: [2, 1] });
    expect(imageOf({ image: "1f2" }, model, [3, 4, 5])).toEqual({ kind: "fold", mode: 1, rows: 2 });
    for (const image of ["", "1x1", "1x7", "1f3", "5f2"]) expect(imageOf({ image }, model, [3, 4, 5])).toBeNull();
    expect(imageOf({ image: "0x1" }, { kind: "train", cores: [] }, [3, 4, 5])).toBeNull();
    expect([784, 17, 30].map(rowsFor)).toEqual([28, 1, 5]);
  });
});

describe("the example", () => {
  it("is the same every time, with as much noise as it says", () => {
    const { shape, values, factors } = createExample();
    expect(shape).toEqual(EXAMPLE.shape);
    expect(values).toEqual(createExample().values);
    const [a, b, c] = factors as [Float32Array, Float32Array, Float32Array];
    let [signal, noise] = [0, 0];
    values.forEach((value, at) => {
      const [i, j, k] = [Math.floor(at / 720), Math.floor(at / 24) % 30, at % 24];
      const clean = [0, 1, 2].reduce((sum, r) => sum + a[i * 3 + r]! * b[j * 3 + r]! * c[k * 3 + r]!, 0);
      signal += clean ** 2;
      noise += (value - clean) ** 2;
    });
    expect(Math.sqrt(noise / signal)).toBeCloseTo(EXAMPLE.noise, 5);
  });
});
