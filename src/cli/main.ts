#!/usr/bin/env node
import { withEngine } from "./context.js";
import { run } from "./run.js";

const controller = new AbortController();
process.on("SIGINT", () => {
  // the second time the user means it
  if (controller.signal.aborted) process.exit(130);
  process.stderr.write("\nstopping; Ctrl-C again stops at once\n");
  controller.abort();
});
// a reader that has seen enough, as in `tenfold doctor | head -1`
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

process.exitCode = await run(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signal: controller.signal,
  withEngine,
});
