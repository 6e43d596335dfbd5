/** Decompose, as values: what is asked for, what is known, and what of it is shown. */
import { PIXELS } from "../../../src/experiments/digits.js";
import { count, nameOf, percent } from "../../../src/report/elements.js";
import type { DigitSet } from "../digits.js";
import type { Change, Moved } from "../part.js";
import { parseDigits, parseInteger } from "../settings.js";
import { IDLE, type Task, type TaskEvent, updateTask } from "../task.js";
import { type Decomposed, errorsByRank, type Method } from "./decomposition.js";

/** Ranks that a nested decomposition is computed for: a smaller one is part of it. */
const LEVELS = [20, 50];
export const MOST_RANK = 50;
/** images that are shown at once */
export const HUNDRED = 100;
/** results that are remembered */
const MOST_RESULTS = 60;

export const METHODS: readonly (readonly [Method, string])[] = [
  ["tucker", "Tucker, pixels left alone"],
  ["tucker10", "Tucker, pixels reduced to 10×10"],
  ["cp", "CP"],
];
export const NOTES: Record<Method, string> = {
  tucker:
    "Tucker with the images' mode alone reduced (HOSVD; De Lathauwer, De Moor & Vandewalle 2000). A smaller rank is the first columns of a larger one, so the slider recomputes nothing.",
  tucker10:
    "Tucker by higher-order orthogonal iteration (Kolda & Bader 2009, section 4.2), rows and columns reduced to 10 each. Its ranks are not nested: each is computed once, then kept.",
  cp: "CP by alternating least squares (Kolda & Bader 2009, section 3.4): every component is one column times one row. Its ranks are not nested: each is computed once, then kept.",
};

export interface Settings {
  digits: readonly number[];
  /** how many of the 10,000 are looked at */
  images: number;
  method: Method;
  rank: number;
  centred: boolean;
  seed: number;
  /** the first of the hundred images on show */
  at: number;
}

export interface State {
  settings: Settings;
  /** where the slider is while it moves */
  sliding: number | null;
  /** all that was computed to the end, by its key, the latest last */
  results: ReadonlyMap<string, Decomposed>;
  /** the images that were chosen last */
  chosen: { key: string; set: DigitSet } | null;
  /** a result, and the images that it decomposes */
  shown: { result: Decomposed; set: DigitSet; digits: readonly number[] } | null;
  running: { key: string; errors: readonly number[] } | null;
  /** the result comes from another machine, since there is no GPU here: only the slider moves, up to its rank */
  recorded: Decomposed | null;
  task: Task;
}

export type Event =
  | Change<Settings>
  | Moved
  | { type: "slide"; rank: number }
  | { type: "chosen"; key: string; set: DigitSet }
  | { type: "began"; key: string }
  | { type: "swept"; error: number }
  | { type: "computed"; key: string; result: Decomposed }
  | { type: "stopped" }
  | { type: "recorded"; settings: Settings; result: Decomposed; set: DigitSet }
  | { type: "task"; task: TaskEvent };

export function parse(query: URLSearchParams): Settings {
  return {
    digits: parseDigits(query.get("digits")) ?? [3, 4, 7],
    images: parseInteger(query.get("images"), 100, 10_000, 3000),
    method: METHODS.find(([id]) => id === query.get("method"))?.[0] ?? "tucker",
    rank: parseInteger(query.get("rank"), 1, MOST_RANK, 3),
    centred: query.get("centred") === "1",
    seed: parseInteger(query.get("seed"), 0, 1e6, 1),
    at: parseInteger(query.get("at"), 0, 10_000, 0),
  };
}

export const written = ({ digits, images, method, rank, centred, seed, at }: Settings): Record<string, string> => ({
  digits: digits.join(""),
  images: String(images),
  method,
  rank: String(rank),
  ...(centred ? { centred: "1" } : {}),
  ...(seed === 1 ? {} : { seed: String(seed) }),
  ...(at ? { at: String(at) } : {}),
});

export function initial(query: URLSearchParams, left: State | null): State {
  const state: State = {
    settings: parse(query),
    sliding: null,
    results: left?.results ?? new Map(),
    chosen: left?.chosen ?? null,
    shown: null,
    running: null,
    recorded: null,
    task: IDLE,
  };
  return showReady(state);
}

export function update(state: State, event: Event): State {
  switch (event.type) {
    case "change":
      return showReady({ ...state, settings: { ...state.settings, ...event.values }, sliding: null });
    case "moved":
      return showReady({ ...state, settings: parse(event.query), sliding: null });
    case "slide":
      return showReady({ ...state, sliding: event.rank });
    case "chosen":
      return showReady({ ...state, chosen: { key: event.key, set: event.set } });
    case "began":
      return { ...state, running: { key: event.key, errors: [] } };
    case "swept":
      return state.running
        ? { ...state, running: { ...state.running, errors: [...state.running.errors, event.error] } }
        : state;
    case "computed":
      return showComputed(
        { ...state, running: null, results: remember(state.results, event.key, event.result) },
        event,
      );
    case "stopped":
      return { ...state, running: null };
    case "recorded": {
      const { settings, result, set } = event;
      const rank = Math.min(state.settings.rank, result.settings.rank);
      const chosen = { key: imagesKey(settings), set };
      const results = remember(state.results, resultKey(settings, result.settings.rank), result);
      return show({ ...state, settings: { ...settings, rank }, chosen, results, recorded: result }, result);
    }
    case "task":
      return { ...state, task: updateTask(state.task, event.task) };
  }
}

const show = (state: State, result: Decomposed): State => ({
  ...state,
  shown: { result, set: state.chosen!.set, digits: state.settings.digits },
});

/** Shows what the settings ask for where it is there already; else what was shown stays until it is. */
function showReady(state: State): State {
  const result = readyResult(state);
  return result ? show(state, result) : state;
}

/** Shows a result that was computed, or as far as it got, unless something else has been asked for in the meantime. */
function showComputed(state: State, { key, result }: { key: string; result: Decomposed }): State {
  const asked = resultKey(state.settings, rankToCompute(state.settings));
  return asked === key && state.chosen?.key === imagesKey(state.settings) ? show(state, result) : showReady(state);
}

/** With one more result, without the oldest where they are too many; one that was stopped is none. */
function remember(results: State["results"], key: string, result: Decomposed): State["results"] {
  if (result.aborted) return results;
  const next = new Map(results);
  next.delete(key);
  next.set(key, result);
  for (const oldest of next.keys()) if (next.size > MOST_RESULTS) next.delete(oldest);
  return next;
}

/** The key of the images that the settings choose. */
export const imagesKey = ({ digits, images }: Settings): string => `${digits.join("")}/${images}`;
/** The key of a problem, without its rank. */
const problemKey = (settings: Settings): string =>
  `${imagesKey(settings)}/${settings.method}/${settings.centred}/${settings.seed}`;
/** The key of a result. */
export const resultKey = (settings: Settings, rank: number): string => `${problemKey(settings)}/${rank}`;

/** whether a smaller rank is part of a larger one */
export const isNested = (method: Method): boolean => method === "tucker";
export const mostRank = (state: State): number => state.recorded?.settings.rank ?? MOST_RANK;
export const rankOf = (state: State): number => state.sliding ?? state.settings.rank;
/** The rank to compute for the one that is asked for. */
export const rankToCompute = ({ method, rank }: Settings): number =>
  isNested(method) ? LEVELS.find((level) => level >= rank)! : rank;

/** The result for where the slider is, where it is known and its images are chosen. */
export function readyResult(state: State): Decomposed | undefined {
  const { settings, chosen, results } = state;
  if (chosen?.key !== imagesKey(settings)) return undefined;
  const rank = rankOf(state);
  const ranks = isNested(settings.method) ? LEVELS.filter((level) => level >= rank) : [rank];
  return ranks.map((known) => results.get(resultKey(settings, known))).find(Boolean);
}

/** The rank on show: the slider's, as far as the result goes. */
export const shownRank = (state: State): number => Math.min(rankOf(state), state.shown!.result.settings.rank);
/** The error at the rank on show. */
export function shownError(state: State): number {
  const { result } = state.shown!;
  const rank = shownRank(state);
  return result.settings.rank === rank ? result.relativeError : errorsByRank(result)[rank - 1]!;
}

/** What there is to say of the result on show, name by name. */
export function factsOf(state: State): [name: string, words: string][] {
  const { result, digits } = state.shown!;
  const rank = shownRank(state);
  const error = shownError(state);
  const stored = isNested(result.settings.method)
    ? rank * (result.count + PIXELS) + (result.mean ? PIXELS : 0)
    : result.parameters;
  return [
    ["images", `${count(result.count)} of ${nameOf(digits)}`],
    ["rank", String(rank)],
    [result.mean ? "relative error (of centred images)" : "relative error", error.toFixed(4)],
    ["energy kept", percent(1 - error * error)],
    ["numbers stored", `${count(stored)} (${percent(stored / (result.count * PIXELS))} of the pixels)`],
    ["decomposed in", `${result.seconds.toFixed(2)} s, ${result.errors.length} sweeps`],
  ];
}

/** The hundred images on show, as the first and the end of them. */
export function hundredOf({ settings, shown }: State): { start: number; stop: number; total: number } {
  const total = shown!.set.labels.length;
  const start = Math.min(settings.at, Math.max(0, Math.floor((total - 1) / HUNDRED) * HUNDRED));
  return { start, stop: Math.min(total, start + HUNDRED), total };
}

/** The first image that is shown after turning the pages by `step` images. */
export function turned(state: State, step: number): number {
  const { start, total } = hundredOf(state);
  return Math.min(Math.max(0, Math.floor((total - 1) / HUNDRED) * HUNDRED), Math.max(0, start + step));
}

/** Errors of all ranks of this problem that are known, by rank. */
export function knownErrors(settings: Settings, results: State["results"]): { rank: number; error: number }[] {
  if (isNested(settings.method)) {
    const largest = LEVELS.map((level) => results.get(resultKey(settings, level))).findLast(Boolean);
    return largest ? errorsByRank(largest).map((error, index) => ({ rank: index + 1, error })) : [];
  }
  const key = problemKey(settings);
  return [...results]
    .filter(([name]) => name.startsWith(`${key}/`))
    .map(([, known]) => ({ rank: known.settings.rank, error: known.relativeError }))
    .sort((a, b) => a.rank - b.rank);
}
