/** How large data and residual are, slice by slice of every mode and entry by entry: measured on the GPU, a slab at a time where the tensor lies in slabs. */
import { type Engine, OutOfLimitsError, Program, type Scheduler, sizeOf, type Tensor } from "../gpu/index.js";
import {
  HISTOGRAM_BINS,
  histogram,
  histogramBins,
  multiply,
  paste,
  scaleByPower,
  slice,
  subtract,
  sum,
  sumOfSquares,
} from "../ops/index.js";
import { type Model, modelRows, SlabResult, Slabs } from "../sources/index.js";
import { BlockTermTensor, Parafac2Tensor, TensorRing, TensorTrain, type TuckerTensor } from "../tensors/index.js";
import { type DecompositionData, type SliceSquares, scaledBins } from "./model.js";

/** X, and where entries are missing 1 for those that are known, and 0 for the others, which are 0 in X. */
export interface Measured {
  x: Tensor | Slabs;
  known?: Tensor | null;
}

/** The squared norms that are sums in f32, and their parts, without overflow or underflow. */
const isInRange = (squaredNorm: number): boolean => squaredNorm > 1e-25 && squaredNorm < 1e30;

/** What is measured on the GPU. */
interface Sums {
  slices: readonly { residual: Tensor; data: Tensor }[];
  counts: Tensor<"u32">;
}

/**
 * ‖X‖², and what X − X̂ is like: the squares of its slices and of those of X, of known entries (in slabs of x = X / 2^exponent), and
 * how many of its entries lie where.
 *
 * @returns `slices` and `residuals` null where the GPU has no room for X̂ (of a slab), or squares leave f32
 */
export async function measureResiduals(
  engine: Engine,
  { x, known = null }: Measured,
  result: Model | Parafac2Tensor,
): Promise<Pick<DecompositionData, "slices" | "residuals" | "squaredNorm">> {
  const squares = x instanceof Slabs ? x.squaredNorm : await squaredNormOf(engine, x);
  const squaredNorm = x instanceof Slabs ? squares * 4 ** x.exponent : squares;
  if (!isInRange(squares)) return { slices: null, residuals: null, squaredNorm };
  const { shape } = x;
  const slices = shape.map((extent) => ({ residual: engine.tensor([extent]), data: engine.tensor([extent]) }));
  using counts = engine.tensor([HISTOGRAM_BINS], null, { dtype: "u32", label: "residuals" });
  using missing = known && engine.tensor([HISTOGRAM_BINS], null, { dtype: "u32", label: "missing entries" });
  const model = result instanceof Parafac2Tensor ? new AlignedSlices(result) : result;
  try {
    if (x instanceof Slabs) await inSlabs(engine, x, model, { slices, counts });
    else {
      using full = engine.tensor(shape, null, { label: "X̂" });
      await engine.run((s) => {
        model.full(s, full);
        const difference = subtract(s, x, full);
        const residual = known ? multiply(s, difference, known) : difference;
        for (const [mode, { residual: lack, data }] of slices.entries()) {
          sliceSums(s, residual, mode, lack);
          sliceSums(s, x, mode, data);
        }
        histogram(s, residual, counts);
        if (known && missing) histogram(s, known, missing);
      }, "residuals");
    }
    const read = await engine.read(slices.flatMap(({ residual, data }) => [residual, data]));
    const words = await engine.read(counts);
    if (missing) {
      // a missing entry is 0 in `known`, and its residual is 0 or −0
      words[0]! += words[HISTOGRAM_BINS / 2]! - (await engine.read(missing))[0]!;
      words[HISTOGRAM_BINS / 2] = 0;
    }
    const scale = x instanceof Slabs ? 2 ** x.exponent : 1;
    return {
      slices: shape.map((_, mode) => ({ residual: read[2 * mode]!, data: read[2 * mode + 1]! })),
      residuals: scaledBins(histogramBins(words), scale),
      squaredNorm,
    };
  } catch (error) {
    if (error instanceof OutOfLimitsError) return { slices: null, residuals: null, squaredNorm };
    throw error;
  } finally {
    for (const { residual, data } of slices) for (const tensor of [residual, data]) tensor.destroy();
  }
}

/** A PARAFAC2 model of slices that all have the same shape, as one tensor K×I×J. */
class AlignedSlices implements Model {
  readonly shape: readonly number[];

  constructor(private readonly model: Parafac2Tensor) {
    this.shape = [model.projections.length, ...model.shapes[0]!];
  }

  full(s: Scheduler, out: Tensor): Tensor {
    for (let k = 0; k < this.shape[0]!; k++) {
      const slice = this.model.full(s, k);
      paste(s, slice.reshape([1, ...slice.shape]), out, [k, 0, 0]);
      s.release(slice);
    }
    return out;
  }
}

/** A PARAFAC2 model of slices of any lengths, as one matrix: slice below slice. */
class StackedSlices implements Model {
  readonly shape: readonly number[];

  constructor(private readonly model: Parafac2Tensor) {
    const rows = model.shapes.reduce((total, [extent]) => total + extent, 0);
    this.shape = [rows, model.shapes[0]![1]];
  }

  full(s: Scheduler, out: Tensor): Tensor {
    let row = 0;
    for (const [k, [extent]] of this.model.shapes.entries()) {
      const slice = this.model.full(s, k);
      paste(s, slice, out, [row, 0]);
      s.release(slice);
      row += extent;
    }
    return out;
  }
}

/**
 * The same for slices of any lengths, which `x` (and `known`) hold one below the other: of every slice, of every row of every slice, one slice behind the
 * other, and of every column.
 */
export async function measureSliceResiduals(
  engine: Engine,
  x: { x: Tensor; known: Tensor | null },
  model: Parafac2Tensor,
): ReturnType<typeof measureResiduals> {
  const measured = await measureResiduals(engine, x, new StackedSlices(model));
  if (!measured.slices) return measured;
  const [rows, columns] = measured.slices as [SliceSquares, SliceSquares];
  let end = 0;
  const ends = model.shapes.map(([extent]) => (end += extent));
  const bySlice = (of: Float32Array): Float32Array =>
    Float32Array.from(ends, (stop, k) => of.subarray(ends[k - 1] ?? 0, stop).reduce((sum, square) => sum + square, 0));
  const slices = { residual: bySlice(rows.residual), data: bySlice(rows.data) };
  return { ...measured, slices: [slices, rows, columns] };
}

/** The part of a model that approximates some rows of X, and the temporaries that it holds. */
function partOf(p: Program, model: Model, start: number, count: number): { part: Model; temporaries: Tensor[] } {
  if (model instanceof BlockTermTensor) {
    const blocks = model.blocks.map((block) => partOf(p, block, start, count));
    const part = new BlockTermTensor(blocks.map((block) => block.part as TuckerTensor));
    return { part, temporaries: blocks.flatMap(({ temporaries }) => temporaries) };
  }
  if (model instanceof TensorTrain || model instanceof TensorRing) {
    const [first, ...cores] = model.cores as [Tensor, ...Tensor[]];
    const [before, , after] = first.shape as [number, number, number];
    const rows = slice(p.s, first, [0, start, 0], [before, count, after]);
    const Kind = model instanceof TensorTrain ? TensorTrain : TensorRing;
    return { part: new Kind([rows, ...cores]), temporaries: [rows] };
  }
  const { part, rows } = modelRows(p, model, start, count);
  return { part, temporaries: [rows] };
}

async function squaredNormOf(engine: Engine, x: Tensor): Promise<number> {
  using norm = engine.tensor([1], null, { label: "‖X‖²" });
  await engine.run((s) => void sumOfSquares(s, x, { out: norm }), "‖X‖²");
  return (await engine.read(norm))[0]!;
}

/** One pass: slices of mode 0 line up, and the parts of the others add up. */
async function inSlabs(engine: Engine, x: Slabs, model: Model, { slices, counts }: Sums): Promise<void> {
  const record = (p: Program): void => {
    const { s } = p;
    const results = slices.flatMap(({ residual, data }) =>
      [residual, data].map((out) => new SlabResult(p, out.shape, out)),
    );
    x.eachSlab(p, ({ x: slab }, start) => {
      const { part, temporaries } = partOf(p, model, start, slab.shape[0]!);
      const full = s.tensor(slab.shape, { label: "X̂ of a slab" });
      part.full(s, full);
      // x is X / 2^exponent, and the model is of X
      const scaled = x.exponent ? scaleByPower(s, full, -x.exponent) : full;
      const residual = subtract(s, slab, scaled);
      if (scaled !== full) s.release(scaled);
      s.release(full, ...temporaries);
      for (const [at, result] of results.entries()) {
        const [mode, of] = [Math.floor(at / 2), at % 2 ? slab : residual];
        const squares = s.tensor([slab.shape[mode]!], { label: "squares by slice" });
        sliceSums(s, of, mode, squares);
        if (mode === 0) result.put(squares, start);
        else result.add(squares);
      }
      histogram(s, residual, counts);
      s.release(residual);
    });
  };
  await Program.run(engine, record, "residuals");
}

/** Records of every slice of a mode the sum of its squares, by a sum over one axis of three numbers: before × extent × after. */
function sliceSums(s: Scheduler, x: Tensor, mode: number, out: Tensor): void {
  const { shape } = x;
  const [before, extent, after] = [sizeOf(shape.slice(0, mode)), shape[mode]!, sizeOf(shape.slice(mode + 1))];
  if (after === 1) sumOfSquares(s, x.reshape([before, extent]), { axis: 0, out });
  else if (before === 1) sumOfSquares(s, x.reshape([extent, after]), { axis: 1, out });
  else {
    const partial = sumOfSquares(s, x.reshape([before, extent, after]), { axis: 2 });
    sum(s, partial.reshape([before, extent]), { axis: 0, out });
    s.release(partial);
  }
}
