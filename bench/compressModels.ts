/**
 * `compressOnnx` on trained networks that packages carry: accuracy, sizes, how long it takes, and the time of a run beside the original's.
 *
 *     node bench/compressModels.mjs --python python3 [--cases vgg16/2,rec/1.14] [--folder FOLDER] [--rounds 5] [--json FILE] [--plans]
 * With --plans what is found of a model's layers is kept in FOLDER, and a later command with --plans goes on from there.
 *
 * The head of bench/compressModels.py says which packages that Python needs; onnxruntime-node is taken from bench/peers (`npm ci --prefix
 * bench/peers`) or from the folder in which the command runs. The models are measured and never shipped. Further cases of a model go on
 * from the candidates of the first one, so that their seconds are fewer (`candidates`). A case MODEL/NUMBER+ort is onnxruntime's own static
 * int8 of the float file that MODEL/NUMBER left in FOLDER (of the original for MODEL/1), with 7 bits for weights as ours; MODEL/1+int8 is
 * our int8 alone. Times of a run are the processor's, on one thread, in pairs with the original: in onnxruntime-web's WebAssembly and in onnxruntime-node.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as web from "onnxruntime-web";
import {
  type CompressOnnxOptions,
  compressOnnx,
  type OnnxFeeds,
  type OnnxPlan,
  type OnnxSessions,
  runtimeSessions,
  samplesOf,
} from "../src/compress/onnx/index.js";
import { readNpz } from "../src/io/index.js";
import { openEngine } from "../src/node/index.js";
import { readOnnx } from "../src/onnx/index.js";
import { median } from "./statistics.js";

const here = import.meta.dirname;
const { values: options } = parseArgs({
  options: {
    python: { type: "string", default: "python3" },
    cases: {
      type: "string",
      default:
        "vgg16/2,vgg16/3,vgg16/3+int8,vgg16/3+ort,rec/1.14,rec/1.28+ablation,rec/1.14+int8,rec/1.14+ort,rec/2?,magika/2?",
    },
    folder: { type: "string" },
    rounds: { type: "string", default: "5" },
    json: { type: "string" },
    plans: { type: "boolean", default: false },
  },
});
const rounds = Number(options.rounds);
const folder = options.folder ?? mkdtempSync(join(tmpdir(), "tenfold-models-"));
mkdirSync(folder, { recursive: true });

web.env.wasm.numThreads = 1;
web.env.logLevel = "error";
type Runtime = Pick<typeof web, "InferenceSession" | "Tensor">;
const peer = join(here, "peers/node_modules/onnxruntime-node");
const node = createRequire(existsSync(peer) ? join(here, "peers/x.js") : join(process.cwd(), "x.js"))(
  "onnxruntime-node",
) as Runtime;

const python = (...words: string[]): string =>
  execFileSync(options.python, [join(here, "compressModels.py"), ...words], { encoding: "utf8" }).trim();

interface Inputs {
  path: string;
  bytes: Uint8Array;
  calibration: OnnxFeeds[];
  verification: OnnxFeeds[];
}
const known = new Map<string, Inputs>();
function inputsOf(name: string): Inputs {
  let inputs = known.get(name);
  if (!inputs) {
    const path = python("inputs", name, folder);
    const bytes = new Uint8Array(readFileSync(path));
    const read = (file: string): OnnxFeeds[] =>
      samplesOf(readOnnx(bytes), readNpz(new Uint8Array(readFileSync(join(folder, file))), file), file);
    inputs = { path, bytes, calibration: read(`${name}.npz`), verification: read(`${name}-verify.npz`) };
    known.set(name, inputs);
  }
  return inputs;
}

/** How often a model is as fast as the original, on one thread. */
async function speed(runtime: Runtime, original: Uint8Array, small: Uint8Array, feeds: OnnxFeeds): Promise<number> {
  const settings = { logSeverityLevel: 3 as const, intraOpNumThreads: 1 };
  const tensors = Object.fromEntries(
    Object.entries(feeds).map(([name, { dtype, shape, data }]) => [
      name,
      new runtime.Tensor(dtype as "float32", data as Float32Array, shape),
    ]),
  );
  const sessions = [];
  for (const bytes of [original, small]) sessions.push(await runtime.InferenceSession.create(bytes, settings));
  const ratios: number[] = [];
  for (let round = -1; round < rounds; round++) {
    const spent: number[] = [];
    for (const session of sessions) {
      const start = process.cpuUsage();
      await session.run(tensors);
      const { user, system } = process.cpuUsage(start);
      spent.push(user + system);
    }
    // the first round warms up
    if (round >= 0) ratios.push(spent[0]! / spent[1]!);
  }
  for (const session of sessions) await session.release();
  return median(ratios);
}

const fileOf = (name: string): string => join(folder, `${name.replace("/", "-")}.onnx`);

const engine = await openEngine();
/** candidates of a model's layers, which further cases of it do not look for anew */
const plans = new Map<string, OnnxPlan>();
const planFile = (model: string): string => join(folder, `${model}.plan`);
function planOf(model: string): OnnxPlan | undefined {
  const file = planFile(model);
  if (!plans.has(model) && options.plans && existsSync(file)) plans.set(model, JSON.parse(readFileSync(file, "utf8")));
  return plans.get(model);
}
const rows: Record<string, unknown>[] = [];
for (const name of options.cases.split(",")) {
  const [, model, divided, more] = /^(\w+)\/([\d.]+)(\+int8|\+ort|\+ablation|\+tune\d+|\?)?$/.exec(name) ?? [];
  if (!model)
    throw new Error(
      `${name}: cases are MODEL/NUMBER, with +int8, +ort, +ablation, +tuneSTEPS or ? behind: at most 0.01 lost`,
    );
  const { path, bytes, calibration, verification } = inputsOf(model);
  const start = performance.now();
  const tell = async (row: Record<string, unknown>, small: Uint8Array | null): Promise<void> => {
    rows.push(row);
    if (small) {
      const out = fileOf(name);
      writeFileSync(out, small);
      row.scores = JSON.parse(python("score", model, out));
      row.speed = {
        wasm: await speed(web, bytes, small, verification[0]!),
        node: await speed(node, bytes, small, verification[0]!),
      };
    }
    console.log(
      JSON.stringify({ ...row, layers: undefined, steps: undefined, warnings: undefined, verified: undefined }),
    );
    if (options.json) writeFileSync(options.json, `${JSON.stringify(rows, null, 2)}\n`);
  };
  if (more === "+ort") {
    const float = Number(divided) === 1 ? path : fileOf(`${model}/${divided}`);
    const words = [float, join(folder, `${model}.npz`), fileOf(name), "MinMax", "reduced", "products"];
    execFileSync(options.python, [join(here, "peers/ort_quantise.py"), ...words], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    const small = new Uint8Array(readFileSync(fileOf(name)));
    const seconds = (performance.now() - start) / 1000;
    await tell({ name, seconds, bytes: { before: bytes.length, after: small.length } }, small);
    continue;
  }
  const spent = { products: 0, model: 0 };
  const open = runtimeSessions(node as never, { executionProviders: ["cpu"] });
  const session: OnnxSessions = async (part) => {
    const inner = await open(part);
    const kind = part.length < 1000 ? "products" : "model";
    return {
      async run(feeds) {
        const start = performance.now();
        const results = await inner.run(feeds);
        spent[kind] += (performance.now() - start) / 1000;
        return results;
      },
      release: () => inner.release(),
    };
  };
  let said = 0;
  const before = planOf(model);
  const settings: CompressOnnxOptions = {
    ...(before && { plan: before }),
    onPlan(plan) {
      plans.set(model, plan);
      if (options.plans) writeFileSync(planFile(model), JSON.stringify(plan));
    },
    ...{ engine, session, calibration, verification },
    ...(Number(divided) > 1 && { target: { multiplications: Number(divided) } }),
    ...(more === "+int8" && { int8: true }),
    ...(more === "+ablation" && { ablation: true }),
    ...(more?.startsWith("+tune") && { tune: Number(more.slice(5)) }),
    ...(more === "?" && { maxLoss: 0.01 }),
    onProgress(done, doing) {
      if (performance.now() - said < 10_000) return;
      said = performance.now();
      console.error(`${name}: ${((said - start) / 1000).toFixed(0)} s, ${(100 * done).toFixed(0)} %, ${doing}`);
    },
  };
  const result = await compressOnnx(bytes, settings);
  const row: Record<string, unknown> = {
    ...{
      name,
      candidates: before ? "known" : "found",
      seconds: (performance.now() - start) / 1000,
      inRuntime: spent,
      reason: result.reason,
      ...(result.tuning && { tuning: result.tuning.stretches }),
    },
    ...{ weights: result.weights, multiplications: result.multiplications },
    ...{ bytes: { before: bytes.length, after: result.bytes?.length ?? null } },
    ...{
      ablation: result.ablation,
      verified: result.verified,
      steps: result.steps,
      warnings: result.warnings,
      adapter: engine.adapterName,
    },
    layers: result.layers.map(({ name, scheme, ranks, error, refitted }) => ({ name, scheme, ranks, error, refitted })),
  };
  await tell(row, result.bytes);
}
engine.destroy();
