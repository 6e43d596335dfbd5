/** Runs that go on where an earlier one was stopped: what is kept of a run, and how it is written. */
import { Program, TenfoldError, type Tensor } from "../gpu/index.js";
import type { Source } from "../sources/index.js";
import { KruskalTensor } from "../tensors/index.js";
import type { Checkpoint, SavedSweeps, SavingOfStart, ToldSweep } from "./checkpointOptions.js";
import { TensorScope } from "./tensorScope.js";

interface Header {
  version: number;
  /** the name of the method, and its options */
  run: Record<string, unknown>;
  tensor: Fingerprint;
  /** of each start: how many sweeps it has told; null where it collapsed */
  starts: ({ sweeps: number; isCorrecting: boolean } | null)[];
  /** elements of a start's state, tensor by tensor */
  sizes: number[];
  /** of all that follows */
  digest: string;
}

/** What tells tensors apart. */
interface Fingerprint {
  exponent: number;
  largest: number;
  known: number | null;
  norm: number;
  /** inner products of x with fixed random rank-one tensors */
  probes: number[];
}

/** A start, as it is kept. */
interface SavedStart {
  sweeps: SavedSweeps;
  state: Float32Array[];
}

const VERSION = 1;
export const MAGIC = "tenfold checkpoint\n";
/** numbers that a sweep tells */
const TOLD = 5;
const PROBES = 2;
/** sums over x differ by no more than this part of ‖x‖ where x is read in another order, or by another GPU */
const SAME = 1e-5;

/** The starts of one run, as they are kept. */
export class Keeper {
  /** null where a start collapsed */
  #starts: (SavedStart | null)[] = [];
  #last = performance.now();

  private constructor(
    readonly checkpoint: Checkpoint,
    readonly name: string,
    readonly run: Record<string, unknown>,
    readonly tensor: Fingerprint,
    readonly state: readonly Tensor[],
  ) {}

  /**
   * Reads what an earlier run kept. Reads x once.
   *
   * @throws TenfoldError where that is of another solver, of other options or of another tensor, or is damaged
   */
  static async open(
    checkpoint: Checkpoint,
    name: string,
    source: Source,
    options: Record<string, unknown>,
    state: readonly Tensor[],
  ): Promise<Keeper> {
    const run = JSON.parse(JSON.stringify({ method: name, ...options, shape: source.shape }));
    const keeper = new Keeper(checkpoint, name, run, await fingerprint(source), state);
    const bytes = await checkpoint.load();
    // a copy: pieces of a Buffer of Node's begin anywhere, and share its memory
    if (bytes) keeper.#read(new Uint8Array(bytes));
    return keeper;
  }

  #read(bytes: Uint8Array): void {
    const fail = (problem: string): never => {
      throw new TenfoldError(`${this.name}: the checkpoint ${problem}; take another file, or remove it`, {
        code: "OPTION",
      });
    };
    const begin = MAGIC.length + 4;
    if (beginsWith(bytes, STAGES)) fail("is of a run of cp with starts of its own, this one has none");
    if (!beginsWith(bytes, MAGIC)) fail("is none of tenfold's");
    if (bytes.length < begin) fail("is damaged");
    const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(MAGIC.length, true);
    let header!: Header;
    try {
      header = JSON.parse(new TextDecoder().decode(bytes.subarray(begin, begin + length))) as Header;
    } catch {
      fail("is damaged");
    }
    if (header.version !== VERSION)
      fail(`is of format ${header.version}, this version of tenfold reads format ${VERSION}`);
    for (const key of new Set([...Object.keys(header.run), ...Object.keys(this.run)])) {
      const [saved, asked] = [JSON.stringify(header.run[key]), JSON.stringify(this.run[key])];
      if (saved !== asked) fail(`is of a run with ${key} ${saved ?? "left out"}, this one has ${asked ?? "none"}`);
    }
    if (!isSame(header.tensor, this.tensor)) fail("is of another tensor");
    const sizes = this.state.map(({ size }) => size);
    if (String(header.sizes) !== String(sizes)) fail("is of a GPU with other limits");
    const body = bytes.slice(begin + length);
    if (header.digest !== digest(body)) fail("is damaged");
    let at = 0;
    const take = (count: number): Uint8Array => body.slice(at, (at += count));
    this.#starts = header.starts.map((start) => {
      if (!start) return null;
      const numbers = new Float64Array(take(8 * (1 + TOLD * start.sweeps)).buffer);
      const told = Array.from({ length: start.sweeps }, (_, sweep) => toldOf(numbers, 1 + TOLD * sweep));
      const state = sizes.map((size) => new Float32Array(take(4 * size).buffer));
      return { sweeps: { told, margin: numbers[0]!, isCorrecting: start.isCorrecting }, state };
    });
  }

  /** Puts the state of a start in place, where an earlier run kept one. Null where that start left the finite numbers. */
  begin(start: number): SavingOfStart | null {
    const saved = this.#starts[start];
    if (saved === null) return null;
    for (const [index, values] of saved?.state.entries() ?? []) this.state[index]!.write(values);
    return {
      resumed: saved?.sweeps ?? null,
      isDue: () => performance.now() - this.#last >= 1000 * (this.checkpoint.every ?? 60),
      save: (sweeps) => this.save(start, sweeps),
    };
  }

  /** Keeps what a start has come to; null where it collapsed. */
  async save(start: number, sweeps: SavedSweeps | null): Promise<void> {
    const { engine } = this.state[0]!;
    this.#starts[start] = sweeps && {
      sweeps: { ...sweeps, told: [...sweeps.told] },
      state: (await engine.read([...this.state])) as Float32Array[],
    };
    await this.checkpoint.save(this.#written());
    this.#last = performance.now();
  }

  #written(): Uint8Array {
    const parts: Uint8Array[] = [];
    for (const start of this.#starts) {
      if (!start) continue;
      const { told, margin } = start.sweeps;
      const numbers = Float64Array.of(margin, ...told.flatMap(numbersOf));
      for (const { buffer, byteOffset, byteLength } of [numbers, ...start.state])
        parts.push(new Uint8Array(buffer, byteOffset, byteLength));
    }
    const body = joined(parts);
    const header: Header = {
      version: VERSION,
      run: this.run,
      tensor: this.tensor,
      starts: this.#starts.map(
        (start) => start && { sweeps: start.sweeps.told.length, isCorrecting: start.sweeps.isCorrecting },
      ),
      sizes: this.state.map(({ size }) => size),
      digest: digest(body),
    };
    return joined([...begun(MAGIC, new TextEncoder().encode(JSON.stringify(header))), body]);
  }
}

export const STAGES = "tenfold checkpoint of stages\n";

export const beginsWith = (bytes: Uint8Array, mark: string): boolean =>
  new TextDecoder().decode(bytes.subarray(0, mark.length)) === mark;

/** A mark, the length of a text, and the text. */
export function begun(mark: string, text: Uint8Array): Uint8Array[] {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, text.length, true);
  return [new TextEncoder().encode(mark), length, text];
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** NaN stands for what a sweep does not tell. */
const numbersOf = ({ relativeError, objective, foreseen, isOver, amplification }: ToldSweep): number[] => [
  relativeError,
  objective ?? Number.NaN,
  foreseen ?? Number.NaN,
  Number(isOver),
  amplification,
];

function toldOf(numbers: Float64Array, at: number): ToldSweep {
  const [relativeError, objective, foreseen, isOver, amplification] = numbers.subarray(at, at + TOLD);
  const known = (value: number): number | undefined => (Number.isNaN(value) ? undefined : value);
  return {
    relativeError: relativeError!,
    objective: known(objective!),
    foreseen: known(foreseen!),
    isOver: isOver === 1,
    amplification: amplification!,
  };
}

/** Two FNV-1a hashes of these bytes, the second of them in another basis. */
export function digest(bytes: Uint8Array): string {
  let [one, other] = [0x811c9dc5, 0x9dc5811c];
  for (const byte of bytes) {
    one = Math.imul(one ^ byte, 0x01000193);
    other = Math.imul(other ^ byte, 0x85ebca6b) ^ (other >>> 15);
  }
  return [one, other].map((hash) => (hash >>> 0).toString(16).padStart(8, "0")).join("");
}

/** Names factors that a run begins with, or keeps. */
export const digestOfArrays = (arrays: readonly Float32Array[]): string =>
  digest(joined(arrays.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength))));

/** What tells this tensor from others. Reads it once. */
async function fingerprint(source: Source): Promise<Fingerprint> {
  const { engine, shape, exponent, largest, known, squaredNorm } = source;
  const random = randomNumbers();
  const values = shape.map((extent) => Float32Array.from({ length: extent * PROBES }, random));
  using scope = new TensorScope(engine);
  const factors = values.map((numbers, mode) =>
    scope.keep(engine.tensor([shape[mode]!, PROBES], numbers, { label: `probe ${mode}` })),
  );
  const product = scope.allocate([shape[0]!, PROBES], "probes");
  const zero = new KruskalTensor(scope.allocate([PROBES], "no weights"), factors);
  engine.write(zero.weights, new Float32Array(PROBES));
  await Program.run(
    engine,
    (p) => {
      // missing entries hold what an earlier run put there
      source.refresh?.(p, zero);
      source.mttkrp(p, factors, 0, { out: product });
    },
    "fingerprint",
  );
  const probes = new Array<number>(PROBES).fill(0);
  for (const [at, value] of (await engine.read(product)).entries()) probes[at % PROBES]! += value * values[0]![at]!;
  return { exponent, largest, known: known ?? null, norm: Math.sqrt(squaredNorm), probes };
}

/** Random numbers of mean square 1, always the same. */
function randomNumbers(): () => number {
  let state = 1;
  return () => {
    // the "minimal standard" generator of Park & Miller 1988
    state = (state * 48271) % 0x7fffffff;
    return Math.sqrt(12) * (state / 0x7fffffff - 0.5);
  };
}

function isSame(a: Fingerprint, b: Fingerprint): boolean {
  if (a.exponent !== b.exponent || a.largest !== b.largest || a.known !== b.known) return false;
  const isNear = (one: number, other: number) => Math.abs(one - other) <= SAME * b.norm;
  return isNear(a.norm, b.norm) && a.probes.every((probe, index) => isNear(probe, b.probes[index]!));
}
