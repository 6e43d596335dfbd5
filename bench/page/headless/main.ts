/** The benchmark in a page without anything to see, driven by headless.ts through `window.bench`. */
import { Engine } from "../../../src/gpu/index.js";
import type { MeasureOptions } from "../../measure.js";
import { modules } from "../../peers/index.js";
import type { Result } from "../../result.js";
import { type Opened, Session } from "../../session.js";

/** What headless.ts calls. It starts work by one call and polls for the result by others, because a long call would time out. */
export interface PageBench {
  open(options: { slim: boolean; peers: readonly string[] | null }): void;
  start(index: number, options: MeasureOptions): void;
  /** result or error of the work that was started last */
  state: { step: string; opened?: Opened; result?: Result; error?: string };
}

declare global {
  interface Window {
    bench: PageBench;
  }
}

let session: Session | undefined;

async function open(slim: boolean, peers: readonly string[] | null = null): Promise<Session> {
  session ??= await Session.open(await Engine.create(), modules, { slim, peers });
  return session;
}

const state: PageBench["state"] = { step: "" };
window.bench = {
  state,
  open: ({ slim, peers }) => during(async () => (state.opened = (await open(slim, peers)).opened)),
  start: (index, options) =>
    during(async () => {
      state.result = await session!.measure(index, { ...options, onStep: (step) => (state.step = step) });
    }),
};

function during(work: () => Promise<unknown>): void {
  delete state.opened;
  delete state.result;
  delete state.error;
  work().catch((error) => (state.error = (error as Error).stack ?? String(error)));
}
