import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Comparison } from "../../src/experiments/compare.js";
import { command } from "./command.js";

const folder = mkdtempSync(join(tmpdir(), "tenfold-compare-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("tenfold compare", () => {
  it("decomposes a trained LeNet, fine-tunes, prints a table, writes JSON and a report", async () => {
    const [json, save] = [join(folder, "compare.json"), join(folder, "lenet.safetensors")];
    const model = "src/experiments/models/lenet.safetensors";
    const { code, stdout, stderr } = await command([
      ...["compare", "--model", model, "--methods", "svd", "--ratios", "3", "--images", "300", "--epochs", "1"],
      ...["--seeds", "2", "--json", json, "--save", save, "--report", join(folder, "report")],
    ]);
    expect(`${code}: ${stderr.split("\n").filter((line) => line.startsWith("error"))}`).toBe("0: ");
    const { rows, images } = JSON.parse(readFileSync(json, "utf8")) as Comparison;
    expect(images).toEqual({ train: 300, test: 2000 });
    expect(rows.map(({ method, target }) => `${method} ${target}`)).toEqual([
      "original ",
      "svd ×3 weights",
      "loadings ",
    ]);
    const [original, svd, loadings] = rows as [Comparison["rows"][0], Comparison["rows"][0], Comparison["rows"][0]];
    expect(original.weights).toBe(61706);
    expect(original.multiplications).toBe(416520);
    // held out from what the network was trained on
    expect(original.before).toBeGreaterThan(0.97);
    expect(svd.weights).toBeLessThanOrEqual(61706 / 3);
    expect(svd.weights).toBe(svd.layers.reduce((sum, { weights }) => sum + weights[1], 0));
    expect(svd.before).toBeGreaterThan(0.9);
    expect(svd.after.values).toHaveLength(2);
    expect(svd.time.map(({ batch }) => batch)).toEqual([1, 100]);
    // two layers of low rank are one dispatch for a single image
    expect(svd.dispatches).toBeLessThanOrEqual(original.dispatches);
    expect(svd.dispatches).toBeGreaterThanOrEqual(7);
    expect(loadings.weights).toBeLessThanOrEqual(61706);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(120);
    expect(stdout).toMatch(/svd .* – – \d+ \d+ (\d+|–)\s/);
    expect(stdout).toContain("svd");
    expect(readFileSync(join(folder, "report/index.html"), "utf8")).toContain('"kind":"comparison"');
    expect(readFileSync(save)).toEqual(readFileSync(model));
  }, 600_000);

  it("says which methods there are", async () => {
    const { code, stderr } = await command(["compare", "--methods", "magic"]);
    expect(code).toBe(2);
    expect(stderr).toContain("No method magic; there are svd, tt");
  });
});
