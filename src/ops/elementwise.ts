import binaryShader from "../../shaders/elementwise_binary.wgsl?late";
import { formatShape, grid1d, Kernel, type Scheduler, ShapeError, sizeOf, type Tensor } from "../gpu/index.js";
import { assertCall, assertShape } from "./shapes.js";
import { axesParams, collapseAxes, inVectors, stridesOf } from "./stridedCopy.js";

const binaryKernel = new Kernel(binaryShader, ({ size }, { WIDTH }) => grid1d(size!, WIDTH!));

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
export const add = /* @__PURE__ */ binary("add", 0);
/** a − b, broadcasting as NumPy does. */
export const subtract = /* @__PURE__ */ binary("subtract", 1);
/** a · b, element by element, broadcasting as NumPy does. */
export const multiply = /* @__PURE__ */ binary("multiply", 2);
/** a / b, broadcasting as NumPy does. */
export const divide = /* @__PURE__ */ binary("divide", 3);
/** a / b, and 0 where b is 0; broadcasting as NumPy does. */
export const safeDivide = /* @__PURE__ */ binary("safeDivide", 4);
/** The larger of a and b, broadcasting as NumPy does. */
export const maximum = /* @__PURE__ */ binary("maximum", 5);
/** The smaller of a and b, broadcasting as NumPy does. */
export const minimum = /* @__PURE__ */ binary("minimum", 6);
/** max(a + b, 0): relu of a sum, broadcasting as NumPy does. */
export const addRelu = /* @__PURE__ */ binary("addRelu", 7);
