/** Labelled controls, and a bar that runs and stops work. */

import { DeviceLostError } from "../../src/index.js";
import { h } from "../../src/report/elements.js";

export const ALL = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const PRESETS: readonly (readonly [string, readonly number[]])[] = [
  ["3, 4, 7", [3, 4, 7]],
  ["3, 4, 9", [3, 4, 9]],
  ["all", ALL],
];

/** `347` as [3, 4, 7]; null where it is no set of at least two digits. */
export function parseDigits(text: string | null): number[] | null {
  const digits = [...new Set(text ?? "")].map(Number).sort((a, b) => a - b);
  return digits.length >= 2 && digits.every((digit) => ALL.includes(digit)) ? digits : null;
}

/** how many of the 10,000 are looked at */
export const IMAGES = ["1000", "3000", "10000"] as const;

/** A whole number of the URL, where it is one within these bounds. */
export function whole(text: string | null, least: number, most: number, otherwise: number): number {
  const value = Number(text ?? Number.NaN);
  return Number.isInteger(value) && value >= least && value <= most ? value : otherwise;
}

export interface Control<T> {
  element: HTMLElement;
  set(value: T): void;
}

/** Sets that the thesis takes, and a button a digit. */
export function digitControl(onChange: (digits: number[]) => void): Control<readonly number[]> {
  let chosen: readonly number[] = [];
  const presets = PRESETS.map(([name, digits]) => {
    const button = h("button", { type: "button" }, name);
    button.addEventListener("click", () => onChange([...digits]));
    return { button, digits };
  });
  const singles = ALL.map((digit) => {
    const button = h("button", { type: "button", class: "digit", "aria-label": `digit ${digit}` }, String(digit));
    button.addEventListener("click", () => {
      const next = chosen.includes(digit) ? chosen.filter((other) => other !== digit) : [...chosen, digit];
      // a single class has nothing to tell apart
      if (next.length >= 2) onChange(next.sort((a, b) => a - b));
    });
    return button;
  });
  const element = h(
    "div",
    { class: "control wide", role: "group", "aria-label": "Digits" },
    h("span", { class: "name", "aria-hidden": "true" }, "Digits"),
    h("span", { class: "choices" }, ...presets.map(({ button }) => button)),
    h("span", { class: "choices digits" }, ...singles),
  );
  return {
    element,
    set(digits) {
      chosen = digits;
      singles.forEach((button, digit) => {
        button.setAttribute("aria-pressed", String(digits.includes(digit)));
      });
      for (const preset of presets)
        preset.button.setAttribute("aria-pressed", String(preset.digits.join() === digits.join()));
    },
  };
}

export function selectControl<T extends string>(
  name: string,
  options: readonly (readonly [T, string])[],
  onChange: (value: T) => void,
): Control<T> {
  const select = h("select", {}, ...options.map(([value, text]) => h("option", { value }, text)));
  select.addEventListener("change", () => onChange(select.value as T));
  return {
    element: h("label", { class: "control" }, h("span", { class: "name" }, name), select),
    set: (value) => {
      // the URL may ask for what the list does not offer
      if (![...select.options].some((option) => option.value === value)) select.append(h("option", { value }, value));
      select.value = value;
    },
  };
}

export function numberControl(
  name: string,
  { min, max }: { min: number; max: number },
  onChange: (value: number) => void,
): Control<number> {
  const input = h("input", { type: "number", min: String(min), max: String(max), step: "1" });
  let value = min;
  input.addEventListener("change", () => {
    value = Math.min(max, Math.max(min, Math.round(Number(input.value) || value)));
    input.value = String(value);
    onChange(value);
  });
  return {
    element: h("label", { class: "control" }, h("span", { class: "name" }, name), input),
    set: (given) => {
      value = given;
      input.value = String(given);
    },
  };
}

export interface RangeControl extends Control<number> {
  setMost(most: number): void;
}

interface RangeOptions {
  min: number;
  max: number;
  /** 1 by default */
  step?: number;
  /** the number as people read it */
  format?: (value: number) => string;
}

/** A slider. `onInput` is told while it moves, at most once a frame; `onChange` where it comes to rest. */
export function rangeControl(
  name: string,
  { min, max, step = 1, format = String }: RangeOptions,
  onInput: (value: number) => void,
  onChange: (value: number) => void,
): RangeControl {
  const input = h("input", { type: "range", min: String(min), max: String(max), step: String(step) });
  const output = h("output");
  const tell = (): void => {
    output.textContent = format(Number(input.value));
    // a screen reader reads the bare number by itself
    if (format !== String) input.setAttribute("aria-valuetext", output.textContent);
  };
  let frame = 0;
  input.addEventListener("input", () => {
    tell();
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => onInput(Number(input.value)));
  });
  input.addEventListener("change", () => onChange(Number(input.value)));
  return {
    element: h("label", { class: "control range" }, h("span", { class: "name" }, `${name} `, output), input),
    set(value) {
      input.value = String(value);
      tell();
    },
    setMost(most) {
      input.max = String(most);
      tell();
    },
  };
}

export function checkControl(name: string, onChange: (value: boolean) => void): Control<boolean> {
  const input = h("input", { type: "checkbox" });
  input.addEventListener("change", () => onChange(input.checked));
  return {
    element: h("label", { class: "control check" }, input, name),
    set: (value) => {
      input.checked = value;
    },
  };
}

/** Told by the work as it goes: a share of 0 to 1, and words. */
export type Tell = (done: number, words: string) => void;

export interface Runner {
  element: HTMLElement;
  /** Stops what runs, waits for its end, then runs this. Later calls replace those that still wait. */
  run(work: (signal: AbortSignal, tell: Tell) => Promise<string>): Promise<void>;
  /** resolves when nothing runs any more */
  stop(): Promise<void>;
  /** Stops, and says what needed no run. */
  settle(words: string): Promise<void>;
  /** whether there is anything to run at all */
  enable(possible: boolean): void;
}

/** A button that runs and stops, a progress bar, and a line that says how far things are. */
export function runner(onRun: () => void, fail: (error: unknown) => void, name = "Run"): Runner {
  const button = h("button", { type: "button", class: "run" }, name);
  const progress = h("progress", {
    max: "1",
    value: "0",
    "aria-label": name === "Run" ? "Progress" : `Progress: ${name}`,
  });
  const status = h("p", { class: "status", role: "status" });
  const element = h("div", { class: "runner", "data-state": "idle" }, button, progress, status);
  let controller: AbortController | null = null;
  let running: Promise<void> = Promise.resolve();
  let turn = 0;
  let ended = 0;
  button.addEventListener("click", () => {
    if (controller) controller.abort();
    else onRun();
  });
  const stop = (): Promise<void> => {
    controller?.abort();
    return running;
  };
  return {
    element,
    stop() {
      turn++;
      return stop();
    },
    enable(possible) {
      button.disabled = !possible;
    },
    async settle(words) {
      const own = ++turn;
      await stop();
      if (own !== turn) return;
      element.dataset.state = "done";
      progress.value = 1;
      status.textContent = words;
    },
    async run(work) {
      const own = ++turn;
      await stop();
      if (own !== turn) return;
      const mine = new AbortController();
      controller = mine;
      element.dataset.state = "running";
      // a screen reader is told the end, not every sweep
      status.setAttribute("aria-live", "off");
      button.textContent = "Stop";
      progress.value = 0;
      const tell: Tell = (done, words) => {
        progress.value = Math.min(1, done);
        status.textContent = words;
      };
      running = (async () => {
        let state = "done";
        try {
          const words = await work(mine.signal, tell);
          status.setAttribute("aria-live", "polite");
          status.textContent = words;
          if (mine.signal.aborted) state = "stopped";
        } catch (error) {
          state = mine.signal.aborted ? "stopped" : "failed";
          status.setAttribute("aria-live", "polite");
          status.textContent = mine.signal.aborted ? "Stopped." : (error as Error).message;
          if (!mine.signal.aborted || error instanceof DeviceLostError) fail(error);
        }
        progress.value = state === "done" ? 1 : progress.value;
        controller = null;
        button.textContent = name;
        element.dataset.state = state;
        element.dataset.ended = String(++ended);
      })();
      await running;
    },
  };
}

/** Hands a file to the browser to keep. */
export function saveFile(name: string, content: BlobPart, type: string): void {
  const url = URL.createObjectURL(new Blob([content], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
