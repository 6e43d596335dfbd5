import { Program } from "../gpu/index.js";
import type { Source } from "../sources/index.js";
import { TensorScope } from "./tensorScope.js";

/** Singular values of a factor below this part of its largest count as 0: f32 tells no more of its columns. */
const CUT = 1e-6;

/**
 * The core consistency of a CP model (CORCONDIA, Bro & Kiers 2003), in per cent: 100·(1 − ‖G − T‖² / R), with G the core that fits X best in the
 * Tucker model of the CP factors, and T the superdiagonal of ones that CP stands for. 100 where the factors have no use for other products
 * than those of CP; around 0 and below where the model has too many terms. As in the N-way toolbox, the first factor carries the norms of the
 * terms.
 *
 * G is X times the pseudo-inverse of each factor (Papalexakis & Faloutsos 2015). X is read once, on the GPU, with orthonormal bases of the
 * factors' columns; what is left, R^N numbers, is divided by the small triangles on the host in f64.
 *
 * @param factors I_n×R, of X itself, not divided by a power of two
 * @returns null where a mode has fewer than R entries: no core of that model is T then, however good it is
 */
export async function coreConsistency(
  source: Source,
  weights: Float32Array,
  factors: readonly Float32Array[],
): Promise<number | null> {
  const { engine, shape } = source;
  const rank = weights.length;
  if (shape.some((extent) => extent < rank)) return null;
  const weighted = factors.map((factor, mode) =>
    Float64Array.from(factor, (value, at) => (mode ? value : value * weights[at % rank]!)),
  );
  const bases = weighted.map((factor) => orthonormal(factor, rank));
  using scope = new TensorScope(engine);
  const projected = scope.allocate(
    shape.map(() => rank),
    "core",
  );
  const matrices = bases.map(({ q }, mode) =>
    scope.keep(engine.tensor([shape[mode]!, rank], Float32Array.from(q), { label: `basis ${mode}` })),
  );
  await Program.run(engine, (p) => void source.project(p, matrices, { out: projected }), "core consistency");
  const scale = 2 ** source.exponent;
  let core: Float64Array = Float64Array.from(await engine.read(projected), (value) => value * scale);
  for (const [mode, { r }] of bases.entries()) core = alongMode(core, pseudoInverse(r, rank), rank, mode, shape.length);
  /** entries of the core's diagonal lie this far apart */
  const step = rank === 1 ? 1 : (rank ** shape.length - 1) / (rank - 1);
  let distance = 0;
  for (const [at, value] of core.entries()) distance += (value - (at % step === 0 ? 1 : 0)) ** 2;
  return 100 * (1 - distance / rank);
}

/** A = Q·R of an m×n matrix, by Gram-Schmidt's method applied twice. Where columns are dependent, Q has columns of zeros. */
export function orthonormal(a: Float64Array, columns: number): { q: Float64Array; r: Float64Array } {
  const q = Float64Array.from(a);
  const r = new Float64Array(columns * columns);
  const dot = (i: number, j: number): number => {
    let sum = 0;
    for (let at = 0; at < q.length; at += columns) sum += q[at + i]! * q[at + j]!;
    return sum;
  };
  for (let j = 0; j < columns; j++) {
    const before = Math.sqrt(dot(j, j));
    for (let pass = 0; pass < 2; pass++)
      for (let i = 0; i < j; i++) {
        const part = dot(i, j);
        r[i * columns + j]! += part;
        for (let at = 0; at < q.length; at += columns) q[at + j]! -= part * q[at + i]!;
      }
    const length = Math.sqrt(dot(j, j));
    const isIndependent = length > 1e-12 * before;
    r[j * columns + j] = isIndependent ? length : 0;
    for (let at = j; at < q.length; at += columns) q[at] = isIndependent ? q[at]! / length : 0;
  }
  return { q, r };
}

/** The pseudo-inverse of an n×n matrix, by one-sided Jacobi rotations (Hestenes 1958). */
export function pseudoInverse(a: Float64Array, n: number): Float64Array {
  /** A·V, whose columns become orthogonal, and V */
  const [w, v] = [Float64Array.from(a), new Float64Array(n * n)];
  for (let i = 0; i < n; i++) v[i * n + i] = 1;
  const dot = (i: number, j: number): number => {
    let sum = 0;
    for (let row = 0; row < n; row++) sum += w[row * n + i]! * w[row * n + j]!;
    return sum;
  };
  let isOrthogonal = false;
  for (let sweep = 0; sweep < 60 && !isOrthogonal; sweep++) {
    isOrthogonal = true;
    for (let i = 0; i < n; i++)
      for (let j = i + 1; j < n; j++) {
        const [first, second, across] = [dot(i, i), dot(j, j), dot(i, j)];
        if (Math.abs(across) <= 1e-15 * Math.sqrt(first * second)) continue;
        isOrthogonal = false;
        const ratio = (second - first) / (2 * across);
        const tangent = (ratio < 0 ? -1 : 1) / (Math.abs(ratio) + Math.hypot(1, ratio));
        const cosine = 1 / Math.hypot(1, tangent);
        for (const matrix of [w, v])
          for (let row = 0; row < n * n; row += n) {
            const [x, y] = [matrix[row + i]!, matrix[row + j]!];
            matrix[row + i] = cosine * (x - tangent * y);
            matrix[row + j] = cosine * (y + tangent * x);
          }
      }
  }
  const squares = Array.from({ length: n }, (_, i) => dot(i, i));
  const least = CUT ** 2 * Math.max(...squares);
  const inverse = new Float64Array(n * n);
  for (const [i, square] of squares.entries())
    if (square > least)
      for (let row = 0; row < n; row++)
        for (let column = 0; column < n; column++)
          inverse[row * n + column]! += (v[row * n + i]! * w[column * n + i]!) / square;
  return inverse;
}

/** Multiplies a core, R in each of its modes, by an R×R matrix along one of them. */
function alongMode(core: Float64Array, matrix: Float64Array, rank: number, mode: number, order: number): Float64Array {
  const after = rank ** (order - 1 - mode);
  const product = new Float64Array(core.length);
  for (let start = 0; start < core.length; start += rank * after)
    for (let row = 0; row < rank; row++)
      for (let column = 0; column < rank; column++) {
        const factor = matrix[row * rank + column]!;
        const [to, from] = [start + row * after, start + column * after];
        for (let at = 0; at < after; at++) product[to + at]! += factor * core[from + at]!;
      }
  return product;
}
