import type { Command } from "commander";
import { table } from "../report/terminal.js";
import { tenfoldVersion } from "./version.js";

/** What somebody does first, by command. Commands that are not here are told by their description. */
const FIRST: Readonly<Record<string, readonly [line: string, words: string]>> = {
  doctor: ["tenfold doctor", "which GPU or adapter is found"],
  info: ["tenfold info X.npy", "what is in a file; how to begin"],
  decompose: ["tenfold decompose X.npy --rank 3", "three components of a tensor"],
  rank: ["tenfold rank X.npy", "how many components it has"],
  inspect: ["tenfold inspect model.onnx", "which layers can be factorised"],
  compress: ["tenfold compress model.onnx --target mult/2", "half of its multiplications"],
  compare: ["tenfold compare --quick", "nine ways to factorise a network"],
  mnist: ["tenfold mnist", "the study of digits: a report"],
  completion: ["source <(tenfold completion bash)", "completes words; zsh, fish, too"],
};

/** What `tenfold` prints without arguments. */
export function welcome(program: Command, width: number): string {
  const known = Object.keys(FIRST);
  const place = (command: Command): number => (known.indexOf(command.name()) + known.length + 1) % (known.length + 1);
  const rows = [...program.commands]
    .sort((a, b) => place(a) - place(b))
    .map((command) => FIRST[command.name()] ?? [`tenfold ${command.name()}`, command.description()]);
  const indented = table(rows, { width: width - 2 }).replace(/^(?=.)/gm, "  ");
  return [
    `tenfold ${tenfoldVersion()}: ${program.description()}`,
    "",
    "Begin with one of these:",
    indented,
    "tenfold help decompose tells all of a command; tenfold --help lists them.",
    "",
  ].join("\n");
}
