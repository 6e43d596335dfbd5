/** `tenfold decompose --checkpoint`: a run that was stopped goes on. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DecomposeReport } from "../../src/cli/decompose.js";
import { writeNpy } from "../../src/io/index.js";
import { plantedCp } from "../decompositions/planted.js";
import { randomArray } from "../reference.js";
import { command } from "./command.js";

const SHAPE = [9, 8, 7];

let folder: string;
const at = (name: string): string => join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tenfold-checkpoint-"));
  writeFileSync(at("x.npy"), writeNpy({ shape: SHAPE, data: plantedCp(SHAPE, 3, 0.2, 5).data }));
  writeFileSync(at("y.npy"), writeNpy({ shape: SHAPE, data: randomArray(504, 2) }));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const report = async (...argv: string[]): Promise<DecomposeReport> => {
  const outcome = await command(["decompose", ...argv, "--json", at("report.json")]);
  expect(outcome).toMatchObject({ code: 0 });
  return JSON.parse(readFileSync(at("report.json"), "utf8")) as DecomposeReport;
};

describe("decompose --checkpoint", () => {
  it.each([
    ["cp", "--rank", "2"],
    ["als", "--rank", "2", "--algorithm", "als"],
    ["tucker", "--ranks", "2,2,2"],
    ["parafac2", "--rank", "2", "--method", "parafac2"],
    ["memory", "--rank", "2", "--algorithm", "als", "--memory", "2kB"],
  ])("goes on after Ctrl-C: %s", async (name, ...options) => {
    const limits = ["--sweeps", "30", "--tolerance", "0"];
    const plain = await report(at("x.npy"), ...options, ...limits);
    const file = at(`${name}.checkpoint`);
    const argv = [at("x.npy"), ...options, ...limits, "--checkpoint", file];
    const controller = new AbortController();
    const stopped = await command(["decompose", ...argv], {
      signal: controller.signal,
      onStderr: (text) => text.includes("fit") && controller.abort(),
    });
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toContain(`${file} has the state, and the same command goes on from it`);
    const resumed = await report(...argv);
    expect(resumed.sweeps).toBe(plain.sweeps);
    expect(Math.abs(resumed.relativeError - plain.relativeError)).toBeLessThan(1e-6);
    expect(readdirSync(folder).filter((entry) => entry.endsWith(".tmp"))).toEqual([]);
  });

  it("goes on after Ctrl-C while the starts run", async () => {
    const argv = [at("x.npy"), "--rank", "2", "--sweeps", "30", "--tolerance", "0"];
    const plain = await report(...argv);
    const file = at("starts.checkpoint");
    // each run ends after some more questions whether it shall; the first ones come before the starts
    for (let most = 4; !existsSync(file); most++) {
      const controller = new AbortController();
      let asked = 0;
      const signal = new Proxy(controller.signal, {
        get(target, name) {
          if (name === "aborted" && ++asked === most) controller.abort();
          const value = Reflect.get(target, name, target) as unknown;
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
      const { code, stderr } = await command(["decompose", ...argv, "--checkpoint", file], { signal });
      expect(code).toBe(130);
      expect(stderr).toContain(existsSync(file) ? `${file} has the state` : "nothing was written");
    }
    const resumed = await report(...argv, "--checkpoint", file);
    expect([resumed.relativeError, resumed.fits, resumed.starts]).toEqual([
      ...[plain.relativeError, plain.fits, plain.starts],
    ]);
  });

  it("refuses the state of another run, and options that go without", async () => {
    const file = at("run.checkpoint");
    await report(at("x.npy"), "--ranks", "2,2,2", "--checkpoint", file);
    expect(existsSync(file)).toBe(true);
    const errorOf = async (...argv: string[]) => {
      const { code, stderr } = await command(["decompose", ...argv, "--checkpoint", file]);
      expect(code).toBeGreaterThan(0);
      return stderr;
    };
    expect(await errorOf(at("x.npy"), "--ranks", "3,2,2")).toContain(
      "the checkpoint is of a run with ranks [2,2,2], this one has [3,2,2]",
    );
    expect(await errorOf(at("y.npy"), "--ranks", "2,2,2")).toContain("the checkpoint is of another tensor");
    expect(await errorOf(at("x.npy"), "--method", "tucker", "--error", "0.3")).toContain(
      "--checkpoint and --error: give one of them",
    );
    expect(await errorOf(at("x.npy"), "--ranks", "2,2,2", "--missing")).toContain(
      "--checkpoint and --missing: give one of them",
    );
    expect(await errorOf(at("x.npy"), "--rank", "2", "--nonnegative")).toContain("--nonnegative and --checkpoint");
    expect(await errorOf(at("x.npy"), "--method", "tensor-train", "--error", "0.3")).toContain(
      "--checkpoint is for cp, tucker, parafac2",
    );
  });
});
