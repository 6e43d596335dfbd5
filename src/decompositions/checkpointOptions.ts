/** What is kept of a run, and where: options and types of checkpoints. */
import { type OptionRules, TenfoldError } from "../gpu/index.js";

/** Where the state of a run is kept. `checkpointFile` of `tenfold/node` keeps it in a file. */
export interface Checkpoint {
  /** what an earlier run kept; null where there was none */
  load(): Uint8Array | null | Promise<Uint8Array | null>;
  /** Keeps these bytes in place of earlier ones, entirely or not at all. */
  save(bytes: Uint8Array): void | Promise<void>;
  /** seconds from one save to the next, 60 by default; 0 saves after every batch of sweeps. A start that ends or is aborted saves, too */
  every?: number;
}

/** Of solvers that can go on with an earlier run. */
export interface CheckpointOptions {
  /**
   * where the state is kept now and then, so that the same call goes on where an earlier one was stopped, and ends where it would have. It throws
   * where the state is of other options or of another tensor; `sweeps` may be another number, but not where `cp` has starts beside the model of
   * the whole tensor. What comes before (a HOSVD, generalised eigenvalues) is computed again. The tensor is read once more.
   * Not with constraints of `cp` and `cpALS`, nor for `tuckerHOOI` with `relativeError` or with missing entries
   */
  checkpoint?: Checkpoint;
}

/** Throws where a checkpoint is asked for, and what is asked beside it goes without one. */
export function refuseCheckpoint(
  name: string,
  checkpoint: Checkpoint | undefined,
  where: string,
  instead: string,
): void {
  if (!checkpoint) return;
  throw new TenfoldError(`${name}: takes no checkpoint ${where}; ${instead}, or leave checkpoint out`, {
    code: "OPTION",
  });
}

export const checkpointRules: OptionRules<CheckpointOptions> = {
  checkpoint: {
    needs: "an object with load and save, as checkpointFile of tenfold/node gives",
    is: (value) =>
      typeof (value as Checkpoint | null)?.load === "function" && typeof (value as Checkpoint).save === "function",
  },
};

/** What a sweep told. */
export interface ToldSweep {
  relativeError: number;
  /** what the stopping rule goes by, where that is not the error */
  objective: number | undefined;
  foreseen: number | undefined;
  isOver: boolean;
  /** that of the norms that the error is from, and 0 where it is from the residual */
  amplification: number;
}

/** Sweeps of a start so far, where the state is that after the last of them. */
export interface SavedSweeps {
  told: readonly ToldSweep[];
  margin: number;
  isCorrecting: boolean;
}

/** How the state of a start is saved. */
export interface SavingOfStart {
  resumed: SavedSweeps | null;
  isDue(): boolean;
  save(sweeps: SavedSweeps): Promise<void>;
}
