/**
 * What kind of error it is, for programs: `error.code`. Messages may change from one version to the next; codes stay. An
 * abort is no error of ours: it rejects with the reason of its `AbortSignal`, as `fetch` does.
 *
 * - `USAGE`: a call cannot be right: an argument is of the wrong kind, or something is used after it was destroyed or with
 *   another engine than its own. The message says what is needed.
 * - `OPTION`: an option, or an argument that has a range, is unknown, missing or out of its range.
 * - `SHAPE`: arguments do not fit each other, or an operation ({@link ShapeError}).
 * - `ENTRIES`: entries of a tensor are none that can be decomposed: NaN, infinite, all below the least of f32, or all missing.
 * - `LIMITS`: the device cannot hold a tensor; nothing was allocated ({@link OutOfLimitsError}).
 * - `NO_GPU`: there is no WebGPU here, or it has no adapter.
 * - `KERNEL`: a kernel failed to compile, to bind or to run, or gave what it cannot give ({@link KernelError}).
 * - `DEVICE_LOST`: the GPU device is gone; open another engine ({@link DeviceLostError}).
 * - `DESTROYED`: the engine was destroyed while or before this was asked of it.
 * - `CONVERGENCE`: an iteration left the finite numbers or did not settle ({@link ConvergenceError}).
 * - `FORMAT`: a file does not hold what its format promises ({@link FormatError}).
 * - `UNSUPPORTED`: a file, or a member of an archive, is none that is read here: nothing may be wrong with it.
 * - `INEXACT`: an integer of a file is no JavaScript number. Readers name its place by an `UNSUPPORTED` instead.
 * - `FILE`: a file cannot be read or written ({@link FileError} of `tenfold/node`).
 * - `UNFINISHED`: a comparison ended before its last row; the error holds the rows that were finished.
 * - `INPUT`: the command line asks for something that cannot be.
 * - `INTERRUPTED`: Ctrl-C ended a command.
 */
export type ErrorCode =
  | "USAGE"
  | "OPTION"
  | "SHAPE"
  | "ENTRIES"
  | "LIMITS"
  | "NO_GPU"
  | "KERNEL"
  | "DEVICE_LOST"
  | "DESTROYED"
  | "CONVERGENCE"
  | "FORMAT"
  | "UNSUPPORTED"
  | "INEXACT"
  | "FILE"
  | "UNFINISHED"
  | "INPUT"
  | "INTERRUPTED";

/** What tenfold throws. `message` always says the operation, what was given and what is needed; `code` is for programs. */
export class TenfoldError extends Error {
  override name = "TenfoldError";
  readonly code: ErrorCode;
  /** @param options.code `USAGE` where left out; classes of errors have a code each */
  constructor(message: string, options: ErrorOptions & { code?: ErrorCode } = {}) {
    super(message, options);
    this.code = options.code ?? "USAGE";
  }
}
