/** A pad to draw a digit on, by mouse, finger or keys. */
import { PIXELS } from "../../src/experiments/digits.js";
import { h } from "../../src/report/elements.js";

const SIDE = 28;
/** canvas pixels a side */
const SIZE = 280;
/** MNIST's digits are fitted into 20×20 and lie with their centre of mass in the middle (LeCun et al. 1998). */
const FITTED = 20;

export interface Pad {
  element: HTMLElement;
  /** the drawing as MNIST would have it, in pixels / 255; null where nothing is drawn */
  image(): Float32Array | null;
  /** puts an image on the pad */
  load(image: Float32Array): void;
  clear(): void;
}

/** @param onChange told after every stroke's piece, at most once a frame */
export function drawingPad(onChange: () => void): Pad {
  const canvas = h("canvas", {
    class: "pad",
    tabindex: "0",
    role: "img",
    "aria-label":
      "Drawing pad. Draw with mouse or finger; with keys: arrows move the pen, space puts it down or lifts it, Escape clears.",
  });
  canvas.width = canvas.height = SIZE;
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  let frame = 0;
  let empty = true;
  /** an image that was put here is passed on as it is */
  let loaded: Float32Array | null = null;
  const changed = (): void => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(onChange);
  };
  const clear = (): void => {
    context.fillStyle = "black";
    context.fillRect(0, 0, SIZE, SIZE);
    empty = true;
    loaded = null;
    changed();
  };
  const line = (from: [number, number], to: [number, number]): void => {
    context.strokeStyle = "white";
    context.lineWidth = SIZE / 13;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(to[0], to[1] + 0.01);
    context.stroke();
    empty = false;
    loaded = null;
    changed();
  };
  const at = (event: PointerEvent): [number, number] => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    return [((event.clientX - left) / width) * SIZE, ((event.clientY - top) / height) * SIZE];
  };
  let pen: [number, number] | null = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pen = at(event);
    line(pen, pen);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pen) return;
    const pieces = event.getCoalescedEvents?.() ?? [];
    for (const piece of pieces.length ? pieces : [event]) {
      const next = at(piece);
      line(pen, next);
      pen = next;
    }
  });
  for (const name of ["pointerup", "pointercancel"] as const)
    canvas.addEventListener(name, () => {
      pen = null;
    });
  // with keys
  let cursor: [number, number] = [SIZE / 2, SIZE / 4];
  let down = false;
  const cross = h("div", { class: "cross", hidden: "" });
  const showCross = (): void => {
    cross.style.left = `${(100 * cursor[0]) / SIZE}%`;
    cross.style.top = `${(100 * cursor[1]) / SIZE}%`;
    cross.classList.toggle("down", down);
  };
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) {
      const limit = (value: number): number => Math.min(SIZE, Math.max(0, value));
      const next: [number, number] = [limit(cursor[0] + 12 * step[0]!), limit(cursor[1] + 12 * step[1]!)];
      if (down) line(cursor, next);
      cursor = next;
    } else if (event.key === " ") {
      down = !down;
      if (down) line(cursor, cursor);
    } else if (event.key === "Escape") clear();
    else return;
    event.preventDefault();
    cross.hidden = false;
    showCross();
  });
  canvas.addEventListener("blur", () => {
    cross.hidden = true;
    down = false;
  });
  clear();
  const small = document.createElement("canvas");
  small.width = small.height = SIDE;
  const smallContext = small.getContext("2d", { willReadFrequently: true })!;
  return {
    element: h("div", { class: "pad-box" }, canvas, cross),
    clear,
    load(image) {
      clear();
      const picture = smallContext.createImageData(SIDE, SIDE);
      image.forEach((value, i) => {
        picture.data.set([255 * value, 255 * value, 255 * value, 255], 4 * i);
      });
      smallContext.putImageData(picture, 0, 0);
      context.imageSmoothingEnabled = true;
      context.drawImage(small, 0, 0, SIZE, SIZE);
      empty = false;
      loaded = image;
      changed();
    },
    image: () => loaded ?? (empty ? null : fitted()),
  };

  /** The ink's bounding box scaled to 20×20 at most, moved so that its centre of mass is the middle. */
  function fitted(): Float32Array | null {
    const { data } = context.getImageData(0, 0, SIZE, SIZE);
    let [left, top, right, bottom, mass, sumX, sumY] = [SIZE, SIZE, -1, -1, 0, 0, 0];
    for (let y = 0; y < SIZE; y++)
      for (let x = 0; x < SIZE; x++) {
        const ink = data[4 * (y * SIZE + x)]!;
        if (!ink) continue;
        left = Math.min(left, x);
        right = Math.max(right, x);
        top = Math.min(top, y);
        bottom = Math.max(bottom, y);
        mass += ink;
        sumX += ink * x;
        sumY += ink * y;
      }
    if (!mass) return null;
    const scale = FITTED / Math.max(right - left + 1, bottom - top + 1);
    smallContext.fillStyle = "black";
    smallContext.fillRect(0, 0, SIDE, SIDE);
    smallContext.imageSmoothingEnabled = true;
    smallContext.imageSmoothingQuality = "high";
    smallContext.drawImage(
      canvas,
      SIDE / 2 - (scale * sumX) / mass,
      SIDE / 2 - (scale * sumY) / mass,
      scale * SIZE,
      scale * SIZE,
    );
    const pixels = smallContext.getImageData(0, 0, SIDE, SIDE).data;
    return Float32Array.from({ length: PIXELS }, (_, i) => pixels[4 * i]! / 255);
  }
}
