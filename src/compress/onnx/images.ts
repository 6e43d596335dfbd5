/** Images as samples: which size a model takes, and pixels as the values that it was trained on. */
import { checkOptions, type OptionRules, optionRules, TenfoldError } from "../../gpu/index.js";
import { isList } from "../../gpu/options.js";
import type { OnnxModel } from "../../onnx/index.js";
import { ARRAYS } from "./samples.js";
import type { OnnxArray, OnnxFeeds } from "./session.js";

/** How bytes become values: (byte ÷ 255 − mean) ÷ std. Inputs of uint8 take bytes as they are. */
export interface ImageOptions {
  /** of the input, where the model leaves extents open: [1, 3, 224, 224] */
  shape?: readonly number[];
  /** one number, or one for each channel in the model's order; 0 by default */
  mean?: number | readonly number[];
  /** as `mean`; 1 by default, 1/255 gives values from 0 to 255 */
  std?: number | readonly number[];
  /** channels are blue, green, red */
  bgr?: boolean;
}

/** The input of a model that takes one image a run. */
export interface ImageInput {
  name: string;
  /** pixels */
  width: number;
  height: number;
  /** @param pixels red, green, blue and alpha of width×height pixels, row by row; alpha does not count */
  feeds(pixels: Uint8Array | Uint8ClampedArray): OnnxFeeds;
}

const perChannel = (needs: string, least: number) => ({
  needs: `${needs}, or three`,
  is: (value: unknown): boolean => {
    const list = isList(value) ? value : [value];
    return [1, 3].includes(list.length) && list.every((one) => Number.isFinite(one) && (one as number) > least);
  },
});
const rules: OptionRules<ImageOptions> = {
  shape: { needs: "a list of four extents", is: isList },
  mean: perChannel("a number", Number.NEGATIVE_INFINITY),
  std: perChannel("a number above 0", 0),
  bgr: optionRules.flag,
};

/**
 * The one input of a model, as images fill it: batch×channels×height×width or batch×height×width×channels of float32, float16 or uint8,
 * with 1 or 3 channels and a batch of 1 or an open one. For 1 channel colours become grey: 0.299 red + 0.587 green + 0.114 blue.
 *
 * @throws TenfoldError where images do not fit the model, or the size is open
 */
export function imageInput(model: OnnxModel, options: ImageOptions = {}): ImageInput {
  checkOptions("imageInput", options, rules);
  const { mean = 0, std = 1, bgr } = options;
  const [input, ...others] = model.inputs;
  if (!input || others.length) refuse(`the model has ${model.inputs.length} inputs, and images are one: bring arrays`);
  const { name, dtype } = input;
  const known = input.shape?.map((extent) => (typeof extent === "number" ? extent : null));
  const shape = options.shape ?? known ?? [null, null, null, null];
  const said = `${name} is ${dtype} ${(known ?? shape).map((extent) => extent ?? "?").join("×")}`;
  if (known && (known.length !== shape.length || known.some((extent, at) => (extent ?? shape[at]) !== shape[at])))
    refuse(`${said}, not ${shape.join("×")}`);
  if (shape.length !== 4 || !["float32", "float16", "uint8"].includes(dtype))
    refuse(`${said}, and images are batch×channels×height×width of float32, float16 or uint8: bring arrays`);
  const isChannels = (axis: number): boolean => shape[axis] === 1 || shape[axis] === 3;
  const isLast = !isChannels(1) && isChannels(3);
  const [batch, channels] = [shape[0] ?? 1, shape[isLast ? 3 : 1]];
  const [height, width] = isLast ? [shape[1], shape[2]] : [shape[2], shape[3]];
  if (!height || !width || !channels) return refuse(`${said}: say its shape, as in ${name}=1x3x224x224`);
  if (batch !== 1 || channels === 2 || channels > 3)
    refuse(`${said}, and images have 1 or 3 channels and come one at a time: bring arrays`);
  const isByte = dtype === "uint8";
  if (isByte && (options.mean ?? options.std) !== undefined) refuse(`${said}: it takes bytes without mean and std`);
  const of = (value: number | readonly number[], channel: number): number => {
    const list = typeof value === "number" ? [value] : value;
    if (list.length > channels) refuse(`${said}, so mean and std are one number each`);
    return list[list.length > 1 ? channel : 0]!;
  };
  /** the value of each byte, by channels */
  const tables = Array.from({ length: channels }, (_, channel) => {
    const [middle, width] = [of(mean, channel), of(std, channel)];
    const values = Array.from({ length: 256 }, (_, byte) => (isByte ? byte : (byte / 255 - middle) / width));
    return ARRAYS[dtype]!(values) as Entries;
  });
  const size = width * height;
  return {
    ...{ name, width, height },
    feeds(pixels) {
      if (pixels.length !== 4 * size) refuse(`${pixels.length} bytes, needs ${width}×${height} pixels of 4`);
      const data = new (tables[0]!.constructor as new (length: number) => Entries)(channels * size);
      for (const [channel, table] of tables.entries())
        for (let at = 0; at < size; at++) {
          const byte =
            channels === 3
              ? pixels[4 * at + (bgr ? 2 - channel : channel)]!
              : // of 65536 parts, so that grey stays as it is
                (19595 * pixels[4 * at]! + 38470 * pixels[4 * at + 1]! + 7471 * pixels[4 * at + 2]! + 32768) >> 16;
          data[isLast ? channels * at + channel : channel * size + at] = table[byte]!;
        }
      const extents = isLast ? [1, height, width, channels] : [1, channels, height, width];
      return { [name]: { dtype, shape: extents, data } };
    },
  };
}

type Entries = OnnxArray["data"] & { [at: number]: number };

function refuse(problem: string): never {
  throw new TenfoldError(`imageInput: ${problem}`, { code: "INPUT" });
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
