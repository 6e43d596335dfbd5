/** The images of handwritten digits that the page works on. */
import { PIXELS, selectDigits } from "../../src/experiments/digits.js";
import type { Engine, Tensor } from "../../src/index.js";
import { DIGITS_FILE } from "./digitsFile.js";

export interface DigitSet {
  /** N×784 bytes */
  images: Uint8Array;
  /** what each image shows, 0 to 9 */
  labels: Uint8Array;
}

let loading: Promise<DigitSet> | null = null;

/** Loads all 10,000 images, once: a download of 1.6 MB. */
export function loadDigits(): Promise<DigitSet> {
  loading ??= fetchDigits();
  // after a failure the next call tries again
  loading.catch(() => (loading = null));
  return loading;
}

async function fetchDigits(): Promise<DigitSet> {
  const response = await fetch(new URL(DIGITS_FILE, document.baseURI));
  if (!response.ok || !response.body) throw new Error(`The digits did not load: ${response.status}`);
  const inflated = response.body.pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(inflated).arrayBuffer());
  const count = new DataView(bytes.buffer).getUint32(0, true);
  const end = 4 + count;
  if (bytes.length !== end + count * PIXELS) throw new Error("The digits did not load to the end");
  return { labels: bytes.subarray(4, end), images: bytes.subarray(end) };
}

/** The images of these digits among the first images of the data set, in their order. `labels` are the digits themselves. */
export function chooseDigits(all: DigitSet, digits: readonly number[], first: number): DigitSet {
  const { images, labels } = selectDigits(all.images, all.labels, digits, { first });
  return { images, labels: labels.map((label) => digits[label]!) };
}

/** Ends the task, so that the page draws and reacts before the work goes on. */
export const breathe = (): Promise<void> =>
  (globalThis as { scheduler?: { yield?: () => Promise<void> } }).scheduler?.yield?.() ??
  new Promise((resolve) => setTimeout(resolve));

/** Images that are converted in one task, which takes a few milliseconds. A multiple of 4, since a view must begin at a multiple of 256 bytes. */
const ROWS = 256;

/** Images as N×28×28 in pixels / 255 on the GPU. Bytes become floats in many small tasks. */
export async function uploadImages(engine: Engine, images: Uint8Array, signal: AbortSignal): Promise<Tensor> {
  const count = images.length / PIXELS;
  const tensor = engine.tensor([count, 28, 28], null, { label: "images" });
  try {
    const scaled = new Float32Array(Math.min(ROWS, count) * PIXELS);
    for (let start = 0; start < count; start += ROWS) {
      const stop = Math.min(count, start + ROWS);
      const part = scaled.subarray(0, (stop - start) * PIXELS);
      const from = start * PIXELS;
      for (let i = 0; i < part.length; i++) part[i] = images[from + i]! / 255;
      tensor.rows(start, stop).write(part);
      await breathe();
      signal.throwIfAborted();
    }
    return tensor;
  } catch (error) {
    tensor.destroy();
    throw error;
  }
}
