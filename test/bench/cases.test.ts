/** Every case of the benchmark at slim sizes: correct, and no more work than it says. Nothing is timed. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Case } from "../../bench/case.js";
import { cases } from "../../bench/cases/index.js";
import { measure } from "../../bench/measure.js";
import type { Engine } from "../../src/gpu/index.js";
import { isSoftware } from "../../src/gpu/index.js";
import { openEngine } from "../../src/node/index.js";
import { setting } from "../../src/ops/adapter.js";

let engine: Engine;
beforeAll(async () => {
  engine = await openEngine();
});
afterAll(() => engine.destroy());

const slim = cases({ slim: true });

describe("the benchmark's cases", () => {
  it("have names of their own", () => {
    for (const list of [cases(), slim]) expect(list.length).toBe(116);
    const names = cases().map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  it("are trained layer by layer or in one workgroup at slim sizes as at their own", () => {
    const work = (list: readonly Case[]) =>
      list
        .flatMap(({ work }) => (work.op === "training" ? [work.network] : []))
        .map(
          ({ batch, inputs, hidden, classes }) => batch * hidden * (inputs + classes) <= setting(engine, "training"),
        );
    expect(work(slim)).toEqual(work(cases()));
  });

  it.each(slim.map((slimCase, index) => [cases()[index]!.name, slimCase] as const))("%s", async (_, slimCase) => {
    const options = { rounds: 0, sampleMs: 0, budget: 0, variants: false };
    const { rows } = await measure(engine.device, slimCase, [], options);
    for (const { party, state, message, counts } of rows) {
      // what alternating least squares does not reach, or in how many sweeps, is for the benchmark to show
      if (slimCase.isTarget && party !== "tenfold") {
        expect(["measured", "not reached"]).toContain(state);
        continue;
      }
      expect(`${party}: ${state} ${message ?? ""}`).toBe(`${party}: measured `);
      const { reads, dispatches, submits, readbacks } = slimCase.counts;
      const steps = slimCase.steps ?? 1;
      if (slimCase.isTarget) expect(counts!.reads, "reads of the tensor").toBeLessThanOrEqual(reads!);
      else if (reads !== undefined) expect(counts!.reads, "reads of the tensor").toBe(reads);
      expect(counts!.dispatches, "dispatches a step").toBeLessThanOrEqual(dispatches);
      expect(counts!.submits * steps, "submits a run").toBeLessThanOrEqual(submits);
      expect(counts!.readbacks * steps, "readbacks a run").toBeLessThanOrEqual(readbacks);
      expect(counts!.peakBytes).toBeGreaterThan(0);
      // the study's networks: an epoch is a handful of dispatches, however many steps it has
      if (slimCase.work.op === "training" && isSoftware(engine.adapterName) && !slimCase.work.network.bias)
        expect(counts!.dispatches * steps, "dispatches an epoch").toBeLessThanOrEqual(5);
    }
  });
});
