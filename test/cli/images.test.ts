/** Images in a folder as samples of `tenfold compress`. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ImageWords, readImages, type Sharp } from "../../src/cli/images.js";
import type { OnnxFeeds } from "../../src/compress/onnx/index.js";
import { writeNpz } from "../../src/io/index.js";
import { readMnistData } from "../../src/node/index.js";
import { type OnnxModel, readOnnx } from "../../src/onnx/index.js";
import { ort } from "../onnx/runtime.js";
import { command } from "./command.js";

const NETWORK = join(import.meta.dirname, "../fixtures/networks/vgg.onnx");
const web = async () => ({
  ...ort,
  InferenceSession: {
    create: (bytes: Uint8Array) =>
      ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], logSeverityLevel: 3 }),
  },
});

let folder: string;
const path = (name: string): string => join(folder, name);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tenfold-images-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Raw {
  width: number;
  height: number;
  channels: 1 | 3 | 4;
}
/** Writes an image, in the format that its name ends with. */
async function image(name: string, data: Uint8Array, raw: Raw, orientation = 1): Promise<void> {
  mkdirSync(dirname(path(name)), { recursive: true });
  await sharp(data, { raw }).withMetadata({ orientation }).toFile(path(name));
}

const context = () => ({ stderr: { write: () => {} }, signal: new AbortController().signal });
const colour = (shape: readonly (number | null)[]): OnnxModel =>
  ({ inputs: [{ name: "x", dtype: "float32", shape }] }) as unknown as OnnxModel;
const read = (name: string, model: OnnxModel, words: ImageWords = {}): Promise<OnnxFeeds[]> =>
  readImages(path(name), model, words, context());
const bytesOf = (feeds: OnnxFeeds): number[] =>
  [...(feeds.x!.data as Float32Array)].map((one) => Math.round(255 * one));

describe("images in a folder", () => {
  it("are the same samples as a .npz of them: the compressed file has the same bytes", async () => {
    const [count, size] = [48, 784];
    const digits = readMnistData().images.subarray(0, count * size);
    for (let at = 0; at < count; at++)
      await image(`digits/${at % 3}/${String(at).padStart(3, "0")}.png`, digits.subarray(at * size, (at + 1) * size), {
        width: 28,
        height: 28,
        channels: 1,
      });
    // in the order of paths
    const order = Array.from({ length: count }, (_, at) => at).sort((a, b) => (a % 3) - (b % 3) || a - b);
    const data = Float32Array.from({ length: count * size }, (_, at) => {
      const byte = digits[order[Math.floor(at / size)]! * size + (at % size)]!;
      return (byte / 255 - 0.1307) / 0.3081;
    });
    writeFileSync(path("digits.npz"), writeNpz([["digits", { shape: [count, 1, 28, 28], data }]]));
    const compress = (samples: string, out: string, ...more: string[]) =>
      command(
        [
          ...["compress", NETWORK, "--calibration", path(samples), "--target", "mult/2", "--no-refit"],
          ...["--patches", "2000", "--out", path(out), "--report", path("report"), ...more],
        ],
        { loadRuntime: web as never },
      );
    expect(await compress("digits.npz", "arrays.onnx")).toMatchObject({ code: 0 });
    const words = ["--mean", "0.1307", "--std", "0.3081"];
    const second = await compress("digits", "images.onnx", ...words);
    expect(second).toMatchObject({ code: 0 });
    expect(second.stderr).toContain("images: 48/48 read");
    const written = readFileSync(path("images.onnx"));
    expect(written).toEqual(readFileSync(path("arrays.onnx")));
    expect(written.length).toBeLessThan(readFileSync(NETWORK).length);
    expect(readOnnx(written).metadata.get("tenfold.factorised")).toContain("ranks");
    // the command of a budget in the report says how images are read
    expect(readFileSync(join(path("report"), "index.html"), "utf8")).toContain("--mean 0.1307 --std 0.3081");
    // other values are other samples
    expect(await compress("digits", "other.onnx", "--verify", path("digits"))).toMatchObject({ code: 0 });
    expect(readFileSync(path("other.onnx"))).not.toEqual(written);
  });

  it("are turned as cameras say, fitted by their shorter side and cut in the middle, or stretched", async () => {
    // 8×4: two columns each of red, green, blue and white
    const [red, green, blue, white] = [
      [255, 0, 0],
      [0, 255, 0],
      [0, 0, 255],
      [255, 255, 255],
    ];
    const row = [red, red, green, green, blue, blue, white, white].flat() as number[];
    const bytes = Uint8Array.from([row, row, row, row].flat());
    await image("wide/a.png", bytes, { width: 8, height: 4, channels: 3 });
    const model = colour([1, 3, 4, 4]);
    const [middle] = await read("wide", model);
    const line = (values: number[], channel: number): number[] => values.slice(16 * channel, 16 * channel + 4);
    expect([0, 1, 2].map((channel) => line(bytesOf(middle!), channel))).toEqual([
      [0, 0, 0, 0],
      [255, 255, 0, 0],
      [0, 0, 255, 255],
    ]);
    const [stretched] = await read("wide", model, { resize: "stretch" });
    expect(line(bytesOf(stretched!), 0).map((byte) => byte > 127)).toEqual([true, false, false, true]);
    // a model of height 2 and width 4 takes all of it
    const [flat] = await read("wide", colour([1, 2, 4, 3]));
    expect(flat!.x!.shape).toEqual([1, 2, 4, 3]);
    // the first row of a file that was turned by a quarter is a column
    await image("turned/a.png", bytes, { width: 8, height: 4, channels: 3 }, 6);
    const [turned] = await read("turned", colour([1, 3, 8, 4]));
    expect(bytesOf(turned!).slice(0, 12)).toEqual([255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0]);
  });

  it("are read from all formats, grey ones too; what is transparent is white; hidden files are none", async () => {
    const grey = new Uint8Array(64).fill(100);
    for (const ending of ["jpg", "jpeg", "png", "webp", "gif", "avif"])
      await image(`formats/a.${ending}`, grey, { width: 8, height: 8, channels: 1 });
    await image("formats/z.png", new Uint8Array(256), { width: 8, height: 8, channels: 4 });
    writeFileSync(path("formats/._a.png"), "not an image");
    writeFileSync(path("formats/notes.txt"), "not an image");
    const samples = await read("formats", colour([null, 3, 8, 8]));
    expect(samples.length).toBe(7);
    for (const feeds of samples.slice(0, 6))
      for (const byte of bytesOf(feeds)) expect(Math.abs(byte - 100)).toBeLessThanOrEqual(3);
    expect(bytesOf(samples[6]!)).toEqual(new Array(192).fill(255));
  });

  it("say what is wrong, in one line", async () => {
    mkdirSync(path("empty"));
    await image("broken/a.png", new Uint8Array(64), { width: 8, height: 8, channels: 1 });
    writeFileSync(path("broken/b.jpg"), "no image");
    const model = colour([1, 3, 8, 8]);
    await expect(read("empty", model)).rejects.toThrow(/empty: has no images, which are files that end with \.jpg/);
    await expect(read("broken", model)).rejects.toThrow(/b\.jpg: is no image that can be read \(/);
    await expect(read("broken", colour([1, 4, 8, 8]))).rejects.toThrow(
      "broken: x is float32 1×4×8×8, and images have 1 or 3 channels",
    );
    await expect(read("broken", colour([null, 3, null, null]))).rejects.toThrow("as in --shape x=1x3x224x224");
    await expect(read("broken", colour([null, 3, null, null]), { shape: { x: [1, 3, 8, 8] } })).rejects.toThrow(
      "b.jpg",
    );
    const missing = Object.assign(new Error("Cannot find package"), { code: "ERR_MODULE_NOT_FOUND" });
    await expect(
      readImages(path("broken"), model, {}, context(), () => Promise.reject<Sharp>(missing)),
    ).rejects.toThrow("broken: images are read by the package sharp: npm install sharp");
    const stopped = { ...context(), signal: AbortSignal.abort() };
    await expect(readImages(path("broken"), model, {}, stopped)).rejects.toThrow("stopped; nothing was written");

    const compress = async (...words: string[]) =>
      (await command(["compress", NETWORK, "--target", "mult/2", ...words], { loadRuntime: web as never })).stderr;
    const folders = ["--calibration", path("broken")];
    expect(await compress(...folders)).toMatch(/^images: .*\nerror: .*b\.jpg: is no image that can be read \(.*\)\n$/s);
    expect(await compress(...folders, "--mean", "1,2")).toContain(
      "It needs one number or three, as in 0.485,0.456,0.406",
    );
    expect(await compress(...folders, "--std", "0")).toContain("It needs one number or three");
    expect(await compress(...folders, "--mean", "1,2,3")).toContain("so mean and std are one number each");
    expect(await compress(...folders, "--resize", "blur")).toContain("crop, stretch");
    expect(await compress("--calibration", "samples.npz", "--mean", "0.5")).toContain("--mean is of images");
    expect(await compress("--bgr", "--shape", "x=1x1x28x28")).toContain("--bgr is of images");
  });
});
