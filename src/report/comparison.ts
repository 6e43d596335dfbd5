/** Two CP models beside each other, term by term: which belong together, how alike they are, and their columns in one picture. */
import { assign } from "../tensors/assignment.js";
import { digits, type Figure, labelsOf, plural, shortened, thinned } from "./figure.js";
import type { DecompositionData, KruskalModel } from "./model.js";
import { el, label, linear, type Palette, pathOf, picture } from "./svg.js";

/** terms that are drawn, each a row */
const MOST_ROWS = 24;
const ROW = 96;

/** A term of a model, and the one of another that it belongs to. */
export interface Pair {
  term: number;
  /** null where the other model has fewer terms */
  other: number | null;
  /** of every mode, the cosine of the two columns */
  cosines: readonly number[];
  /** their product, with the signs of the weights: 1 where the terms are multiples of each other */
  congruence: number;
}

const column = ({ factors }: KruskalModel, mode: number, term: number): Float64Array => {
  const { shape, data } = factors[mode]!;
  const values = Float64Array.from({ length: shape[0]! }, (_, row) => data[row * shape[1]! + term]!);
  const norm = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  return norm ? values.map((value) => value / norm) : values;
};

/** The terms of a model with those of another, so that the sum of their congruences' magnitudes is the largest. */
export function pairsOf(model: KruskalModel, other: KruskalModel): Pair[] {
  const [rank, others] = [model.weights.length, other.weights.length];
  const columnsOf = (of: KruskalModel, mode: number): Float64Array[] =>
    Array.from(of.weights, (_, term) => column(of, mode, term));
  // of every mode, the cosines of all columns of the one with all of the other
  const cosines = model.factors.map((_, mode) => {
    const [left, right] = [columnsOf(model, mode), columnsOf(other, mode)];
    return left.map((a) => right.map((b) => a.reduce((sum, value, row) => sum + value * b[row]!, 0)));
  });
  const congruence = (r: number, s: number): number =>
    cosines.reduce((product, of) => product * of[r]![s]!, Math.sign(model.weights[r]!) * Math.sign(other.weights[s]!));
  const isWide = rank > others;
  const [rows, columns] = isWide ? [others, rank] : [rank, others];
  const gains = Float64Array.from({ length: rows * columns }, (_, at) => {
    const [row, place] = [Math.floor(at / columns), at % columns];
    return Math.abs(isWide ? congruence(place, row) : congruence(row, place));
  });
  const places = assign(gains, rows, columns);
  return Array.from(model.weights, (_, term): Pair => {
    const found = isWide ? places.indexOf(term) : places[term]!;
    if (found < 0) return { term, other: null, cosines: [], congruence: 0 };
    return { term, other: found, cosines: cosines.map((of) => of[term]![found]!), congruence: congruence(term, found) };
  });
}

/**
 * A row for each term, a panel for each mode: the column of the model, and that of the term of the other model that it belongs to, both of norm 1. Signs
 * are those of the model wherever the product of all is the same.
 */
export function comparisonFigure(
  data: DecompositionData,
  model: KruskalModel,
  names: readonly string[],
): Figure | null {
  const { other } = data;
  if (!other) return null;
  const pairs = pairsOf(model, other.model);
  const matched = pairs.filter((pair) => pair.other !== null);
  const score = matched.reduce((sum, { congruence }) => sum + Math.abs(congruence), 0) / Math.max(1, matched.length);
  const shown = Math.min(pairs.length, MOST_ROWS);
  const more = shown < pairs.length ? ` The first ${shown} of ${pairs.length} are drawn.` : "";
  const lone = pairs.length - matched.length;
  const ranks = other.model.weights.length - matched.length;
  const left = [
    ...(lone ? [`${plural(lone, "component")} of this model`] : []),
    ...(ranks ? [`${plural(ranks, "component")} of ${other.name}`] : []),
  ].join(" and ");
  const columns = pairs.map((pair) => {
    const mine = model.factors.map((_, mode) => column(model, mode, pair.term));
    const { other: term, cosines, congruence } = pair;
    if (term === null) return { mine, theirs: null };
    // all but the last mode by their cosines; the last so that the term stays what it is
    const signs = cosines.map((cosine): number => (cosine < 0 ? -1 : 1));
    const last = signs.length - 1;
    if (congruence < 0) signs[last] = -signs[last]!;
    const theirs = other.model.factors.map((_, mode) =>
      column(other.model, mode, term).map((value) => signs[mode]! * value),
    );
    return { mine, theirs };
  });
  return {
    id: "comparison",
    title: `Beside ${other.name}`,
    words: `A row a component, a panel a mode: its column here (strong) and that of the component of ${other.name} that is most like it (dashed), both of norm 1. The number is their congruence, the product of the cosines of their columns: 1 is the same, below 0.85 something else. On the average it is ${digits(score, 3)}.${left ? ` ${left} ${lone + ranks > 1 ? "have" : "has"} no counterpart.` : ""}${more}`,
    label: `Components of two models beside each other; their congruence is ${digits(score, 3)} on the average`,
    draw: (width, palette) =>
      picture(
        width,
        30 + shown * ROW + 24,
        palette,
        ...data.modes.map((name, mode) => label(panelAt(width, data.modes.length, mode)[0], 14, shortened(name))),
        ...pairs
          .slice(0, shown)
          .flatMap((pair, row) => rowOf(width, palette, { data, row, shown, pair, names, ...columns[row]! })),
      ),
    table: () => ({
      head: [
        "mode",
        "index",
        ...pairs.flatMap((pair, at) => [
          `component ${names[at]!}`,
          ...(pair.other === null ? [] : [`${other.name} ${pair.other + 1}`]),
        ]),
      ],
      rows: (function* (): Generator<readonly (string | number)[]> {
        yield [
          "congruence",
          "",
          ...pairs.flatMap((pair): (string | number)[] => (pair.other === null ? [""] : [1, pair.congruence])),
        ];
        for (const [mode, name] of data.modes.entries())
          for (let i = 0; i < data.shape[mode]!; i++)
            yield [
              name,
              labelsOf(data, mode)(i),
              ...columns.flatMap(({ mine, theirs }) => [mine[mode]![i]!, ...(theirs ? [theirs[mode]![i]!] : [])]),
            ];
      })(),
    }),
  };
}

/** where words of a row end */
const WORDS = 110;

function panelAt(width: number, modes: number, mode: number): [from: number, to: number] {
  const step = (width - WORDS) / modes;
  return [WORDS + mode * step + 4, WORDS + (mode + 1) * step - 8];
}

interface Row {
  data: DecompositionData;
  row: number;
  shown: number;
  pair: Pair;
  names: readonly string[];
  mine: readonly Float64Array[];
  theirs: readonly Float64Array[] | null;
}

function rowOf(width: number, palette: Palette, { data, row, shown, pair, names, mine, theirs }: Row): string[] {
  const top = 24 + row * ROW;
  const bottom = top + ROW - 14;
  const said = pair.other === null ? "no counterpart" : `with ${pair.other + 1}: ${digits(pair.congruence, 3)}`;
  const isOther = Math.abs(pair.congruence) < 0.85;
  return [
    label(2, top + 30, `component ${names[row]!}`),
    label(2, top + 48, said, { fill: isOther ? palette.mark : palette.quiet, size: 12 }),
    ...mine.flatMap((values, mode) => {
      const [from, to] = panelAt(width, mine.length, mode);
      const lines = theirs ? [theirs[mode]!, values] : [values];
      const ends = lines.flatMap((line) =>
        line.reduce(([low, high], v) => [Math.min(low!, v), Math.max(high!, v)], [0, 0]),
      );
      const x = linear(0, Math.max(1, values.length - 1), [from, to], { ticks: 3, integers: true });
      const y = linear(Math.min(...ends), Math.max(...ends) || 1, [bottom - 3, top + 3], { ticks: 2 });
      const drawn = lines.map((line, at) => {
        const isMine = at === lines.length - 1;
        const { xs, ys } = thinned(line.length, (i) => line[i]!);
        return el("path", {
          d: pathOf(xs.map(x), ys.map(y)),
          fill: "none",
          stroke: isMine ? palette.accent : palette.mark,
          "stroke-width": isMine ? 1.8 : 1.6,
          "stroke-dasharray": isMine ? undefined : "5 3",
        });
      });
      const ticks =
        row === shown - 1
          ? x.ticks.map((value, place) =>
              label(x(value), bottom + 14, shortened(labelsOf(data, mode)(value)), {
                anchor: place === 0 ? "start" : place === x.ticks.length - 1 && x(value) > to - 14 ? "end" : "middle",
                fill: palette.quiet,
                size: 12,
              }),
            )
          : [];
      return [
        el("rect", { x: from, y: top, width: to - from, height: bottom - top, fill: "none", stroke: palette.line }),
        el("line", { x1: from, x2: to, y1: y(0), y2: y(0), stroke: palette.quiet, "stroke-width": 0.7 }),
        ...drawn,
        ...ticks,
      ];
    }),
  ];
}
