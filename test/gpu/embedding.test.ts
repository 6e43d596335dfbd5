/** A host program with its device, buffers and frame, into which it puts tenfold's work. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DeviceLostError, Engine } from "../../src/gpu/index.js";
import { copy, kruskalResidual, modeProduct, mttkrp, sumOfSquares } from "../../src/ops/index.js";
import { expectClose } from "../engine.js";
import * as products from "../reference/products.js";
import { randomArray } from "../reference.js";
import { incrementing, plainDevice } from "./kernels.js";

const STORAGE = 0x80 | 0x8 | 0x4;
const HOST_SHADER = `
@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read_write> target_: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < arrayLength(&target_)) { target_[id.x] = 2.0 * source[id.x] + 1.0; }
}`;
const hostMap = (value: number) => 2 * value + 1;

/** The host program. It uses WebGPU only, nothing of tenfold. */
class Host {
  readonly errors: string[] = [];
  readonly pipeline: GPUComputePipeline;
  readonly onError = (event: GPUUncapturedErrorEvent) => {
    event.preventDefault();
    this.errors.push(event.error.message);
  };
  readonly buffers: GPUBuffer[] = [];
  constructor(readonly device: GPUDevice) {
    device.onuncapturederror = this.onError;
    const module = device.createShaderModule({ code: HOST_SHADER });
    this.pipeline = device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
  }
  buffer(data: Float32Array | number): GPUBuffer {
    const size = typeof data === "number" ? 4 * data : data.byteLength;
    const buffer = this.device.createBuffer({ size, usage: STORAGE });
    if (typeof data !== "number") this.device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
    this.buffers.push(buffer);
    return buffer;
  }
  dispatch(pass: GPUComputePassEncoder, source: GPUBuffer, target: GPUBuffer): void {
    const entries = [source, target].map((buffer, binding) => ({ binding, resource: { buffer } }));
    pass.setPipeline(this.pipeline);
    pass.setBindGroup(0, this.device.createBindGroup({ layout: this.pipeline.getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(Math.ceil(target.size / 4 / 64));
  }
  async read(buffer: GPUBuffer): Promise<Float32Array> {
    const staging = this.device.createBuffer({ size: buffer.size, usage: 0x1 | 0x8 });
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
    this.device.queue.submit([encoder.finish()]);
    await staging.mapAsync(1);
    const data = new Float32Array(staging.getMappedRange().slice(0));
    staging.destroy();
    return data;
  }
}

const shape = [7, 6, 5];
const rank = 3;
const source = randomArray(7 * 6 * 5, 1);
const factors = shape.map((extent, mode) => randomArray(extent * rank, 2 + mode));
const matrix = randomArray(4 * 6, 9);

let host: Host;
let engine: Engine;
beforeEach(async () => {
  host = new Host(await plainDevice());
  // forced, as a probe would submit to the host's queue
  engine = new Engine(host.device, { variants: { matmul: "register" } });
});
afterEach(() => {
  vi.restoreAllMocks();
  host.device.destroy();
});

/** The host's kernel, our mode-1 product and our MTTKRP of what it wrote, and the host's kernel on both results. */
async function frame() {
  const raw = host.buffer(source);
  const x = host.buffer(source.length);
  const projected = host.buffer(7 * 4 * 5);
  const products = host.buffer(7 * rank);
  const projectedAfter = host.buffer(7 * 4 * 5);
  const productsAfter = host.buffer(7 * rank);
  const s = engine.scheduler("embedded");
  const tensor = engine.wrap(x, shape);
  const wrapped = factors.map((data, mode) => engine.wrap(host.buffer(data), [shape[mode]!, rank]));
  modeProduct(s, tensor, engine.wrap(host.buffer(matrix), [4, 6]), 1, { out: engine.wrap(projected, [7, 4, 5]) });
  mttkrp(s, tensor, wrapped, 0, { out: engine.wrap(products, [7, rank]) });
  const schedule = await s.compile();
  const encode = (into: "encoder" | "pass") => {
    const encoder = host.device.createCommandEncoder();
    let pass = encoder.beginComputePass();
    host.dispatch(pass, raw, x);
    if (into === "pass") schedule.encode(pass);
    else {
      pass.end();
      schedule.encode(encoder);
      pass = encoder.beginComputePass();
    }
    host.dispatch(pass, projected, projectedAfter);
    host.dispatch(pass, products, productsAfter);
    pass.end();
    return encoder.finish();
  };
  return { schedule, encode, raw, x, projectedAfter, productsAfter };
}

function expected() {
  const x = source.map(hostMap);
  return {
    projected: products.modeProduct(x, shape, matrix, 4, 1).map(hostMap),
    products: products.mttkrp(x, shape, factors, rank, 0).map(hostMap),
  };
}

describe("in a host's frame", () => {
  it.each(["encoder", "pass"] as const)("runs in one submit of the host's, through its %s", async (into) => {
    const { encode, projectedAfter, productsAfter } = await frame();
    const submitted = vi.spyOn(host.device.queue, "submit");
    const commands = encode(into);
    host.device.queue.submit([commands]);
    expect(submitted).toHaveBeenCalledTimes(1);
    expectClose(await host.read(projectedAfter), expected().projected);
    expectClose(await host.read(productsAfter), expected().products);
    expect(engine.counters).toMatchObject({ submits: 0, readbacks: 0 });
    expect(host.errors).toEqual([]);
  });

  it("leaves the host working after it is disposed of", async () => {
    const lost = vi.fn();
    host.device.lost.then(lost);
    const destroyed = vi.spyOn(host.device, "destroy");
    const { encode, schedule, raw, x, productsAfter } = await frame();
    host.device.queue.submit([encode("encoder")]);
    const gone = host.buffers.map((buffer) => vi.spyOn(buffer, "destroy"));
    schedule.destroy();
    engine.destroy();
    expect(engine.memory()).toMatchObject({ live: 0, pooled: 0, buffers: 0 });
    // work that was submitted before still gives its results, and the host's buffers, pipeline and queue still work
    expectClose(await host.read(productsAfter), expected().products);
    const encoder = host.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    host.dispatch(pass, x, raw);
    pass.end();
    host.device.queue.submit([encoder.finish()]);
    expectClose(await host.read(raw), source.map(hostMap).map(hostMap), 1e-6);
    for (const spy of gone) expect(spy).not.toHaveBeenCalled();
    expect(destroyed).not.toHaveBeenCalled();
    expect(lost).not.toHaveBeenCalled();
    expect(host.errors).toEqual([]);
  });
});

describe("a host's error handling", () => {
  it("keeps its handler, and no listener is added", async () => {
    const listened = vi.spyOn(host.device, "addEventListener");
    const other = new Engine(host.device);
    const x = other.tensor([4]);
    const schedule = await incrementing(other, x);
    other.submit(schedule);
    await x.read();
    expect(host.device.onuncapturederror).toBe(host.onError);
    expect(listened).not.toHaveBeenCalled();
    other.destroy();
    expect(host.device.onuncapturederror).toBe(host.onError);
  });

  it("hears of the host's mistakes only, and we of ours", async () => {
    const buffer = host.device.createBuffer({ size: 256, usage: STORAGE });
    const schedule = await incrementing(engine, engine.wrap(buffer, [4]));
    buffer.destroy();
    engine.submit(schedule);
    await expect(engine.idle()).rejects.toThrow("increments (kernels: increment)");
    expect(host.errors).toEqual([]);
    // WebGPU allows no buffer that is both mapped and used as storage
    host.device.createBuffer({ size: 16, usage: 0x1 | 0x80 });
    await host.device.queue.onSubmittedWorkDone();
    for (let wait = 0; wait < 100 && host.errors.length === 0; wait++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(host.errors).toHaveLength(1);
    await engine.idle();
  });

  it("keeps a scope that the host opened around us", async () => {
    host.device.pushErrorScope("validation");
    const x = engine.tensor([4]);
    const schedule = await incrementing(engine, x);
    engine.submit(schedule);
    await x.read();
    host.device.createBuffer({ size: 16, usage: 0x1 | 0x80, label: "mistake" });
    const error = await host.device.popErrorScope();
    expect(error).not.toBeNull();
    await expect(host.device.popErrorScope()).rejects.toThrow();
    expect(host.errors).toEqual([]);
  });

  it("learns of a lost device as before, and so do we", async () => {
    const x = engine.tensor([4]);
    const [reading, info] = [x.read(), host.device.lost];
    host.device.destroy();
    await expect(reading).rejects.toBeInstanceOf(DeviceLostError);
    expect((await info).reason).toBe("destroyed");
  });
});

it("two engines share a device and neither disturbs the other", async () => {
  const other = new Engine(host.device);
  const [x, y] = [engine.tensor([4]), other.tensor([4])];
  const schedules = await Promise.all([incrementing(engine, x, 1), incrementing(other, y, 2)]);
  engine.submit(schedules[0], 3);
  other.submit(schedules[1], 3);
  expect((await x.read())[0]).toBe(3);
  engine.destroy();
  other.submit(schedules[1]);
  expect((await y.read())[0]).toBe(8);
  other.destroy();
});

describe("rows that lie apart", () => {
  /** an array<vec3f> as WGSL lays it out: 7 places of 3 numbers, 16 bytes apart, with NaN between */
  const places = randomArray(21, 5);
  const padded = Float32Array.from({ length: 28 }, (_, at) => (at % 4 < 3 ? places[3 * (at >> 2) + (at % 4)]! : NaN));
  const wrapped = (buffer: GPUBuffer) => engine.wrap(buffer, [7, 3], { rowStride: 4, label: "places" });

  it("are read as they are, packed by copy, and laid apart by it", async () => {
    const [from, to] = [host.buffer(padded), host.buffer(new Float32Array(28).fill(-1))];
    expect(await wrapped(from).read()).toEqual(places);
    const s = engine.scheduler("places");
    const packed = copy(s, wrapped(from));
    const turned = modeProduct(s, packed, engine.wrap(host.buffer(matrix.subarray(0, 9)), [3, 3]), 1);
    copy(s, turned, { out: wrapped(to) });
    const schedule = await s.compile();
    engine.submit(schedule);
    const expected = products.modeProduct(places, [7, 3], matrix.subarray(0, 9), 3, 1);
    expectClose(await wrapped(to).read(), expected);
    const laid = await host.read(to);
    for (let row = 0; row < 7; row++) expect(laid[4 * row + 3]).toBe(-1);
    schedule.destroy();
  });

  it("are copied from one buffer to another, and what lies between stays", async () => {
    const to = host.buffer(new Float32Array(7 * 5).fill(9));
    const out = engine.wrap(to, [7, 3], { rowStride: 5 });
    await engine.run((s) => copy(s, wrapped(host.buffer(padded)), { out }));
    expect(await out.read()).toEqual(places);
    expect((await host.read(to)).filter((value) => value === 9)).toHaveLength(14);
  });

  it("are refused by every other operation, and by views and writes", async () => {
    const x = wrapped(host.buffer(padded));
    const said = "places 7×3 has rows 4 elements apart; the op copy packs them";
    expect(() => modeProduct(engine.scheduler(), x, engine.tensor([2, 3]), 1)).toThrow(said);
    const factors = [engine.tensor([7, 2]), engine.tensor([3, 2])];
    expect(() => mttkrp(engine.scheduler(), x, factors, 0)).toThrow(said);
    expect(() => kruskalResidual(engine.scheduler(), x, null, factors)).toThrow(said);
    expect(() => sumOfSquares(engine.scheduler(), x)).toThrow(said);
    expect(() => x.reshape([21])).toThrow(`reshape: ${said}`);
    expect(() => x.rows(0, 1)).toThrow(`rows: ${said}`);
    expect(() => x.write(places)).toThrow(`write: ${said}`);
    // rows that follow each other are as without the option
    expect(engine.wrap(x.buffer, [7, 4], { rowStride: 4 }).rowStride).toBeNull();
    expect(() => engine.wrap(x.buffer, [7, 3], { rowStride: 2 })).toThrow(
      "wrap: rowStride is 2, a row of 7×3 has 3 elements",
    );
    expect(() => engine.wrap(x.buffer, [7, 3], { rowStride: 8 })).toThrow(/has 112 bytes, .* needs 224/);
    expect(() => engine.wrap(x.buffer, [7, 3], { rowStride: 0 })).toThrow("wrap: rowStride is 0");
  });
});
