import type { Faults } from "./faults.js";
import { GPU_USAGE, type GPUComputePassEncoder, type GPUDevice } from "./webgpu.js";

/** Time of the dispatches of one kernel in one group. */
export interface ProfileRow {
  kernel: string;
  group: string;
  dispatches: number;
  /** milliseconds, summed */
  ms: number;
}

export interface Profile {
  /** how it was measured; wall clock includes a submit per dispatch */
  by: "timestamps" | "wall clock";
  rows: ProfileRow[];
  /** milliseconds of all dispatches */
  ms: number;
}

/** @internal What is profiled. */
export interface Profiled {
  label: string;
  /** the kernel of every dispatch, and the group that it was recorded in */
  dispatches: readonly { kernel: { name: string; key: string }; group: string }[];
  /** records one dispatch */
  record(pass: GPUComputePassEncoder, index: number): void;
}

/** queries in one set; WebGPU allows 4096 */
const MOST_QUERIES = 4096;
const NANOSECONDS = 1e6;

/** @internal Times every dispatch: by timestamps where the device has them, else by wall clock. */
export async function timeDispatches(device: GPUDevice, faults: Faults, profiled: Profiled): Promise<Profile> {
  const since = faults.now;
  const by = device.features.has("timestamp-query") ? "timestamps" : "wall clock";
  const times = await (by === "timestamps" ? timestamps : wallClock)(device, faults, profiled);
  await faults.settled(since);
  const rows = new Map<string, ProfileRow>();
  profiled.dispatches.forEach(({ kernel, group }, index) => {
    const key = `${group}|${kernel.key}`;
    const row = rows.get(key) ?? { kernel: kernel.key, group, dispatches: 0, ms: 0 };
    row.dispatches++;
    row.ms += times[index]!;
    rows.set(key, row);
  });
  return { by, rows: [...rows.values()], ms: times.reduce((sum, ms) => sum + ms, 0) };
}

/** One pass a dispatch, which writes the GPU's clock at its beginning and end. */
async function timestamps(
  device: GPUDevice,
  faults: Faults,
  { label, dispatches, record }: Profiled,
): Promise<number[]> {
  const names = [...new Set(dispatches.map(({ kernel }) => kernel.name))];
  const times: number[] = [];
  for (let start = 0; start < dispatches.length; start += MOST_QUERIES / 2) {
    const count = Math.min(MOST_QUERIES / 2, dispatches.length - start);
    const resources: { destroy(): void }[] = [];
    const track = <T extends { destroy(): void }>(resource: T): T => {
      resources.push(resource);
      return resource;
    };
    try {
      const { mapped, mapping } = faults.guard(`${label}: profile`, names, () => {
        const { QUERY_RESOLVE, COPY_SRC, COPY_DST, MAP_READ } = GPU_USAGE;
        const size = 16 * count;
        const querySet = track(device.createQuerySet({ type: "timestamp", count: 2 * count }));
        const resolved = track(device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC }));
        const mapped = track(device.createBuffer({ size, usage: MAP_READ | COPY_DST }));
        const encoder = device.createCommandEncoder();
        for (let index = 0; index < count; index++) {
          const pass = encoder.beginComputePass({
            timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * index, endOfPassWriteIndex: 2 * index + 1 },
          });
          record(pass, start + index);
          pass.end();
        }
        encoder.resolveQuerySet(querySet, 0, 2 * count, resolved, 0);
        encoder.copyBufferToBuffer(resolved, 0, mapped, 0, size);
        device.queue.submit([encoder.finish()]);
        return { mapped, mapping: mapped.mapAsync(1) };
      });
      await faults.untilOver(mapping);
      const stamps = new BigInt64Array(mapped.getMappedRange());
      for (let index = 0; index < count; index++) {
        // the GPU's clock may step back: a dispatch takes no less than 0 ms
        times.push(Math.max(0, Number(stamps[2 * index + 1]! - stamps[2 * index]!) / NANOSECONDS));
      }
    } finally {
      for (const resource of resources) resource.destroy();
    }
  }
  return times;
}

/** One submit a dispatch, timed until the queue is empty. */
async function wallClock(
  device: GPUDevice,
  faults: Faults,
  { label, dispatches, record }: Profiled,
): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index < dispatches.length; index++) {
    const started = performance.now();
    faults.guard(`${label}: profile`, [dispatches[index]!.kernel.name], () => {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      record(pass, index);
      pass.end();
      device.queue.submit([encoder.finish()]);
    });
    await faults.untilOver(device.queue.onSubmittedWorkDone());
    times.push(performance.now() - started);
  }
  return times;
}
