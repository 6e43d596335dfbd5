/** What judges QR, SVD and symmetric eigen: every figure in f64, against the bounds that are promised and against f32 LAPACK. */
import { expect, it } from "vitest";
import { eigh, qr, svd } from "../../src/decompositions/index.js";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import { jacobiSvd, orthogonalise, symmetricEigen } from "../../src/ops/index.js";
import { evaluate, testEngine } from "../engine.js";
import { type Departure, type MatrixRecord, type SymmetricRecord, shownPlaces } from "../fixtures/lapack.js";
import { checksum, zooMatrix, zooSymmetric } from "../fixtures/zoo.js";

type Numbers = ArrayLike<number>;

export interface Factorisations {
  /** f32 LAPACK is at times exact, by chance or on an identity: it counts as no nearer to f64 than this; Infinity: it does not count */
  floor: number;
  svd(engine: Engine, a: Tensor): Promise<{ u: Numbers; values: Numbers; v: Numbers }>;
  eigh(engine: Engine, a: Tensor): Promise<{ values: Numbers; vectors: Numbers }>;
  qr(engine: Engine, a: Tensor): Promise<{ q: Numbers; r: Numbers }>;
}

/** The functions of one line. */
export const judged: Factorisations = {
  floor: 2e-7,
  async svd(engine, a) {
    using result = await svd(engine, a);
    const [u, values, v] = await engine.read([result.u, result.values, result.v]);
    return { u: u!, values: values!, v: v! };
  },
  async eigh(engine, a) {
    using result = await eigh(engine, a);
    const [values, vectors] = await engine.read([result.values, result.vectors]);
    return { values: values!, vectors: vectors! };
  },
  async qr(engine, a) {
    using result = await qr(engine, a);
    const [q, r] = await engine.read([result.q, result.r]);
    return { q: q!, r: r! };
  },
};

/** The ops that are recorded into a schedule. */
export const recordedOps: Factorisations = {
  floor: Number.POSITIVE_INFINITY,
  async svd(engine, a) {
    const [u, values, v] = await evaluate(engine, (s) => {
      const result = jacobiSvd(s, a);
      return [result.u, result.values, result.v];
    });
    return { u: u!, values: values!, v: v! };
  },
  async eigh(engine, a) {
    const [values, vectors] = await evaluate(engine, (s) => {
      const result = symmetricEigen(s, a);
      return [result.values, result.vectors];
    });
    return { values: values!, vectors: vectors! };
  },
  async qr(engine, a) {
    const [q, r] = await evaluate(engine, (s) => {
      const result = orthogonalise(s, a);
      return [result.q, result.r];
    });
    return { q: q!, r: r! };
  },
};

/** Promised for every finite matrix: of ‖A‖ for A − QR; of σ₁ for σ; of the largest |λ| for λ; entries of QᵀQ − I; of ‖A‖ for AV − VΛ. */
export const BOUNDS = { qr: 1e-6, values: 1e-6, orthonormal: 2e-6, residual: 2e-6 } as const;
/** ‖A − Â‖ of rank r: at most this much above the best, relative to it and to ‖A‖ */
export const BEST = { relative: 1e-3, absolute: 2e-6 } as const;

/** What is promised, or twice LAPACK's distance where that is less. */
const within = (promised: number, lapack: number, floor: number): number =>
  Math.min(promised, 2 * Math.max(lapack, floor));

/**
 * Of the largest entry of QᵀQ − I, and of its spectral norm: up to √n times that, so f32 LAPACK itself comes to 5e-6 at a
 * side of 1024. As much as LAPACK is allowed there, where that is more than what is promised of the entries.
 */
const departureWithin = (lapack: Departure, floor: number): Departure => [
  within(BOUNDS.orthonormal, lapack[0], floor),
  within(Math.max(BOUNDS.orthonormal, lapack[1]), lapack[1], floor),
];

/** Collects what is out of bounds, so that a test tells all of it at once. */
export class Findings {
  private readonly list: string[] = [];

  /** NaN is out of every bound. */
  atMost(what: string, value: number, bound: number): void {
    if (!(value <= bound)) this.list.push(`${what} ${value.toExponential(2)}, at most ${bound.toExponential(2)}`);
  }

  require(what: string, isSo: boolean): void {
    if (!isSo) this.list.push(what);
  }

  /** Fails where anything was found. */
  check(): void {
    if (this.list.length) throw new Error(this.list.join("\n"));
  }
}

/** Larger than all others, NaN included. */
const worse = (a: number, b: number): number => (b > a || Number.isNaN(b) ? b : a);

export function norm(a: Numbers): number {
  let scale = 0;
  for (let k = 0; k < a.length; k++) scale = worse(scale, Math.abs(a[k]!));
  if (!(scale > 0)) return scale;
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += (a[k]! / scale) ** 2;
  return scale * Math.sqrt(sum);
}

/** Largest entry of QᵀQ − I, and its spectral norm by power iteration. */
export function departure(q: Numbers, rows: number, columns: number): Departure {
  const error = new Float64Array(columns * columns);
  for (let i = 0; i < rows; i++)
    for (let a = 0; a < columns; a++) {
      const value = q[i * columns + a]!;
      if (value === 0) continue;
      for (let b = a; b < columns; b++) error[a * columns + b]! += value * q[i * columns + b]!;
    }
  let largest = 0;
  for (let a = 0; a < columns; a++) {
    error[a * columns + a]! -= 1;
    for (let b = a; b < columns; b++) {
      largest = worse(largest, Math.abs(error[a * columns + b]!));
      error[b * columns + a] = error[a * columns + b]!;
    }
  }
  if (!(largest > 0)) return [largest, largest];
  let x = Float64Array.from({ length: columns }, (_, k) => Math.sin(1 + 7 * k));
  let spectral = 0;
  for (let step = 0; step < 30; step++) {
    const length = norm(x);
    const y = new Float64Array(columns);
    for (let a = 0; a < columns; a++) {
      let sum = 0;
      for (let b = 0; b < columns; b++) sum += error[a * columns + b]! * x[b]!;
      y[a] = sum / length;
    }
    spectral = norm(y);
    x = y;
  }
  return [largest, worse(largest, spectral)];
}

/** ‖A − U_r·Σ_r·V_rᵀ‖/‖A‖ for every rank asked for, which rise. */
export function rankErrors(a: Float32Array, [m, n]: readonly [number, number], result: Svd, ranks: number[]): number[] {
  const { u, values, v } = result;
  const k = Math.min(m, n);
  const rest = Float64Array.from(a);
  const size = norm(a) || 1;
  const column = new Float64Array(n);
  let taken = 0;
  return ranks.map((rank) => {
    for (; taken < rank; taken++) {
      for (let j = 0; j < n; j++) column[j] = values[taken]! * v[j * k + taken]!;
      for (let i = 0; i < m; i++) {
        const factor = u[i * k + taken]!;
        for (let j = 0; j < n; j++) rest[i * n + j]! -= factor * column[j]!;
      }
    }
    return norm(rest) / size;
  });
}
type Svd = Awaited<ReturnType<Factorisations["svd"]>>;

/** Falling, and as many as there should be. */
function inOrder(values: Numbers, count: number): boolean {
  if (values.length !== count) return false;
  for (let k = 1; k < count; k++) if (!(values[k]! <= values[k - 1]!)) return false;
  return true;
}

function distance(values: Numbers, exact: Numbers, places: readonly number[]): number {
  return places.reduce((most, at, k) => worse(most, Math.abs(values[at]! - exact[k]!)), 0);
}

export interface Bounds {
  values: number;
  u: Departure;
  v: Departure;
  residual: number;
}
const PROMISED: Bounds = {
  values: BOUNDS.values,
  u: [BOUNDS.orthonormal, BOUNDS.orthonormal],
  v: [BOUNDS.orthonormal, BOUNDS.orthonormal],
  residual: BOUNDS.residual,
};

/** All that is asked of an SVD; `exact` singular values stand at `places`. */
export function judgeSvd(
  findings: Findings,
  a: Float32Array,
  [m, n]: readonly [number, number],
  result: Svd,
  { exact, places, best }: { exact: Numbers; places: readonly number[]; best: Readonly<Record<string, number>> },
  bounds: Bounds = PROMISED,
): void {
  const k = Math.min(m, n);
  findings.require(
    "singular values do not fall, or some are negative",
    inOrder(result.values, k) && result.values[k - 1]! >= 0,
  );
  findings.atMost("σ ÷ σ₁", distance(result.values, exact, places) / (exact[0]! || 1), bounds.values);
  for (const [name, side] of [
    ["u", m],
    ["v", n],
  ] as const) {
    const [entry, spectral] = departure(result[name], side, k);
    const text = name.toUpperCase();
    findings.atMost(`${text}ᵀ${text} − I, entry`, entry, bounds[name][0]);
    findings.atMost(`${text}ᵀ${text} − I, norm`, spectral, bounds[name][1]);
  }
  const ranks = Object.keys(best).map(Number);
  const errors = rankErrors(a, [m, n], result, [...ranks, k]);
  ranks.forEach((rank, index) => {
    const least = best[rank]!;
    findings.atMost(`error of rank ${rank}`, errors[index]!, least * (1 + BEST.relative) + BEST.absolute);
  });
  findings.atMost("A − UΣVᵀ", errors.at(-1)!, bounds.residual);
}

/** All that is asked of a QR decomposition: q m×k and r k×n with k = min(m, n). */
export function judgeQr(
  findings: Findings,
  a: Float32Array,
  [m, n]: readonly [number, number],
  { q, r }: Awaited<ReturnType<Factorisations["qr"]>>,
  bounds: { q: Departure; residual: number } = {
    q: [BOUNDS.orthonormal, BOUNDS.orthonormal],
    residual: BOUNDS.qr,
  },
): void {
  const k = Math.min(m, n);
  const [entry, spectral] = departure(q, m, k);
  findings.atMost("QᵀQ − I, entry", entry, bounds.q[0]);
  findings.atMost("QᵀQ − I, norm", spectral, bounds.q[1]);
  let below = 0;
  for (let i = 1; i < k; i++) for (let j = 0; j < i; j++) below = worse(below, Math.abs(r[i * n + j]!));
  findings.atMost("R below its diagonal", below, 0);
  const rest = Float64Array.from(a);
  for (let i = 0; i < m; i++)
    for (let at = 0; at < k; at++) {
      const factor = q[i * k + at]!;
      for (let j = at; j < n; j++) rest[i * n + j]! -= factor * r[at * n + j]!;
    }
  findings.atMost("A − QR", norm(rest) / (norm(a) || 1), bounds.residual);
}

/** All that is asked of the eigenvalues and vectors of a symmetric matrix. */
export function judgeEigen(
  findings: Findings,
  a: Float32Array,
  n: number,
  { values, vectors }: Awaited<ReturnType<Factorisations["eigh"]>>,
  { exact, places, largest }: { exact: Numbers; places: readonly number[]; largest: number },
  bounds: { values: number; vectors: Departure; residual: number } = {
    values: BOUNDS.values,
    vectors: [BOUNDS.orthonormal, BOUNDS.orthonormal],
    residual: BOUNDS.residual,
  },
): void {
  findings.require("eigenvalues do not fall", inOrder(values, n));
  findings.atMost("λ ÷ largest", distance(values, exact, places) / (largest || 1), bounds.values);
  const [entry, spectral] = departure(vectors, n, n);
  findings.atMost("VᵀV − I, entry", entry, bounds.vectors[0]);
  findings.atMost("VᵀV − I, norm", spectral, bounds.vectors[1]);
  const rest = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < n; k++) {
      const factor = a[i * n + k]!;
      if (factor) for (let j = 0; j < n; j++) rest[i * n + j]! += factor * vectors[k * n + j]!;
    }
    for (let j = 0; j < n; j++) rest[i * n + j]! -= vectors[i * n + j]! * values[j]!;
  }
  findings.atMost("AV − VΛ", norm(rest) / (norm(a) || 1), bounds.residual);
}

/** milliseconds: a side of 1024 takes minutes on a busy software adapter, most of them in the f64 checks */
const MOST = 900_000;

/** A test each: SVD and QR. */
export function testMatrices(list: readonly MatrixRecord[], judges = judged): void {
  it.each(list.map((record) => [...record.matrix, record] as const))(
    "%s, %i×%i",
    async (member, m, n, record) => {
      const engine = await testEngine();
      const data = zooMatrix(member, m, n);
      expect(checksum(data), "the bits of the matrix").toBe(record.bits);
      using a = engine.tensor([m, n], data);
      const findings = new Findings();
      const right = {
        exact: record.values.map((value) => 1e-9 * value * record.largest),
        places: shownPlaces(Math.min(m, n)),
        best: record.best,
      };
      judgeSvd(findings, data, [m, n], await judges.svd(engine, a), right, {
        values: within(BOUNDS.values, record.svd.values, judges.floor),
        u: departureWithin(record.svd.u, judges.floor),
        v: departureWithin(record.svd.v, judges.floor),
        residual: within(BOUNDS.residual, record.svd.residual, judges.floor),
      });
      // the recorded op takes no wide ones
      if (m >= n || judges !== recordedOps)
        judgeQr(findings, data, [m, n], await judges.qr(engine, a), {
          q: departureWithin(record.qr.q, judges.floor),
          residual: within(BOUNDS.qr, record.qr.residual, judges.floor),
        });
      findings.check();
    },
    MOST,
  );
}

/** A test each. */
export function testSymmetric(list: readonly SymmetricRecord[], judges = judged): void {
  it.each(list.map((record) => [...record.matrix, record] as const))(
    "%s, %i",
    async (member, n, record) => {
      const engine = await testEngine();
      const data = zooSymmetric(member, n);
      expect(checksum(data), "the bits of the matrix").toBe(record.bits);
      using a = engine.tensor([n, n], data);
      const findings = new Findings();
      const { largest, eigh } = record;
      const right = { exact: record.values.map((value) => 1e-9 * value * largest), places: shownPlaces(n), largest };
      judgeEigen(findings, data, n, await judges.eigh(engine, a), right, {
        values: within(BOUNDS.values, eigh.values, judges.floor),
        vectors: departureWithin(eigh.vectors, judges.floor),
        residual: within(BOUNDS.residual, eigh.residual, judges.floor),
      });
      findings.check();
    },
    MOST,
  );
}
