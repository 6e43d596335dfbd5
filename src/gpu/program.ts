import { dispose } from "./dispose.js";
import type { Engine } from "./engine.js";
import { TenfoldError } from "./errors.js";
import { shown } from "./options.js";
import type { Schedule, Scheduler } from "./schedule.js";
import type { DType, Tensor } from "./tensor.js";

/** Work of the host between two dispatches of a {@link Program}: reading a file, writing a tensor. It may be awaited. */
export type HostStep = (signal: AbortSignal | undefined) => void | Promise<void>;

/** A part of data that does not lie in GPU memory as one tensor. */
export interface Slab {
  /** brings the part to where its dispatches read it; left out where it lies there already */
  load?: HostStep;
}

/** How a {@link Replay} is run. */
export interface ReplayOptions {
  /** looked at before every host step: where it is aborted, the run rejects with its reason, and nothing more is submitted */
  signal?: AbortSignal | undefined;
}

/**
 * A recording with host steps in it: what ops write to `s`, and what the host does in between. Without steps it is one
 * {@link Schedule}, and n replays are one submit. It is one recording with steps too: temporaries live across them, so a recorder need
 * not know where they are.
 */
export class Program {
  /** what ops record into */
  readonly s: Scheduler;
  readonly #steps: { at: number; run: HostStep }[] = [];
  readonly #tensors: Tensor<DType>[] = [];
  #isCompiled = false;

  constructor(
    readonly engine: Engine,
    readonly label = "program",
  ) {
    this.s = engine.scheduler(label);
  }

  /** Records and compiles, to be replayed. Where either fails, nothing is left of the recording. */
  static async compiled(engine: Engine, record: (p: Program) => void, label?: string): Promise<Replay> {
    using program = new Program(engine, label);
    record(program);
    return await program.compile();
  }

  /** Records, compiles, replays once and frees: for one-off work, as `engine.run`. The result must not be a temporary. */
  static async run(
    engine: Engine,
    record: (p: Program) => void,
    label = "run",
    options: ReplayOptions = {},
  ): Promise<void> {
    const since = engine.faults.now;
    {
      using replay = await Program.compiled(engine, record, label);
      await replay.run(1, options);
    }
    await engine.faults.settled(since);
  }

  /**
   * A tensor that is freed with the compiled program. Unlike a temporary of `s` it shares its memory with none, so host steps can write
   * it, and it keeps its values from one replay to the next.
   */
  tensor<D extends DType = "f32">(shape: readonly number[], options: { dtype?: D; label?: string } = {}): Tensor<D> {
    this.#assertOpen("tensor");
    const tensor = this.engine.tensor<D>(shape, null, options);
    this.#tensors.push(tensor);
    return tensor;
  }

  /** Records a step of the host: it runs when everything before it is submitted, and what follows is submitted when it is over. */
  step(run: HostStep): void {
    this.#assertOpen("step");
    if (typeof run !== "function")
      throw new TenfoldError(`step: given ${shown(run)}, needs a function: (signal) => { … }`);
    this.#steps.push({ at: this.s.dispatches, run });
  }

  /**
   * Records `body` for one slab after the other, each behind its `load`. The GPU works on a slab while the host loads the next one, as a
   * submit returns at once; a slab may be loaded to where the last one lay, since writes wait for the dispatches submitted before them.
   */
  each<S extends Slab>(slabs: Iterable<S>, body: (slab: S, index: number) => void): void {
    let index = 0;
    for (const slab of slabs) {
      if (slab.load) this.step((signal) => slab.load!(signal));
      body(slab, index++);
    }
  }

  /** Builds the pipelines. The recording is closed by it. */
  async compile(): Promise<Replay> {
    this.#assertOpen("compile");
    this.#isCompiled = true;
    try {
      return new Replay(await this.s.compile(), this.#steps, this.#tensors);
    } catch (error) {
      this.#free();
      throw error;
    }
  }

  /** Drops a recording that will not be compiled, and its tensors. */
  destroy(): void {
    if (this.#isCompiled) return;
    this.#isCompiled = true;
    this.s.destroy();
    this.#free();
  }

  [dispose](): void {
    this.destroy();
  }

  #free(): void {
    for (const tensor of this.#tensors.splice(0)) tensor.destroy();
  }

  #assertOpen(what: string): void {
    if (this.#isCompiled) throw new TenfoldError(`${what}: ${this.label} is closed; record into a new Program`);
  }
}

/** A compiled {@link Program}. */
export class Replay {
  /** its dispatches between host steps, and the steps, in order */
  readonly #parts: readonly (Schedule | HostStep)[];
  #isRunning = false;
  #isDestroyed = false;

  /** @internal */
  constructor(
    /** all dispatches without the host steps; where there are none, this is all of the program */
    readonly schedule: Schedule,
    steps: readonly { at: number; run: HostStep }[],
    private readonly tensors: readonly Tensor<DType>[],
  ) {
    const parts: (Schedule | HostStep)[] = [];
    let start = 0;
    for (const { at, run } of steps) {
      if (at > start) parts.push(schedule.part(start, at));
      parts.push(run);
      start = at;
    }
    if (start < schedule.dispatches) parts.push(start ? schedule.part(start, schedule.dispatches) : schedule);
    this.#parts = parts;
  }

  get engine(): Engine {
    return this.schedule.engine;
  }

  get label(): string {
    return this.schedule.label;
  }

  /** Number of dispatches a replay. */
  get dispatches(): number {
    return this.schedule.dispatches;
  }

  /** Whether the host has to do something within a replay. */
  get hasSteps(): boolean {
    return this.#parts.some((part) => typeof part === "function");
  }

  /** Replays the program `times` times. Resolves when everything is submitted; without host steps it is submitted at once. */
  run(times = 1, options: ReplayOptions = {}): Promise<void> {
    return Replay.runAll([[this, times]], options);
  }

  /** Runs programs in turn, each so many times. What lies between two host steps is one submit, across programs too. */
  static async runAll(
    work: readonly (readonly [program: Replay, times: number])[],
    { signal }: ReplayOptions = {},
  ): Promise<void> {
    const stepped = [...new Set(work.map(([program]) => program))].filter((program) => program.hasSteps);
    for (const program of stepped) {
      if (program.#isRunning) throw new TenfoldError(`${program.label}: runs already; await it first`);
    }
    for (const program of stepped) program.#isRunning = true;
    let waiting: [Schedule, number][] = [];
    const submit = (): void => {
      for (const [program] of work)
        if (program.#isDestroyed) throw new TenfoldError(`${program.label}: the program was destroyed`);
      if (waiting.length) work[0]![0].engine.submit(waiting);
      waiting = [];
    };
    try {
      for (const [program, times] of work) {
        if (!program.hasSteps) {
          waiting.push([program.schedule, times]);
          continue;
        }
        for (let replay = 0; replay < times; replay++) {
          for (const part of program.#parts) {
            if (typeof part !== "function") {
              waiting.push([part, 1]);
              continue;
            }
            submit();
            signal?.throwIfAborted();
            await part(signal);
          }
        }
      }
      submit();
    } finally {
      for (const program of stepped) program.#isRunning = false;
    }
  }

  /** Gives temporaries and the program's tensors back. */
  destroy(): void {
    if (this.#isDestroyed) return;
    this.#isDestroyed = true;
    this.schedule.destroy();
    for (const tensor of this.tensors) tensor.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
