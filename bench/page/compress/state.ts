/** Compress, as values: what is asked for, what became of the network, and which digits are looked at. */
import { splitDigits } from "../../../src/experiments/digits.js";
import { type CompressedLayer, type CompressionPlan, type Epoch, METHODS } from "../../../src/index.js";
import { count, percent } from "../../../src/report/elements.js";
import type { DigitSet } from "../digits.js";
import type { Change, Moved } from "../part.js";
import { parseInteger } from "../settings.js";
import { IDLE, type Task, type TaskEvent, updateTask } from "../task.js";
import type { Cost, Figures, Shown } from "./compression.js";

/** What each method makes of a layer. All but the first three take the dense layers by the SVD. */
const NOTES: Record<string, string> = {
  svd: "A dense layer becomes two, with R numbers between them: the best approximation of its matrix of rank R. Convolutions stay.",
  tt: "A dense layer's matrix is seen as a tensor of many modes and becomes a train of small cores, each joined to the next by a rank. Convolutions stay.",
  ring: "As the tensor train, but the last core is joined to the first as well. Convolutions stay.",
  jaderberg1:
    "All filters become mixtures of R separable ones, each a column times a row, which every input channel is filtered with.",
  jaderberg2: "A convolution becomes two: R filters one column wide, then filters one row high over their outputs.",
  cp: "A convolution becomes four: 1×1, one column wide, one row high, 1×1, with R channels in between. Terms of CP that nearly cancel each other make it hard to fine-tune.",
  "cp-corrected":
    "CP whose sensitivity is bounded, so that no terms cancel each other: as large as CP, easier to fine-tune.",
  btd: "A convolution becomes a sum of two small Tucker-2 blocks beside each other.",
  tucker2:
    "A convolution becomes three: 1×1 onto fewer channels, a small one between them, 1×1 back onto all. Both ranks are the numbers of channels in between; where that is all of them, there is no 1×1.",
};

export const COSTS: readonly (readonly [Cost, string])[] = [
  ["weights", "weights"],
  ["multiplications", "multiplications an image"],
];
/** images to fine-tune on */
export const TUNING_IMAGES = [1000, 3000, 7000] as const;
/** of the slider: how many times fewer */
export const RATIO = { min: 1.5, max: 16, step: 0.5 } as const;
export const EPOCHS = { min: 1, max: 50 } as const;

export interface Settings {
  /** the name of one of METHODS */
  method: string;
  cost: Cost;
  /** how many times fewer */
  ratio: number;
  epochs: number;
  /** how many to fine-tune on */
  images: number;
}

/** Which held-out images are shown, by whether each network is right. */
export const GROUPS = [
  ["lost", "right before, wrong now"],
  ["gained", "wrong before, right now"],
  ["both", "wrong before and now"],
  ["all", "as they come"],
] as const;
export type Group = (typeof GROUPS)[number][0];
/** images on show at once */
export const PAGE = 24;

/** A network that was compressed and fine-tuned on another machine. */
export interface Reached {
  method: string;
  cost: Cost;
  ratio: number;
  epochs: number;
  before: number;
  untuned: number;
  tuned: number;
}

export interface State {
  settings: Settings;
  /** where the slider is while it moves */
  sliding: number | null;
  digits: DigitSet | null;
  /** the network before anything is done to it */
  original: Figures | null;
  /** the network on show and what it was; null before there is any */
  shown: Shown | null;
  /** epochs of fine-tuning so far */
  curve: readonly Epoch[];
  group: Group;
  /** the first image on show */
  at: number;
  /** there is a compressed network on the GPU, to fine-tune and to download */
  ready: boolean;
  /** the file for the download is being written */
  saving: boolean;
  /** the network comes from another machine, since there is no GPU here: nothing can be set */
  recorded: boolean;
  /** what fine-tuning reached elsewhere; null until it is loaded */
  reached: Reached | null;
  task: Task;
  tuning: Task;
}

export type Event =
  | Change<Settings>
  | Moved
  | { type: "slide"; ratio: number }
  | { type: "loaded"; digits: DigitSet }
  | { type: "opened"; original: Figures }
  | { type: "forgotten" }
  | { type: "busy" }
  | { type: "compressed"; shown: Shown }
  | { type: "timed"; before: Figures; after: Figures }
  | { type: "ready"; ready: boolean }
  | { type: "epoch"; epoch: Epoch }
  | { type: "tuned"; after: Figures }
  | { type: "recorded"; settings: Settings; shown: Shown; curve: readonly Epoch[]; digits: DigitSet }
  | { type: "reached"; reached: Reached }
  | { type: "group"; group: Group }
  | { type: "turn"; at: number }
  | { type: "saving"; saving: boolean }
  | { type: "task"; task: TaskEvent }
  | { type: "tuning"; task: TaskEvent };

const methodOf = (name: string | null) => METHODS.find((method) => method.name === name);
export const savesOf = (method: string): Cost => methodOf(method)!.saves;
export const titleOf = (method: string): string => methodOf(method)!.title;
export const noteOf = (method: string): string =>
  `${NOTES[method] ?? ""}${savesOf(method) === "multiplications" ? " Dense layers go by the SVD." : ""}`;

export function parse(query: URLSearchParams): Settings {
  const method = methodOf(query.get("method"))?.name ?? "tucker2";
  const ratio = Math.round(Number(query.get("ratio") ?? 4) / RATIO.step) * RATIO.step;
  return {
    method,
    cost: COSTS.find(([id]) => id === query.get("cost"))?.[0] ?? savesOf(method),
    ratio: ratio >= RATIO.min && ratio <= RATIO.max ? ratio : 4,
    epochs: parseInteger(query.get("epochs"), EPOCHS.min, EPOCHS.max, 3),
    images: parseInteger(query.get("images"), 100, 7000, 7000),
  };
}

export const written = ({ method, cost, ratio, epochs, images }: Settings): Record<string, string> => ({
  method,
  cost,
  ratio: String(ratio),
  ...(epochs === 3 ? {} : { epochs: String(epochs) }),
  ...(images === 7000 ? {} : { images: String(images) }),
});

export const initial = (query: URLSearchParams): State => ({
  settings: parse(query),
  sliding: null,
  digits: null,
  original: null,
  shown: null,
  curve: [],
  group: "lost",
  at: 0,
  ready: false,
  saving: false,
  recorded: false,
  reached: null,
  task: IDLE,
  tuning: IDLE,
});

export function update(state: State, event: Event): State {
  switch (event.type) {
    case "change": {
      const { values } = event;
      // a method is judged by what it is made to save
      const cost = values.method === undefined ? {} : { cost: savesOf(values.method) };
      return { ...state, settings: { ...state.settings, ...cost, ...values }, sliding: null };
    }
    case "moved":
      return { ...state, settings: parse(event.query), sliding: null };
    case "slide":
      return { ...state, sliding: event.ratio };
    case "loaded":
      return { ...state, digits: event.digits };
    case "opened":
      return { ...state, original: event.original };
    case "forgotten":
      return { ...state, original: null, shown: null, curve: [], ready: false };
    case "busy":
      return { ...state, ready: false };
    case "compressed":
      return { ...state, shown: event.shown, curve: [] };
    case "timed":
      return state.shown
        ? { ...state, original: event.before, shown: { ...state.shown, before: event.before, after: event.after } }
        : state;
    case "ready":
      return { ...state, ready: event.ready };
    case "epoch":
      return { ...state, curve: [...state.curve, event.epoch] };
    case "tuned": {
      const { shown } = state;
      if (!shown) return state;
      return { ...state, shown: { ...shown, after: event.after, untuned: shown.untuned ?? shown.after.accuracy } };
    }
    case "recorded": {
      const { settings, shown, curve, digits } = event;
      return { ...state, settings, shown, curve, digits, recorded: true };
    }
    case "reached":
      return { ...state, reached: event.reached };
    case "group":
      return { ...state, group: event.group, at: 0 };
    case "turn":
      return { ...state, at: event.at };
    case "saving":
      return { ...state, saving: event.saving };
    case "task":
      return { ...state, task: updateTask(state.task, event.task) };
    case "tuning":
      return { ...state, tuning: updateTask(state.tuning, event.task) };
  }
}

export const ratioOf = ({ settings, sliding }: State): number => sliding ?? settings.ratio;

/** How many times fewer; more, where a method saves the one at the cost of the other. */
export const times = (before: number, after: number): string =>
  before < after ? `× ${(after / before).toPrecision(3)}` : `÷ ${(before / after).toPrecision(3)}`;
export const accuracyOf = ({ accuracy }: Figures): string => percent(accuracy, 2);
const msOf = ({ ms }: Figures): string => (ms === null ? "…" : `${ms.toPrecision(3)} ms`);

/** What there is to say of the networks, name by name. */
export function factsOf({ original, shown }: State, timedBatch: number): [name: string, words: string][] {
  const before = shown?.before ?? original;
  if (!before) return [];
  const after = shown?.after;
  const change = (of: (figures: Figures) => string, size: (figures: Figures) => number): string => {
    if (!after) return of(before);
    const fewer = size(before) && size(after) ? ` (${times(size(before), size(after))})` : "";
    return `${of(before)} → ${of(after)}${fewer}`;
  };
  const untuned = shown?.untuned ?? null;
  const now = !after
    ? ""
    : untuned === null
      ? `; ${accuracyOf(after)} before fine-tuning`
      : ` → ${percent(untuned, 2)} → tuned ${accuracyOf(after)}`;
  const target: [string, string][] = shown
    ? [[titleOf(shown.method), `÷ ${shown.ratio} ${shown.cost}${shown.reached ? "" : ", which it cannot reach"}`]]
    : [];
  return [
    ...target,
    [
      "weights",
      change(
        (figures) => count(figures.weights),
        (figures) => figures.weights,
      ),
    ],
    [
      "multiplications an image",
      change(
        (figures) => count(figures.multiplications),
        (figures) => figures.multiplications,
      ),
    ],
    [`accuracy on ${count(before.predictions.length)} held-out images`, accuracyOf(before) + now],
    [`time of ${timedBatch} images`, change(msOf, (figures) => figures.ms ?? 0)],
  ];
}

/** What to expect of fine-tuning: what it reached elsewhere. */
export function reachedWords(reached: Reached | null): string {
  if (!reached) return "";
  const { method, cost, ratio, epochs, before, untuned, tuned } = reached;
  const what = cost === "weights" ? "weights" : "multiplications";
  return `With ${ratio} times fewer ${what} (${titleOf(method).replace(/ \(.*/, "")}) it reads ${percent(tuned)} of unseen digits after ${epochs} epochs of fine-tuning, and the whole network ${percent(before)}. Before fine-tuning it is ${percent(untuned)}.`;
}

/** What a run ends with. */
export function summaryOf({ method, cost, ratio, before, after, reached }: Shown): string {
  const words = `${times(before.weights, after.weights)} weights, ${times(before.multiplications, after.multiplications)} multiplications: accuracy ${accuracyOf(before)}, now ${accuracyOf(after)} before fine-tuning.`;
  return reached
    ? words
    : `${titleOf(method)} cannot reach ÷ ${ratio} ${cost} here; this is within 5 % of the least it can do. ${words}`;
}

/** How far fine-tuning has come. */
export function tunedWords(curve: readonly Epoch[]): string {
  const last = curve.at(-1);
  return last
    ? `After ${count(last.epoch)} epoch${last.epoch === 1 ? "" : "s"}: ${percent(last.accuracy)} on training images, ${percent(last.validationAccuracy ?? 0)} on others.`
    : "Not tuned yet.";
}

/** Why layers are as they were, in more words than the library's, which does not know what a page shows beside it. */
export function explained(plan: CompressionPlan, layers: readonly CompressedLayer[]): CompressedLayer[] {
  return layers.map((layer) => {
    const [now, ...others] = plan.layers[layer.index]!.candidates;
    if (!layer.staysBecause || !now || others.length === 0) return layer;
    const smaller = others.some(
      ({ weights, multiplications }) => weights < now.weights || multiplications < now.multiplications,
    );
    const reason = smaller ? "other layers save more for what they lose" : "every rank would make it larger";
    return { ...layer, staysBecause: reason };
  });
}

/** A held-out image, and what each network takes it for. */
export interface Picture {
  /** among all digits */
  index: number;
  label: number;
  before: number;
  after: number;
}

export type Sorted = Readonly<Record<Group, readonly Picture[]>>;

/** The held-out images, sorted by whether each network is right. */
export function sortPictures({ labels }: DigitSet, before: ArrayLike<number>, after: ArrayLike<number>): Sorted {
  const [start, stop] = splitDigits(labels.length).test;
  const all = Array.from(labels.subarray(start, stop), (label, at): Picture => {
    return { index: start + at, label, before: before[at]!, after: after[at]! };
  });
  const where = (was: boolean, is: boolean): Picture[] =>
    all.filter((one) => (one.before === one.label) === was && (one.after === one.label) === is);
  return { lost: where(true, false), gained: where(false, true), both: where(false, false), all };
}

export const sortedWords = ({ all, lost, gained, both }: Sorted): string =>
  `Of ${count(all.length)} held-out images ${count(lost.length)} were read right before and are wrong now; ${count(gained.length)} the other way round; both networks are wrong on ${count(both.length)}.`;

/** The images on show, and where they are among those of their group. */
export function pageOf(pictures: readonly Picture[], at: number): { start: number; stop: number; words: string } {
  const { length } = pictures;
  const start = Math.max(0, Math.min(at, Math.floor((length - 1) / PAGE) * PAGE));
  const stop = Math.min(length, start + PAGE);
  return { start, stop, words: length ? `${count(start + 1)} to ${count(stop)} of ${count(length)}` : "None." };
}
