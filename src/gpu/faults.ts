import { DeviceLostError, KernelError, type TenfoldError } from "./errors.js";
import type { GPUDevice } from "./webgpu.js";

const FILTERS = ["validation", "out-of-memory", "internal"] as const;
/** milliseconds that a lost device's reason may take to arrive after a promise failed because of the loss */
const REASON_DELAY = 100;

/**
 * @internal What goes wrong on a device, and who hears of it. WebGPU reports errors late and to error scopes; here they are
 * kept, with the name of the work that caused them, until somebody waits for the device.
 */
export class Faults {
  /** rejects with {@link DeviceLostError} when the device is lost; never resolves */
  readonly lost: Promise<never>;
  readonly #device: GPUDevice;
  /** error scopes whose result has not arrived */
  readonly #scopes = new Set<Promise<void>>();
  /** the rejections of those who wait for the device */
  readonly #waiting = new Set<(error: Error) => void>();
  /** the first error that nobody has been told of */
  #failure: KernelError | null = null;
  /** the last error that somebody was told of: those who waited at that time hear of it too */
  #told: { error: KernelError; at: number } | null = null;
  /** counts the errors that were told */
  #clock = 0;
  #over: TenfoldError | null = null;

  constructor(device: GPUDevice) {
    this.#device = device;
    this.lost = new Promise((_, reject) => {
      device.lost.then((info) => {
        if (this.#over) return;
        const error = new DeviceLostError(info.reason ?? "unknown", info.message);
        reject(error);
        this.end(error);
      });
    });
    this.lost.catch(() => {});
  }

  /** The moment, for `settled`. */
  get now(): number {
    return this.#clock;
  }

  /** Why nothing works any more: the device was lost, or the engine destroyed. */
  get over(): TenfoldError | null {
    return this.#over;
  }

  /** Throws the reason where nothing works any more. */
  assertOpen(): void {
    if (this.#over) throw this.#over;
  }

  /** Keeps an error for the next one who waits, unless an earlier error is waiting already. */
  report(kernels: readonly string[], message: string): void {
    this.#failure ??= new KernelError([...kernels], message);
  }

  /**
   * Listens for errors that no scope catches. Only for a device that the engine opened: a host's handlers are its affair.
   *
   * @param lastKernels names the kernels that were submitted last, to name in the error
   */
  listen(lastKernels: () => readonly string[]): void {
    this.#device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      const kernels = lastKernels();
      const last = kernels.length ? ` (kernels submitted last: ${kernels.join(", ")})` : "";
      this.report(kernels, `uncaptured device error${last}: ${event.error.message}`);
    });
  }

  /**
   * Runs `work` inside error scopes. An error is kept for the next one who waits, with this label and the names of the
   * kernels; `onError` is called when it arrives.
   */
  guard<T>(label: string, kernels: readonly string[], work: () => T, onError?: () => void): T {
    const device = this.#device;
    for (const filter of FILTERS) device.pushErrorScope(filter);
    try {
      return work();
    } finally {
      const scope = Promise.all(FILTERS.map(() => device.popErrorScope())).then(
        (errors) => {
          const error = errors.find(Boolean);
          if (!error) return;
          const suffix = kernels.length ? ` (kernels: ${kernels.join(", ")})` : "";
          this.report(kernels, `${label}${suffix}: ${error.message}`);
          onError?.();
        },
        () => {}, // the device is gone; `lost` tells why
      );
      this.#scopes.add(scope);
      scope.finally(() => this.#scopes.delete(scope));
    }
  }

  /**
   * Waits for the error scopes that are open and throws what they caught. Everyone who waits at that time hears of an
   * error, not only the first.
   *
   * @param since when the caller's work began, by `now`
   */
  async settled(since = this.#clock): Promise<void> {
    await this.untilOver(Promise.all([...this.#scopes]));
    if (this.#failure) {
      this.#told = { error: this.#failure, at: ++this.#clock };
      this.#failure = null;
    }
    if (this.#told && this.#told.at > since) throw this.#told.error;
  }

  /** `promise`, or a rejection with the reason once the device is lost or the engine destroyed. */
  untilOver<T>(promise: Promise<T>): Promise<T> {
    if (this.#over) {
      promise.catch(() => {});
      return Promise.reject(this.#over);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      promise.then(
        (value) => {
          this.#waiting.delete(reject);
          resolve(value);
        },
        (error) => {
          // a lost device fails the promise itself, too, with less to say; a pipeline that does not compile fails for good
          const isFinal = error instanceof KernelError || (error instanceof Error && error.name === "GPUPipelineError");
          setTimeout(
            () => {
              this.#waiting.delete(reject);
              reject(this.#over ?? error);
            },
            isFinal ? 0 : REASON_DELAY,
          );
        },
      );
    });
  }

  /** Rejects everything that is pending, and everything from now on. The first reason stays. */
  end(reason: TenfoldError): void {
    this.#over ??= reason;
    for (const reject of this.#waiting) reject(this.#over);
    this.#waiting.clear();
  }
}
