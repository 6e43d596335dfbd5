/** A pad to draw a digit on, by mouse, finger or keys. */
import { PIXELS } from "../../../src/experiments/digits.js";
import { h, SIDE } from "../../../src/report/elements.js";

/** canvas pixels a side */
const SIZE = 280;
/** MNIST's digits are fitted into 20×20 and lie with their centre of mass in the middle (LeCun et al. 1998). */
const FITTED = 20;
/** canvas pixels that an arrow key moves the pen */
const STEP = 12;
const STEPS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-STEP, 0],
  ArrowRight: [STEP, 0],
  ArrowUp: [0, -STEP],
  ArrowDown: [0, STEP],
};

type Point = readonly [x: number, y: number];

const square = (side: number): CanvasRenderingContext2D => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  return canvas.getContext("2d", { willReadFrequently: true })!;
};

export class Pad {
  readonly element: HTMLElement;
  readonly #canvas = h("canvas", {
    class: "pad",
    tabindex: "0",
    role: "img",
    "aria-label":
      "Drawing pad. Draw with mouse or finger; with keys: arrows move the pen, space puts it down or lifts it, Escape clears.",
  });
  readonly #context: CanvasRenderingContext2D;
  readonly #small = square(SIDE);
  readonly #cross = h("div", { class: "cross", hidden: "" });
  /** the drawing that was reported last, or put on the pad since */
  #drawing: Float32Array | null = null;
  /** whether a picture was put on the pad that a stroke is to replace, not to be drawn over */
  #isShown = false;
  #frame = 0;

  /** @param onDraw told the drawing as MNIST would have it, in pixels / 255, at most once a frame; null: it was cleared */
  constructor(private readonly onDraw: (drawing: Float32Array | null) => void) {
    this.#canvas.width = this.#canvas.height = SIZE;
    this.#context = this.#canvas.getContext("2d", { willReadFrequently: true })!;
    this.element = h("div", { class: "pad-box" }, this.#canvas, this.#cross);
    this.#blacken();
    this.#listenToPointer();
    this.#listenToKeys();
  }

  /** Puts a drawing on the pad, unless it is what was drawn here. */
  show(drawing: Float32Array | null): void {
    if (drawing === this.#drawing) return;
    this.#drawing = drawing;
    this.#blacken();
    if (!drawing) return;
    this.#isShown = true;
    const picture = this.#small.createImageData(SIDE, SIDE);
    drawing.forEach((value, i) => {
      picture.data.set([255 * value, 255 * value, 255 * value, 255], 4 * i);
    });
    this.#small.putImageData(picture, 0, 0);
    this.#context.imageSmoothingEnabled = true;
    this.#context.drawImage(this.#small.canvas, 0, 0, SIZE, SIZE);
  }

  readonly clear = (): void => {
    this.#blacken();
    this.#tell();
  };

  #blacken(): void {
    this.#isShown = false;
    this.#context.fillStyle = "black";
    this.#context.fillRect(0, 0, SIZE, SIZE);
  }

  #tell(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      this.#drawing = this.#fitted();
      this.onDraw(this.#drawing);
    });
  }

  #line([x, y]: Point, to: Point): void {
    if (this.#isShown) this.#blacken();
    const context = this.#context;
    context.strokeStyle = "white";
    context.lineWidth = SIZE / 13;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(to[0], to[1] + 0.01);
    context.stroke();
    this.#tell();
  }

  #listenToPointer(): void {
    const canvas = this.#canvas;
    const at = ({ clientX, clientY }: PointerEvent): Point => {
      const { left, top, width, height } = canvas.getBoundingClientRect();
      return [((clientX - left) / width) * SIZE, ((clientY - top) / height) * SIZE];
    };
    let pen: Point | null = null;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pen = at(event);
      this.#line(pen, pen);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!pen) return;
      const pieces = event.getCoalescedEvents?.() ?? [];
      for (const piece of pieces.length ? pieces : [event]) {
        const next = at(piece);
        this.#line(pen, next);
        pen = next;
      }
    });
    for (const name of ["pointerup", "pointercancel"] as const)
      canvas.addEventListener(name, () => {
        pen = null;
      });
  }

  #listenToKeys(): void {
    const cross = this.#cross;
    let pen: Point = [SIZE / 2, SIZE / 4];
    let down = false;
    const limit = (value: number): number => Math.min(SIZE, Math.max(0, value));
    this.#canvas.addEventListener("keydown", (event) => {
      const step = STEPS[event.key];
      if (step) {
        const next: Point = [limit(pen[0] + step[0]), limit(pen[1] + step[1])];
        if (down) this.#line(pen, next);
        pen = next;
      } else if (event.key === " ") {
        down = !down;
        if (down) this.#line(pen, pen);
      } else if (event.key === "Escape") this.clear();
      else return;
      event.preventDefault();
      cross.hidden = false;
      cross.style.left = `${(100 * pen[0]) / SIZE}%`;
      cross.style.top = `${(100 * pen[1]) / SIZE}%`;
      cross.classList.toggle("down", down);
    });
    this.#canvas.addEventListener("blur", () => {
      cross.hidden = true;
      down = false;
    });
  }

  /** The ink's bounding box scaled to 20×20 at most, moved so that its centre of mass is the middle; null without ink. */
  #fitted(): Float32Array | null {
    const { data } = this.#context.getImageData(0, 0, SIZE, SIZE);
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
    const small = this.#small;
    small.fillStyle = "black";
    small.fillRect(0, 0, SIDE, SIDE);
    small.imageSmoothingEnabled = true;
    small.imageSmoothingQuality = "high";
    small.drawImage(
      this.#canvas,
      SIDE / 2 - (scale * sumX) / mass,
      SIDE / 2 - (scale * sumY) / mass,
      scale * SIZE,
      scale * SIZE,
    );
    const pixels = small.getImageData(0, 0, SIDE, SIDE).data;
    return Float32Array.from({ length: PIXELS }, (_, i) => pixels[4 * i]! / 255);
  }
}
