/** Decompose: what a decomposition keeps of images, and what it makes of them. */
import { DeviceLostError } from "../../../src/index.js";
import { chooseDigits } from "../digits.js";
import type { Context, Part, Run, Store } from "../part.js";
import { packDecomposition, recordedDecomposition } from "../recorded.js";
import { Runner, type Tell } from "../runner.js";
import { type Decomposed, decompose, SWEEPS } from "./decomposition.js";
import {
  type Event,
  imagesKey,
  initial,
  parse,
  rankToCompute,
  readyResult,
  resultKey,
  type State,
  update,
  written,
} from "./state.js";
import { type Actions, createView } from "./view.js";

const knownWords = ({ relativeError, settings }: Decomposed): string =>
  `Known from before: error ${relativeError.toFixed(4)} at rank ${settings.rank}.`;

export class DecomposeRun implements Run, Actions {
  readonly #runner: Runner;

  constructor(
    private readonly store: Store<State, Event>,
    private readonly context: Context,
  ) {
    this.#runner = new Runner((task) => store.send({ type: "task", task }), context.fail);
  }

  apply(): void {
    const { state } = this.store;
    const ready = readyResult(state);
    // a result that is known is shown, and a problem that is being computed is not started again
    if (ready) void this.#runner.settle(knownWords(ready));
    else if (state.running?.key !== this.#key()) this.#start(false);
  }

  /** Computes the decomposition of the settings, even where its result is known. */
  again(): void {
    this.#start(true);
  }

  abort(): void {
    this.#runner.abort();
  }

  destroy(): Promise<void> {
    return this.#runner.stop();
  }

  record(): unknown {
    const { settings, shown } = this.store.state;
    return shown && packDecomposition(this.context.adapterName(), written(settings), shown.result);
  }

  #key(): string {
    const { settings } = this.store.state;
    return resultKey(settings, rankToCompute(settings));
  }

  #start(afresh: boolean): void {
    void this.#runner.run((signal, tell) => this.#work(afresh, signal, tell));
  }

  async #work(afresh: boolean, signal: AbortSignal, tell: Tell): Promise<string> {
    const { store, context } = this;
    const { settings } = store.state;
    const key = this.#key();
    if (!context.hasGpu) return this.#showRecorded();
    tell(0, "Loading the digits…");
    const all = await context.digits();
    signal.throwIfAborted();
    if (store.state.chosen?.key !== imagesKey(settings))
      store.send({
        type: "chosen",
        key: imagesKey(settings),
        set: chooseDigits(all, settings.digits, settings.images),
      });
    const { set } = store.state.chosen!;
    const ready = readyResult(store.state);
    if (ready && !afresh) return knownWords(ready);
    tell(0, "Opening the GPU…");
    const engine = await context.engine().catch((error) => {
      if (error instanceof DeviceLostError) throw error;
    });
    if (!engine) return this.#showRecorded();
    signal.throwIfAborted();
    const { method, centred, seed } = settings;
    const rank = Math.min(rankToCompute(settings), set.labels.length);
    store.send({ type: "began", key });
    tell(0, "Compiling kernels…");
    try {
      const result = await decompose(
        engine,
        set.images,
        { method, rank, centred, seed },
        ({ sweep, relativeError }) => {
          store.send({ type: "swept", error: relativeError });
          tell(sweep / SWEEPS[method], `Rank ${rank}, sweep ${sweep}: error ${relativeError.toFixed(4)}`);
        },
        signal,
      );
      store.send({ type: "computed", key, result });
      const end = result.aborted ? "Stopped" : result.converged ? "Converged" : "Done";
      return `${end} after ${result.errors.length} sweeps: error ${result.relativeError.toFixed(4)} at rank ${rank}.`;
    } finally {
      store.send({ type: "stopped" });
    }
  }

  /** Without a GPU: a result of another machine, of which the slider still shows every rank. */
  async #showRecorded(): Promise<string> {
    const recorded = await recordedDecomposition();
    if (!recorded) throw new Error("No WebGPU here: nothing can be computed.");
    const settings = parse(new URLSearchParams(recorded.state));
    const set = chooseDigits(await this.context.digits(), settings.digits, settings.images);
    this.store.send({ type: "recorded", settings, result: recorded.result, set });
    return `Recorded on ${recorded.adapter}, ${recorded.date}: the slider moves, the rest needs WebGPU.`;
  }
}

export const part: Part<State, Event, DecomposeRun> = {
  initial,
  update,
  query: ({ settings }) => written(settings),
  run: (store, context) => new DecomposeRun(store, context),
  view: createView,
};
