#!/usr/bin/env node
import { withEngine } from "./context.js";
import { run } from "./run.js";

const controller = new AbortController();
process.on("SIGINT", () => {
  // the second Ctrl-C stops at once
  if (controller.signal.aborted) process.exit(130);
  process.stderr.write("\nstopping; Ctrl-C again stops at once\n");
  controller.abort();
});
// EPIPE is no error: the reader has closed the pipe, as in `tenfold doctor | head -1`
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

process.exitCode = await run(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signal: controller.signal,
  withEngine,
});
