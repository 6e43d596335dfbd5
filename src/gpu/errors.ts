import { TenfoldError } from "../errors.js";

export { type ErrorCode, TenfoldError } from "../errors.js";

/** Arguments of an operation do not fit: `mttkrp (mode 1): factor 2 is 30×5, expected 40×5`. */
export class ShapeError extends TenfoldError {
  override name = "ShapeError";
  override readonly code = "SHAPE";
}

/** The device cannot hold a tensor; thrown before anything is allocated. */
export class OutOfLimitsError extends TenfoldError {
  override name = "OutOfLimitsError";
  override readonly code = "LIMITS";
}

/** A kernel failed to compile, to bind or to run; names the kernel. */
export class KernelError extends TenfoldError {
  override name = "KernelError";
  override readonly code = "KERNEL";
  constructor(
    /** the kernels concerned, as named by their shader files */
    readonly kernels: string[],
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The GPU device is gone; everything pending was rejected with this. */
export class DeviceLostError extends TenfoldError {
  override name = "DeviceLostError";
  override readonly code = "DEVICE_LOST";
  constructor(
    readonly reason: string,
    message: string,
  ) {
    super(`The GPU device was lost (${reason}): ${message || "no reason given"}`);
  }
}

/** `30×40×5`, or `scalar` */
export const formatShape = (shape: readonly number[]): string => (shape.length ? shape.join("×") : "scalar");

/** `1.5 MiB` */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const unit = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(bytes, 1)) / 10)));
  const value = bytes / 2 ** (10 * unit);
  return `${unit === 0 ? value : Number(value.toPrecision(4))} ${units[unit]}`;
}
