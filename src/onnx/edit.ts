import { TenfoldError } from "../errors.js";
import { GraphFacts } from "./graph.js";
import { OnnxModel } from "./model.js";
import {
  copyOf,
  type GraphProto,
  type ModelProto,
  makeDimension,
  makeEntry,
  makeValueInfo,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from "./proto.js";

/** Changes to the main graph of a model. The model itself stays; `finish` gives another one. */
export class GraphEdit {
  readonly facts: GraphFacts;
  private readonly names: Set<string>;
  /** what stands in a node's place; an empty list where it goes */
  private readonly replaced = new Map<NodeProto, NodeProto[]>();
  private readonly tensors: TensorProto[] = [];
  private readonly infos: ValueInfoProto[] = [];
  /** how many uses of a name have gone, and how many are new */
  private readonly change = new Map<string, number>();

  constructor(private readonly model: OnnxModel) {
    this.facts = new GraphFacts(model);
    this.names = new Set([
      ...this.facts.names,
      ...this.facts.uses.keys(),
      ...model.graph.node.map(({ name }) => name),
      ...model.graph.valueInfo.map(({ name }) => name),
    ]);
  }

  /** A name that nothing in the model has yet: `wanted`, or with a number behind it. */
  unique(wanted: string): string {
    let name = wanted;
    for (let count = 2; this.names.has(name); count++) name = `${wanted}_${count}`;
    this.names.add(name);
    return name;
  }

  /** Puts nodes in the place of one. */
  replace(node: NodeProto, nodes: NodeProto[]): void {
    this.replaced.set(node, nodes);
    for (const name of node.input) this.count(name, -1);
    for (const one of nodes) for (const name of one.input) this.count(name, 1);
  }

  add(tensor: TensorProto): string {
    this.tensors.push(tensor);
    return tensor.name;
  }

  /** Declares a new value. */
  declare(info: ValueInfoProto): void {
    this.infos.push(info);
  }

  private count(name: string, by: number): void {
    if (name) this.change.set(name, (this.change.get(name) ?? 0) + by);
  }

  /** The changed model. Weights that only replaced nodes used are gone, and so are `Constant` and `Identity` nodes before them. */
  finish(note?: { key: string; text: string }): OnnxModel {
    const { graph, proto } = this.model;
    const gone = this.unused();
    const node = graph.node.flatMap((one) => this.replaced.get(one) ?? (gone.nodes.has(one) ? [] : [one]));
    const made = new Set(node.flatMap(({ output }) => output));
    const lost = new Set(
      [...this.replaced.keys(), ...gone.nodes].flatMap(({ output }) => output).filter((name) => !made.has(name)),
    );
    const keeps = ({ name }: { name: string }): boolean => !gone.tensors.has(name);
    // before version 4 of the format every initializer is listed as an input
    const listed = proto.irVersion < 4n ? this.tensors.map((tensor) => inputOf(tensor)) : [];
    const changed: GraphProto = copyOf(graph, {
      node,
      initializer: [...graph.initializer.filter(keeps), ...this.tensors],
      input: [...graph.input.filter(keeps), ...listed],
      quantizationAnnotation: graph.quantizationAnnotation.filter(
        ({ tensorName }) => !lost.has(tensorName) && !gone.tensors.has(tensorName),
      ),
      valueInfo: [...graph.valueInfo.filter((info) => !lost.has(info.name) && keeps(info)), ...this.infos],
    });
    const metadataProps = note ? withNote(proto, note) : proto.metadataProps;
    const { file, external } = this.model;
    return new OnnxModel(file, copyOf(proto, { graph: changed, metadataProps }), external, null);
  }

  /** What nothing uses any more, and something used before. */
  private unused(): { nodes: Set<NodeProto>; tensors: Set<string> } {
    const nodes = new Set<NodeProto>();
    const tensors = new Set<string>();
    const queue = [...this.change.keys()];
    for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
      const left = (this.facts.uses.get(name) ?? 0) + (this.change.get(name) ?? 0);
      if (left > 0) continue;
      if (this.facts.initializers.has(name)) tensors.add(name);
      const maker = this.facts.producers.get(name);
      const passes = maker && (maker.opType === "Constant" || maker.opType === "Identity");
      if (!passes || this.replaced.has(maker) || nodes.has(maker)) continue;
      nodes.add(maker);
      for (const input of maker.input) {
        this.count(input, -1);
        queue.push(input);
      }
    }
    return { nodes, tensors };
  }
}

const inputOf = (tensor: TensorProto): ValueInfoProto =>
  makeValueInfo(
    tensor.name,
    tensor.dataType,
    tensor.dims.map((extent) => makeDimension(Number(extent))),
  );

/**
 * The model with other tensors in place of some: of initializers, and of the values of `Constant` nodes in the main graph.
 *
 * @throws TenfoldError where a tensor is at neither place
 */
export function withTensors(model: OnnxModel, changed: ReadonlyMap<TensorProto, TensorProto>): OnnxModel {
  const { graph, proto, file, external } = model;
  const found = new Set<TensorProto>();
  const other = (tensor: TensorProto): TensorProto => {
    const now = changed.get(tensor);
    if (now) found.add(tensor);
    return now ?? tensor;
  };
  const node = graph.node.map((one) =>
    one.opType === "Constant" && one.attribute.some(({ t }) => t && changed.has(t))
      ? copyOf(one, {
          attribute: one.attribute.map((value) => (value.t ? copyOf(value, { t: other(value.t) }) : value)),
        })
      : one,
  );
  const initializer = graph.initializer.map(other);
  for (const { name } of [...changed.keys()].filter((tensor) => !found.has(tensor)))
    throw new TenfoldError(`withTensors: tensor ${JSON.stringify(name)} is no initializer and no constant of ${file}`);
  return new OnnxModel(file, copyOf(proto, { graph: copyOf(graph, { node, initializer }) }), external, null);
}

/** The notes of a model, with a line more under a key. */
function withNote({ metadataProps }: ModelProto, { key, text }: { key: string; text: string }) {
  const before = metadataProps.find((entry) => entry.key === key);
  const value = before ? `${before.value}\n${text}` : text;
  return [...metadataProps.filter((entry) => entry !== before), makeEntry(key, value)];
}
