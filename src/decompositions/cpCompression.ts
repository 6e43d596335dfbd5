/** Compression before CP: in a file that nothing else imports, so that it loads when it pays. */
import { matmul } from "../ops/index.js";
import { Resident, type Source } from "../sources/index.js";
import type { TuckerTensor } from "../tensors/index.js";
import type { Core, Task } from "./cpStarts.js";
import { TensorScope } from "./tensorScope.js";
import { compressed } from "./tucker.js";

/** X by the core of its HOSVD, of these extents or less. It lives as long as what is held. */
export async function coreOfHosvd(
  source: Source,
  ranks: readonly number[],
  { seed, stopping }: Task,
  scope: TensorScope,
): Promise<Core> {
  const { squaredNorm, largest } = source;
  const { tensor, relativeError } = await compressed("cp", source, ranks, seed, stopping.signal);
  scope.keep({ destroy: () => tensor.destroy() });
  return {
    tensor,
    relativeError,
    source: new Resident(tensor.core, {
      exponent: 0,
      squaredNorm: squaredNorm * Math.max(0, 1 - relativeError ** 2),
      largest,
      isZero: false,
    }),
    widen: (factors, rank) => widened(tensor, factors, rank),
    leadWithBases(factors, modes, rank) {
      for (const mode of modes) if (tensor.factors[mode]) leadWithBasis(factors[mode]!, rank);
    },
  };
}

/** Puts unit vectors in place of a core factor's first columns, as many as it has rows. */
function leadWithBasis(factor: Float32Array, rank: number): void {
  const rows = factor.length / rank;
  for (let r = 0; r < Math.min(rank, rows); r++)
    for (let row = 0; row < rows; row++) factor[row * rank + r] = row === r ? 1 : 0;
}

/** A model of the core as one of x: A_n = U_n·B_n. */
async function widened(
  core: TuckerTensor,
  factors: readonly Float32Array[],
  rank: number,
): Promise<readonly Float32Array[]> {
  const { engine } = core;
  using scope = new TensorScope(engine);
  // a mode that the core has in full has no factor
  const bases = core.factors.map((basis, mode) => basis && { basis, mode }).filter((entry) => entry !== null);
  const wide = bases.map(({ basis, mode }) => scope.allocate([basis.shape[0]!, rank], `factor ${mode}`));
  const narrow = bases.map(({ mode }) =>
    scope.keep(engine.tensor([core.core.shape[mode]!, rank], factors[mode]!, { label: `core factor ${mode}` })),
  );
  await engine.run((s) => {
    for (const [at, { basis }] of bases.entries()) matmul(s, basis, narrow[at]!, { out: wide[at]! });
  }, "CP of the core");
  const values = await engine.read(wide);
  return factors.map((factor, mode) => {
    const at = bases.findIndex((entry) => entry.mode === mode);
    return at < 0 ? factor : values[at]!;
  });
}
