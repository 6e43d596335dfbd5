import { dispose } from "../gpu/dispose.js";

/** No error: `undefined` may be thrown, too. */
const NONE = {};

/**
 * What a build makes of blocks with `using`, for browsers that do not know it, in place of a helper of the compiler that is three times as
 * large: `u` is told every declared value, `e` is set to what the block throws, and `d` disposes of the values, the last first. The first
 * error is the one that is thrown.
 */
export default function usingContext(): {
  e: unknown;
  u<T extends { [dispose](): void } | null | undefined>(value: T): T;
  d(): void;
} {
  const values: { [dispose](): void }[] = [];
  return {
    e: NONE,
    u(value) {
      if (value) values.push(value);
      return value;
    },
    d() {
      for (let value = values.pop(); value; value = values.pop())
        try {
          value[dispose]();
        } catch (error) {
          if (this.e === NONE) this.e = error;
        }
      if (this.e !== NONE) throw this.e;
    },
  };
}
