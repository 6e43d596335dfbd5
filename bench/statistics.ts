/** The q-quantile, interpolated linearly between samples (Hyndman & Fan 1996, type 7: NumPy's default); NaN without samples. */
export function quantile(samples: readonly number[], q: number): number {
  if (samples.length === 0) return Number.NaN;
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const below = Math.floor(at);
  const low = sorted[below]!;
  return low + (at - below) * ((sorted[below + 1] ?? low) - low);
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5);

export interface Summary {
  median: number;
  quartiles: [number, number];
}

export const summarize = (samples: readonly number[]): Summary => ({
  median: median(samples),
  quartiles: [quantile(samples, 0.25), quantile(samples, 0.75)],
});

/** a ÷ b, round by round, because whatever slows the machine in a round slows both. */
export const ratiosOf = (a: readonly number[], b: readonly number[]): number[] =>
  a.slice(0, b.length).map((value, index) => value / b[index]!);
