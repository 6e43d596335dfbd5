/** One decomposition of a tensor that is read in pieces, by the library's public names, and what is measured of it. */

import {
  type Engine,
  factorMatchScore,
  gram,
  hadamard,
  type Iteration,
  KruskalTensor,
  type Masked,
  masked,
  mttkrp,
  multiply,
  permute,
  sum,
  type Tensor,
} from "../../../src/index.js";
import type { Method, Task } from "../../../src/methods/index.js";
import { hostModelOf } from "../../../src/report/hostModel.js";
import type { DecompositionData } from "../../../src/report/model.js";
import { measureResiduals } from "../../../src/report/residuals.js";

/** What is decomposed. */
export interface Numbers {
  /** as the file has it */
  shape: readonly number[];
  /** the shape to decompose, of as many entries */
  as: readonly number[];
  isColumnMajor: boolean;
  /** Hands over all numbers in the file's order, in pieces of a multiple of 64 (but the last), each when the one before was taken. */
  read(take: (piece: Float32Array<ArrayBuffer>) => void | Promise<void>): Promise<void>;
  /** the factors that the data were made of, where they are known */
  truth: readonly Float32Array<ArrayBuffer>[] | null;
  /** whether entries that are not finite are missing, and left out */
  isMissing?: boolean;
}

/** Matrices that are decomposed together. */
export interface SliceNumbers {
  slices: readonly (Numbers & { name: string })[];
}

/** X on the GPU, and where entries are missing 1 for those that are known, and 0 for the others, which are 0 in X. */
interface Uploaded {
  x: Tensor;
  known: Tensor | null;
}

/** What is measured, without the names that only the page knows. */
export type Measured = Pick<
  DecompositionData,
  | "model"
  | "errors"
  | "relativeError"
  | "starts"
  | "squaredNorm"
  | "slices"
  | "residuals"
  | "products"
  | "match"
  | "parameters"
  | "seconds"
> & { converged: boolean; stalled: boolean; aborted: boolean };

/** bytes that may be on their way to the GPU */
const MOST_WAITING = 2 ** 24;

/** X on the GPU, piece by piece. */
export async function upload(engine: Engine, numbers: Numbers): Promise<Uploaded> {
  const { shape, isColumnMajor, read, isMissing } = numbers;
  const inFile = isColumnMajor ? [...shape].reverse() : shape;
  const tensors: Tensor[] = [];
  const create = (label: string, extents = inFile): Tensor => {
    const tensor = engine.tensor(extents, null, { label });
    tensors.push(tensor);
    return tensor;
  };
  try {
    const x = create("X");
    const known = isMissing ? create("known entries") : null;
    const flat = [x.reshape([-1]), known?.reshape([-1])] as const;
    let [at, waiting] = [0, 0];
    await read(async (piece) => {
      const to = at + piece.length;
      if (flat[1]) {
        const isKnown = new Float32Array(piece.length);
        for (let i = 0; i < piece.length; i++)
          if (Number.isFinite(piece[i])) isKnown[i] = 1;
          else piece[i] = 0;
        flat[1].rows(at, to).write(isKnown);
      }
      flat[0].rows(at, to).write(piece);
      at = to;
      waiting += piece.byteLength;
      if (waiting < MOST_WAITING) return;
      // the browser holds what the GPU has not taken yet
      waiting = 0;
      await engine.device.queue.onSubmittedWorkDone();
    });
    const turn = async (tensor: Tensor, label: string): Promise<Tensor> => {
      if (!isColumnMajor) return tensor.reshape(numbers.as);
      const turned = create(label, shape);
      const order = shape.map((_, mode) => shape.length - 1 - mode);
      await engine.run((s) => void permute(s, tensor, order, { out: turned }), "order of the modes");
      tensor.destroy();
      return turned.reshape(numbers.as);
    };
    return { x: await turn(x, "X"), known: known && (await turn(known, "known entries")) };
  } catch (error) {
    for (const tensor of tensors) tensor.destroy();
    throw error;
  }
}

/** X, or a slice of it, and the source of it where entries are missing. */
interface Upload extends Uploaded {
  name: string;
  source: Masked | null;
}

/** Uploads one after the other, calls `work` with all of them, and frees them. */
async function withUploads<T>(
  engine: Engine,
  [first, ...rest]: readonly (Numbers & { name: string })[],
  signal: AbortSignal,
  work: (uploads: readonly Upload[]) => Promise<T>,
  uploads: readonly Upload[] = [],
): Promise<T> {
  if (!first) return await work(uploads);
  const uploaded = await upload(engine, first);
  using x = uploaded.x;
  using known = uploaded.known;
  signal.throwIfAborted();
  using source = known && (await masked(engine, x, { mask: known }));
  return await withUploads(engine, rest, signal, work, [...uploads, { name: first.name, x, known, source }]);
}

/** Decomposes X. Everything that it allocates is freed. */
export async function decompose(
  engine: Engine,
  data: Numbers | SliceNumbers,
  method: Method,
  task: Pick<Task, "algorithm" | "asked">,
  tell: (step: "reading" | "decomposing" | "measuring") => void,
  onIteration: (iteration: Iteration) => void,
  signal: AbortSignal,
): Promise<Measured> {
  tell("reading");
  const parts = "slices" in data ? data.slices : [{ ...data, name: "X" }];
  return await withUploads(engine, parts, signal, (uploads) =>
    decomposed(engine, data, uploads, method, task, tell, onIteration, signal),
  );
}

async function decomposed(
  engine: Engine,
  data: Numbers | SliceNumbers,
  uploads: readonly Upload[],
  method: Method,
  task: Pick<Task, "algorithm" | "asked">,
  tell: (step: "decomposing" | "measuring") => void,
  onIteration: (iteration: Iteration) => void,
  signal: AbortSignal,
): Promise<Measured> {
  const { x, known, source } = uploads[0]!;
  tell("decomposing");
  const started = performance.now();
  // a sweep a submit leaves the GPU to the page in between
  const full: Task = { ...task, watch: { sweepsPerSubmit: 1, onIteration, signal } };
  const solution =
    "slices" in data
      ? await method.runSlices!(
          engine,
          uploads.map(({ name, x, source }) => ({ name, x: source ?? x })),
          full,
        )
      : await method.run(engine, source ?? x, full);
  using tensor = solution.tensor;
  const seconds = (performance.now() - started) / 1000;
  tell("measuring");
  const { relativeError, starts = null } = solution;
  // what has no steps is done when it is done
  const { errors, converged, stalled, aborted } = solution.course ?? {
    ...{ errors: [], converged: true, stalled: false, aborted: signal.aborted },
  };
  const products = tensor instanceof KruskalTensor && !known ? await productsOf(engine, x, tensor) : null;
  const truth = "slices" in data ? null : data.truth;
  const match = truth && tensor instanceof KruskalTensor ? await matchOf(engine, tensor, truth) : null;
  // slices of several lengths are no tensor that has slices of every mode
  const residuals =
    "slices" in data
      ? { slices: null, residuals: null, squaredNorm: await squaredNormOf(engine, uploads) }
      : await measureResiduals(engine, { x, known }, tensor);
  return {
    ...{
      model: (await hostModelOf(tensor)).model,
      errors,
      relativeError,
      starts,
      ...residuals,
      products,
      match,
      seconds,
      converged,
      stalled,
      aborted,
    },
    parameters: tensor.parameterCount,
  };
}

/** ‖X‖² of slices. */
async function squaredNormOf(engine: Engine, uploads: readonly Upload[]): Promise<number> {
  using norms = engine.tensor([uploads.length, 64], null, { label: "squared norms" });
  await engine.run((s) => {
    for (const [at, { x }] of uploads.entries()) {
      const squares = multiply(s, x, x);
      sum(s, squares, {
        out: norms
          .rows(at, at + 1)
          .reshape([64])
          .rows(0, 1),
      });
      s.release(squares);
    }
  }, "‖X‖²");
  const read = await norms.read();
  return uploads.reduce((total, _, at) => total + read[64 * at]!, 0);
}

/** The inner products of the terms with X, and with each other. */
async function productsOf(
  engine: Engine,
  x: Tensor,
  { weights, factors, rank }: KruskalTensor,
): Promise<NonNullable<DecompositionData["products"]>> {
  using withX = engine.tensor([rank], null, { label: "X with the terms" });
  using between = engine.tensor([rank, rank], null, { label: "terms with terms" });
  await engine.run((s) => {
    const entries = multiply(s, mttkrp(s, x, factors, 0), factors[0]!);
    multiply(s, sum(s, entries, { axis: 0 }), weights, { out: withX });
    const grams = factors.map((factor) => gram(s, factor));
    const outer = gram(s, weights.reshape([1, rank]));
    hadamard(
      s,
      grams.reduce((product, other) => hadamard(s, product, other)),
      outer,
      { out: between },
    );
  }, "products of the terms");
  const [of, among] = (await engine.read([withX, between])) as Float32Array[];
  return { withX: of!, between: among! };
}

/** How well the components are those that the data were made of. */
async function matchOf(
  engine: Engine,
  tensor: KruskalTensor,
  truth: readonly Float32Array<ArrayBuffer>[],
): Promise<number> {
  const rank = truth[0]!.length / tensor.shape[0]!;
  using reference = new KruskalTensor(
    engine.tensor([rank], new Float32Array(rank).fill(1)),
    truth.map((factor) =>
      engine.tensor(
        [-1, rank].map((extent) => (extent < 0 ? factor.length / rank : extent)),
        factor,
      ),
    ),
  );
  return (await factorMatchScore(tensor, reference, { considerWeights: false })).score;
}
