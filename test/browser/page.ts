/** Runs one test file in the page; run.ts asks for it. */
/// <reference types="vite/types/importMeta.d.ts" />

import { type File, startTests, type Task, type VitestRunner } from "@vitest/runner";
import { restoreAllMocks } from "@vitest/spy";

/** The slice of the tests that browsers run too: every kernel, and what of the engine needs no Node. */
const files = import.meta.glob([
  "../ops/*.test.ts",
  "../gpu/{embedding,errors,memory,pipelines,schedule,tensor,variants}.test.ts",
]);

export interface Outcome {
  name: string;
  failed: boolean;
  skipped: boolean;
  ms: number;
  error?: string;
}

function flatten(task: Task, path: string[] = []): Outcome[] {
  const name = [...path, task.name];
  const errors = task.result?.errors?.map((error) => error.stack ?? error.message).join("\n");
  const own: Outcome = {
    name: name.slice(1).join(" > ") || "the file",
    failed: task.result?.state === "fail",
    skipped: task.mode === "skip" || task.mode === "todo",
    ms: task.result?.duration ?? 0,
    error: errors,
  };
  if (task.type === "test") return [own];
  const inner = task.tasks.flatMap((child) => flatten(child, name));
  // a file or group that fails by itself: at its import, in a hook
  return own.failed && errors ? [own, ...inner] : inner;
}

const runner: VitestRunner = {
  config: {
    root: "/",
    setupFiles: [],
    name: undefined,
    passWithNoTests: false,
    testNamePattern: undefined,
    allowOnly: false,
    sequence: { seed: 1, hooks: "stack", setupFiles: "list" },
    chaiConfig: undefined,
    maxConcurrency: 1,
    testTimeout: 180_000,
    hookTimeout: 180_000,
    retry: 0,
    includeTaskLocation: false,
    tags: [],
    tagsFilter: undefined,
    strictTags: false,
  },
  importFile: (path) => files[path]!(),
};

declare global {
  interface Window {
    testFiles: string[];
    runTests(file: string): Promise<Outcome[]>;
  }
}

window.testFiles = Object.keys(files).sort();
window.runTests = async (file) => {
  const ran = await startTests([file], runner);
  restoreAllMocks();
  return ran.flatMap((each: File) => flatten(each));
};
