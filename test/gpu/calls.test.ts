/** Calls that the types forbid are refused at run time, by errors that name the unfit argument and say what is needed. */
import { describe, expect, it } from "vitest";
import { Engine, Scheduler, TenfoldError } from "../../src/gpu/index.js";
import { openEngine } from "../../src/node/index.js";
import "../../src/ops/index.js";
import { testEngine } from "../engine.js";
import { affine } from "./kernels.js";

const engine = await testEngine();
const wrong = <T>(value: unknown): T => value as T;

/** The message that a call throws or rejects with. The error must be a TenfoldError. */
async function refusal(call: () => unknown): Promise<string> {
  try {
    await call();
  } catch (error) {
    expect(error).toBeInstanceOf(TenfoldError);
    return (error as Error).message;
  }
  return "nothing was refused";
}

const adapter = { requestDevice: async () => engine.device };

describe("an engine", () => {
  it.each<[call: () => unknown, message: string]>([
    [
      () => new Engine(wrong(undefined)),
      "new Engine: device is undefined, needs a GPUDevice; Engine.create() opens one",
    ],
    [() => new (wrong<new () => Engine>(Engine))(), "new Engine: device is undefined, needs a GPUDevice"],
    [() => new Engine(wrong(adapter)), "needs a GPUDevice; Engine.fromAdapter(adapter) opens one of this adapter"],
    [() => new Engine(wrong({ requestAdapter() {} })), "needs a GPUDevice; Engine.create({ gpu }) opens one"],
    [
      () => new Engine(wrong(Promise.resolve())),
      "device is a Promise (is an await missing?), needs a GPUDevice; await it",
    ],
    [
      () => new Engine(engine.device, wrong(null)),
      "new Engine: options are null, needs an object; it has variants, poolBytes",
    ],
    [
      () => new Engine(engine.device, wrong({ pool: 1 })),
      'new Engine: unknown option "pool"; it has variants, poolBytes',
    ],
    [
      () => new Engine(engine.device, { poolBytes: -1 }),
      "new Engine: poolBytes is -1, needs a number of bytes, 0 or more",
    ],
    [() => new Engine(engine.device, { poolBytes: Number.NaN }), "new Engine: poolBytes is NaN"],
    [() => new Engine(engine.device, { variants: wrong("tiled") }), 'new Engine: variants is "tiled", needs an object'],
    [
      () => new Engine(engine.device, { variants: wrong({ matmul: true }) }),
      "new Engine: variants is an object (Object), needs",
    ],
    [
      () => new Engine(engine.device, { variants: { matmul: 1 } }),
      "new Engine: matmul is 1, needs one of tiled, register, subgroup",
    ],
    [
      () => new Engine(engine.device, { variants: { soleWorkgroup: 48 } }),
      "new Engine: soleWorkgroup is 48, needs a power of two from 4 to 256",
    ],
    [
      () => new Engine(engine.device, { variants: { readAhead: "4" } }),
      'new Engine: readAhead is "4", needs a whole number from 1 to 16',
    ],
    [
      () => new Engine(engine.device, { variants: { matmull: "tiled" } }),
      'new Engine: variants has no choice "matmull"; there are ',
    ],
    [
      () => new Engine(engine.device, { variants: { matmul: "fast" } }),
      'new Engine: matmul is "fast", needs one of tiled, register, subgroup',
    ],
    [
      () => new Engine(engine.device, { variants: { training: "chain" } }),
      'new Engine: training is "chain", needs a whole number, 0 or more, or Infinity, or one of fused, layers',
    ],
    [() => Engine.create(wrong({ adapter: "auto" })), 'Engine.create: unknown option "adapter"; it has variants'],
    [() => Engine.create({ gpu: wrong(3) }), "Engine.create: gpu is 3, needs a GPU"],
    [
      () => Engine.create({ powerPreference: wrong("high") }),
      'Engine.create: powerPreference is "high", needs one of "low-power", "high-performance"',
    ],
    [
      () => Engine.fromAdapter(wrong(engine.device)),
      "Engine.fromAdapter: adapter is an object (GPUDevice), needs a GPUAd",
    ],
    [
      () => Engine.fromAdapter(wrong(adapter), { variants: { conv2d: "tiled" } }),
      'Engine.fromAdapter: conv2d is "tiled", needs one of register, subgroup',
    ],
    [
      () => openEngine(wrong({ adaptor: "auto" })),
      'openEngine: unknown option "adaptor"; it has variants, poolBytes, adapter',
    ],
    [
      () => openEngine({ adapter: wrong("gpu") }),
      'openEngine: adapter is "gpu", needs one of "auto", "system", "swift',
    ],
    [() => new Scheduler(wrong(engine.device)), "new Scheduler: engine is an object (GPUDevice), needs an Engine"],
    [() => engine.run(wrong(affine)), "run: given an object (Kernel), needs a function that records"],
    [() => engine.read(wrong<[]>(undefined)), "read: given undefined, needs a Tensor or a list of them"],
    [() => engine.read(wrong<[]>([engine])), "read: given an object (Engine), needs a Tensor"],
    [
      () => engine.submit(wrong(engine.scheduler())),
      "submit: given an object (Scheduler), needs a Schedule (await sched",
    ],
    [() => engine.submit(wrong(engine.scheduler().compile())), "submit: given a Promise (is an await missing?), needs"],
    [() => engine.submit([], -1), "submit: times is -1, needs a whole number, 0 or more"],
    [() => engine.submit([], Number.NaN), "submit: times is NaN"],
  ])("%s", async (call, message) => {
    expect(await refusal(call)).toContain(message);
  });

  it("takes what is right", () => {
    using one = new Engine(engine.device, { variants: { matmul: "tiled", lowRank: "chain" }, poolBytes: 0 });
    using two = new Engine(engine.device, { poolBytes: Number.POSITIVE_INFINITY });
    expect([one.forced("matmul"), two.forced("matmul")]).toEqual(["tiled", undefined]);
  });
});

const four = [1, 2, 3, 4];
const buffer = engine.device.createBuffer({ size: 256, usage: 0x80 | 0x4 | 0x8 });

describe("a tensor", () => {
  it.each<[call: () => unknown, message: string]>([
    [
      () => engine.tensor(wrong(undefined)),
      "tensor: shape is undefined, needs a list of whole numbers, 1 or more, as in",
    ],
    [() => engine.tensor(wrong(3)), "tensor: shape is 3, needs a list of whole numbers"],
    [() => engine.tensor(wrong("2×2"), four), 'tensor: shape is "2×2", needs a list'],
    [() => engine.tensor([2, Number.NaN], four), "tensor: shape 2×NaN, every extent must be a positive whole number"],
    [
      () => engine.tensor(wrong(new Float32Array(1e6).fill(0.5))),
      "0.5×0.5…, every extent must be a positive whole number; the shape comes before the values",
    ],
    [() => engine.tensor(wrong([2, "2"]), four), "tensor: shape 2×2, every extent must be a positive whole number"],
    [() => engine.tensor([2], wrong(["1", "2"])), 'tensor: data[0] is "1", needs a number'],
    [() => engine.tensor([2], wrong([1, undefined])), "tensor: data[1] is undefined, needs a number"],
    [() => engine.tensor([2], wrong([1n, 2n])), "tensor: data[0] is 1n, needs a number"],
    [() => engine.tensor([2], wrong("12")), 'tensor: data is "12", needs a typed array, a list of numbers, or lists'],
    [() => engine.tensor([1], wrong(7)), "tensor: data is 7, needs a typed array"],
    [() => engine.tensor([1], wrong(0)), "tensor: data is 0, needs a typed array"],
    [() => engine.tensor([2], wrong({ dtype: "u32" })), "tensor: data is an object (Object), needs a typed array"],
    [() => engine.tensor([2], wrong(engine.tensor([2]))), "tensor: data is an object (Tensor), needs a typed array"],
    [() => engine.tensor([2], wrong(new ArrayBuffer(8))), "(ArrayBuffer), needs a typed array, a list of numbers, or"],
    [() => engine.tensor([2], wrong(new DataView(new ArrayBuffer(8)))), "new Float32Array(…) reads it as numbers"],
    [() => engine.tensor([2], wrong(BigInt64Array.of(1n, 2n))), "Float64Array.from(data, Number) makes numbers of it"],
    [() => engine.tensor([2, 2], [[1, 2], [3]]), "tensor: data[1] has 1 values, 2×2 needs 2 values there"],
    [() => engine.tensor([2, 2], wrong([[1, 2], 3])), "tensor: data[1] is 3, 2×2 needs 2 values there"],
    [
      () =>
        engine.tensor(
          [4],
          [
            [1, 2],
            [3, 4],
          ],
        ),
      "tensor: data has 2 values, 4 needs 4 values there",
    ],
    [() => engine.tensor([2], [[1], [2]]), "tensor: data[0] is [1], needs a number"],
    [
      () =>
        engine.tensor(
          [2, 2],
          [
            [1, 2],
            [3, [4]],
          ],
        ),
      "tensor: data[1][1] is [4], needs a number",
    ],
    [() => engine.tensor([2, 1, 2], [[[1, 2]], [[3, wrong(null)]]]), "tensor: data[1][0][1] is null, needs a number"],
    [() => engine.tensor([2], [1, -1], { dtype: "u32" }), "tensor: data[1] is -1, which u32 does not hold"],
    [() => engine.tensor([2], [1, 0.5], { dtype: "i32" }), "tensor: data[1] is 0.5, which i32 does not hold"],
    [() => engine.tensor([1], [256], { dtype: "u8" }), "tensor: data[0] is 256, which u8 does not hold"],
    [() => engine.tensor([1], [Number.NaN], { dtype: "u32" }), "tensor: data[0] is NaN, which u32 does not hold"],
    [() => engine.tensor([2, 2], four, wrong({ type: "u32" })), 'tensor: unknown option "type"; it has dtype, label'],
    [() => engine.tensor([2, 2], four, { dtype: wrong("f64") }), 'tensor: dtype is "f64", needs one of "f32", "u32"'],
    [
      () => engine.tensor([2, 2], four, wrong("u32")),
      'tensor: options are "u32", needs an object; it has dtype, label',
    ],
    [() => engine.tensor([2, 2], four, { label: wrong(7) }), "tensor: label is 7, needs a string"],
    [
      () =>
        engine.tensor([4]).write([
          [1, 2],
          [3, 4],
        ]),
      "write: data has 2 values, tensor 4 needs 4 values there",
    ],
    [() => engine.write(wrong(four), four), "write: given [1, 2, 3, 4], needs a Tensor"],
    [() => engine.tensor([4]).reshape(wrong(2)), "reshape: shape is 2, needs a list of whole numbers"],
    [() => engine.wrap(wrong(undefined), [4]), "wrap: buffer is undefined, needs a GPUBuffer of the engine's device"],
    [() => engine.wrap(wrong(new Float32Array(2)), [2]), "wrap: buffer is Float32Array [0, 0], needs a GPUBuffer"],
    [() => engine.wrap(wrong(engine.tensor([4])), [4]), "wrap: buffer is an object (Tensor), needs a GPUBuffer"],
    [() => engine.wrap(buffer, wrong(undefined)), "host buffer: shape is undefined, needs a list of whole numbers"],
    [() => engine.wrap(buffer, [4], { offset: -256 }), "wrap: offset is -256, needs a whole number, 0 or more"],
    [() => engine.wrap(buffer, [4], { offset: Number.NaN }), "wrap: offset is NaN"],
    [
      () => engine.wrap(buffer, [4], wrong({ ofset: 256 })),
      'wrap: unknown option "ofset"; it has dtype, label, offset',
    ],
    [() => engine.wrap(buffer, [4], { dtype: wrong("f64") }), 'wrap: dtype is "f64", needs one of'],
  ])("%s", async (call, message) => {
    const { live } = engine.memory();
    expect(await refusal(call)).toContain(message);
    // a tensor that is an argument of the call stays, of at most 256 bytes; nothing else does
    expect(engine.memory().live - live).toBeLessThanOrEqual(256);
  });

  it.each<[data: unknown, shape: number[], dtype: "f32" | "u32" | "i32" | "u8" | undefined, expected: number[]]>([
    [
      [
        [1, 2],
        [3, 4],
      ],
      [2, 2],
      undefined,
      four,
    ],
    [
      [
        [[1], [2]],
        [[3], [4]],
      ],
      [2, 2, 1],
      undefined,
      four,
    ],
    [[Float32Array.of(1, 2), [3, 4]], [2, 2], undefined, four],
    [
      [
        [1, 2],
        [3, 4],
      ],
      [2, 2],
      "u8",
      four,
    ],
    [[-1, 2], [2], "i32", [-1, 2]],
    [Int16Array.of(-1, 2), [2], undefined, [-1, 2]],
    [Uint32Array.of(7, 2 ** 31), [2], undefined, [7, 2 ** 31]],
    [Float64Array.of(0.5, 2), [2], undefined, [0.5, 2]],
    [[Number.NaN, Number.POSITIVE_INFINITY], [2], undefined, [Number.NaN, Number.POSITIVE_INFINITY]],
    [[[5]], [1, 1], undefined, [5]],
  ])("takes %o of shape %o as %s", async (data, shape, dtype, expected) => {
    using x = engine.tensor(shape, wrong(data), dtype && { dtype });
    expect(Array.from(await x.read())).toEqual(expected);
    x.write(wrong(data));
    expect(Array.from(await x.read())).toEqual(expected);
  });
});

describe("a recording", () => {
  const s = engine.scheduler("calls");
  const x = engine.tensor([4], four);
  const params = { count: 4, offset: 0 };
  it.each<[call: () => unknown, message: string]>([
    [() => s.tensor(wrong(undefined)), "temporary: shape is undefined, needs a list of whole numbers"],
    [() => s.tensor([2], { dtype: wrong("f64") }), 'tensor: dtype is "f64", needs one of "f32", "u32", "i32", "u8"'],
    [() => s.tensor([2], wrong({ name: "x" })), 'tensor: unknown option "name"; it has dtype, label'],
    [() => s.tensor([2], wrong([1, 2])), 'tensor: unknown option "0"'],
    [() => s.run(wrong(undefined), {}), "run: given undefined, needs a Kernel or Variants first"],
    [() => s.run(affine, wrong(undefined)), "affine: bindings are undefined, needs tensors by name"],
    [() => s.run(affine, wrong(x), params), "affine: bindings are an object (Tensor), needs tensors by name"],
    [
      () => s.run(affine, { x, out: wrong(four) }, params),
      "affine: out is [1, 2, 3, 4], needs a Tensor; engine.tensor(",
    ],
    [() => s.release(wrong(undefined)), "release: given undefined, needs Tensors"],
  ])("%s", async (call, message) => {
    expect(await refusal(call)).toContain(message);
  });
});
