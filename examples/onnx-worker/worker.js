// Compresses a network in a worker, and runs what it has made. Import maps do not reach into workers: modules are imported by path.
import { OnnxCompression, runtimeSessions, samplesOf } from "../../dist/compress/onnx/index.js";
import { Engine } from "../../dist/index.js";
import { readOnnx } from "../../dist/onnx/index.js";
import * as ort from "../../node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";

ort.env.logLevel = "error";
ort.env.wasm.numThreads = 1; // more need headers that isolate the page from other origins
const open = runtimeSessions(ort, { executionProviders: ["wasm"] });

/** versions of the model, ready to run, by what their multiplications were divided by; 1 is the original */
const sessions = new Map();
let network;
let input;

async function start({ bytes, samples }) {
  const model = readOnnx(bytes);
  input = model.inputs[0].name;
  sessions.set(1, await open(bytes));
  const calibration = samplesOf(model, new Map([[input, samples]]));
  network = new OnnxCompression(bytes, { engine: await Engine.create(), session: open, calibration });
  postMessage({ ready: true });
}

/** What is found of the layers serves every budget after it. */
async function compress(divisor, signal) {
  const onProgress = (...progress) => postMessage({ divisor, progress });
  const result = await network.compress({ target: { multiplications: divisor }, signal, onProgress });
  if (result.bytes) sessions.set(divisor, await open(result.bytes));
  postMessage({ divisor, result });
}

/** The probability of each digit, by some versions. */
async function classify({ image, divisors }) {
  const answers = [];
  for (const divisor of divisors) {
    const feeds = { [input]: { dtype: "float32", shape: [1, 1, 28, 28], data: image } };
    const [{ data }] = Object.values(await sessions.get(divisor).run(feeds));
    const powers = Array.from(data, (logit) => Math.exp(logit - Math.max(...data)));
    const sum = powers.reduce((a, b) => a + b);
    answers.push({ divisor, parts: powers.map((power) => power / sum) });
  }
  postMessage({ answers });
}

let controller = new AbortController();
let last = Promise.resolve();
addEventListener("message", ({ data }) => {
  // another budget takes the place of the one that is worked on; images are read between its steps
  if (!data.image) controller.abort();
  controller = data.image ? controller : new AbortController();
  const { signal } = controller;
  const fail = ({ message }) => signal.aborted || postMessage({ problem: message });
  if (data.image) sessions.has(1) && classify(data).catch(fail);
  else last = last.then(() => (data.divisor ? compress(data.divisor, signal) : start(data))).catch(fail);
});
