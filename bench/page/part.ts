/** What a part of the page is, and what the page gives it. */
import type { Engine } from "../../src/index.js";
import type { DigitSet } from "./digits.js";

export interface Context {
  /** the page's engine, opened when first asked for; rejects where there is no WebGPU */
  engine(): Promise<Engine>;
  /** whether there is a GPU to ask for at all */
  hasGpu: boolean;
  digits(): Promise<DigitSet>;
  /** Puts the part's state into the URL: as a step that Back undoes, or in place. */
  setState(state: Readonly<Record<string, string>>, how: "push" | "replace"): void;
  /** Tells of an error that is not the user's doing. */
  fail(error: unknown): void;
}

export interface Mounted {
  /** the URL has changed: by Back, Forward or by hand */
  show(state: URLSearchParams): void;
  /** stops what runs; resolves when all of it is freed */
  unmount(): Promise<void> | void;
  /** what it shows, as data for recorded.ts: for those without WebGPU */
  record?(): unknown;
}

/** A part of the page. Adding one: a module that exports this, and a line in main.ts. */
export interface Part {
  mount(container: HTMLElement, context: Context, state: URLSearchParams): Mounted;
}
