/** The sweeps of TR-ALS. */
import type { Scheduler, Tensor } from "../gpu/index.js";
import { accumulate, contract, copy, kruskalDifference, matmul, permute, solveSymmetric } from "../ops/index.js";
import { TensorRing } from "../tensors/index.js";
import type { Scope } from "./iterate.js";

/** How the ranks of a core lie in memory behind its extent: left before right, or the other way round. */
type Order = "lr" | "rl";

/**
 * A ring X̂ and E = X − X̂. The ring is cut in two, so that X̂ as a matrix is F·Bᵀ: F has the cores in front of the cut multiplied out, B those behind
 * it. A sweep goes over the cores of F, with E·B, and over those of B, with Eᵀ·F; E is made anew after each half. So X is read twice and E three times,
 * however many modes there are. What a half needs beyond that is small: normal matrices are joined from Gram matrices of chains of cores, and what steps
 * of earlier cores take off E·B follows from the normal matrix.
 */
export class RingSweep {
  /** n×r_k×r_{k+1} each; n×r_{k+1}×r_k where one core is all of F */
  readonly cores: readonly Tensor[];
  readonly #difference: Tensor;
  readonly #x: Tensor;
  /** F and B: N×(r_cut·r_1), the rank at the cut before that where the ring closes */
  readonly #halves: readonly [front: Tensor, behind: Tensor];
  readonly #cut: number;

  constructor(
    { allocate, source }: Scope,
    readonly ranks: readonly number[],
    readonly ridge: number,
  ) {
    const { shape } = source;
    const right = (k: number) => ranks[(k + 1) % ranks.length]!;
    this.#cut = TensorRing.cutOf(shape, ranks);
    this.cores = shape.map((extent, k) => {
      const sides = [ranks[k]!, right(k)];
      return allocate([extent, ...(this.#orderOf(k) === "lr" ? sides : sides.reverse())], `core ${k}`);
    });
    const closing = ranks[this.#cut]! * ranks[0]!;
    const rows = shape.slice(0, this.#cut).reduce((size, extent) => size * extent, 1);
    this.#halves = [allocate([rows, closing], "front"), allocate([source.size / rows, closing], "behind")];
    this.#x = source.tensor("tensorRingALS").reshape([rows, -1]);
    this.#difference = allocate(this.#x.shape, "difference");
  }

  #orderOf(k: number): Order {
    return k === 0 && this.#cut === 1 ? "rl" : "lr";
  }

  /** Records the ring as one of r_k×n_k×r_{k+1} each. */
  standard(s: Scheduler, out: readonly Tensor[]): void {
    for (const [k, core] of this.cores.entries())
      permute(s, core, this.#orderOf(k) === "lr" ? [1, 0, 2] : [2, 0, 1], { out: out[k]! });
  }

  /** Records the start from cores r_k×n_k×r_{k+1}. */
  begin(s: Scheduler, cores: readonly Tensor[]): void {
    for (const [k, core] of cores.entries())
      permute(s, core, this.#orderOf(k) === "lr" ? [1, 0, 2] : [1, 2, 0], { out: this.cores[k]! });
    this.#multiplyOut(s, 0);
    this.#multiplyOut(s, 1);
    this.#refresh(s);
  }

  /** Records a sweep, and ‖E‖² after it. */
  record(s: Scheduler, squaredNorm: Tensor): void {
    for (const half of [0, 1] as const) {
      this.#update(s, half);
      this.#multiplyOut(s, half);
      this.#refresh(s, half ? squaredNorm : undefined);
    }
  }

  #coresOf(half: 0 | 1): readonly Tensor[] {
    return half ? this.cores.slice(this.#cut) : this.cores.slice(0, this.#cut);
  }

  /** Records E, and ‖E‖² where it is asked for. */
  #refresh(s: Scheduler, squaredNorm?: Tensor): void {
    kruskalDifference(s, this.#x, null, this.#halves, { out: this.#difference, squaredNorm });
  }

  /** Records F or B. */
  #multiplyOut(s: Scheduler, half: 0 | 1): void {
    const [first, ...others] = this.#coresOf(half);
    const order: Order = half ? "lr" : "rl";
    const out = this.#halves[half];
    if (!others.length) return void copy(s, first!, { out: out.reshape(first!.shape) });
    let product = first!;
    for (const [k, core] of others.entries()) {
      const isLast = k === others.length - 1;
      const next = join(s, product, core, isLast ? { order, out } : {});
      if (k) s.release(product);
      product = next;
    }
  }

  /** Records new cores of a half, one after the other. */
  #update(s: Scheduler, half: 0 | 1): void {
    const cores = this.#coresOf(half);
    const other = this.#halves[1 - half]!;
    let order: Order = half ? "lr" : "rl";
    const left = cores[0]!.shape[order === "rl" && cores.length === 1 ? 2 : 1]!;
    const sides = [left, other.shape[1]! / left] as const;
    const ordered = (of: Order, [l, r]: readonly [number, number]): [number, number] => (of === "lr" ? [l, r] : [r, l]);
    // the gradient with regard to all cores of the half multiplied out, and its normal matrix
    let gradient = matmul(s, this.#difference, other, { transposeA: half === 1 });
    let normal = matmul(s, other, other, { transposeA: true });
    // chains of the cores from the second on, from the third on, …
    const chains = chainsOf(s, cores);
    for (const [k, core] of cores.entries()) {
      const chain = chains[k + 1];
      if (!chain) {
        s.release(this.#step(s, core, gradient, normal));
        break;
      }
      const extent = core.shape[0]!;
      const [l, r] = k ? [core.shape[1]!, sides[1]] : sides;
      const c = core.shape[2]!;
      const pair = ordered(order, [l, r]);
      const [at, atOther] = order === "lr" ? ["lr", "ms"] : ["rl", "sm"];
      const whole = gradient.reshape([extent, chain.shape[0]!, ...pair]);
      const square = normal.reshape([...pair, ...pair]);
      const product = gramOf(s, chain);
      const ownGradient = contract(s, whole, chain, `ij${at},jcr->ilc`);
      const ownNormal = contract(s, square, product, `${at}${atOther},crds->lcmd`);
      s.release(product);
      const step = this.#step(s, core, ownGradient, ownNormal.reshape([l * c, l * c]));
      // the gradient that is left for the others: by the core as it is now, and without what its step has taken off
      const rest = contract(s, whole, core, `ij${at},ilc->jcr`);
      const changed = gramOf(s, step, core);
      const taken = contract(s, changed, square, `lcmd,${at}${atOther}->crds`);
      contract(s, chain, taken, "jcr,crds->jds", { alpha: -1, beta: 1, out: rest });
      const gram = gramOf(s, core);
      const next = contract(s, gram, square, `lcmd,${at}${atOther}->crds`);
      s.release(ownGradient, ownNormal, step, changed, taken, gram, gradient, normal);
      gradient = rest.reshape([chain.shape[0]!, c * r]);
      normal = next.reshape([c * r, c * r]);
      order = "lr";
    }
    s.release(gradient, normal);
    for (const [k, chain] of chains.entries()) if (k && k < cores.length - 1) s.release(chain!);
  }

  /** Records core ← core + gradient·normal⁻¹, and what was added, a temporary. */
  #step(s: Scheduler, core: Tensor, gradient: Tensor, normal: Tensor): Tensor {
    const step = solveSymmetric(s, normal, gradient.reshape([core.shape[0]!, -1]), { ridge: this.ridge });
    const added = step.reshape(core.shape);
    accumulate(s, added, core);
    return added;
  }
}

/** Records the product of two chains n×l×c and n′×c×r, (n·n′)×l×r, or with r before l. */
function join(
  s: Scheduler,
  left: Tensor,
  right: Tensor,
  { order = "lr", out }: { order?: Order; out?: Tensor } = {},
): Tensor {
  const [n, l] = left.shape as [number, number];
  const [m, , r] = right.shape as [number, number, number];
  const sides = order === "lr" ? [l, r] : [r, l];
  const product = contract(s, left, right, `ilc,jcr->ij${order}`, { out: out?.reshape([n, m, ...sides]) });
  return product.reshape([n * m, ...sides]);
}

/** Records the products of the cores from the k-th on, for each k from 1; the last one is the last core itself. */
function chainsOf(s: Scheduler, cores: readonly Tensor[]): (Tensor | undefined)[] {
  const chains: (Tensor | undefined)[] = [];
  for (let k = cores.length - 1; k > 0; k--) {
    const next = chains[k + 1];
    chains[k] = next ? join(s, cores[k]!, next) : cores[k]!;
  }
  return chains;
}

/** Records Σᵢ a[i, p, q]·b[i, p′, q′], p×q×p′×q′. */
function gramOf(s: Scheduler, a: Tensor, b: Tensor = a): Tensor {
  const [rows, ...pair] = a.shape as [number, number, number];
  return matmul(s, a.reshape([rows, -1]), b.reshape([rows, -1]), { transposeA: true }).reshape([...pair, ...pair]);
}
