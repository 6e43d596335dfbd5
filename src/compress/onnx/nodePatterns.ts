/** Several nodes that spell out one layer, as exporters to old operator sets write it. */
import { type GraphFacts, isStandard, type Weight } from "../../onnx/graph.js";
import { intOf, intsOf, type NodeProto } from "../../onnx/proto.js";
import { integersOf, smallFloatsOf } from "../../onnx/tensors.js";

/** A layer that is spelled out. */
export interface SpelledLayer {
  kind: "LayerNormalization" | "Gelu" | "GeluTanh";
  /** the last one makes the output */
  nodes: readonly NodeProto[];
  input: string;
  /** of a normalisation: the modes of the input, from 0 or, if negative, from behind */
  axes: readonly number[];
  epsilon: number;
  weight: Weight | null;
  bias: Weight | null;
}

/** The other operand of a node of two, and which of its inputs that is; null where the node is no such one. */
function otherOf(node: NodeProto | null | undefined, op: string, value: string): { name: string; at: 0 | 1 } | null {
  if (node?.opType !== op || !isStandard(node) || node.input.length !== 2) return null;
  const at = node.input[0] === value ? 1 : 0;
  return node.input[1 - at] === value ? { name: node.input[at]!, at } : null;
}

/** The number that a name stands for; null where that is no constant of one entry. */
export function numberOf(facts: GraphFacts, name: string | undefined): number | null {
  const tensor = facts.weight(name)?.tensor;
  const values = tensor && (smallFloatsOf(tensor) ?? integersOf(tensor));
  return values?.length === 1 ? values[0]! : null;
}

const isNear = (value: number | null, other: number): boolean => value !== null && Math.abs(value - other) < 1e-6;

/** The modes over which a ReduceMean with extents of 1 left takes means; null for other nodes. */
function meanAxes(facts: GraphFacts, node: NodeProto | null): readonly number[] | null {
  if (node?.opType !== "ReduceMean" || !isStandard(node) || intOf(node, "keepdims", 1) !== 1) return null;
  const listed = facts.weight(node.input[1])?.tensor;
  return intsOf(node, "axes") ?? (listed ? integersOf(listed) : null);
}

/** x − mean, ÷ √(mean of its squares + ε), times a weight, plus a bias, where `first` takes the mean of x. */
function layerNormAfter(facts: GraphFacts, first: NodeProto): SpelledLayer | null {
  const axes = meanAxes(facts, first);
  const [input, mean] = [first.input[0]!, first.output[0]!];
  if (!axes) return null;
  // some exporters subtract twice: once to square, and once to divide
  const subtractions = facts.users.get(mean) ?? [];
  const areAll = subtractions.length === facts.uses.get(mean);
  const fits = ({ opType, input: [a, b] }: NodeProto): boolean => opType === "Sub" && a === input && b === mean;
  if (!areAll || subtractions.length > 2 || !subtractions.every(fits)) return null;
  const differences = subtractions.map(({ output }) => output[0]!);
  const users = new Set(differences.flatMap((name) => facts.users.get(name) ?? []));
  const square = [...users].find(({ opType }) => opType === "Pow" || opType === "Mul");
  const division = [...users].find(({ opType }) => opType === "Div");
  const reads = differences.reduce((sum, name) => sum + facts.uses.get(name)!, 0);
  if (!square || !division || users.size !== 2) return null;
  const isSquare =
    square.opType === "Pow" ? numberOf(facts, square.input[1]) === 2 : square.input[0] === square.input[1];
  if (!isSquare || reads !== (square.opType === "Pow" ? 2 : 3)) return null;
  const second = facts.onlyUser(square.output[0]!);
  if (meanAxes(facts, second)?.join() !== axes.join()) return null;
  const shift = facts.onlyUser(second!.output[0]!);
  const epsilon = numberOf(facts, otherOf(shift, "Add", second!.output[0]!)?.name);
  const root = shift && facts.onlyUser(shift.output[0]!);
  if (epsilon === null || root?.opType !== "Sqrt" || facts.onlyUser(root.output[0]!) !== division) return null;
  if (division.input[1] !== root.output[0]) return null;
  const times = facts.onlyUser(division.output[0]!);
  const weight = facts.weight(otherOf(times, "Mul", division.output[0]!)?.name);
  if (!times || !weight) return null;
  const plus = facts.onlyUser(times.output[0]!);
  const bias = facts.weight(otherOf(plus, "Add", times.output[0]!)?.name);
  const nodes = [first, ...subtractions, square, second!, shift!, root, division, times, ...(bias ? [plus!] : [])];
  return { kind: "LayerNormalization", nodes, input, axes, epsilon, weight, bias };
}

/** x·½·(1 + erf(x ÷ √2)), with the factors in any order, around a node Erf. */
function geluAround(facts: GraphFacts, erf: NodeProto): SpelledLayer | null {
  const scaling = facts.producers.get(erf.input[0]!);
  if (!scaling || facts.onlyUser(erf.input[0]!) !== erf) return null;
  const input = scaling.input.find((name) => !facts.weight(name));
  const factor = input === undefined ? null : numberOf(facts, otherOf(scaling, scaling.opType, input)?.name);
  const isScaled =
    (scaling.opType === "Div" && scaling.input[0] === input && isNear(factor, Math.SQRT2)) ||
    (scaling.opType === "Mul" && isNear(factor, Math.SQRT1_2));
  const rest = input && isScaled ? gated(facts, erf, input) : null;
  return rest && { kind: "Gelu", nodes: [scaling, erf, ...rest], input: input!, ...UNWEIGHTED };
}

const UNWEIGHTED = { axes: [], epsilon: 0, weight: null, bias: null };

/** The nodes that make ½·x·(1 + f) of what a node f makes of x, with the factors in any order; null where there are none. */
function gated(facts: GraphFacts, core: NodeProto, input: string): NodeProto[] | null {
  const plus = facts.onlyUser(core.output[0]!);
  if (!isNear(numberOf(facts, otherOf(plus, "Add", core.output[0]!)?.name), 1)) return null;
  const nodes = [plus!];
  const missing = new Set(["half", "input"]);
  while (missing.size) {
    const before = nodes.at(-1)!.output[0]!;
    const next = facts.onlyUser(before);
    const other = otherOf(next, "Mul", before)?.name;
    if (other === undefined) return null;
    const halving = facts.producers.get(other);
    if (isNear(numberOf(facts, other), 0.5) && missing.delete("half")) nodes.push(next!);
    else if (other === input && missing.delete("input")) nodes.push(next!);
    else if (
      missing.size === 2 &&
      facts.onlyUser(other) === next &&
      isNear(numberOf(facts, otherOf(halving, "Mul", input)?.name), 0.5)
    ) {
      missing.clear();
      nodes.push(halving!, next!);
    } else return null;
  }
  return nodes;
}

/** Where a spelled-out function of one number is compared with the one that it may be. */
const POINTS = [-3, -0.7, 0.4, 1.1, 2.5];
/** arithmetic of numbers, by the operator */
const ARITHMETIC: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Pow: (a, b) => a ** b,
};

/** ½·x·(1 + tanh(√(2 ÷ π)·(x + 0.044715·x³))) around a node Tanh, whose argument may be spelled out in any way. */
function geluTanhAround(facts: GraphFacts, tanh: NodeProto): SpelledLayer | null {
  // what the argument follows from by arithmetic: one of these values is x
  const cone = new Set([tanh.input[0]!]);
  for (const name of cone) {
    const maker = facts.producers.get(name);
    if (cone.size > 16) return null;
    for (const other of maker && ARITHMETIC[maker.opType] && isStandard(maker) ? maker.input : [])
      if (!facts.weight(other)) cone.add(other);
  }
  for (const input of cone) {
    const nodes = new Set<NodeProto>();
    const valueAt = (name: string, x: number): number => {
      if (name === input) return x;
      const maker = facts.producers.get(name);
      const operation = maker && isStandard(maker) ? ARITHMETIC[maker.opType] : undefined;
      if (!operation) return numberOf(facts, name) ?? Number.NaN;
      nodes.add(maker!);
      const [a, b] = maker!.input.map((one) => valueAt(one, x)) as [number, number];
      return operation(a, b);
    };
    const isArgument = POINTS.every((x) => {
      const wanted = Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);
      return Math.abs(valueAt(tanh.input[0]!, x) - wanted) < 1e-5 * (1 + Math.abs(wanted));
    });
    const inside = [...nodes, tanh];
    const reads = inside.flatMap((node) => node.input);
    const isClosed = [...nodes].every(
      ({ output: [name] }) => facts.uses.get(name!) === reads.filter((read) => read === name).length,
    );
    const rest = isArgument && isClosed ? gated(facts, tanh, input) : null;
    if (rest) return { kind: "GeluTanh", nodes: [...inside, ...rest], input, ...UNWEIGHTED };
  }
  return null;
}

/** The layers that nodes of a graph spell out. */
export function spelledLayers(facts: GraphFacts): SpelledLayer[] {
  return facts.model.graph.node.flatMap((node) => {
    const layer =
      node.opType === "ReduceMean"
        ? layerNormAfter(facts, node)
        : node.opType === "Erf"
          ? geluAround(facts, node)
          : node.opType === "Tanh"
            ? geluTanhAround(facts, node)
            : null;
    return layer ?? [];
  });
}
