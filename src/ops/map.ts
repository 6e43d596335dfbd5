import shader from "../../shaders/elementwise_unary.wgsl?late";
import { grid1d, Kernel, type Scheduler, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));

/** Functions of one element, by the number that the shader gives them. */
export const unaryFunctions = {
  identity: 0,
  relu: 1,
  sqrt: 2,
  square: 3,
  exp: 4,
  log: 5,
  abs: 6,
  reciprocal: 7,
  sign: 8,
  tanh: 9,
  sigmoid: 10,
} as const;
export type UnaryFunction = keyof typeof unaryFunctions;

interface Out {
  /** where to write; not the input */
  out?: Tensor | undefined;
}

/** alpha · f(x) + beta, element by element. */
export function map(
  s: Scheduler,
  x: Tensor,
  f: UnaryFunction,
  { alpha = 1, beta = 0, out: target }: Out & { alpha?: number; beta?: number } = {},
): Tensor {
  assertCall("map", s, { x });
  if (target) assertShape(f, "out", target, x.shape);
  const out = target ?? s.tensor(x.shape, { label: f });
  const vectors = x.size % 4 === 0;
  s.run(
    kernel.with({ FUNCTION: unaryFunctions[f], scalar: vectors ? "vec4f" : "f32" }),
    { x, out },
    { size: vectors ? x.size / 4 : x.size, alpha, beta },
  );
  return out;
}

/** alpha · x + beta. */
export function scale(s: Scheduler, x: Tensor, options: Out & { alpha?: number; beta?: number }): Tensor {
  assertCall("scale", s, { x });
  return map(s, x, "identity", options);
}
