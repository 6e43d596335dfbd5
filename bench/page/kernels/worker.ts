/** Measures in a worker: references in f64 take whole seconds of JavaScript, and ending the worker ends all of it. */
import { Engine } from "../../../src/index.js";
import type { Case } from "../../case.js";
import { cases } from "../../cases/index.js";
import type { MeasureOptions } from "../../measure.js";
import type { Result } from "../../result.js";
import { type Opened, Session } from "../../session.js";

export type CaseInfo = Pick<Case, "name" | "shapes" | "flops" | "bytes"> & { op: Case["work"]["op"]; steps: number };

export interface Adapter {
  info: Record<string, string>;
  /** limits of the adapter, and of the device where the library has opened one */
  limits: readonly { name: string; adapter: number; device: number | null }[];
  features: readonly { name: string; used: boolean | null }[];
}

export type ToWorker = { type: "open" } | { type: "measure"; index: number; options: MeasureOptions };
export type FromWorker =
  | { type: "cases"; cases: CaseInfo[]; adapter: Adapter | null }
  | { type: "opened"; opened: Opened; adapter: Adapter; choices: Record<string, string> }
  | { type: "step"; step: string }
  | { type: "result"; result: Result }
  | { type: "error"; message: string };

const tell = (message: FromWorker): void => postMessage(message);
let session: Session | null = null;

async function open(): Promise<void> {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error("WebGPU gives no adapter in a worker here");
  tell({ type: "step", step: "choosing kernels, probing the adapter's limits" });
  const engine = await Engine.fromAdapter(adapter);
  engine.lost.catch((error: Error) => tell({ type: "error", message: error.message }));
  session = await Session.open(engine, {});
  const choices = await session.choices();
  tell({ type: "opened", opened: session.opened, adapter: describe(adapter, engine.device), choices });
}

function describe(adapter: GPUAdapter, device: GPUDevice | null): Adapter {
  const { vendor, architecture, device: model, description } = adapter.info;
  const limits: Adapter["limits"][number][] = [];
  const of = adapter.limits as unknown as Record<string, number>;
  const opened = device?.limits as unknown as Record<string, number> | undefined;
  // the names are the prototype's
  for (const name in adapter.limits) {
    const value = of[name];
    if (typeof value === "number") limits.push({ name, adapter: value, device: opened?.[name] ?? null });
  }
  const features = [...adapter.features].sort().map((name) => ({ name, used: device?.features.has(name) ?? null }));
  return { info: { vendor, architecture, device: model, description }, limits, features };
}

addEventListener("message", async ({ data }: MessageEvent<ToWorker>) => {
  try {
    if (data.type === "open") await open();
    else {
      const onStep = (step: string): void => tell({ type: "step", step });
      tell({ type: "result", result: await session!.measure(data.index, { ...data.options, onStep }) });
    }
  } catch (error) {
    tell({ type: "error", message: (error as Error).message });
  }
});
const list = cases().map(({ name, shapes, flops, bytes, steps = 1, work }) => ({
  name,
  shapes,
  flops: flops / steps,
  bytes: bytes / steps,
  steps,
  op: work.op,
}));
const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
tell({ type: "cases", cases: list, adapter: adapter ? describe(adapter, null) : null });
