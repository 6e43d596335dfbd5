/** The methods beside TensorLy: cases are refused by name, rows say what happened, and docs/benchmarks.md has what was recorded. */
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { METHOD_CASES } from "../../bench/methodCases.js";
import {
  chosenCases,
  type MethodRow,
  type MethodsReport,
  methodsMarkdown,
  methodsSection,
  methodsSummary,
  methodsText,
} from "../../bench/methodsReport.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";

const root = resolve(import.meta.dirname, "../..");
const RECORDED = "bench/results/methods-2026-11-30.json";
const recorded = JSON.parse(readFileSync(join(root, RECORDED), "utf8")) as MethodsReport;
const one = (median: number) => ({ median, quartiles: [0.9 * median, 1.1 * median] as [number, number] });

const reached: MethodRow = {
  name: "CP 5³ R2",
  calls: { ours: "cpALS, nonnegative", theirs: "parafac" },
  ways: { ours: "random start", theirs: "svd start" },
  threads: 1,
  state: "reached",
  goal: 0.1001,
  errors: { ours: 0.1, theirs: 0.1 },
  iterations: { ours: 7, theirs: 9 },
  ms: { ours: one(10), theirs: one(20) },
  ratio: one(0.5),
  cpuRatio: one(0.75),
  iteration: { ours: one(1), theirs: one(2), ratio: one(0.5) },
  rounds: 3,
};
const none = { ms: null, ratio: null, cpuRatio: null };
const missed: MethodRow = { ...reached, ...none, state: "not reached", errors: { ours: 0.2, theirs: 0.1 } };
const absent: MethodRow = {
  ...{ ...reached, ...none, state: "not measured", message: "no library", goal: null, errors: null, iterations: null },
  ...{ iteration: null, ways: { ours: "", theirs: "" }, rounds: 0 },
};
const report: MethodsReport = { ...recorded, rows: [reached, missed, absent] };

describe("the table", () => {
  it("has a row for what was reached, for what was not, and for what could not be measured", () => {
    expect(methodsMarkdown(report).slice(2)).toEqual([
      "| CP 5³ R2 | `cpALS`, nonnegative, random start | `parafac`, svd start | 0.1001 | 10.0 (7) | 20.0 (9) | 0.500 | 0.450–0.550 | 0.750 | 1.00, 2.00 |",
      "| CP 5³ R2 | `cpALS`, nonnegative, random start | `parafac`, svd start | 0.1001 |  |  | not reached: 0.2000 after 7 |  |  | 1.00, 2.00 |",
      "| CP 5³ R2 | `cpALS`, nonnegative | `parafac` |  |  |  | not measured: no library |  |  |  |",
    ]);
    expect(methodsSummary(report)).toBe(
      "tenfold is faster in 1 of 1 rows; 1 does not reach TensorLy's error; 1 is not measured",
    );
    expect(methodsText(report)).toContain("not measured: no library");
  });

  it("says what failed of a row that was reached in another way", () => {
    expect(methodsSection({ ...report, rows: [{ ...reached, message: "failed: svd start: why" }] })).toContain(
      "\n- CP 5³ R2, `cpALS, nonnegative`: failed: svd start: why",
    );
  });
});

describe("--cases", () => {
  const names = ["CP 5³: cp", "tensor ring: tensorRingSVD"];
  it("is a regular expression; none chooses all", () => {
    expect(chosenCases(names, undefined)).toEqual(names);
    expect(chosenCases(names, "ring|nothing")).toEqual([names[1]]);
  });

  it("is refused with the list where nothing matches, or where it is none", () => {
    expect(() => chosenCases(names, "NMF")).toThrow(
      /no case matches NMF; the cases are\n {2}CP 5³: cp\n {2}tensor ring/,
    );
    expect(() => chosenCases(names, "(")).toThrow(/--cases: Invalid regular expression.*the cases are/s);
  });
});

describe("the cases", () => {
  it("have names that the script has, too, each once", () => {
    const script = readFileSync(join(root, "bench/peers/tensorly_methods.py"), "utf8");
    for (const { data } of METHOD_CASES) expect(script).toContain(`    "${data}": (`);
    const names = METHOD_CASES.map(({ data, call }) => `${data}: ${call}`);
    expect(new Set(names).size).toBe(names.length);
  });

  it("call tenfold in ways that run, and hand on the model in parts", async () => {
    const engine = await testEngine();
    const small = METHOD_CASES.find(
      ({ data, call }) => data.startsWith("tensor ring by ALS") && call === "tensorRingALS",
    )!;
    using x = engine.tensor([6, 5, 4, 7], randomArray(840, 3));
    for (const solve of Object.values(small.ways)) {
      const result = await solve(engine, [x], 3);
      expect(result.errors).toHaveLength(3);
      expect(result.parts.map((part) => part!.shape)).toEqual([6, 5, 4, 7].map((extent) => [4, extent, 4]));
      result.destroy();
    }
  });
});

it("the recorded run has a row for every case", () => {
  expect(recorded.rows.map(({ name, calls }) => `${name}: ${calls.ours}`)).toEqual(
    METHOD_CASES.map(({ data, call }) => `${data}: ${call}`),
  );
});

it("docs/benchmarks.md has what was recorded", () => {
  const path = join(root, "docs/benchmarks.md");
  const text = readFileSync(path, "utf8");
  expect(text).toContain(`of ${RECORDED} -->`);
  const [start, end] = [text.indexOf("\n", text.indexOf("<!-- methods:")), text.indexOf("<!-- end of methods -->")];
  expect(start).toBeGreaterThan(0);
  expect(end).toBeGreaterThan(start);
  const section = `\n\n${methodsSection(recorded)}\n\n`;
  if (process.env.UPDATE) writeFileSync(path, text.slice(0, start) + section + text.slice(end));
  else expect(text.slice(start, end), "UPDATE=1 npx vitest run test/bench/methods.test.ts writes it").toBe(section);
});
