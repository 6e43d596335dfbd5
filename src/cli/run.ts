import { Command, CommanderError } from "commander";
import { type ErrorCode, TenfoldError } from "../errors.js";
import { addCompare } from "./compare.js";
import { addCompletion } from "./completion.js";
import { addCompress } from "./compress.js";
import type { Context } from "./context.js";
import { addDecompose } from "./decompose.js";
import { addDoctor } from "./doctor.js";
import { addInfo } from "./info.js";
import { addInspect } from "./inspect.js";
import { addMnist } from "./mnist.js";
import { addRank } from "./rank.js";
import { widthOf } from "./table.js";
import { tenfoldVersion } from "./version.js";
import { welcome } from "./welcome.js";

/** The command `tenfold` with all subcommands. */
export function createProgram(context: Context): Command {
  const program = new Command("tenfold")
    .description("Tensor decompositions and decomposed neural networks on any GPU")
    .version(tenfoldVersion(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    // commander throws its errors, so that `run` prints all errors in the same way
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
      outputError: () => {},
      getOutHelpWidth: () => Math.min(context.stdout.columns ?? 80, 100),
      getErrHelpWidth: () => Math.min(context.stderr.columns ?? 80, 100),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  addMnist(program, context);
  addCompare(program, context);
  addInfo(program, context);
  addDecompose(program, context);
  addRank(program, context);
  addInspect(program, context);
  addCompress(program, context);
  addDoctor(program, context);
  addCompletion(program, context);
  program.addHelpText(
    "after",
    [
      "",
      "Exit codes: 0 done, 1 failed, 2 wrong options or input, 130 stopped by Ctrl-C.",
      "",
      "Examples:",
      "  tenfold mnist",
      "  tenfold compare --quick",
      "  tenfold doctor",
      "  tenfold info X.npy",
      "  tenfold decompose X.npy --method cp --rank 10 --out result.npz",
      "  tenfold rank X.npy --max 6",
      "  tenfold inspect model.onnx",
      "  tenfold compress model.onnx --calibration samples.npz --target mult/2",
      "  tenfold decompose --help",
    ].join("\n"),
  );
  return program;
}

/** Runs a command line (without `node` and the script) and returns the exit code. Errors are printed, never thrown. */
export async function run(argv: readonly string[], context: Context): Promise<number> {
  const program = createProgram(context);
  try {
    if (argv.length === 0) context.stdout.write(welcome(program, widthOf(context.stdout)));
    else await program.parseAsync([...meant(argv, program)], { from: "user" });
    return 0;
  } catch (error) {
    return report(error as Error, program, argv, context);
  }
}

/**
 * `help NAME` with a name that no command has is answered as that name: by commands that are like it. `-:X`, an array of standard input, gets
 * another name for that, since it would be taken for an option.
 */
function meant(words: readonly string[], { commands }: Command): readonly string[] {
  const argv = words.map((word) => word.replace(/^-(?=:)/, "/dev/stdin"));
  const [first, name] = argv;
  const isUnknown = first === "help" && name && !/^-|^help$/.test(name) && !commands.some((one) => one.name() === name);
  return isUnknown ? argv.slice(1) : argv;
}

/** Codes of errors that mean wrong options or input: exit code 2. */
const WRONG_INPUT: readonly ErrorCode[] = ["INPUT", "FORMAT", "UNSUPPORTED", "FILE", "SHAPE", "ENTRIES", "LIMITS"];

/** Prints an error as one line and returns its exit code. */
function report(error: Error, program: Command, argv: readonly string[], { stderr, env }: Context): number {
  if (error instanceof CommanderError) {
    // code 0: help or the version was printed; tenfold.reported: the command has printed its failure itself
    if (error.exitCode === 0 || error.code === "tenfold.reported") return error.exitCode;
    const command = program.commands.find((one) => one.name() === argv[0]);
    const help = `tenfold ${command ? `${command.name()} ` : ""}--help`;
    const message = error.message.replace(/\s*\n\s*/g, " ").replace("(Did you", "(did you");
    stderr.write(`${message}${message.endsWith("?)") ? "" : ` (see ${help})`}\n`);
    return 2;
  }
  if (env.TENFOLD_DEBUG) stderr.write(`${error?.stack ?? error}\n`);
  const code = error instanceof TenfoldError ? error.code : null;
  if (code === "INTERRUPTED") {
    stderr.write(`${error.message}\n`);
    return 130;
  }
  if (code && WRONG_INPUT.includes(code)) {
    stderr.write(`error: ${error.message.replace(/\s*\n\s*/g, " ")}\n`);
    return 2;
  }
  const hint = code || env.TENFOLD_DEBUG ? "" : " (internal error; TENFOLD_DEBUG=1 shows where)";
  stderr.write(`error: ${error?.message ?? error}${hint}\n`);
  return 1;
}
