/**
 * Times ONNX models in a headless Chromium by onnxruntime-web, on WebGPU and in WebAssembly: milliseconds a run, the ratio to the first model of
 * the list, and how far WebGPU's outputs are from WebAssembly's. Variants take turns, in another order each round. Inputs are random.
 */
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { writeAtomic } from "../src/node/files.js";
import { readOnnx } from "../src/onnx/index.js";
import { launch, serve } from "../test/browser/launch.js";
import { plainGrid } from "./report.js";
import { median, quantile } from "./statistics.js";

const HELP = `node bench/onnxBrowser.mjs [options] MODEL.onnx…

  --adapter swiftshader|default   Chromium's adapter for WebGPU (swiftshader)
  --batch N                       what an open extent of an input becomes (1)
  --rounds N                      turns of each model and provider (7)
  --json FILE                     also write the samples to a file

PUPPETEER_EXECUTABLE_PATH names a browser that is to be taken instead of npm's.`;

const { values: options, positionals: files } = parseArgs({
  allowPositionals: true,
  options: {
    adapter: { type: "string", default: "swiftshader" },
    batch: { type: "string", default: "1" },
    rounds: { type: "string", default: "7" },
    json: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  },
});
if (options.help || !files.length) {
  console.log(HELP);
  process.exit(options.help ? 0 : 2);
}
const { adapter } = options;
const [batch, rounds] = [Number(options.batch), Number(options.rounds)];
if ((adapter !== "swiftshader" && adapter !== "default") || !(batch >= 1) || !(rounds >= 1)) {
  console.error(`wrong options\n${HELP}`);
  process.exit(2);
}

/** how far outputs of the two providers may be from each other, relative */
const TOLERANCE = 1e-3;
const PROVIDERS = ["webgpu", "wasm"] as const;
type Provider = (typeof PROVIDERS)[number];

/** What the page defines. */
interface Page {
  open(provider: Provider, file: string, shapes: Record<string, number[]>): Promise<void>;
  /** milliseconds a run, over runs of 100 ms together */
  time(provider: Provider, file: string): Promise<number>;
  /** ‖a − b‖ / ‖b‖ of the outputs on both providers */
  difference(file: string): Promise<number>;
}

declare global {
  interface Window {
    models: Page;
  }
}

const PAGE = `<!doctype html><title>onnxruntime-web</title><script type="module">
const ort = await import("./ort.webgpu" + ".min.mjs");
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
const sessions = new Map(), feeds = new Map();
const run = async (provider, file) => {
  const outputs = await sessions.get(provider + file).run(feeds.get(file));
  return Promise.all(Object.values(outputs).map((output) => output.getData()));
};
window.models = {
  async open(provider, file, shapes) {
    const bytes = new Uint8Array(await (await fetch(file)).arrayBuffer());
    sessions.set(provider + file, await ort.InferenceSession.create(bytes, { executionProviders: [provider] }));
    let state = 1;
    const random = () => (state = (state * 48271) % 0x7fffffff) / 0x7fffffff - 0.5;
    feeds.set(file, Object.fromEntries(Object.entries(shapes).map(([name, shape]) =>
      [name, new ort.Tensor("float32", Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, random), shape)])));
    await run(provider, file);
  },
  async time(provider, file) {
    const start = performance.now();
    let runs = 0;
    do await run(provider, file); while ((runs++, performance.now() - start < 100));
    return (performance.now() - start) / runs;
  },
  async difference(file) {
    const [ours, theirs] = [await run("webgpu", file), await run("wasm", file)];
    let [lost, norm] = [0, 0];
    theirs.forEach((values, at) => values.forEach((value, i) => { lost += (value - ours[at][i]) ** 2; norm += value ** 2; }));
    return Math.sqrt(lost / norm);
  },
};
</script>`;

const runtime = dirname(createRequire(import.meta.filename).resolve("onnxruntime-web"));
const models = files.map((file, at) => {
  const bytes = readFileSync(file);
  const shapes = Object.fromEntries(
    readOnnx(bytes).inputs.map(({ name, shape }) => [
      name,
      (shape ?? []).map((extent) => (typeof extent === "number" ? extent : batch)),
    ]),
  );
  return { name: basename(file, ".onnx"), path: `model${at}.onnx`, bytes, shapes };
});
// the loader asks for one of these by what the browser has
const parts = readdirSync(runtime).filter((name) =>
  /^ort(\.webgpu|-wasm-simd-threaded.*)\.(min\.)?(mjs|wasm)$/.test(name),
);
const served = await serve({
  "index.html": PAGE,
  ...Object.fromEntries(parts.map((name) => [name, readFileSync(join(runtime, name))])),
  ...Object.fromEntries(models.map(({ path, bytes }) => [path, bytes])),
});
const browser = await launch({
  adapter,
  args: adapter === "default" ? ["--enable-features=Vulkan", "--use-angle=vulkan", "--ignore-gpu-blocklist"] : [],
});
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(String(error)));
  await page.goto(served.url);
  await page.waitForFunction(() => "models" in window, { timeout: 60_000 });
  const entries: { name: string; provider: Provider; at: number; samples: number[] }[] = [];
  const differences: number[] = [];
  for (const [at, { name, path, shapes }] of models.entries()) {
    for (const provider of PROVIDERS) {
      await page.evaluate((...call) => window.models.open(...call), provider, path, shapes);
      entries.push({ name, provider, at, samples: [] });
    }
    differences.push(await page.evaluate((file) => window.models.difference(file), path));
  }
  for (let round = 0; round < rounds; round++)
    for (let turn = 0; turn < entries.length; turn++) {
      const { provider, at, samples } = entries[(turn * 7 + round * 3) % entries.length]!;
      samples.push(await page.evaluate((...call) => window.models.time(...call), provider, models[at]!.path));
    }
  const version = await browser.version();
  console.log(`${version}, WebGPU adapter: ${adapter}; up to ${rounds} rounds, inputs of batch ${batch}`);
  const rows = entries.map(({ name, provider, at, samples }) => {
    const first = entries.find((entry) => entry.provider === provider)!.samples;
    const ratios = samples.map((ms, round) => first[round]! / ms);
    const of = (values: number[], digits: number): string =>
      `${median(values).toFixed(digits)} (${quantile(values, 0.25).toFixed(digits)}–${quantile(values, 0.75).toFixed(digits)})`;
    return [
      name,
      provider,
      of(samples, 2),
      of(ratios, 2),
      provider === "webgpu" ? differences[at]!.toExponential(0) : "",
    ];
  });
  console.log(plainGrid(["model", "provider", "ms a run", "times as fast as the first", "WebGPU beside wasm"], rows));
  const wrong = differences.filter((difference) => !(difference < TOLERANCE));
  if (options.json)
    writeAtomic(options.json, `${JSON.stringify({ version, adapter, entries, differences }, null, 1)}\n`);
  if (wrong.length) {
    console.error(`${wrong.length} models give other outputs on WebGPU than in WebAssembly, by more than ${TOLERANCE}`);
    process.exitCode = 1;
  }
} finally {
  await browser.close();
  await served.close();
}
process.exit();
