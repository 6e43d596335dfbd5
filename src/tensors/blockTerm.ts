import { dispose, type Engine, formatShape, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { accumulate, copy } from "../ops/index.js";
import type { TuckerTensor } from "./tucker.js";

/**
 * A sum of Tucker tensors of one shape, Σ_g ⟦G_g; A_g⁽¹⁾, …, A_g⁽ᴺ⁾⟧: the block term decomposition in rank-(L, M, N) terms
 * (De Lathauwer 2008). With one block it is a Tucker tensor, with blocks of rank (1, …, 1) a Kruskal tensor. Its tensors live on
 * the GPU until {@link destroy}.
 */
export class BlockTermTensor {
  /** @throws ShapeError where there is no block, or two blocks differ in shape */
  constructor(readonly blocks: readonly TuckerTensor[]) {
    if (!blocks.length) throw new ShapeError("BlockTermTensor: needs at least one block");
    for (const block of blocks) {
      if (formatShape(block.shape) !== formatShape(blocks[0]!.shape))
        throw new ShapeError(
          `BlockTermTensor: blocks of shapes ${formatShape(blocks[0]!.shape)} and ${formatShape(block.shape)}`,
        );
    }
  }

  get engine(): Engine {
    return this.blocks[0]!.engine;
  }

  get shape(): number[] {
    return this.blocks[0]!.shape;
  }

  /** The ranks L, M, N, … of the first block. */
  get ranks(): readonly number[] {
    return this.blocks[0]!.ranks;
  }

  /** Numbers stored in all blocks. */
  get parameterCount(): number {
    return this.blocks.reduce((sum, block) => sum + block.parameterCount, 0);
  }

  /** Records the full tensor, the sum of all blocks, into `out` where one is given. */
  full(s: Scheduler, out?: Tensor): Tensor {
    const [first, ...others] = this.blocks as [TuckerTensor, ...TuckerTensor[]];
    const start = first.full(s, out);
    const total = start === first.core && others.length ? copy(s, start) : start;
    for (const block of others) {
      const part = block.full(s);
      accumulate(s, part, total);
      if (part !== block.core) s.release(part);
    }
    return total;
  }

  /** Frees the tensors of all blocks. */
  destroy(): void {
    for (const block of this.blocks) block.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
