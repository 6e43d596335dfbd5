/** CP by alternating updates whose sweeps are extrapolated: they creep less where terms are collinear. */
import type { Program, Scheduler, Tensor, TensorData } from "../gpu/index.js";
import { add, appendRow, copy, MOMENTUM_START, momentum } from "../ops/index.js";
import type { KruskalTensor } from "../tensors/index.js";
import { ONE_DIFFERENCE } from "./cpNonnegative.js";
import type { CorrectingSweeps, CpUpdate } from "./cpUpdates.js";
import type { Scope, SweepKind, SweepMethod, Told, Trace } from "./iterate.js";
import { Stack, type StackedFactors } from "./stack.js";

/** What is extrapolated: CP by alternating updates. */
export interface AlternatingCp {
  readonly state: readonly Tensor[];
  readonly model: KruskalTensor;
  /** whether the error from norms is one small number less than ‖x‖², and not three that cancel */
  readonly tellsError: boolean;
  readonly correcting: CorrectingSweeps | undefined;
  initialize(how: "random" | "hosvd", seed: number, signal?: AbortSignal): Promise<void>;
  startFrom(start: readonly TensorData[]): Promise<void>;
  record(p: Program, trace: Trace | null, isPrecise: boolean): void;
  recordError(s: Scheduler, isPrecise: boolean, out: Tensor): Tensor;
  /** Records twice what is lowered besides ½‖x − x̂‖², [1]; null where that is nothing. */
  recordPenalty?(s: Scheduler): Tensor | null;
  placeAll(s: Scheduler, tensor: Tensor, modes: readonly number[]): void;
  finish(): Promise<KruskalTensor>;
  residual(p: Program, tensor: KruskalTensor, out: Tensor): void;
  restore(tensor: KruskalTensor, exponent: number): Promise<KruskalTensor>;
}

/** Views begin at such places. */
const APART = 64;
const behindOf = (tensor: Tensor, { size }: Stack): Tensor => tensor.rows(size, size + 1);

/**
 * CP by alternating updates whose sweeps begin a little further than the last one ended, and that takes back what made the error larger (Mitchell, Ye &
 * De Sterck 2020; Ang, Cohen, Gillis & Hien 2021).
 */
export class ExtrapolatedCp implements SweepMethod<KruskalTensor> {
  readonly columns: number;
  readonly hasCheap: boolean;
  readonly advice: string;
  readonly state: readonly Tensor[];
  readonly model: KruskalTensor;
  readonly correcting: SweepMethod<KruskalTensor>["correcting"];
  /** weights are 0 at first, which is no model of anything */
  readonly startError: number | undefined;
  /**
   * ‖x − x̂‖² of the model from which a sweep begins, where `refresh` tells it for nothing: a sweep is accepted by it then, which saves a pass over X. As
   * a sweep makes no error larger, the best factors have at most the error that is told.
   */
  readonly startSquares: Tensor | undefined;
  readonly #stack: Stack;
  /** the factors after the last sweep, the best ones, and those from which the next sweep begins: the last one has the weights */
  readonly #fresh: Tensor;
  readonly #best: Tensor;
  readonly #next: Tensor;
  readonly #momentum: Tensor;
  readonly #error: Tensor;
  /** where there is a penalty: the state of the momentum, and apart from it the squared error of the best factors */
  readonly #told: Tensor | null;
  /** modes that are updated, the last of which has the weights */
  readonly #modes: readonly number[];
  readonly #clipped: readonly number[];
  readonly #cp: AlternatingCp;
  readonly #amplification: number;

  constructor(
    readonly name: string,
    readonly scope: Scope,
    rank: number,
    update: CpUpdate,
    /** makes the problem, whose factors are to lie so */
    begin: (stacked: StackedFactors) => AlternatingCp,
  ) {
    const { allocate, source } = scope;
    this.advice = update.advice;
    const { oneSigned = new Set<number>(), fixed = new Set<number>() } = update;
    const all = [...source.shape.keys()];
    this.#modes = all.filter((mode) => !fixed.has(mode));
    this.#clipped = all.filter((mode) => oneSigned.has(mode));
    const others = all.filter((mode) => !oneSigned.has(mode));
    // terms of one sign do not cancel each other, so that norms tell the error
    this.hasCheap = !others.length && !update.hasPenalty;
    this.#stack = new Stack(
      source.shape.map((extent) => [extent, rank]),
      [...this.#clipped, ...others],
    );
    // with a penalty, what decides is not the squared error: that lies behind the factors, and is accepted and refused with them
    const behind = update.hasPenalty ? APART : 0;
    const stack = (label: string, more = 0) => allocate([this.#stack.size + more], label);
    this.#fresh = stack("new factors", behind);
    this.#best = stack("best factors", behind);
    this.#next = stack("next factors");
    this.#told = behind ? allocate([2 * APART], "errors") : null;
    this.columns = this.#told?.size ?? MOMENTUM_START.length;
    this.#cp = begin({ stack: this.#stack, tensor: this.#fresh });
    this.model = this.#cp.model;
    this.#amplification = this.#cp.tellsError ? ONE_DIFFERENCE : 1;
    this.startError = this.#cp.tellsError ? 1 : undefined;
    this.#momentum = allocate([MOMENTUM_START.length], "momentum");
    this.#error = allocate([1], "error");
    if (source.refresh && source.refreshTells && !behind) this.startSquares = allocate([1], "error of the start");
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
    for (const stack of [this.#best, this.#next]) engine.write(stack, new Float32Array(stack.size));
  }

  record(p: Program, trace: Trace, isPrecise: boolean): void {
    this.#cp.record(p, null, isPrecise && !this.startSquares);
    this.#extrapolate(p.s, isPrecise);
    this.#tell(p.s, trace);
  }

  /** Records what follows a sweep: the model is put where the next one begins. */
  #extrapolate(s: Scheduler, isPrecise: boolean): void {
    const squares = this.startSquares ?? this.#cp.recordError(s, isPrecise, this.#error);
    const penalty = this.#told && this.#cp.recordPenalty!(s);
    const error = penalty ? add(s, squares, penalty, { out: this.#error }) : squares;
    if (penalty) {
      copy(s, squares, { out: behindOf(this.#fresh, this.#stack) });
      s.release(penalty);
    }
    momentum(s, {
      fresh: this.#fresh,
      error,
      accepted: this.#best,
      next: this.#next,
      state: this.#momentum,
      clip: this.#stack.rangeOf(this.#clipped),
      scaled: { weights: this.model.weights, range: this.#stack.rangeOf(this.#modes.slice(-1)) },
    });
    this.#cp.placeAll(s, this.#next, this.#modes);
  }

  /** Records a row of the trace: among its numbers is the error of the best factors. */
  #tell(s: Scheduler, { rows, counter }: Trace): void {
    if (!this.#told) return void appendRow(s, this.#momentum, rows, counter);
    copy(s, this.#momentum, { out: this.#told.rows(0, MOMENTUM_START.length) });
    copy(s, behindOf(this.#best, this.#stack), { out: this.#told.rows(APART, APART + 1) });
    appendRow(s, this.#told, rows, counter);
  }

  #correctingSweeps({ below, open }: CorrectingSweeps): SweepMethod<KruskalTensor>["correcting"] {
    return {
      below,
      open: async () => {
        const { enter, record } = await open();
        return {
          enter,
          record: (p, trace) => {
            record(p, null);
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
    const relative = (squared: number) => Math.sqrt(Math.max(0, squared) / this.scope.source.squaredNorm);
    const error = relative(row[2]!);
    if (this.#told) return { fromResidual: relative(row[APART]!), objective: error };
    return kind === "cheap" ? { fromNorms: error, amplification: this.#amplification } : { fromResidual: error };
  }

  async finish(): Promise<KruskalTensor> {
    await this.scope.engine.run((s) => this.#cp.placeAll(s, this.#best, this.#modes), `${this.name} result`);
    return await this.#cp.finish();
  }

  residual(p: Program, tensor: KruskalTensor, out: Tensor): void {
    this.#cp.residual(p, tensor, out);
  }

  restore(tensor: KruskalTensor, exponent: number): Promise<KruskalTensor> {
    return this.#cp.restore(tensor, exponent);
  }
}
