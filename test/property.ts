/**
 * fast-check, for tests of properties: a failure prints its seed and its smallest case. `SEED=1234 npx vitest run FILE` draws
 * the cases of that seed again.
 */
import fc from "fast-check";

// a browser has no process
const seed = (globalThis as { process?: NodeJS.Process }).process?.env.SEED;
fc.configureGlobal({ includeErrorInReport: true, ...(seed && { seed: Number(seed) }) });

export default fc;
