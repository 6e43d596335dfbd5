/** What CP by Gauss-Newton and by alternating updates share: rules for constraints, and the scale of results. */
import { isList, type OptionRule } from "../gpu/index.js";
import type { KruskalTensor } from "../tensors/index.js";

/** What `nonnegative` may be. */
export const nonnegativeRule: OptionRule = {
  needs: "true, or a list of modes",
  is: (value) => typeof value === "boolean" || (isList(value) && [...value].every((mode) => typeof mode === "number")),
};

/** What `constraints` may be; each of them is looked at where it becomes an update. */
export const constraintsRule: OptionRule = {
  needs: 'an object with a constraint by mode, as in { 0: "unimodal" }',
  is: (value) => typeof value === "object" && value !== null && !isList(value),
};

/** Whether any factor is constrained. */
export const isConstrained = ({
  nonnegative,
  constraints,
}: {
  nonnegative?: boolean | readonly number[] | undefined;
  constraints?: object | undefined;
}): boolean =>
  (isList(nonnegative) ? nonnegative.length > 0 : nonnegative === true) || Object.keys(constraints ?? {}).length > 0;

/** Gives a Kruskal tensor's weights the scale of X = 2^exponent · x. */
export async function restoreKruskal(name: string, tensor: KruskalTensor, exponent: number): Promise<KruskalTensor> {
  return await (await import("./cpScale.js")).restored(name, tensor, exponent);
}
