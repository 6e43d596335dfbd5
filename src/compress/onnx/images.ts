/** Images as samples: which size a model takes, and pixels as the values that it was trained on. */
import { checkOptions, type OptionRules, optionRules, TenfoldError } from "../../gpu/index.js";
import { isList } from "../../gpu/options.js";
import type { OnnxModel } from "../../onnx/index.js";
import { ARRAYS, isBeyondHalf } from "./samples.js";
import type { OnnxArray, OnnxFeeds } from "./session.js";

/** How bytes of pixels become values: (byte ÷ 255 − mean) ÷ std. Inputs of uint8 take bytes as they are. */
export interface ImageOptions {
  /** of the input, where the model leaves extents open: [1, 3, 224, 224] */
  shape?: readonly number[];
  /** of values from 0 to 1: one number, or one for each channel in the model's order; 0 by default */
  mean?: number | readonly number[];
  /** as `mean`; 1 by default, 1/255 gives values from 0 to 255 */
  std?: number | readonly number[];
  /** channels are blue, green and red in place of red, green and blue */
  bgr?: boolean;
}

/** The input of a model that takes one image a run. */
export interface ImageInput {
  name: string;
  /** pixels */
  width: number;
  height: number;
  /**
   * The feeds of one image.
   *
   * @param pixels red, green, blue and alpha of width×height pixels, row by row, as canvases give them; alpha does not count
   */
  feeds(pixels: Uint8Array | Uint8ClampedArray): OnnxFeeds;
}

const perChannel = (least: number, needs: string) => ({
  needs,
  is: (value: unknown): boolean => {
    const list = isList(value) ? value : [value];
    return [1, 3].includes(list.length) && list.every((one) => Number.isFinite(one) && (one as number) > least);
  },
});
const rules: OptionRules<ImageOptions> = {
  shape: { needs: "a list of four extents", is: isList },
  mean: perChannel(Number.NEGATIVE_INFINITY, "one number or three"),
  std: perChannel(0, "one number above 0 or three"),
  bgr: optionRules.flag,
};

/**
 * The one input of a model, as images fill it: batch×channels×height×width or batch×height×width×channels, with a batch of 1 or an open
 * one, and 1 or 3 channels of float32, float16 or uint8. Colours become grey where there is 1: 0.299 red + 0.587 green + 0.114 blue.
 *
 * @throws TenfoldError where the model has several inputs, or one that no image fits, or whose size is open
 */
export function imageInput(model: OnnxModel, options: ImageOptions = {}): ImageInput {
  checkOptions("imageInput", options, rules);
  const refuse = (problem: string): never => {
    throw new TenfoldError(`imageInput: ${problem}`, { code: "INPUT" });
  };
  const { inputs } = model;
  const [input] = inputs;
  if (!input || inputs.length > 1)
    return refuse(
      `the model has ${inputs.length} inputs (${inputs.map(({ name }) => name).join(", ")}), and images fill one: bring an array for each`,
    );
  const { name, dtype } = input;
  if (!["float32", "float16", "uint8"].includes(dtype))
    return refuse(`${name} is ${dtype}, and images become float32, float16 or uint8: bring arrays`);
  const shape = shapeOf(input, options.shape, refuse);
  const said = shape.map((extent) => extent ?? "?").join("×");
  const open = `say its shape, as in ${name}=1x3x224x224`;
  const isChannels = (axis: number): boolean => shape[axis] === 1 || shape[axis] === 3;
  if (shape.length !== 4)
    return refuse(`${name} is ${said || "a scalar"}, and images need batch×channels×height×width: bring arrays`);
  const isLast = !isChannels(1) && isChannels(3);
  if (!isLast && !isChannels(1))
    return refuse(
      shape[1] === null || shape[3] === null
        ? `${name} is ${said}: ${open}`
        : `${name} is ${said}, and images have 1 or 3 channels, on its second axis or its last: bring arrays`,
    );
  const [batch, channels] = [shape[0] ?? 1, shape[isLast ? 3 : 1]!];
  const [height, width] = isLast ? [shape[1]!, shape[2]!] : [shape[2]!, shape[3]!];
  if (!height || !width) return refuse(`${name} is ${said}, and the size of images is open: ${open}`);
  if (batch !== 1) return refuse(`${name} takes ${batch} images at once, and needs a batch of 1 or an open one`);
  const tables = tablesOf(dtype, channels, options, refuse);
  return {
    ...{ name, width, height },
    feeds(pixels) {
      const size = width * height;
      if (pixels.length !== 4 * size)
        return refuse(`an image has ${pixels.length} bytes, needs ${width}×${height} pixels of 4`);
      const Kind = tables[0]!.constructor as new (length: number) => Entries;
      const data = new Kind(channels * size);
      for (const [channel, table] of tables.entries()) {
        const colour = options.bgr ? 2 - channel : channel;
        for (let at = 0; at < size; at++) {
          const byte =
            channels === 3
              ? pixels[4 * at + colour]!
              : // of 65536 parts, so that grey stays as it is
                (19595 * pixels[4 * at]! + 38470 * pixels[4 * at + 1]! + 7471 * pixels[4 * at + 2]! + 32768) >> 16;
          data[isLast ? channels * at + channel : channel * size + at] = table[byte]!;
        }
      }
      const extents = isLast ? [1, height, width, channels] : [1, channels, height, width];
      return { [name]: { dtype, shape: extents, data } };
    },
  };
}

type Entries = OnnxArray["data"] & { [at: number]: number };
type Refuse = (problem: string) => never;

/** Extents of the input, null where they are open. */
function shapeOf({ name, shape }: OnnxModel["inputs"][number], asked: readonly number[] | undefined, refuse: Refuse) {
  const extents = shape?.map((extent) => (typeof extent === "number" ? extent : null));
  if (!asked) return extents ?? [null, null, null, null];
  const fits =
    !extents || (asked.length === extents.length && extents.every((one, at) => (one ?? asked[at]) === asked[at]));
  if (!fits) refuse(`shape ${asked.join("×")}, and ${name} is ${extents.map((extent) => extent ?? "?").join("×")}`);
  return asked;
}

/** The value of each byte, by channels. */
function tablesOf(dtype: string, channels: number, options: ImageOptions, refuse: Refuse): Entries[] {
  const { mean = 0, std = 1, bgr } = options;
  if (bgr && channels === 1) refuse("the model takes grey images, which have no order of channels: leave bgr out");
  if (dtype === "uint8" && (options.mean !== undefined || options.std !== undefined))
    refuse("the model takes bytes as they are: leave mean and std out");
  const of = (value: number | readonly number[], what: string, channel: number): number => {
    const list = typeof value === "number" ? [value] : value;
    if (list.length > channels) refuse(`${what} has ${list.length} numbers, and the model takes grey images: give one`);
    return list[list.length > 1 ? channel : 0]!;
  };
  return Array.from({ length: channels }, (_, channel) => {
    const [middle, width] = [of(mean, "mean", channel), of(std, "std", channel)];
    const values = Array.from({ length: 256 }, (_, byte) => (dtype === "uint8" ? byte : (byte / 255 - middle) / width));
    if (dtype === "float16" && values.some(isBeyondHalf)) refuse("mean and std lead to values beyond float16's 65504");
    return ARRAYS[dtype]!(values) as Entries;
  });
}

/** Names of files that browsers and the command read images from. */
export const isImageName = (name: string): boolean => /\.(?:avif|gif|jpe?g|png|webp)$/i.test(name);

/** `0.485,0.456,0.406`, `0.5` or `1/255`: one number or three, as `mean` and `std` take them; null where it is none. */
export function parseChannels(text: string): number[] | null {
  const numbers = text.split(",").map((part) => {
    const [, number, divisor = "1"] =
      /^\s*(-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?)\s*(?:\/\s*(\d+(?:\.\d+)?))?\s*$/i.exec(part) ?? [];
    return Number(number) / Number(divisor);
  });
  return [1, 3].includes(numbers.length) && numbers.every(Number.isFinite) ? numbers : null;
}
