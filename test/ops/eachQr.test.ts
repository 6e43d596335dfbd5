/** QR of many matrices at once, over difficult ones, in f64. */
import { expect, it } from "vitest";
import type { DType } from "../../src/gpu/index.js";
import { EachQr } from "../../src/ops/index.js";
import { Findings, judgeQr, norm } from "../decompositions/judged.js";
import { testEngine } from "../engine.js";
import { matmul, randomArray } from "../reference.js";
import { MATRICES } from "./judgedQr.js";

it.each([
  // a block of rows a matrix
  [40, 7],
  [140, 40],
  [64, 64],
  // two blocks
  [600, 64],
  // three blocks and more, whose triangles are blocks of two levels
  [900, 8],
  [2100, 64],
  // more columns than blocks of one matrix take
  [80, 70],
  [300, 101],
  [700, 80],
  // one matrix after the other: of more columns than blocks take
  [270, 257],
] as const)("of many %i×%i, some with fewer rows", async (height, columns) => {
  const engine = await testEngine();
  const names = Object.keys(MATRICES);
  // fewer rows than columns, too
  const rows = names.map((_, k) => [height, height - 3, columns, Math.max(1, columns - 5)][k % 4]!);
  const data = names.map((name, k) =>
    MATRICES[name]!(Math.max(rows[k]!, columns), columns).slice(0, rows[k]! * columns),
  );
  const all = new Float32Array(names.length * height * columns);
  for (const [k, matrix] of data.entries()) all.set(matrix, k * height * columns);
  using a = engine.tensor([names.length, height, columns], all);
  using heights = engine.tensor([names.length], Uint32Array.from(rows));
  const kept: { destroy(): void }[] = [];
  const allocate = <D extends DType = "f32">(shape: readonly number[], label: string, dtype?: D) => {
    const tensor = engine.tensor<D>(shape, null, { label, ...(dtype && { dtype }) });
    kept.push(tensor);
    return tensor;
  };
  const qr = new EachQr(a, heights, allocate);
  using r = engine.tensor([names.length, columns, columns]);
  using q = engine.tensor([names.length, height, columns]);
  const few = Math.ceil(columns / 3);
  const right = randomArray(names.length * columns * few, 7);
  using p = engine.tensor([names.length, columns, few], right);
  using product = engine.tensor([names.length, height, few]);
  const unit = new Float32Array(names.length * columns * columns);
  for (let e = 0; e < names.length * columns; e++) unit[e * columns + (e % columns)] = 1;
  using identity = engine.tensor([names.length, columns, columns], unit);
  const { dispatches } = engine.counters;
  await engine.run((s) => void qr.triangles(s, { out: r }));
  await engine.run((s) => {
    qr.apply(s, identity, { out: q });
    qr.apply(s, p, { out: product });
  });
  if (columns <= 256) {
    const levels = height > 2048 ? 3 : height >= 512 ? 2 : 1;
    expect(engine.counters.dispatches - dispatches).toBeLessThanOrEqual(22 + 5 * levels);
  }
  const [qs, rs, products] = await engine.read([q, r, product]);
  const problems: string[] = [];
  for (const [k, name] of names.entries()) {
    const [m, n] = [rows[k]!, columns];
    const own = qs.slice(k * height * n, (k * height + m) * n);
    const triangle = rs.slice(k * n * n, (k + 1) * n * n);
    const findings = new Findings();
    const used = Math.min(m, n);
    const narrow = Float32Array.from({ length: m * used }, (_, e) => own[Math.floor(e / used) * n + (e % used)]!);
    judgeQr(findings, data[k]!, [m, n], { q: narrow, r: triangle.slice(0, used * n) });
    findings.atMost("rows of R below the last", norm(triangle.slice(used * n)), 0);
    // P counts as far as the matrix has rows
    const factor = right.slice(k * n * few, (k * n + used) * few);
    const expected = matmul(narrow, factor, m, used, few);
    const rest = expected.map((value, e) => value - products[k * height * few + e]!);
    findings.atMost("Q·P", norm(rest) / norm(expected), 1e-6);
    try {
      findings.check();
    } catch (error) {
      problems.push(`${name} ${m}×${n}: ${(error as Error).message}`);
    }
  }
  expect(problems).toEqual([]);
  for (const tensor of kept) tensor.destroy();
});

it("refuses what does not fit", async () => {
  const engine = await testEngine();
  using wide = engine.tensor([2, 3, 4]);
  const allocate = ((shape: readonly number[]) => engine.tensor(shape)) as never;
  expect(() => new EachQr(wide, null, allocate)).toThrow("EachQr: 2×3×4, needs K×m×n with m at least n");
  using a = engine.tensor([2, 4, 3]);
  using p = engine.tensor([2, 4, 2]);
  const s = engine.scheduler("refused");
  expect(() => new EachQr(a, null, allocate).apply(s, p)).toThrow("EachQr: p is 2×4×2, expected 2×3×2");
  s.destroy();
});
