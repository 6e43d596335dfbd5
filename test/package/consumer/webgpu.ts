/** A host that has WebGPU's types and a device already. */
import { Engine, type Schedule } from "tenfold";

export function borrow(device: GPUDevice, encoder: GPUCommandEncoder, schedule: Schedule): GPUBuffer {
  const engine = new Engine(device);
  schedule.encode(encoder);
  // @ts-expect-error the device is typed
  new Engine("a device");
  const same: GPUDevice = engine.device;
  return engine.wrap(same.createBuffer({ size: 4, usage: 128 }), [1]).buffer;
}
