import { setTimeout as later } from "node:timers";

/** An add-on's function without a name, as Dawn's poll is. Functions of JavaScript show their source, and bound ones have a name. */
const isPoll = (callback: () => void): boolean =>
  callback.name === "" && /\{\s*\[native code\]\s*\}$/.test(Function.prototype.toString.call(callback));

/** `immediate`, but an add-on's function without a name waits a millisecond on the timers of `after`. */
export function pacedBy(immediate: typeof setImmediate, after: typeof later): typeof setImmediate {
  const paced = (callback: (...args: unknown[]) => void, ...args: unknown[]) =>
    args.length === 0 && isPoll(callback) ? after(callback, 1) : immediate(callback, ...args);
  return Object.defineProperties(paced, Object.getOwnPropertyDescriptors(immediate)) as typeof setImmediate;
}

let done = false;

/**
 * Makes Dawn ask once a millisecond whether a promise is settled. By itself it asks again and again by `setImmediate`, for as long
 * as one is pending, and takes a core from the software adapter that is at work (docs/decisions/0018-polls-are-paced.md). What
 * others pass to `setImmediate` goes on as before.
 */
export function pacePolls(): void {
  if (done) return;
  done = true;
  globalThis.setImmediate = pacedBy(globalThis.setImmediate, later);
}
