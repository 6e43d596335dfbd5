/** The files of `--plan`: what was found of a model, and the runtime that its times are of. */
import { existsSync } from "node:fs";
import type { OnnxPlan } from "../compress/onnx/index.js";
import { readBytes } from "../node/files.js";
import { InputError } from "./context.js";
import type { RuntimeName } from "./runtime.js";

type PlanFile = OnnxPlan & { runtime?: RuntimeName };

export const planText = (plan: OnnxPlan, runtime: RuntimeName): string =>
  `${JSON.stringify({ ...plan, runtime } satisfies PlanFile)}\n`;

/** The plan of an earlier call, without times of another runtime; null where the file does not exist yet. */
export function readPlan(file: string, runtime: RuntimeName): OnnxPlan | null {
  if (!existsSync(file)) return null;
  let read: PlanFile;
  try {
    read = JSON.parse(new TextDecoder().decode(readBytes(file))) as PlanFile;
  } catch (error) {
    const [reason] = (error as Error).message.split("\n");
    throw new InputError(`${file}: is no plan of tenfold compress (${reason}); remove it to begin anew`);
  }
  const { runtime: measured = "node", ...plan } = read;
  if (measured === runtime || !Array.isArray(plan.layers) || !Array.isArray(plan.chosen)) return plan;
  const layers = plan.layers.map(({ time: _, candidates, ...layer }) => ({
    ...layer,
    candidates: candidates.map(({ time: __, ...candidate }) => candidate),
  }));
  return { ...plan, layers, timeTotal: 0, chosen: plan.chosen.filter(({ cost }) => cost !== "time") };
}
