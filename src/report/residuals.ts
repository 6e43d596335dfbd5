/** How large data and residual are, slice by slice of every mode: measured on the GPU, a slab at a time where the tensor lies in slabs. */
import { type Engine, OutOfLimitsError, Program, type Scheduler, sizeOf, Tensor } from "../gpu/index.js";
import { multiply, scaleByPower, subtract, sum, sumOfSquares } from "../ops/index.js";
import { type Model, modelRows, SlabResult, Slabs } from "../sources/index.js";
import { KruskalTensor, TuckerTensor } from "../tensors/index.js";
import type { SliceSquares } from "./model.js";

/** X, and where entries are missing 1 for those that are known, and 0 for the others, which are 0 in X. */
export interface Measured {
  x: Tensor | Slabs;
  known?: Tensor | null;
}

/** The squared norms that are sums in f32, and their parts, without overflow or underflow. */
const isInRange = (squaredNorm: number): boolean => squaredNorm > 1e-25 && squaredNorm < 1e30;

/**
 * ‖X‖², and the squares of X and of X − X̂ by slice, of known entries; of a source, the slices are those of x = X / 2^exponent.
 *
 * @returns `slices` null where the GPU has no room for X̂ (of a slab), squares leave f32, or the model has no rows to compare with a slab
 */
export async function measureSlices(
  engine: Engine,
  { x, known = null }: Measured,
  model: Model | null,
): Promise<{ slices: SliceSquares[] | null; squaredNorm: number }> {
  const squares = x instanceof Slabs ? x.squaredNorm : await squaredNormOf(engine, x);
  const squaredNorm = x instanceof Slabs ? squares * 4 ** x.exponent : squares;
  const isCompared =
    model !== null && (x instanceof Tensor || model instanceof KruskalTensor || model instanceof TuckerTensor);
  if (!isCompared || !isInRange(squares)) return { slices: null, squaredNorm };
  const { shape } = x;
  const sums = shape.map((extent) => ({ residual: engine.tensor([extent]), data: engine.tensor([extent]) }));
  try {
    if (x instanceof Slabs) await inSlabs(engine, x, model, sums);
    else {
      using full = engine.tensor(shape, null, { label: "X̂" });
      await engine.run((s) => {
        model.full(s, full);
        const difference = subtract(s, x, full);
        const residual = known ? multiply(s, difference, known) : difference;
        for (const [mode, { residual: lack, data }] of sums.entries()) {
          sliceSums(s, residual, mode, lack);
          sliceSums(s, x, mode, data);
        }
      }, "residual by mode");
    }
    const read = await engine.read(sums.flatMap(({ residual, data }) => [residual, data]));
    return { slices: shape.map((_, mode) => ({ residual: read[2 * mode]!, data: read[2 * mode + 1]! })), squaredNorm };
  } catch (error) {
    if (error instanceof OutOfLimitsError) return { slices: null, squaredNorm };
    throw error;
  } finally {
    for (const { residual, data } of sums) for (const tensor of [residual, data]) tensor.destroy();
  }
}

async function squaredNormOf(engine: Engine, x: Tensor): Promise<number> {
  using norm = engine.tensor([1], null, { label: "‖X‖²" });
  await engine.run((s) => void sumOfSquares(s, x, { out: norm }), "‖X‖²");
  return (await engine.read(norm))[0]!;
}

/** One pass: slices of mode 0 line up, and the parts of the others add up. */
async function inSlabs(
  engine: Engine,
  x: Slabs,
  model: Model,
  sums: readonly { residual: Tensor; data: Tensor }[],
): Promise<void> {
  const record = (p: Program): void => {
    const { s } = p;
    const results = sums.flatMap(({ residual, data }) =>
      [residual, data].map((out) => new SlabResult(p, out.shape, out)),
    );
    x.eachSlab(p, ({ x: slab }, start) => {
      const { part, rows } = modelRows(p, model, start, slab.shape[0]!);
      const full = s.tensor(slab.shape, { label: "X̂ of a slab" });
      part.full(s, full);
      // x is X / 2^exponent, and the model is of X
      const scaled = x.exponent ? scaleByPower(s, full, -x.exponent) : full;
      const residual = subtract(s, slab, scaled);
      if (scaled !== full) s.release(scaled);
      s.release(full, rows);
      for (const [at, result] of results.entries()) {
        const [mode, of] = [Math.floor(at / 2), at % 2 ? slab : residual];
        const squares = s.tensor([slab.shape[mode]!], { label: "squares by slice" });
        sliceSums(s, of, mode, squares);
        if (mode === 0) result.put(squares, start);
        else result.add(squares);
      }
      s.release(residual);
    });
  };
  await Program.run(engine, record, "residual by mode");
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
