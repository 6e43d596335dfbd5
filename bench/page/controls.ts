/** Labelled controls, and a bar that runs and stops work. They hold no state: what they show comes in, what the user does goes out. */
import { html, nothing, type TemplateResult } from "lit-html";
import { live } from "lit-html/directives/live.js";
import { ALL_DIGITS } from "../../src/experiments/digits.js";
import { nearestInteger, toggleDigit } from "./settings.js";
import type { Task } from "./task.js";

/** sets of digits that the thesis takes */
const PRESETS: readonly (readonly [string, readonly number[]])[] = [
  ["3, 4, 7", [3, 4, 7]],
  ["3, 4, 9", [3, 4, 9]],
  ["all", ALL_DIGITS],
];

const textOf = (event: Event): string => (event.target as HTMLInputElement | HTMLSelectElement).value;

/** Sets that the thesis takes, and a button a digit. */
export function digitControl(
  digits: readonly number[],
  onChange: (digits: number[]) => void,
  disabled = false,
): TemplateResult {
  const button = (text: string, next: readonly number[], pressed: boolean, digit?: number): TemplateResult => html`
    <button
      type="button"
      class=${digit === undefined ? nothing : "digit"}
      aria-label=${digit === undefined ? nothing : `digit ${digit}`}
      aria-pressed=${String(pressed)}
      ?disabled=${disabled}
      @click=${() => next !== digits && onChange([...next])}
    >${text}</button>`;
  const singles = ALL_DIGITS.map((digit) =>
    button(String(digit), toggleDigit(digits, digit), digits.includes(digit), digit),
  );
  return html`
    <div class="control wide" role="group" aria-label="Digits">
      <span class="name" aria-hidden="true">Digits</span>
      <span class="choices">${PRESETS.map(([name, set]) => button(name, set, set.join() === digits.join()))}</span>
      <span class="choices digits">${singles}</span>
    </div>`;
}

export function selectControl<T extends string | number>(
  name: string,
  options: readonly (readonly [T, string])[],
  value: T,
  onChange: (value: T) => void,
  disabled = false,
): TemplateResult {
  // the URL may ask for what the list does not offer
  const all = options.some(([offered]) => offered === value) ? options : [...options, [value, String(value)] as const];
  const choose = (event: Event): void => {
    const text = textOf(event);
    onChange(all.find(([offered]) => String(offered) === text)![0]);
  };
  return html`
    <label class="control">
      <span class="name">${name}</span>
      <select ?disabled=${disabled} @change=${choose}>
        ${all.map(([offered, text]) => html`<option value=${offered} .selected=${live(offered === value)}>${text}</option>`)}
      </select>
    </label>`;
}

export function numberControl(
  name: string,
  bounds: { min: number; max: number },
  value: number,
  onChange: (value: number) => void,
  disabled = false,
): TemplateResult {
  const change = (event: Event): void => {
    const input = event.target as HTMLInputElement;
    const next = nearestInteger(input.value, bounds, value);
    // `7.2` may mean the 7 that is set already: nothing is drawn then, so the text is put right here
    input.value = String(next);
    onChange(next);
  };
  return html`
    <label class="control">
      <span class="name">${name}</span>
      <input
        type="number"
        min=${bounds.min}
        max=${bounds.max}
        step="1"
        ?disabled=${disabled}
        .value=${live(String(value))}
        @change=${change}
      />
    </label>`;
}

/** A line of text; `onChange` is told when it is done, as by Enter. */
export function textControl(
  name: string,
  value: string,
  placeholder: string,
  onChange: (text: string) => void,
): TemplateResult {
  return html`
    <label class="control">
      <span class="name">${name}</span>
      <input
        type="text"
        size=${Math.min(60, Math.max(12, value.length + 1, placeholder.length + 1))}
        autocomplete="off"
        placeholder=${placeholder}
        .value=${live(value)}
        @change=${(event: Event) => onChange(textOf(event))}
      />
    </label>`;
}

/** Links to what a part can work on. */
export const choiceLinks = <T extends string>(
  verb: string,
  choices: readonly (readonly [id: T, text: string, href: string])[],
  current: T,
): TemplateResult => html`
  <div class="control wide" role="group" aria-label=${`What to ${verb.toLowerCase()}`}>
    <span class="name" aria-hidden="true">${verb}</span>
    <span class="choices links">${choices.map(
      ([id, text, href]) => html`<a href=${href} aria-current=${id === current ? "true" : nothing}>${text}</a>`,
    )}</span>
  </div>`;

type Data = "digits" | "example" | "file";
/** What can be decomposed. */
export const dataLinks = (
  current: Data,
  hrefOf: (data: "example" | "file") => string = (data) => `#tensor?data=${data}`,
): TemplateResult =>
  choiceLinks<Data>(
    "Decompose",
    [
      ["digits", "MNIST digits", "#decompose"],
      ["example", "A generated example", hrefOf("example")],
      ["file", "Your own file", hrefOf("file")],
    ],
    current,
  );

type Network = "lenet" | "example" | "file";
/** What can be compressed. */
export const networkLinks = (
  current: Network,
  hrefOf: (data: "example" | "file") => string = (data) => `#onnx?data=${data}`,
): TemplateResult =>
  choiceLinks<Network>(
    "Compress",
    [
      ["lenet", "A LeNet, tuned here", "#compress"],
      ["example", "An ONNX example", hrefOf("example")],
      ["file", "Your own ONNX file", hrefOf("file")],
    ],
    current,
  );

interface RangeOptions {
  min: number;
  max: number;
  /** 1 by default */
  step?: number;
  /** writes the number for the page; `String` by default */
  format?: (value: number) => string;
  disabled?: boolean;
}

/** A slider. `onSlide` is told while it moves, `onChange` where it comes to rest. */
export function rangeControl(
  name: string,
  { min, max, step = 1, format, disabled = false }: RangeOptions,
  value: number,
  onSlide: (value: number) => void,
  onChange: (value: number) => void,
): TemplateResult {
  const words = format?.(value) ?? String(value);
  return html`
    <label class="control range">
      <span class="name">${name} <output .textContent=${words}></output></span>
      <input
        type="range"
        min=${min}
        max=${max}
        step=${step}
        aria-valuetext=${format ? words : nothing}
        ?disabled=${disabled}
        .value=${live(String(value))}
        @input=${(event: Event) => onSlide(Number(textOf(event)))}
        @change=${(event: Event) => onChange(Number(textOf(event)))}
      />
    </label>`;
}

export function checkControl(
  name: string,
  value: boolean,
  onChange: (value: boolean) => void,
  disabled = false,
): TemplateResult {
  const change = (event: Event): void => onChange((event.target as HTMLInputElement).checked);
  return html`
    <label class="control check">
      <input type="checkbox" ?disabled=${disabled} .checked=${live(value)} @change=${change} />${name}
    </label>`;
}

interface TaskBarOptions {
  id?: string;
  /** what the button says, `Run` by default */
  name?: string;
  disabled?: boolean;
  onRun: () => void;
  onStop: () => void;
}

/** A button that runs and stops, a progress bar, and a line that says how far things are. */
export function taskBar(
  task: Task,
  { id, name = "Run", disabled = false, onRun, onStop }: TaskBarOptions,
): TemplateResult {
  const running = task.phase === "running";
  // a screen reader is told the end, not every sweep
  return html`
    <div class="runner" id=${id ?? nothing} data-state=${live(task.phase)} data-ended=${task.ended || nothing}>
      <button
        type="button"
        class="run"
        ?disabled=${disabled}
        @click=${running ? onStop : onRun}
        .textContent=${running ? "Stop" : name}
      ></button>
      <progress
        max="1"
        .value=${task.done}
        aria-label=${name === "Run" ? "Progress" : `Progress: ${name}`}
      ></progress>
      <p class="status" role="status" aria-live=${running ? "off" : "polite"} .textContent=${task.words}></p>
    </div>`;
}

/** Words above and a figure or a table below, in a box. */
export const card = (title: string, words: string, ...content: unknown[]): TemplateResult =>
  html`<section class="card"><h2>${title}</h2><p>${words}</p>${content}</section>`;

/** A box that scrolls by itself where its contents are too wide. */
export const scrolling = (label: string, content: unknown): TemplateResult =>
  html`<div class="scroll" tabindex="0" role="group" aria-label=${label}>${content}</div>`;

/** A number with its name above it. */
export const fact = (name: string, words: string): TemplateResult => html`<div><dt>${name}</dt><dd>${words}</dd></div>`;

/** Hands a file to the browser to keep. */
export function saveFile(name: string, content: BlobPart, type: string): void {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  [link.href, link.download] = [url, name];
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
