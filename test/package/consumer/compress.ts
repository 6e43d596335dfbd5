/** Compression of ONNX models, with a runtime that the program brings. */

import { type CompressedOnnx, compressOnnx, type OnnxFeeds, type OnnxRuntime, runtimeSessions } from "tenfold/compress";
import { openEngine, readBytes } from "tenfold/node";

export async function smaller(file: string, ort: OnnxRuntime, calibration: OnnxFeeds[]): Promise<CompressedOnnx> {
  const engine = await openEngine();
  const result = await compressOnnx(readBytes(file), {
    engine,
    calibration,
    session: runtimeSessions(ort, { executionProviders: ["wasm"] }),
    target: { multiplications: 2 },
    maxLoss: 0.01,
  });
  for (const { name, scheme, ranks } of result.layers) console.log(name, scheme, ranks.join());
  // @ts-expect-error the file is null where none is given
  result.bytes.length;
  return result;
}
