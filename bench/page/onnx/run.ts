/** A network of one's own: an ONNX file is read, compressed in a worker, and handed out. */

import { isImageName } from "../../../src/compress/onnx/images.js";
import { PIXELS } from "../../../src/experiments/digits.js";
import { saveFile } from "../controls.js";
import type { Context, Part, Run, Store } from "../part.js";
import { messageOf, Runner, type Tell } from "../runner.js";
import { Compressor } from "./compressor.js";
import type { Version } from "./messages.js";
import {
  canRun,
  type Event,
  imagesOf,
  initial,
  jobOf,
  type Settings,
  type State,
  shapesOf,
  update,
  written,
} from "./state.js";
import { type Actions, createView } from "./view.js";

/** a small trained network, which the tests have too */
const MODEL = new URL("../../../test/fixtures/networks/vgg.onnx", import.meta.url);
/** images of digits for the example: the last ones, which it has not learnt from */
const SAMPLES = 160;
const EXAMPLE = "a digit recogniser";

/** what of the settings says how images are read */
const howOf = ({ mean, std, bgr, resize }: Settings): string => JSON.stringify([mean, std, bgr, resize]);

/** Images among files, in the order of their paths: that of a folder's files is as the system likes. */
function sortedImages(files: readonly File[]): File[] {
  const place = ({ webkitRelativePath, name }: File): string => webkitRelativePath || name;
  return files
    .filter(({ name }) => isImageName(name))
    .sort((a, b) => (place(a) < place(b) ? -1 : Number(place(a) > place(b))));
}

export class OnnxRun implements Run, Actions {
  readonly #runner: Runner;
  readonly #reading: Runner;
  readonly #endDrops: () => void;
  #compressor: Compressor | null = null;
  /** what is open, and the shapes that it was looked at with */
  #open = "";
  #shapes = "";
  /** images at hand, and how they were read last */
  #images: readonly File[] = [];
  #decoded = "";

  constructor(
    private readonly store: Store<State, Event>,
    context: Context,
  ) {
    this.context = context;
    // what is wrong with a file is told in the part
    const quiet = (): void => {};
    this.#runner = new Runner((task) => store.send({ type: "task", task }), quiet);
    this.#reading = new Runner((task) => store.send({ type: "reading", task }), quiet);
    this.#endDrops = context.files.listen("onnx", (files) => queueMicrotask(() => this.open(files)));
  }
  private readonly context: Context;

  apply(): void {
    const { settings, model } = this.store.state;
    if (settings.data === "example" && this.#open !== "example") {
      this.#open = "example";
      void this.#reading.run((signal, tell) => this.#example(signal, tell));
    } else if (settings.data === "file" && this.#open === "example") {
      this.#open = "";
      this.store.send({ type: "model", model: null });
    } else if (model && settings.shapes !== this.#shapes) {
      const shapes = shapesOf(this.store.state);
      if (!shapes) return;
      this.#shapes = settings.shapes;
      void this.#reading.run((signal, tell) =>
        this.#told(async () => {
          await this.#look(shapes, signal);
          if (this.#images.length) await this.#decode(signal, tell);
          return "";
        }),
      );
    } else if (model && this.#images.length && howOf(settings) !== this.#decoded) {
      this.#decoded = howOf(settings);
      void this.#reading.run((signal, tell) =>
        this.#told(async () => {
          await this.#decode(signal, tell);
          return "";
        }),
      );
    }
  }

  /** Files that belong together: a model, files of its weights, and samples. */
  open(files: readonly File[]): void {
    const { state, send } = this.store;
    const model = files.find(({ name }) => /\.onnx$/i.test(name));
    const samples = files.find(({ name }) => /\.np[yz]$/i.test(name));
    // arrays are what the model takes as it is
    const images = samples ? [] : sortedImages(files);
    const beside = files.filter((file) => file !== model && file !== samples && !images.includes(file));
    const has = samples !== undefined || images.length > 0;
    if (!model && !(has && state.model)) {
      const words = has ? "These are samples, and there is no model yet." : "No ONNX model is among these files.";
      send({ type: "problem", problem: { words, advice: "Drop a file that ends with .onnx." } });
      return;
    }
    if (model) {
      this.#open = model.name;
      this.#shapes = "";
      send({ type: "change", values: { data: "file", shapes: "" } });
    }
    void this.#reading.run((signal, tell) =>
      this.#told(async () => {
        if (model) await this.#read(model, model.name, beside, signal, tell);
        if (samples) await this.#sample(samples, signal, tell);
        this.#keep(images);
        if (images.length) await this.#decode(signal, tell);
        return "";
      }),
    );
  }

  /** Random inputs again. */
  forget(): void {
    this.#keep([]);
    this.store.send({ type: "samples", samples: null });
    void this.#reading.run((signal) =>
      this.#told(async () => {
        await this.#worker().forget(signal);
        await this.#look(shapesOf(this.store.state) ?? {}, signal);
        return "";
      }),
    );
  }

  #worker(): Compressor {
    this.#compressor ??= new Compressor();
    return this.#compressor;
  }

  /** Work whose errors are the file's. */
  async #told(work: () => Promise<string>): Promise<string> {
    try {
      return await work();
    } catch (error) {
      const words = `${messageOf(error).replace(/\.$/, "")}.`;
      this.store.send({ type: "problem", problem: { words, advice: "Nothing else was changed." } });
      throw error;
    }
  }

  async #read(file: Blob, name: string, beside: readonly File[], signal: AbortSignal, tell: Tell): Promise<void> {
    tell(0, `Reading ${name}…`);
    await this.#runner.stop();
    const model = await this.#worker().open(file, name, beside, signal);
    this.store.send({ type: "model", model });
  }

  /** Images at hand, which are read for the settings of now, and again where these change. */
  #keep(images: readonly File[]): void {
    this.#images = images;
    this.#decoded = howOf(this.store.state.settings);
    this.store.send({ type: "images", count: images.length });
  }

  async #decode(signal: AbortSignal, tell: Tell): Promise<void> {
    const files = this.#images;
    const images = imagesOf(this.store.state.settings);
    const shapes = shapesOf(this.store.state);
    this.store.send({ type: "samples", samples: null });
    // the page says what is wrong with the numbers
    if (!images || !shapes) return;
    const told = (count: number): void => tell(count / files.length, `Reading images: ${count} of ${files.length}…`);
    told(0);
    await this.#runner.stop();
    const count = await this.#worker().images(files, images, shapes, signal, told);
    this.store.send({ type: "samples", samples: { name: "your images", count } });
    await this.#look(shapes, signal);
  }

  async #look(shapes: Record<string, readonly number[]>, signal: AbortSignal): Promise<void> {
    const { samples } = this.store.state;
    const model = await this.#worker().inspect(shapes, signal);
    this.store.send({ type: "model", model });
    this.store.send({ type: "samples", samples });
  }

  async #sample(file: File, signal: AbortSignal, tell: Tell): Promise<void> {
    tell(0, `Reading ${file.name}…`);
    const count = await this.#worker().sample(file, file.name, signal);
    this.store.send({ type: "samples", samples: { name: file.name, count } });
    // their shapes are those of inputs that the model leaves open
    await this.#look(shapesOf(this.store.state) ?? {}, signal);
  }

  async #example(signal: AbortSignal, tell: Tell): Promise<string> {
    this.#keep([]);
    this.store.send({ type: "model", model: null });
    tell(0, "Loading a digit recogniser and its samples…");
    const [response, digits] = await Promise.all([fetch(MODEL), this.context.digits()]);
    if (!response.ok) throw new Error(`The example did not load: ${response.status}`);
    await this.#read(await response.blob(), EXAMPLE, [], signal, tell);
    const images = digits.images.subarray(-SAMPLES * PIXELS);
    const data = Float32Array.from(images, (value) => value / 255);
    const count = await this.#worker().samples([SAMPLES, 1, 28, 28], data, signal);
    this.store.send({ type: "samples", samples: { name: "MNIST", count } });
    return "";
  }

  start(): void {
    if (canRun(this.store.state)) void this.#runner.run((signal, tell) => this.#compress(signal, tell));
  }

  abort(): void {
    this.#runner.abort();
  }

  async #compress(signal: AbortSignal, tell: Tell): Promise<string> {
    const { store } = this;
    store.send({ type: "began" });
    const start = performance.now();
    signal.addEventListener("abort", () => tell(0, "Stopping…"));
    await this.#worker().compress(
      jobOf(store.state),
      signal,
      ({ done, words, layer }) => {
        if (signal.aborted) return;
        tell(done, words);
        store.send({ type: "layer", layer });
      },
      (version) => store.send({ type: "version", version }),
      ({ original, times }) => store.send({ type: "times", original, times: new Map(times) }),
    );
    return `Done in ${Math.round((performance.now() - start) / 1000)} s.`;
  }

  save({ file, title }: Version): void {
    const name = this.store.state.model!.name.replace(/\.onnx$/i, "");
    const ending = title.replace(/[^\p{L}\p{N}.]+/gu, "-").replace(/-+$/, "");
    saveFile(`${name.replace(/\s+/g, "-")}-${ending}.onnx`, file!, "application/octet-stream");
  }

  async destroy(): Promise<void> {
    this.#endDrops();
    this.#runner.abort();
    this.#reading.abort();
    // what it computes ends with it
    this.#compressor?.close();
  }
}

export const part: Part<State, Event, OnnxRun> = {
  initial,
  update,
  query: ({ settings }) => written(settings),
  run: (store, context) => new OnnxRun(store, context),
  view: createView,
};
