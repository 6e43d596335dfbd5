/** A network of one's own, as values: the model, the samples, the budget, and the versions that were made. */

import { parseChannels } from "../../../src/compress/onnx/images.js";
import type { WorstSample } from "../../../src/report/compressionPage.js";
import { count, percent } from "../../../src/report/elements.js";
import { lossOf, mostLoss } from "../../../src/report/versions.js";
import { bytes } from "../bytes.js";
import type { Change, Moved } from "../part.js";
import { IDLE, type Task, type TaskEvent, updateTask } from "../task.js";
import type { ImageSettings, Job, ModelInfo, Version } from "./messages.js";
import { exampleShape, parseShapes } from "./shapes.js";

export type Cost = "multiplications" | "weights" | "time";
export const COSTS: readonly (readonly [Cost, string])[] = [
  ["multiplications", "multiplications"],
  ["weights", "size of the file"],
  ["time", "time of a run"],
];
export const RATIO = { min: 1.1, max: 8, step: 0.1 } as const;

export interface Settings {
  data: "example" | "file";
  cost: Cost;
  /** how many times less */
  ratio: number;
  /** also in int8 */
  int8: boolean;
  /** of inputs that the model leaves open, as the user wrote them */
  shapes: string;
  /** of images, as the user wrote them */
  mean: string;
  std: string;
  bgr: boolean;
  resize: Resize;
}

export type Resize = "crop" | "stretch";
export const RESIZES: readonly (readonly [Resize, string])[] = [
  ["crop", "their middle"],
  ["stretch", "all of them, stretched"],
];

export interface Problem {
  words: string;
  advice: string;
}

export interface State {
  settings: Settings;
  /** where the slider is while it moves */
  sliding: number | null;
  model: ModelInfo | null;
  /** null: random inputs, for the time alone */
  samples: { name: string; count: number } | null;
  /** images at hand, which are samples once they are read */
  images: number;
  versions: readonly Version[];
  /** the version whose layers are shown */
  chosen: string | null;
  /** the layer that is worked on, and those that were */
  layer: string | null;
  seen: ReadonlySet<string>;
  problem: Problem | null;
  reading: Task;
  task: Task;
}

export type Event =
  | Change<Settings>
  | Moved
  | { type: "slide"; ratio: number }
  | { type: "model"; model: ModelInfo | null }
  | { type: "samples"; samples: State["samples"] }
  | { type: "images"; count: number }
  | { type: "began" }
  | { type: "layer"; layer: string | null }
  | { type: "version"; version: Version }
  | { type: "times"; original: number; times: ReadonlyMap<string, number> }
  | { type: "choose"; id: string }
  | { type: "problem"; problem: Problem | null }
  | { type: "reading"; task: TaskEvent }
  | { type: "task"; task: TaskEvent };

export function parse(query: URLSearchParams): Settings {
  const ratio = Math.round(10 * Number(query.get("ratio") ?? 2)) / 10;
  return {
    data: query.get("data") === "file" ? "file" : "example",
    cost: COSTS.find(([id]) => id === query.get("cost"))?.[0] ?? "multiplications",
    ratio: ratio >= RATIO.min && ratio <= RATIO.max ? ratio : 2,
    int8: query.get("int8") !== "no",
    shapes: query.get("shapes") ?? "",
    mean: query.get("mean") ?? "0",
    std: query.get("std") ?? "1",
    bgr: query.get("bgr") === "yes",
    resize: query.get("resize") === "stretch" ? "stretch" : "crop",
  };
}

export const written = ({ data, cost, ratio, int8, shapes, ...images }: Settings): Record<string, string> => ({
  data,
  ratio: String(ratio),
  ...(cost === "multiplications" ? {} : { cost }),
  ...(int8 ? {} : { int8: "no" }),
  ...(shapes ? { shapes } : {}),
  ...(images.mean === "0" ? {} : { mean: images.mean }),
  ...(images.std === "1" ? {} : { std: images.std }),
  ...(images.bgr ? { bgr: "yes" } : {}),
  ...(images.resize === "crop" ? {} : { resize: images.resize }),
});

const EMPTY = { model: null, samples: null, versions: [], chosen: null, layer: null, seen: new Set<string>() };

/** What was made stays with the worker, which is gone where the part was left. */
export const initial = (query: URLSearchParams): State => ({
  ...EMPTY,
  ...{ settings: parse(query), sliding: null, images: 0, problem: null, reading: IDLE, task: IDLE },
});

export function update(state: State, event: Event): State {
  switch (event.type) {
    case "change":
      return { ...state, settings: { ...state.settings, ...event.values }, sliding: null };
    case "moved":
      return { ...state, settings: parse(event.query), sliding: null };
    case "slide":
      return { ...state, sliding: event.ratio };
    case "model":
      return { ...state, ...EMPTY, model: event.model, problem: null };
    case "samples":
      return { ...state, versions: [], chosen: null, samples: event.samples, problem: null };
    case "images":
      return { ...state, images: event.count };
    case "began":
      return { ...state, problem: null, layer: null, seen: new Set() };
    case "layer":
      return event.layer && event.layer !== state.layer
        ? { ...state, layer: event.layer, seen: new Set([...state.seen, event.layer]) }
        : state;
    case "version": {
      const { version } = event;
      const others = state.versions.filter(({ id }) => id !== version.id);
      return { ...state, versions: [...others, version], chosen: version.layers ? version.id : state.chosen };
    }
    case "times": {
      const { original, times } = event;
      const versions = state.versions.map((version) => {
        const after = times.get(version.id);
        return after === undefined ? version : { ...version, time: { before: original, after } };
      });
      return { ...state, versions };
    }
    case "choose":
      return { ...state, chosen: event.id };
    case "problem":
      return { ...state, problem: event.problem };
    case "reading":
      return { ...state, reading: updateTask(state.reading, event.task) };
    case "task": {
      const task = updateTask(state.task, event.task);
      return { ...state, task, layer: task.phase === "running" ? state.layer : null };
    }
  }
}

export const ratioOf = ({ settings, sliding }: State): number => sliding ?? settings.ratio;

const KINDS: Readonly<Record<Cost, string>> = { multiplications: "", weights: ", size", time: ", time" };

/** Shapes of open inputs; null where the text is none. */
export const shapesOf = ({ settings, model }: Pick<State, "settings" | "model">): Job["shapes"] | null =>
  model &&
  parseShapes(
    settings.shapes,
    model.inputs.map(({ name }) => name),
  );

/** How images become samples; null where a text is none. */
export function imagesOf({ mean: first, std: second, bgr, resize }: Settings): ImageSettings | null {
  const [mean, std] = [parseChannels(first), parseChannels(second)];
  return mean && std?.every((one) => one > 0) ? { mean, std, bgr, stretch: resize === "stretch" } : null;
}

export function jobOf(state: State): Job {
  const { settings, versions } = state;
  const { cost, ratio, int8 } = settings;
  return {
    target: { [cost]: ratio },
    title: `low rank${KINDS[cost]} ÷ ${ratio}`,
    int8,
    shapes: shapesOf(state) ?? {},
    known: versions.map(({ id }) => id),
  };
}

/** Shapes that may be written for the inputs that the model leaves open; for all where it leaves none. */
export function examplesOf({ inputs, open }: ModelInfo): string {
  const named = inputs.filter(({ name }) => open.includes(name));
  return (named.length ? named : inputs).map(exampleShape).join("; ");
}

/** Why it cannot start; null where it can. */
export function obstacle(state: State): Problem | null {
  const { model, samples, settings } = state;
  if (!model) return null;
  if (!shapesOf(state))
    return {
      words: `${JSON.stringify(settings.shapes)} is no shape of ${model.inputs.map(({ name }) => name).join(", ")}.`,
      advice: `Write it as ${examplesOf(model)}, with ; between several inputs.`,
    };
  if (state.images && !imagesOf(settings))
    return {
      words: `The mean or the standard deviation of images is no number: ${settings.mean} and ${settings.std}.`,
      advice: "Write one number or three, as in 0.485,0.456,0.406 or 1/255.",
    };
  if (samples) return null;
  if (model.open.length)
    return {
      words: `The model leaves the shape of ${model.open.join(", ")} open.`,
      advice: `Bring samples, or write the shape above, as in ${examplesOf(model)}.`,
    };
  if (settings.cost === "time")
    return {
      words: "A budget of time needs samples, because layers are timed in the model.",
      advice: "Bring samples, or choose another budget.",
    };
  return null;
}

export const canRun = (state: State): boolean =>
  state.model !== null && state.reading.phase !== "running" && obstacle(state) === null;

/** `÷ 2.04`; `× 1.1` where it grew */
export const factor = (before: number, after: number): string =>
  before < after ? `× ${(after / before).toPrecision(3)}` : `÷ ${(before / after).toPrecision(3)}`;

/** How near the outputs are, in words. */
export function nearness({ agreement, error }: Pick<Version, "agreement" | "error">): string {
  if (error === null) return "not known";
  return agreement === null ? `${share(error)} error` : `${share(agreement)} same answer`;
}

const promise = ({ agreement }: Version): string =>
  agreement === null ? "an error of at most 10 %" : "98 % of the answers";

/** `100 %`, `97.3 %` */
const share = (part: number): string => percent(part, Number(percent(part).slice(0, -2)) % 1 ? 1 : 0);

const speed = ({ time }: Version): number => (time ? time.before / time.after : 1);
/** `3.2 times smaller`, `1.1 times slower` */
const often = (ratio: number, better: string, worse: string): string =>
  ratio >= 1 ? `${ratio.toPrecision(2)} times ${better}` : `${(1 / ratio).toPrecision(2)} times ${worse}`;
const told = (model: ModelInfo, version: Version): string =>
  `${often(model.bytes / version.bytes!, "smaller", "larger")}, ${often(speed(version), "as fast", "slower")} here, ${nearness(version)}`;

/** What the table comes to, and which row to take. */
export function verdict({ model, versions, samples }: State): string {
  if (!model || !versions.length) return "";
  const made = versions.filter(({ bytes: size }) => size !== null);
  const low = made.filter(({ isLowRank, isInt8 }) => isLowRank && !isInt8);
  const refused = versions.find(({ bytes: size, isInt8 }) => size === null && !isInt8);
  const why = !low.length && refused ? `There is no low-rank version: ${refused.reason}. ` : "";
  if (!made.length) return `${why}There is nothing to be won for this model.`;
  if (!samples) {
    const fastest = made.reduce((best, one) => (speed(one) > speed(best) ? one : best));
    return `${why}${
      speed(fastest) > 1.05
        ? `The fastest is ${fastest.title}: ${speed(fastest).toFixed(2)} times as fast here.`
        : "Nothing here is faster than the original."
    } How near the outputs stay is not known without samples.`;
  }
  const good = made.filter((one) => one.error !== null && lossOf(one) <= mostLoss(one));
  if (!good.length) {
    const nearest = made.reduce((best, one) => (lossOf(one) < lossOf(best) ? one : best));
    return `${why}None keeps ${promise(nearest)}; the nearest is ${nearest.title} (${nearness(nearest)}). Ask for less, or stay with the original.`;
  }
  const score = (one: Version): number => speed(one) * (model.bytes / one.bytes!);
  const best = good.reduce((top, one) => (score(one) > score(top) ? one : top));
  if (score(best) < 1.1) return `${why}Nothing to be won: no version that keeps ${promise(best)} is smaller or faster.`;
  const int8 = good.find(({ id }) => id === "int8");
  const beaten =
    int8 &&
    low.length > 0 &&
    low.every((one) => lossOf(one) >= lossOf(int8) && one.bytes! > int8.bytes! && speed(one) < speed(int8));
  const note = beaten && best === int8 ? " Low rank has less to give here: it is larger, slower and no nearer." : "";
  return `${why}Take ${best.title}: ${told(model, best)}.${note}`;
}

/** What there is to say of the model. */
export function factsOf(state: State): [name: string, words: string][] {
  const { model, samples } = state;
  if (!model) return [];
  const asked = shapesOf(state) ?? {};
  // exporters name open extents as in `p2o.DynamicDimension.0`, which tells nobody anything
  const extentOf = (extent: number | string | null): number | string =>
    typeof extent === "string" && !/^\w{1,12}$/.test(extent) ? "?" : (extent ?? "?");
  const said = ({ name, shape }: ModelInfo["inputs"][number]): string =>
    `${name} ${(asked[name] ?? shape)?.map(extentOf).join("×") ?? "?"}`;
  const all = (of: (layer: ModelInfo["layers"][number]) => number | null): number =>
    model.layers.reduce((sum, layer) => sum + (of(layer) ?? 0), 0);
  const { weights, multiplications } = model;
  return [
    ["file", bytes(model.bytes)],
    [model.inputs.length === 1 ? "input" : "inputs", model.inputs.map(said).join(", ")],
    ["weights", count(weights)],
    ["multiplications a run", multiplications === null ? "not known" : count(multiplications)],
    [
      "can be factorised",
      multiplications
        ? `${percent(all((layer) => layer.multiplications) / multiplications, 0)} of the multiplications`
        : `${percent(all((layer) => layer.weights) / Math.max(1, weights), 0)} of the weights`,
    ],
    ["samples", samples ? `${count(samples.count)} of ${samples.name}` : "none: random inputs"],
  ];
}

/** A sample, and what each version makes of it; null where that is not known. */
export interface Compared extends Pick<WorstSample, "sample" | "image"> {
  /** the original's best class; null where outputs are no classes */
  original: number | null;
  versions: readonly (WorstSample | null)[];
}

/** samples that are shown side by side */
const MOST_COMPARED = 12;

/** Samples that any version changes most, the worst ones first. */
export function comparedOf(versions: readonly Version[]): { versions: readonly Version[]; samples: Compared[] } {
  const known = versions.filter(({ worst }) => worst);
  const bySample = known.map(({ worst }) => new Map(worst!.map((one) => [one.sample, one])));
  const all = new Map(known.flatMap(({ worst }) => worst!.map((one) => [one.sample, one] as const)));
  const samples = [...all.values()].map(
    ({ sample, image, classes }): Compared => ({
      ...{ sample, image, original: classes?.before ?? null },
      versions: bySample.map((found) => found.get(sample) ?? null),
    }),
  );
  const changes = ({ versions }: Compared): number => versions.reduce((sum, one) => sum + 1 - (one?.agreement ?? 1), 0);
  const error = ({ versions }: Compared): number => Math.max(...versions.map((one) => one?.error ?? 0));
  samples.sort((a, b) => changes(b) - changes(a) || error(b) - error(a));
  return { versions: known, samples: samples.slice(0, MOST_COMPARED) };
}

/** Told above the layers where none can be factorised. */
export function nothingWords({ layers, leftAlone }: ModelInfo): string {
  if (layers.length) return "";
  const [most] = leftAlone;
  return `No layer of this model can be factorised${most ? `: ${most.reason}` : ""}. int8 may still help.`;
}
