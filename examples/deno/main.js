// Deno has WebGPU of its own: nothing but tenfold is needed. In a project of yours `deno add npm:tenfold` stands for deno.json's line.
import { cp, Engine } from "tenfold";

const peak = (x, centre) => Math.exp(-((x - centre) ** 2) / 4);
const values = Float32Array.from({ length: 8 * 7 * 6 }, (_, n) => {
  const [i, j, k] = [Math.floor(n / 42), Math.floor(n / 6) % 7, n % 6];
  return (1 + i) * peak(j, 2) * peak(k, 1) + (9 - i) * peak(j, 4) * peak(k, 4);
});

const engine = await Engine.create();
const { tensor, relativeError } = await cp(engine, engine.tensor([8, 7, 6], values), { rank: 2 });
console.log(`error ${relativeError.toExponential(1)}`);
console.log(`factors of ${tensor.factors.map(({ shape }) => shape.join("×")).join(", ")}`);
engine.destroy();
