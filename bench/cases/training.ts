/** Cases of training, an epoch a run: the library's training loop on a data set that stays on the GPU. */
import type { Engine, Schedule } from "../../src/gpu/index.js";
import { adam, type Layer, LENET_SHAPE, Linear, lenet, Sequential, train } from "../../src/nn/index.js";
import { type Case, type Inputs, LENET_PARAMETERS, type Lenet, type Network, type Prepared } from "../case.js";
import type { Goal } from "../goals.js";
import * as inputs from "../inputs.js";
import { kernelTime } from "../ours.js";
import * as reference from "../reference.js";

export function trainingCase(name: string, network: Network, goals: readonly Goal[] = []): Case {
  const { inputs: n, hidden, classes, samples, batch } = network;
  const steps = samples / batch;
  const parameters = n * hidden + hidden + hidden * classes + (network.bias ? classes : 0);
  return {
    name,
    shapes: `${n}-${hidden}-${classes}, ${steps} steps of ${batch}, Adam`,
    // forward, and backward for weights and (but for the first layer) activations
    flops: steps * 2 * batch * (2 * n * hidden + 3 * hidden * classes),
    // a step reads the batch once and the weights twice; Adam reads and writes weights and both moments
    bytes: steps * (batch * n * (network.pixels ? 1 : 4) + 4 * 8 * parameters),
    work: { op: "training", network },
    tolerance: 2e-3,
    steps,
    choice: "training",
    goals,
    counts: { dispatches: 13, submits: 1, readbacks: 1 },
    prepare: (engine, data) =>
      prepareTraining(
        engine,
        [new Linear(n, hidden, { activation: "relu" }), new Linear(hidden, classes, { bias: network.bias })],
        [n],
        network,
        data,
      ),
    inputs: () => inputs.network(network),
    reference: (data) => reference.training(network, data),
  };
}

export function lenetCase(name: string, network: Lenet): Case {
  const { samples, batch } = network;
  const steps = samples / batch;
  const parameters = LENET_PARAMETERS.reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);
  return {
    name,
    shapes: `1-6-16-400-120-84-10, ${steps} steps of ${batch}, Adam`,
    // forward, and backward for weights and (but for the first layer) activations
    flops: steps * 2 * batch * (2 * 117_600 + 3 * (240_000 + 48_000 + 10_080 + 840)),
    bytes: steps * (batch * 784 + 4 * 8 * parameters),
    work: { op: "lenet", network },
    tolerance: 2e-3,
    steps,
    counts: { dispatches: 38, submits: 1, readbacks: 1 },
    prepare: (engine, data) => prepareTraining(engine, lenet(), LENET_SHAPE, { ...network, pixels: true }, data),
    inputs: () => inputs.lenet(network),
    reference: (data) => reference.lenet(network, data),
  };
}

/** Prepares a network and a data set for epochs by the library's training loop. */
async function prepareTraining(
  engine: Engine,
  layers: Layer[],
  inputShape: readonly number[],
  { samples, batch, rate, pixels }: { samples: number; batch: number; rate: number; pixels: boolean },
  [x, labels, ...weights]: Inputs,
): Promise<Prepared> {
  const model = await Sequential.create(engine, layers, { inputShape });
  model.parameters.forEach(({ value }, index) => {
    value.write(weights[index]!);
  });
  const values = pixels ? Uint8Array.from(x!, (value) => Math.round(255 * value)) : x!;
  const dataset = {
    inputs: engine.tensor([samples, ...inputShape], values),
    labels: engine.tensor([samples], Uint32Array.from(labels!)),
  };
  const losses: number[] = [];
  const epochs = async (count: number): Promise<void> => {
    const { curve } = await train(model, dataset, {
      epochs: count,
      epochsPerSubmit: count,
      batchSize: batch,
      optimiser: adam({ rate }),
      shuffle: false,
    });
    losses.push(...curve.map(({ loss }) => loss));
  };
  return {
    run: epochs,
    outputs: async () => [Float32Array.of(losses[0]!)],
    kernelTime: () => profileSubmits(engine, () => epochs(1)),
    destroy() {
      model.destroy();
      dataset.inputs.destroy();
      dataset.labels.destroy();
    },
  };
}

/** Milliseconds of all schedules that `work` submits, replays included, by timestamps; null without timestamps. */
async function profileSubmits(engine: Engine, work: () => Promise<void>): Promise<number | null> {
  const profiles: Promise<number | null>[] = [];
  const submit = engine.submit;
  engine.submit = (schedules, times = 1) => {
    const plan = "engine" in schedules ? [[schedules, 1] as const] : schedules;
    for (const [schedule, replays] of plan as readonly (readonly [Schedule, number])[])
      profiles.push(kernelTime(schedule).then((ms) => ms && ms * replays * times));
    submit.call(engine, schedules, times);
  };
  try {
    await work();
    return (await Promise.all(profiles)).reduce((sum, ms) => (sum === null || ms === null ? null : sum + ms), 0);
  } finally {
    engine.submit = submit;
  }
}
