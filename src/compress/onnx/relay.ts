/**
 * Runs of a network that is settled up to a place in its graph. What stands before that place is run once, and further runs go on from its
 * values: of runs for one layer after the other that is a single pass over the network.
 */
import { namesRead, type TypedValue } from "../../onnx/cut.js";
import { DATA_TYPES } from "../../onnx/dataTypes.js";
import type { OnnxModel } from "../../onnx/index.js";
import { type OnnxArray, type OnnxFeeds, type OnnxSessions, Part } from "./session.js";

/** Runs, and the values in them from which a part of the network goes on. */
export interface Begun {
  runs: readonly OnnxFeeds[];
  from: readonly TypedValue[];
}

export class Relay {
  private begun: Begun;
  private readonly pending: { model: () => OnnxModel; values: readonly string[] }[] = [];

  /** @param memory bytes that the values may take; where they need more, runs begin at the place before */
  constructor(
    private readonly sessions: OnnxSessions,
    private readonly runs: readonly OnnxFeeds[],
    private readonly memory: number,
  ) {
    this.begun = { runs, from: [] };
  }

  /**
   * From now on all nodes before the first that reads one of these values are settled, as they are in the model. They are run when that is
   * needed, one place after the other, so that results do not depend on which of them were.
   */
  settle(model: () => OnnxModel, values: readonly string[]): void {
    this.pending.push({ model, values });
  }

  /** The runs from the last place on. */
  async reach(): Promise<Begun> {
    for (let next = this.pending.shift(); next; next = this.pending.shift()) {
      const model = next.model();
      const names = valuesBefore(model, next.values);
      // what a runtime does not hand out, as it does not lists of tensors, is made again with what stands before it
      if (names) this.begun = (await this.moved(model, names).catch(() => null)) ?? this.begun;
    }
    return this.begun;
  }

  /** The runs with some values of the network in place of those before; null where they would take too much memory. */
  private async moved(model: OnnxModel, names: readonly string[]): Promise<Begun | null> {
    const { runs, begun, sessions, memory } = this;
    // element types follow from the results
    const values = names.map((name) => ({ name, dataType: 0 }));
    const part = await Part.open(sessions, model, values, begun.from);
    const moved: OnnxFeeds[] = [];
    let bytes = 0;
    try {
      for (const [at, feeds] of begun.runs.entries()) {
        const results = await part.run(feeds);
        const kept = names.map((name) => [name, results[name]!] as const);
        for (const [, { data }] of kept) bytes += data.byteLength;
        // runs are about as large as the first one
        if (bytes * (at ? 1 : runs.length) > memory) return null;
        moved.push({ ...runs[at], ...Object.fromEntries(kept) });
      }
    } finally {
      await part.release();
    }
    const [first] = moved;
    return first ? { runs: moved, from: names.map((name) => ({ name, dataType: numberOf(first[name]!) })) } : begun;
  }
}

const numberOf = ({ dtype }: OnnxArray): number =>
  Number(Object.entries(DATA_TYPES).find(([, { name }]) => name === dtype)?.[0]);

/**
 * What nodes before the first reader of some values make of the inputs, and nodes from there on need; null where there is nothing to gain.
 * Values that follow from weights alone are made again in each part.
 */
function valuesBefore({ graph, inputs }: OnnxModel, values: readonly string[]): string[] | null {
  const wanted = new Set(values);
  const place = graph.node.findIndex((node) => namesRead(node).some((name) => wanted.has(name)));
  if (place < 1) return null;
  const live = new Set(inputs.map(({ name }) => name));
  const made = new Set<string>();
  for (const node of graph.node.slice(0, place)) {
    if (!namesRead(node).some((name) => live.has(name))) continue;
    for (const name of node.output) {
      live.add(name);
      made.add(name);
    }
  }
  const needed = new Set(graph.output.map(({ name }) => name));
  for (const node of graph.node.slice(place)) for (const name of namesRead(node)) needed.add(name);
  const out = [...made].filter((name) => name && needed.has(name));
  return out.length ? out : null;
}
