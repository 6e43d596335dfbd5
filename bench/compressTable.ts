/**
 * The trained networks of test/fixtures/networks as they are, in int8, with low-rank layers, and with both: bytes, multiplications, right answers, and time beside the
 * original.
 *
 *     node bench/compressTable.mjs [--networks vgg,resnet] [--rounds 9] [--images 10000] [--calibration 512]
 *         [--divided 2,3] [--tune 1500] [--python python3] [--json FILE]
 *         [--write FOLDER]
 *
 * Times are the processor's, of one image on one thread: in onnxruntime-web's WebAssembly, and in onnxruntime-node where it is installed (`npm ci
 * --prefix bench/peers`). In every round each variant has a turn, in another order each time; the table has the median of the rounds'
 * own ratios, and their quartiles. With --tune there are rows of low-rank layers that were tuned by so many steps. With --python (PyPI onnx and onnxruntime) onnxruntime's static quantiser is a row of its own. Samples
 * for calibration are training images; with --write the models stay in a folder, for bench/onnxBrowser.mjs; the answers are counted on t10k.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as web from "onnxruntime-web";
import { compressOnnx, runtimeSessions } from "../src/compress/onnx/index.js";
import { writeNpy } from "../src/io/index.js";
import { openEngine, readMnistData } from "../src/node/index.js";
import { activationRanges, foldOnnx, onnxSites, quantiseOnnx, readOnnx, writeOnnx } from "../src/onnx/index.js";
import { median, quantile } from "./statistics.js";

const here = import.meta.dirname;
const networks = join(here, "../test/fixtures/networks");
const { values: options } = parseArgs({
  options: {
    networks: { type: "string", default: "vgg,resnet" },
    rounds: { type: "string", default: "9" },
    images: { type: "string", default: "10000" },
    calibration: { type: "string", default: "512" },
    divided: { type: "string", default: "2,3" },
    tune: { type: "string" },
    python: { type: "string" },
    json: { type: "string" },
    write: { type: "string" },
  },
});
const rounds = Number(options.rounds);

/** What is used of both packages of onnxruntime. */
type Runtime = Pick<typeof web, "InferenceSession" | "Tensor">;
type Session = web.InferenceSession;

web.env.wasm.numThreads = 1;
web.env.logLevel = "error";

const runtimes: Record<string, Runtime> = { wasm: web };
const peer = join(here, "peers/node_modules/onnxruntime-node");
if (existsSync(peer)) runtimes.node = createRequire(join(here, "peers/x.js"))("onnxruntime-node") as Runtime;
else console.log("onnxruntime-node is not installed (npm ci --prefix bench/peers): times are of wasm alone");

const PIXELS = 28 * 28;
const digits = readMnistData();
const floats = (bytes: Uint8Array): Float32Array => Float32Array.from(bytes, (byte) => byte / 255);
const test = floats(digits.testImages!.subarray(0, Number(options.images) * PIXELS));
const samples = floats(digits.images.subarray(0, Number(options.calibration) * PIXELS));

const feeds = ({ Tensor }: Runtime, images: Float32Array) => ({
  images: new Tensor("float32", images, [images.length / PIXELS, 1, 28, 28]),
});
const open = ({ InferenceSession }: Runtime, bytes: Uint8Array): Promise<Session> =>
  InferenceSession.create(bytes, {
    ...{ intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3, graphOptimizationLevel: "all" },
  });

const BATCH = 250;

/** Right answers of the test images, %. */
async function accuracy(runtime: Runtime, session: Session): Promise<number> {
  let right = 0;
  for (let at = 0; at < test.length; at += BATCH * PIXELS) {
    const { logits } = await session.run(feeds(runtime, test.subarray(at, at + BATCH * PIXELS)));
    const scores = logits!.data as Float32Array;
    for (let image = 0; image < scores.length / 10; image++) {
      const row = scores.subarray(10 * image, 10 * image + 10);
      if (row.indexOf(Math.max(...row)) === digits.testLabels![at / PIXELS + image]) right++;
    }
  }
  return (100 * right * PIXELS) / test.length;
}

/** Milliseconds of the processor for one image, over turns of at least 60 ms: other programs on the machine change them less. */
async function time(runtime: Runtime, session: Session, round: number): Promise<number> {
  const one = feeds(runtime, test.subarray((round % 10) * PIXELS, ((round % 10) + 1) * PIXELS));
  const start = process.cpuUsage();
  const spent = (): number => {
    const { user, system } = process.cpuUsage(start);
    return (user + system) / 1000;
  };
  let runs = 0;
  for (; runs < 4 || spent() < 60; runs++) await session.run(one);
  return spent() / runs;
}

interface Variant {
  name: string;
  bytes: Uint8Array;
  multiplications: number | null;
}

/** Everything that is made of one network. */
async function variantsOf(bytes: Uint8Array, folder: string): Promise<Variant[]> {
  const countsOf = (model: ReturnType<typeof readOnnx>): number | null =>
    onnxSites(model, { shapes: { images: [1, 1, 28, 28] } }).totals.multiplications;
  const model = readOnnx(bytes);
  const { model: folded } = await foldOnnx(model);
  const batches = Array.from({ length: Math.ceil(samples.length / PIXELS / 64) }, (_, at) =>
    feeds(web, samples.subarray(at * 64 * PIXELS, (at + 1) * 64 * PIXELS)),
  );
  const variants: Variant[] = [{ name: "original", bytes, multiplications: countsOf(model) }];
  const add = (name: string, of: Uint8Array): unknown =>
    variants.push({ name, bytes: of, multiplications: countsOf(folded) });
  const session = (part: Uint8Array): Promise<Session> => open(web, part);
  for (const method of ["leastError", "minMax"] as const) {
    const ranges = await activationRanges(folded, { session, feeds: batches, method });
    const name = method === "minMax" ? "int8, min–max" : "int8";
    add(name, writeOnnx((await quantiseOnnx(folded, { ranges })).model));
    if (method === "minMax") continue;
    add("int8, full range", writeOnnx((await quantiseOnnx(folded, { ranges, reduceRange: false })).model));
  }
  const calibration = Array.from({ length: samples.length / PIXELS }, (_, at) => ({
    images: { dtype: "float32", shape: [1, 1, 28, 28], data: samples.subarray(at * PIXELS, (at + 1) * PIXELS) },
  }));
  // tuning takes minutes, and int8 behind it is as behind the other rows
  for (const divided of options.divided.split(",").map(Number))
    for (const tune of options.tune ? [0, Number(options.tune)] : [0])
      for (const int8 of tune ? [false] : [false, true]) {
        const target = { multiplications: divided };
        const more = { engine, session: runtimeSessions(web as never), calibration, target, int8, tune };
        const start = performance.now();
        const { bytes: small, multiplications, reason, tuning } = await compressOnnx(bytes, more);
        const name = `÷${divided}${tune ? ", tuned" : ""}${int8 ? " and int8" : ""}`;
        for (const { steps, best, samples, error } of tuning?.stretches ?? [])
          console.log(
            `${name}: ${steps} steps on ${samples} samples, error ${error.before.toFixed(4)} to ${error.after.toFixed(4)} after ${best}, ${((performance.now() - start) / 1000).toFixed(0)} s`,
          );
        if (small) variants.push({ name, bytes: small, multiplications: multiplications.after });
        else console.log(`${name}: ${reason}`);
      }
  if (options.python) {
    const path = (name: string): string => join(folder, name);
    writeFileSync(path("folded.onnx"), writeOnnx(folded));
    writeFileSync(path("samples.npy"), writeNpy({ shape: [samples.length / PIXELS, 1, 28, 28], data: samples }));
    for (const [name, ...words] of [
      ["onnxruntime's int8", "MinMax", "reduced"],
      ["onnxruntime's int8, percentile", "Percentile", "reduced"],
      ["onnxruntime's int8, full range", "MinMax"],
    ]) {
      const files = ["folded.onnx", "samples.npy", "out.onnx"].map(path);
      execFileSync(options.python, [join(here, "peers/ort_quantise.py"), ...files, ...words], { stdio: "pipe" });
      add(name!, new Uint8Array(readFileSync(path("out.onnx"))));
    }
  }
  return variants;
}

/** The mean squared difference of logits to the original's, beside the mean square of the original's, as a root. */
async function logitError(runtime: Runtime, session: Session, reference: Session): Promise<number> {
  const inputs = feeds(runtime, test.subarray(0, 500 * PIXELS));
  const [a, b] = [await session.run(inputs), await reference.run(inputs)].map(
    ({ logits }) => logits!.data as Float32Array,
  );
  const sum = (f: (i: number) => number): number => a!.reduce((total, _, i) => total + f(i) ** 2, 0);
  return Math.sqrt(sum((i) => a![i]! - b![i]!) / sum((i) => b![i]!));
}

const engine = await openEngine();
const rows: Record<string, unknown>[] = [];
for (const network of options.networks.split(",")) {
  const folder = mkdtempSync(join(tmpdir(), "tenfold-table-"));
  try {
    const variants = await variantsOf(new Uint8Array(readFileSync(join(networks, `${network}.onnx`))), folder);
    for (const { name, bytes } of options.write ? variants : [])
      writeFileSync(join(options.write!, `${network} ${name}.onnx`), bytes);
    const table = variants.map(({ name, bytes, multiplications }) => {
      const row: Record<string, unknown> = { network, name, bytes: bytes.length, multiplications };
      rows.push(row);
      return row;
    });
    for (const [where, runtime] of Object.entries(runtimes)) {
      const sessions: Session[] = [];
      for (const { bytes } of variants) sessions.push(await open(runtime, bytes));
      for (const [at, session] of sessions.entries()) {
        table[at]![`${where} accuracy`] = await accuracy(runtime, session);
        table[at]![`${where} logit error`] = await logitError(runtime, session, sessions[0]!);
      }
      const times = sessions.map(() => [] as number[]);
      for (let round = -1; round < rounds; round++)
        for (let turn = 0; turn < sessions.length; turn++) {
          const at = (turn + round + sessions.length) % sessions.length;
          const ms = await time(runtime, sessions[at]!, round + 1);
          // the first round warms up
          if (round >= 0) times[at]!.push(ms);
        }
      for (const [at, row] of table.entries()) {
        const ratios = times[0]!.map((ms, round) => ms / times[at]![round]!);
        row[`${where} ms`] = median(times[at]!);
        row[`${where} speed`] = [0.25, 0.5, 0.75].map((q) => quantile(ratios, q));
      }
      for (const session of sessions) await session.release();
    }
    console.log(
      `\n${network}: ${test.length / PIXELS} test images, ${samples.length / PIXELS} for calibration, ${rounds} rounds`,
    );
    const places = Object.keys(runtimes);
    console.log(
      `| | bytes | multiplications | ${places.map((one) => `${one}: right, logit error, ms, times as fast`).join(" | ")} |`,
    );
    console.log(`|---|---|---|${places.map(() => "---|").join("")}`);
    for (const row of table) {
      const cells = places.map((where) => {
        const [low, middle, high] = row[`${where} speed`] as number[];
        const number = (key: string, figures: number): string =>
          (row[`${where} ${key}`] as number).toPrecision(figures);
        return `${(row[`${where} accuracy`] as number).toFixed(2)} %, ${number("logit error", 2)}, ${number("ms", 3)}, ×${middle!.toFixed(2)} (${low!.toFixed(2)} to ${high!.toFixed(2)})`;
      });
      console.log(`| ${row.name} | ${row.bytes} | ${row.multiplications} | ${cells.join(" | ")} |`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
engine.destroy();
if (options.json) writeFileSync(options.json, `${JSON.stringify(rows, null, 2)}\n`);
