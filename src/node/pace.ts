import { setTimeout as later } from "node:timers";

/** An add-on's function without a name, as Dawn's poll is. Functions of JavaScript show their source, and bound ones have a name. */
const isPoll = (callback: () => void): boolean =>
  callback.name === "" && /\{\s*\[native code\]\s*\}$/.test(Function.prototype.toString.call(callback));

/** Milliseconds from the first poll of a wait on for which polls follow each other at once: most waits of small work end within it. */
const EAGER = 0.5;

/**
 * `immediate`, but an add-on's function without a name, which is a poll, waits a millisecond on the timers of `after` once its wait has lasted half
 * a millisecond. A poll that is asked for by a poll belongs to the same wait.
 */
export function pacedBy(
  immediate: typeof setImmediate,
  after: typeof later,
  now: () => number = () => performance.now(),
): typeof setImmediate {
  let [begun, isPolling] = [0, false];
  const paced = (callback: (...args: unknown[]) => void, ...args: unknown[]) => {
    if (args.length > 0 || !isPoll(callback)) return immediate(callback, ...args);
    const time = now();
    if (!isPolling) begun = time;
    const poll = (): void => {
      isPolling = true;
      try {
        callback();
      } finally {
        isPolling = false;
      }
    };
    return time - begun < EAGER ? immediate(poll) : after(poll, 1);
  };
  return Object.defineProperties(paced, Object.getOwnPropertyDescriptors(immediate)) as typeof setImmediate;
}

let done = false;

/**
 * Makes Dawn ask once a millisecond whether a promise is settled, but for the first half millisecond of a wait. By itself it asks again and again by `setImmediate`, for as long
 * as one is pending, and takes a core from the software adapter that is at work (docs/decisions/0018-polls-are-paced.md). What
 * others pass to `setImmediate` goes on as before.
 */
export function pacePolls(): void {
  if (done) return;
  done = true;
  globalThis.setImmediate = pacedBy(globalThis.setImmediate, later);
}
