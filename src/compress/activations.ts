import { dispose, type Engine, type Scheduler, sizeOf, type Tensor } from "../gpu/index.js";
import { Chain, Join, type Layer, type Network } from "../nn/index.js";
import { copy, paste, slice, squaredDistance, sumOfSquares } from "../ops/index.js";
import { look } from "../sources/index.js";

/** Most numbers of the largest value of a network that one batch of samples has: 16 MiB. */
const MOST = 2 ** 22;
/** Values within a layer that is tried may be so many times as large: some decompositions have many more maps than their layer. */
const INSIDE = 4;

/** Some samples, and what a network makes of them. */
interface Batch {
  size: number;
  /** by value of the graph: those that are known now */
  values: Tensor[];
  /** of the network */
  output: Tensor;
}

/**
 * What a network makes of calibration samples, one place after the other: where a place is looked at, its input, its output and
 * what later places read are there, and the network's outputs. Samples come in batches, so that no tensor is large.
 */
export class Activations {
  /** the last place whose output is known */
  #at = -1;
  /** what is freed with this object, beside values between places */
  readonly #tensors: Tensor[] = [];
  readonly #batches: Batch[] = [];

  private constructor(
    private readonly model: Network,
    private readonly most: number,
  ) {}

  /**
   * @param samples N×sample shape, which the caller destroys after this object
   * @param options.most numbers of the largest value of the network that a batch has
   */
  static async of(model: Network, samples: Tensor, { most = MOST } = {}): Promise<Activations> {
    const { engine, graph } = model;
    const activations = new Activations(model, most);
    const count = samples.shape[0]!;
    const shapes = model.shapes();
    const size = Math.max(1, Math.min(count, Math.floor(most / Math.max(...shapes.map(sizeOf)))));
    const allocate = (shape: readonly number[]): Tensor => {
      const tensor = engine.tensor(shape, null, { label: "activation" });
      activations.#tensors.push(tensor);
      return tensor;
    };
    try {
      for (let start = 0; start < count; start += size) {
        const rows = Math.min(size, count - start);
        const part = rows === count ? samples : allocate([rows, ...samples.shape.slice(1)]);
        const output = allocate([rows, ...shapes[graph.output]!]);
        await engine.run((s) => {
          if (part !== samples) takeRows(s, samples, start, rows, { out: part });
          copy(s, graph.forward(s, part, { training: false }), { out: output });
        }, "activations");
        activations.#batches.push({ size: rows, values: [part], output });
      }
      await activations.#assertFinite(samples);
      return activations;
    } catch (error) {
      activations.destroy();
      throw error;
    }
  }

  get #engine(): Engine {
    return this.model.engine;
  }

  /** @throws TenfoldError where the samples, or what the network makes of them, are not all finite */
  async #assertFinite(samples: Tensor): Promise<void> {
    const engine = this.#engine;
    await look(engine, "compress", { name: "calibration", shape: samples.shape }, (_, see) => see(samples, 0));
    const outputs = this.#batches.map(({ output }) => output);
    const shape = [samples.shape[0]!, ...outputs[0]!.shape.slice(1)];
    const starts = outputs.map((_, at) => at * outputs[0]!.shape[0]!);
    await look(engine, "compress", { name: "what the network gives for calibration", shape, starts }, (_, see) => {
      for (const [at, output] of outputs.entries()) see(output, at);
    });
  }

  /** The inputs of a layer, a batch each. */
  async inputsOf(index: number): Promise<Tensor[]> {
    await this.#goTo(index);
    const value = this.model.graph.nodes[index]!.from[0]!;
    return this.#batches.map(({ values }) => values[value]!);
  }

  /** Makes the output of a place known, and frees what no place from this one on reads. */
  async #goTo(index: number): Promise<void> {
    if (index < this.#at) this.#restart();
    const { graph } = this.model;
    const shapes = this.model.shapes();
    while (this.#at < index) {
      const at = this.#at + 1;
      const { of, from } = graph.nodes[at]!;
      for (const { size, values } of this.#batches) {
        const inputs = from.map((value) => values[value]!);
        const out = this.#engine.tensor([size, ...shapes[at + 1]!], null, { label: "activation" });
        values[at + 1] = out;
        const record = (s: Scheduler): void => {
          const pass = { training: false };
          const y = of instanceof Join ? of.forward(s, inputs, pass) : of.forward(s, inputs[0]!, pass);
          copy(s, y, { out });
        };
        await this.#engine.run(record, "activations");
      }
      this.#at = at;
      // the input of the place that is looked at stays
      const done = Math.min(at, index - 1);
      this.#free((value) => value <= at && graph.lastReader[value]! <= done);
    }
  }

  #restart(): void {
    this.#free((value) => value > 0);
    this.#at = -1;
  }

  /** Frees values behind the samples. */
  #free(isDone: (value: number) => boolean): void {
    for (const { values } of this.#batches)
      values.forEach((tensor, value) => {
        if (value === 0 || !isDone(value)) return;
        tensor[dispose]();
        delete values[value];
      });
  }

  /** ‖y − ŷ‖ ÷ ‖y‖ of the outputs of a place's layer, where another layer stands there. */
  layerError(index: number, layer: Layer): Promise<number> {
    return this.#error(index, layer, ({ values }) => values[index + 1]!);
  }

  /** ‖y − ŷ‖ ÷ ‖y‖ of the network's outputs, where another layer stands in a place. */
  networkError(index: number, layer: Layer): Promise<number> {
    const { graph } = this.model;
    return this.#error(
      index,
      layer,
      ({ output }) => output,
      (s, { values, output }, changed) => {
        const all = [...values];
        all[graph.output] = output;
        return graph.resume(s, all, index, changed);
      },
    );
  }

  /** ‖y − ŷ‖ ÷ ‖y‖ over all batches, where ŷ is what `behind` makes of the outputs of the other layer: these themselves by default. */
  async #error(
    index: number,
    layer: Layer,
    expected: (batch: Batch) => Tensor,
    behind: (s: Scheduler, batch: Batch, changed: Tensor) => Tensor = (_s, _batch, changed) => changed,
  ): Promise<number> {
    const inputs = await this.inputsOf(index);
    const sums: Tensor[] = [];
    try {
      for (const [at, batch] of this.#batches.entries()) {
        const [error, energy] = [this.#engine.tensor([1]), this.#engine.tensor([1])];
        sums.push(error, energy);
        const y = expected(batch);
        await this.#engine.run((s) => {
          const changed = behind(s, batch, forwardInParts(s, layer, inputs[at]!, INSIDE * this.most));
          squaredDistance(s, y, changed.reshape(y.shape), { out: error });
          sumOfSquares(s, y, { out: energy });
        }, `loss by ${layer.name}`);
      }
      const values = (await this.#engine.read(sums)).map((sum) => sum[0]!);
      const total = (odd: number): number => values.reduce((sum, value, at) => (at % 2 === odd ? sum + value : sum), 0);
      return Math.sqrt(total(0) / Math.max(total(1), Number.MIN_VALUE));
    } finally {
      for (const sum of sums) sum.destroy();
    }
  }

  destroy(): void {
    this.#free(() => true);
    for (const tensor of this.#tensors.splice(0)) tensor[dispose]();
    this.#batches.length = 0;
  }

  [dispose](): void {
    this.destroy();
  }
}

/** Records a copy of some samples of a batch, from `start` on. */
export function takeRows(
  s: Scheduler,
  x: Tensor,
  start: number,
  count: number,
  options: { out?: Tensor } = {},
): Tensor {
  const sample = x.shape.slice(1);
  return slice(s, x, [start, ...sample.map(() => 0)], [count, ...sample], options);
}

/** A layer's outputs; of some samples after the others, where a value within the layer would have more than so many numbers for all of them. */
function forwardInParts(s: Scheduler, layer: Layer, input: Tensor, mostNumbers: number): Tensor {
  const pass = { training: false };
  const [count, ...sample] = input.shape as [number, ...number[]];
  const inside = layer instanceof Chain ? Math.max(...layer.shapes(sample).map(sizeOf)) : 0;
  const most = Math.max(1, Math.floor(mostNumbers / Math.max(1, inside)));
  if (count <= most) return layer.forward(s, input, pass);
  const shape = layer.outputShape(sample);
  const out = s.tensor([count, ...shape], { label: "outputs" });
  for (let start = 0; start < count; start += most) {
    const size = Math.min(most, count - start);
    const part = takeRows(s, input, start, size);
    const y = layer.forward(s, part, pass);
    paste(s, y, out, [start, ...shape.map(() => 0)]);
    s.release(part, y);
  }
  return out;
}
