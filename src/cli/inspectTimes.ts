import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readBytes } from "../node/files.js";
import type { OnnxModel } from "../onnx/index.js";
import { importRuntime, type Runtime } from "./runtime.js";

/** What a profile of onnxruntime says. */
export interface MeasuredTimes {
  /** milliseconds of a run */
  total: number;
  /** milliseconds of a run by the name of the node */
  nodes: ReadonlyMap<string, number>;
}

const RUNS = 5;

/**
 * Times of a model's nodes in onnxruntime-node, which is an optional package; where there are none, why.
 *
 * @param file the model's file, or its bytes
 * @param load imports the runtime; tests pass another
 */
export async function measureTimes(
  file: string | Uint8Array,
  model: OnnxModel,
  shapes: Readonly<Record<string, readonly number[]>>,
  load: () => Promise<Runtime> = importRuntime,
): Promise<MeasuredTimes | string> {
  let runtime: Runtime;
  try {
    runtime = await load();
  } catch {
    return "it needs onnxruntime-node: npm install onnxruntime-node";
  }
  const missing = model.inputs.filter(({ name }) => !shapes[name]);
  if (missing.length) return `it needs extents: ${missing.map(({ name }) => `--shape ${name}=…`).join(" ")}`;
  const folder = mkdtempSync(join(tmpdir(), "tenfold-profile-"));
  try {
    const session = await runtime.InferenceSession.create(file, {
      ...{ enableProfiling: true, profileFilePrefix: join(folder, "profile"), executionProviders: ["cpu"] },
      // as the nodes stand in the file, so that their names are found again
      ...{ graphOptimizationLevel: "basic", intraOpNumThreads: 1, logSeverityLevel: 3 },
    });
    const feeds = Object.fromEntries(
      model.inputs.map(({ name, dtype }) => [name, feedOf(runtime, dtype, shapes[name]!)]),
    );
    for (let run = 0; run < RUNS; run++) await session.run(feeds);
    session.endProfiling();
    await session.release();
    const [profile] = readdirSync(folder);
    if (!profile) return "onnxruntime-node wrote no profile";
    return timesOf(new TextDecoder().decode(readBytes(join(folder, profile))));
  } catch (error) {
    return `onnxruntime-node failed: ${(error as Error).message.split("\n")[0]}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

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
