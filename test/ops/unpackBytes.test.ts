import { describe, expect, it } from "vitest";
import { unpackBytes } from "../../src/ops/index.js";
import { testEngine } from "../engine.js";

describe("unpackBytes", () => {
  it.each([1, 3, 4, 255, 256, 1031])("gives value / 255 for %i bytes", async (size) => {
    const engine = await testEngine();
    const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 73) % 256);
    using x = engine.tensor([size], bytes);
    using out = engine.tensor([size]);
    await engine.run((s) => unpackBytes(s, x, { out }), "unpack");
    const numbers = await out.read();
    numbers.forEach((value, at) => {
      expect(Math.abs(value - bytes[at]! / 255)).toBeLessThanOrEqual(1e-7);
    });
  });

  it("takes nothing else", async () => {
    const engine = await testEngine();
    using x = engine.tensor([4]);
    const s = engine.scheduler("unpack");
    expect(() => unpackBytes(s, x)).toThrow("unpackBytes: tensor 4 is f32, needs u8");
    s.destroy();
  });
});
