// Twenty samples of three dyes that shine over each other, measured at 60 emission and 40 excitation wavelengths.
// Which spectra do the dyes have, and how much of each is in which sample?
import { cp } from "tenfold";
import { openEngine } from "tenfold/node";

const peak = (x, centre, width) => Math.exp(-(((x - centre) / width) ** 2));
const values = Float32Array.from({ length: 20 * 60 * 40 }, (_, n) => {
  const [sample, emission, excitation] = [Math.floor(n / 2400), Math.floor(n / 40) % 60, n % 40];
  const dye = (r) => (1.2 + Math.sin(sample * r)) * peak(emission, 15 * r, 8) * peak(excitation, 10 * r, 6);
  return dye(1) + dye(2) + dye(3);
});

const engine = await openEngine();
const x = engine.tensor([20, 60, 40], values);
const { tensor, relativeError, starts } = await cp(engine, x, { rank: 3 });
console.log(`on ${engine.adapterName}`);
console.log(`error ${relativeError.toExponential(1)}, ${starts.agreeing} of ${starts.errors.length} starts agree`);
const [emission, excitation] = await engine.read([tensor.factors[1], tensor.factors[2]]);
for (let r = 0; r < 3; r++) {
  // of a column, the place of its largest entry
  const top = (factor) => {
    const column = Array.from({ length: factor.length / 3 }, (_, i) => Math.abs(factor[3 * i + r]));
    return column.indexOf(Math.max(...column));
  };
  console.log(`dye ${r + 1}: shines most at emission ${top(emission)}, excitation ${top(excitation)}`);
}
engine.destroy();
