/** Entries that are held out of X at random, and how well models of the others predict them. */
import { dispose, type Engine, Program, type Scheduler, sizeOf, TenfoldError, type Tensor } from "../gpu/index.js";
import { accumulateKnown, fill, type HoldOut, holdOut, kruskalResidual, sumOfSquares } from "../ops/index.js";
import { Masked, MaskedSlabs, masked, Resident, Slabs, type Source } from "../sources/index.js";
import type { KruskalTensor } from "../tensors/index.js";
import { TensorScope } from "./tensorScope.js";

/** the stream of random numbers that says which entries are held out: starts take those of the modes */
const STREAM = 1000;

/** Known entries of X, parted in two. */
export class HeldOut {
  private constructor(
    /** X without the entries that are held out */
    readonly others: Masked | MaskedSlabs,
    /** Σ of the squares of entries that are held out */
    readonly squaredNorm: number,
    /** Records Σ of the squares of X − X̂ over entries that are held out. */
    private readonly lackOf: (p: Program, model: KruskalTensor, out: Tensor) => void,
    private readonly scope: TensorScope,
  ) {}

  /** @throws TenfoldError where X is on other machines, or the share leaves no entry on one of the sides */
  static async create(name: string, source: Source, share: number, seed: number): Promise<HeldOut> {
    const parted = { share, seed, stream: STREAM };
    const side = (of: HoldOut["side"]) => (s: Scheduler, x: Tensor, start: number) =>
      holdOut(s, x, { ...parted, side: of, first: start * sizeOf(x.shape.slice(1)) });
    let made: HeldOut;
    if (source instanceof Slabs) made = await HeldOut.#ofSlabs(source, side);
    else if (source instanceof Resident || source instanceof Masked) made = await HeldOut.#ofTensor(source, side);
    else
      throw new TenfoldError(
        `${name}: holdout marks entries of a tensor that this machine reads, and x is ${source}; leave holdout out, or give x, or a part of it, as a tensor, slabs or a stream`,
      );
    const known = (source as Source).known ?? source.size;
    const { known: left } = made.others;
    if (left > 0 && left < known) return made;
    made.destroy();
    throw new TenfoldError(
      left
        ? `${name}: holdout ${share} of ${known} entries leaves out none; take a larger share`
        : `${name}: holdout ${share} of ${known} entries leaves out all; take a smaller share`,
    );
  }

  static async #ofTensor(source: Resident | Masked, side: Side): Promise<HeldOut> {
    const { engine, shape } = source;
    using scope = new TensorScope(engine);
    const heldOut = scope.allocate(shape, "held out");
    const norm = scope.allocate([1], "squared norm");
    using mask = engine.tensor(shape, null, { label: "mask" });
    await engine.run((s) => {
      const marked = side("held out")(s, source.x, 0);
      accumulateKnown(s, marked, heldOut, { alpha: 1, beta: 0, gamma: 0 });
      sumOfSquares(s, heldOut, { out: norm });
      s.release(marked);
      const others = side("others")(s, source.x, 0);
      fill(s, mask, 1);
      accumulateKnown(s, others, mask, { alpha: 0, beta: 1, gamma: 0 });
      s.release(others);
    }, "holding out");
    const others = await masked(engine, source.x, { mask });
    scope.keep({ destroy: () => others[dispose]() });
    const lackOf = ({ s }: Program, { weights, factors }: KruskalTensor, out: Tensor): void => {
      const marked = side("held out")(s, source.x, 0);
      kruskalResidual(s, marked, weights, factors, { out, missing: { scale: 1 } });
      s.release(marked);
    };
    const [squaredNorm] = await engine.read(norm);
    return scope.handOut(new HeldOut(others, squaredNorm!, lackOf, scope.move()));
  }

  static async #ofSlabs(source: Slabs, side: Side): Promise<HeldOut> {
    const [taken, others] = [
      await MaskedSlabs.create(source, side("held out")),
      await MaskedSlabs.create(source, side("others")),
    ];
    const lackOf = (p: Program, model: KruskalTensor, out: Tensor): void => void taken.residual(p, model, { out });
    // residuals of it are as of all entries, and so is its norm
    return new HeldOut(others, taken.squaredNorm, lackOf, new TensorScope(source.engine));
  }

  get engine(): Engine {
    return this.others.engine;
  }

  /** ‖X − X̂‖ / ‖X‖ over the entries that are held out, of a model of the others. 0 where all of them are 0 and predicted so. */
  async errorOf(model: KruskalTensor): Promise<number> {
    const { engine, squaredNorm } = this;
    using lack = engine.tensor([1], null, { label: "lack" });
    await Program.run(engine, (p) => this.lackOf(p, model, lack), "prediction");
    const squared = (await engine.read(lack))[0]!;
    if (squared === 0) return 0;
    return squaredNorm ? Math.sqrt(squared / squaredNorm) : Number.POSITIVE_INFINITY;
  }

  destroy(): void {
    this.scope.destroy();
  }
}

/** What marks the entries of the other side. */
type Side = (of: HoldOut["side"]) => (s: Scheduler, x: Tensor, start: number) => Tensor;
