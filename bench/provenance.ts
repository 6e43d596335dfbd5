/** Where recorded figures come from: the version that was run, and the command that ran it. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

/** The commit of a checkout: ` (abc1234)`, or ` (abc1234+)` with uncommitted changes; empty outside of a checkout. */
function commit(): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    return ` (${git("rev-parse", "--short", "HEAD")}${git("status", "--porcelain", "--", "src", "shaders") ? "+" : ""})`;
  } catch {
    return "";
  }
}

/** The version of the package and the commit: `0.1.0 (abc1234)`. */
export const version = (): string =>
  (JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string }).version + commit();

/** An argument of the command line, in quotes where a shell needs them. */
export const quoted = (argument: string): string =>
  /^[\w./=:-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
