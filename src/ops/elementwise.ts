import binaryShader from "../../shaders/elementwise_binary.wgsl?late";
import unaryShader from "../../shaders/elementwise_unary.wgsl?late";
import { formatShape, grid1d, Kernel, type Scheduler, ShapeError, sizeOf, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";
import { axesParams, collapseAxes, inVectors, stridesOf } from "./stridedCopy.js";

const binaryKernel = new Kernel(binaryShader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));
const unaryKernel = new Kernel(unaryShader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));

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
  /** where to write; not one of the inputs */
  out?: Tensor | undefined;
}

/** The shape that two shapes broadcast to, as NumPy does it: from the last axis, 1 repeats. */
export function broadcastShapes(operation: string, a: readonly number[], b: readonly number[]): number[] {
  const order = Math.max(a.length, b.length);
  return Array.from({ length: order }, (_, axis) => {
    const [x, y] = [a[axis - order + a.length] ?? 1, b[axis - order + b.length] ?? 1];
    if (x !== y && x !== 1 && y !== 1)
      throw new ShapeError(`${operation}: ${formatShape(a)} and ${formatShape(b)} do not broadcast`);
    return Math.max(x, y);
  });
}

function broadcastStrides(from: readonly number[], to: readonly number[]): number[] {
  const strides = stridesOf(from);
  return to.map((_, axis) => {
    const at = axis - to.length + from.length;
    return at < 0 || from[at] === 1 ? 0 : strides[at]!;
  });
}

function binary(name: string, code: number) {
  return (s: Scheduler, a: Tensor, b: Tensor, { out: target }: Out = {}): Tensor => {
    assertCall(name, s, { a, b });
    const shape = broadcastShapes(name, a.shape, b.shape);
    if (target) assertShape(name, "out", target, shape);
    const out = target ?? s.tensor(shape, { label: name });
    const size = sizeOf(shape);
    const { shape: joined, strides } = collapseAxes(
      shape,
      broadcastStrides(a.shape, shape),
      broadcastStrides(b.shape, shape),
    );
    if (joined.length > 8) throw new ShapeError(`${name}: ${formatShape(shape)} has more than 8 axes`);
    const flat = a.size === size && b.size === size;
    const vectors = flat ? inVectors([size], [[1], [1]]) : inVectors(joined, strides);
    const [stride_a, stride_b] = (vectors?.strides ?? strides) as [number[], number[]];
    s.run(
      binaryKernel.with({
        FUNCTION: code,
        AXES: flat ? 0 : Math.max(1, joined.length),
        scalar: vectors ? "vec4f" : "f32",
      }),
      { a, b, out },
      {
        size: vectors ? size / 4 : size,
        ...axesParams("shape", vectors?.shape ?? joined, 1),
        ...axesParams("stride_a", stride_a, 0),
        ...axesParams("stride_b", stride_b, 0),
      },
    );
    return out;
  };
}

/** a + b, broadcasting as NumPy does. */
export const add = binary("add", 0);
/** a − b, broadcasting as NumPy does. */
export const subtract = binary("subtract", 1);
/** a · b, element by element, broadcasting as NumPy does. */
export const multiply = binary("multiply", 2);
/** a / b, broadcasting as NumPy does. */
export const divide = binary("divide", 3);
/** a / b, and 0 where b is 0; broadcasting as NumPy does. */
export const safeDivide = binary("safeDivide", 4);
/** The larger of a and b, broadcasting as NumPy does. */
export const maximum = binary("maximum", 5);
/** The smaller of a and b, broadcasting as NumPy does. */
export const minimum = binary("minimum", 6);
/** max(a + b, 0): relu of a sum, broadcasting as NumPy does. */
export const addRelu = binary("addRelu", 7);

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
    unaryKernel.with({ FUNCTION: unaryFunctions[f], scalar: vectors ? "vec4f" : "f32" }),
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
