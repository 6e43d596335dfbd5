import type { Scheduler, Tensor } from "../gpu/index.js";
import { matmul } from "../ops/index.js";

/**
 * Records the product of neighbouring cores, from the left: r×N×r′, with their modes flattened into N. A single core is returned as it is, and `out`
 * is for several.
 */
export function coreProduct(s: Scheduler, cores: readonly Tensor[], out?: Tensor): Tensor {
  const last = cores.at(-1)!;
  return cores.reduce((product, core) => {
    const [rank, , next] = core.shape as [number, number, number];
    const matrix = core.reshape([rank, -1]);
    const into = core === last ? out?.reshape([-1, matrix.shape[1]!]) : undefined;
    const longer = matmul(s, product.reshape([-1, rank]), matrix, { out: into });
    if (!isCore(product, cores)) s.release(product);
    return longer.reshape([product.shape[0]!, -1, next]);
  });
}

/** Whether a tensor is one of the cores, or a view of one, and must not be released. */
export const isCore = (tensor: Tensor, cores: readonly Tensor[]): boolean =>
  cores.some(({ storage }) => storage === tensor.storage);
