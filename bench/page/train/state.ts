/** Train, as values: what is asked for, and how far the two networks are. */
import { ALL_DIGITS } from "../../../src/experiments/digits.js";
import type { Epoch } from "../../../src/index.js";
import { count, nameOf, percent } from "../../../src/report/elements.js";
import type { AccuracyPoint } from "../../../src/report/networks.js";
import type { Change, Moved } from "../part.js";
import { parseDigits, parseInteger } from "../settings.js";
import { IDLE, type Task, type TaskEvent, updateTask } from "../task.js";
import type { Answer, NetworkName, RecipeName, Trained, TrainedNetwork } from "./training.js";

export const NETWORKS: readonly NetworkName[] = ["pixels", "loadings"];
/** points of a line in the chart */
const POINTS = 150;

export const RECIPES: readonly (readonly [RecipeName, string])[] = [
  ["fixed", "as tuned here"],
  ["slides", "as in the original study"],
];
export const NOTES: Record<RecipeName, string> = {
  fixed:
    "Loadings standardised by the training set, cross-entropy, shuffled batches of 100, Adam (Kingma & Ba 2015); of six starts the best after three epochs goes on: with three hidden neurons half of them never learn to tell the third class apart.",
  slides:
    "As an MSc thesis trained them (Rasmussen 2020), with which this library began: loadings of about 0.01 as they are, softmax twice, plain SGD, no shuffling. The second softmax takes the gradient away, and some starts never leave chance: try other seeds.",
};
/** bounds of the controls and of the numbers in the URL */
export const BOUNDS = {
  rank: { min: 1, max: 50 },
  hidden: { min: 1, max: 64 },
  full: { min: 1, max: 64 },
  epochs: { min: 0, max: 2000 },
  seed: { min: 0, max: 1e6 },
} as const;

export interface Settings {
  digits: readonly number[];
  /** how many of the 10,000 are looked at */
  images: number;
  recipe: RecipeName;
  rank: number;
  /** hidden neurons of the network on loadings and of the one on pixels */
  hidden: number;
  full: number;
  centred: boolean;
  /** 0: as many as the recipe takes */
  epochs: number;
  seed: number;
}

/** What is known of the data: once they are decomposed. */
export type Summary = Pick<Trained, "relativeError" | "images">;

export interface State {
  settings: Settings;
  /** accuracy by epoch of the networks that have begun to learn */
  curves: Readonly<Partial<Record<NetworkName, readonly Epoch[]>>>;
  /** the networks that have learnt */
  finished: Readonly<Partial<Record<NetworkName, TrainedNetwork>>>;
  summary: Summary | null;
  /** what is on the pad, as MNIST would have it, in pixels / 255; null where nothing is */
  drawing: Float32Array | null;
  /** what the networks say of it */
  answer: Answer | null;
  /** the same for those who do not see the table, once the pen rests */
  said: string;
  /** the networks come from another machine, since there is no GPU here: they answer nothing, and nothing can be set */
  recorded: boolean;
  task: Task;
}

export type Event =
  | Change<Settings>
  | Moved
  | { type: "cleared" }
  | { type: "learnt"; network: NetworkName; curve: readonly Epoch[] }
  | { type: "finished"; network: TrainedNetwork; summary: Summary }
  | { type: "recorded"; settings: Settings; networks: readonly TrainedNetwork[]; summary: Summary }
  | { type: "drawn"; drawing: Float32Array | null }
  | { type: "answered"; answer: Answer | null }
  | { type: "rested" }
  | { type: "task"; task: TaskEvent };

/** The thesis' sizes. */
export const sizesFor = (digits: readonly number[]): Pick<Settings, "rank" | "hidden" | "full"> =>
  digits.length === ALL_DIGITS.length ? { rank: 15, hidden: 15, full: 10 } : { rank: 3, hidden: 5, full: 3 };

export function parse(query: URLSearchParams): Settings {
  const digits = parseDigits(query.get("digits")) ?? [3, 4, 7];
  const sizes = sizesFor(digits);
  const bounded = (name: keyof typeof BOUNDS, otherwise: number): number =>
    parseInteger(query.get(name), BOUNDS[name].min, BOUNDS[name].max, otherwise);
  return {
    digits,
    images: parseInteger(query.get("images"), 100, 10_000, 10_000),
    recipe: query.get("recipe") === "slides" ? "slides" : "fixed",
    rank: bounded("rank", sizes.rank),
    hidden: bounded("hidden", sizes.hidden),
    full: bounded("full", sizes.full),
    centred: query.get("centred") === "1",
    epochs: bounded("epochs", 0),
    seed: bounded("seed", 1),
  };
}

export const written = (settings: Settings): Record<string, string> => ({
  digits: settings.digits.join(""),
  images: String(settings.images),
  recipe: settings.recipe,
  rank: String(settings.rank),
  hidden: String(settings.hidden),
  full: String(settings.full),
  ...(settings.centred ? { centred: "1" } : {}),
  ...(settings.epochs ? { epochs: String(settings.epochs) } : {}),
  ...(settings.seed === 1 ? {} : { seed: String(settings.seed) }),
});

export const initial = (query: URLSearchParams): State => ({
  settings: parse(query),
  curves: {},
  finished: {},
  summary: null,
  drawing: null,
  answer: null,
  said: "",
  recorded: false,
  task: IDLE,
});

export function update(state: State, event: Event): State {
  switch (event.type) {
    case "change": {
      const { values } = event;
      // the thesis has other sizes for other digits
      const sizes = values.digits ? sizesFor(values.digits) : {};
      return { ...state, settings: { ...state.settings, ...sizes, ...values } };
    }
    case "moved":
      return { ...state, settings: parse(event.query) };
    case "cleared":
      return { ...state, curves: {}, finished: {}, summary: null, answer: null };
    case "learnt":
      return { ...state, curves: { ...state.curves, [event.network]: event.curve } };
    case "finished":
      return withNetwork({ ...state, summary: event.summary }, event.network);
    case "recorded": {
      const { settings, summary, networks } = event;
      return networks.reduce(withNetwork, { ...state, settings, summary, recorded: true });
    }
    case "drawn":
      return { ...state, drawing: event.drawing };
    case "answered":
      return { ...state, answer: event.answer };
    case "rested":
      return { ...state, said: wordsOf(state) };
    case "task":
      return { ...state, task: updateTask(state.task, event.task) };
  }
}

const withNetwork = (state: State, network: TrainedNetwork): State => ({
  ...state,
  curves: { ...state.curves, [network.name]: network.curve },
  finished: { ...state.finished, [network.name]: network },
});

/** What each network takes the drawing for. */
function wordsOf({ answer, settings }: State): string {
  if (!answer) return "";
  return NETWORKS.map((name) => {
    const most = Math.max(...answer[name]);
    return `${settings.digits[answer[name].indexOf(most)]} (${percent(most, 0)}) on ${name}`;
  }).join(", ");
}

/** The lines of the chart, thinned out where epochs are many. */
export function pointsOf(curves: State["curves"]): AccuracyPoint[] {
  return NETWORKS.flatMap((network) => {
    const curve = curves[network] ?? [];
    const step = Math.max(1, Math.ceil(curve.length / POINTS));
    return curve
      .filter((_, index) => index % step === 0 || index === curve.length - 1)
      .flatMap(({ epoch, accuracy, validationAccuracy }) => [
        { epoch, accuracy, network, set: "training" as const },
        { epoch, accuracy: validationAccuracy ?? 0, network, set: "validation" as const },
      ]);
  });
}

/** What the chart says to those who do not see it. */
export function chartWords(curves: State["curves"]): string {
  const ends = NETWORKS.flatMap((name) => {
    const last = curves[name]?.at(-1);
    return last ? [`${name} ${percent(last.validationAccuracy ?? 0)}`] : [];
  });
  return `Accuracy against epoch. Validation so far: ${ends.join(", ") || "none"}.`;
}

/** What is said of the data above the table. */
export function aboutWords({ settings, summary }: State): string {
  if (!summary) return "Numbers come as the networks learn.";
  const { train, validation, test } = summary.images;
  const parts = `${nameOf(settings.digits)}: ${count(train)} images to train on, ${count(validation)} to watch, ${count(test)} held out.`;
  return Number.isNaN(summary.relativeError)
    ? parts
    : `${parts} Rank ${settings.rank} leaves a relative error of ${summary.relativeError.toFixed(4)}.`;
}

/** Rows of the table: a name, and what there is to say of a network. */
export const ROWS: readonly (readonly [string, (network: TrainedNetwork) => string])[] = [
  ["layout", ({ layout }) => layout],
  ["parameters", ({ parameters }) => count(parameters)],
  ["multiplications an image", ({ multiplications }) => count(multiplications)],
  ["seconds", ({ seconds }) => seconds.toFixed(2)],
  ["epochs", ({ curve }) => count(curve.length)],
  ["validation accuracy", ({ curve }) => percent(curve.at(-1)?.validationAccuracy ?? 0)],
  ["held-out accuracy", ({ testAccuracy }) => percent(testAccuracy)],
];
