import shader from "../../shaders/layer_norm.wgsl?late";
import { formatShape, grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { sum } from "./reduce.js";
import { assertCall, assertShape } from "./shapes.js";
import { lanesOfRow } from "./tiles.js";

const kernel = new Kernel(shader, ({ rows }, { WIDTH, LANES }) => grid1d(rows!, WIDTH! / LANES!));

interface LayerNormOptions {
  /** added to variances, 1e-5 by default */
  epsilon?: number | undefined;
}

/** The rows of x that have an element for every weight. */
function rowsOf(operation: string, x: Tensor, weight: Tensor): { rows: number; extent: number } {
  const extent = weight.size;
  const inner = x.shape.slice(-weight.order);
  if (weight.order > x.order || weight.shape.some((size, mode) => size !== inner[mode]))
    throw new ShapeError(
      `${operation}: x is ${formatShape(x.shape)}, its last modes need the weight's shape, ${formatShape(weight.shape)}`,
    );
  return { rows: x.size / extent, extent };
}

/**
 * Layer normalisation (Ba, Kiros & Hinton 2016): weight·(x − mean) ÷ √(variance + ε) + bias, with the mean and the biased variance
 * over the last modes of x, as many as the weight has.
 *
 * @param weight of the shape of those modes, and so is the bias
 */
export function layerNorm(
  s: Scheduler,
  x: Tensor,
  { weight, bias }: { weight: Tensor; bias?: Tensor | undefined },
  { epsilon = 1e-5, out: target }: LayerNormOptions & { out?: Tensor | undefined } = {},
): Tensor {
  assertCall("layerNorm", s, { x, weight });
  const params = rowsOf("layerNorm", x, weight);
  if (bias) assertShape("layerNorm", "bias", bias, weight.shape);
  if (target) assertShape("layerNorm", "out", target, x.shape);
  const out = target ?? s.tensor(x.shape, { label: "layerNorm" });
  const unused = s.tensor([1], { label: "no products" });
  s.run(
    kernel.with({ LANES: lanesOfRow(params.extent), BIAS: Boolean(bias) }),
    { x, weight, other: bias ?? weight, out, products: unused },
    { ...params, epsilon },
  );
  s.release(unused);
  return out;
}

/** Gradients of {@link layerNorm}: the input's, and those of weight and bias into `out`. */
export function layerNormGradient(
  s: Scheduler,
  x: Tensor,
  dy: Tensor,
  { weight, out }: { weight: Tensor; out: { weight: Tensor; bias?: Tensor | undefined } },
  { epsilon = 1e-5 }: LayerNormOptions = {},
): Tensor {
  assertCall("layerNormGradient", s, { x, dy, weight });
  const { rows, extent } = rowsOf("layerNormGradient", x, weight);
  assertShape("layerNormGradient", "the gradient", dy, x.shape);
  const dx = s.tensor(x.shape, { label: "layerNorm input gradient" });
  const products = s.tensor([rows, extent], { label: "layerNorm products" });
  s.run(
    kernel.with({ LANES: lanesOfRow(extent), BACKWARD: true }),
    { x, weight, other: dy, out: dx, products },
    { rows, extent, epsilon },
  );
  sum(s, products, { axis: 0, out: out.weight.reshape([extent]) });
  if (out.bias) sum(s, dy.reshape([rows, extent]), { axis: 0, out: out.bias.reshape([extent]) });
  s.release(products);
  return dx;
}
