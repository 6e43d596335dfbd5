import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Engine, Staging, type Tensor } from "../../src/gpu/index.js";
import { multiply } from "../../src/ops/index.js";
import { freshEngine, siblingEngine } from "../engine.js";

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

  // a device of the engine's is read into itself, another's by way of the host's memory
  for (const [whose, open] of [
    ["the engine's", freshEngine],
    ["a host's", siblingEngine],
  ] as const)
    it(`sends what was read, and forgets what could not be: a device of ${whose}`, async () => {
      const own = await open();
      const staging = new Staging(own, 48, 24);
      using tensor = own.tensor([12], new Float32Array(12).fill(-1));
      const piece = (from: number) => (into: Uint8Array) =>
        into.set(bytesOf(Float32Array.from([from, from + 1, from + 2])));
      const first = await staging.fill(12, piece(1));
      const second = staging.fill(12, piece(4)); // filled while the first is to be sent
      first(tensor, 4);
      (await second)(tensor, 16);
      for (let failure = 0; failure < 3; failure++)
        await expect(staging.fill(8, () => Promise.reject(new Error("no such row")))).rejects.toThrow("no such row");
      await staging.fill(12, piece(90)); // it is never sent
      (await staging.fill(12, piece(7)))(tensor, 28);
      expect([...(await tensor.read())]).toEqual([-1, 1, 2, 3, 4, 5, 6, 7, 8, 9, -1, -1]);
      await expect(staging.fill(25, piece(0))).rejects.toThrow("fill: 25 bytes, there is room for 24");
      const late = await staging.fill(12, piece(0));
      expect(() => late(tensor, 40)).toThrow("write: 12 bytes from byte 40 on");
      staging.destroy();
      own.destroy();
    });

  it("frees no memory that is being filled", async () => {
    const own = await freshEngine();
    let isLost = false;
    void own.device.lost.then(() => (isLost = true));
    const staging = new Staging(own, 16);
    let fill = (): void => {};
    let memory: Uint8Array = new Uint8Array(0);
    const filled = staging.fill(16, async (into) => {
      memory = into;
      await new Promise<void>((resolve) => (fill = resolve));
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    staging.destroy();
    own.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(memory.length).toBe(16); // memory that was freed has no length
    expect(isLost).toBe(false);
    fill();
    const send = await filled;
    await own.device.lost;
    expect(memory.length).toBe(0);
    expect(() => send({ bytes: 16 } as Tensor, 0)).toThrow("the engine was destroyed");
  });
});
