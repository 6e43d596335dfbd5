import { formatShape, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { accumulate, fill } from "../ops/index.js";
import { Join } from "./join.js";
import type { BackwardOptions, Counts, Layer, Parameter, Pass } from "./layer.js";

/**
 * Releases the schedule's temporaries among these tensors. Several tensors may view the same temporary: it is released once.
 *
 * @param keep tensors whose temporaries stay
 */
export function releaseTemporaries(
  s: Scheduler,
  tensors: readonly (Tensor | null | undefined)[],
  keep: readonly (Tensor | null | undefined)[] = [],
): void {
  const keptStorages = new Set(keep.map((tensor) => tensor?.storage));
  for (const tensor of tensors) {
    if (tensor && tensor.storage.owner === "schedule" && tensor.storage.alive && !keptStorages.has(tensor.storage))
      s.release(tensor);
  }
}

/**
 * A layer or a join of a graph, and the values that it reads. Value 0 is the graph's input, value k + 1 the output of node k.
 * A layer reads one value; every value is of an earlier node.
 */
export interface Node {
  readonly of: Layer | Join;
  readonly from: readonly number[];
}

/** Layers and joins in an order in which all can be computed, as one layer. A chain is one, and every network has one. */
export class Graph implements Layer {
  /** the input and the output of every node, of the training pass recorded last */
  #values: Tensor[] = [];
  /** @internal by value: the last node that reads it; the graph's input and output outlive all nodes */
  readonly lastReader: readonly number[];

  /** @param output the value that the graph gives; that of the last node by default */
  constructor(
    readonly name: string,
    readonly nodes: readonly Node[],
    readonly output: number = nodes.length,
  ) {
    const last = new Array<number>(nodes.length + 1).fill(-1);
    for (const [at, { from }] of nodes.entries()) for (const value of from) last[value] = at;
    last[0] = last[output] = Number.POSITIVE_INFINITY;
    this.lastReader = last;
  }

  /** How errors call a node. */
  protected place(at: number): string {
    return `layer ${at}`;
  }

  /** Whether these are layers one after the other. */
  get isRow(): boolean {
    const { nodes, output } = this;
    return output === nodes.length && nodes.every(({ of, from }, at) => !(of instanceof Join) && from[0] === at);
  }

  /** The layers among the nodes, in order. */
  get inner(): readonly Layer[] {
    return this.nodes.flatMap(({ of }) => (of instanceof Join ? [] : [of]));
  }

  get parameters(): readonly Parameter[] {
    return this.inner.flatMap((layer) => layer.parameters);
  }

  get state(): readonly Parameter[] {
    return this.inner.flatMap((layer) => layer.state ?? []);
  }

  /** @throws ShapeError naming the layer that does not fit */
  outputShape(input: readonly number[]): number[] {
    return this.shapes(input)[this.output]!;
  }

  /**
   * One sample's shape of every value: of the input, then of the output of every node.
   *
   * @throws ShapeError naming the layer that does not fit
   */
  shapes(input: readonly number[]): number[][] {
    const shapes = [[...input]];
    for (const [at, { of, from }] of this.nodes.entries()) {
      try {
        const before = from.map((value) => shapes[value]!);
        const after = of instanceof Join ? of.outputShape(before) : of.outputShape(before[0]!);
        if (!after.every((extent) => Number.isSafeInteger(extent) && extent >= 1))
          throw new ShapeError(
            `${of.name}: samples of shape ${before.map(formatShape).join(" and ")} would become ${formatShape(after)}, every extent must be a positive whole number; change the options of this layer or of a layer before it`,
          );
        shapes.push(after);
      } catch (error) {
        throw new ShapeError(`${this.name}: ${this.place(at)}: ${(error as Error).message}`);
      }
    }
    return shapes;
  }

  /** Outside training, a value is freed after the last node that reads it. */
  forward(s: Scheduler, x: Tensor, pass: Pass): Tensor {
    const values = [x];
    for (const [at, { of, from }] of this.nodes.entries()) {
      const inputs = from.map((value) => values[value]!);
      values.push(
        s.group(`${at} ${of.name}`, () =>
          of instanceof Join ? of.forward(s, inputs, pass) : of.forward(s, inputs[0]!, pass),
        ),
      );
      if (pass.training) continue;
      const isLive = (_: Tensor, value: number): boolean => value === at + 1 || this.lastReader[value]! > at;
      releaseTemporaries(s, inputs, values.filter(isLive));
    }
    if (pass.training) this.#values = values;
    return values[this.output]!;
  }

  /**
   * Records the nodes behind one node, on values that are known, with another output of that node.
   *
   * @param values the input and the output of every node, which stay
   * @returns the graph's output: the known one where it does not depend on the node
   */
  resume(s: Scheduler, values: readonly Tensor[], node: number, output: Tensor): Tensor {
    const pass = { training: false };
    const changed = new Map([[node + 1, output]]);
    for (let at = node + 1; at < this.nodes.length; at++) {
      const { of, from } = this.nodes[at]!;
      if (!from.some((value) => changed.has(value))) continue;
      const inputs = from.map((value) => changed.get(value) ?? values[value]!);
      changed.set(at + 1, of instanceof Join ? of.forward(s, inputs, pass) : of.forward(s, inputs[0]!, pass));
      const isLive = (value: number): boolean => value === at + 1 || value === node + 1 || this.lastReader[value]! > at;
      releaseTemporaries(
        s,
        inputs,
        [...changed].filter(([value]) => isLive(value)).map(([, tensor]) => tensor),
      );
    }
    return changed.get(this.output) ?? values[this.output]!;
  }

  /**
   * Writes the gradients of all parameters, where they are wanted. A value that several nodes read gets the sum of their gradients. Frees
   * what the forward pass kept, but neither its output nor `dy`: those are the caller's.
   *
   * @param options.frees whether the output and `dy` are freed too
   */
  backward(
    s: Scheduler,
    dy: Tensor,
    { inputGradient, weightGradients, frees = false }: BackwardOptions & { frees?: boolean },
  ): Tensor | null {
    const values = this.#values;
    this.#values = [];
    const callers = frees ? [values[0]] : [values[0], values[this.output], dy];
    // a value needs a gradient where something before it does
    const isWanted = [inputGradient];
    for (const { of, from } of this.nodes)
      isWanted.push((!(of instanceof Join) && of.parameters.length > 0) || from.some((value) => isWanted[value]));
    const gradients: (Tensor | null)[] = new Array(values.length).fill(null);
    gradients[this.output] = dy;
    for (let at = this.nodes.length - 1; at >= 0; at--) {
      const { of, from } = this.nodes[at]!;
      const gradient = gradients[at + 1]!;
      const before = values.slice(0, at + 1);
      const done: (Tensor | null)[] = [gradient, values[at + 1]!];
      if (gradient && isWanted[at + 1]) {
        const wanted = from.map((value) => isWanted[value]!);
        const changes = s.group(`${at} ${of.name} backward`, () =>
          of instanceof Join
            ? of.backward(s, gradient, wanted)
            : [of.backward(s, gradient, { inputGradient: wanted[0]!, weightGradients })],
        );
        gradients[at + 1] = null;
        for (const [which, value] of from.entries()) {
          const change = changes[which] ?? null;
          done.push(change);
          if (!change || !wanted[which]) continue;
          const others = [...changes.slice(which + 1), ...gradients.filter((_, other) => other !== value)];
          const sum = addUp(s, gradients[value]!, change, [...callers, ...before, ...others]);
          done.push(gradients[value]!);
          gradients[value] = sum;
        }
      }
      gradients[at + 1] = null;
      releaseTemporaries(s, done, [...callers, ...before, ...gradients]);
    }
    const inputs = inputGradient ? gradients[0]! : null;
    releaseTemporaries(s, [...values, dy], [...callers, inputs]);
    return inputs;
  }

  /** The sums over all nodes, for a sample of this shape. */
  counts(input: readonly number[]): Counts {
    const total = { weights: 0, biases: 0, multiplications: 0 };
    for (const { weights, biases, multiplications } of this.layerCounts(input)) {
      total.weights += weights;
      total.biases += biases;
      total.multiplications += multiplications;
    }
    return total;
  }

  /** The counts of every node, for a sample of this shape. */
  layerCounts(input: readonly number[]): (Counts & { name: string })[] {
    const shapes = this.shapes(input);
    return this.nodes.map(({ of, from }) => {
      const inputs = from.map((value) => shapes[value]!);
      return { name: of.name, ...(of instanceof Join ? of.counts(inputs) : of.counts(inputs[0]!)) };
    });
  }
}

/**
 * The sum of two gradients of one value, in the memory of one of them that nothing else needs.
 *
 * @param needed tensors whose memory must not change
 */
function addUp(
  s: Scheduler,
  before: Tensor | null,
  change: Tensor,
  needed: readonly (Tensor | null | undefined)[],
): Tensor {
  if (!before) return change;
  const isFree = ({ storage }: Tensor, other: Tensor): boolean =>
    storage.owner === "schedule" &&
    storage !== other.storage &&
    !needed.some((tensor) => tensor && tensor.storage === storage);
  if (isFree(before, change)) return accumulate(s, change, before);
  if (isFree(change, before)) return accumulate(s, before, change);
  const sum = s.tensor(before.shape, { label: "sum of gradients" });
  fill(s, sum, 0);
  return accumulate(s, change, accumulate(s, before, sum));
}
