/**
 * The notebook's side of `tenfold.cp` in Python: decomposes in the browser that shows the notebook, by WebGPU, and hands the factors back. A module
 * for anywidget (https://anywidget.dev): `initialize` runs once a tensor, `render` once a place where it is shown.
 */
import { cp, Engine, source } from "../../../src/index.js";

/** What anywidget hands in: traits of Python's object, by name. */
interface Model {
  get(name: "x"): DataView;
  get(name: "shape"): number[];
  get(name: "options"): Record<string, unknown>;
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, run: () => void): void;
  off(event: string, run: () => void): void;
}

/** milliseconds from one report of progress to the next: each is a message to Python */
const REPORTS = 200;

const viewOf = (data: Float32Array): DataView => new DataView(data.buffer, data.byteOffset, data.byteLength);

/** f32 that begins anywhere in a message. */
function numbersOf({ buffer, byteOffset, byteLength }: DataView): Float32Array {
  if (byteOffset % 4 === 0) return new Float32Array(buffer, byteOffset, byteLength / 4);
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
}

async function decompose(model: Model, signal: AbortSignal): Promise<void> {
  const report = (values: Record<string, unknown>): void => {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  };
  try {
    if (!("gpu" in navigator))
      throw new Error("this browser has no WebGPU here: take a newer one, and a page of https or localhost");
    const engine = await Engine.create();
    try {
      report({ state: "running", adapter: engine.adapterName });
      using x = await source(engine, model.get("shape"), numbersOf(model.get("x")));
      let last = 0;
      const onIteration = ({ sweep, relativeError }: { sweep: number; relativeError: number }): void => {
        const now = performance.now();
        if (now - last < REPORTS) return;
        last = now;
        report({ iteration: sweep, relative_error: relativeError });
      };
      const options = { ...(model.get("options") as { rank: number }), onIteration, signal };
      const { tensor, relativeError, sweeps, converged } = await cp(engine, x, options);
      const [weights, ...factors] = await engine.read([tensor.weights, ...tensor.factors]);
      report({
        weights_bytes: viewOf(weights!),
        factors_bytes: factors.map(viewOf),
        relative_error: relativeError,
        iteration: sweeps,
        converged,
        state: "done",
      });
    } finally {
      engine.destroy();
    }
  } catch (error) {
    report({
      state: "failed",
      failure: signal.aborted ? "stopped" : error instanceof Error ? error.message : String(error),
    });
  }
}

/** Runs of models in this page, so that one that is shown in several places runs once. */
const runs = new WeakMap<Model, AbortController>();

function begin(model: Model): AbortController {
  let run = runs.get(model);
  if (!run) {
    run = new AbortController();
    runs.set(model, run);
    if (model.get("state") === "waiting") void decompose(model, run.signal);
  }
  return run;
}

function said(model: Model): string {
  const error = Number(model.get("relative_error")).toPrecision(3);
  const { rank } = model.get("options") as { rank: number };
  const what = `CP of ${(model.get("shape") as number[]).join("×")}, rank ${rank}`;
  switch (model.get("state")) {
    case "waiting":
      return `${what}: opening the GPU`;
    case "running":
      return `${what}: iteration ${model.get("iteration")}, error ${error} (${model.get("adapter")})`;
    case "done":
      return `${what}: error ${error} after ${model.get("iteration")} iterations (${model.get("adapter")}). The next cell has .weights and .factors.`;
    default:
      return `${what}: ${model.get("failure")}`;
  }
}

export default {
  initialize({ model }: { model: Model }): () => void {
    const run = begin(model);
    return () => run.abort();
  },

  render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    const run = begin(model);
    const text = document.createElement("span");
    text.setAttribute("role", "status");
    const stop = document.createElement("button");
    stop.textContent = "Stop";
    stop.style.marginLeft = "1em";
    stop.addEventListener("click", () => run.abort());
    const draw = (): void => {
      text.textContent = said(model);
      stop.hidden = model.get("state") !== "running";
    };
    draw();
    const events = ["state", "iteration", "relative_error"].map((name) => `change:${name}`);
    for (const event of events) model.on(event, draw);
    el.append(text, stop);
    return () => {
      for (const event of events) model.off(event, draw);
    };
  },
};
