/** Runs a test file in the page; run.ts calls it. */
/// <reference types="vite/types/importMeta.d.ts" />

import { type File, startTests, type Task, type VitestRunner } from "@vitest/runner";
import { restoreAllMocks } from "@vitest/spy";

/** The tests that run in browsers too: of all kernels, and of the engine's parts that need no Node. */
const files = import.meta.glob([
  "../ops/*.test.ts",
  // of adapters made on paper
  "!../ops/{adapter,choices}.test.ts",
  "../gpu/{embedding,errors,memory,pipelines,schedule,staging,tensor,variants}.test.ts",
]);

/** Not those of kernels that only GPUs take and that SwiftShader compiles for ten seconds and more: they run in Node. */
const FOR_GPUS = [
  "matmul, family tiled",
  "the other families give the same",
  "many small products are small tiles, tall ones thin tiles",
];

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
  const outcome: Outcome = {
    name: name.slice(1).join(" > ") || "the file",
    failed: task.result?.state === "fail",
    skipped: task.mode === "skip" || task.mode === "todo",
    ms: task.result?.duration ?? 0,
    error: errors,
  };
  if (task.type === "test") return [outcome];
  const inner = task.tasks.flatMap((child) => flatten(child, name));
  // a file or group can fail by itself, at its import or in a hook
  return outcome.failed && errors ? [outcome, ...inner] : inner;
}

const runner: VitestRunner = {
  config: {
    root: "/",
    setupFiles: [],
    name: undefined,
    passWithNoTests: false,
    testNamePattern: new RegExp(`^(?!.*(?:${FOR_GPUS.join("|")}))`),
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
  return ran.flatMap((task: File) => flatten(task));
};
