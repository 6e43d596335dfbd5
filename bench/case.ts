import type { Engine, Scheduler, Tensor } from "../src/gpu/index.js";
import type { Goal } from "./goals.js";

/** Numbers that anybody can make again: uniform on [low, high), from a hash of the seed and the index (inputs.ts). */
export interface Values {
  shape: readonly number[];
  seed: number;
  low?: number;
  high?: number;
}

/** A tensor of exact CP rank plus uniform noise, as a share of its largest entries. */
export interface Planted {
  shape: readonly number[];
  seed: number;
  rank: number;
  noise: number;
}

/** A tensor of exact CP rank whose terms lie at an angle to each other, plus uniform noise. */
export interface Modelled {
  shape: readonly number[];
  seed: number;
  rank: number;
  /** of the angle between any two columns of a factor: 0 for orthogonal ones; null for random columns */
  cosine: number | null;
  /** ‖noise‖ / ‖model‖ */
  noise: number;
}

/** n→h→k with bias and ReLU in the middle and, as asked, a bias at the end; Adam, mean cross-entropy, batches in file order. */
export interface Network {
  inputs: number;
  hidden: number;
  classes: number;
  /** inputs are multiples of 1/255, as grey images are: who can keeps them as bytes, the others as f32 */
  pixels: boolean;
  /** of the last layer */
  bias: boolean;
  samples: number;
  batch: number;
  rate: number;
  seed: number;
}

/** LeNet-5 (conv 1→6, conv 6→16, 400-120-84-10, relu, max pooling) on 28×28 images of multiples of 1/255; Adam, as above. */
export interface Lenet {
  samples: number;
  batch: number;
  rate: number;
  seed: number;
}

/** Shapes of its weights and biases, in turn. */
export const LENET_PARAMETERS: readonly (readonly number[])[] = [
  [6, 1, 5, 5],
  [6],
  [16, 6, 5, 5],
  [16],
  [120, 400],
  [120],
  [84, 120],
  [84],
  [10, 84],
  [10],
];

/** What a case computes, as plain data: peers and the TensorLy script do the same from it. */
export type Work =
  | { op: "matmul"; a: Values; b: Values }
  | { op: "gram"; a: Values }
  | { op: "modeProduct"; x: Values; u: Values; mode: number }
  | { op: "mttkrp"; x: Values; factors: readonly Values[]; mode: number }
  | { op: "cpSweep"; x: Planted; factors: readonly Values[] }
  | { op: "gaussNewton"; x: Planted; factors: readonly Values[] }
  | { op: "cpToError"; x: Modelled; rank: number; error: number; sweeps: number; factors: readonly Values[] }
  | { op: "hooiSweep"; x: Planted; ranks: readonly number[]; factors: readonly Values[] }
  | { op: "eigen" | "svd"; a: Values }
  | { op: "cholesky"; a: Values; b: Values }
  | { op: "orthogonalise"; a: Values }
  | { op: "conv2d"; x: Values; w: Values; padding: number }
  | { op: "lowRank"; x: Values; a: Values; b: Values }
  | { op: "tucker2"; x: Values; first: Values; core: Values; last: Values; padding: number }
  | { op: "training"; network: Network }
  | { op: "lenet"; network: Lenet };

/** Input arrays of a work, in the order of its members. */
export type Inputs = readonly Float32Array[];

/** What one of the parties did, ready to be repeated. */
export interface Prepared {
  /** queues the work so many times and resolves when all of it is done */
  run(times: number): Promise<void>;
  /** results of the last run, or of the first where a run goes on from the one before */
  outputs(): Promise<Float32Array[]>;
  /** milliseconds of the kernels alone in one run, where the adapter tells */
  kernelTime?(): Promise<number | null>;
  /** how often one run reads the tensor in question */
  readonly reads?: number;
  /** which of several ways this is, where there was a choice, and what the last run took, where that is not known before */
  readonly way?: string;
  /** milliseconds of upload, compiling and the first run of that way alone, where others were tried too */
  firstMs?: number;
  destroy(): void;
}

/** Relative error of somebody's results, computed in f64. */
export type Check = (outputs: readonly Float32Array[]) => number;

export interface Case {
  name: string;
  /** in words: what is multiplied with what */
  shapes: string;
  /** of one run, as the plain algorithm has them */
  flops: number;
  /** that one run must move: inputs once, outputs once */
  bytes: number;
  work: Work;
  /** larger relative errors are WRONG */
  tolerance: number;
  /** the choice between kernels of ours, by name, of which this case measures every variant */
  choice?: string;
  /** steps in one run: times and counts are shown a step */
  steps?: number;
  goals?: readonly Goal[];
  /** minutes of work on a software adapter: left out where no pattern asks for it */
  large?: boolean;
  /** what one step may take: reads of the tensor exactly (at most, where an error is to be reached), the others at most */
  counts: { reads?: number; dispatches: number; submits: number; readbacks: number };
  /** records the work; returns its results */
  run?: (s: Scheduler, operands: readonly Tensor[]) => Tensor[];
  /** for work that is more than one recording */
  prepare?: (engine: Engine, inputs: Inputs) => Promise<Prepared>;
  /** other ways of ours to do it, by name, each a party as `prepare` is */
  alternatives?: Readonly<Record<string, (engine: Engine, inputs: Inputs) => Promise<Prepared>>>;
  /** whether `tolerance` is an error to be reached, in as many sweeps as the work allows: who does not is told, and not WRONG */
  isTarget?: boolean;
  /** the inputs, and the check against an f64 reference computed from them */
  inputs(): Inputs;
  reference(inputs: Inputs): Check;
}

/** Operands of a work, with their shapes: what is uploaded before anything is timed. */
export function operandsOf(work: Work): readonly { shape: readonly number[] }[] {
  switch (work.op) {
    case "matmul":
    case "cholesky":
      return [work.a, work.b];
    case "gram":
    case "eigen":
    case "svd":
    case "orthogonalise":
      return [work.a];
    case "modeProduct":
      return [work.x, work.u];
    case "conv2d":
      return [work.x, work.w];
    case "lowRank":
      return [work.x, work.a, work.b];
    case "tucker2":
      return [work.x, work.first, work.core, work.last];
    case "mttkrp":
    case "cpSweep":
    case "gaussNewton":
    case "cpToError":
    case "hooiSweep":
      return [work.x, ...work.factors];
    case "training": {
      const { inputs, hidden, classes, samples } = work.network;
      return [[samples, inputs], [samples], [hidden, inputs], [hidden], [classes, hidden], [classes]].map((shape) => ({
        shape,
      }));
    }
    case "lenet": {
      const { samples } = work.network;
      return [[samples, 1, 28, 28], [samples], ...LENET_PARAMETERS].map((shape) => ({ shape }));
    }
  }
}

/** A party that measures cases besides us. */
export interface Peer {
  /** `jax-js 0.1.25` */
  name: string;
  /** null where it cannot do this work at all */
  prepare(work: Work, inputs: Inputs, isRight: (outputs: readonly Float32Array[]) => boolean): Promise<Prepared | null>;
}

/** What a peer's module exports. */
export interface PeerModule {
  open(): Promise<Peer>;
}
