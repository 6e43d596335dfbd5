/**
 * Products of large matrices. On a GPU our kernels make them, in f32. An adapter that computes on the processor takes twenty times as
 * long for them as a runtime on the same processor, so there the runtime that runs the model makes them, in f64: by a model of one
 * Gemm. Products that are too small for the way there are loops on the host.
 */
import { type Engine, isSoftware } from "../../gpu/index.js";
import { matrixProduct, rowProducts, transpose, type Values } from "../../nn/factorised/hostMatrices.js";
import { DOUBLE, FLOAT } from "../../onnx/dataTypes.js";
import { makeModel, makeNode, makeOpenInfo, serialiseModel } from "../../onnx/proto.js";
import { gram, matmul } from "../../ops/index.js";
import type { OnnxSession, OnnxSessions } from "./session.js";

/** op(A)·op(B), rows×columns with sums of `inner` terms. */
export interface ProductShape {
  rows: number;
  inner: number;
  columns: number;
  /** A is stored inner×rows */
  transposeA?: boolean;
  /** B is stored columns×inner */
  transposeB?: boolean;
}

/** multiplications up to which a product is made on the host */
const ON_HOST = { runtime: 2e6, gpu: 3e7 };

/** Makes products, where they cost least. */
export class Products {
  private readonly gemms = new Map<string, Promise<OnnxSession>>();
  private readonly runtime: OnnxSessions | null;

  /** @param sessions null where no runtime is handed in */
  constructor(
    readonly engine: Engine,
    sessions: OnnxSessions | null,
  ) {
    this.runtime = sessions && isSoftware(engine.adapterName) ? sessions : null;
  }

  /** whether large products are made in the runtime */
  get inRuntime(): boolean {
    return this.runtime !== null;
  }

  /** op(A)·op(B), row-major, in a new array: f64 of the host and the runtime, f32 of a GPU. */
  async multiply(a: Values, b: Values, shape: ProductShape): Promise<Float64Array> {
    const { rows, inner, columns, transposeA = false, transposeB = false } = shape;
    if (rows * inner * columns <= (this.runtime ? ON_HOST.runtime : ON_HOST.gpu)) {
      const left = transposeA ? transpose(a, inner, rows) : a;
      return transposeB ? rowProducts(left, b, rows, columns, inner) : matrixProduct(left, b, rows, inner, columns);
    }
    const shapeA = transposeA ? [inner, rows] : [rows, inner];
    const shapeB = transposeB ? [columns, inner] : [inner, columns];
    if (this.runtime) {
      const session = await this.gemm("float64", transposeA, transposeB);
      const { c } = await session.run({
        a: { dtype: "float64", shape: shapeA, data: doubles(a) },
        b: { dtype: "float64", shape: shapeB, data: doubles(b) },
      });
      return c!.data as Float64Array;
    }
    const { engine } = this;
    using left = engine.tensor(shapeA, Float32Array.from(a));
    using right = engine.tensor(shapeB, Float32Array.from(b));
    using out = engine.tensor([rows, columns], null);
    await engine.run((s) => matmul(s, left, right, { transposeA, transposeB, out }), "product");
    return Float64Array.from(await out.read());
  }

  /** AᵀB of two matrices of f32 with equally many rows, one of which may be the other. */
  async across(a: Float32Array, b: Float32Array, rows: number, width: number): Promise<Float32Array> {
    if (this.runtime) {
      const session = await this.gemm("float32", true, false);
      const shape = [rows, width];
      const { c } = await session.run({
        a: { dtype: "float32", shape, data: a },
        b: { dtype: "float32", shape, data: b },
      });
      return c!.data as Float32Array;
    }
    const { engine } = this;
    using left = engine.tensor([rows, width], a);
    using right = a === b ? null : engine.tensor([rows, width], b);
    using out = engine.tensor([width, width], null);
    await engine.run(
      (s) => (right ? matmul(s, left, right, { transposeA: true, out }) : gram(s, left, { out })),
      "moments",
    );
    return await out.read();
  }

  private gemm(type: "float32" | "float64", transposeA: boolean, transposeB: boolean): Promise<OnnxSession> {
    const key = `${type} ${transposeA} ${transposeB}`;
    let session = this.gemms.get(key);
    if (!session) {
      const dataType = type === "float32" ? FLOAT : DOUBLE;
      const attributes = { transA: Number(transposeA), transB: Number(transposeB) };
      const model = makeModel("product", 13, {
        node: [makeNode("Gemm", "product", ["a", "b"], ["c"], attributes)],
        input: ["a", "b"].map((name) => makeOpenInfo(name, dataType)),
        output: [makeOpenInfo("c", dataType)],
      });
      session = this.runtime!(serialiseModel(model));
      this.gemms.set(key, session);
    }
    return session;
  }

  /** Closes the sessions that products opened. */
  async release(): Promise<void> {
    const open = await Promise.allSettled(this.gemms.values());
    this.gemms.clear();
    for (const one of open) if (one.status === "fulfilled") await one.value.release();
  }
}

const doubles = (values: Values): Float64Array => (values instanceof Float64Array ? values : Float64Array.from(values));
