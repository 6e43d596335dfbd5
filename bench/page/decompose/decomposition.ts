/** One decomposition of images, by the library's public names, and what the page shows of it. */
import { PIXELS } from "../../../src/experiments/digits.js";
import {
  cpALS,
  type Decomposition,
  type Engine,
  type Iteration,
  type KruskalTensor,
  map,
  mean,
  subtract,
  type Tensor,
  type TuckerTensor,
  tuckerHOOI,
} from "../../../src/index.js";
import { uploadImages } from "../digits.js";

/**
 * `tucker` reduces the images' mode alone, ranks (r, 28, 28): its smaller ranks are the first columns of a larger one
 * (Eckart & Young 1936). `tucker10` keeps 10×10 of the pixel modes too, `cp` is a sum of rank-one terms: each of their
 * ranks is a problem of its own.
 */
export type Method = "tucker" | "tucker10" | "cp";

export interface Settings {
  method: Method;
  rank: number;
  centred: boolean;
  seed: number;
}

/** X̂ = loadings · basis (+ mean), with one row an image. */
export interface Decomposed {
  settings: Settings;
  /** images */
  count: number;
  /** count×rank */
  loadings: Float32Array;
  /** rank×784 */
  basis: Float32Array;
  /** [784] where images were centred */
  mean: Float32Array | null;
  /** relative error after each sweep */
  errors: number[];
  relativeError: number;
  /** numbers stored */
  parameters: number;
  converged: boolean;
  aborted: boolean;
  seconds: number;
}

export const SWEEPS = { tucker: 60, tucker10: 60, cp: 100 } as const;
export const TOLERANCE = 1e-5;
const SIDE = 28;

/** Decomposes N×784 bytes. Everything that it allocates is freed. */
export async function decompose(
  engine: Engine,
  images: Uint8Array,
  settings: Settings,
  onIteration: (iteration: Iteration) => void,
  signal: AbortSignal,
): Promise<Decomposed> {
  const { method, rank, centred, seed } = settings;
  using pixels = await uploadImages(engine, images, signal);
  const started = performance.now();
  using average = engine.tensor([1, SIDE, SIDE], null, { label: "mean image" });
  using x = centred ? await centre(engine, pixels, average) : pixels;
  // a sweep a submit leaves the GPU to the page in between
  const stopping = { sweeps: SWEEPS[method], tolerance: TOLERANCE, sweepsPerSubmit: 1, seed, onIteration, signal };
  const result =
    method === "cp"
      ? await cpALS(engine, x, { ...stopping, rank })
      : await tuckerHOOI(engine, x, {
          ...stopping,
          ranks: [rank, ...(method === "tucker" ? [SIDE, SIDE] : [10, 10])],
        });
  using tensor = result.tensor;
  const seconds = (performance.now() - started) / 1000;
  const [loadings, basis] = await (method === "cp"
    ? cpParts(engine, result as Decomposition<KruskalTensor>)
    : tuckerParts(engine, result as Decomposition<TuckerTensor>));
  return {
    settings,
    count: images.length / PIXELS,
    loadings,
    basis,
    mean: centred ? ((await engine.read(average)) as Float32Array) : null,
    errors: result.errors,
    relativeError: result.relativeError,
    parameters: tensor.parameterCount + (centred ? PIXELS : 0),
    converged: result.converged,
    aborted: result.aborted,
    seconds,
  };
}

async function centre(engine: Engine, pixels: Tensor, average: Tensor): Promise<Tensor> {
  const out = engine.tensor(pixels.shape, null, { label: "centred images" });
  await engine.run((s) => {
    mean(s, pixels, { axis: 0, out: average.reshape([SIDE, SIDE]) });
    subtract(s, pixels, average, { out });
  });
  return out;
}

type Parts = [loadings: Float32Array, basis: Float32Array];

async function tuckerParts(engine: Engine, { tensor }: Decomposition<TuckerTensor>): Promise<Parts> {
  using out = engine.tensor([tensor.ranks[0]!, SIDE, SIDE], null, { label: "components" });
  await engine.run((s) => void map(s, tensor.basis(s, 0), "identity", { out }));
  return (await engine.read([tensor.factors[0]!, out])) as Parts;
}

/** A component of CP is λ_r b_r c_rᵀ. */
async function cpParts(engine: Engine, { tensor }: Decomposition<KruskalTensor>): Promise<Parts> {
  const [weights, loadings, rows, columns] = (await engine.read([tensor.weights, ...tensor.factors])) as Float32Array[];
  const { rank } = tensor;
  const basis = new Float32Array(rank * PIXELS);
  for (let r = 0; r < rank; r++)
    for (let i = 0; i < SIDE; i++)
      for (let j = 0; j < SIDE; j++)
        basis[r * PIXELS + i * SIDE + j] = weights![r]! * rows![i * rank + r]! * columns![j * rank + r]!;
  return [loadings!, basis];
}

/** Images `start` to `stop` as the first `rank` components give them, in pixels / 255. */
export function reconstruct(
  { loadings, basis, mean: average, settings }: Decomposed,
  rank: number,
  start: number,
  stop: number,
): Float32Array {
  const out = new Float32Array((stop - start) * PIXELS);
  for (let image = start; image < stop; image++) {
    const to = out.subarray((image - start) * PIXELS, (image - start + 1) * PIXELS);
    if (average) to.set(average);
    for (let r = 0; r < rank; r++) {
      const weight = loadings[image * settings.rank + r]!;
      const from = r * PIXELS;
      for (let pixel = 0; pixel < PIXELS; pixel++) to[pixel]! += weight * basis[from + pixel]!;
    }
  }
  return out;
}

/**
 * Relative error of every rank up to that of a nested decomposition, from the norms of its components: loadings are
 * orthonormal, so leaving out component r adds ‖G_r‖² to the squared error.
 */
export function errorsByRank({ basis, relativeError, settings: { rank } }: Decomposed): number[] {
  const energies = Array.from({ length: rank }, (_, r) =>
    basis.subarray(r * PIXELS, (r + 1) * PIXELS).reduce((sum, value) => sum + value * value, 0),
  );
  const explained = energies.reduce((a, b) => a + b, 0);
  const total = explained / (1 - relativeError ** 2);
  let left = total;
  return energies.map((energy, r) => {
    left -= energy;
    return r === rank - 1 ? relativeError : Math.sqrt(Math.max(0, left) / total);
  });
}
