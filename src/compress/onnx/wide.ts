/**
 * Dense layers with too many inputs for a covariance of these. With W·Wᵀ = L·Lᵀ and B = L⁻¹·W, whose rows are orthonormal, the layer W·x is L·(B·x):
 * a layer with as many inputs as outputs behind one that keeps all that W sees. So L is fitted in the layer's place, to B·x, and the first factor of a
 * fit is multiplied by B at the end. A fit has its rows among those of W then; without samples that is where they are anyway.
 */
import { FLOAT } from "../../onnx/dataTypes.js";
import type { OnnxSite } from "../../onnx/index.js";
import { makeModel, makeNode, makeOpenInfo, serialiseModel } from "../../onnx/proto.js";
import { tensorFrom } from "../../onnx/tensors.js";
import type { Products } from "./products.js";
import { floatsOfArray, type OnnxArray, type OnnxSession, type OnnxSessions } from "./session.js";
import { Triangle } from "./triangle.js";

/** A layer that is fitted in the place of a wide one. */
export interface NarrowSite extends OnnxSite {
  wide: OnnxSite;
  basis: Basis;
}

export const isNarrow = (site: OnnxSite): site is NarrowSite => "wide" in site;
/** The layer as the model has it. */
export const wideOf = (site: OnnxSite): OnnxSite => (isNarrow(site) ? site.wide : site);

/** As a share of the mean of the diagonal of W·Wᵀ: what is added to it, so that outputs may depend on each other. */
const LIFT = 1e-6;
/** entries of a block of W or of B that is multiplied at a time */
const BLOCK = 2 ** 22;

/** L and B of a layer. */
export class Basis {
  private session: Promise<OnnxSession> | null = null;

  private constructor(
    private readonly products: Products,
    readonly inputs: number,
    readonly outputs: number,
    /** L, outputs×outputs */
    readonly lower: Float32Array,
    /** Bᵀ, inputs×outputs */
    private readonly columns: Float32Array,
  ) {}

  /** @param weights outputs×inputs */
  static async of(products: Products, weights: Float32Array, outputs: number): Promise<Basis> {
    const inputs = weights.length / outputs;
    const size = Math.max(1, Math.floor(BLOCK / outputs));
    /** columns of W as rows */
    const turned = (first: number, end: number): Float64Array => {
      const out = new Float64Array((end - first) * outputs);
      for (let o = 0; o < outputs; o++)
        for (let i = first, at = o; i < end; i++, at += outputs) out[at] = weights[o * inputs + i]!;
      return out;
    };
    const square = new Float64Array(outputs * outputs);
    for (let first = 0; first < inputs; first += size) {
      const end = Math.min(first + size, inputs);
      const block = turned(first, end);
      const shape = { rows: outputs, inner: end - first, columns: outputs, transposeA: true };
      const summand = await products.multiply(block, block, shape);
      for (let e = 0; e < square.length; e++) square[e]! += summand[e]!;
    }
    let trace = 0;
    for (let o = 0; o < outputs; o++) trace += square[o * (outputs + 1)]!;
    for (let o = 0; o < outputs; o++) square[o * (outputs + 1)]! += (LIFT * trace) / outputs + 1e-30;
    const triangle = await Triangle.of(products, square, outputs);
    const columns = new Float32Array(weights.length);
    for (let first = 0; first < inputs; first += size) {
      const end = Math.min(first + size, inputs);
      columns.set(await triangle.solve(turned(first, end), end - first, true), first * outputs);
    }
    return new Basis(products, inputs, outputs, Float32Array.from(triangle.block(0, outputs, 0, outputs)), columns);
  }

  get bytes(): number {
    return 4 * (this.columns.length + this.lower.length);
  }

  /** B·x for all x of an input, whose last axis they lie along. */
  async project(sessions: OnnxSessions, x: OnnxArray): Promise<OnnxArray> {
    this.session ??= sessions(this.model());
    const data = floatsOfArray(x);
    const { b } = await (await this.session).run({
      x: { dtype: "float32", shape: [data.length / this.inputs, this.inputs], data: Float32Array.from(data) },
    });
    return b!;
  }

  /** Rows of as many entries as there are outputs, times B. */
  async expand(rows: Float32Array): Promise<Float32Array> {
    const { products, inputs, outputs, columns } = this;
    const count = rows.length / outputs;
    const out = new Float32Array(count * inputs);
    const size = Math.max(1, Math.floor(BLOCK / outputs));
    for (let first = 0; first < inputs; first += size) {
      const end = Math.min(first + size, inputs);
      const block = await products.multiply(rows, columns.subarray(first * outputs, end * outputs), {
        ...{ rows: count, inner: outputs, columns: end - first, transposeB: true },
      });
      for (let row = 0; row < count; row++)
        out.set(block.subarray(row * (end - first), (row + 1) * (end - first)), row * inputs + first);
    }
    return out;
  }

  /** Closes the session that projections opened. */
  async release(): Promise<void> {
    const { session } = this;
    this.session = null;
    await (await session)?.release();
  }

  private model(): Uint8Array {
    const { inputs, outputs, columns } = this;
    const model = makeModel("basis", 13, {
      node: [makeNode("MatMul", "basis", ["x", "columns"], ["b"], {})],
      input: [makeOpenInfo("x", FLOAT)],
      output: [makeOpenInfo("b", FLOAT)],
    });
    model.graph!.initializer.push(tensorFrom("basis", "columns", FLOAT, [inputs, outputs], columns));
    return serialiseModel(model);
  }
}

/** Whether a layer can be fitted by its outputs, where its inputs are too many. */
export const canNarrow = ({ kind, groups, geometry, inputAxis, shape }: OnnxSite, most: number): boolean =>
  kind === "dense" && groups === 1 && !geometry && inputAxis === -1 && shape[0]! <= most;

/** The layer that is fitted in the place of a wide one. */
export async function narrowed(products: Products, wide: OnnxSite): Promise<NarrowSite> {
  const [outputs] = wide.shape as [number];
  const basis = await Basis.of(products, await wide.weights(), outputs);
  return { ...wide, wide, basis, shape: [outputs, outputs], weights: async () => basis.lower };
}
