/** Images, what a decomposition keeps of them, and its components. */
import { PIXELS } from "../experiments/digits.js";
import { type Colour, count, diverging, drawImages, drawLater, grey, h, percent } from "./elements.js";

const GRID = 10;

/** Images and what a decomposition keeps of them, 784 numbers an image in pixels / 255. */
export interface Approximation {
  originals: Float32Array;
  approximations: Float32Array;
  /** what each image shows */
  digits: readonly number[];
  rank: number;
  /** where the first image lies among all, counted from 0; 0 by default */
  start?: number;
}

export interface ImageGrids {
  element: HTMLElement;
  set(data: Approximation): void;
  /** Marks the image at this place in the grids. */
  pick(index: number): void;
}

/** Up to a hundred originals, approximations and residuals side by side, with one mark on all three. */
export function imageGrids(which: string, onPick?: (index: number) => void): ImageGrids {
  const picked = h("div", { class: "picked", "aria-live": "polite" });
  const frames: HTMLElement[] = [];
  let current = 0;
  let data: Approximation | null = null;
  const pick = (index: number): void => {
    if (!data) return;
    current = Math.min(data.digits.length - 1, Math.max(0, index));
    for (const frame of frames) {
      frame.style.left = `${(current % GRID) * 10}%`;
      frame.style.top = `${Math.floor(current / GRID) * 10}%`;
    }
    let [lost, all] = [0, 0];
    for (let pixel = current * PIXELS; pixel < (current + 1) * PIXELS; pixel++) {
      lost += (data.originals[pixel]! - data.approximations[pixel]!) ** 2;
      all += data.originals[pixel]! ** 2;
    }
    picked.textContent = `Image ${count((data.start ?? 0) + current + 1)}: a ${data.digits[current]}. ${percent(lost / all, 0)} of its energy is in the residual.`;
  };
  const chosen = (index: number): void => {
    pick(index);
    onPick?.(current);
  };
  const grid = (
    words: string,
    colour: Colour,
    shown: (data: Approximation) => [name: string, values: Float32Array],
  ) => {
    const frame = h("div", { class: "frame" });
    frames.push(frame);
    const canvas = h("canvas", { role: "img" });
    const box = h("div", { class: "grid", tabindex: "0", role: "group" }, canvas, frame);
    const title = h("strong");
    const point = (event: PointerEvent): void => {
      const { left, top, width, height } = box.getBoundingClientRect();
      const column = Math.floor((GRID * (event.clientX - left)) / width);
      chosen(GRID * Math.floor((GRID * (event.clientY - top)) / height) + Math.min(GRID - 1, Math.max(0, column)));
    };
    box.addEventListener("pointermove", point);
    box.addEventListener("pointerdown", point);
    box.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -GRID, ArrowDown: GRID }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      chosen(current + step);
    });
    return {
      figure: h("figure", {}, box, h("figcaption", {}, title, ` ${words}`)),
      draw() {
        const [name, values] = shown(data!);
        title.textContent = name;
        box.setAttribute("aria-label", `${name}; arrow keys move the mark`);
        drawImages(values, data!.digits.length, GRID, colour, name, canvas);
      },
    };
  };
  const original = grid(which, grey, ({ originals }) => ["Original", originals]);
  const approximation = grid(
    "what the loadings keep; below 0 is drawn black, above 1 white",
    grey,
    ({ rank, approximations }) => [`Rank ${rank}`, approximations],
  );
  const residual = grid(
    "original − approximation: orange is missing, blue is too much",
    diverging,
    ({ originals, approximations }) => ["Residual", originals.map((value, index) => value - approximations[index]!)],
  );
  const grids = h("div", { class: "grids" }, original.figure, approximation.figure, residual.figure);
  return {
    element: h("div", {}, grids, picked),
    pick,
    set(next) {
      const sameOriginals = data?.originals === next.originals;
      data = next;
      // each grid in a task of its own
      if (!sameOriginals) drawLater(original.draw);
      drawLater(approximation.draw);
      drawLater(residual.draw);
      pick(current);
    },
  };
}

/** What every component looks like, each on its own scale. */
export function componentImages(values: ArrayLike<number>, rank: number): HTMLElement[] {
  return Array.from({ length: rank }, (_, r) => {
    const image = Float32Array.from({ length: PIXELS }, (__, pixel) => values[r * PIXELS + pixel]!);
    const largest = image.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
    const canvas = drawImages(
      image.map((v) => v / largest),
      1,
      1,
      diverging,
      `component ${r + 1}`,
    );
    return h("figure", {}, canvas, h("figcaption", {}, String(r + 1)));
  });
}
