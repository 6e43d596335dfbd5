/** Replaces `vitest` in the page by vitest's runner and expect, so that test files run there unchanged. */
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  chai,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from "@vitest/expect";
import * as spy from "@vitest/spy";

export { afterAll, afterEach, beforeAll, beforeEach, describe, it, test } from "@vitest/runner";

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);

const asymmetric = (globalThis as Record<symbol, unknown>)[ASYMMETRIC_MATCHERS_OBJECT] as object;
export const expect = Object.assign(
  (value: unknown, message?: string) => chai.expect(value, message),
  chai.expect,
  asymmetric,
);
setState({ assertionCalls: 0 }, expect as never);

/** As vitest's: calls `check` again and again until it throws nothing, for a second at most. */
async function waitFor<T>(check: () => T | Promise<T>): Promise<T> {
  for (const end = performance.now() + 1000; ; ) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

export const vi = { fn: spy.fn, spyOn: spy.spyOn, restoreAllMocks: spy.restoreAllMocks, waitFor };
