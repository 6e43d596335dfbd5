import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { rulesMarkdown, rulesOn, rulesText, type ShownRules } from "../../src/cli/rules.js";
import { isSoftware } from "../../src/gpu/index.js";
import { RULES } from "../../src/ops/adapter.js";
import { testEngine } from "../engine.js";
import { PAPER, paperEngine } from "../ops/paperEngine.js";
import { command } from "./command.js";

describe("tenfold doctor --rules", () => {
  it("prints every rule, and whose values are in force", async () => {
    const engine = await testEngine();
    const { code, stdout, stderr } = await command(["doctor", "--rules"]);
    expect([code, stderr]).toEqual([0, ""]);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    const words = stdout.split(/\s+/).join(" ");
    expect(words).toContain(`${engine.adapterName}: the values of [`);
    for (const [name, { decides, because }] of Object.entries(RULES))
      for (const text of [name, decides, because]) expect(words).toContain(text);
    expect(words.includes("[GPU]")).toBe(!isSoftware(engine.adapterName));
  });

  it("prints them as JSON", async () => {
    const { code, stdout } = await command(["doctor", "--rules", "--json"]);
    expect(code).toBe(0);
    const { kind, kinds, rules } = JSON.parse(stdout) as ShownRules;
    expect(kinds).toEqual({ swiftshader: "SwiftShader", lavapipe: "lavapipe", gpu: "GPU" });
    expect(Object.keys(kinds)).toContain(kind);
    expect(rules.map(({ name }) => name)).toEqual(Object.keys(RULES));
    expect(rules.find(({ name }) => name === "tucker2")!.values).toEqual({
      ...{ swiftshader: 0, lavapipe: 131072, gpu: 8388608 },
    });
    expect(rules.find(({ name }) => name === "permuteTiles")!.values).toEqual({
      ...{ swiftshader: "never", lavapipe: "never", gpu: 8 },
    });
    expect(rules.find(({ name }) => name === "matmul")!.values.gpu).toBe("tiled or register");
  });

  it.each([
    ["swiftshader", "[SwiftShader]"],
    ["lavapipe", "[lavapipe]"],
    ["gpu", "[GPU]"],
  ] as const)("marks the column of a %s", (name, marked) => {
    const text = rulesText(rulesOn(paperEngine(PAPER[name])), 120);
    expect(text.match(/\[\w+\]/g)).toEqual([marked, marked]);
  });
});

it("bench/README.md has the rules as they are", () => {
  const path = join(resolve(import.meta.dirname, "../.."), "bench/README.md");
  const text = readFileSync(path, "utf8");
  const [start, end] = [text.indexOf("\n", text.indexOf("<!-- rules:")), text.indexOf("<!-- end of rules -->")];
  expect(start).toBeGreaterThan(0);
  expect(end).toBeGreaterThan(start);
  const table = `\n\n${rulesMarkdown()}\n\n`;
  if (process.env.UPDATE) writeFileSync(path, text.slice(0, start) + table + text.slice(end));
  else expect(text.slice(start, end), "UPDATE=1 npx vitest run test/cli/rules.test.ts writes it").toBe(table);
});
