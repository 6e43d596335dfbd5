import { describe, expect, it } from "vitest";
import { TensorScope } from "../../src/decompositions/tensorScope.js";
import type { DType, Engine, Scheduler, Tensor, TypedArray } from "../../src/gpu/index.js";
import {
  inspect,
  inspection,
  kruskalDifference,
  kruskalResidual,
  modeProduct,
  mttkrp,
  partialMttkrp,
  squaredDistance,
  sumOfSquares,
  unfoldedProduct,
} from "../../src/ops/index.js";
import { evaluate, expectClose, plainEngine, siblingEngine, testEngine } from "../engine.js";
import * as products from "../reference/products.js";
import { randomArray } from "../reference.js";

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, extent) => product * extent, 1);
const Arrays = { u32: Uint32Array, i32: Int32Array, u8: Uint8Array, i8: Int8Array, u16: Uint16Array, i16: Int16Array };
const LARGEST = { u32: 3e5, i32: 3e5, u8: 255, i8: 127, u16: 65535, i16: 32767 };

/** Bits of 16-bit floats from 2^-24 to 8 in magnitude, some of them subnormal, and their values. */
function halves(size: number, mantissa: number, bias: number): { elements: Uint16Array; values: Float64Array } {
  const exponents = mantissa === 10 ? 18 : 12;
  const elements = Uint16Array.from(randomArray(size, 3), (value, at) => {
    const exponent = at % 5 ? bias + (at % 3) : mantissa === 10 ? at % exponents : bias - (at % exponents);
    return ((value < 0 ? 1 : 0) << 15) | (exponent << mantissa) | Math.floor(Math.abs(value) * 2 ** mantissa);
  });
  const values = Float64Array.from(elements, (bits) => {
    const exponent = (bits & 0x7fff) >> mantissa;
    const fraction = (bits & (2 ** mantissa - 1)) / 2 ** mantissa;
    const size = exponent ? (1 + fraction) * 2 ** (exponent - bias) : fraction * 2 ** (1 - bias);
    return bits & 0x8000 ? -size : size;
  });
  return { elements, values };
}

/** Elements of a dtype, with its ends among them, and their values. */
function elementsOf(dtype: Exclude<DType, "f32">, size: number): { elements: TypedArray; values: Float64Array } {
  if (dtype === "f16") return halves(size, 10, 15);
  if (dtype === "bf16") return halves(size, 7, 127);
  const elements: TypedArray = new Arrays[dtype](size);
  elements.set(
    randomArray(size, 3).map((value, at) => {
      const least = /u/.test(dtype) ? 0 : -LARGEST[dtype];
      if (at % 17 === 0) return at % 2 ? LARGEST[dtype] : least;
      return Math.round(least + (LARGEST[dtype] - least) * ((value + 1) / 2));
    }),
  );
  return { elements, values: Float64Array.from(elements) };
}

/** Products that read a tensor as it lies, held against loops in f64 over its values: those along some modes, or all of them. */
async function holdsAgainstLoops(
  engine: Engine,
  dtype: Exclude<DType, "f32">,
  shape: number[],
  rank: number,
  some?: number[],
) {
  const { elements, values } = elementsOf(dtype, sizeOf(shape));
  using x = engine.tensor(shape, elements, { dtype });
  using scope = new TensorScope(engine);
  const tensorOf = (shape: readonly number[], data: Float32Array) => scope.keep(engine.tensor(shape, data));
  const factors = shape.map((extent, mode) => randomArray(extent * rank, 20 + mode));
  const tensors = factors.map((factor, mode) => tensorOf([shape[mode]!, rank], factor));
  const squares = (numbers: Float64Array) => numbers.reduce((sum, value) => sum + value * value, 0);
  const checks: [record: (s: Scheduler) => Tensor, expected: ArrayLike<number>][] = [];
  for (const mode of some ?? shape.keys()) {
    const core = shape.map((extent, other) => (other === mode ? 3 : extent));
    const y = randomArray(sizeOf(core), 40 + mode);
    const yTensor = tensorOf(core, y);
    const [left, right] = [products.unfold(values, shape, mode), products.unfold(y, core, mode)];
    checks.push(
      [(s) => mttkrp(s, x, tensors, mode), products.mttkrp(values, shape, factors, rank, mode)],
      [
        (s) => modeProduct(s, x, tensors[mode]!, mode, { transpose: true }),
        products.modeProduct(values, shape, factors[mode]!, rank, mode, true),
      ],
      [(s) => unfoldedProduct(s, x, yTensor, mode), products.timesTransposed(left, right, left.length / shape[mode]!)],
    );
  }
  if (!some) {
    const full = products.kruskal(null, factors, rank);
    const difference = values.map((value, index) => value - full[index]!);
    const other = tensorOf(shape, new Float32Array(values.length).fill(1));
    const row = values.length / shape[0]!;
    const columns = Float64Array.from({ length: row }, (_, column) =>
      squares(values.filter((_, index) => index % row === column)),
    );
    checks.push(
      [
        (s) => partialMttkrp(s, x, tensors, [1, shape.length]),
        products.partialMttkrp(values, shape, factors, rank, 1, shape.length),
      ],
      [(s) => kruskalDifference(s, x, null, tensors), difference],
      [(s) => kruskalResidual(s, x, null, tensors), [squares(difference)]],
      [(s) => squaredDistance(s, x, other), [squares(values.map((value) => value - 1))]],
      [(s) => sumOfSquares(s, x), [squares(values)]],
      [(s) => sumOfSquares(s, x, { axis: 0 }), columns],
    );
  }
  const results = await evaluate(engine, (s) => checks.map(([record]) => record(s)));
  for (const [index, [, expected]] of checks.entries()) expectClose(results[index]!, expected, 3e-6);
  using findings = engine.tensor([4], new Uint32Array(4));
  await engine.run((s) => void inspect(s, x, findings));
  const largest = Math.fround(Math.max(...values.map(Math.abs)));
  expect(inspection(await findings.read())).toEqual({ notFinite: 0, first: null, largest });
}

const all = ["u8", "i8", "u16", "i16", "f16", "bf16", "u32", "i32"] as const;

describe("numbers of other dtypes than f32 are read as they lie", () => {
  it.each([
    ["u8", [13, 17]],
    ["f16", [3, 5, 7]],
    ["u8", [8, 12, 16]],
    ["u8", [31, 2, 29]],
    ["f16", [2, 3, 4, 5]],
  ] as const)("%s in %j, by every product", async (dtype, shape) => {
    await holdsAgainstLoops(await testEngine(), dtype, [...shape], 7);
  });

  it.each(all)("%s, of a shape that fills words and of one that does not", async (dtype) => {
    const engine = await testEngine();
    for (const shape of [
      [12, 8, 20],
      [11, 7, 19],
    ])
      await holdsAgainstLoops(engine, dtype, shape, 5, [2]);
  });

  it.each(["u8", "f16"] as const)("%s, by the kernels of GPUs", async (dtype) => {
    const engine = await plainEngine();
    await holdsAgainstLoops(engine, dtype, [12, 8, 20], 5);
    await holdsAgainstLoops(engine, dtype, [130, 7, 3], 5, [0, 2]);
  });

  it("by kernels in registers", async () => {
    const engine = await siblingEngine({ variants: { matmul: "register", mttkrp: "register" } });
    await holdsAgainstLoops(engine, "u8", [12, 7, 20], 5, [1]);
  });

  it("without a copy: no dispatch but those of the products", async () => {
    const engine = await testEngine();
    const dispatches = async (dtype: "f32" | "u8"): Promise<[number, number]> => {
      using x = engine.tensor([12, 8, 20], null, { dtype });
      const s = engine.scheduler("reads");
      const factors = [12, 8, 20].map((extent) => s.tensor([extent, 4]));
      for (const mode of [0, 1, 2]) mttkrp(s, x, factors, mode);
      using schedule = await s.compile();
      return [schedule.dispatches, schedule.reads(x)];
    };
    expect(await dispatches("u8")).toEqual(await dispatches("f32"));
  });
});
