import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DecomposeReport } from "../../src/cli/decompose.js";
import { type NumericArray, readNpz, writeNpy } from "../../src/io/index.js";
import { METHODS, type OptionName, takesOption } from "../../src/methods/index.js";
import { plantedCp } from "../decompositions/planted.js";
import { randomArray } from "../reference.js";
import { command, type Outcome } from "./command.js";

let folder: string;
const at = (name: string): string => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tenfold-methods-"));
  writeFileSync(at("x.npy"), writeNpy({ shape: [7, 5, 6], data: X }));
  writeFileSync(at("a.npy"), writeNpy({ shape: [35, 6], data: X }));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** numpy.einsum for arrays of two or three modes, one after the other: sums over a letter that the result does not have. */
function einsum(letters: readonly string[], out: string, arrays: readonly NumericArray[]): Float64Array {
  const extents = new Map<string, number>();
  letters.forEach((word, index) => {
    [...word].forEach((letter, mode) => void extents.set(letter, arrays[index]!.shape[mode]!));
  });
  const all = [...new Set([...out, ...letters.join("")])];
  const values = new Float64Array([...out].reduce((size, letter) => size * extents.get(letter)!, 1));
  const place = new Map(all.map((letter) => [letter, 0]));
  const offset = (word: string): number =>
    [...word].reduce((flat, letter) => flat * extents.get(letter)! + place.get(letter)!, 0);
  const walk = (depth: number): void => {
    if (depth === all.length) {
      values[offset(out)]! += letters.reduce((term, word, index) => term * arrays[index]!.data[offset(word)]!, 1);
      return;
    }
    for (let index = 0; index < extents.get(all[depth]!)!; index++) {
      place.set(all[depth]!, index);
      walk(depth + 1);
    }
  };
  walk(0);
  return values;
}

/** of 7×5×6 entries, no exact model of any method; in f64 around 1e20, so that results carry a scale */
const X = Float64Array.from(randomArray(210, 4), (value, index) => (value + Math.cos(index / 9)) * 1e20);

const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let [difference, norm] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    norm += b[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
};

interface Sample {
  /** how it is run, on x.npy where no other file is named */
  options: string[];
  file?: string;
  /** X̂ from the saved arrays, as the help says to put them together */
  full(members: ReadonlyMap<string, NumericArray>): Float64Array;
  ranks: number[];
  /** that its table has */
  title: string;
}

const list = (members: ReadonlyMap<string, NumericArray>, ...names: string[]): NumericArray[] =>
  names.map((name) => members.get(name)!);
const cores = ["core_0", "core_1", "core_2"];
const ringCores = cores.map((name) => `ring_${name}`);
const factors = ["factor_0", "factor_1", "factor_2"];

/** One or more of each method. */
const SAMPLES: Record<string, Sample[]> = {
  cp: [
    {
      options: ["--rank", "3", "--sweeps", "40", "--starts", "2"],
      full: (of) => einsum(["r", "ir", "jr", "kr"], "ijk", list(of, "weights", ...factors)),
      ranks: [3],
      title: "CP, rank 3",
    },
    {
      options: ["--rank", "2", "--sweeps", "20", "--starts", "2", "--nonnegative"],
      full: (of) => einsum(["r", "ir", "jr", "kr"], "ijk", list(of, "weights", ...factors)),
      ranks: [2],
      title: "negative part",
    },
  ],
  tucker: [
    {
      options: ["--ranks", "3,2,4", "--sweeps", "20"],
      full: (of) => einsum(["abc", "ia", "jb", "kc"], "ijk", list(of, "core", ...factors)),
      ranks: [3, 2, 4],
      title: "Tucker, ranks 3, 2, 4",
    },
    {
      options: ["--ranks", "3,5,4", "--algorithm", "st-hosvd"],
      full: (of) => einsum(["abc", "ia", "jb", "kc"], "ijk", list(of, "core", ...factors)),
      ranks: [3, 5, 4],
      title: "Tucker, ranks 3, 5, 4",
    },
    {
      options: ["--ranks", "2", "--sweeps", "20", "--nonnegative"],
      full: (of) => einsum(["abc", "ia", "jb", "kc"], "ijk", list(of, "core", ...factors)),
      ranks: [2, 2, 2],
      title: "negative part",
    },
  ],
  "tensor-train": [
    {
      options: ["--ranks", "3,4"],
      full: (of) => einsum(["aib", "bjc", "ckd"], "ijk", list(of, ...cores)),
      ranks: [3, 4],
      title: "tensor train, ranks 3, 4",
    },
    {
      options: ["--error", "0.3"],
      full: (of) => einsum(["aib", "bjc", "ckd"], "ijk", list(of, ...cores)),
      ranks: [],
      title: "tensor train, ranks ",
    },
  ],
  "tensor-ring": [
    {
      options: ["--ranks", "2"],
      full: (of) => einsum(["aib", "bjc", "cka"], "ijk", list(of, ...ringCores)),
      ranks: [2, 2, 2],
      title: "tensor ring, ranks 2, 2, 2",
    },
    {
      options: ["--ranks", "2,3,2", "--algorithm", "als", "--sweeps", "10"],
      full: (of) => einsum(["aib", "bjc", "cka"], "ijk", list(of, ...ringCores)),
      ranks: [2, 3, 2],
      title: "tensor ring, ranks 2, 3, 2",
    },
  ],
  "block-term": [
    {
      options: ["--blocks", "2", "--ranks", "2,2,6", "--sweeps", "10"],
      full(of) {
        const blocks = [0, 1].map((g) => {
          const names = ["core", ...factors].map((name) => `block_${g}_${name}`);
          return einsum(["abc", "ia", "jb", "kc"], "ijk", list(of, ...names));
        });
        return blocks[0]!.map((value, index) => value + blocks[1]![index]!);
      },
      ranks: [2, 2, 6],
      title: "2 block terms, ranks 2, 2, 6",
    },
  ],
  svd: [
    {
      file: "a.npy",
      options: ["--rank", "2"],
      full: (of) => einsum(["ir", "r", "jr"], "ij", list(of, "u", "values", "v")),
      ranks: [2],
      title: "SVD, rank 2",
    },
  ],
  nmf: [
    {
      file: "a.npy",
      options: ["--rank", "2", "--sweeps", "30"],
      full: (of) => einsum(["ir", "rj"], "ij", list(of, "w", "h")),
      ranks: [2],
      title: "NMF, rank 2",
    },
  ],
  parafac2: [
    {
      options: ["--rank", "2", "--sweeps", "30"],
      full: (of) =>
        Float64Array.from(
          Array.from({ length: 7 }, (_, k) => {
            const [weights, a, b, c, p] = list(of, "weights", "a", "b", "c", `projection_${k}`) as NumericArray[];
            const row = {
              shape: [2],
              data: Float64Array.from(weights!.data, (value, r) => value * a!.data[2 * k + r]!),
            };
            return [...einsum(["it", "tr", "r", "jr"], "ij", [p!, b!, row, c!])];
          }).flat(),
        ),
      ranks: [2],
      title: "PARAFAC2, rank 2",
    },
  ],
};

const run = async ({ file = "x.npy", options }: Pick<Sample, "file" | "options">, name: string) => {
  const argv = ["decompose", at(file), "--method", name, ...options, "--out", at("r.npz"), "--json", at("r.json")];
  const outcome = await command(argv);
  return { outcome, report: () => JSON.parse(readFileSync(at("r.json"), "utf8")) as DecomposeReport };
};

it("every method has a sample", () => {
  expect(Object.keys(SAMPLES)).toEqual(METHODS.map(({ name }) => name));
});

describe.each(METHODS)("$name", (method) => {
  const { name, saves, algorithms } = method;

  it.each(SAMPLES[name]!)("writes what gives the reported error: $options", async (sample) => {
    const { outcome, report } = await run(sample, name);
    expect([outcome.code, outcome.stderr.match(/^error:/m)]).toEqual([0, null]);
    const members = new Map(readNpz(readFileSync(at("r.npz"))));
    const { relativeError, ranks, reads, dispatches, converged, sweeps, ...told } = report();
    expect(relativeError).toBeGreaterThan(0.05);
    expect(Math.abs(distance(sample.full(members), X) - relativeError)).toBeLessThan(1e-5);
    if (sample.ranks.length) expect(ranks).toEqual(sample.ranks);
    expect(told).toMatchObject({ method: name, members: expect.anything() });
    expect(algorithms.map((algorithm) => algorithm.name)).toContain(told.algorithm);
    expect(outcome.stdout).toContain(sample.title);
    // X is looked at once, and compared with the result once, at the least
    expect(reads).toBeGreaterThanOrEqual(3);
    expect(dispatches).toBeGreaterThan(reads);
    expect(outcome.stdout).toMatch(/reads +[\d,.]+ of the tensor, in [\d,]+ dispatches/);
    if (sweeps) expect(outcome.stdout).toMatch(/(iterations|sweeps) +\d+, (converged|stalled|stopped)/);
    else expect(converged).toBe(true);
    const entries = [...members.values()].reduce((sum, { data }) => sum + data.length, 0);
    expect(entries).toBeGreaterThanOrEqual(told.parameters);
  });

  it("is in the help, with what it saves and an example", async () => {
    const { stdout } = await command(["decompose", "--help"]);
    expect(stdout).toContain(`  ${name}: `);
    for (const line of saves) expect(stdout).toContain(line);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  it("refuses what it does not take, and says who does", async () => {
    const values: Record<string, string> = { init: "random", fixed: "0:f.npy", blocks: "2", starts: "2", sweeps: "3" };
    for (const [option, value] of Object.entries(values)) {
      if (takesOption(method, option as OptionName)) continue;
      const { options, file } = SAMPLES[name]![0]!;
      const { outcome } = await run({ ...(file && { file }), options: [...options, `--${option}`, value] }, name);
      expect(outcome.code).toBe(2);
      expect(outcome.stderr).toMatch(new RegExp(`^error: --${option} is for [^\\n]+, and not for ${name}\\n$`));
    }
  });

  it("refuses an algorithm that it has not, and names those that it has", async () => {
    const { options, file } = SAMPLES[name]![0]!;
    const { outcome } = await run({ ...(file && { file }), options: [...options, "--algorithm", "magic"] }, name);
    expect(outcome.code).toBe(2);
    expect(outcome.stderr).toMatch(/--algorithm (magic is none of|is for )/);
  });
});

describe("an error that is asked for", () => {
  const asked = async (...options: string[]): Promise<Outcome & { report: DecomposeReport }> => {
    const outcome = await command(["decompose", ...options, "--json", at("r.json")]);
    return { ...outcome, report: JSON.parse(readFileSync(at("r.json"), "utf8")) as DecomposeReport };
  };

  it.each(["tucker", "tensor-train", "tensor-ring"])("is kept by %s", async (method) => {
    const { code, report } = await asked(at("x.npy"), "--method", method, "--error", "0.2");
    expect(code).toBe(0);
    expect(report.relativeError).toBeLessThanOrEqual(0.2);
    expect(report.parameters).toBeLessThan(2 * 210);
  });

  it("is kept by svd, with the least rank", async () => {
    const { report } = await asked(at("a.npy"), "--method", "svd", "--error", "0.2");
    expect(report.relativeError).toBeLessThanOrEqual(0.2);
    const fewer = await asked(at("a.npy"), "--method", "svd", "--rank", String(report.ranks[0]! - 1));
    expect(fewer.report.relativeError).toBeGreaterThan(0.2);
  });

  it("is a number between 0 and 1, and not there beside ranks", async () => {
    const refused = async (...options: string[]): Promise<string> => (await command(["decompose", ...options])).stderr;
    expect(await refused(at("x.npy"), "--method", "tucker", "--error", "2")).toContain("above 0 and below 1");
    const both = ["--method", "tensor-train", "--error", "0.1", "--ranks", "2"];
    expect(await refused(at("x.npy"), ...both)).toContain("--ranks and --error: give one of them");
    expect(await refused(at("x.npy"), "--method", "svd", "--rank", "2")).toContain("has 3 modes, SVD needs 2");
    const ring = ["--method", "tensor-ring", "--error", "0.1", "--algorithm", "als"];
    expect(await refused(at("x.npy"), ...ring)).toContain("--error is for --algorithm svd, and not for als");
    expect(await refused(at("x.npy"), "--method", "block-term", "--ranks", "2,2,2")).toContain("needs --blocks G");
    expect(await refused(at("x.npy"), "--method", "tensor-train", "--ranks", "2,2,2")).toContain(
      "3 ranks for 2 pairs of neighbouring modes",
    );
  });
});

it("cp begins with generalised eigenvalues where it is asked to, or may, and says where there are none", async () => {
  writeFileSync(at("exact.npy"), writeNpy({ shape: [7, 5, 6], data: plantedCp([7, 5, 6], 2, 0, 3).data }));
  const startsOf = async (file: string, ...options: string[]) => {
    const { stdout, stderr, code } = await command(["decompose", at(file), ...options, "--json", "-"]);
    expect(code).toBe(0);
    return { ...(JSON.parse(stdout) as DecomposeReport).starts!, stderr };
  };
  for (const options of [[], ["--init", "gevd"]])
    expect((await startsOf("exact.npy", "--rank", "2", ...options)).gevd).toEqual({ terms: 2, complexPairs: 0 });
  expect((await startsOf("exact.npy", "--rank", "2", "--init", "random")).gevd).toBeUndefined();
  const matrix = await startsOf("a.npy", "--rank", "2", "--init", "gevd");
  expect(matrix.gevd).toBeUndefined();
  expect(matrix.stderr.replace(/\s+/g, " ")).toContain("none by generalised eigenvalues");
});
