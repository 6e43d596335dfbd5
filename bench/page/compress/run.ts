/** Compress: a trained LeNet's layers are decomposed; what it saves, what it costs, and what fine-tuning brings back. */
import { DeviceLostError } from "../../../src/index.js";
import { percent } from "../../../src/report/elements.js";
import { saveFile } from "../controls.js";
import type { Context, Part, Run, Store } from "../part.js";
import { packCompression, recordedCompression } from "../recorded.js";
import { Runner, type Tell } from "../runner.js";
import { Compression, loadLenet } from "./compression.js";
import {
  accuracyOf,
  type Event,
  explained,
  initial,
  parse,
  type Settings,
  type State,
  summaryOf,
  update,
  written,
} from "./state.js";
import { type Actions, createView } from "./view.js";

/** What a network is compressed to. */
type Target = Pick<Settings, "method" | "cost" | "ratio">;
const sameTarget = (a: Target | null, b: Target): boolean =>
  a !== null && a.method === b.method && a.cost === b.cost && a.ratio === b.ratio;

export class CompressRun implements Run, Actions {
  readonly #runner: Runner;
  readonly #tuner: Runner;
  #compression: Compression | null = null;
  /** what was asked for last */
  #asked: Target | null = null;
  /** the method whose plan is being made */
  #planning = "";

  constructor(
    private readonly store: Store<State, Event>,
    private readonly context: Context,
  ) {
    this.#runner = new Runner((task) => store.send({ type: "task", task }), context.fail);
    this.#tuner = new Runner((task) => store.send({ type: "tuning", task }), context.fail);
    this.#expect().catch(context.fail);
  }

  /** What fine-tuning reached elsewhere, so that nobody takes the network for a failure before it is tuned. */
  async #expect(): Promise<void> {
    const recorded = await recordedCompression();
    if (!recorded) return;
    const { method, cost, ratio, before, after, untuned } = recorded.shown;
    if (untuned === null) return;
    const [epochs, tuned] = [recorded.curve.length, after.accuracy];
    const reached = { method, cost, ratio, epochs, before: before.accuracy, untuned, tuned };
    this.store.send({ type: "reached", reached });
  }

  apply(): void {
    const { settings } = this.store.state;
    const { method } = settings;
    // how to fine-tune changes nothing until it is asked for
    if (sameTarget(this.#asked, settings)) return;
    this.#asked = settings;
    // the plan that is being made serves every target
    if (this.#planning !== method) this.again();
  }

  /** Compresses as the settings say, and takes the time of it. */
  again(): void {
    this.#asked = this.store.state.settings;
    void this.#runner.run((signal, tell) => this.#compress(null, signal, tell));
  }

  /** While the slider moves: only what is planned already, and without taking the time. */
  slide(ratio: number): void {
    const { method, cost } = this.store.state.settings;
    if (!this.#compression?.plans.has(method)) return;
    // where it comes to rest is asked for anew
    this.#asked = null;
    void this.#runner.run((signal, tell) => this.#compress({ method, cost, ratio }, signal, tell));
  }

  abort(): void {
    this.#runner.abort();
  }

  tune(): void {
    void this.#tuner.run((signal, tell) => this.#tune(signal, tell));
  }

  abortTuning(): void {
    this.#tuner.abort();
  }

  async destroy(): Promise<void> {
    await this.#tuner.stop();
    await this.#runner.stop();
    this.#forget();
  }

  record(): unknown {
    const { settings, shown, curve } = this.store.state;
    return shown && packCompression(this.context.adapterName(), written(settings), shown, curve);
  }

  /** Hands the compressed network to the browser as a file. */
  async save(): Promise<void> {
    const { store } = this;
    store.send({ type: "saving", saving: true });
    try {
      const file = await this.#compression!.file();
      const { method, ratio } = store.state.shown!;
      saveFile(`lenet-${method}-${ratio}.safetensors`, file as Uint8Array<ArrayBuffer>, "application/octet-stream");
    } catch (error) {
      this.context.fail(error);
    } finally {
      store.send({ type: "saving", saving: false });
    }
  }

  /** @param moving the target while the slider moves; null: the settings as they are once the plan is made */
  async #compress(moving: Target | null, signal: AbortSignal, tell: Tell): Promise<string> {
    const { store, context } = this;
    store.send({ type: "busy" });
    await this.#tuner.stop();
    if (!context.hasGpu) return this.#showRecorded();
    try {
      const compression = await this.#open(signal, tell);
      if (!compression) return this.#showRecorded();
      const { method } = moving ?? store.state.settings;
      const plan = await this.#plan(compression, method, signal, tell);
      signal.throwIfAborted();
      const { cost, ratio } = moving ?? store.state.settings;
      tell(0.9, "Building the network and reading the digits with it…");
      await compression.select(plan, { cost, ratio });
      const { layers, reached } = compression.compressed!;
      store.send({
        type: "compressed",
        shown: {
          method,
          cost,
          ratio,
          layers: explained(plan, layers),
          reached,
          before: compression.before,
          after: compression.after!,
          untuned: null,
        },
      });
      if (!moving) {
        signal.throwIfAborted();
        tell(0.95, "Taking the time of both networks…");
        await compression.time();
        store.send({ type: "timed", before: compression.before, after: compression.after! });
      }
      return summaryOf(store.state.shown!);
    } finally {
      store.send({ type: "ready", ready: this.#compression?.compressed != null });
    }
  }

  /** The network and the digits on the GPU; a lost one is replaced. Null where there is none. */
  async #open(signal: AbortSignal, tell: Tell): Promise<Compression | null> {
    const { store, context } = this;
    tell(0, "Loading the digits and a trained LeNet…");
    const [digits, file] = await Promise.all([context.digits(), loadLenet()]);
    store.send({ type: "loaded", digits });
    signal.throwIfAborted();
    tell(0, "Opening the GPU…");
    const engine = await context.engine().catch((error) => {
      if (error instanceof DeviceLostError) throw error;
    });
    if (!engine) return null;
    signal.throwIfAborted();
    if (this.#compression?.engine !== engine) {
      this.#forget();
      tell(0, "Reading the digits with LeNet…");
      this.#compression = await Compression.open(engine, file, digits);
      store.send({ type: "opened", original: this.#compression.before });
    }
    return this.#compression;
  }

  async #plan(compression: Compression, method: string, signal: AbortSignal, tell: Tell) {
    this.#planning = method;
    try {
      return await compression.plan(
        method,
        (done, total, what) =>
          tell((0.9 * done) / total, `Decomposing with several ranks: ${done} of ${total}, ${what}`),
        signal,
      );
    } finally {
      this.#planning = "";
    }
  }

  async #tune(signal: AbortSignal, tell: Tell): Promise<string> {
    const { store } = this;
    await this.#runner.stop();
    const compression = this.#compression;
    if (!compression?.compressed) throw new Error("There is no compressed network to tune.");
    const { epochs, images } = store.state.settings;
    const before = compression.tuned;
    const total = before + epochs;
    signal.addEventListener("abort", () => tell(0, "Stopping…"));
    tell(0, "Compiling kernels…");
    await compression.tune(
      { epochs, images },
      {
        onEpoch: (epoch) => store.send({ type: "epoch", epoch }),
        onProgress: (done) => {
          if (signal.aborted) return;
          const last = store.state.curve.at(-1);
          const words = last ? `: loss ${last.loss.toFixed(4)}, accuracy ${percent(last.validationAccuracy ?? 0)}` : "";
          const current = Math.min(total, before + Math.floor(done) + 1);
          // the share of an epoch that takes long enough to be told of
          const share = done % 1 ? ` (${percent(done % 1, 0)})` : "";
          tell(done / epochs, `Epoch ${current} of ${total}${share}${words}`);
        },
      },
      signal,
    );
    store.send({ type: "tuned", after: compression.after! });
    const shown = store.state.shown!;
    const words = `Accuracy ${accuracyOf(shown.after)} on held-out images, ${accuracyOf(shown.before)} before compressing.`;
    return signal.aborted ? `Stopped. ${words}` : words;
  }

  #forget(): void {
    this.#compression?.destroy();
    this.#compression = null;
    this.store.send({ type: "forgotten" });
  }

  /** Without a GPU: what another machine made of it. */
  async #showRecorded(): Promise<string> {
    const recorded = await recordedCompression();
    if (!recorded) throw new Error("No WebGPU here: nothing can be computed.");
    const { shown, curve, adapter, date } = recorded;
    const settings = parse(new URLSearchParams(recorded.state));
    this.store.send({ type: "recorded", settings, shown, curve, digits: await this.context.digits() });
    return `Recorded on ${adapter}, ${date}: compressing needs WebGPU.`;
  }
}

export const part: Part<State, Event, CompressRun> = {
  initial,
  update,
  query: ({ settings }) => written(settings),
  run: (store, context) => new CompressRun(store, context),
  view: createView,
};
