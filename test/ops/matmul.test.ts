import { expect, it } from "vitest";
import { matmul } from "../../src/ops/matmul.js";
import { evaluate, expectClose, testEngine } from "../engine.js";
import * as reference from "../reference.js";

it("multiplies", async () => {
  const engine = await testEngine();
  const [rows, inner, columns] = [37, 53, 29];
  const a = reference.randomArray(rows * inner, 1);
  const b = reference.randomArray(inner * columns, 2);
  using ta = engine.tensor([rows, inner], a);
  using tb = engine.tensor([inner, columns], b);
  const out = await evaluate(engine, (s) => matmul(s, ta, tb));
  expectClose(out, reference.matmul(a, b, rows, inner, columns));
  expect(engine.counters.readbacks).toBe(1);
});
