/** The worker that measures, asked one thing at a time. */
import type { MeasureOptions } from "../../measure.js";
import type { Result } from "../../result.js";
import type { FromWorker, ToWorker } from "./worker.js";

type Message<T extends FromWorker["type"]> = Extract<FromWorker, { type: T }>;

export class Bench {
  readonly #worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  #listed!: { resolve: (message: Message<"cases">) => void; reject: (error: Error) => void };
  /** the cases, and the adapter before anything is opened; rejects where the worker ends before it has told them */
  readonly listed = new Promise<Message<"cases">>((resolve, reject) => {
    this.#listed = { resolve, reject };
  });
  #answer: { resolve: (message: FromWorker) => void; reject: (error: Error) => void } | null = null;
  #opened: Message<"opened"> | null = null;
  #broken: Error | null = null;
  onStep: (step: string) => void = () => {};

  constructor() {
    this.#worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => {
      if (data.type === "cases") this.#listed.resolve(data);
      else if (data.type === "step") this.onStep(data.step);
      else if (data.type === "error") this.end(new Error(`${data.message.replace(/\.*$/, "")}. Run starts again.`));
      else this.#answer?.resolve(data);
    });
    this.#worker.addEventListener("error", ({ message }) => this.end(new Error(message || "The worker did not start")));
  }

  /** why the worker has ended */
  get broken(): Error | null {
    return this.#broken;
  }

  async #ask<T extends FromWorker["type"]>(message: ToWorker): Promise<Message<T>> {
    if (this.#broken) throw this.#broken;
    return (await new Promise<FromWorker>((resolve, reject) => {
      this.#answer = { resolve, reject };
      this.#worker.postMessage(message);
    })) as Message<T>;
  }

  async open(): Promise<Message<"opened">> {
    this.#opened ??= await this.#ask<"opened">({ type: "open" });
    return this.#opened;
  }

  async measure(index: number, options: MeasureOptions): Promise<Result> {
    return (await this.#ask<"result">({ type: "measure", index, options })).result;
  }

  end(error = new Error("Stopped.")): void {
    this.#broken ??= error;
    this.#worker.terminate();
    this.#listed.reject(this.#broken);
    this.#answer?.reject(this.#broken);
  }
}
