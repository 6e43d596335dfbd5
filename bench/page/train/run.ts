/** Train: a network on a few loadings beside one on all pixels, and a pad to try both on. */
import { PIXELS, splitDigits } from "../../../src/experiments/digits.js";
import { DeviceLostError } from "../../../src/index.js";
import { percent } from "../../../src/report/elements.js";
import { chooseDigits, type DigitSet } from "../digits.js";
import type { Context, Part, Run, Store } from "../part.js";
import { packTraining, recordedTraining } from "../recorded.js";
import { Runner, type Tell } from "../runner.js";
import { type Event, initial, NETWORKS, parse, type Settings, type State, update, written } from "./state.js";
import { Trained } from "./training.js";
import { type Actions, createView } from "./view.js";

/** milliseconds that the pen rests before a screen reader is told the answers of the networks */
const REST_MS = 600;
/** milliseconds between two drawings of the curves while they grow */
const REDRAW_MS = 120;
/** held-out images come in steps of so many, so that they differ */
const STRIDE = 37;

export class TrainRun implements Run, Actions {
  readonly #runner: Runner;
  #trained: Trained | null = null;
  #set: DigitSet | null = null;
  #taken = 0;
  #asking = false;
  #askAgain = false;
  #resting: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly store: Store<State, Event>,
    private readonly context: Context,
  ) {
    this.#runner = new Runner((task) => store.send({ type: "task", task }), context.fail);
  }

  apply(): void {
    const { settings } = this.store.state;
    void this.#runner.run((signal, tell) => this.#work(settings, signal, tell));
  }

  abort(): void {
    this.#runner.abort();
  }

  async destroy(): Promise<void> {
    clearTimeout(this.#resting);
    await this.#runner.stop();
    this.#forget();
  }

  record(): unknown {
    const { settings, finished, summary } = this.store.state;
    const networks = Object.values(finished);
    return summary && packTraining(this.context.adapterName(), written(settings), networks, summary);
  }

  /** The next held-out image, in pixels / 255; null before there are any. */
  heldOut(): Float32Array | null {
    const set = this.#set;
    if (!set) return null;
    const [from, to] = splitDigits(set.labels.length).test;
    const index = from + ((this.#taken++ * STRIDE) % (to - from));
    return Float32Array.from(set.images.subarray(index * PIXELS, (index + 1) * PIXELS), (value) => value / 255);
  }

  /** Asks the networks for what is on the pad now; one question at a time, the last one always. */
  async ask(): Promise<void> {
    this.#askAgain = true;
    if (this.#asking) return;
    this.#asking = true;
    try {
      while (this.#askAgain) {
        this.#askAgain = false;
        const { drawing } = this.store.state;
        const answer = drawing && this.#trained ? await this.#trained.answer(drawing) : null;
        this.store.send({ type: "answered", answer });
        clearTimeout(this.#resting);
        this.#resting = setTimeout(() => this.store.send({ type: "rested" }), REST_MS);
      }
    } catch (error) {
      this.context.fail(error);
    } finally {
      this.#asking = false;
    }
  }

  #forget(): void {
    this.#trained?.destroy();
    this.#trained = null;
  }

  async #work(settings: Settings, signal: AbortSignal, tell: Tell): Promise<string> {
    const { store, context } = this;
    this.#forget();
    store.send({ type: "cleared" });
    if (!context.hasGpu) return this.#showRecorded();
    tell(0, "Loading the digits…");
    const all = await context.digits();
    tell(0, "Opening the GPU…");
    const engine = await context.engine().catch((error) => {
      if (error instanceof DeviceLostError) throw error;
    });
    if (!engine) return this.#showRecorded();
    signal.throwIfAborted();
    const set = chooseDigits(all, settings.digits, settings.images);
    this.#set = set;
    const { full, epochs, ...same } = settings;
    const trained = new Trained(engine, { ...same, fullHidden: full, epochs: epochs || null });
    try {
      await this.#train(trained, set, signal, tell);
    } catch (error) {
      trained.destroy();
      throw error;
    }
    if (signal.aborted) {
      trained.destroy();
      return "Stopped.";
    }
    this.#trained = trained;
    // so that the pad is not empty
    const drawing = store.state.drawing ?? this.heldOut();
    if (drawing !== store.state.drawing) store.send({ type: "drawn", drawing });
    void this.ask();
    const { finished } = store.state;
    return NETWORKS.map((name) => `${percent(finished[name]!.testAccuracy)} on ${name}`).join(", ");
  }

  async #train(trained: Trained, set: DigitSet, signal: AbortSignal, tell: Tell): Promise<void> {
    const { store } = this;
    let done = 0;
    let drawnAt = 0;
    await trained.run(
      set,
      {
        onStage: (words) => tell(done, words),
        onCurve: (network, curve, share) => {
          done = (network === "pixels" ? 0.5 : 0) + share / 2;
          const last = curve.at(-1)!;
          tell(
            done,
            `On ${network}, epoch ${last.epoch}: validation accuracy ${percent(last.validationAccuracy ?? 0)}`,
          );
          if (performance.now() - drawnAt < REDRAW_MS) return;
          drawnAt = performance.now();
          store.send({ type: "learnt", network, curve: [...curve] });
        },
        onNetwork: (network) => {
          const { relativeError, images } = trained;
          store.send({ type: "finished", network, summary: { relativeError, images } });
        },
      },
      signal,
    );
  }

  /** Without a GPU: what networks on another machine learnt. */
  async #showRecorded(): Promise<string> {
    const recorded = await recordedTraining();
    if (!recorded) throw new Error("No WebGPU here: nothing can be computed.");
    const { networks, relativeError, images, adapter, date } = recorded;
    const settings = parse(new URLSearchParams(recorded.state));
    this.store.send({ type: "recorded", settings, networks, summary: { relativeError, images } });
    return `Recorded on ${adapter}, ${date}: training needs WebGPU.`;
  }
}

export const part: Part<State, Event, TrainRun> = {
  initial,
  update,
  query: ({ settings }) => written(settings),
  run: (store, context) => new TrainRun(store, context),
  view: createView,
};
