import { Argument, type Command } from "commander";
import type { Context } from "./context.js";

const SHELLS = ["bash", "zsh", "fish"] as const;
type Shell = (typeof SHELLS)[number];

/** A command as a shell completes it. */
interface Completed {
  name: string;
  description: string;
  /** subcommands by name */
  subcommands: readonly string[];
  options: readonly {
    flags: readonly string[];
    description: string;
    takesValue: boolean;
    choices: readonly string[];
  }[];
}

/** Adds `tenfold completion`, which completes the commands that the program has. */
export function addCompletion(program: Command, context: Context): void {
  program
    .command("completion")
    .description("print a script that completes commands and options in a shell")
    .addArgument(new Argument("<shell>", "which shell").choices(SHELLS))
    .addHelpText(
      "after",
      [
        "",
        "Examples:",
        "  tenfold completion fish > ~/.config/fish/completions/tenfold.fish",
        "  source <(tenfold completion bash)        in ~/.bashrc",
        "  source <(tenfold completion zsh)         in ~/.zshrc, after compinit",
      ].join("\n"),
    )
    .action((shell: Shell) => void context.stdout.write(SCRIPTS[shell](commandsOf(program))));
}

const firstLine = (text: string): string => text.split("\n")[0]!;

/** The commands of a program; options that they inherit are not among theirs. */
function commandsOf(program: Command): Completed[] {
  return program.commands.map((command) => ({
    name: command.name(),
    description: firstLine(command.description()),
    subcommands: command.commands.map((one) => one.name()),
    options: [command, ...command.commands].flatMap(({ options }) =>
      options.map((option) => ({
        flags: [option.long, option.short].filter((flag) => flag !== undefined && flag !== null) as string[],
        description: firstLine(option.description),
        takesValue: option.required || option.optional,
        choices: option.argChoices ?? [],
      })),
    ),
  }));
}

/** Words of a bash script that stand for themselves. */
const list = (words: readonly string[]): string => [...new Set(words)].join(" ");

const SCRIPTS: Record<Shell, (commands: readonly Completed[]) => string> = {
  bash: (commands) =>
    [
      "# source <(tenfold completion bash)",
      "_tenfold() {",
      '  local current="$' + '{COMP_WORDS[COMP_CWORD]}" before="$' + '{COMP_WORDS[COMP_CWORD - 1]}" words=""',
      '  if [ "$COMP_CWORD" -eq 1 ]; then',
      `    words="${list([...commands.map(({ name }) => name), "help", "--help", "--version"])}"`,
      "  else",
      '    case "$' + '{COMP_WORDS[1]}" in',
      `      help) words="${list(commands.map(({ name }) => name))}" ;;`,
      ...commands.map(({ name, subcommands, options }) => {
        const words = [...subcommands, ...options.flatMap(({ flags }) => flags), "--help"];
        return `      ${name}) words="${list(words)}" ;;`;
      }),
      "    esac",
      "    # the values of an option; files where there is no list of them",
      '    case "$' + '{COMP_WORDS[1]} $before" in',
      ...commands.flatMap(({ name, options }) =>
        options
          .filter(({ takesValue }) => takesValue)
          .map(({ flags, choices }) => {
            const patterns = flags.map((flag) => `"${name} ${flag}"`).join("|");
            return `      ${patterns}) words="${list(choices)}" ;;`;
          }),
      ),
      "    esac",
      "  fi",
      '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
      "}",
      "complete -o default -F _tenfold tenfold",
      "",
    ].join("\n"),

  zsh: (commands) => {
    const plain = (text: string): string => text.replace(/[[\]:'`$\\]/g, " ").replace(/\s+/g, " ");
    return [
      "#compdef tenfold",
      "# source <(tenfold completion zsh), after compinit",
      "_tenfold() {",
      "  local -a commands options",
      "  commands=(",
      ...commands.map(({ name, description }) => `    '${name}:${plain(description)}'`),
      "  )",
      "  if (( CURRENT == 2 )); then",
      "    _describe command commands",
      "    return",
      "  fi",
      "  case $words[2] in",
      ...commands.flatMap(({ name, options, subcommands }) => [
        `    ${name}) options=(`,
        ...options.flatMap(({ flags, description, takesValue, choices }) =>
          flags.map((flag) => {
            const value = takesValue ? `:value:${choices.length ? `(${list(choices)})` : "_files"}` : "";
            return `      '${flag}[${plain(description)}]${value}'`;
          }),
        ),
        ...(subcommands.length ? [`      '1:command:(${list(subcommands)})'`] : []),
        "      ) ;;",
      ]),
      "  esac",
      "  shift words",
      "  (( CURRENT-- ))",
      "  _arguments $options '*:file:_files'",
      "}",
      "compdef _tenfold tenfold",
      "",
    ].join("\n");
  },

  fish: (commands) => {
    const quoted = (text: string): string => `'${text.replace(/[\\']/g, "\\$&")}'`;
    return [
      "# tenfold completion fish > ~/.config/fish/completions/tenfold.fish",
      ...commands.flatMap(({ name, description, subcommands, options }) => [
        `complete -c tenfold -n __fish_use_subcommand -f -a ${name} -d ${quoted(description)}`,
        ...subcommands.map(
          (subcommand) => `complete -c tenfold -n '__fish_seen_subcommand_from ${name}' -a ${subcommand}`,
        ),
        ...options.map(({ flags, description: words, takesValue, choices }) => {
          const names = flags.map((flag) => (flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
          const value = choices.length ? [`-x -a ${quoted(list(choices))}`] : takesValue ? ["-r"] : [];
          const about = ["-d", quoted(words)];
          return [
            "complete -c tenfold -n",
            quoted(`__fish_seen_subcommand_from ${name}`),
            ...names,
            ...value,
            ...about,
          ].join(" ");
        }),
      ]),
      "",
    ].join("\n");
  },
};
