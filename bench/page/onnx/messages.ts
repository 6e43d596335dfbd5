/** What the page and the worker that compresses ONNX models tell each other. */
import type { FittedScheme, OnnxTarget } from "../../../src/compress/onnx/index.js";
import type { WorstSample } from "../../../src/report/compressionPage.js";

/** A layer that can be factorised. */
export interface LayerInfo {
  id: string;
  name: string;
  op: string;
  shape: readonly number[];
  weights: number;
  /** null where the shape of its input is unknown */
  multiplications: number | null;
}

/** What is seen in a model without running it. */
export interface ModelInfo {
  name: string;
  bytes: number;
  inputs: readonly { name: string; dtype: string; shape: readonly (number | string | null)[] | null }[];
  /** names of inputs with an extent, beside the first, that the model leaves open */
  open: readonly string[];
  weights: number;
  multiplications: number | null;
  layers: readonly LayerInfo[];
  /** why other layers are left alone, and how many each */
  leftAlone: readonly { reason: string; layers: number; weights: number }[];
}

/** What became of a layer. */
export interface FittedLayer {
  id: string;
  /** null: it stays */
  scheme: FittedScheme | null;
  ranks: readonly number[];
  weights: { before: number; after: number };
  multiplications: { before: number | null; after: number | null };
  error: number;
  refitted: boolean;
}

/** A model that was made of the original. */
export interface Version {
  /** `int8`, `÷2 multiplications` */
  id: string;
  title: string;
  /** the file, for the download; null where there is none, or where random inputs have calibrated it */
  file: Blob | null;
  bytes: number | null;
  /** why there is no such model */
  reason: string | null;
  multiplications: number | null;
  /** milliseconds of a run, and of the original in the same turns; null until they are taken */
  time: { before: number; after: number } | null;
  /** on samples that nothing was fitted to: of the outputs before a final Softmax, and the part with the same best class */
  error: number | null;
  agreement: number | null;
  /** how many samples that is told of */
  verified: number;
  /** samples that it changes most; null where it was compared on none */
  worst: readonly WorstSample[] | null;
  warnings: readonly string[];
  /** of low rank */
  layers: readonly FittedLayer[] | null;
  isInt8: boolean;
  isLowRank: boolean;
}

/** How images become samples. */
export interface ImageSettings {
  /** of values from 0 to 1, one number or three in the model's order of channels */
  mean: readonly number[];
  std: readonly number[];
  /** blue first */
  bgr: boolean;
  /** all of an image, in place of its middle */
  stretch: boolean;
}

/** What is asked for. */
export interface Job {
  target: Pick<OnnxTarget, "multiplications" | "weights" | "time">;
  /** `÷2 multiplications` */
  title: string;
  /** also in int8, alone and on top */
  int8: boolean;
  /** shapes of inputs that the model leaves open */
  shapes: Readonly<Record<string, readonly number[]>>;
  /** ids of versions that are there already */
  known: readonly string[];
}

export type ToCompressor =
  | {
      type: "open";
      file: Blob;
      name: string;
      /** files of weights, dropped with the model */
      beside: readonly (readonly [name: string, file: Blob])[];
    }
  | { type: "inspect"; shapes: Job["shapes"] }
  | { type: "sample"; file: Blob; name: string }
  /** samples that the page has made; `null`: random inputs again */
  | { type: "samples"; shape: readonly number[]; data: Float32Array<ArrayBuffer> }
  | { type: "images"; files: readonly File[]; images: ImageSettings; shapes: Job["shapes"] }
  | { type: "forget" }
  | { type: "compress"; job: Job }
  | { type: "abort" };

export type FromCompressor =
  | { type: "opened"; model: ModelInfo }
  | { type: "decoded"; count: number }
  | { type: "sampled"; count: number }
  | { type: "progress"; done: number; words: string; layer: string | null }
  | { type: "version"; version: Version }
  /** milliseconds of a run, taken in turns */
  | { type: "times"; original: number; times: readonly (readonly [id: string, ms: number])[] }
  | { type: "end" }
  | { type: "failed"; message: string };
