/** Figures of what a model leaves: X − X̂ by slice and by entry. */
import type { HistogramBin } from "../ops/index.js";
import { digits, type Figure, frame, type LabelOf, labelsOf, shortened, thinned } from "./figure.js";
import { type DecompositionData, leverages } from "./model.js";
import { axes, el, gridOf, label, linear, pathOf, picture, stepOf, tick, words } from "./svg.js";

/** ‖slice of X − X̂‖ / ‖slice of X‖ by index; NaN for a slice of zeros. */
const relativeSlices = ({ residual, data }: { residual: Float32Array; data: Float32Array }): Float64Array =>
  Float64Array.from(residual, (square, at) => (data[at] ? Math.sqrt(Math.max(0, square) / data[at]!) : Number.NaN));

/** What the indices of a mode are called; of slices of several lengths, rows are named by their slice, too. */
function indicesOf(data: DecompositionData, mode: number): LabelOf {
  const { model, slices } = data;
  const lengths = model.kind === "kruskal" ? (model.projections ?? []).map(({ shape }) => shape[0]!) : [];
  const rows = lengths.reduce((total, length) => total + length, 0);
  if (mode !== 1 || !lengths.length || slices![1]!.residual.length !== rows) return labelsOf(data, mode);
  const places = lengths.flatMap((length, k) => Array.from({ length }, (_, row) => `${labelsOf(data, 0)(k)}: ${row}`));
  return (index) => places[index] ?? index;
}

export function residualFigure(data: DecompositionData): Figure {
  const labels = data.slices!.map((_, mode) => indicesOf(data, mode));
  const errors = data.slices!.map(relativeSlices);
  const worst = errors.map((of) =>
    of.reduce((most, value, at) => (value > of[most]! || Number.isNaN(of[most]) ? at : most), 0),
  );
  return {
    id: "residual-by-mode",
    title: "Residual by mode",
    words: `Relative error of every slice, ‖X − X̂‖ / ‖X‖ with one index fixed: where the model fits badly. A panel a mode.`,
    label: `Relative error of every slice; the largest are ${errors.map((of, mode) => `${digits(of[worst[mode]!]!, 3)} at ${labels[mode]!(worst[mode]!)} of ${data.modes[mode]}`).join(", ")}`,
    draw(width, palette) {
      const most = Math.max(...errors.map((of) => of.reduce((top, value) => (value > top ? value : top), 0)));
      // each mode has a length of its own
      const left = 46;
      const grid = gridOf(errors.length, width - left, 260, 0.5, 3);
      const step = grid.height + 50;
      const parts = errors.flatMap((of, mode) => {
        const from = left + (mode % grid.columns) * grid.width + 4;
        const to = left + ((mode % grid.columns) + 1) * grid.width - 14;
        const top = Math.floor(mode / grid.columns) * step + 20;
        const x = linear(0, Math.max(1, of.length - 1), [from, to], { ticks: 4, integers: true });
        const y = linear(0, ROOM * most || 1, [top + grid.height - 4, top], { ticks: 3 });
        const { xs, ys } = thinned(of.length, (i) => of[i]!);
        const points = pathOf(xs.map(x), ys.map(y));
        const name = mode % grid.columns ? () => "" : tick;
        return [
          axes(palette, { x, y, yTick: name }),
          label(from, top - 6, `${data.modes[mode]}`, {}),
          el("path", { d: points, fill: "none", stroke: palette.accent, "stroke-width": 1.6 }),
          // a slice without a number cuts the line: what stands alone is seen as a dot
          ...(of.length <= MOST_DOTS
            ? xs.map((i, k) =>
                Number.isFinite(ys[k]!)
                  ? el(
                      "circle",
                      { cx: x(i), cy: y(ys[k]!), r: 2.5, fill: palette.accent },
                      el("title", {}, words(`${labels[mode]!(i)}: ${digits(ys[k]!)}`)),
                    )
                  : "",
              )
            : []),
        ];
      });
      return picture(width, grid.rows * step + 4, palette, ...parts);
    },
    table: () => ({
      head: ["mode", "index", "relative error", "squared residual", "squared data"],
      rows: errors.flatMap((of, mode) =>
        Array.from(of, (error, at) => [
          data.modes[mode]!,
          labels[mode]!(at),
          error,
          data.slices![mode]!.residual[at]!,
          data.slices![mode]!.data[at]!,
        ]),
      ),
    }),
  };
}

/** how much higher than their largest value axes reach, so that it does not touch the panel's name */
const ROOM = 1.06;
/** slices of a mode that are dots, too */
const MOST_DOTS = 150;

/** Leverage against residual of every slice: what weighs much and fits badly stands out. */
export function outlierFigure(data: DecompositionData): Figure | null {
  const { model } = data;
  if (model.kind !== "kruskal" && model.kind !== "tucker") return null;
  const modes = model.factors.flatMap((factor, mode) => {
    // a square factor spans everything: every row has leverage 1
    const leverage =
      factor && factor.shape[0]! > factor.shape[1]! && factor.shape[0]! <= 20_000 ? leverages(factor) : null;
    return leverage ? [{ mode, leverage, residual: data.slices![mode]!.residual }] : [];
  });
  if (!modes.length) return null;
  const highest = ({ leverage }: { leverage: Float64Array }): number =>
    leverage.reduce((most, value, at) => (value > leverage[most]! ? at : most), 0);
  return {
    id: "outliers",
    title: "Outliers",
    words:
      "A dot a slice: its leverage, how much the model is made for it (0 to 1), and the part of the squared residual that it has. Upper right: a slice that bends the model and still fits badly.",
    label: `Leverage and residual of every slice; the highest leverage is that of ${modes.map((of) => `index ${highest(of)} in ${data.modes[of.mode]}`).join(", ")}`,
    draw(width, palette) {
      const left = 46;
      const grid = gridOf(modes.length, width - left, 260, 0.7, 3);
      const step = grid.height + 56;
      const parts = modes.flatMap(({ mode, leverage, residual }, place) => {
        const from = left + (place % grid.columns) * grid.width + 4;
        const to = from + grid.width - 58;
        const top = Math.floor(place / grid.columns) * step + 26;
        const total = residual.reduce((sum, value) => sum + Math.max(0, value), 0) || 1;
        const shares = Float64Array.from(residual, (value) => Math.max(0, value) / total);
        const x = linear(0, Math.max(...leverage) || 1, [from, to]);
        const y = linear(0, ROOM * Math.max(...shares) || 1, [top + grid.height - 4, top], { ticks: 3 });
        // of very many slices, those that stand out
        const ranked = [...leverage.keys()].sort((a, b) => leverage[b]! + shares[b]! - leverage[a]! - shares[a]!);
        const drawn = ranked.slice(0, 400);
        return [
          axes(palette, { x, y, xName: "leverage", yTick: (value) => `${Math.round(1000 * value) / 10}%` }),
          label(from, top - 9, `${data.modes[mode]}`, {}),
          ...drawn.map((at) =>
            el(
              "circle",
              { cx: x(leverage[at]!), cy: y(shares[at]!), r: 3, fill: palette.accent, "fill-opacity": 0.6 },
              el(
                "title",
                {},
                words(
                  `${labelsOf(data, mode)(at)}: leverage ${digits(leverage[at]!, 3)}, ${(100 * shares[at]!).toFixed(1)} % of the residual`,
                ),
              ),
            ),
          ),
          ...drawn.slice(0, 3).map((at) =>
            label(x(leverage[at]!) + 6, y(shares[at]!) + 4, shortened(labelsOf(data, mode)(at)), {
              fill: palette.mark,
              size: 12,
            }),
          ),
        ];
      });
      return picture(width, grid.rows * step + 6, palette, ...parts);
    },
    table: () => ({
      head: ["mode", "index", "leverage", "squared residual"],
      rows: modes.flatMap(({ mode, leverage, residual }) =>
        Array.from(leverage, (value, at) => [data.modes[mode]!, labelsOf(data, mode)(at), value, residual[at]!]),
      ),
    }),
  };
}

/** What bins tell of the numbers in them, which are taken to lie evenly between a bin's ends. */
export class Distribution {
  readonly count: number;
  /** √(Σ r² / count) */
  readonly size: number;

  constructor(readonly bins: readonly HistogramBin[]) {
    this.count = bins.reduce((sum, bin) => sum + bin.count, 0);
    const squares = bins.reduce(
      (sum, { from, to, count }) => sum + (count * (from * from + from * to + to * to)) / 3,
      0,
    );
    this.size = Math.sqrt(squares / this.count);
  }

  /** How many numbers lie between two. */
  between(low: number, high: number): number {
    let sum = 0;
    for (const { from, to, count } of this.bins) {
      if (from === to) sum += from >= low && from < high ? count : 0;
      else sum += (count * Math.max(0, Math.min(high, to) - Math.max(low, from))) / (to - from);
    }
    return sum;
  }

  /** The number below which this share of all lies, for each of some rising shares. */
  quantiles(shares: readonly number[]): number[] {
    let [at, below] = [0, 0];
    return shares.map((share) => {
      const wanted = share * this.count;
      while (at < this.bins.length - 1 && below + this.bins[at]!.count < wanted) below += this.bins[at++]!.count;
      const { from, to, count } = this.bins[at]!;
      return from + (to - from) * Math.min(1, (wanted - below) / count);
    });
  }
}

/** Φ, the share of a normal distribution below z, to 1.2e-7 of it (Press et al. 1992, Numerical Recipes, erfcc). */
export function normalShare(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + x / 2);
  const terms = [-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587];
  terms.push(-0.82215223, 0.17087277);
  const tail = (t / 2) * Math.exp(terms.reduceRight((sum, term) => sum * t + term, 0) - x * x);
  return z < 0 ? tail : 1 - tail;
}

/** in sizes of a residual: what is drawn of the distribution */
const FARTHEST = 6;

/** The bins as a table, all of them. */
const binTable = ({ bins, size }: Distribution) => ({
  head: ["from", "to", "from, in sizes", "to, in sizes", "entries"],
  rows: bins.map(({ from, to, count }) => [from, to, from / size, to / size, count]),
});

/** How often residuals have which size, beside a normal distribution. */
function residualHistogram(all: Distribution): Figure {
  const { bins, count, size } = all;
  const reach = Math.min(FARTHEST, Math.max(3, Math.ceil(Math.max(-bins[0]!.from, bins.at(-1)!.to) / size)));
  const step = stepOf(2 * reach, Math.min(60, Math.max(8, Math.round(2 * Math.cbrt(count)))));
  const bars = Array.from({ length: Math.round((2 * reach) / step) }, (_, at) => {
    const from = -reach + at * step;
    return { from, entries: all.between(from * size, (from + step) * size) };
  });
  const beyond = Math.max(0, Math.round(count - bars.reduce((sum, { entries }) => sum + entries, 0)));
  const far = beyond ? ` ${beyond.toLocaleString("en-US")} lie beyond ±${reach}.` : "";
  return {
    id: "residual-histogram",
    title: "Histogram of the residuals",
    words: `How many entries of X − X̂ are how large, in multiples of their root mean square, ${digits(size)}. The line is a normal distribution: what noise alone would leave.${far}`,
    label: `Histogram of ${count.toLocaleString("en-US")} residuals; their root mean square is ${digits(size)}`,
    draw(width, palette) {
      const height = 250;
      const { x: across, y: up } = frame(width, height);
      const normal = Array.from({ length: 121 }, (_, at) => {
        const z = -reach + (at * reach) / 60;
        return [z, (count * step * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI)] as const;
      });
      const most = Math.max(...bars.map(({ entries }) => entries), normal[60]![1]);
      const x = linear(-reach, reach, across, { ticks: 12 });
      const y = linear(0, most, up);
      return picture(
        width,
        height,
        palette,
        axes(palette, { x, y, xName: "residual ÷ root mean square", yName: "entries" }),
        ...bars.map(({ from, entries }) =>
          el(
            "rect",
            {
              ...{ x: x(from) + 0.5, width: Math.max(0.5, x(from + step) - x(from) - 1) },
              ...{ y: y(entries), height: y(0) - y(entries), fill: palette.accent },
            },
            el("title", {}, `${tick(from)} to ${tick(from + step)}: ${Math.round(entries).toLocaleString("en-US")}`),
          ),
        ),
        el("path", {
          d: pathOf(
            normal.map(([z]) => x(z)),
            normal.map(([, entries]) => y(entries)),
          ),
          ...{ fill: "none", stroke: palette.mark, "stroke-width": 1.6 },
        }),
      );
    },
    table: () => binTable(all),
  };
}

/** dots of the quantiles */
const MOST_QUANTILES = 160;

/** The residuals' quantiles against those of a normal distribution. */
function residualQuantiles(all: Distribution): Figure {
  const { count, size } = all;
  // the smallest of `count` numbers stands for a share of half an entry
  let farthest = 0;
  while (farthest < 8 && normalShare(-farthest) > 0.5 / count) farthest += 0.01;
  const dots = Math.min(MOST_QUANTILES, count);
  const normal = Array.from({ length: dots }, (_, at) => farthest * (dots > 1 ? (2 * at) / (dots - 1) - 1 : 0));
  const quantiles = all.quantiles(normal.map(normalShare)).map((value) => value / size);
  const ends = [quantiles[0]!, quantiles.at(-1)!].map((value) => digits(value, 3));
  return {
    id: "residual-quantiles",
    title: "Quantiles of the residuals",
    words:
      "Residuals in rising order, in multiples of their root mean square, against what a normal distribution would have at the same places (a QQ plot). Dots off the line at its ends are entries far larger than noise; a bend says that noise is not all there is.",
    label: `Quantiles of the residuals against a normal distribution's, from ${ends[0]} at −${digits(farthest, 3)} to ${ends[1]} at ${digits(farthest, 3)}`,
    draw(width, palette) {
      const height = 300;
      const { x: across, y: up } = frame(width, height);
      const x = linear(-farthest, farthest, across, { ticks: 10 });
      const y = linear(Math.min(-farthest, quantiles[0]!), Math.max(farthest, quantiles.at(-1)!), up);
      return picture(
        width,
        height,
        palette,
        axes(palette, { x, y, xName: "normal quantile", yName: "residual ÷ root mean square" }),
        el("line", {
          ...{ x1: x(-farthest), x2: x(farthest), y1: y(-farthest), y2: y(farthest) },
          ...{ stroke: palette.mark, "stroke-width": 1.6 },
        }),
        ...normal.map((z, at) =>
          el(
            "circle",
            { cx: x(z), cy: y(quantiles[at]!), r: 2.5, fill: palette.accent },
            el("title", {}, `normal ${digits(z, 3)}: residual ${digits(quantiles[at]!, 3)}`),
          ),
        ),
      );
    },
    table: () => ({
      head: ["share below", "normal quantile", "residual ÷ root mean square"],
      rows: normal.map((z, at) => [normalShare(z), z, quantiles[at]!]),
    }),
  };
}

/** What entries of X − X̂ are like; nothing where all are 0. */
export function residualEntries(bins: readonly HistogramBin[]): Figure[] {
  const all = new Distribution(bins);
  return all.size > 0 ? [residualHistogram(all), residualQuantiles(all)] : [];
}
