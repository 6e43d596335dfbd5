/** A program of someone who installed the package: the library's entry, in a browser, a worker or Node. */
import { cpALS, Engine, type KruskalTensor, matmul, readNpz, Sequential, type Tensor } from "tenfold";

export async function main(): Promise<number[]> {
  const engine = await Engine.create();
  const x: Tensor = engine.tensor([2, 2], new Float32Array(4));
  const { fits, tensor } = await cpALS(engine, x, { rank: 1, signal: new AbortController().signal });
  const kruskal: KruskalTensor = tensor;
  const loadings: Float32Array = await kruskal.factors[0]!.read();
  const labels = engine.tensor([2], Uint32Array.of(0, 1));
  const [numbers, classes]: [Float32Array, Uint32Array] = await engine.read([x, labels]);
  const bytes: Uint8Array = await engine.tensor([4], null, { dtype: "u8" }).read();
  // @ts-expect-error labels are u32
  const wrong: Float32Array = await labels.read();
  kruskal.destroy();
  // @ts-expect-error the rank is needed: declarations that came out as `any` would take this
  await cpALS(engine, x, {});
  // @ts-expect-error internal members are stripped
  engine.buffers.trim();
  return [...fits, ...loadings, ...numbers, ...classes, ...bytes, ...wrong];
}

export const names: string[] = [matmul.name, Sequential.name, ...readNpz(new Uint8Array(0)).keys()];
