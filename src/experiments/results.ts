/** What the MNIST study finds, as plain data; images and tables of numbers are packed as base64. */

/** A table of numbers, row-major: `u8` bytes or little-endian `f32`, in base64. */
export interface PackedArray {
  shape: number[];
  type: "u8" | "f32";
  base64: string;
}

export interface CurvePoint {
  epoch: number;
  /** running accuracy on the training set */
  train: number;
  validation: number;
}

export interface ReportNetwork {
  /** `784-3-3` */
  layout: string;
  inputs: number;
  hidden: number;
  parameters: number;
  slideParameters: number;
  /** multiplications for one image, without those of the projection */
  multiplications: number;
  testAccuracy: number;
  t10kAccuracy?: number;
  curve: CurvePoint[];
  /** confusion[true][predicted], counts on the test set */
  confusion: number[][];
}

/** Accuracies of one network over several seeds. */
export interface SeedRuns {
  accuracies: number[];
  /** runs that learnt nothing: their accuracy is the share of the commonest class */
  failures: number;
}

export interface ReportCase {
  digits: number[];
  rank: number;
  decompositionError: number;
  t10kDecompositionError?: number;
  images: { train: number; validation: number; test: number };
  full: ReportNetwork;
  decomposed: ReportNetwork;
  centred: ReportNetwork;
  /** share of test images on which the network folded into one 784×h layer predicts the same, and the largest difference of logits */
  fused: { agreement: number; largestDifference: number };
  seconds: { decompose: number; trainFull: number; trainDecomposed: number };
  /** the first 100 training images: bytes 0 to 255 (100×784) and their rank-r reconstructions in pixels / 255 (100×784) */
  originals: PackedArray;
  reconstructions: PackedArray;
  /** what these 100 images show, as indices into `digits` */
  originalLabels: number[];
  /** the components as images: r×784 */
  components: PackedArray;
  /** loadings of some training images (n×r), their labels and the images (n×784, bytes) */
  loadings: PackedArray;
  loadingLabels: number[];
  loadingImages: PackedArray;
  /** runs by the thesis' recipe, where it was asked for */
  slides?: { full: SeedRuns; decomposed: SeedRuns };
}

export interface SweepPoint {
  rank: number;
  /** on the held-out images */
  accuracy: number;
  decompositionError: number;
  parameters: number;
  /** for one image: those of the projection and of the network */
  multiplications: number;
}

export interface ReportSweep {
  digits: number[];
  hidden: number;
  points: SweepPoint[];
  full: { accuracy: number; multiplications: number; parameters: number };
}

/** Packs numbers, row-major. */
export function pack(values: Uint8Array | Float32Array, shape: number[]): PackedArray {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  let binary = "";
  for (let at = 0; at < bytes.length; at += 0x8000) binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return { shape, type: values instanceof Uint8Array ? "u8" : "f32", base64: btoa(binary) };
}

/** The numbers of a packed table; bytes stay bytes. */
export function unpack({ type, base64 }: PackedArray): Uint8Array | Float32Array {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return type === "u8" ? bytes : new Float32Array(bytes.buffer);
}
