/** CP by alternating updates whose sweeps are extrapolated: constrained factors creep less where terms are collinear. */
import type { Program, Scheduler, Tensor, TensorData } from "../gpu/index.js";
import { appendRow, copy, hadamard, MOMENTUM_START, momentum, scaleColumns, slice } from "../ops/index.js";
import type { KruskalTensor } from "../tensors/index.js";
import type { CpUpdate } from "./cpUpdates.js";
import { ROW, type Scope, type SweepKind, type SweepMethod, type Told, type Trace } from "./iterate.js";
import { Stack } from "./stack.js";

/** What is extrapolated: CP by alternating updates. */
export interface AlternatingCp extends SweepMethod<KruskalTensor> {
  readonly state: readonly Tensor[];
  readonly model: KruskalTensor;
  initialize(how: "random" | "hosvd", seed: number, signal?: AbortSignal): Promise<void>;
  startFrom(start: readonly TensorData[]): Promise<void>;
  recordError(s: Scheduler, isPrecise: boolean, out: Tensor): void;
  place(s: Scheduler, mode: number, start: Tensor): Tensor;
}

/**
 * CP by alternating updates whose sweeps begin a little further than the last one ended, and that takes back what made the error larger (Ang, Cohen, Gillis &
 * Hien 2021).
 */
export class ExtrapolatedCp implements SweepMethod<KruskalTensor> {
  readonly columns: number;
  readonly hasCheap: boolean;
  readonly advice: string;
  readonly state: readonly Tensor[];
  readonly model: KruskalTensor;
  readonly correcting: SweepMethod<KruskalTensor>["correcting"];
  readonly #stack: Stack;
  /** the factors after the last sweep, the best ones, and those from which the next sweep begins: the last one has the weights */
  readonly #fresh: Tensor;
  readonly #best: Tensor;
  readonly #next: Tensor;
  readonly #momentum: Tensor;
  readonly #error: Tensor;
  readonly #innerTrace: Trace;
  readonly #row: Tensor;
  /** modes that are updated, the last of which has the weights */
  readonly #modes: readonly number[];
  readonly #clipped: readonly number[];

  readonly #cp: AlternatingCp;

  constructor(
    readonly name: string,
    readonly scope: Scope,
    cp: AlternatingCp,
    update: CpUpdate,
  ) {
    const { allocate, source } = scope;
    this.#cp = cp;
    this.model = cp.model;
    const { rank } = cp.model;
    this.advice = update.advice;
    this.columns = this.#cp.columns;
    const { oneSigned = new Set<number>(), fixed = new Set<number>() } = update;
    const all = [...source.shape.keys()];
    this.#modes = all.filter((mode) => !fixed.has(mode));
    this.#clipped = all.filter((mode) => oneSigned.has(mode));
    const others = all.filter((mode) => !oneSigned.has(mode));
    // terms of one sign do not cancel each other, so that norms tell the error
    this.hasCheap = !others.length;
    this.#stack = new Stack(
      source.shape.map((extent) => [extent, rank]),
      [...this.#clipped, ...others],
    );
    const stack = (label: string) => allocate([this.#stack.size], label);
    [this.#fresh, this.#best, this.#next] = [stack("new factors"), stack("best factors"), stack("next factors")];
    this.#momentum = allocate([MOMENTUM_START.length], "momentum");
    this.#error = allocate([1], "error");
    this.#row = allocate([this.columns], "sweep values");
    this.#innerTrace = { rows: allocate([1, this.columns], "inner trace"), counter: allocate([1], "count", "u32") };
    this.state = [...this.#cp.state, this.#best, this.#next, this.#momentum];
    this.correcting = this.#cp.correcting && this.#correctingSweeps(this.#cp.correcting);
  }

  async initialize(how: "random" | "hosvd", seed: number, signal?: AbortSignal): Promise<void> {
    await this.#cp.initialize(how, seed, signal);
    this.#restart();
  }

  async startFrom(start: readonly TensorData[]): Promise<void> {
    await this.#cp.startFrom(start);
    this.#restart();
  }

  #restart(): void {
    const { engine } = this.scope;
    engine.write(this.#momentum, [...MOMENTUM_START]);
    for (const stack of [this.#fresh, this.#best, this.#next]) engine.write(stack, new Float32Array(stack.size));
  }

  record(p: Program, trace: Trace, isPrecise: boolean): void {
    this.#cp.record(p, this.#innerTrace, isPrecise);
    this.#extrapolate(p.s, isPrecise);
    this.#tell(p.s, trace);
  }

  /** Records what follows a sweep: the model is put where the next one begins. */
  #extrapolate(s: Scheduler, isPrecise: boolean): void {
    const { weights, factors } = this.model;
    this.#cp.recordError(s, isPrecise, this.#error);
    for (const mode of this.#modes) {
      const out = this.#stack.of(this.#fresh, mode);
      if (mode === this.#modes.at(-1)) scaleColumns(s, factors[mode]!, weights, { out });
      else copy(s, factors[mode]!, { out });
    }
    momentum(s, {
      fresh: this.#fresh,
      error: this.#error,
      accepted: this.#best,
      next: this.#next,
      state: this.#momentum,
      clip: this.#stack.rangeOf(this.#clipped),
    });
    this.#place(s, this.#next);
  }

  /** Records a row of the trace: the error of the best factors, where that of a residual is. */
  #tell(s: Scheduler, { rows, counter }: Trace): void {
    slice(s, this.#momentum, [2], [1], { out: this.#row.rows(2 * ROW.residual, 2 * ROW.residual + 1) });
    appendRow(s, this.#row, rows, counter);
  }

  /** Records factors of a stack in place of the model's. */
  #place(s: Scheduler, stack: Tensor): void {
    let product: Tensor | null = null;
    for (const mode of this.#modes) {
      const norms = this.#cp.place(s, mode, this.#stack.of(stack, mode));
      if (!product) product = norms;
      else {
        const next: Tensor = hadamard(s, product, norms);
        s.release(product, norms);
        product = next;
      }
    }
    copy(s, product!, { out: this.model.weights });
    s.release(product!);
  }

  #correctingSweeps({
    below,
    open,
  }: NonNullable<SweepMethod<KruskalTensor>["correcting"]>): SweepMethod<KruskalTensor>["correcting"] {
    return {
      below,
      open: async () => {
        const { enter, record } = await open();
        return {
          enter,
          record: (p, trace) => {
            record(p, this.#innerTrace);
            this.#extrapolate(p.s, true);
            // what is left of X beside the model from which the next sweep begins
            enter(p);
            this.#tell(p.s, trace);
          },
        };
      },
    };
  }

  errorOf(row: Float32Array, kind: SweepKind): Told {
    const error = Math.sqrt(Math.max(0, row[2 * ROW.residual]!) / this.scope.source.squaredNorm);
    return kind === "cheap" ? { fromNorms: error } : { fromResidual: error };
  }

  async finish(): Promise<KruskalTensor> {
    await this.scope.engine.run((s) => this.#place(s, this.#best), `${this.name} result`);
    return await this.#cp.finish();
  }

  residual(p: Program, tensor: KruskalTensor, out: Tensor): void {
    this.#cp.residual(p, tensor, out);
  }

  restore(tensor: KruskalTensor, exponent: number): Promise<KruskalTensor> {
    return this.#cp.restore(tensor, exponent);
  }
}
