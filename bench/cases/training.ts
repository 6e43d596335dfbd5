/** Training, an epoch a run: the library's own loop on a dataset that stays on the GPU. */
import type { Engine, Schedule } from "../../src/gpu/index.js";
import { adam, Linear, Sequential, train } from "../../src/nn/index.js";
import type { Case, Goal, Network } from "../case.js";
import * as inputs from "../inputs.js";
import * as reference from "../reference.js";

export function trainingCase(name: string, network: Network, goal?: Goal): Case {
  const { inputs: n, hidden, classes, samples, batch } = network;
  const steps = samples / batch;
  const parameters = n * hidden + hidden + hidden * classes + (network.bias ? classes : 0);
  return {
    name,
    shapes: `${n}-${hidden}-${classes}, ${steps} steps of ${batch}, Adam`,
    // forward, and backward for weights and (but for the first layer) activations
    flops: steps * 2 * batch * (2 * n * hidden + 3 * hidden * classes),
    // the batch; the weights read twice, and read and written with both moments
    bytes: steps * (batch * n * (network.pixels ? 1 : 4) + 4 * 8 * parameters),
    work: { op: "training", network },
    tolerance: 2e-3,
    steps,
    ...(goal && { goal }),
    counts: { dispatches: 16, submits: 1, readbacks: 1 },
    async prepare(engine, [x, labels, ...weights]) {
      const model = await Sequential.create(
        engine,
        [new Linear(n, hidden, { activation: "relu" }), new Linear(hidden, classes, { bias: network.bias })],
        { inputShape: [n] },
      );
      model.parameters.forEach(({ value }, index) => {
        value.write(weights[index]!);
      });
      const data = {
        inputs: engine.tensor(
          [samples, n],
          network.pixels ? Uint8Array.from(x!, (value) => Math.round(255 * value)) : x,
        ),
        labels: engine.tensor([samples], Uint32Array.from(labels!)),
      };
      const losses: number[] = [];
      const epochs = async (count: number): Promise<void> => {
        const { curve } = await train(model, data, {
          epochs: count,
          epochsPerSubmit: count,
          batchSize: batch,
          optimiser: adam({ rate: network.rate }),
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
          data.inputs.destroy();
          data.labels.destroy();
        },
      };
    },
    inputs: () => inputs.network(network),
    reference: (given) => reference.training(network, given),
  };
}

/** Profiles every schedule that is submitted meanwhile, for each of its replays; null without timestamps. */
async function profileSubmits(engine: Engine, work: () => Promise<void>): Promise<number | null> {
  const profiles: Promise<number>[] = [];
  const submit = engine.submit;
  engine.submit = (given, times = 1) => {
    const plan = "engine" in given ? [[given, 1] as const] : given;
    for (const [schedule, replays] of plan as readonly (readonly [Schedule, number])[])
      profiles.push(schedule.profile().then(({ by, ms }) => (by === "timestamps" ? ms * replays * times : Number.NaN)));
    submit.call(engine, given, times);
  };
  try {
    await work();
    const total = (await Promise.all(profiles)).reduce((sum, ms) => sum + ms, 0);
    return Number.isNaN(total) ? null : total;
  } finally {
    engine.submit = submit;
  }
}
