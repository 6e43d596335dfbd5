/** Products and norms of decomposed tensors, which `norm`, `innerProduct` and `modeProduct` load when they get one. */
import { type Engine, formatShape, type Scheduler, ShapeError, shown, TenfoldError, Tensor } from "../gpu/index.js";
import {
  copy,
  innerProduct,
  largestMagnitude,
  matmul,
  modeProduct,
  mttkrp,
  multiply,
  scale,
  sum,
} from "../ops/index.js";
import { BlockTermTensor } from "./blockTerm.js";
import { type DecomposedTensor, isDecomposed } from "./kinds.js";
import { KruskalTensor } from "./kruskal.js";
import { made } from "./made.js";
import { TensorRing } from "./tensorRing.js";
import { TensorTrain } from "./tensorTrain.js";
import { TuckerTensor } from "./tucker.js";

type Operand = DecomposedTensor | Tensor;
type Train = TensorTrain | TensorRing;

const isTrain = (x: Operand): x is Train => x instanceof TensorTrain || x instanceof TensorRing;

function check(operation: string, name: string, x: Operand): void {
  if (!isDecomposed(x) && !(x instanceof Tensor))
    throw new TenfoldError(
      `${operation}: ${name} is ${shown(x)}, needs a Tensor, or a decomposed tensor as of cpALS(engine, x, …).tensor`,
    );
}

export async function normOf(x: DecomposedTensor): Promise<number> {
  if (!isDecomposed(x))
    throw new TenfoldError(
      `norm: ${shown(x)}, needs a decomposed tensor as of cpALS(engine, x, …).tensor; of a tensor it is recorded: norm(s, x)`,
    );
  if (isTrain(x)) return await (await import("./trains.js")).normOf(x);
  return Math.sqrt(Math.max(0, await inner(x, x)));
}

export async function innerProductOf(x: Operand, y: Operand): Promise<number> {
  check("innerProduct", "x", x);
  check("innerProduct", "y", y);
  if (x.engine !== y.engine) throw new TenfoldError("innerProduct: x and y belong to different engines");
  if (formatShape(x.shape) !== formatShape(y.shape))
    throw new ShapeError(
      `innerProduct: x is ${formatShape(x.shape)}, y ${formatShape(y.shape)}, they need the same shape`,
    );
  return await inner(x, y);
}

async function inner(x: Operand, y: Operand): Promise<number> {
  if (isTrain(x) && isTrain(y)) return await (await import("./trains.js")).innerProductOf(x, y);
  if (isTrain(x)) return await withFull(x, (full) => inner(full, y));
  if (isTrain(y)) return await inner(y, x);
  if (x instanceof BlockTermTensor) {
    let total = 0;
    for (const block of x.blocks) total += await inner(block, y);
    return total;
  }
  if (y instanceof BlockTermTensor) return await inner(y, x);
  if (x instanceof KruskalTensor) return y instanceof KruskalTensor ? await kruskals(x, y) : await kruskalWith(x, y);
  if (y instanceof KruskalTensor) return await kruskalWith(y, x);
  return await coresOf(x, y);
}

/** Lends the tensor that a train stands for. */
async function withFull(x: Train, use: (full: Tensor) => Promise<number>): Promise<number> {
  using full = x.engine.tensor(x.shape, null, { label: "full tensor" });
  await x.engine.run((s) => void x.full(s, full), "full tensor");
  return await use(full);
}

/** λᵀ(⊛ A⁽ⁿ⁾ᵀB⁽ⁿ⁾)μ: the matrices on the GPU, the rest in f64. */
async function kruskals(a: KruskalTensor, b: KruskalTensor): Promise<number> {
  const { engine } = a;
  const products = await readRecorded(engine, (s) =>
    a.factors.map((factor, mode) => matmul(s, factor, b.factors[mode]!, { transposeA: true })),
  );
  const [weights, others] = await engine.read([a.weights, b.weights]);
  let total = 0;
  for (let i = 0; i < a.rank; i++)
    for (let j = 0; j < b.rank; j++) {
      let term = weights![i]! * others![j]!;
      for (const product of products) term *= product[i * b.rank + j]!;
      total += term;
    }
  return total;
}

/** Σ_r λ_r ⟨y, a_r ∘ b_r ∘ …⟩ */
async function kruskalWith({ engine, factors, weights }: KruskalTensor, y: TuckerTensor | Tensor): Promise<number> {
  const exponent = await exponentOf(y);
  const [terms] = await readRecorded(engine, (s) => {
    const core = scaled(s, y instanceof Tensor ? y : y.core, exponent);
    const seen = factors.map((factor, mode) => {
      const other = y instanceof Tensor ? null : y.factors[mode];
      return other ? matmul(s, other, factor, { transposeA: true }) : factor;
    });
    // with one mode there is nothing else to contract
    const product = seen.length > 1 ? mttkrp(s, core, seen, 0) : core.reshape([core.size, 1]);
    return [sum(s, multiply(s, product, seen[0]!), { axis: 0 })];
  });
  const lambda = await weights.read();
  return lambda.reduce((total, weight, r) => total + weight * terms![r]!, 0) * 2 ** exponent;
}

/** Two tensors, or cores after all factors. */
async function coresOf(x: TuckerTensor | Tensor, y: TuckerTensor | Tensor): Promise<number> {
  const [first, second] = [await exponentOf(x), await exponentOf(y)];
  const [product] = await readRecorded(x.engine, (s) => {
    const factorsOf = (t: TuckerTensor | Tensor) => (t instanceof Tensor ? t.shape.map(() => null) : t.factors);
    const a = scaled(s, x instanceof Tensor ? x : x.core, first);
    let b = scaled(s, y instanceof Tensor ? y : y.core, second);
    const [mine, theirs] = [factorsOf(x), factorsOf(y)];
    // modes that shrink most come first
    const growth = (mode: number) => a.shape[mode]! / b.shape[mode]!;
    const modes = [...a.shape.keys()].sort((m, n) => growth(m) - growth(n));
    for (const mode of modes) {
      const [factor, other] = [mine[mode], theirs[mode]];
      if (factor && other) b = modeProduct(s, b, matmul(s, factor, other, { transposeA: true }), mode);
      else if (factor) b = modeProduct(s, b, factor, mode, { transpose: true });
      else if (other) b = modeProduct(s, b, other, mode);
    }
    return [innerProduct(s, a, b)];
  });
  return product![0]! * 2 ** first * 2 ** second;
}

/** Largest magnitudes from 2^−30 to 2^30 stay as they are: squares of them, and sums of squares, are within f32. */
const SAFE = 30;

/** The power of two by which a tensor or a core is divided before it is squared. */
async function exponentOf(x: TuckerTensor | Tensor): Promise<number> {
  const tensor = x instanceof Tensor ? x : x.core;
  const [largest] = await readRecorded(x.engine, (s) => [largestMagnitude(s, tensor)]);
  const exponent = largest![0]! > 0 && Number.isFinite(largest![0]) ? Math.floor(Math.log2(largest![0]!)) : 0;
  return Math.abs(exponent) <= SAFE ? 0 : exponent;
}

/** x / 2^exponent; in two steps, as the power may be beyond f32. */
function scaled(s: Scheduler, x: Tensor, exponent: number): Tensor {
  if (exponent === 0) return x;
  const half = Math.trunc(exponent / 2);
  return scale(s, scale(s, x, { alpha: 2 ** -half }), { alpha: 2 ** -(exponent - half) });
}

/** Records, runs, and reads temporaries. */
export async function readRecorded(engine: Engine, record: (s: Scheduler) => Tensor[]): Promise<Float32Array[]> {
  const s = engine.scheduler("products");
  const results = record(s);
  const schedule = await s.compile();
  try {
    engine.submit(schedule);
    return await engine.read(results);
  } finally {
    schedule.destroy();
  }
}

export async function modeProductOf(x: DecomposedTensor, u: Tensor, mode: number): Promise<DecomposedTensor> {
  if (!isDecomposed(x))
    throw new TenfoldError(
      `modeProduct: the first argument is ${shown(x)}, needs a Scheduler or a decomposed tensor as of cpALS(engine, x, …).tensor`,
    );
  if (!(u instanceof Tensor)) throw new TenfoldError(`modeProduct: u is ${shown(u)}, needs a Tensor`);
  const { shape } = x;
  if (!(Number.isInteger(mode) && mode >= 0 && mode < shape.length))
    throw new ShapeError(
      `modeProduct: mode ${shown(mode)} of a tensor of shape ${formatShape(shape)}, needs 0 to ${shape.length - 1}`,
    );
  const extent = shape[mode]!;
  if (u.order < 1 || u.order > 2 || u.shape.at(-1) !== extent)
    throw new ShapeError(`modeProduct (mode ${mode}): ${u}, needs a matrix J×${extent} or a vector of ${extent}`);
  if (u.order === 1 && shape.length === 1)
    throw new ShapeError("modeProduct: no mode would be left; the inner product with the vector is innerProduct(x, u)");
  if (isTrain(x)) return await (await import("./trains.js")).modeProductOf(x, u, mode);
  if (x instanceof KruskalTensor) return await kruskalTimes(x, u, mode);
  if (x instanceof TuckerTensor) return await tuckerTimes(x, u, mode);
  const blocks: TuckerTensor[] = [];
  try {
    for (const block of x.blocks) blocks.push(await tuckerTimes(block, u, mode));
    return new BlockTermTensor(blocks);
  } catch (error) {
    for (const block of blocks) block.destroy();
    throw error;
  }
}

async function kruskalTimes(
  { engine, weights, factors }: KruskalTensor,
  u: Tensor,
  mode: number,
): Promise<KruskalTensor> {
  const isVector = u.order === 1;
  const others = factors.filter((_, k) => !isVector || k !== mode);
  const shapes = others.map((factor, k): readonly [readonly number[], string] => [
    !isVector && k === mode ? [u.shape[0]!, factor.shape[1]!] : factor.shape,
    factor.label,
  ]);
  const [lambda, ...results] = await made(
    engine,
    [[weights.shape, "weights"], ...shapes],
    (s, [lambda, ...out]) => {
      if (isVector) {
        const loadings = matmul(s, u.reshape([1, -1]), factors[mode]!);
        multiply(s, weights, loadings.reshape(weights.shape), { out: lambda! });
      } else copy(s, weights, { out: lambda! });
      others.forEach((factor, k) => {
        if (!isVector && k === mode) matmul(s, u, factor, { out: out[k]! });
        else copy(s, factor, { out: out[k]! });
      });
    },
    "mode product",
  );
  return new KruskalTensor(lambda!, results);
}

async function tuckerTimes({ engine, core, factors }: TuckerTensor, u: Tensor, mode: number): Promise<TuckerTensor> {
  const isVector = u.order === 1;
  const coreShape = isVector ? core.shape.filter((_, k) => k !== mode) : core.shape;
  const others = factors.filter((_, k) => !isVector || k !== mode);
  const isChanged = (k: number) => !isVector && k === mode;
  const shapes = others.flatMap((factor, k): (readonly [readonly number[], string])[] => {
    if (isChanged(k)) return [[[u.shape[0]!, core.shape[mode]!], `factor ${k}`]];
    return factor ? [[factor.shape, `factor ${k}`]] : [];
  });
  const [newCore, ...results] = await made(
    engine,
    [[coreShape, "core"], ...shapes],
    (s, [newCore, ...out]) => {
      const factor = factors[mode];
      if (isVector) {
        const row = u.reshape([1, -1]);
        const loadings = factor ? matmul(s, row, factor) : row;
        copy(s, modeProduct(s, core, loadings, mode), { out: newCore! });
      } else copy(s, core, { out: newCore! });
      const targets = out[Symbol.iterator]();
      others.forEach((other, k) => {
        if (isChanged(k) && other) matmul(s, u, other, { out: targets.next().value! });
        else if (isChanged(k)) copy(s, u, { out: targets.next().value! });
        else if (other) copy(s, other, { out: targets.next().value! });
      });
    },
    "mode product",
  );
  const targets = results[Symbol.iterator]();
  return new TuckerTensor(
    newCore!,
    others.map((factor, k) => (factor || isChanged(k) ? targets.next().value! : null)),
  );
}
