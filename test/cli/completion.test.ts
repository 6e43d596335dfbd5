/** Completion in shells: bash runs its script; zsh and fish read theirs where they are installed. */
import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { command } from "./command.js";

const script = async (shell: string): Promise<string> => {
  const { code, stdout, stderr } = await command(["completion", shell]);
  expect([code, stderr]).toEqual([0, ""]);
  return stdout;
};
const has = (program: string): boolean => spawnSync(program, ["-c", "true"]).status === 0;

it.skipIf(!has("bash"))("bash completes commands, options and their values", async () => {
  const code = await script("bash");
  const complete = (...words: string[]): string[] => {
    const list = words.map((word) => `'${word}'`).join(" ");
    const asked = `COMP_WORDS=(tenfold ${list}); COMP_CWORD=${words.length}; _tenfold; echo "\${COMPREPLY[*]}"`;
    const { stdout, stderr, status } = spawnSync("bash", ["-c", `${code}\n${asked}`], { encoding: "utf8" });
    expect([status, stderr]).toEqual([0, ""]);
    return stdout.trim().split(" ").filter(Boolean);
  };
  expect(complete("dec")).toEqual(["decompose"]);
  expect(complete("help", "ra")).toEqual(["rank"]);
  expect(complete("decompose", "X.npy", "--ra")).toEqual(["--rank", "--ranks"]);
  expect(complete("decompose", "X.npy", "--method", "t")).toEqual(["tucker", "tensor-train", "tensor-ring"]);
  expect(complete("completion", "")).toContain("--help");
  expect(complete("mnist", "sw")).toEqual(["sweep"]);
  // a file is the shell's affair
  expect(complete("decompose", "X.n")).toEqual([]);
  expect(complete("decompose", "X.npy", "--out", "")).toEqual([]);
});

it("zsh has every command, with options and their values", async () => {
  const code = await script("zsh");
  expect(code).toMatch(/^#compdef tenfold\n/);
  expect(code).toContain("    'decompose:decompose a tensor from a file'");
  expect(code).toMatch(/'--method\[.*\]:value:\(cp tucker .*\)'/);
  if (has("zsh")) expect(spawnSync("zsh", ["-n", "-c", code]).status).toBe(0);
});

it("fish has every command, with options and their values", async () => {
  const code = await script("fish");
  expect(code).toContain("-f -a decompose -d 'decompose a tensor from a file'");
  expect(code).toMatch(/seen_subcommand_from decompose' -l method -s m -x -a 'cp tucker/);
  if (has("fish")) expect(spawnSync("fish", ["-n", "-c", code]).status).toBe(0);
});
