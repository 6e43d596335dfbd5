import { ShapeError, TenfoldError } from "../gpu/errors.js";

/** Greyscale images and their classes. */
export interface Digits {
  /** N×28×28 bytes, row-major */
  images: Uint8Array;
  /** N classes, 0 to 9 */
  labels: Uint8Array;
  /** images that are not trained on: the 10,000 of t10k */
  testImages?: Uint8Array;
  testLabels?: Uint8Array;
  /** the images' origin and order, for people */
  source: string;
}

/** Images of chosen digits. */
export interface Selection {
  images: Uint8Array;
  /** indices into `digits`: for digits 3, 4, 7 a seven has the label 2 */
  labels: Uint8Array;
  /** the chosen digits */
  digits: number[];
  /** the image's index in the data set, one for each image */
  indices: Uint32Array;
}

/** First index and end of the three parts of a data set. */
export interface Split {
  train: [number, number];
  validation: [number, number];
  test: [number, number];
}

/** pixels of an image: 28×28 */
export const PIXELS = 784;
export const ALL_DIGITS: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/**
 * Images of the chosen digits, in the order of the data set.
 *
 * @param options.first only the first so many images are looked at; all by default, the thesis takes 40,000
 * @throws ShapeError where images and labels differ in number, TenfoldError where `digits` are not different digits from 0 to 9
 */
export function selectDigits(
  images: Uint8Array,
  labels: Uint8Array,
  digits: readonly number[],
  { first = labels.length }: { first?: number } = {},
): Selection {
  if (images.length !== labels.length * PIXELS)
    throw new ShapeError(`selectDigits: ${images.length} pixels and ${labels.length} labels, needs 784 pixels a label`);
  if (new Set(digits).size !== digits.length || !digits.length || digits.some((digit) => !ALL_DIGITS.includes(digit)))
    throw new TenfoldError(`selectDigits: digits ${digits.join(", ")}, needs different ones of 0 to 9`);
  const chosen: number[] = [];
  for (let i = 0; i < Math.min(first, labels.length); i++) if (digits.includes(labels[i]!)) chosen.push(i);
  const out = new Uint8Array(chosen.length * PIXELS);
  chosen.forEach((from, to) => {
    out.set(images.subarray(from * PIXELS, (from + 1) * PIXELS), to * PIXELS);
  });
  return {
    images: out,
    labels: Uint8Array.from(chosen, (index) => digits.indexOf(labels[index]!)),
    digits: [...digits],
    indices: Uint32Array.from(chosen),
  };
}

/** Splits N images, in order, into 70 % for training, 10 % for validation and 20 % for testing, at ⌊0.7 N⌋ and ⌊0.8 N⌋. */
export function splitDigits(count: number): Split {
  const train = Math.floor((count * 7) / 10);
  const validation = Math.floor((count * 8) / 10);
  return { train: [0, train], validation: [train, validation], test: [validation, count] };
}

/** Pixels / 255, one row of 784 an image. */
export function scalePixels(images: Uint8Array): Float32Array {
  const out = new Float32Array(images.length);
  for (let i = 0; i < out.length; i++) out[i] = images[i]! / 255;
  return out;
}

/** The numbers 0 to count − 1, shuffled by the seed (Fisher & Yates, with mulberry32): the same on every machine. */
export function shuffledOrder(count: number, seed: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  let state = seed >>> 0;
  for (let last = count - 1; last > 0; last--) {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    const other = Math.floor((((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32) * (last + 1));
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}
