import checkShader from "../../shaders/jacobi_check.wgsl";
import shader from "../../shaders/jacobi_eigen.wgsl";
import endShader from "../../shaders/jacobi_eigen_end.wgsl";
import roundShader from "../../shaders/jacobi_eigen_round.wgsl";
import smallShader from "../../shaders/jacobi_eigen_small.wgsl";
import startShader from "../../shaders/jacobi_eigen_start.wgsl";
import turnsShader from "../../shaders/jacobi_eigen_turns.wgsl";
import { grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { setting } from "./adapter.js";
import { largestMagnitude } from "./norms.js";
import { assertCall, assertShape } from "./shapes.js";

const kernel = new Kernel(shader, () => [1]);
const small = new Kernel(smallShader, () => [1]);
const start = new Kernel(startShader, ({ players }, { WIDTH }) => grid1d(players! ** 2, WIDTH!));
const turn = new Kernel(turnsShader, ({ players }, { WIDTH }) => grid1d(players! / 2, WIDTH!));
const round = new Kernel(roundShader, ({ players }, { WIDTH }) => {
  const pairs = players! / 2;
  return grid1d((pairs * (pairs + 1)) / 2 + pairs * Math.ceil(players! / 4), WIDTH!);
});
const end = new Kernel(endShader, () => [1]);
const check = new Kernel(checkShader, () => [1]);

/** The most rows that rounds are recorded for, and how many sweeps of them. */
const LARGEST = 1024;
const SWEEPS = 14;

/** Records the check between sweeps of a Jacobi method (its `state` is [2], u32), or its start. */
export function recordCheck(s: Scheduler, state: Tensor<"u32">, isStart = false): void {
  assertCall("recordCheck", s, { state });
  s.run(check.with({ START: isStart }), { state });
}

/**
 * Eigenvalues ([n], falling) and eigenvectors (n×n, in columns) of a symmetric matrix by Jacobi rotations (Golub & Van Loan,
 * section 8.5), values to 1e-6 of the largest magnitude up to n = 40, and to 2e-6 up to 128. The entry of largest magnitude
 * in a vector is positive. Up to n = 128 one workgroup does it in one dispatch; beyond, up to 1024, a round is two dispatches
 * (those of 14 sweeps are recorded, and return at once when all is done). Outside of schedules `eigh` is faster and more exact.
 */
export function symmetricEigen(s: Scheduler, a: Tensor): { values: Tensor; vectors: Tensor } {
  assertCall("symmetricEigen", s, { a });
  const n = a.shape[0]!;
  assertShape("symmetricEigen", "the matrix", a, [n, n]);
  if (n > LARGEST)
    throw new ShapeError(`symmetricEigen: ${n}×${n}, needs at most ${LARGEST}; take leadingSubspace for a few vectors`);
  const values = s.tensor([n], { label: "eigenvalues" });
  const vectors = s.tensor([n, n], { label: "eigenvectors" });
  const widest = setting(s.engine, "soleWorkgroup");
  if (n <= setting(s.engine, "factoriseInside")) {
    const WIDTH = Math.min(widest, n <= 16 ? 64 : 256);
    s.run(small.with({ WIDTH, ACROSS: Math.min(WIDTH, 16) }), { a, values, vectors }, { n });
    return { values, vectors };
  }
  const players = n + (n % 2);
  const work = s.tensor([players, players], { label: "eigen work" });
  const rotation = s.tensor([players, 4 * Math.ceil(players / 4)], { label: "eigen rotation" });
  if (n <= setting(s.engine, "jacobiAlone")) {
    const alone = kernel.with({ WIDTH: widest, ACROSS: Math.min(widest, 16) });
    s.run(alone, { a, work, rotation, values, vectors }, { n });
  } else {
    const largest = largestMagnitude(s, a);
    const state = s.tensor([2], { dtype: "u32", label: "eigen state" });
    const turns = s.tensor([players / 2, 4], { label: "eigen turns" });
    s.run(start, { a, largest, work, rotation }, { n, players });
    for (let sweep = 0; sweep < SWEEPS; sweep++) {
      recordCheck(s, state, sweep === 0);
      for (let index = 0; index < players - 1; index++) {
        s.run(turn, { work, rotation, turns, state }, { players, round: index });
        s.run(round, { work, rotation, turns, state }, { players });
      }
    }
    s.run(end, { work, rotation, largest, values, vectors }, { n, players });
    s.release(largest, state, turns);
  }
  s.release(work, rotation);
  return { values, vectors };
}
