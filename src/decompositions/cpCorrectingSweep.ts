/** The sweeps of CP-ALS near a fit of 1. Loaded when a run comes there. */
import type { Program, Scheduler, Tensor } from "../gpu/index.js";
import { add, copy, gram, hadamard, matmul, scaleColumns, subtract } from "../ops/index.js";
import { overModes, type Reader } from "../sources/index.js";
import type { KruskalTensor } from "../tensors/index.js";
import type { CpUpdate, hadamardProduct } from "./cpUpdates.js";

/** What a correcting sweep works with. */
export interface CorrectingSweep {
  model: KruskalTensor;
  /** E = X − X̂, as it is at the beginning of the sweep */
  difference: Reader;
  correct: NonNullable<CpUpdate["correct"]>;
  /** the Hadamard product of the Gram matrices of these modes */
  hadamardOf(s: Scheduler, modes: readonly number[]): ReturnType<typeof hadamardProduct>;
  /** Writes a mode's factor, columns of norm 1, and the weights. */
  normalise(s: Scheduler, solved: Tensor, factor: Tensor): void;
  /** the Gram matrix of a mode's factor, to be written */
  gramOf(mode: number): Tensor;
}

/**
 * One sweep by A ← A + (G − ridge·A)(V + (ridge + ρ)I)⁻¹, G the MTTKRP of X − X̂.
 *
 * X − X̂ is known from the beginning of the sweep, as E. Since then the factors of earlier modes have taken steps Δ. What these changed of
 * X̂ has the MTTKRP A₀·(P ⊛ T), so G = MTTKRP(E) − A₀·(P ⊛ T), where T is the Hadamard product of the Gram matrices of later modes. P is
 * R×R and grows with every mode: P ← P ⊛ (A₀ᵀA₁) + Q ⊛ (ΔᵀA₁), with A₀ and A₁ the mode's factor before and after its step, and Q the
 * Hadamard product of the new Gram matrices of earlier modes. Every number here is as small as the step, and so is its rounding.
 */
export function correctingSweep(
  p: Program,
  { model: { weights, factors }, difference, correct, hadamardOf, normalise, gramOf }: CorrectingSweep,
): void {
  const { s } = p;
  /** P */
  let change: Tensor | null = null;
  const modes = factors.map((_, mode) => mode);
  overModes(p, difference, factors, {}, (product, mode) => {
    const factor = factors[mode]!;
    const later = hadamardOf(s, modes.slice(mode + 1));
    const earlier = hadamardOf(s, modes.slice(0, mode));
    const [T, Q] = [later.product, earlier.product];
    const normal = T && Q ? hadamard(s, Q, T) : (T ?? Q)!;
    let gradient = product;
    if (change) {
      const combined = T ? hadamard(s, change, T) : change;
      const moved = matmul(s, factor, combined);
      gradient = subtract(s, product, moved);
      s.release(moved);
      if (combined !== change) s.release(combined);
    }
    const scaled = scaleColumns(s, factor, weights);
    const step = correct(p, { mode, product: gradient, normal, factor, weights, scaled });
    if (T && Q) s.release(normal);
    if (gradient !== product) s.release(gradient);
    const next = add(s, scaled, step);
    s.release(scaled);
    const before = T && change ? copy(s, factor) : factor;
    normalise(s, next, factor);
    s.release(next);
    if (T) {
      const moved = matmul(s, step, factor, { transposeA: true });
      const added = Q ? hadamard(s, Q, moved) : moved;
      if (change) {
        const across = matmul(s, before, factor, { transposeA: true });
        const carried = hadamard(s, change, across);
        const sum = add(s, carried, added);
        s.release(across, carried, added, change);
        change = sum;
      } else change = added;
      if (Q) s.release(moved);
    }
    s.release(step);
    if (later.isTemporary) s.release(T!);
    if (earlier.isTemporary) s.release(Q!);
    if (before !== factor) s.release(before);
    gram(s, factor, { out: gramOf(mode) });
  });
  if (change) s.release(change);
}
