/** The stretches of an ONNX graph that are a network of our layers, and that network. */
import { type Engine, sizeOf } from "../../gpu/index.js";
import { Affine, Concat, Flatten, Join, type Layer, Network } from "../../nn/index.js";
import { withTensors } from "../../onnx/edit.js";
import type { KnownShapes, OnnxModel } from "../../onnx/index.js";
import { nameOf } from "../../onnx/layers.js";
import type { TensorProto } from "../../onnx/proto.js";
import { extentsOf, tensorFrom } from "../../onnx/tensors.js";
import { type NodeLayer, NodeLayers } from "./nodeLayers.js";

/** A part of a graph between one value and another, each node of which is a layer. */
export interface Stretch {
  /** the value that it begins with */
  from: string;
  /** the value that it ends with: the only one of its values that anything behind it reads */
  to: string;
  /** in an order in which they can be computed */
  layers: readonly NodeLayer[];
  /** entries of its weights and biases */
  entries: number;
  /** the shape of one sample of `from` */
  sample: readonly number[];
  /** that of one sample of `to` */
  end: readonly number[];
  /** values inside it that the original network has, too, and that layers with weights read: the last ones first */
  features: readonly { name: string; size: number }[];
}

/** A node without a layer, and the reason. */
export interface TuningBoundary {
  name: string;
  op: string;
  reason: string;
}

export interface Stretches {
  /** from input to output; no two share a node */
  stretches: Stretch[];
  boundaries: TuningBoundary[];
}

/** a stretch has at least this part of the entries of all that could be tuned */
const LEAST_PART = 0.02;

/**
 * Finds the stretches of a graph with the most weights.
 *
 * @param shapes of the inputs, as one run has them
 * @param names.ends the values that a stretch may end with
 * @param names.original those that the original network has, too
 */
export function findStretches(
  model: OnnxModel,
  shapes: KnownShapes,
  { ends, original }: Readonly<Record<"ends" | "original", ReadonlySet<string>>>,
  fixedInputs: boolean,
): Stretches {
  const nodeLayers = new NodeLayers(model, shapes, fixedInputs);
  const { facts } = nodeLayers;
  const boundaries: TuningBoundary[] = [];
  const units: NodeLayer[] = [];
  for (const node of model.graph.node) {
    const unit = nodeLayers.of(node);
    if (typeof unit === "string") boundaries.push({ name: nameOf(node), op: node.opType, reason: unit });
    else units.push(...unit);
  }
  /** how often a value itself is read; `Shape` reads only its extents, which weights do not change */
  const reads = new Map<string, number>();
  for (const { output } of units) {
    const shapesAlone = (facts.users.get(output) ?? []).filter(({ opType }) => opType === "Shape").length;
    reads.set(output, (facts.uses.get(output) ?? 0) - shapesAlone);
  }
  const entriesOf = ({ places }: NodeLayer): number =>
    places.reduce((sum, { tensor }) => sum + sizeOf(extentsOf(model.file, tensor)), 0);
  const entries = new Map(units.map((unit) => [unit, entriesOf(unit)]));
  const all = units.reduce((sum, unit) => sum + entries.get(unit)!, 0);
  /** whether samples of a value stand along its first axis, as a network has them */
  const isPlain = (name: string): boolean => !nodeLayers.axisOf(name) && Boolean(nodeLayers.sampleOf(name)?.length);
  const starts = [...new Set(units.flatMap(({ from }) => from))].filter(isPlain);
  const isEnd = (name: string): boolean => ends.has(name) && !nodeLayers.axisOf(name);
  const taken = new Set<NodeLayer>();
  const stretches: Stretch[] = [];
  for (;;) {
    let best: Stretch | null = null;
    for (const from of starts) {
      const found = longest(from, units, taken, { reads, entries, isEnd, least: best?.entries ?? 1 });
      if (found)
        best = {
          from,
          ...found,
          sample: nodeLayers.sampleOf(from)!,
          end: nodeLayers.sampleOf(found.to)!,
          features: [],
        };
    }
    if (!best || best.entries < LEAST_PART * all) break;
    for (const layer of best.layers) taken.add(layer);
    const { layers, to } = best;
    const made = new Set(layers.map(({ output }) => output));
    const read = layers.filter(({ places }) => places.length).flatMap((layer) => layer.from);
    const features = [...new Set(read.reverse())]
      .filter((name) => made.has(name) && name !== to && original.has(name) && isPlain(name))
      .map((name) => ({ name, size: sizeOf(nodeLayers.sampleOf(name)!) }));
    stretches.push({ ...best, features });
  }
  const order = (stretch: Stretch): number => units.indexOf(stretch.layers[0]!);
  return { stretches: stretches.sort((a, b) => order(a) - order(b)), boundaries };
}

/** The stretch from a value on with the most entries; null where none has as many as `least`. */
function longest(
  from: string,
  units: readonly NodeLayer[],
  taken: ReadonlySet<NodeLayer>,
  {
    reads,
    entries,
    isEnd,
    least,
  }: {
    reads: ReadonlyMap<string, number>;
    entries: ReadonlyMap<NodeLayer, number>;
    isEnd: (name: string) => boolean;
    least: number;
  },
): { to: string; layers: NodeLayer[]; entries: number } | null {
  const makers = new Map<string, NodeLayer>();
  let reachable = 0;
  for (const unit of units) {
    if (taken.has(unit) || unit.output === from) continue;
    if (!unit.from.every((name) => name === from || makers.has(name))) continue;
    makers.set(unit.output, unit);
    reachable += entries.get(unit)!;
  }
  if (reachable < least) return null;
  let best: { to: string; layers: NodeLayer[]; entries: number } | null = null;
  for (const to of [...makers.keys()].reverse()) {
    if (!isEnd(to)) continue;
    const inside = new Set<NodeLayer>();
    let sum = 0;
    const open = [to];
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      const unit = makers.get(name)!;
      if (inside.has(unit)) continue;
      inside.add(unit);
      sum += entries.get(unit)!;
      for (const read of unit.from) if (read !== from) open.push(read);
    }
    if (sum < least || (best && sum <= best.entries)) continue;
    if (isClosed(inside, to, reads)) best = { to, layers: units.filter((unit) => inside.has(unit)), entries: sum };
    if (best?.entries === reachable) break;
  }
  return best;
}

/** Whether nothing but nodes of these layers reads what they give, except for one value. */
function isClosed(inside: ReadonlySet<NodeLayer>, to: string, reads: ReadonlyMap<string, number>): boolean {
  const outputs = new Set([...inside].map(({ output }) => output));
  const inner = new Map<string, number>();
  // a node with several outputs is a layer for each
  for (const node of new Set([...inside].flatMap(({ nodes }) => nodes))) {
    for (const name of node.input) inner.set(name, (inner.get(name) ?? 0) + 1);
    if (node.output.length > 1 && node.output.some((name) => reads.get(name) && !outputs.has(name))) return false;
  }
  return [...outputs].every((name) => name === to || reads.get(name) === inner.get(name));
}

/** The network of a stretch, and the way of its weights back into the file. */
export class StretchNetwork {
  private constructor(
    readonly network: Network,
    private readonly model: OnnxModel,
    private readonly made: readonly { unit: NodeLayer; of: Layer }[],
    private readonly scales: readonly Affine[],
  ) {}

  /**
   * @param features values inside the stretch that the network gives, too: each as a vector, and the stretch's end behind them
   * @param behind layers to stand right behind those that make some values
   * @throws ShapeError where layers do not fit each other, which a valid model never causes
   */
  static async of(
    engine: Engine,
    model: OnnxModel,
    { from, to, layers, sample }: Stretch,
    features: readonly string[] = [],
    behind: ReadonlyMap<string, Layer> = new Map(),
  ): Promise<StretchNetwork> {
    const readers = new Map<string, NodeLayer[]>();
    for (const unit of layers) for (const name of unit.from) readers.set(name, [...(readers.get(name) ?? []), unit]);
    const built: { unit: NodeLayer; of: Layer | Join; output: string }[] = [];
    /** activations that are part of the layer before them */
    const merged = new Set<NodeLayer>();
    for (const unit of layers) {
      if (merged.has(unit) || !unit.make) continue;
      const [next, ...others] = readers.get(unit.output) ?? [];
      const isRelu = next?.nodes[0]?.opType === "Relu";
      const isOpen = unit.output !== to && !behind.has(unit.output);
      const merges = unit.takesActivation && isRelu && !others.length && isOpen;
      if (merges) merged.add(next);
      built.push({ unit, of: await unit.make(merges ? "relu" : "none"), output: merges ? next.output : unit.output });
    }
    const scales: Affine[] = [];
    const byUnit = new Map(built.map((one) => [one.unit, one]));
    const network = await Network.create(
      engine,
      (add, input) => {
        const ids = new Map([[from, input]]);
        for (const unit of layers) {
          if (merged.has(unit)) continue;
          const one = byUnit.get(unit);
          const read = unit.from.map((name) => ids.get(name)!);
          const made = one ? add(one.of, read) : read[0]!;
          const next = behind.get(unit.output);
          ids.set(one?.output ?? unit.output, next ? add(next, made) : made);
        }
        if (!features.length) return ids.get(to)!;
        const vectors = [...features, to].map((name) => {
          const scale = new Affine({ shape: [1], bias: false, fixed: true });
          scales.push(scale);
          return add(scale, add(new Flatten(), ids.get(name)!));
        });
        return add(new Concat(), vectors);
      },
      { inputShape: sample },
    );
    const made = built.flatMap(({ unit, of }) => (of instanceof Join || !unit.places.length ? [] : [{ unit, of }]));
    return new StretchNetwork(network, model, made, scales);
  }

  /** Multiplies the features, and the end behind them, by these numbers. */
  weigh(scales: readonly number[]): void {
    for (const [at, { weight }] of this.scales.entries()) weight!.value.write(Float32Array.of(scales[at]!));
  }

  /** The model with the network's present weights in their places. */
  async written(): Promise<OnnxModel> {
    const changed = new Map<TensorProto, TensorProto>();
    for (const { unit, of } of this.made)
      for (const { parameter, tensor, toFile } of unit.places) {
        const values = await of.parameters.find(({ name }) => name === parameter)!.read();
        const { name, dataType } = tensor;
        const extents = extentsOf(this.model.file, tensor);
        changed.set(tensor, tensorFrom(`tune (${nameOf(unit.nodes[0]!)})`, name, dataType, extents, toFile(values)));
      }
    return withTensors(this.model, changed);
  }

  destroy(): void {
    this.network.destroy();
  }
}
