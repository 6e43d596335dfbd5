import {
  checkOptions,
  dispose,
  type Engine,
  formatShape,
  isList,
  type OptionRules,
  optionRules,
  required,
  type Scheduler,
  ShapeError,
  shown,
  TenfoldError,
  type Tensor,
} from "../gpu/index.js";
import { Graph, type Node } from "./graph.js";
import { Join } from "./join.js";
import {
  type Arena,
  allocateParameters,
  type BackwardOptions,
  type Counts,
  type Layer,
  type Parameter,
  type Pass,
} from "./layer.js";
import { assertEngine } from "./layerRules.js";
import { Dropout } from "./layers.js";

/** The name by which places read the network's samples. */
const INPUT = "input";

/** A layer or a join of a network, and what it reads. */
export interface Place {
  /** names the place, its output and its parameters */
  readonly id: string;
  readonly of: Layer | Join;
  /** the places whose outputs it reads, or `input` for the samples: one for a layer, several for a join */
  readonly from: readonly string[];
}

/** A place as it is told to a network. A layer alone reads the place before it, and so does a place without `from`. */
export type PlaceOptions =
  | Layer
  | {
      /** its number by default: "0", "1", … */
      id?: string;
      of: Layer | Join;
      from?: string | readonly string[];
    };

/**
 * Adds a place to a network that is being described, and returns its id.
 *
 * @param from the ids of the places that it reads
 * @param id its number by default
 */
export type AddPlace = (of: Layer | Join, from: string | readonly string[], id?: string) => string;

export interface NetworkOptions {
  /** shape of one sample, without the batch */
  inputShape: readonly number[];
  /** seed of the start values, 0 by default */
  seed?: number;
  /** the place whose output is the network's; the last one by default */
  output?: string;
}

const networkRules: OptionRules<NetworkOptions> = {
  inputShape: required(optionRules.shape),
  seed: optionRules.count,
  output: optionRules.text,
};

/** The layers in order, with the layers of a chain in place of the chain. */
export function flatLayers(layers: readonly Layer[]): Layer[] {
  return layers.flatMap((layer) => (layer instanceof Graph ? flatLayers(layer.inner) : [layer]));
}

/** @throws TenfoldError unless a value is a layer */
export function assertLayer(what: string, layer: unknown): void {
  const methods = ["forward", "backward", "outputShape", "counts"] as const;
  if (methods.every((name) => typeof (layer as Partial<Layer> | undefined)?.[name] === "function")) return;
  const advice = typeof layer === "function" ? `; new ${layer.name || "Layer"}(…) makes one` : "";
  throw new TenfoldError(`${what} is ${shown(layer)}, needs a layer${advice}`);
}

/** A network's layers and joins, by the ids of their places. */
class NetworkGraph extends Graph {
  constructor(
    readonly ids: readonly string[],
    nodes: readonly Node[],
    output: number,
  ) {
    super("Network", nodes, output);
  }

  protected override place(at: number): string {
    return `place ${JSON.stringify(this.ids[at])}`;
  }
}

function placesOf(described: readonly PlaceOptions[] | ((add: AddPlace, input: string) => string)): {
  places: Place[];
  output: string | undefined;
} {
  const operation = "Network.create";
  const places: Place[] = [];
  const known = new Set([INPUT]);
  const add: AddPlace = (of, from, id = String(places.length)) => {
    const what = `${operation}: place ${JSON.stringify(id)}`;
    if (typeof id !== "string" || id === "") throw new TenfoldError(`${what}: its id needs to be a string`);
    if (known.has(id)) throw new TenfoldError(`${what}: there is such a place already; ids are needed once each`);
    if (!(of instanceof Join)) assertLayer(what, of);
    const sources = typeof from === "string" ? [from] : from;
    if (!isList(sources) || sources.length === 0)
      throw new TenfoldError(`${what}: reads ${shown(from)}, needs the id of a place, or a list of them`);
    for (const source of sources)
      if (!known.has(source))
        throw new TenfoldError(
          `${what} reads ${shown(source)}, which is no place before it; there are ${[...known].join(", ")}`,
        );
    if (!(of instanceof Join) && sources.length !== 1)
      throw new TenfoldError(
        `${what} (${of.name}) reads ${sources.length} places, a layer reads one; Add, Multiply or Concat join several`,
      );
    known.add(id);
    places.push({ id, of, from: [...sources] });
    return id;
  };
  if (typeof described === "function") return { output: described(add, INPUT), places };
  if (!isList(described))
    throw new TenfoldError(`${operation}: places are ${shown(described)}, needs a list of them, or a function`);
  for (const entry of described) {
    const before = places.at(-1)?.id ?? INPUT;
    if (typeof entry === "object" && entry !== null && "of" in entry) add(entry.of, entry.from ?? before, entry.id);
    else add(entry as Layer, before);
  }
  return { places, output: undefined };
}

/** A graph of places. @throws TenfoldError where a place is not used */
function graphOf(places: readonly Place[], output = places.at(-1)?.id ?? INPUT): NetworkGraph {
  const values = new Map([INPUT, ...places.map(({ id }) => id)].map((id, value) => [id, value]));
  if (!values.has(output))
    throw new TenfoldError(
      `Network.create: the output is ${shown(output)}, needs a place; there are ${[...values.keys()].join(", ")}`,
    );
  const used = new Set([output, ...places.flatMap(({ from }) => from)]);
  for (const { id, of } of places)
    if (!used.has(id))
      throw new TenfoldError(
        `Network.create: no place reads ${JSON.stringify(id)} (${of.name}), and it is not the output; leave it out`,
      );
  const nodes = places.map(({ of, from }) => ({ of, from: from.map((id) => values.get(id)!) }));
  return new NetworkGraph(
    places.map(({ id }) => id),
    nodes,
    values.get(output)!,
  );
}

/**
 * Checks a graph against samples, numbers its dropouts, allocates its parameters and initialises them.
 *
 * @throws ShapeError naming the layer that does not fit, TenfoldError where a layer stands at two places
 */
export async function started(
  operation: string,
  engine: Engine,
  graph: Graph,
  { inputShape, seed = 0 }: { inputShape: readonly number[]; seed?: number },
): Promise<Arena> {
  graph.outputShape(inputShape);
  const all = flatLayers(graph.inner);
  const seen = new Set<unknown>();
  for (const part of [...all, ...graph.nodes.map(({ of }) => of).filter((of) => of instanceof Join)]) {
    if (seen.has(part))
      throw new TenfoldError(
        `${operation}: one ${part.name} stands at two places, needs a layer for each: it keeps what its backward pass needs`,
      );
    seen.add(part);
  }
  all.forEach((layer, index) => {
    if (layer instanceof Dropout) layer.stream = index;
  });
  return allocateParameters(engine, graph.parameters, seed, graph.state);
}

/**
 * A network: layers and joins, each of which reads the samples or the outputs of places before it, with the values of all
 * parameters in one tensor and the gradients in another. `Sequential` is one whose layers stand in a row.
 */
export class Network {
  /** layers and joins in the order in which they are computed */
  readonly places: readonly Place[];
  /** the layers among them, in order */
  readonly layers: readonly Layer[];

  protected constructor(
    readonly engine: Engine,
    /** @internal */
    readonly graph: Graph,
    ids: readonly string[],
    /** shape of one sample */
    readonly inputShape: readonly number[],
    private readonly arena: Arena,
  ) {
    const values = [INPUT, ...ids];
    this.places = graph.nodes.map(({ of, from }, at) => ({
      id: ids[at]!,
      of,
      from: from.map((value) => values[value]!),
    }));
    this.layers = graph.inner;
  }

  /**
   * Checks that the places fit each other and the samples, allocates their parameters, and initialises these from `seed`.
   *
   * @param places a list of places, where a layer alone reads the place before it; or a function that adds places one by one
   * and returns the id of the output
   * @throws ShapeError naming the place that does not fit, TenfoldError where an argument is unfit
   */
  static async create(
    engine: Engine,
    places: readonly PlaceOptions[] | ((add: AddPlace, input: string) => string),
    options: NetworkOptions,
  ): Promise<Network> {
    assertEngine("Network.create", engine);
    checkOptions("Network.create", options, networkRules);
    const described = placesOf(places);
    const graph = graphOf(described.places, options.output ?? described.output);
    const arena = await started("Network.create", engine, graph, options);
    return new Network(engine, graph, graph.ids, options.inputShape, arena);
  }

  /** The place whose output is the network's; `input` where there are no places. */
  get output(): string {
    return this.graph.output === 0 ? INPUT : this.places[this.graph.output - 1]!.id;
  }

  get parameters(): readonly Parameter[] {
    return this.graph.parameters;
  }

  /** All parameters in one tensor, with gaps that stay 0. */
  get weights(): Tensor {
    return this.arena.values;
  }

  /** The gradients of all parameters in one tensor, laid out as `weights`. */
  get gradients(): Tensor {
    return this.arena.gradients;
  }

  /** Shape of one sample's output. */
  get outputShape(): number[] {
    return this.graph.outputShape(this.inputShape);
  }

  /** Shapes for one sample: of the sample, then of the output of every place. */
  shapes(): number[][] {
    return this.graph.shapes(this.inputShape);
  }

  /** Elements of a sample's largest activation, its input not counted. */
  get widest(): number {
    const sizes = this.shapes().map((shape) => shape.reduce((a, b) => a * b, 1));
    return Math.max(1, ...sizes.slice(1));
  }

  /** Stored numbers of every place, and its multiplications for one sample. */
  counts(): (Counts & { name: string })[] {
    return this.graph.layerCounts(this.inputShape);
  }

  /** Number of values that training changes, biases included. */
  get parameterCount(): number {
    const { weights, biases } = this.graph.counts(this.inputShape);
    return weights + biases;
  }

  /**
   * Records the network on `x`, batch×sample shape, and returns the outputs. Outside training an activation is freed once the
   * last place that reads it has used it.
   *
   * @throws ShapeError where the samples have another shape
   */
  forward(s: Scheduler, x: Tensor, pass: Pass = { training: false }): Tensor {
    if (formatShape(x.shape.slice(1)) !== formatShape(this.inputShape))
      throw new ShapeError(`${this.graph.name}: ${x}, expected samples of shape ${formatShape(this.inputShape)}`);
    return this.graph.forward(s, x, pass);
  }

  /**
   * Records the gradients of all parameters, from the gradient `dy` of the outputs. An output that several places read gets the
   * sum of their gradients. Frees the activations of the forward pass, and `dy`.
   *
   * @param options.weightGradients false where only the gradient of the inputs is wanted: those of the parameters are not defined then
   * @returns the gradient of the inputs; null unless `inputGradient` is true
   */
  backward(s: Scheduler, dy: Tensor, options: Partial<BackwardOptions> = {}): Tensor | null {
    return this.graph.backward(s, dy, { inputGradient: false, ...options, frees: true });
  }

  /** Frees the parameters and their gradients. */
  destroy(): void {
    this.arena.destroy();
  }

  [dispose](): void {
    this.destroy();
  }
}
