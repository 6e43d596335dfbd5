import { Readable } from "node:stream";
import type { Context, Output } from "../../src/cli/context.js";
import { run } from "../../src/cli/run.js";
import { testEngine } from "../engine.js";

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  env?: Record<string, string>;
  signal?: AbortSignal;
  /** called with every text that is written to stderr */
  onStderr?: (text: string) => void;
  withEngine?: Context["withEngine"];
  loadRuntime?: Context["loadRuntime"];
  /** what is piped in */
  stdin?: Context["stdin"];
}

/** Runs a command line in this process, on the one engine of the test file. */
export async function command(argv: string[], options: CommandOptions = {}): Promise<Outcome> {
  const { env = {}, signal = new AbortController().signal, onStderr } = options;
  const outcome: Outcome = { code: -1, stdout: "", stderr: "" };
  const output = (name: "stdout" | "stderr"): Output => ({
    write: (content) => {
      // bytes as one character each
      const text = typeof content === "string" ? content : Buffer.from(content).toString("latin1");
      outcome[name] += text;
      if (name === "stderr") onStderr?.(text);
    },
  });
  const withEngine: Context["withEngine"] = options.withEngine ?? (async (work) => work(await testEngine()));
  const { loadRuntime, stdin = Readable.from([]) } = options;
  outcome.code = await run(argv, {
    ...{ stdout: output("stdout"), stderr: output("stderr"), stdin, env, signal, withEngine, loadRuntime },
  });
  return outcome;
}
