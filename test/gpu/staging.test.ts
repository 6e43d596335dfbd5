import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Engine, Staging, type Tensor } from "../../src/gpu/index.js";
import { multiply } from "../../src/ops/index.js";
import { siblingEngine } from "../engine.js";

let engine: Engine;
beforeAll(async () => {
  engine = await siblingEngine();
});
afterAll(() => engine.destroy());

const bytesOf = (numbers: Float32Array): Uint8Array => new Uint8Array(numbers.buffer);

describe("staging", () => {
  it("writes more than it has room for, piece by piece", async () => {
    const staging = new Staging(engine, 64);
    using tensor = engine.tensor([101], new Float32Array(101));
    const numbers = Float32Array.from({ length: 99 }, (_, at) => at + 0.5);
    await staging.write(tensor, 4, bytesOf(numbers));
    expect([...(await tensor.read())]).toEqual([0, ...numbers, 0]);
    staging.destroy();
  });

  it("writes behind the work that was submitted before", async () => {
    const staging = new Staging(engine, 400);
    using tensor = engine.tensor([100], null);
    using two = engine.tensor([1], new Float32Array([2]));
    const twice: Tensor[] = [];
    for (let round = 0; round < 5; round++) {
      await staging.write(tensor, 0, bytesOf(new Float32Array(100).fill(round)));
      twice.push(engine.tensor([100], null));
      await engine.run((s) => void multiply(s, tensor, two, { out: twice[round]! }), "twice");
    }
    const read = await engine.read(twice);
    expect(read.map((numbers) => numbers[99])).toEqual([0, 2, 4, 6, 8]);
    for (const each of twice) each.destroy();
    staging.destroy();
  });

  it("may cut the last word, as bytes do", async () => {
    const staging = new Staging(engine, 7);
    using tensor = engine.tensor([2], new Uint32Array(2), { dtype: "u32" });
    await staging.write(tensor, 0, Uint8Array.of(1, 2, 3, 4, 5, 6, 7));
    expect([...new Uint8Array((await tensor.read()).buffer)].slice(0, 7)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    await expect(staging.write(tensor, 2, Uint8Array.of(1))).rejects.toThrow("write: 1 bytes from byte 2 on");
    await expect(staging.write(tensor, 4, new Uint8Array(5))).rejects.toThrow("has 8");
    staging.destroy();
  });
});
