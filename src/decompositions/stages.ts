import { TenfoldError, type Tensor } from "../gpu/index.js";
import type { Source } from "../sources/index.js";
import { beginsWith, begun, digestOfArrays, joined, Keeper, MAGIC, STAGES } from "./checkpoint.js";
import type { Checkpoint, SavingOfStart } from "./checkpointOptions.js";

/** What a checkpoint of `cp` has to agree in: these options, and factors that a caller has, by name. */
export const optionsOfStarts = (
  options: { rank: number; initialize: unknown; seed: number; compression: string },
  factors: readonly Float32Array[] | null,
  fixed: ReadonlyMap<number, Float32Array>,
): Record<string, unknown> => ({
  ...options,
  ...(factors && { initialize: `factors ${digestOfArrays(factors)}` }),
  fixed: fixed.size ? `${[...fixed.keys()]} ${digestOfArrays([...fixed.values()])}` : undefined,
});

/** Runs one after the other, each with its state, kept as one: what a stage came to stays while the next one runs. */
export class Stages {
  readonly #kept = new Map<string, Uint8Array>();

  private constructor(
    readonly name: string,
    readonly source: Source,
    readonly checkpoint: Checkpoint,
    /** what all stages have to agree in */
    readonly options: Record<string, unknown>,
  ) {}

  /** @throws TenfoldError where what is kept has no stages, or is damaged */
  static async open(
    name: string,
    source: Source,
    { checkpoint, options }: { checkpoint: Checkpoint; options: Record<string, unknown> },
    more: Record<string, unknown>,
  ): Promise<Stages> {
    const stages = new Stages(name, source, checkpoint, { ...options, ...more });
    const bytes = await checkpoint.load();
    // a copy, as a Buffer of Node's begins anywhere
    if (bytes) stages.#read(new Uint8Array(bytes));
    return stages;
  }

  #read(bytes: Uint8Array): void {
    const fail = (problem: string): never => {
      throw new TenfoldError(`${this.name}: the checkpoint ${problem}; take another file, or remove it`, {
        code: "OPTION",
      });
    };
    if (beginsWith(bytes, MAGIC)) fail("is of a run without starts of its own, this one has some");
    if (!beginsWith(bytes, STAGES)) fail("is none of tenfold's");
    const begin = STAGES.length + 4;
    try {
      let at = begin + new DataView(bytes.buffer).getUint32(STAGES.length, true);
      const stages = JSON.parse(new TextDecoder().decode(bytes.subarray(begin, at))) as [string, number][];
      for (const [stage, size] of stages) this.#kept.set(stage, bytes.slice(at, (at += size)));
    } catch {
      fail("is damaged");
    }
  }

  /** How the state of a stage is kept. */
  saving(stage: string, more: object = {}): { checkpoint: Checkpoint; options: Record<string, unknown> } {
    const { checkpoint } = this;
    const kept = this.#kept;
    const one: Checkpoint = {
      ...(checkpoint.every !== undefined && { every: checkpoint.every }),
      load: () => kept.get(stage) ?? null,
      save(bytes) {
        kept.set(stage, bytes);
        const text = new TextEncoder().encode(JSON.stringify([...kept].map(([one, { length }]) => [one, length])));
        return checkpoint.save(joined([...begun(STAGES, text), ...kept.values()]));
      },
    };
    return { checkpoint: one, options: { ...this.options, ...more } };
  }

  /** That of a stage of one start with this state, into which what is kept is put. */
  async keep(stage: string, state: readonly Tensor[]): Promise<SavingOfStart> {
    const { checkpoint, options } = this.saving(stage);
    const keeper = await Keeper.open(checkpoint, this.name, this.source, options, state);
    // of these runs no start collapses
    return keeper.begin(0)!;
  }
}
