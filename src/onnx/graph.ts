/** What a graph's names stand for: constants, who makes a value, how often one is used. */
import type { OnnxModel } from "./model.js";
import { constantOf, type GraphProto, type NodeProto, subgraphsOf, type TensorProto } from "./proto.js";

/** A weight: the tensor, and the nodes that stand between it and its user. */
export interface Weight {
  tensor: TensorProto;
  /** `Constant` and `Identity` nodes through which the name leads to the tensor */
  via: readonly NodeProto[];
  /** true where the tensor is an input of the graph too, so that callers may hand in another */
  overridable: boolean;
}

/** The nodes of a graph and of all graphs inside it, with the kinds of the nodes that these graphs belong to. */
export function* everyNode(
  graph: GraphProto,
  inside: readonly string[] = [],
): Generator<[NodeProto, readonly string[]]> {
  for (const node of graph.node) {
    yield [node, inside];
    for (const inner of subgraphsOf(node)) yield* everyNode(inner, [...inside, node.opType]);
  }
}

/** Domains of ONNX's own operators. */
export const isStandard = ({ domain }: NodeProto): boolean => domain === "" || domain === "ai.onnx";

export class GraphFacts {
  /** the nodes of the main graph by the values that they make */
  readonly producers = new Map<string, NodeProto>();
  /** the nodes of the main graph that use a value, once for each use */
  readonly users = new Map<string, NodeProto[]>();
  /** How often a name is used: by nodes of all graphs, as output of any graph, in training. Names of inner graphs count for outer ones. */
  readonly uses = new Map<string, number>();
  /** all names of values, in all graphs */
  readonly names = new Set<string>();
  readonly initializers = new Map<string, TensorProto>();
  private readonly inputs: ReadonlySet<string>;

  constructor(readonly model: OnnxModel) {
    const { graph } = model;
    const use = (name: string): void => {
      if (name) this.uses.set(name, (this.uses.get(name) ?? 0) + 1);
    };
    const visit = (one: GraphProto): void => {
      for (const { name } of one.output) use(name);
      for (const { name } of [...one.input, ...one.initializer]) this.names.add(name);
      for (const { values } of one.sparseInitializer) if (values) this.names.add(values.name);
      for (const node of one.node) {
        for (const name of node.output) this.names.add(name);
        for (const name of node.input) use(name);
        for (const inner of subgraphsOf(node)) visit(inner);
      }
    };
    visit(graph);
    // a training algorithm reads and updates weights by their names
    for (const { initialization, algorithm, initializationBinding, updateBinding } of model.proto.trainingInfo) {
      for (const one of [initialization, algorithm]) if (one) visit(one);
      for (const { key, value } of [...initializationBinding, ...updateBinding])
        for (const name of [key, value]) use(name);
    }
    for (const tensor of graph.initializer) this.initializers.set(tensor.name, tensor);
    for (const node of graph.node) {
      for (const name of node.output) if (name) this.producers.set(name, node);
      for (const name of node.input) {
        if (!name) continue;
        const users = this.users.get(name);
        if (users) users.push(node);
        else this.users.set(name, [node]);
      }
    }
    this.inputs = new Set(graph.input.map(({ name }) => name));
  }

  /** The weight behind a name; null where it is no constant. */
  weight(name: string | undefined): Weight | null {
    const via: NodeProto[] = [];
    for (let at = name; at; ) {
      const tensor = this.initializers.get(at);
      if (tensor) return { tensor, via, overridable: this.inputs.has(at) };
      const node = this.producers.get(at);
      if (!node || !isStandard(node) || via.includes(node)) return null;
      via.push(node);
      if (node.opType === "Constant") {
        const constant = constantOf(node);
        return constant && { tensor: constant, via, overridable: false };
      }
      if (node.opType !== "Identity") return null;
      at = node.input[0];
    }
    return null;
  }

  /** The node that makes a value, looking through `Identity`. */
  producer(name: string): NodeProto | undefined {
    const seen = new Set<string>();
    for (let at = name; !seen.has(at); ) {
      seen.add(at);
      const node = this.producers.get(at);
      if (node?.opType !== "Identity" || !isStandard(node)) return node;
      at = node.input[0]!;
    }
    return undefined;
  }

  /** The only node that uses a value; null where there are more or none, or an inner graph or the caller uses it too. */
  onlyUser(name: string): NodeProto | null {
    return this.uses.get(name) === 1 ? (this.users.get(name)?.[0] ?? null) : null;
  }
}
