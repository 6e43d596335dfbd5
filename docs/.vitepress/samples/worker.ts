/** Runs one sample of a page of the site, with the site's own copy of tenfold, and tells what it prints. The page ends it. */
import * as tenfold from "../../../src/index.js";
import { bodyOf, shown } from "./code.js";
import { programOf } from "./program.js";

/** What the page hears: a line that was printed, and how the run ended. */
export type Told = { line: string } | { done: string } | { failed: string };

let adapter = "";
const tell = (message: Told): void => postMessage(message);

const { Engine } = tenfold;
const create = Engine.create.bind(Engine);
// the page names the adapter
Engine.create = async (options) => {
  const engine = await create(options);
  adapter = engine.adapterName;
  return engine;
};

async function yourProgram(): Promise<object> {
  const engine = await Engine.create();
  return programOf(engine, engine.device);
}

const MODULES: Record<string, () => Promise<unknown>> = {
  tenfold: async () => tenfold,
  "tenfold/ops": () => import("../../../src/ops.js"),
  "tenfold/onnx": () => import("../../../src/onnx/index.js"),
  "./your-program": yourProgram,
};
const loaded = new Map<string, Promise<unknown>>();
function load(name: string): Promise<unknown> {
  const module = MODULES[name];
  if (!module) throw new Error(`${name} is not on this page, which has ${Object.keys(MODULES).join(", ")}`);
  if (!loaded.has(name)) loaded.set(name, module());
  return loaded.get(name)!;
}

for (const level of ["log", "info", "warn", "error"] as const)
  console[level] = (...values: unknown[]) => tell({ line: values.map(shown).join(" ") });

const AsyncFunction = (async () => {}).constructor as new (...of: string[]) => (...of: unknown[]) => Promise<void>;
function knowsUsing(): boolean {
  try {
    new AsyncFunction("using x = null;");
    return true;
  } catch {
    return false;
  }
}

addEventListener("message", async ({ data: code }: MessageEvent<string>) => {
  const started = performance.now();
  try {
    await new AsyncFunction("load", bodyOf(code, knowsUsing()))(load);
    const seconds = (performance.now() - started) / 1000;
    const took = `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
    tell({ done: adapter ? `${took} on ${adapter}` : took });
  } catch (error) {
    tell({ failed: error instanceof Error ? `${error.name}: ${error.message}` : String(error) });
  }
});
