#!/usr/bin/env node
import { askingContext, runShard } from "./cluster/process.js";
import { type Context, withEngine } from "./context.js";
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

const context: Context = {
  stdout: process.stdout,
  stderr: process.stderr,
  // opened by the commands that read it
  get stdin() {
    return process.stdin;
  },
  env: process.env,
  signal: controller.signal,
  withEngine,
};
const role = process.env.TENFOLD_CLUSTER;
if (role === "shard" || role === "ask") {
  process.exitCode = role === "shard" ? await runShard() : await run(process.argv.slice(2), askingContext(context));
  // standard input may still be open
  process.stdin.destroy();
} else process.exitCode = await run(process.argv.slice(2), context);
