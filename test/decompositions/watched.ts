import { vi } from "vitest";
import type { Iteration } from "../../src/decompositions/index.js";
import { type DType, type Engine, Schedule, type Tensor } from "../../src/gpu/index.js";

/** What a solver reads back, tensor by tensor, and how many bytes it holds on the GPU while it sweeps. */
export async function watched(
  engine: Engine,
  run: (onIteration: (iteration: Iteration) => void) => Promise<void>,
): Promise<{ read: { label: string; size: number }[]; held: number }> {
  const read: { label: string; size: number }[] = [];
  let held = 0;
  const original = engine.read.bind(engine) as (tensors: Tensor | readonly Tensor[]) => Promise<never>;
  const spy = vi.spyOn(engine, "read").mockImplementation((tensors: unknown) => {
    const list = (Array.isArray(tensors) ? tensors : [tensors]) as Tensor[];
    read.push(...list.map(({ label, size }) => ({ label, size })));
    return original(tensors as Tensor);
  });
  try {
    await run(() => {
      held = Math.max(held, engine.memory().live);
    });
  } finally {
    spy.mockRestore();
  }
  return { read, held };
}

/** Dispatches, times their replays, that read what `isCounted` says, while `use` runs. */
export async function readsWhile(
  engine: Engine,
  isCounted: (tensor: Tensor<DType>) => boolean,
  use: () => Promise<unknown>,
) {
  const submit = engine.submit.bind(engine);
  let reads = 0;
  const spy = vi.spyOn(engine, "submit").mockImplementation((work, times = 1) => {
    for (const [schedule, replays] of work instanceof Schedule ? ([[work, 1]] as const) : work) {
      const { uses } = schedule as unknown as { uses: { access: string; tensor: Tensor<DType> }[] };
      reads += times * replays * uses.filter(({ access, tensor }) => access === "read" && isCounted(tensor)).length;
    }
    submit(work, times);
  });
  try {
    await use();
  } finally {
    spy.mockRestore();
  }
  return reads;
}
