import type { Engine, Scheduler, Tensor } from "../gpu/index.js";
import { TenfoldError } from "../gpu/index.js";
import { copy } from "../ops/index.js";
import { KruskalTensor } from "../tensors/index.js";
import type { Model } from "./source.js";

/** A copy of the Kruskal tensor that a difference was last refreshed with, for differences that are made anew each time. */
export class ModelCopy {
  #model: KruskalTensor | null = null;

  constructor(
    /** where the tensor lies, for messages: `a tensor in slabs` */
    readonly place: string,
  ) {}

  /** @throws TenfoldError before the first refresh */
  get model(): KruskalTensor {
    if (!this.#model) throw new TenfoldError("difference: nothing is known of it before its first refresh");
    return this.#model;
  }

  /** Records the copy. */
  refresh(engine: Engine, s: Scheduler, model: Model): void {
    if (!(model instanceof KruskalTensor))
      throw new TenfoldError(`${this.place} is subtracted Kruskal tensors from only; take cpALS`);
    const copyOf = ({ shape, label }: Tensor): Tensor => engine.tensor(shape, null, { label });
    this.#model ??= new KruskalTensor(copyOf(model.weights), model.factors.map(copyOf));
    copy(s, model.weights, { out: this.#model.weights });
    for (const [mode, factor] of model.factors.entries()) copy(s, factor, { out: this.#model.factors[mode]! });
  }

  destroy(): void {
    this.#model?.destroy();
    this.#model = null;
  }
}
