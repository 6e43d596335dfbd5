// Compresses a model as transformers.js has it: a folder of config.json, tokenizer.json and onnx/model.onnx becomes another one.
//     node examples/transformers-js/compress.mjs FOLDER OUT TEXTS.txt [DIVISOR]
// TEXTS.txt has a text a line, of every kind that the model will read. Multiplications are divided by DIVISOR, which is 1.5.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
// in a project of your own onnxruntime-node is faster
import * as ort from "onnxruntime-web";
import { compressOnnx, runtimeSessions } from "tenfold/compress";
import { openEngine } from "tenfold/node";
import { readOnnx } from "tenfold/onnx";

ort.env.logLevel = "error";
const [folder, out, texts, divisor = "1.5"] = process.argv.slice(2);
if (!texts) throw new Error("usage: node compress.mjs FOLDER OUT TEXTS.txt [DIVISOR]");
const json = (name) => JSON.parse(readFileSync(join(folder, name), "utf8"));
const tokenizer = new Tokenizer(json("tokenizer.json"), json("tokenizer_config.json"));
const longest = json("config.json").max_position_embeddings ?? 512;
const bytes = new Uint8Array(readFileSync(join(folder, "onnx/model.onnx")));
const { inputs } = readOnnx(bytes);

/** What the pipeline feeds for a text: int64 numbers of one row. */
function feedsOf(text) {
  const { ids, attention_mask, token_type_ids } = tokenizer.encode(text, { return_token_type_ids: true });
  const values = { input_ids: ids, attention_mask, token_type_ids };
  const entries = inputs.map(({ name }) => {
    if (!values[name]) throw new Error(`${folder} wants ${name}, which this example does not make of texts`);
    const data = BigInt64Array.from(values[name].slice(0, longest), BigInt);
    return [name, { dtype: "int64", shape: [1, data.length], data }];
  });
  return Object.fromEntries(entries);
}

const lines = readFileSync(texts, "utf8").split("\n");
const calibration = lines.filter((line) => line.trim()).map(feedsOf);
const engine = await openEngine();
const session = runtimeSessions(ort, { executionProviders: ["wasm"] });
const target = { multiplications: Number(divisor) };
const result = await compressOnnx(bytes, { engine, session, calibration, target });
engine.destroy();

if (!result.bytes) throw new Error(result.reason);
for (const { name, scheme, ranks } of result.layers)
  console.log(`${name}: ${scheme ? `${scheme}, ranks ${ranks.join(", ")}` : "as it was"}`);
for (const warning of result.warnings) console.log(`warning: ${warning}`);
const { multiplications, verified, samples } = result;
console.log(`${bytes.length} bytes to ${result.bytes.length}`);
console.log(`multiplications divided by ${(multiplications.before / multiplications.after).toFixed(2)}`);
const same = verified.agreement === null ? "" : `, same class ${(100 * verified.agreement).toFixed(1)} %`;
console.log(`on ${samples.verify} texts that were kept: error ${verified.error.toFixed(3)}${same}`);

// other files of onnx/ are versions of the model before
cpSync(folder, out, { recursive: true, filter: (path) => !/^onnx[\\/]/.test(relative(folder, path)) });
mkdirSync(join(out, "onnx"), { recursive: true });
writeFileSync(join(out, "onnx/model.onnx"), result.bytes);
console.log(`wrote ${join(out, "onnx/model.onnx")}`);
