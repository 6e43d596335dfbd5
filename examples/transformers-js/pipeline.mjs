// Runs a pipeline of transformers.js on the model as it was and on the compressed one, without asking any host:
//     node examples/transformers-js/pipeline.mjs TASK FOLDER OUT TEXT…
import { basename, dirname, resolve } from "node:path";
import { env, pipeline } from "@huggingface/transformers";

env.allowRemoteModels = false;
const [task, before, after, ...texts] = process.argv.slice(2);
if (!texts.length) throw new Error("usage: node pipeline.mjs TASK FOLDER OUT TEXT…");

for (const folder of [before, after]) {
  env.localModelPath = dirname(resolve(folder));
  const run = await pipeline(task, basename(resolve(folder)), { dtype: "fp32" });
  await run(texts[0]); // the first run takes longer
  const start = performance.now();
  for (const text of texts) {
    const output = await run(text);
    // features are a tensor, classes a list
    const words = output.dims ? `${output.dims.join("×")} features` : JSON.stringify(output);
    console.log(`${folder}: ${text}: ${words}`);
  }
  console.log(`${folder}: ${((performance.now() - start) / texts.length).toFixed(1)} ms a text`);
  await run.dispose();
}
