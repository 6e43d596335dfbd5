// Computes in a worker, so that the page stays free. Import maps do not reach into workers: the library is imported by path.
import { cp, Engine } from "../../dist/index.js";

const engine = await Engine.create();

addEventListener("message", async ({ data: { shape, values, rank } }) => {
  const x = engine.tensor(shape, values);
  const { tensor, relativeError } = await cp(engine, x, { rank });
  const factors = await engine.read([...tensor.factors]);
  tensor.destroy();
  x.destroy();
  // the bytes change hands: nothing is copied
  postMessage({ relativeError, factors }, { transfer: factors.map(({ buffer }) => buffer) });
});
postMessage("ready");
