/** Our side of a case: operands uploaded, work recorded and compiled, ready to be replayed. */
import type { Engine, Schedule, Tensor } from "../src/gpu/index.js";
import { type Case, type Inputs, operandsOf, type Prepared } from "./case.js";
import { median } from "./statistics.js";

export async function prepareOurs(engine: Engine, { work, run, prepare }: Case, inputs: Inputs): Promise<Prepared> {
  if (prepare) return prepare(engine, inputs);
  const operands = operandsOf(work).map(({ shape }, index) => engine.tensor(shape, inputs[index]!));
  const s = engine.scheduler(work.op);
  try {
    const results = run!(s, operands);
    const schedule = await s.compile();
    return {
      run: (times) => replay(engine, schedule, times),
      outputs: async () => (await engine.read(results)) as Float32Array[],
      kernelTime: () => kernelTime(schedule),
      reads: schedule.reads(operands[0]!),
      destroy() {
        schedule.destroy();
        for (const operand of operands) operand.destroy();
      },
    };
  } finally {
    s.destroy();
  }
}

export async function replay(engine: Engine, schedule: Schedule, times: number): Promise<void> {
  engine.submit(schedule, times);
  await engine.idle();
}

/**
 * Milliseconds of a schedule's kernels, the median of a few replays: single ones of some milliseconds differ by half. All are
 * submitted at once, so the schedule may be destroyed meanwhile. Null where the device has no timestamps.
 */
export async function kernelTime(schedule: Schedule): Promise<number | null> {
  const profiles = await Promise.all(Array.from({ length: 5 }, () => schedule.profile()));
  return profiles.every(({ by }) => by === "timestamps") ? median(profiles.map(({ ms }) => ms)) : null;
}

export const readAll = async (engine: Engine, tensors: readonly Tensor[]): Promise<Float32Array[]> =>
  (await engine.read(tensors)) as Float32Array[];
