import { type DType, type Engine, holds, Tensor } from "../gpu/index.js";
import { resident } from "./resident.js";
import { checkCall, type Source } from "./source.js";

/**
 * Entries from which on verbs read numbers of other types as they lie: fewer take little memory as f32, and small tensors have solvers that take one
 * tensor of f32 whole.
 */
const PACKED = 2 ** 23;

/**
 * Lends X to a solver as a source: a source as it is; of a tensor one is made, and freed when `solve` is over.
 *
 * @param byVerbs whether the solver reads X by verbs alone, so that a large tensor of bytes need not become f32
 */
export async function withSource<T>(
  engine: Engine,
  operation: string,
  x: Tensor<DType> | Source,
  solve: (source: Source) => Promise<T>,
  { byVerbs = false } = {},
): Promise<T> {
  checkCall(engine, operation, x);
  if (!(x instanceof Tensor)) return await solve(x);
  if (byVerbs && x.size >= PACKED && !holds(x, "f32")) {
    const { packedResident } = await import("./packed.js");
    const packed = await packedResident(engine, operation, x);
    if (packed) return await solve(packed);
  }
  using source = await resident(engine, operation, x);
  return await solve(source);
}
