import { describe, expect, it } from "vitest";
import { Engine } from "../../src/gpu/index.js";
import {
  adapterOf,
  alternativesOf,
  columnOf,
  type KernelRule,
  KINDS,
  type Kind,
  kindOf,
  type Note,
  type NumberName,
  type NumberRule,
  RULES,
  setting,
} from "../../src/ops/adapter.js";
import { cholesky, mttkrp, permute, prefersLowRank, sum } from "../../src/ops/index.js";
import { testEngine } from "../engine.js";
import { PAPER, paperEngine, recordingOf } from "./paperEngine.js";

const kinds = Object.keys(KINDS) as Kind[];
const rules = Object.entries<(NumberRule | KernelRule) & Note>(RULES);
const numbers = rules.filter((entry): entry is [NumberName, NumberRule & Note] => "numbers" in entry[1]);

describe("facts", () => {
  it("are those of the adapter", () => {
    const { facts } = adapterOf(paperEngine(PAPER.lavapipe));
    expect(facts).toMatchObject({ name: "mesa (llvmpipe (LLVM 15.0.7, 256 bits))", software: true, lanes: 8 });
    expect(adapterOf(paperEngine(PAPER.gpu)).facts).toMatchObject({ software: false, lanes: 0, vendor: "nvidia" });
  });

  it("are found once an engine", () => {
    const engine = paperEngine(PAPER.gpu);
    expect(adapterOf(engine)).toBe(adapterOf(engine));
  });

  it("of software are by its name, whatever its subgroups; its kind is by these", () => {
    const basic = paperEngine({ description: "Microsoft Basic Render Driver", subgroups: [4, 128] });
    expect([adapterOf(basic).facts.software, kindOf(basic)]).toEqual([true, "gpu"]);
    const plain = paperEngine({ vendor: "google", architecture: "swiftshader" });
    expect([adapterOf(plain).facts.software, kindOf(plain)]).toEqual([true, "gpu"]);
    expect(kinds.map((kind) => kindOf(paperEngine(PAPER[kind])))).toEqual(kinds);
  });

  it("of the adapter that is here go with its kind", async () => {
    const engine = await testEngine();
    const { facts, kind } = adapterOf(engine);
    expect(facts.software).toBe(kind !== "gpu");
    expect(facts.name).toBe(engine.adapterName);
  });
});

describe("rules", () => {
  it("have a value for every kind of adapter, that of the kind which it is like where it has none", () => {
    expect(columnOf({ swiftshader: 1, gpu: 2 }, "lavapipe")).toBe(1);
    expect(columnOf({ swiftshader: 1, lavapipe: 0, gpu: 2 }, "lavapipe")).toBe(0);
    for (const [name, rule] of rules)
      for (const kind of kinds) {
        const value = "kernels" in rule ? columnOf(rule.kernels, kind).length : columnOf(rule.values, kind);
        expect(value, `${name} on ${kind}`).toBeGreaterThanOrEqual("kernels" in rule ? 1 : 0);
      }
  });

  it("say what they decide, and why", () => {
    for (const [name, { decides, because }] of rules) {
      expect(decides.length, name).toBeGreaterThan(20);
      expect(because.length, name).toBeGreaterThan(5);
    }
    for (const [name, { unit, words }] of numbers) expect(unit || words, name).toBeTruthy();
  });

  it("name kernels that there are, on adapters that have them", () => {
    for (const [name, rule] of rules)
      if ("kernels" in rule)
        for (const kind of kinds)
          for (const kernel of columnOf(rule.kernels, kind))
            expect(alternativesOf(paperEngine(PAPER[kind]), name), `${name} on ${kind}`).toContain(kernel);
  });

  it("have values that they can be forced to", () => {
    for (const [name, { values, numbers: accepted, words = {} }] of numbers)
      for (const value of [...kinds.map((kind) => columnOf(values, kind)), ...Object.values(words)])
        expect(accepted.is(value), `${name}: ${value}`).toBe(true);
  });

  it("are what their column says, or what is forced", () => {
    for (const [name, { values, words = {} }] of numbers) {
      for (const kind of kinds) expect(setting(paperEngine(PAPER[kind]), name), name).toBe(columnOf(values, kind));
      for (const [word, value] of Object.entries(words))
        expect(setting(paperEngine(PAPER.gpu, { variants: { [name]: word } }), name), name).toBe(value);
      const other = columnOf(values, "swiftshader");
      expect(setting(paperEngine(PAPER.gpu, { variants: { [name]: other } }), name), name).toBe(other);
    }
  });
});

describe("a forced rule", () => {
  const on = (variants: Record<string, string | number>) => paperEngine(PAPER.gpu, { variants });

  it("changes what an op records", () => {
    const recorded = (variants: Record<string, string | number>, record: Parameters<typeof recordingOf>[1]) =>
      recordingOf(on(variants), record).join("\n");
    const factorise = (s: Parameters<typeof cholesky>[0]) => void cholesky(s, s.tensor([20, 20]));
    expect(recorded({}, factorise)).toContain("cholesky_small");
    expect(recorded({ factoriseInside: 19 }, factorise)).toMatch(/^cholesky\b(?!_)/);
    expect(recorded({ soleWorkgroup: 64 }, factorise)).toContain("WIDTH=64");
    expect(recorded({ choleskyAlone: 19 }, factorise)).toContain("cholesky_block");
    const turn = (s: Parameters<typeof permute>[0]) => permute(s, s.tensor([50, 60]), [1, 0]);
    expect(recorded({}, turn)).toContain("permute_tiles");
    expect(recorded({ permuteTiles: "never" }, turn)).toContain("strided_copy");
    expect(recorded({ permuteTiles: 51 }, turn)).toContain("strided_copy");
    const add = (s: Parameters<typeof sum>[0]) => sum(s, s.tensor([200]));
    expect(recorded({}, add)).toMatch(/^reduce\b(?!_)/);
    expect(recorded({ reduceByLane: 200 }, add)).toContain("reduce_lanes");
    const contract = (s: Parameters<typeof mttkrp>[0]) =>
      mttkrp(
        s,
        s.tensor([200, 70, 50]),
        [200, 70, 50].map((extent) => s.tensor([extent, 4])),
        0,
      );
    expect(recorded({}, contract)).toContain("khatri_rao");
    expect(recorded({ mergeBelow: 50 }, contract)).not.toContain("khatri_rao");
    expect(recorded({ mergeFrom: 2 ** 20 }, contract)).not.toContain("khatri_rao");
  });

  it("of samples keeps the other limits of a low rank, and by name leaves them out", () => {
    const prefers = (variants: Record<string, string | number>, rank: number) => {
      const engine = on(variants);
      const [x, a, b] = [
        [3, 10],
        [rank, 10],
        [10, rank],
      ].map((shape) => engine.tensor(shape));
      return prefersLowRank(x!, a!, b!);
    };
    expect([prefers({}, 8), prefers({ lowRank: 4 }, 8), prefers({ lowRank: 4 }, 100)]).toEqual([false, true, false]);
    expect([prefers({ lowRank: 2 }, 8), prefers({ lowRank: "fused" }, 100)]).toEqual([false, true]);
  });

  it("is refused where there is no such rule, value or kernel", () => {
    expect(() => on({ soleWorkgroups: 64 })).toThrow(
      /^new Engine: variants has no choice "soleWorkgroups"; there are .*\balsRows\b.*\bconv2d\b.*\bkruskal\b.*\bmatmul\b.*\bmttkrp\b.*\bresidual\b.*\bsoleWorkgroup\b/,
    );
    expect(() => on({ jacobiTeam: 3 })).toThrow("new Engine: jacobiTeam is 3, needs a power of two from 1 to 16");
    expect(() => on({ permuteTiles: "sometimes" })).toThrow(
      'new Engine: permuteTiles is "sometimes", needs a whole number, 0 or more, or Infinity, or one of never',
    );
    const engine = on({ kruskal: "subgroup", matmul: "subgroup" });
    expect(() => alternativesOf(engine, "matmuls")).toThrow('no choice between variants is named "matmuls"');
    const s = engine.scheduler("forced");
    expect(() => mttkrp(s, s.tensor([4, 5]), [s.tensor([4, 2]), s.tensor([5, 2])], 0)).toThrow(
      'matmul: the adapter (nvidia hopper) has no variant "subgroup"; there are tiled, register',
    );
    s.destroy();
  });
});

it("every alternative of a choice can be forced", async () => {
  const { device } = await testEngine();
  using engine = new Engine(device);
  for (const name of [
    "matmul",
    "mttkrp",
    "kruskal",
    "residual",
    "conv2d",
    "trainDense",
    "training",
    "lowRank",
    "tucker2",
  ])
    for (const variant of alternativesOf(engine, name)) {
      using forced = new Engine(device, { variants: { [name]: variant } });
      expect(forced.forced(name)).toBe(variant);
    }
});
