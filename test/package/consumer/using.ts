/** Explicit resource management, where the program's `lib` has it. */
import { cpALS, Engine } from "tenfold";

export async function error(): Promise<number | undefined> {
  using engine = await Engine.create();
  using x = engine.tensor([2, 2], new Float32Array(4));
  const { fits, tensor } = await cpALS(engine, x, { rank: 1 });
  using kruskal = tensor;
  return kruskal.parameterCount && fits.at(-1);
}
