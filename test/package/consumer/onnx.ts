/** The ONNX entry, which needs no GPU. */
import { externalFiles, readBytes } from "tenfold/node";
import {
  foldOnnx,
  type OnnxReplacement,
  type OnnxSite,
  onnxSites,
  readOnnx,
  replaceSites,
  writeOnnx,
} from "tenfold/onnx";

export async function shrunk(
  file: string,
  folder: string,
  fit: (site: OnnxSite, weights: Float32Array) => OnnxReplacement,
): Promise<Uint8Array> {
  const { model } = await foldOnnx(readOnnx(readBytes(file), { file, external: externalFiles(folder) }));
  const { sites, leftAlone } = onnxSites(model, { shapes: { x: [1, 3, 224, 224] } });
  for (const { name, reason } of leftAlone) console.log(`${name}: ${reason}`);
  const replacements = await Promise.all(sites.map(async (site) => fit(site, await site.weights())));
  // @ts-expect-error a model is made by reading
  model.file = "another";
  return writeOnnx(replaceSites(model, replacements));
}
