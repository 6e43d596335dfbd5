/** A program of someone who installed the package: the library's entry, in a browser, a worker or Node. */
import { cpALS, Engine, type KruskalTensor, matmul, readNpz, Sequential, type Tensor } from "tenfold";

export async function main(): Promise<number[]> {
  const engine = await Engine.create();
  const x: Tensor = engine.tensor([2, 2], new Float32Array(4));
  const { fits, tensor } = await cpALS(engine, x, { rank: 1, signal: new AbortController().signal });
  const kruskal: KruskalTensor = tensor;
  kruskal.destroy();
  // @ts-expect-error the rank is needed: declarations that came out as `any` would take this
  await cpALS(engine, x, {});
  // @ts-expect-error internal members are stripped
  engine.buffers.trim();
  return fits;
}

export const names: string[] = [matmul.name, Sequential.name, ...readNpz(new Uint8Array(0)).keys()];
