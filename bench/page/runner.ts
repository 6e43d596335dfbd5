/** Runs one piece of work at a time, and stops it. */
import { DeviceLostError } from "../../src/index.js";
import type { TaskEvent } from "./task.js";

/** Told by the work as it goes: a share of 0 to 1, and words. */
export type Tell = (done: number, words: string) => void;
/** @returns the words that it ends with */
export type Work = (signal: AbortSignal, tell: Tell) => Promise<string>;

export class Runner {
  #controller: AbortController | null = null;
  #running: Promise<void> = Promise.resolve();
  /** number of the latest call; earlier calls that still wait give up */
  #turn = 0;

  /** @param fail told of errors, but not of those that come of stopping */
  constructor(
    private readonly send: (event: TaskEvent) => void,
    private readonly fail: (error: unknown) => void,
  ) {}

  /** Tells what runs to stop. */
  abort(): void {
    this.#controller?.abort();
  }

  /** Stops what runs and what waits; resolves when nothing runs any more. */
  stop(): Promise<void> {
    this.#turn++;
    this.abort();
    return this.#running;
  }

  /** Stops what runs, and says what needed no run. */
  async settle(words: string): Promise<void> {
    if (await this.#free()) this.send({ type: "known", words });
  }

  /** Stops what runs, waits for its end, then runs this. A later call replaces one that still waits. */
  async run(work: Work): Promise<void> {
    if (!(await this.#free())) return;
    this.#running = this.#work(work);
    await this.#running;
  }

  /** Waits until nothing runs; false where a later call came in the meantime. */
  async #free(): Promise<boolean> {
    const running = this.stop();
    const turn = this.#turn;
    await running;
    return turn === this.#turn;
  }

  async #work(work: Work): Promise<void> {
    const controller = new AbortController();
    this.#controller = controller;
    const { signal } = controller;
    this.send({ type: "begin" });
    try {
      const words = await work(signal, (done, words) => this.send({ type: "progress", done, words }));
      this.#controller = null;
      this.send({ type: "end", phase: signal.aborted ? "stopped" : "done", words });
    } catch (error) {
      this.#controller = null;
      const stopped = signal.aborted;
      this.send({ type: "end", phase: stopped ? "stopped" : "failed", words: stopped ? "Stopped." : messageOf(error) });
      if (!stopped || error instanceof DeviceLostError) this.fail(error);
    }
  }
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
