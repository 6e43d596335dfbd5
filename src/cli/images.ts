/** Images in a folder as samples of a model, which the package sharp decodes. */
import { readdirSync } from "node:fs";
import { join, sep } from "node:path";
import { InvalidArgumentError } from "commander";
import { isImageName, parseChannels } from "../compress/onnx/images.js";
import { type ImageInput, type ImageOptions, imageInput, type OnnxFeeds } from "../compress/onnx/index.js";
import { FileError, fileFailure, readBytes } from "../node/files.js";
import { peer } from "../node/peers.js";
import type { OnnxModel } from "../onnx/index.js";
import { type Context, InputError, InterruptedError } from "./context.js";
import { startProgress } from "./progress.js";
import { importPackage } from "./runtime.js";

/** The options of a command that say how images become samples. */
export interface ImageWords {
  mean?: number[];
  std?: number[];
  resize?: "crop" | "stretch";
  bgr?: boolean;
  shape?: Record<string, number[]>;
}

/** What is used of sharp. */
export type Sharp = (image: Uint8Array, options: object) => Pipeline;
interface Pipeline {
  resize(width: number, height: number, options: object): Pipeline;
  flatten(options: object): Pipeline;
  toColourspace(space: string): Pipeline;
  ensureAlpha(): Pipeline;
  raw(): Pipeline;
  toBuffer(): Promise<Uint8Array>;
}

/** Reads a value of `--mean` or `--std`: numbers above `least`. */
export const channelsOption =
  (least = Number.NEGATIVE_INFINITY) =>
  (text: string): number[] => {
    const numbers = parseChannels(text);
    if (!numbers?.every((one) => one > least))
      throw new InvalidArgumentError("It needs one number or three, as in 0.485,0.456,0.406 or 1/255.");
    return numbers;
  };

/** Options that images alone have. */
export const IMAGE_OPTIONS = ["mean", "std", "resize", "bgr"] as const;

/**
 * Samples of all images of a folder and of folders in it, in the order of their paths.
 *
 * @param load imports sharp; tests pass another
 * @throws InputError where there is none, or the model takes no images; FileError with the name of one that cannot be read
 */
export async function readImages(
  folder: string,
  model: OnnxModel,
  { mean, std, resize = "crop", bgr, shape }: ImageWords,
  context: Pick<Context, "stderr" | "signal">,
  load: () => Promise<Sharp> = () => importPackage<Sharp>("sharp"),
): Promise<OnnxFeeds[]> {
  const files = namesIn(folder)
    .map((name) => name.split(sep).join("/"))
    // what begins with a dot is the system's
    .filter((name) => isImageName(name) && !/(?:^|\/)\./.test(name))
    .sort();
  if (!files.length)
    throw new InputError(`${folder}: has no images, which are files that end with .jpg, .png, .webp, .avif or .gif`);
  const { width, height, feeds } = inputOf(folder, model, {
    mean,
    std,
    bgr,
    shape: shape?.[model.inputs[0]?.name ?? ""],
  });
  const sharp = await peer("sharp", folder, "images", load);
  const progress = startProgress(context, { label: "images", total: files.length, unit: "read" });
  const samples: OnnxFeeds[] = [];
  try {
    for (const name of files) {
      if (context.signal.aborted) throw new InterruptedError("compress: stopped; nothing was written");
      const file = join(folder, name);
      const bytes = readBytes(file);
      let pixels: Uint8Array;
      try {
        pixels = await sharp(bytes, { autoOrient: true })
          .resize(width, height, { fit: resize === "crop" ? "cover" : "fill", kernel: "linear" })
          .flatten({ background: "#fff" })
          .toColourspace("srgb")
          .ensureAlpha()
          .raw()
          .toBuffer();
      } catch (error) {
        throw new FileError(file, `is no image that can be read (${(error as Error).message.split("\n")[0]})`, {
          cause: error,
        });
      }
      samples.push(feeds(pixels));
      progress.update(samples.length);
    }
  } finally {
    progress.stop();
  }
  return samples;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true }) as string[];
  } catch (error) {
    return fileFailure(folder, "read", error);
  }
}

function inputOf(folder: string, model: OnnxModel, options: ImageOptions): ImageInput {
  try {
    return imageInput(model, options);
  } catch (error) {
    const told = (error as Error).message.replace(/^imageInput/, folder).replace("as in ", "as in --shape ");
    throw new InputError(told, { cause: error });
  }
}
