/** Entries that are held out of X at random, and how well models of the others predict them. */
import { dispose, type Scheduler, TenfoldError, type Tensor } from "../gpu/index.js";
import { accumulateKnown, kruskalResidual, map, markMissing, sumOfSquares, uniform } from "../ops/index.js";
import { Masked, masked, Resident, type Source } from "../sources/index.js";
import type { KruskalTensor } from "../tensors/index.js";
import { Held } from "./held.js";

/** the stream of random numbers that says which entries are held out: starts take those of the modes */
const STREAM = 1000;

/** Known entries of X, parted in two. */
export class HeldOut {
  readonly #held: Held;

  private constructor(
    /** the entries that are held out, others marked as missing */
    readonly x: Tensor,
    /** X without the entries that are held out */
    readonly others: Masked,
    /** Σ of the squares of entries that are held out */
    readonly squaredNorm: number,
    held: Held,
  ) {
    this.#held = held;
  }

  /** @throws TenfoldError where X is not one tensor of the GPU's, or the share leaves no entry on one of the sides */
  static async create(name: string, source: Source, share: number, seed: number): Promise<HeldOut> {
    const { engine, shape } = source;
    if (!(source instanceof Resident || source instanceof Masked))
      throw new TenfoldError(
        `${name}: holdout marks entries of a tensor that the GPU holds as one, and x is ${source}; leave holdout out, or give x, or a part of it, as a tensor`,
      );
    using held = new Held(engine);
    const mask = engine.tensor(shape, null, { label: "mask" });
    const heldOut = held.allocate(shape, "held out");
    const norm = held.allocate([1], "squared norm");
    try {
      const select = (s: Scheduler, isHeld: boolean): void => {
        const random = uniform(s, shape, { seed, stream: STREAM });
        const beyond = map(s, random, "identity", { alpha: isHeld ? -1 : 1, beta: isHeld ? share : -share });
        map(s, beyond, "relu", { out: mask });
        // what is missing anyway is on neither side
        if (source instanceof Masked) accumulateKnown(s, source.x, mask, { alpha: 0, beta: 1, gamma: 0 });
        s.release(random, beyond);
      };
      await engine.run((s) => {
        select(s, true);
        markMissing(s, source.x, { mask, out: heldOut });
        const values = s.tensor(shape, { label: "held out" });
        accumulateKnown(s, heldOut, values, { alpha: 1, beta: 0, gamma: 0 });
        sumOfSquares(s, values, { out: norm });
        s.release(values);
        select(s, false);
      }, "holding out");
      const others = await masked(engine, source.x, { mask });
      held.keep({ destroy: () => others[dispose]() });
      const known = source instanceof Masked ? source.known : source.size;
      if (others.known === known)
        throw new TenfoldError(`${name}: holdout ${share} of ${known} entries leaves out none; take a larger share`);
      const squaredNorm = (await engine.read(norm))[0]!;
      return held.handOut(new HeldOut(heldOut, others, squaredNorm, held.move()));
    } finally {
      mask.destroy();
    }
  }

  /** ‖X − X̂‖ / ‖X‖ over the entries that are held out, of a model of the others. 0 where all of them are 0 and predicted so. */
  async errorOf(model: KruskalTensor): Promise<number> {
    const { x, squaredNorm } = this;
    const { engine } = x;
    using lack = engine.tensor([1], null, { label: "lack" });
    await engine.run(
      (s) => void kruskalResidual(s, x, model.weights, model.factors, { out: lack, missing: { scale: 1 } }),
      "prediction",
    );
    const squared = (await engine.read(lack))[0]!;
    if (squared === 0) return 0;
    return squaredNorm ? Math.sqrt(squared / squaredNorm) : Number.POSITIVE_INFINITY;
  }

  destroy(): void {
    this.#held.destroy();
  }
}
