/** A tensor of one's own: reads the file, decomposes it, and hands out the results. */
import { DeviceLostError, OutOfLimitsError } from "../../../src/index.js";
import type { Figure } from "../../../src/report/figure.js";
import { type DecompositionData, namedArrays, turned } from "../../../src/report/model.js";
import { bytes } from "../bytes.js";
import { saveFile } from "../controls.js";
import type { Context, Part, Run, Store } from "../part.js";
import { messageOf, Runner, type Tell } from "../runner.js";
import { decompose, type Numbers, type SliceNumbers } from "./decomposition.js";
import { createExample, EXAMPLE } from "./example.js";
import { TensorFileReader } from "./fileReader.js";
import { type FigureFile, saveFigure, saveReport } from "./save.js";
import {
  algorithmFor,
  askedOf,
  canRun,
  type Event,
  endingOf,
  fillValue,
  imageOf,
  initial,
  leavesOut,
  methodOf,
  optionsInWords,
  type State,
  subjectOf,
  titleOf,
  update,
  written,
} from "./state.js";
import { type Actions, createView } from "./view.js";

/** What to do about errors that are the data's or the machine's. */
function adviceFor(error: unknown): string {
  if (error instanceof OutOfLimitsError)
    return "Take a part of the array, or the mean of neighbouring entries, until it fits; or another machine.";
  if (error instanceof DeviceLostError) return "Start again, and lower the rank if it happens again.";
  return "The file and the settings stay: change them, and run again.";
}

export class TensorRun implements Run, Actions {
  readonly #runner: Runner;
  readonly #reading: Runner;
  readonly #endDrops: () => void;
  #reader: TensorFileReader | null = null;
  /** whether the part has begun by itself, as it does once */
  #isBegun = false;

  constructor(
    private readonly store: Store<State, Event>,
    private readonly context: Context,
  ) {
    this.#runner = new Runner((task) => store.send({ type: "task", task }), context.fail);
    // a file that is wrong is told in the part
    this.#reading = new Runner(
      (task) => store.send({ type: "reading", task }),
      () => {},
    );
    this.#endDrops = context.files.listen("tensor", ([file]) => file && this.open(file));
  }

  apply(): void {
    if (this.#isBegun) return;
    this.#isBegun = true;
    const { settings, shown, file } = this.store.state;
    if (settings.data === "example" && !shown && this.context.hasGpu) this.start();
    // the part was left while it looked at the file
    if (file?.members.length && !file.inspection) this.choose(file.member);
  }

  open(file: File): void {
    // not before the part is put together, where the file was dropped before
    queueMicrotask(() => {
      if (this.store.state.settings.data !== "file")
        this.store.send({ type: "change", values: { data: "file", shape: null } });
      else if (this.store.state.settings.shape) this.store.send({ type: "change", values: { shape: null } });
      void this.#reading.run((signal, tell) => this.#read(file, file.name, signal, tell));
    });
  }

  choose(member: number): void {
    this.store.send({ type: "member", member });
    void this.#reading.run((signal, tell) => this.#inspect(signal, tell));
  }

  abortReading(): void {
    this.#reading.abort();
  }

  async #read(file: Blob, name: string, signal: AbortSignal, tell: Tell): Promise<string> {
    tell(0, `Opening ${name}…`);
    const before = this.store.state.file;
    this.#reader?.close();
    this.#reader = new TensorFileReader();
    try {
      const { kind, members, skipped } = await this.#reader.open(file, name, signal);
      this.store.send({ type: "opened", file: { blob: file, name, kind, members, skipped } });
    } catch (error) {
      if (!signal.aborted) {
        const stays = before ? ` ${before.name} is still open.` : "";
        this.store.send({
          type: "problem",
          problem: { words: `${messageOf(error)}.`, advice: `Nothing was changed.${stays}` },
        });
      }
      throw error;
    }
    if (!this.store.state.file!.members.length) return `${name} holds no array of numbers.`;
    return await this.#inspect(signal, tell);
  }

  /** The reader of the file; opens it again where a stop has closed it. */
  async #opened(signal: AbortSignal): Promise<TensorFileReader> {
    const { blob, name } = this.store.state.file!;
    if (this.#reader && !this.#reader.isClosed) return this.#reader;
    this.#reader = new TensorFileReader();
    await this.#reader.open(blob, name, signal);
    return this.#reader;
  }

  async #inspect(signal: AbortSignal, tell: Tell): Promise<string> {
    const { member, blob } = this.store.state.file!;
    try {
      const reader = await this.#opened(signal);
      const inspection = await reader.inspect(member, signal, (done) =>
        tell(done, `Looking at every entry… ${Math.round(100 * done)} %`),
      );
      this.store.send({ type: "inspected", inspection });
      return `Read ${inspection.entries.toLocaleString("en-US")} entries of ${bytes(blob.size)}.`;
    } catch (error) {
      if (!signal.aborted)
        this.store.send({
          type: "problem",
          problem: { words: `${messageOf(error)}.`, advice: "Mend the file, or take another." },
        });
      throw error;
    }
  }

  start(): void {
    if (canRun(this.store.state)) void this.#runner.run((signal, tell) => this.#work(signal, tell));
  }

  abort(): void {
    this.#runner.abort();
  }

  async #work(signal: AbortSignal, tell: Tell): Promise<string> {
    const { store } = this;
    const { state } = store;
    const { settings } = state;
    const method = methodOf(settings.method);
    const subject = subjectOf(state)!;
    store.send({ type: "began" });
    try {
      tell(0, "Opening the GPU…");
      const engine = await this.context.engine();
      signal.throwIfAborted();
      const numbers = settings.data === "example" ? exampleNumbers() : await this.#fileNumbers(signal, tell);
      const isMissing = leavesOut(state);
      const algorithm = algorithmFor(method, settings);
      const asked = askedOf(method, settings);
      const most = asked.sweeps ?? algorithm.defaults.sweeps ?? Number.POSITIVE_INFINITY;
      const measured = await decompose(
        engine,
        "slices" in numbers
          ? { slices: numbers.slices.map((slice) => ({ ...slice, isMissing })) }
          : { ...numbers, isMissing },
        method,
        { algorithm, asked },
        (step) =>
          tell(
            step === "measuring" ? 1 : 0,
            {
              reading: "Reading…",
              decomposing: "Compiling kernels, then decomposing…",
              measuring: "Measuring the residual…",
            }[step],
          ),
        ({ sweep, relativeError }) => {
          store.send({ type: "swept", sweep, error: relativeError });
          tell(sweep / most, `Sweep ${sweep}: error ${relativeError.toPrecision(4)}`);
        },
        signal,
      );
      const data: DecompositionData = {
        ...measured,
        data: subject.name,
        shape: subject.shape,
        modes: subject.modes,
        ...(subject.slices && { labels: [subject.slices.map(({ name }) => name), null, null] }),
        method: titleOf(method, settings),
        options: optionsInWords(settings, method),
        ending: endingOf(measured),
        adapter: engine.adapterName,
        date: new Date().toISOString(),
      };
      store.send({ type: "computed", data });
      const words = endingOf(measured);
      return `${words.charAt(0).toUpperCase()}${words.slice(1)}: error ${data.relativeError.toPrecision(4)}.`;
    } catch (error) {
      if (!signal.aborted)
        store.send({
          type: "problem",
          problem: { words: `${messageOf(error).replace(/\.$/, "")}.`, advice: adviceFor(error) },
        });
      throw error;
    } finally {
      store.send({ type: "ended" });
    }
  }

  async #fileNumbers(signal: AbortSignal, tell: Tell): Promise<Numbers | SliceNumbers> {
    const { state } = this.store;
    const { member, members } = state.file!;
    const { shape, entries, slices } = subjectOf(state)!;
    const fill = fillValue(state);
    const reader = await this.#opened(signal);
    let read = 0;
    const numbersOf = (at: number, as: readonly number[]): Numbers => ({
      shape: members[at]!.shape,
      as,
      isColumnMajor: members[at]!.isColumnMajor,
      truth: null,
      read: (take) =>
        reader.read(at, fill, signal, async (piece) => {
          read += piece.length;
          await take(piece);
          tell(0, `Reading… ${Math.round((100 * read) / entries)} %`);
        }),
    });
    if (!slices) return numbersOf(member, shape);
    return {
      slices: slices.map((slice) => ({ ...numbersOf(slice.member, members[slice.member]!.shape), name: slice.name })),
    };
  }

  #name(): string {
    return this.store.state.shown!.data.replace(/\.[a-z]+\b/gi, "").replace(/[^\p{L}\p{N}]+/gu, "-");
  }

  #options() {
    const { shown, turn, selected, settings } = this.store.state;
    return { turn: turn!, selected, image: imageOf(settings, shown!.model, shown!.shape) };
  }

  saveFactors(): void {
    const { shown, turn } = this.store.state;
    const name = this.#name();
    const reader = new TensorFileReader();
    reader
      .pack(namedArrays(turned(shown!.model, turn!)), new AbortController().signal)
      .then((packed) => saveFile(`${name}-factors.npz`, packed, "application/zip"))
      .catch((error) => this.#saveFailed(error))
      .finally(() => reader.close());
  }

  saveReport(): void {
    saveReport(this.store.state.shown!, this.#options(), this.#name()).catch((error) => this.#saveFailed(error));
  }

  saveFigure(figure: Figure, kind: FigureFile): void {
    saveFigure(figure, kind, this.#name()).catch((error) => this.#saveFailed(error));
  }

  #saveFailed(error: unknown): void {
    this.store.send({
      type: "problem",
      problem: { words: `${messageOf(error)}.`, advice: "The file was not saved; the result is still here." },
    });
  }

  async destroy(): Promise<void> {
    this.#endDrops();
    await Promise.all([this.#runner.stop(), this.#reading.stop()]);
    this.#reader?.close();
  }
}

function exampleNumbers(): Numbers {
  const { values, factors } = createExample();
  return {
    shape: EXAMPLE.shape,
    as: EXAMPLE.shape,
    isColumnMajor: false,
    truth: factors,
    read: async (take) => take(values),
  };
}

export const part: Part<State, Event, TensorRun> = {
  initial,
  update,
  query: ({ settings }) => written(settings),
  run: (store, context) => new TensorRun(store, context),
  view: createView,
};
