/** Node's entry. */
import { type Engine, matmul } from "tenfold";
import { openEngine, readBytes, readNpy } from "tenfold/node";

export async function product(file: string): Promise<Engine> {
  const { shape, data } = readNpy(readBytes(file), file);
  // one class Engine in both entries
  const engine: Engine = await openEngine();
  const x = engine.tensor(shape, data instanceof Float64Array ? data : Float64Array.from(data));
  matmul(engine.scheduler("product"), x, x);
  // @ts-expect-error there is no such adapter
  await openEngine({ adapter: "cpu" });
  return engine;
}
