/** What the library gives by itself for what the demo page shows; runs in the page, on another engine of its device. */
import { doubleSoftmax } from "../../src/experiments/doubleSoftmax.js";
import {
  adam,
  type CompressedLayer,
  CompressionPlan,
  cpALS,
  type Dataset,
  Dropout,
  Engine,
  evaluate,
  Linear,
  loadModel,
  Sequential,
  sgd,
  type Tensor,
  train,
  tuckerHOOI,
  unpackBytes,
} from "../../src/index.js";

interface Chosen {
  first: number;
  digits: readonly number[];
  seed: number;
  rank: number;
}

/** The digits' file: a count, labels, pixels. */
async function digitBytes(): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch("digits.bin");
  const inflated = response.body!.pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(inflated).arrayBuffer());
}

/** Pixels / 255 of the chosen digits, in order. */
async function images({ first, digits }: Chosen): Promise<{ pixels: Float32Array; classes: Uint32Array }> {
  const bytes = await digitBytes();
  const count = new DataView(bytes.buffer).getUint32(0, true);
  const classes: number[] = [];
  const pixels: number[] = [];
  for (let i = 0; i < first; i++) {
    const index = digits.indexOf(bytes[4 + i]!);
    if (index < 0) continue;
    classes.push(index);
    for (let k = 0; k < 784; k++) pixels.push(bytes[4 + count + 784 * i + k]! / 255);
  }
  return { pixels: Float32Array.from(pixels), classes: Uint32Array.from(classes) };
}

/** Images of the study's order as `tenfold compare` takes them: the first 7,000 to train on, the last 2,000 held out. */
async function lenetDigits(engine: Engine) {
  const bytes = await digitBytes();
  const part = (start: number, stop: number) => ({
    inputs: engine.tensor([stop - start, 1, 28, 28], bytes.slice(10_004 + 784 * start, 10_004 + 784 * stop)),
    labels: engine.tensor([stop - start], Uint32Array.from(bytes.subarray(4 + start, 4 + stop))),
  });
  return { train: part(0, 7000), test: part(8000, 10_000) };
}

const fetched = async (file: string): Promise<Uint8Array> => new Uint8Array(await (await fetch(file)).arrayBuffer());

/** What is compared of a network. */
interface Sizes {
  weights: number;
  multiplications: number;
  accuracy: number;
}

async function sizesOf(model: Sequential, test: Dataset): Promise<Sizes> {
  const multiplications = model.counts().reduce((sum, layer) => sum + layer.multiplications, 0);
  return { weights: model.parameterCount, multiplications, accuracy: (await evaluate(model, test)).accuracy };
}

async function withEngine<T>(work: (engine: Engine) => Promise<T>): Promise<T> {
  // pipelines that the page has are not compiled again
  const device = window.demo?.engine?.device;
  const engine = device ? new Engine(device) : await Engine.create();
  try {
    return await work(engine);
  } finally {
    engine.destroy();
  }
}

export const expected = {
  /** The relative error of one decomposition, run for its own rank. */
  decomposition: (settings: Chosen & { method: "tucker" | "tucker10" | "cp"; centred: boolean }): Promise<number> =>
    withEngine(async (engine) => {
      const { pixels } = await images(settings);
      const { method, rank, seed, centred } = settings;
      const count = pixels.length / 784;
      if (centred)
        for (let k = 0; k < 784; k++) {
          let sum = 0;
          for (let i = 0; i < count; i++) sum += pixels[784 * i + k]!;
          for (let i = 0; i < count; i++) pixels[784 * i + k]! -= sum / count;
        }
      const x = engine.tensor([count, 28, 28], pixels);
      if (method === "cp")
        return (await cpALS(engine, x, { rank, sweeps: 100, tolerance: 1e-5, seed, sweepsPerSubmit: 1 })).relativeError;
      const others = method === "tucker" ? [28, 28] : [10, 10];
      const stopping =
        // where ranks are nested the page shows part of a larger one, which has converged further
        method === "tucker" ? { sweeps: 200, tolerance: 1e-9 } : { sweeps: 60, tolerance: 1e-5, sweepsPerSubmit: 1 };
      return (await tuckerHOOI(engine, x, { ranks: [rank, ...others], seed, ...stopping })).relativeError;
    }),

  /** Held-out accuracies of the network on loadings and of the one on pixels. */
  training: (
    settings: Chosen & { hidden: number; fullHidden: number; epochs: number; recipe: "fixed" | "slides" },
  ): Promise<{ loadings: number; pixels: number }> =>
    withEngine(async (engine) => {
      const { digits, rank, hidden, fullHidden, epochs, seed, recipe } = settings;
      const { pixels, classes } = await images(settings);
      const count = classes.length;
      const bounds = { train: [0, Math.floor(0.7 * count)], validation: [0, 0], test: [0, 0] };
      bounds.validation = [bounds.train[1]!, Math.floor(0.8 * count)];
      bounds.test = [bounds.validation[1]!, count];
      const part = (name: keyof typeof bounds) => {
        const [start, stop] = bounds[name] as [number, number];
        return {
          images: engine.tensor([stop - start, 28, 28], pixels.slice(784 * start, 784 * stop)),
          labels: engine.tensor([stop - start], classes.slice(start, stop)),
        };
      };
      const parts = { train: part("train"), validation: part("validation"), test: part("test") };
      const { tensor } = await tuckerHOOI(engine, parts.train.images, {
        ranks: [rank, 28, 28],
        tolerance: 1e-5,
        sweeps: 60,
        sweepsPerSubmit: 1,
        seed,
      });
      // standardised on the CPU
      const loadings: Record<string, Tensor> = {};
      const [mean, deviation] = [new Float64Array(rank), new Float64Array(rank).fill(1)];
      for (const name of ["train", "validation", "test"] as const) {
        const { images, labels } = parts[name];
        const out = engine.tensor([labels.size, rank]);
        const s = engine.scheduler();
        const projected = tensor.project(s, images);
        const schedule = await s.compile();
        engine.submit(schedule);
        const raw = Float64Array.from(await engine.read(projected));
        schedule.destroy();
        if (name === "train" && recipe === "fixed")
          for (let r = 0; r < rank; r++) {
            const column = Array.from({ length: labels.size }, (_, i) => raw[i * rank + r]!);
            mean[r] = column.reduce((sum, v) => sum + v, 0) / column.length;
            deviation[r] = Math.sqrt(column.reduce((sum, v) => sum + (v - mean[r]!) ** 2, 0) / column.length);
          }
        out.write(raw.map((value, i) => (value - mean[i % rank]!) / deviation[i % rank]!));
        loadings[name] = out;
      }
      const accuracy = async (inputsOf: (name: keyof typeof parts) => Tensor, width: number, onPixels: boolean) => {
        const inputs = inputsOf("train").shape[1]!;
        const slides = recipe === "slides";
        const layers = () => [
          new Linear(inputs, width, { activation: "relu" }),
          ...(slides && onPixels ? [new Dropout(0.4)] : []),
          new Linear(width, digits.length, { bias: false }),
        ];
        const rate = onPixels ? 0.003 : 0.01;
        const optimiser = slides ? sgd(onPixels ? { rate: 0.01, momentum: 0.5 } : { rate: 0.2 }) : adam({ rate });
        const data = (name: keyof typeof parts) => ({ inputs: inputsOf(name), labels: parts[name].labels });
        let spent = 0;
        const run = async (model: Sequential, count: number, by = optimiser) => {
          const options = {
            epochs: count,
            batchSize: 100,
            optimiser: by,
            seed: seed + spent,
            validation: data("validation"),
            ...(slides ? { loss: doubleSoftmax(), shuffle: false } : {}),
          };
          spent += count;
          return (await train(model, data("train"), options)).curve.at(-1)?.loss ?? Number.POSITIVE_INFINITY;
        };
        const create = (start: number) =>
          Sequential.create(engine, layers(), { inputShape: [inputs], seed: 100 * seed + start });
        if (slides) {
          const model = await create(0);
          await run(model, epochs);
          return (await evaluate(model, data("test"))).accuracy;
        }
        let best: { model: Sequential; loss: number } | null = null;
        for (let start = 0; start < 6; start++) {
          const model = await create(start);
          const loss = await run(model, 3);
          if (!best || loss < best.loss) best = { model, loss };
        }
        const last = Math.floor((epochs - 3) / 3);
        await run(best!.model, epochs - 3 - last);
        if (last) await run(best!.model, last, adam({ rate: rate / 5 }));
        return (await evaluate(best!.model, data("test"))).accuracy;
      };
      return {
        loadings: await accuracy((name) => loadings[name]!, hidden, false),
        pixels: await accuracy((name) => parts[name].images.reshape([-1, 784]), fullHidden, true),
      };
    }),

  /** Networks of one plan, the one as it is first; each is fine-tuned where epochs are asked for. */
  compression: (settings: {
    file: string;
    method: string;
    targets: readonly { cost: "weights" | "multiplications"; ratio: number }[];
    tune?: { epochs: number; images: number };
  }): Promise<{ before: Sizes; after: (Sizes & { ranks: string[]; kept: boolean[]; tuned?: number })[] }> =>
    withEngine(async (engine) => {
      const { file, method, targets, tune } = settings;
      const { train: training, test } = await lenetDigits(engine);
      const model = await loadModel(engine, await fetched(file));
      const calibration = engine.tensor([256, 1, 28, 28]);
      await engine.run((s) => void unpackBytes(s, training.inputs.rows(0, 256), { out: calibration }));
      const plan = await CompressionPlan.create(model, { method, calibration, seed: 1 });
      const after = [];
      for (const target of targets) {
        const selection = await plan.select(target, { timeBatches: [] });
        const weighty = selection.layers.filter((layer: CompressedLayer) => layer.weights[0] > 0);
        const sizes = {
          ...(await sizesOf(selection.model, test)),
          ranks: weighty.map(({ ranks }) => ranks.join()),
          kept: weighty.map(({ staysBecause }) => staysBecause !== ""),
        };
        if (!tune) {
          after.push(sizes);
          continue;
        }
        const { images: most, epochs } = tune;
        const part = { inputs: training.inputs.rows(0, most), labels: training.labels.rows(0, most) };
        const last = Math.floor(epochs / 3);
        const run = (count: number, rate: number, seed: number) =>
          train(selection.model, part, { epochs: count, batchSize: 100, optimiser: adam({ rate }), seed });
        await run(epochs - last, 1e-3, 1);
        if (last) await run(last, 1e-4, 1 + epochs - last);
        after.push({ ...sizes, tuned: (await evaluate(selection.model, test)).accuracy });
      }
      return { before: await sizesOf(model, test), after };
    }),

  /** What a downloaded network is, given as base64. */
  loaded: (file: string): Promise<Sizes & { layers: string[] }> =>
    withEngine(async (engine) => {
      const { test } = await lenetDigits(engine);
      const model = await loadModel(engine, await fetched(`data:application/octet-stream;base64,${file}`));
      return { ...(await sizesOf(model, test)), layers: model.layers.map(({ name }) => name) };
    }),
};
