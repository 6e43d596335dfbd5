/** The worker that compresses, asked one thing at a time. */
import type { FromCompressor, ImageSettings, Job, ModelInfo, ToCompressor, Version } from "./messages.js";

type Told<T extends FromCompressor["type"]> = Extract<FromCompressor, { type: T }>;

export class Compressor {
  readonly #worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  #answer: { take: (message: FromCompressor) => void; reject: (error: unknown) => void } | null = null;

  constructor() {
    this.#worker.addEventListener("message", ({ data }: MessageEvent<FromCompressor>) => {
      if (data.type === "failed") this.#answer?.reject(new Error(data.message));
      else this.#answer?.take(data);
    });
    this.#worker.addEventListener("error", ({ message }) =>
      this.#answer?.reject(
        new Error(message || "The browser ended the worker, which may be for want of memory. Load the page again"),
      ),
    );
  }

  /** Asks, and waits for the answer; the signal stops the work at its next step, and the worker goes on to live. */
  async #ask<T extends FromCompressor["type"]>(
    message: ToCompressor,
    last: T,
    signal: AbortSignal,
    take: (message: FromCompressor) => void = () => {},
  ): Promise<Told<T>> {
    signal.throwIfAborted();
    const abort = (): void => this.#worker.postMessage({ type: "abort" } satisfies ToCompressor);
    signal.addEventListener("abort", abort);
    try {
      return await new Promise<Told<T>>((resolve, reject) => {
        this.#answer = { take: (told) => (told.type === last ? resolve(told as Told<T>) : take(told)), reject };
        this.#worker.postMessage(message);
      });
    } finally {
      signal.removeEventListener("abort", abort);
      this.#answer = null;
    }
  }

  async open(file: Blob, name: string, beside: readonly File[], signal: AbortSignal): Promise<ModelInfo> {
    const others = beside.map((one) => [one.name, one] as const);
    return (await this.#ask({ type: "open", file, name, beside: others }, "opened", signal)).model;
  }

  async inspect(shapes: Job["shapes"], signal: AbortSignal): Promise<ModelInfo> {
    return (await this.#ask({ type: "inspect", shapes }, "opened", signal)).model;
  }

  /** @returns how many samples there are */
  async sample(file: Blob, name: string, signal: AbortSignal): Promise<number> {
    return (await this.#ask({ type: "sample", file, name }, "sampled", signal)).count;
  }

  /** Samples that the page has made. */
  async samples(shape: readonly number[], data: Float32Array<ArrayBuffer>, signal: AbortSignal): Promise<number> {
    return (await this.#ask({ type: "samples", shape, data }, "sampled", signal)).count;
  }

  /**
   * Images, which replace samples of before at once.
   *
   * @param onDecoded told how many are done
   */
  async images(
    files: readonly File[],
    images: ImageSettings,
    shapes: Job["shapes"],
    signal: AbortSignal,
    onDecoded: (count: number) => void,
  ): Promise<number> {
    const take = (told: FromCompressor): void => void (told.type === "decoded" && onDecoded(told.count));
    return (await this.#ask({ type: "images", files, images, shapes }, "sampled", signal, take)).count;
  }

  /** Random inputs again. */
  async forget(signal: AbortSignal): Promise<void> {
    await this.#ask({ type: "forget" }, "end", signal);
  }

  async compress(
    job: Job,
    signal: AbortSignal,
    onProgress: (told: Told<"progress">) => void,
    onVersion: (version: Version) => void,
    onTimes: (told: Told<"times">) => void,
  ): Promise<void> {
    await this.#ask({ type: "compress", job }, "end", signal, (told) => {
      if (told.type === "progress") onProgress(told);
      else if (told.type === "version") onVersion(told.version);
      else if (told.type === "times") onTimes(told);
    });
  }

  close(): void {
    this.#worker.terminate();
  }
}
