/** Kernels: the benchmark's cases on this machine, beside results recorded on others. */
import type { MeasureOptions } from "../../measure.js";
import type { Report } from "../../report.js";
import { saveFile } from "../controls.js";
import type { Context, Part, Run, Store } from "../part.js";
import { Runner, type Tell } from "../runner.js";
import { Bench } from "./bench.js";
import {
  type Committed,
  chosenCases,
  durationWords,
  type Event,
  endWords,
  initial,
  type State,
  secondsOf,
  shownReport,
  update,
  written,
} from "./state.js";
import { type Actions, createView } from "./view.js";

declare const __VERSION__: string;

/** Reports that `npm run bench` wrote and somebody committed, by name. */
const REPORTS = new Map(
  Object.entries(import.meta.glob<Report>("../../results/*.json", { import: "default" })).map(([path, load]) => [
    path.replace(/^.*\/|\.json$/g, ""),
    load,
  ]),
);
const COMMITTED: Committed = [...REPORTS.keys()];

export class KernelsRun implements Run, Actions {
  readonly #runner: Runner;
  #bench: Bench | null = null;
  /** name of the report that was chosen last */
  #reported = "";

  constructor(
    private readonly store: Store<State, Event>,
    private readonly context: Context,
  ) {
    // the status line shows the errors of the worker
    this.#runner = new Runner(
      (task) => store.send({ type: "task", task }),
      () => {},
    );
    // the list of cases needs no GPU; where the worker fails, the next run says so
    this.#list(this.#worker()).catch(() => {});
  }

  apply(): void {
    this.#showReport().catch(this.context.fail);
  }

  /** Measures the chosen cases. */
  measure(): void {
    void this.#runner.run((signal, tell) => this.#work(signal, tell));
  }

  abort(): void {
    this.#runner.abort();
  }

  async destroy(): Promise<void> {
    await this.#runner.stop();
    this.#bench?.end();
  }

  /** Hands the results to the browser as a file, as `npm run bench` writes them. */
  save(): void {
    const { opened, results, settings } = this.store.state;
    const report: Report = {
      device: opened?.device ?? "",
      environment: navigator.userAgent,
      date: new Date().toISOString().slice(0, 16).replace("T", " "),
      command: `the demo page, ${location.hash}`,
      version: __VERSION__,
      peers: [],
      probes: opened?.probes ?? null,
      fineTimestamps: opened?.fineTimestamps ?? false,
      load: null,
      rounds: settings.rounds,
      results: [...results.values()],
    };
    saveFile("tenfold-bench.json", JSON.stringify(report, null, 1), "application/json");
  }

  async #showReport(): Promise<void> {
    const recorded = shownReport(this.store.state);
    if (recorded === this.#reported) return;
    this.#reported = recorded;
    const report = recorded ? await REPORTS.get(recorded)!() : null;
    // another report may have been chosen while this one was loading
    if (recorded === this.#reported) this.store.send({ type: "report", report });
  }

  /** The worker. A new one is started where the last has ended. */
  #worker(): Bench {
    if (!this.#bench || this.#bench.broken) this.#bench = new Bench();
    return this.#bench;
  }

  async #list(bench: Bench): Promise<void> {
    const { cases, adapter } = await bench.listed;
    this.store.send({ type: "listed", cases, adapter });
    // which report stands beside it follows from the adapter
    this.apply();
  }

  async #work(signal: AbortSignal, tell: Tell): Promise<string> {
    const { store } = this;
    if (!this.context.hasGpu) throw new Error("No WebGPU here: nothing can be measured.");
    const bench = this.#worker();
    signal.addEventListener("abort", () => bench.end());
    store.send({ type: "began" });
    let done = 0;
    let words = "";
    bench.onStep = (step) => tell(done, words ? `${words}: ${step}` : `${step[0]!.toUpperCase()}${step.slice(1)}…`);
    await this.#list(bench);
    const indices = chosenCases(store.state);
    if (indices.length === 0) throw new Error("No case is picked.");
    tell(0, "Opening the adapter…");
    const { opened, adapter, choices } = await bench.open();
    store.send({ type: "opened", opened, adapter, choices });
    const { cases, settings } = store.state;
    const options: MeasureOptions = { rounds: settings.rounds, sampleMs: 50, budget: 5, variants: true };
    const start = performance.now();
    const foreseen = secondsOf(store.state) ?? 0;
    try {
      for (const [place, index] of indices.entries()) {
        const { name } = cases[index]!;
        done = place / indices.length;
        const seconds = (performance.now() - start) / 1000;
        // by how long it took so far, once that says something
        const left = place < 2 ? foreseen - seconds : (seconds / place) * (indices.length - place);
        words = `${place + 1} of ${indices.length}, ${durationWords(Math.max(0, left))} left, ${name}`;
        tell(done, words);
        store.send({ type: "measuring", name });
        store.send({ type: "measured", result: await bench.measure(index, options) });
      }
    } finally {
      store.send({ type: "rested" });
    }
    return endWords(store.state);
  }
}

export const part: Part<State, Event, KernelsRun> = {
  initial: (query) => initial(query, COMMITTED),
  update,
  query: written,
  run: (store, context) => new KernelsRun(store, context),
  view: createView,
};
