import { expect, it } from "vitest";
import { Engine } from "../../src/gpu/index.js";
import { knowsChoices } from "../../src/gpu/variants.js";
import { testEngine } from "../engine.js";

it("forced names that no op knew yet are judged when the first schedule begins", async () => {
  const { device } = await testEngine();
  // as where only tenfold/node was imported
  expect(knowsChoices()).toBe(false);
  using right = new Engine(device, { variants: { matmul: "tiled" } });
  using wrong = new Engine(device, { variants: { matmull: "tiled" } });
  await import("../../src/ops/index.js");
  expect(() => right.scheduler()).not.toThrow();
  for (let again = 0; again < 2; again++)
    expect(() => wrong.scheduler()).toThrow(
      /^scheduler: variants has no choice "matmull"; there are .*\bconv2d, .*\bkruskal, .*\bmatmul, .*\bmttkrp\b/,
    );
  expect(() => new Engine(device, { variants: { matmull: "tiled" } })).toThrow(
    'new Engine: variants has no choice "matm',
  );
});
