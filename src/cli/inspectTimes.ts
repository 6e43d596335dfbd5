import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readBytes } from "../node/files.js";
import type { OnnxModel, OnnxSite } from "../onnx/index.js";
import {
  type LoadRuntime,
  type OpenRuntime,
  openRuntime,
  RUNTIMES,
  type Runtime,
  type RuntimeName,
} from "./runtime.js";

/** How long nodes take in a runtime. */
export interface MeasuredTimes {
  /** milliseconds of a run */
  total: number;
  /** milliseconds of a run by the name of the node */
  nodes: ReadonlyMap<string, number>;
}

const RUNS = 5;

/** A model whose layers are timed. */
export interface Timed {
  /** the model's file, or its bytes */
  file: string | Uint8Array;
  model: OnnxModel;
  sites: readonly OnnxSite[];
  shapes: Readonly<Record<string, readonly number[]>>;
}

/**
 * Times of a model's nodes in a runtime, whose package is optional; where there are none, why. onnxruntime-node has a profile of nodes. In
 * WebAssembly each site is run by itself, on one thread as there.
 *
 * @param load imports the runtime; tests pass another
 */
export async function measureTimes(
  name: RuntimeName,
  timed: Timed,
  load?: LoadRuntime,
): Promise<MeasuredTimes | string> {
  let opened: OpenRuntime;
  try {
    opened = await openRuntime(name, 1, load);
  } catch {
    return `it needs ${RUNTIMES[name]}: npm install ${RUNTIMES[name]}`;
  }
  const { model, shapes } = timed;
  const missing = model.inputs.filter((input) => !shapes[input.name]);
  if (missing.length) return `it needs extents: ${missing.map((input) => `--shape ${input.name}=…`).join(" ")}`;
  try {
    return await (name === "node" ? profiled(opened, timed) : timedAlone(opened, timed));
  } catch (error) {
    return `${RUNTIMES[name]} failed: ${(error as Error).message.split("\n")[0]}`;
  }
}

async function timedAlone({ runtime, settings }: OpenRuntime, { model, sites, shapes }: Timed): Promise<MeasuredTimes> {
  const { runtimeSessions } = await import("../compress/onnx/index.js");
  const { LayerTimes } = await import("../compress/onnx/times.js");
  const { inlineExternal } = await import("../onnx/cut.js");
  const { writeOnnx } = await import("../onnx/index.js");
  const inlined = await inlineExternal(model);
  const session = await runtime.InferenceSession.create(writeOnnx(inlined), { ...settings, logSeverityLevel: 3 });
  const runs: number[] = [];
  try {
    const feeds = feedsOf(runtime, model, shapes);
    for (let run = 0; run <= RUNS; run++) {
      const start = performance.now();
      await session.run(feeds);
      runs.push(performance.now() - start);
    }
  } finally {
    await session.release();
  }
  const sessions = runtimeSessions(runtime as Parameters<typeof runtimeSessions>[0], settings);
  const times = new LayerTimes(sessions, inlined, { fixedInputs: true, join: false });
  const nodes = new Map<string, number>();
  for (const site of sites)
    if (site.inputShape?.every((extent) => extent !== null))
      nodes.set(site.name.split("+")[0]!, await times.alone(site));
  // layers were run at another time than all of it, when the machine may have done other work
  const layers = [...nodes.values()].reduce((a, b) => a + b, 0);
  return { total: Math.max(Math.min(...runs), layers), nodes };
}

async function profiled(
  { runtime, settings }: OpenRuntime,
  { file, model, shapes }: Timed,
): Promise<MeasuredTimes | string> {
  const folder = mkdtempSync(join(tmpdir(), "tenfold-profile-"));
  try {
    const session = await runtime.InferenceSession.create(file, {
      ...{ ...settings, enableProfiling: true, profileFilePrefix: join(folder, "profile") },
      // as the nodes stand in the file, so that their names are found again
      ...{ graphOptimizationLevel: "basic", logSeverityLevel: 3 },
    });
    const feeds = feedsOf(runtime, model, shapes);
    for (let run = 0; run < RUNS; run++) await session.run(feeds);
    session.endProfiling();
    await session.release();
    const [profile] = readdirSync(folder);
    if (!profile) return "onnxruntime-node wrote no profile";
    return timesOf(new TextDecoder().decode(readBytes(join(folder, profile))));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const feedsOf = (runtime: Runtime, { inputs }: OnnxModel, shapes: Timed["shapes"]): Record<string, unknown> =>
  Object.fromEntries(inputs.map(({ name, dtype }) => [name, feedOf(runtime, dtype, shapes[name]!)]));

function feedOf({ Tensor }: Runtime, dtype: string, shape: readonly number[]): unknown {
  const size = shape.reduce((a, b) => a * b, 1);
  const wave = (i: number): number => Math.sin(i);
  const data =
    dtype === "int64"
      ? new BigInt64Array(size)
      : dtype === "int32"
        ? new Int32Array(size)
        : dtype === "bool" || dtype === "uint8"
          ? new Uint8Array(size)
          : dtype === "float16"
            ? new Uint16Array(size)
            : dtype === "float64"
              ? Float64Array.from({ length: size }, (_, i) => wave(i))
              : Float32Array.from({ length: size }, (_, i) => wave(i));
  return new Tensor(dtype, data, shape);
}

/** The kernels' times of all runs but the first, which allocates. */
export function timesOf(profile: string): MeasuredTimes {
  const events = JSON.parse(profile) as { cat: string; name: string; dur: number }[];
  const nodes = new Map<string, number[]>();
  for (const { cat, name, dur } of events) {
    const node = cat === "Node" ? /^(.*)_kernel_time$/.exec(name)?.[1] : undefined;
    if (node !== undefined) nodes.set(node, [...(nodes.get(node) ?? []), dur]);
  }
  const means = new Map<string, number>();
  for (const [node, all] of nodes) {
    const later = all.length > 1 ? all.slice(1) : all;
    means.set(node, later.reduce((a, b) => a + b, 0) / later.length / 1000);
  }
  return { total: [...means.values()].reduce((a, b) => a + b, 0), nodes: means };
}
