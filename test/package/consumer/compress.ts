/** Compression of ONNX models, with a runtime that the program brings. */

import {
  type CompressedOnnx,
  compressOnnx,
  OnnxCompression,
  type OnnxFeeds,
  type OnnxRuntime,
  type OnnxSessions,
  runtimeSessions,
} from "tenfold/compress";
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

export async function halfAndThird(bytes: Uint8Array, session: OnnxSessions, calibration: OnnxFeeds[]): Promise<void> {
  const network = new OnnxCompression(bytes, { engine: await openEngine(), session, calibration });
  for (const multiplications of [2, 3]) {
    const { worst } = await network.compress({ target: { multiplications } });
    console.log(worst?.map(({ sample, classes }) => `${sample}: ${classes?.before} ${classes?.after}`));
  }
  // @ts-expect-error a target belongs to a request
  new OnnxCompression(bytes, { engine: await openEngine(), target: { weights: 2 } });
  await network.release();
}
