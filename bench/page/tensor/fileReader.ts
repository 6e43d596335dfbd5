/** The worker that reads a file, asked one thing at a time. */
import type { NumericArray } from "../../../src/index.js";
import type { Inspection } from "./formats.js";
import type { FromReader, ToReader } from "./worker.js";

type Message<T extends FromReader["type"]> = Extract<FromReader, { type: T }>;

export class TensorFileReader {
  readonly #worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  #answer: { take: (message: FromReader) => unknown; reject: (error: unknown) => void } | null = null;
  #isClosed = false;

  constructor() {
    this.#worker.addEventListener("message", ({ data }: MessageEvent<FromReader>) => {
      if (data.type === "failed") this.#answer?.reject(new Error(data.message));
      else this.#answer?.take(data);
    });
    // where memory runs out, too
    this.#worker.addEventListener("error", ({ message }) =>
      this.#answer?.reject(
        new Error(
          message || "The file could not be read: the browser ended the reader, which may be for want of memory",
        ),
      ),
    );
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Asks, and takes what comes until the answer; when the signal stops it, the reader is closed. */
  async #ask<T extends FromReader["type"]>(
    message: ToReader,
    last: T,
    signal: AbortSignal,
    take: (message: FromReader) => unknown = () => {},
  ): Promise<Message<T>> {
    signal.throwIfAborted();
    if (this.#isClosed) throw new Error("The reader is closed");
    const onAbort = (): void => {
      this.close();
      this.#answer?.reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort);
    try {
      return await new Promise<Message<T>>((resolve, reject) => {
        this.#answer = {
          reject,
          async take(told) {
            try {
              if (told.type === last) resolve(told as Message<T>);
              else await take(told);
            } catch (error) {
              reject(error);
            }
          },
        };
        this.#worker.postMessage(message);
      });
    } catch (error) {
      // what is under way must not answer the next question
      this.close();
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#answer = null;
    }
  }

  open(file: Blob, name: string, signal: AbortSignal): Promise<Message<"opened">> {
    return this.#ask({ type: "open", file, name }, "opened", signal);
  }

  async inspect(member: number, signal: AbortSignal, onRead: (done: number) => void): Promise<Inspection> {
    const { inspection } = await this.#ask({ type: "inspect", member }, "inspected", signal, (told) => {
      if (told.type === "progress") onRead(told.done);
    });
    return inspection;
  }

  /** Reads all numbers of a member; each piece is in f32, and its memory is the caller's. */
  async read(
    member: number,
    fill: number | null,
    signal: AbortSignal,
    take: (piece: Float32Array<ArrayBuffer>) => void | Promise<void>,
  ): Promise<void> {
    await this.#ask({ type: "read", member, fill }, "end", signal, async (told) => {
      if (told.type !== "piece") return;
      await take(told.values);
      this.#worker.postMessage({ type: "next" } satisfies ToReader);
    });
  }

  /** The bytes of an .npz of these arrays. */
  async pack(
    arrays: readonly (readonly [name: string, array: NumericArray])[],
    signal: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    return (await this.#ask({ type: "pack", arrays }, "packed", signal)).bytes;
  }

  close(): void {
    this.#isClosed = true;
    this.#worker.terminate();
  }
}
