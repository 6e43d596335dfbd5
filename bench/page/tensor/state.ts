/** A tensor of one's own, as values: the file, what is asked for, and what of the result is shown. */

import {
  type Algorithm,
  type Asked,
  METHODS,
  type Method,
  OPTIONS,
  type OptionName,
  obstacleOf,
  obstacleOfSlices,
  takesOption,
} from "../../../src/methods/index.js";
import type { Selected } from "../../../src/report/decomposition.js";
import { count } from "../../../src/report/elements.js";
import {
  axesOf,
  type DecompositionData,
  errorWithout,
  type HostModel,
  hasComponents,
  type ImageChoice,
  imageModes,
  type Turn,
  unturned,
} from "../../../src/report/model.js";
import { bytes } from "../bytes.js";
import type { Change, Moved } from "../part.js";
import { parseInteger } from "../settings.js";
import { IDLE, type Task, type TaskEvent, updateTask } from "../task.js";
import { EXAMPLE } from "./example.js";
import type { Inspection } from "./formats.js";
import type { Member, Slice } from "./pieces.js";

export type DataChoice = "example" | "file";
/** What becomes of entries that are not finite; `stop`: such a tensor is not decomposed; `missing`: they are left out. */
export type Fill = "stop" | "missing" | "mean" | "zero";

export interface Settings {
  data: DataChoice;
  method: string;
  /** empty: the method's first */
  algorithm: string;
  nonnegative: boolean;
  rank: number;
  /** one for all modes, or one each */
  ranks: readonly number[];
  blocks: number;
  seed: number;
  /** null: as many as the algorithm takes by itself */
  starts: number | null;
  sweeps: number | null;
  fill: Fill;
  /** another shape of the same numbers, row-major; null: the file's */
  shape: readonly number[] | null;
  /** `1x2`: modes 1 and 2 as an image; `0f28`: mode 0 folded into 28 rows; empty: no images */
  image: string;
}

/** A file that was opened. */
export interface FileInfo {
  blob: Blob;
  name: string;
  kind: string;
  members: readonly Member[];
  skipped: readonly (readonly [name: string, reason: string])[];
  /** the one that is looked at */
  member: number;
  /** what a pass over its numbers told; null while it goes on */
  inspection: Inspection | null;
}

/** What is wrong, and what to do. */
export interface Problem {
  words: string;
  advice: string;
}

export interface State {
  settings: Settings;
  file: FileInfo | null;
  /** of a file that could not be opened, or a run that failed */
  problem: Problem | null;
  /** errors by sweep of what runs, one list a start */
  running: readonly (readonly number[])[] | null;
  shown: DecompositionData | null;
  /** the components of what is shown, as the user turned them */
  turn: Turn | null;
  selected: Selected | null;
  /** whose components are listed, of a model whose modes have each their own */
  axis: number;
  /** reading a file, and decomposing it */
  reading: Task;
  task: Task;
}

export type Event =
  | Change<Settings>
  | Moved
  | { type: "opened"; file: Omit<FileInfo, "member" | "inspection"> }
  | { type: "member"; member: number }
  | { type: "inspected"; inspection: Inspection }
  | { type: "problem"; problem: Problem | null }
  | { type: "began" }
  | { type: "swept"; sweep: number; error: number }
  | { type: "computed"; data: DecompositionData }
  | { type: "ended" }
  | { type: "turn"; turn: Turn }
  | { type: "select"; selected: Selected | null }
  | { type: "axis"; axis: number }
  | { type: "reading"; task: TaskEvent }
  | { type: "task"; task: TaskEvent };

const bounds = (option: OptionName, max: number) => ({ min: OPTIONS[option].least!, max });
export const BOUNDS = {
  rank: bounds("rank", 200),
  blocks: bounds("blocks", 30),
  starts: bounds("starts", 50),
  seed: bounds("seed", 1e6),
  sweeps: bounds("sweeps", 5000),
} as const;

/** An option that the page has a control for. */
export type Field = keyof typeof BOUNDS | "ranks" | "nonnegative";
const FIELDS: readonly Field[] = ["blocks", "rank", "ranks", "nonnegative", "starts", "seed", "sweeps"];

/** the most memory of the GPU that a method takes, in tensors of X's size, more or less */
const MEMORY = 3;

export const methodOf = (name: string): Method => METHODS.find((method) => method.name === name) ?? METHODS[0]!;

/** The algorithms that there are to choose from: those that keep to what is not negative, or the others. */
export const algorithmsOf = (method: Method, { nonnegative }: Pick<Settings, "nonnegative">): readonly Algorithm[] =>
  takesOption(method, "nonnegative")
    ? method.algorithms.filter(({ takes, isNonnegative }) =>
        nonnegative ? takes.includes("nonnegative") : !isNonnegative,
      )
    : method.algorithms;

/** The algorithm that is set, or the first that suits the other settings. */
export function algorithmFor(method: Method, settings: Pick<Settings, "algorithm" | "nonnegative">): Algorithm {
  const choices = algorithmsOf(method, settings);
  return choices.find(({ name }) => name === settings.algorithm) ?? choices[0]!;
}

/** The controls that there are for a method. */
export const fieldsOf = (method: Method, settings: Pick<Settings, "algorithm" | "nonnegative">): readonly Field[] => {
  const { takes } = algorithmFor(method, settings);
  return FIELDS.filter((field) => (field === "nonnegative" ? takesOption(method, field) : takes.includes(field)));
};

/** What is asked of the method. */
export function askedOf(method: Method, settings: Settings): Asked {
  const fields = fieldsOf(method, settings).filter((field) => settings[field] !== null && settings[field] !== false);
  return Object.fromEntries(fields.map((field) => [field, settings[field]]));
}

/** Whether the method takes entries that are missing. */
const takesMissing = (method: Method, settings: Settings): boolean =>
  algorithmFor(method, settings).takes.includes("missing");

/** Whether nothing of the result is negative, so that negative entries are lost. */
export const isNonnegative = (method: Method, settings: Settings): boolean =>
  !!algorithmFor(method, settings).isNonnegative || (settings.nonnegative && takesOption(method, "nonnegative"));

/** The method's name in the title of a result: `Tucker, st-hosvd, nothing negative`. */
export function titleOf(method: Method, settings: Settings): string {
  const { name } = algorithmFor(method, settings);
  return [
    method.title,
    ...(name === method.algorithms[0].name ? [] : [name]),
    ...(settings.nonnegative && takesOption(method, "nonnegative") ? ["nothing negative"] : []),
  ].join(", ");
}

/** `3, 4, 5` or `3x4x5` as numbers; null where it is no list of positive whole numbers. */
export function parseList(text: string | null, most = 8): number[] | null {
  const parts = (text ?? "").trim().split(/[\s,;x×]+/i);
  const numbers = parts.map((part) => (/^\d+$/.test(part) ? Number(part) : Number.NaN));
  const isRight = numbers.every((value) => Number.isSafeInteger(value) && value > 0);
  return isRight && numbers.length <= most ? numbers : null;
}

const IMAGE = /^(?:[0-7]x[0-7]|[0-7]f[1-9]\d{0,5})$/;

export function parse(query: URLSearchParams): Settings {
  const integer = <T extends number | null>(name: keyof typeof BOUNDS, otherwise: T): number | T =>
    parseInteger(query.get(name), BOUNDS[name].min, BOUNDS[name].max, otherwise);
  const fill = query.get("fill");
  const image = query.get("image") ?? "";
  return {
    data: query.get("data") === "file" ? "file" : "example",
    method: methodOf(query.get("method") ?? "").name,
    algorithm: query.get("algorithm") ?? "",
    nonnegative: query.get("nonnegative") === "true",
    rank: integer("rank", 3),
    ranks: parseList(query.get("ranks")) ?? [3],
    blocks: integer("blocks", 2),
    seed: integer("seed", 0),
    starts: integer("starts", null),
    sweeps: integer("sweeps", null),
    fill: fill === "missing" || fill === "mean" || fill === "zero" ? fill : "stop",
    shape: parseList(query.get("shape")),
    image: IMAGE.test(image) ? image : "",
  };
}

const DEFAULTS = parse(new URLSearchParams());

/** What the URL holds: the choice of data and method, and what differs from the defaults. */
export function written(settings: Settings): Record<string, string> {
  const text = (value: Settings[keyof Settings]): string =>
    Array.isArray(value) ? value.join(",") : String(value ?? "");
  return Object.fromEntries(
    (Object.keys(settings) as (keyof Settings)[])
      .filter((name) => name === "data" || name === "method" || text(settings[name]) !== text(DEFAULTS[name]))
      .map((name) => [name, text(settings[name])]),
  );
}

export const initial = (query: URLSearchParams, left: State | null): State => ({
  ...{ file: null, problem: null, shown: null, turn: null, selected: null, axis: 0 },
  ...left,
  ...{ settings: parse(query), running: null, reading: IDLE, task: IDLE },
});

export function update(state: State, event: Event): State {
  switch (event.type) {
    case "change":
      return { ...state, settings: { ...state.settings, ...event.values } };
    case "moved":
      return { ...state, settings: parse(event.query) };
    case "opened":
      return {
        ...state,
        problem: null,
        file: { ...event.file, member: firstMember(state, event.file), inspection: null },
      };
    case "member":
      return state.file
        ? { ...state, problem: null, file: { ...state.file, member: event.member, inspection: null } }
        : state;
    case "inspected":
      return state.file ? { ...state, file: { ...state.file, inspection: event.inspection } } : state;
    case "problem":
      // what was shown before stays
      return { ...state, problem: event.problem };
    case "began":
      return { ...state, problem: null, running: [] };
    case "swept":
      return state.running ? { ...state, running: withSweep(state.running, event) } : state;
    case "computed":
      return showResult({ ...state, running: null }, event.data);
    case "ended":
      return { ...state, running: null };
    case "turn":
      return { ...state, turn: event.turn };
    case "select":
      return { ...state, selected: event.selected };
    case "axis":
      return { ...state, axis: event.axis, selected: null };
    case "reading":
      return { ...state, reading: updateTask(state.reading, event.task) };
    case "task":
      return { ...state, task: updateTask(state.task, event.task) };
  }
}

/** The member that is looked at first: all slices, where the method takes slices. */
function firstMember({ settings }: State, { members }: Pick<FileInfo, "members">): number {
  const all = methodOf(settings.method).runSlices ? members.findIndex(({ slices }) => slices) : 0;
  return Math.max(0, all);
}

/** The first sweep begins another start. */
function withSweep(curves: readonly (readonly number[])[], { sweep, error }: { sweep: number; error: number }) {
  if (sweep === 1 || !curves.length) return [...curves, [error]];
  return [...curves.slice(0, -1), [...curves.at(-1)!, error]];
}

function showResult(state: State, data: DecompositionData): State {
  const axis = Math.max(
    0,
    axesOf(data.model).findIndex((_, at) => hasComponents(data.model, at)),
  );
  return { ...state, shown: data, turn: unturned(data.model), selected: null, axis };
}

/** The array that the settings ask for, as it would be decomposed. */
export interface Subject {
  name: string;
  shape: readonly number[];
  modes: readonly string[];
  entries: number;
  /** matrices of any numbers of rows, of which `shape` has the most */
  slices: readonly Slice[] | null;
  /** null where the numbers are known to be right */
  inspection: Inspection | null;
}

export function subjectOf({ settings, file }: Pick<State, "settings" | "file">): Subject | null {
  if (settings.data === "example") {
    const { name, shape, modes } = EXAMPLE;
    return { name, shape, modes, entries: product(shape), slices: null, inspection: null };
  }
  const member = file?.members[file.member];
  if (!file || !member) return null;
  const { slices = null } = member;
  const ofSlices = slices && [slices.length, Math.max(...slices.map(({ rows }) => rows)), member.shape[1]!];
  const shape = ofSlices ?? settings.shape ?? member.shape;
  const hasNames = member.modes?.length === shape.length && !settings.shape;
  return {
    name: file.members.length > 1 ? `${file.name}: ${member.name}` : file.name,
    shape,
    modes: slices ? ["slice", "row", "column"] : hasNames ? member.modes! : shape.map((_, mode) => `mode ${mode}`),
    entries: product(slices ? member.shape : shape),
    slices,
    inspection: file.inspection,
  };
}

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** The index, one number a mode, of the entry at a place of the file. */
export function placeOf(at: number, { shape, isColumnMajor }: Pick<Member, "shape" | "isColumnMajor">): number[] {
  const place: number[] = [];
  let rest = at;
  for (const extent of isColumnMajor ? shape : [...shape].reverse()) {
    place.push(rest % extent);
    rest = Math.floor(rest / extent);
  }
  return isColumnMajor ? place : place.reverse();
}

/** Why what is asked for cannot be decomposed; null where it can. */
export function obstacle(state: Pick<State, "settings" | "file">): Problem | null {
  const { settings, file } = state;
  const subject = subjectOf(state);
  const method = methodOf(settings.method);
  if (!subject)
    return settings.data === "file" && file
      ? { words: "The file holds no array that can be decomposed.", advice: "Save one array of numbers in it." }
      : null;
  const member = settings.data === "file" ? file!.members[file!.member]! : null;
  if (member && !subject.slices && settings.shape && product(settings.shape) !== product(member.shape))
    return {
      words: `The shape ${settings.shape.join("×")} has ${count(product(settings.shape))} entries, the array has ${count(product(member.shape))}.`,
      advice: "Give a shape with as many entries, or none.",
    };
  const { shape, inspection, slices } = subject;
  if (slices && !method.runSlices)
    return {
      words: `${titleOf(method, settings)} takes one array.`,
      advice: "Choose one of them above, or PARAFAC2, which takes slices of several lengths.",
    };
  if (product(shape) === 0) return { words: `The array ${shape.join("×")} has no entries.`, advice: "Take another." };
  const asked = askedOf(method, settings);
  const wrong = slices
    ? obstacleOfSlices(
        slices.map(({ name, rows }) => ({ name, shape: [rows, shape[2]!] })),
        asked.rank,
      )
    : obstacleOf(method, shape, asked, subject.modes);
  if (wrong) return { words: `${capital(wrong.words)}.`, advice: `${capital(wrong.advice)}.` };
  if (inspection) {
    const { missing, infinite, firstBad, beyond, zeros, entries } = inspection;
    const bad = missing + infinite;
    if (bad === entries) return { words: "No entry is a finite number.", advice: "Look at how the file was made." };
    if (bad && settings.fill === "stop")
      return {
        words: `${bad === 1 ? "1 entry is" : `${count(bad)} entries are`} not finite (${count(missing)} missing, ${count(infinite)} infinite), the first at [${placeOf(firstBad, member!).join(", ")}].`,
        advice: takesMissing(method, settings)
          ? "Choose above to leave them out, or what is to stand in their place."
          : "Choose above what is to stand in their place, or take a method that leaves them out, as CP.",
      };
    if (bad && settings.fill === "missing" && !takesMissing(method, settings))
      return {
        words: `${titleOf(method, settings)} takes no missing entries.`,
        advice: "Take CP or Tucker, which leave them out, or choose what is to stand in their place.",
      };
    if (beyond)
      return {
        words: `${count(beyond)} entries are beyond 3.4e38, the largest number in f32.`,
        advice: "Multiply the array by a power of ten before you save it.",
      };
    if (zeros + bad === entries)
      return { words: "Every entry is 0: there is nothing to decompose.", advice: "Look at how the file was made." };
  }
  return null;
}

/** Whether the task can start. */
export const canRun = (state: State): boolean => {
  const subject = subjectOf(state);
  const isRead = state.settings.data === "example" || state.file?.inspection;
  return !!subject && !!isRead && state.reading.phase !== "running" && obstacle(state) === null;
};

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const short = (value: number): string => String(Number(value.toPrecision(4)));

/** `4 × 9 × 6`, or `4 slices of 5 to 9 × 6` */
function sizeOf({ shape, slices }: Pick<Subject, "shape" | "slices">): string {
  if (!slices) return shape.join(" × ");
  const [count, most, columns] = shape as [number, number, number];
  const least = Math.min(...slices.map(({ rows }) => rows));
  return `${count} slices of ${least === most ? most : `${least} to ${most}`} × ${columns}`;
}

/** What there is to say of the array, name by name. */
export function factsOfFile(state: Pick<State, "settings" | "file">): [name: string, text: string][] {
  const subject = subjectOf(state);
  const { file, settings } = state;
  if (!subject || settings.data === "example" || !file) return [];
  const member = file.members[file.member]!;
  const { inspection } = file;
  const size = 4 * subject.entries;
  return [
    ["shape", sizeOf(subject)],
    ["type", member.dtype],
    ["entries", count(subject.entries)],
    ...(inspection
      ? ([
          ["missing", count(inspection.missing)],
          ["infinite", count(inspection.infinite)],
          ["zero", count(inspection.zeros)],
          ["negative", count(inspection.negative)],
          [
            "range",
            inspection.largest >= inspection.least ? `${short(inspection.least)} to ${short(inspection.largest)}` : "–",
          ],
          ["norm", short(inspection.norm)],
        ] as [string, string][])
      : []),
    ["memory on the GPU", `${bytes(size)}, up to about ${bytes(MEMORY * size)} while it runs`],
  ];
}

/** The method's options in words. */
export function optionsInWords(settings: Settings, method: Method): string {
  const { defaults } = algorithmFor(method, settings);
  const words = fieldsOf(method, settings)
    .filter((field) => field !== "nonnegative")
    .map((field) => {
      if (field === "ranks")
        return `${settings.ranks.length === 1 ? "rank for every mode" : "ranks"} ${settings.ranks.join("×")}`;
      const value = settings[field] ?? defaults[field];
      return field === "sweeps" ? `at most ${value} sweeps` : `${field} ${value}`;
    });
  const { fill } = settings;
  return [
    ...words,
    ...(fill === "stop" || settings.data === "example"
      ? []
      : [
          fill === "missing"
            ? "entries that are not finite left out"
            : `entries that are not finite as ${fill === "mean" ? "the mean" : "0"}`,
        ]),
  ].join(", ");
}

/** Whether the tensor has entries to leave out. */
export const leavesOut = ({ settings: { data, fill }, file }: Pick<State, "settings" | "file">): boolean => {
  const { missing = 0, infinite = 0 } = file?.inspection ?? {};
  return data === "file" && fill === "missing" && missing + infinite > 0;
};

/** The number for entries that are not finite; null where such an array is refused, or has them left out. */
export const fillValue = ({ settings: { fill }, file }: Pick<State, "settings" | "file">): number | null =>
  fill === "stop" || fill === "missing" ? null : fill === "zero" ? 0 : (file?.inspection?.mean ?? 0);

/** What the setting `image` means for this model; null: no images. */
export function imageOf(
  { image }: Pick<Settings, "image">,
  model: HostModel,
  shape: readonly number[],
): ImageChoice | null {
  const [a, b] = image.split(/[xf]/).map(Number) as [number, number];
  if (image.includes("x")) {
    const isThere = imageModes(model, shape).some(([i, j]) => (i === a && j === b) || (i === b && j === a));
    return isThere ? { kind: "pair", modes: [a, b] } : null;
  }
  const canFold = (model.kind === "kruskal" || model.kind === "tucker") && a < shape.length && shape[a]! % b === 0;
  return image && canFold ? { kind: "fold", mode: a, rows: b } : null;
}

/** The choices of images that the result on show has. */
export function imageChoices(
  model: HostModel,
  shape: readonly number[],
  modes: readonly string[],
): [value: string, words: string][] {
  const folds =
    model.kind === "kruskal" || model.kind === "tucker"
      ? shape.flatMap((extent, mode) => (extent >= 16 && rowsFor(extent) > 1 ? [mode] : []))
      : [];
  return [
    ["", "no images"],
    ...imageModes(model, shape).map(([i, j]): [string, string] => [`${i}x${j}`, `${modes[i]} × ${modes[j]}`]),
    ...folds.map((mode): [string, string] => [`${mode}f${rowsFor(shape[mode]!)}`, `${modes[mode]}, folded`]),
  ];
}

/** The divisor next to the square root, for an image that is nearly a square. */
export function rowsFor(extent: number): number {
  let rows = Math.floor(Math.sqrt(extent));
  while (extent % rows) rows--;
  return rows;
}

/** The error of the components on show; null where it cannot be told. */
export const shownError = ({ shown, turn }: Pick<State, "shown" | "turn">): number | null =>
  shown && turn ? errorWithout(shown, turn.hidden) : null;

/** How a run ended, in words. */
export function endingOf({
  converged,
  stalled,
  aborted,
  errors,
}: {
  converged: boolean;
  stalled: boolean;
  aborted: boolean;
  errors: readonly number[];
}): string {
  if (!errors.length) return aborted ? "stopped" : "done";
  const how = aborted ? "stopped" : converged ? "converged" : stalled ? "as far as f32 can tell" : "out of sweeps";
  return `${how} after ${errors.length} ${errors.length === 1 ? "sweep" : "sweeps"}`;
}
