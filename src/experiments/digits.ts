import { ShapeError, TenfoldError } from "../gpu/errors.js";

/** Greyscale images with a class each, one byte a pixel. */
export interface Digits {
  /** N×28×28, row-major */
  images: Uint8Array;
  /** N classes, 0 to 9 */
  labels: Uint8Array;
  /** a second set, not to be trained on: the 10,000 of t10k */
  testImages?: Uint8Array;
  testLabels?: Uint8Array;
  /** where they come from and in which order they are */
  source: string;
}

/** Images of chosen classes. Labels count the chosen classes from 0: for digits 3, 4, 7 a seven is 2. */
export interface Selection {
  images: Uint8Array;
  labels: Uint8Array;
  /** the chosen digits; a label is an index into them */
  digits: number[];
  /** where each image was in the whole set */
  indices: Uint32Array;
}

/** First index and end of each part of a set. */
export interface Split {
  train: [number, number];
  validation: [number, number];
  test: [number, number];
}

/** pixels of an image: 28×28 */
export const PIXELS = 784;
export const ALL_DIGITS: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/**
 * Images of the chosen digits, in the order of the set.
 *
 * @param options.first looks at this many images only; the thesis takes the first 40,000
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

/** 70 % to train on, 10 % to choose by, 20 % held out, in order: boundaries at ⌊0.7 N⌋ and ⌊0.8 N⌋. */
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

/** The numbers 0 to count − 1 in an order that follows from the seed alone (Fisher & Yates, with mulberry32). */
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
