/**
 * What a part of the page is made of. Adding one: a folder with state.ts (what it shows, as values), view.ts (what that
 * looks like) and run.ts (what it computes, and the part itself), and a line in main.ts.
 */
import type { TemplateResult } from "lit-html";
import type { Engine } from "../../src/index.js";
import type { DigitSet } from "./digits.js";
import type { FileDrops } from "./drops.js";

/** What the page lends to a part. */
export interface Context {
  /** the page's engine, opened when first asked for; rejects where there is no WebGPU */
  engine(): Promise<Engine>;
  /** whether there is a GPU to ask for at all */
  hasGpu: boolean;
  /** of the engine; empty before it is open */
  adapterName(): string;
  digits(): Promise<DigitSet>;
  /** files that the user drops on the page */
  files: FileDrops;
  /** Tells of an error that is not the user's doing. */
  fail(error: unknown): void;
}

/** The user has set something: a step that Back undoes. */
export interface Change<Settings> {
  type: "change";
  values: Partial<Settings>;
}

/** The URL has changed: by Back, by Forward or by hand. */
export interface Moved {
  type: "moved";
  query: URLSearchParams;
}

export interface Store<State, Event> {
  readonly state: State;
  send(event: Event): void;
}

export interface View<State> {
  render(state: State): TemplateResult;
  destroy?(): void;
}

export interface Run {
  /** Does what the settings ask for: at the start, after every change, and after every move through the history. */
  apply(): void;
  /** Stops what runs; resolves when all that it held is freed. */
  destroy(): Promise<void>;
  /** what is shown, as data for recorded.ts: for those without WebGPU */
  record?(): unknown;
}

export interface Part<State, Event extends { type: string }, R extends Run> {
  /** What is shown first. `left`: what the part was when it was left last. */
  initial(query: URLSearchParams, left: State | null): State;
  update(state: State, event: Event | Moved): State;
  /** the settings, as the URL holds them */
  query(state: State): Record<string, string>;
  run(store: Store<State, Event>, context: Context): R;
  view(send: (event: Event) => void, run: R): View<State>;
}
