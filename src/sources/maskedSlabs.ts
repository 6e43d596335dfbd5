import { dispose, type Engine, formatShape, Program, type Scheduler, TenfoldError, type Tensor } from "../gpu/index.js";
import {
  accumulateKnown,
  fill,
  kruskalDifference,
  kruskalResidual,
  mttkrp,
  scale,
  sumOfSquares,
} from "../ops/index.js";
import { KruskalTensor } from "../tensors/index.js";
import { knownEntries, type UnknownSlice } from "./masked.js";
import { overModes } from "./overModes.js";
import { TensorReader } from "./resident.js";
import { modelRows, SlabDifference, SlabReader, SlabResult, type Slabs } from "./slabs.js";
import type { Difference, Model, Source } from "./source.js";

/** Records a slab, whose first row this is, with entries marked that are missing: a temporary. */
export type Mark = (s: Scheduler, x: Tensor, start: number) => Tensor;

/** Numbers of a slab lie this far apart, where views may begin. */
const APART = 64;

/**
 * A tensor in slabs of which some entries are missing: what marks them is asked anew in every pass, so that no slab is stored. Verbs take missing
 * entries for 0; `difference` and `residual` are of known ones, times entries / known entries, as those of `Masked`: for solvers that go by the
 * difference. A pass takes one slab's memory more than that of the slabs, which remain the caller's.
 */
export class MaskedSlabs extends SlabReader implements Source {
  private constructor(
    readonly slabs: Slabs,
    readonly mark: Mark,
    /** how many entries are known */
    readonly known: number,
    /** Σ of the squares of known entries, divided by the part of X that is known */
    readonly squaredNorm: number,
    readonly unknownSlices: readonly UnknownSlice[],
  ) {
    super();
  }

  /** Goes over the slabs once. */
  static async create(slabs: Slabs, mark: Mark): Promise<MaskedSlabs> {
    const { engine, shape, parts } = slabs;
    const counts = shape.map((extent) => engine.tensor([extent, 1], null, { label: "known of slices" }));
    using norms = engine.tensor([parts.length, APART], null, { label: "squared norms" });
    try {
      const record = (p: Program): void => {
        const { s } = p;
        const sums = counts.map((count) => new SlabResult(p, count.shape, count));
        let slab = 0;
        slabs.eachSlab(p, ({ x }, start) => {
          const marked = mark(s, x, start);
          const known = knownEntries(s, marked);
          sumOfSquares(s, known, {
            out: norms
              .rows(slab, slab + 1)
              .reshape([APART])
              .rows(0, 1),
          });
          slab++;
          fill(s, known, 1);
          accumulateKnown(s, marked, known, { alpha: 0, beta: 1, gamma: 0 });
          s.release(marked);
          const vectors = x.shape.map((extent) => fill(s, s.tensor([extent, 1], { label: "ones" }), 1));
          for (const [mode, sum] of sums.entries())
            if (mode === 0) sum.put(mttkrp(s, known, vectors, mode), start);
            else sum.add(mttkrp(s, known, vectors, mode));
          s.release(known, ...vectors);
        });
      };
      await Program.run(engine, record, "known entries");
      const [squares, ...values] = await engine.read([norms, ...counts]);
      const known = values[0]!.reduce((sum, count) => sum + count, 0);
      const squaredNorm = parts.reduce((sum, _, slab) => sum + squares![APART * slab]!, 0);
      const unknown = values.flatMap((ofMode, mode) =>
        [...ofMode.keys()].filter((index) => ofMode[index] === 0).map((index) => ({ mode, index })),
      );
      return new MaskedSlabs(slabs, mark, known, known && (squaredNorm * slabs.size) / known, unknown);
    } finally {
      for (const count of counts) count.destroy();
    }
  }

  get engine(): Engine {
    return this.slabs.engine;
  }

  get shape(): readonly number[] {
    return this.slabs.shape;
  }

  /** it is a source of what the slabs give, which is their X / 2^exponent */
  readonly exponent = 0;

  get largest(): number {
    return this.slabs.largest;
  }

  get isZero(): boolean {
    return this.squaredNorm === 0;
  }

  get slabSize(): number {
    return this.slabs.slabSize;
  }

  /** entries / known entries */
  get weight(): number {
    return this.size / this.known;
  }

  /** Records `body` for each slab as it is marked. */
  eachMarked(p: Program, body: (marked: Tensor, start: number) => void): void {
    this.slabs.eachSlab(p, ({ x }, start) => {
      const marked = this.mark(p.s, x, start);
      body(marked, start);
      p.s.release(marked);
    });
  }

  override eachSlab(p: Program, body: (slab: TensorReader, start: number) => void): void {
    this.eachMarked(p, (marked, start) => {
      const known = knownEntries(p.s, marked);
      body(new TensorReader(known), start);
      p.s.release(known);
    });
  }

  /** @throws TenfoldError where the model is no Kruskal tensor */
  override residual(p: Program, model: Model, { out }: { out?: Tensor } = {}): Tensor {
    const { s } = p;
    const sum = new SlabResult(p, [1], out);
    this.eachMarked(p, (marked, start) => {
      const { part, rows } = kruskalRows(p, model, start, marked.shape[0]!);
      const squares = kruskalResidual(s, marked, part.weights, part.factors, { missing: { scale: 1 } });
      sum.add(scale(s, squares, { alpha: this.weight }));
      s.release(squares, rows);
    });
    return sum.tensor;
  }

  difference(): Difference {
    return new MaskedSlabDifference(this);
  }

  /** The slabs are the caller's. */
  [dispose](): void {}

  override toString(): string {
    return `a tensor ${formatShape(this.shape)} in ${this.slabs.parts.length} slabs with ${this.known} entries known`;
  }
}

/** The part of a Kruskal tensor that approximates some rows. */
function kruskalRows(p: Program, model: Model, start: number, count: number): { part: KruskalTensor; rows: Tensor } {
  if (!(model instanceof KruskalTensor))
    throw new TenfoldError("slabs with missing entries are compared with Kruskal tensors only: take cp");
  const { part, rows } = modelRows(p, model, start, count);
  return { part: part as KruskalTensor, rows };
}

/** The weighted x − x̂ at known entries, and 0 at the others, made anew a slab at a time. */
class MaskedSlabDifference extends SlabDifference<MaskedSlabs> {
  override eachSlab(p: Program, body: (slab: TensorReader, start: number) => void): void {
    this.#each(p, this.copy.model, (difference, start) => body(new TensorReader(difference), start));
  }

  #each(
    p: Program,
    model: KruskalTensor,
    body: (difference: Tensor, start: number, factors: readonly Tensor[]) => void,
  ): void {
    const missing = { scale: this.source.weight };
    this.source.eachMarked(p, (marked, start) => {
      const { part, rows } = kruskalRows(p, model, start, marked.shape[0]!);
      const difference = kruskalDifference(p.s, marked, part.weights, part.factors, { missing });
      body(difference, start, part.factors);
      p.s.release(difference, rows);
    });
  }

  override evaluate(
    p: Program,
    model: KruskalTensor,
    out: { squaredNorm: Tensor; product: (mode: number) => Tensor },
  ): void {
    const { s } = p;
    const squared = new SlabResult(p, [1], out.squaredNorm);
    const products = model.factors.map(({ shape }, mode) => new SlabResult(p, shape, out.product(mode)));
    this.#each(p, model, (difference, start, factors) => {
      const squares = sumOfSquares(s, difference);
      squared.add(scale(s, squares, { alpha: 1 / this.source.weight }));
      s.release(squares);
      overModes(p, new TensorReader(difference), factors, {}, (product, mode) => {
        if (mode === 0) products[0]!.put(product, start, { keep: true });
        else products[mode]!.add(product, { keep: true });
      });
    });
  }
}
