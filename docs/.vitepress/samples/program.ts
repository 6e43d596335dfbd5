import type { Engine } from "../../../src/gpu/index.js";

/**
 * What samples of the guide and of README import from "./your-program", but for the engine and the device: the site makes those in a worker,
 * and test/samples.ts under Node.
 */
export function programOf(engine: Engine, device: GPUDevice) {
  const values = Float32Array.from({ length: 336 }, (_, n) => {
    const [i, j, k] = [Math.floor(n / 42), Math.floor(n / 6) % 7, n % 6] as const;
    const peak = (x: number, centre: number): number => Math.exp(-((x - centre) ** 2) / 4);
    return (1 + i) * peak(j, 2) * peak(k, 1) + (9 - i) * peak(j, 4) * peak(k, 4);
  });
  const pixels = Float32Array.from({ length: 94080 }, (_, i) => Math.abs(Math.sin(i * i)));
  const digits = Uint32Array.from({ length: 120 }, (_, i) => i % 10);

  /** a buffer of so many floats, for kernels and for copies in and out */
  const buffer = (size: number): GPUBuffer => device.createBuffer({ size: 4 * size, usage: 0x8c });
  const [x, matrix] = [buffer(210), buffer(24)];
  const [out, products] = [buffer(140), buffer(21)];
  const factors = [21, 18, 15].map(buffer);
  device.queue.writeBuffer(x, 0, new Float32Array(210).fill(1));
  device.queue.writeBuffer(matrix, 0, new Float32Array(24).fill(0.5));
  for (const factor of factors) device.queue.writeBuffer(factor, 0, new Float32Array(factor.size / 4).fill(1));

  /** the floats of a buffer */
  async function read(source: GPUBuffer): Promise<Float32Array> {
    const staging = device.createBuffer({ size: source.size, usage: 0x9 });
    const copy = device.createCommandEncoder();
    copy.copyBufferToBuffer(source, 0, staging, 0, source.size);
    device.queue.submit([copy.finish()]);
    await staging.mapAsync(1);
    return new Float32Array(staging.getMappedRange().slice(0));
  }
  return {
    ...{ values, engine, device, x, matrix, out, products, factors, read },
    images: engine.tensor([120, 1, 28, 28], pixels),
    labels: engine.tensor([120], digits),
    encoder: device.createCommandEncoder(),
  };
}
