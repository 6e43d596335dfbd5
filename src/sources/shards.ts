/** What a tensor on several machines is asked, and what comes back: in numbers of the host's. */

/** What is asked of every block, the part of X that some rows of mode 0 are. */
export type ShardVerb =
  | "facts"
  | "mttkrp"
  | "partialMttkrp"
  | "project"
  | "unfoldedProduct"
  | "residual"
  | "evaluate"
  | "products"
  | "projections"
  | "core";

/** Numbers that travel. */
export interface HostArray {
  shape: readonly number[];
  data: Float32Array | Float64Array;
  /** of an array of rows of mode 0: whether it has those of the blocks alone that are asked, in their order */
  isCut?: boolean;
}

/**
 * How what several blocks answer becomes one array: rows of mode 0 line up, terms add up (in f64), of others the largest is kept, or the one whose
 * first number is least.
 */
export type Joining = "rows" | "sum" | "max" | "least";

export interface ShardRequest {
  verb: ShardVerb;
  /** blocks hold X; what is asked is of x = 2^−exponent · X */
  exponent: number;
  /** of a known entry, where others are missing: entries / known entries; else 1 */
  weight: number;
  mode?: number;
  keep?: readonly [start: number, stop: number];
  modes?: readonly number[];
  /** whether it is asked of x − x̂, where x̂ is the Kruskal tensor of the arrays `minus weights`, `minus 0`, … */
  isDifference?: boolean;
  /**
   * by name. Of a tensor with missing entries, `fill weights`, `fill 0`, … (or `fill core`, …) are the model whose entries stand there. Those that begin with `rows of` have a row for each of mode 0 */
  arrays: Readonly<Record<string, HostArray>>;
}

export interface ShardAnswer {
  /** which rows of mode 0 it is about, in the order in which arrays with `rows` have them */
  ranges: readonly (readonly [start: number, count: number])[];
  arrays: Readonly<Record<string, HostArray & { joining: Joining }>>;
}

/** A tensor whose rows are with others: processes, machines. */
export interface Shards {
  readonly shape: readonly number[];
  /** whether entries that are NaN are missing */
  readonly missing: boolean;
  /** rows of the largest block */
  readonly blockRows: number;
  /** Asks all blocks. The answer is about all rows, in order. */
  ask(request: ShardRequest, signal: AbortSignal | undefined): Promise<ShardAnswer>;
}

/** Answers about different rows as one answer, in the order of their rows. */
export function joinAnswers(answers: readonly ShardAnswer[]): ShardAnswer {
  const [first] = answers;
  const placed = answers.flatMap(({ ranges }, answer) => {
    let at = 0;
    return ranges.map(([start, count]) => {
      const place = { answer, start, count, at };
      at += count;
      return place;
    });
  });
  placed.sort((a, b) => a.start - b.start);
  const rows = placed.reduce((sum, { count }) => sum + count, 0);
  const arrays: Record<string, HostArray & { joining: Joining }> = {};
  for (const [name, { shape, joining, data }] of Object.entries(first!.arrays)) {
    const parts = answers.map(({ arrays }) => arrays[name]!);
    const make = data instanceof Float64Array ? Float64Array : Float32Array;
    if (joining === "rows") {
      const width = data.length / shape[0]!;
      const lined = new make(rows * width);
      let to = 0;
      for (const { answer, at, count } of placed) {
        lined.set(parts[answer]!.data.subarray(at * width, (at + count) * width), to);
        to += count * width;
      }
      arrays[name] = { shape: [rows, ...shape.slice(1)], data: lined, joining };
    } else if (joining === "sum") {
      const sums = new Float64Array(data.length);
      for (const part of parts) for (let n = 0; n < sums.length; n++) sums[n]! += part.data[n]!;
      arrays[name] = { shape, data: make === Float64Array ? sums : Float32Array.from(sums), joining };
    } else {
      const isBetter = (a: number, b: number) => (joining === "max" ? a > b : a < b);
      const best = parts.reduce((best, part) => (isBetter(part.data[0]!, best.data[0]!) ? part : best));
      arrays[name] = { shape, data: best.data, joining };
    }
  }
  return { ranges: placed.map(({ start, count }) => [start, count] as const), arrays };
}
