/** Figures of a decomposition, as SVG text and as tables: the demo page's, a report's, the command line's. */

import { comparisonFigure } from "./comparison.js";
import { capital, digits, type Figure, frame, type LabelOf, labelsOf, plural, shortened, thinned } from "./figure.js";
import {
  axesOf,
  axisOf,
  type CoresModel,
  type DecompositionData,
  evolving,
  type ImageChoice,
  imagesOf,
  type KruskalModel,
  MOST_IMAGES,
  sizesOf,
  type TuckerModel,
  type Turn,
  termCongruences,
  termProducts,
  turned,
  unturned,
  type Values,
} from "./model.js";
import { outlierFigure, residualEntries, residualFigure } from "./residualFigures.js";
import {
  axes,
  el,
  gridOf,
  heatMap,
  label,
  linear,
  logarithmic,
  type Palette,
  pathOf,
  picture,
  tick,
  words,
} from "./svg.js";

/** panels of one figure */
const MOST_PANELS = 48;
/** cells of all pictures of one figure, more or less */
const MOST_CELLS = 24_000;

/** What of a component is on show. */
interface Look {
  /** as it was computed, counted from 1 */
  name: string;
  hidden: boolean;
  selected: boolean;
}

/** The components of an axis in the order on show. */
const looksOf = (turn: Turn, axis: number, selected: Selected | null): Look[] =>
  turn.orders[axis]!.map((r) => ({
    name: String(r + 1),
    hidden: turn.hidden[axis]![r]!,
    selected: selected?.axis === axis && selected.component === r,
  }));

export interface Selected {
  axis: number;
  component: number;
}

export interface FigureOptions {
  turn?: Turn;
  selected?: Selected | null;
  image?: ImageChoice | null;
}

/** Every figure that a decomposition has. */
export function figuresOf(data: DecompositionData, options: FigureOptions = {}): Figure[] {
  const { turn = unturned(data.model), selected = null, image = null } = options;
  const model = turned(data.model, turn);
  const looks = axesOf(model).map((_, axis) => looksOf(turn, axis, selected));
  const figures: (Figure | null)[] = [
    data.errors.length ? convergenceFigure([data.errors]) : null,
    data.starts && data.starts.errors.length > 1 ? startsFigure(data.starts) : null,
  ];
  if (model.kind === "kruskal") figures.push(weightsFigure(sizesOf(model)[0]!, looks[0]!));
  if (model.kind === "tucker") figures.push(coreFigure(model.core));
  if (model.kind === "kruskal" || model.kind === "tucker")
    model.factors.forEach((factor, mode) => {
      if (model.kind === "kruskal" && model.projections && mode === 1)
        figures.push(evolvingFigure(model, data.modes[mode]!, looks[0]!, labelsOf(data, 0)));
      else if (factor)
        figures.push(factorFigure(factor, mode, data.modes[mode]!, looks[axisOf(model, mode)]!, labelsOf(data, mode)));
    });
  if (model.kind === "train" || model.kind === "ring") figures.push(...coresFigures(model, data.modes));
  if (model.kind === "blocks")
    model.blocks.forEach((block, g) => {
      figures.push(coreFigure(block.core, g));
      block.factors.forEach((factor, mode) => {
        if (factor)
          figures.push(
            factorFigure(factor, mode, data.modes[mode]!, plainLooks(factor.shape[1]!), labelsOf(data, mode), g),
          );
      });
    });
  if (image) figures.push(imageFigure(data, model, image, looks));
  if (model.kind === "kruskal" || model.kind === "tucker") figures.push(pairFigure(data, model, looks, selected));
  if (data.slices) figures.push(residualFigure(data));
  if (data.residuals) figures.push(...residualEntries(data.residuals));
  if (data.slices && (model.kind === "kruskal" || model.kind === "tucker")) figures.push(outlierFigure(data));
  if (data.model.kind === "kruskal" && looks[0]!.length > 1) {
    const between = data.products?.between ?? termProducts(data.model);
    figures.push(congruenceFigure(termCongruences(between, turn.orders[0]!), looks[0]!));
  }
  if (model.kind === "kruskal")
    figures.push(
      comparisonFigure(
        data,
        model,
        looks[0]!.map(({ name }) => name),
      ),
    );
  return figures.filter((figure) => figure !== null);
}

const plainLooks = (count: number): Look[] =>
  Array.from({ length: count }, (_, r) => ({ name: String(r + 1), hidden: false, selected: false }));

/** The relative error after every sweep: one line a run, the last one strong. Logarithmic where it falls far. */
export function convergenceFigure(curves: readonly (readonly number[])[]): Figure {
  const last = curves.at(-1) ?? [];
  const values = curves.flat().filter((value) => value > 0);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const ending = last.length ? `${digits(last.at(-1)!)} after ${plural(last.length, "sweep")}` : "nothing yet";
  return {
    id: "error-by-sweep",
    title: "Error by sweep",
    words: "‖X − X̂‖ / ‖X‖ after every sweep over all modes.",
    label: `Error by sweep: ${ending}`,
    draw(width, palette) {
      const height = 250;
      const { x: across, y: up } = frame(width, height);
      const longest = Math.max(4, ...curves.map((curve) => curve.length));
      const x = linear(1, longest, across, { ticks: 8, integers: true });
      if (!values.length)
        return picture(width, height, palette, axes(palette, { x, y: linear(0, 1, up), xName: "sweep" }));
      const isFar = most > 20 * least;
      const room = (most - least || most) * 0.06;
      const y = isFar ? logarithmic(least * 0.9, most * 1.1, up) : linear(Math.max(0, least - room), most + room, up);
      const lines = curves.map((curve, at) => {
        const strong = at === curves.length - 1;
        const xs = curve.map((_, sweep) => x(sweep + 1));
        const ys = curve.map((error) => (error > 0 || !isFar ? y(error) : Number.NaN));
        const dots =
          strong && curve.length <= 60
            ? xs.map((cx, sweep) =>
                Number.isFinite(ys[sweep]!)
                  ? el(
                      "circle",
                      { cx, cy: ys[sweep]!, r: 3, fill: palette.accent },
                      el("title", {}, `sweep ${sweep + 1}: ${digits(curve[sweep]!, 6)}`),
                    )
                  : "",
              )
            : [];
        const stroke = strong ? palette.accent : palette.quiet;
        const line = el("path", { d: pathOf(xs, ys), fill: "none", stroke, "stroke-width": strong ? 2 : 1 });
        return line + dots.join("");
      });
      return picture(
        width,
        height,
        palette,
        axes(palette, { x, y, xName: "sweep", yName: `relative error${isFar ? " (logarithmic)" : ""}` }),
        ...lines,
      );
    },
    table: () => ({
      head: ["run", "sweep", "relative error"],
      rows: curves.flatMap((curve, run) => curve.map((error, sweep) => [run + 1, sweep + 1, error])),
    }),
  };
}

/** Where every start ended. */
function startsFigure({ errors, agreeing }: NonNullable<DecompositionData["starts"]>): Figure {
  const words = `${agreeing} of ${plural(errors.length, "start")} ended at the same model, the best one`;
  return {
    id: "starts",
    title: "Agreement of the starts",
    words: `Relative error that each start ended at. ${words}. Where few agree, take more starts or a lower rank.`,
    label: words,
    draw: (width, palette) =>
      bars(width, palette, {
        values: errors,
        names: errors.map((_, at) => String(at + 1)),
        fills: errors.map((_, at) => (at < agreeing ? palette.accent : palette.quiet)),
        xName: "start, the best first",
        yName: "relative error",
      }),
    table: () => ({ head: ["start", "relative error"], rows: errors.map((error, at) => [at + 1, error]) }),
  };
}

interface Bars {
  values: readonly number[];
  names: readonly string[];
  fills: readonly string[];
  opacities?: readonly number[];
  strokes?: readonly (string | undefined)[];
  xName: string;
  yName: string;
}

function bars(width: number, palette: Palette, of: Bars): string {
  const { values, names, fills, opacities, strokes, xName, yName } = of;
  const height = 220;
  const { x: across, y: up } = frame(width, height);
  const y = linear(Math.min(0, ...values), Math.max(0, ...values) || 1, up);
  const x = linear(0.5, values.length + 0.5, across);
  const step = (across[1] - across[0]) / values.length;
  // names lie `every` bars apart, so that they do not touch
  const every = Math.ceil((values.length * 26) / (across[1] - across[0]));
  const ticks = values.map((_, at) => at + 1).filter((_, at) => at % every === 0);
  return picture(
    width,
    height,
    palette,
    axes(palette, {
      x: Object.assign((value: number) => x(value), { domain: x.domain, ticks }),
      y,
      xName,
      yName,
      xTick: (value) => names[value - 1]!,
    }),
    ...values.map((value, at) =>
      el(
        "rect",
        {
          x: x(at + 1) - Math.min(20, 0.4 * step),
          width: Math.min(40, 0.8 * step),
          y: y(Math.max(0, value)),
          height: Math.max(1, Math.abs(y(value) - y(0))),
          fill: fills[at]!,
          "fill-opacity": opacities?.[at],
          stroke: strokes?.[at],
          "stroke-width": strokes?.[at] && 3,
        },
        el("title", {}, `${names[at]}: ${digits(value, 6)}`),
      ),
    ),
  );
}

function weightsFigure(weights: readonly number[], looks: readonly Look[]): Figure {
  return {
    id: "weights",
    title: "Weights",
    words:
      "|λ|, the norm of every component: what it would be by itself. Components that are alike can be larger than the data.",
    label: `Weights of ${plural(weights.length, "component")}, from ${digits(Math.min(...weights), 3)} to ${digits(Math.max(...weights), 3)}`,
    draw: (width, palette) =>
      bars(width, palette, {
        values: weights,
        names: looks.map(({ name }) => name),
        fills: looks.map(() => palette.accent),
        opacities: looks.map(({ hidden }) => (hidden ? 0.2 : 1)),
        strokes: looks.map(({ selected }) => (selected ? palette.mark : undefined)),
        xName: "component",
        yName: "weight",
      }),
    table: () => ({
      head: ["component", "weight", "hidden"],
      rows: weights.map((weight, at) => [looks[at]!.name, weight, looks[at]!.hidden ? 1 : 0]),
    }),
  };
}

/** The columns of a factor as lines, one panel a component, all on one scale. */
function factorFigure(
  factor: Values,
  mode: number,
  name: string,
  looks: readonly Look[],
  labelOf: LabelOf,
  block?: number,
): Figure {
  const [rows, rank] = factor.shape as [number, number];
  const panels = Math.min(rank, MOST_PANELS);
  const ofBlock = block === undefined ? "" : `, block ${block + 1}`;
  const more = panels < rank ? ` The first ${panels} of ${rank} are drawn.` : "";
  return {
    id: `${block === undefined ? "" : `block-${block + 1}-`}factor-${mode}`,
    title: `${capital(name)}${ofBlock}`,
    words: `A line a component: its column of factor ${mode}, over the ${rows} indices of ${name}. All on one scale.${more}`,
    label: `Columns of the factor of ${name}${ofBlock}: ${plural(rank, "line")} over ${rows} indices`,
    draw(width, palette) {
      let [low, high] = [0, 0];
      for (const value of factor.data) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
      return panelLines(width, palette, {
        count: panels,
        length: rows,
        range: [low, high],
        titleOf: (at) => looks[at]!.name,
        looks,
        valueAt: (at, i) => factor.data[i * rank + at]!,
        labelOf,
      });
    },
    table: () => ({
      head: ["index", ...looks.map((look) => `component ${look.name}`)],
      rows: rowsOf(factor, labelOf),
    }),
  };
}

/** The factor of a PARAFAC2 model that is another in every slice: slice behind slice. */
function evolvingFigure(model: KruskalModel, name: string, looks: readonly Look[], sliceOf: LabelOf): Figure {
  const places = model.projections!.flatMap(({ shape }, k) =>
    Array.from({ length: shape[0]! }, (_, i) => `${sliceOf(k)}: ${i}`),
  );
  return {
    ...factorFigure(evolving(model), 1, name, looks, (row) => places[row]!),
    words: `A line a component: its column of P·B over the indices of ${name}, slice behind slice. A place is named by its slice and its index. All on one scale.`,
  };
}

function* rowsOf({ shape, data }: Values, labelOf: LabelOf): Generator<readonly (string | number)[]> {
  const [rows, columns] = shape as [number, number];
  for (let row = 0; row < rows; row++) yield [labelOf(row), ...data.subarray(row * columns, (row + 1) * columns)];
}

interface PanelLines {
  count: number;
  length: number;
  range: readonly [number, number];
  titleOf(panel: number): string;
  looks?: readonly Look[];
  valueAt(panel: number, index: number): number;
  labelOf?: LabelOf;
  least?: number;
}

function panelLines(width: number, palette: Palette, of: PanelLines): string {
  const { count, length, range, titleOf, looks, valueAt, labelOf = (index) => tick(index), least = 165 } = of;
  const left = 46;
  const grid = gridOf(count, width - left, least, 0.55, 5);
  const [down, foot] = [20, 22];
  const height = grid.rows * (grid.height + down) + foot;
  const parts: string[] = [];
  for (let at = 0; at < count; at++) {
    const [column, row] = [at % grid.columns, Math.floor(at / grid.columns)];
    const top = row * (grid.height + down) + down;
    const from = left + column * grid.width + 4;
    const to = left + (column + 1) * grid.width - 8;
    const x = linear(0, Math.max(1, length - 1), [from, to], { ticks: 3, integers: true });
    const y = linear(range[0], range[1], [top + grid.height - 4, top], { ticks: 3 });
    const look = looks?.[at];
    const colour = look?.selected ? palette.mark : palette.accent;
    parts.push(
      el("rect", { x: from, y: top, width: to - from, height: grid.height - 4, fill: "none", stroke: palette.line }),
    );
    for (const value of y.ticks) {
      parts.push(
        el("line", {
          x1: from,
          x2: to,
          y1: y(value),
          y2: y(value),
          stroke: value ? palette.line : palette.quiet,
          "stroke-width": value ? 1 : 0.7,
        }),
      );
      if (!column)
        parts.push(label(from - 5, y(value) + 4, tick(value), { anchor: "end", fill: palette.quiet, size: 12 }));
    }
    const below = at + grid.columns >= count;
    if (below)
      for (const [place, value] of x.ticks.entries())
        parts.push(
          label(x(value), top + grid.height + 11, shortened(labelOf(value)), {
            anchor: place === 0 ? "start" : place === x.ticks.length - 1 && x(value) > to - 14 ? "end" : "middle",
            fill: palette.quiet,
            size: 12,
          }),
        );
    const { xs, ys } = thinned(length, (i) => valueAt(at, i));
    const line = el("path", {
      d: pathOf(xs.map(x), ys.map(y)),
      fill: "none",
      stroke: colour,
      "stroke-width": look?.selected ? 2.5 : 1.6,
    });
    const dots =
      length <= 24
        ? xs
            .map((i, k) =>
              el(
                "circle",
                { cx: x(i), cy: y(ys[k]!), r: 2.2, fill: colour },
                el("title", {}, words(`${labelOf(i)}: ${digits(ys[k]!)}`)),
              ),
            )
            .join("")
        : "";
    const title = `${titleOf(at)}${look?.hidden ? " (hidden)" : ""}`;
    parts.push(
      el("g", { opacity: look?.hidden ? 0.25 : undefined }, line, dots),
      label(from, top - 5, title, { fill: look?.selected ? palette.mark : palette.text }),
    );
  }
  return picture(width, height, palette, ...parts);
}

function largest(values: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i]!);
    if (size > most) most = size;
  }
  return most;
}

/** A bar of colours with the number that has full colour. */
const scaleBar = (palette: Palette, x: number, y: number, most: number): string =>
  label(x, y + 9, `−${tick(most)}`, { anchor: "end", fill: palette.quiet, size: 12 }) +
  heatMap(
    palette,
    { values: Array.from({ length: 33 }, (_, at) => at / 16 - 1), rows: 1, columns: 33, most: 1 },
    { x: x + 5, y, width: 99, height: 10 },
  ) +
  label(x + 109, y + 9, tick(most), { fill: palette.quiet, size: 12 });

interface Maps {
  count: number;
  rows: number;
  columns: number;
  valuesOf(panel: number): ArrayLike<number>;
  /** the number of full colour; null: each panel its own largest */
  most: number | null;
  titleOf(panel: number): string;
  looks?: readonly Look[];
  least: number;
}

/** Matrices as coloured cells, side by side. */
function panelMaps(width: number, palette: Palette, of: Maps): string {
  const { count, rows, columns, valuesOf, most, titleOf, looks, least } = of;
  const gap = 10;
  const grid = gridOf(count, width, least, 1, 10);
  // cells are squares unless that would make a panel very flat or tall
  const ratio = Math.min(1.6, Math.max(0.12, rows / columns));
  const side = Math.min(grid.width - gap, count === 1 ? 420 : 240);
  const [w, h] = [side, side * ratio];
  const down = 18;
  const head = most === null ? 0 : 22;
  const height = head + grid.rows * (h + down + 6);
  const parts: string[] = most === null ? [] : [scaleBar(palette, 52, 2, most)];
  for (let at = 0; at < count; at++) {
    const values = valuesOf(at);
    const x = (at % grid.columns) * Math.min(grid.width, side + gap);
    const y = head + Math.floor(at / grid.columns) * (h + down + 6) + down;
    const look = looks?.[at];
    const map = heatMap(
      palette,
      { values, rows, columns, most: most ?? largest(values) },
      { x, y, width: w, height: h },
    );
    const edge = el("rect", {
      x,
      y,
      width: w,
      height: h,
      fill: "none",
      stroke: look?.selected ? palette.mark : palette.line,
      "stroke-width": look?.selected ? 3 : 1,
    });
    const title = `${titleOf(at)}${look?.hidden ? " (hidden)" : ""}`;
    parts.push(
      el("g", { opacity: look?.hidden ? 0.25 : undefined }, map, edge),
      label(x, y - 5, title, { fill: look?.selected ? palette.mark : palette.text }),
    );
  }
  return picture(width, height, palette, ...parts);
}

/** dots of a panel: of more, those farthest from 0 are drawn */
const MOST_ROWS = 400;
/** dots of a panel that have their names beside them */
const MOST_NAMES = 8;

/** The places of names of which none lies over another before it. */
function apart<P extends { x: number; y: number }>(places: readonly P[]): P[] {
  const free: P[] = [];
  for (const place of places)
    if (free.every(({ x, y }) => Math.abs(x - place.x) > 60 || Math.abs(y - place.y) > 12)) free.push(place);
  return free;
}

/** Two components of every mode against each other, a dot an index. */
function pairFigure(
  data: DecompositionData,
  model: KruskalModel | TuckerModel,
  looks: readonly (readonly Look[])[],
  selected: Selected | null,
): Figure | null {
  const panels = model.factors.flatMap((factor, mode) => {
    const axis = axisOf(model, mode);
    const isCommon = !(model.kind === "kruskal" && model.projections && mode === 1);
    if (!factor || factor.shape[1]! < 2 || !isCommon) return [];
    const [rows, rank] = factor.shape as [number, number];
    // the selected component and the first other one, or the first two
    const first = selected?.axis === axis ? looks[axis]!.findIndex((look) => look.selected) : 0;
    const pair = first > 0 ? ([first, 0] as const) : ([0, 1] as const);
    const place = (at: number): [number, number] => [
      factor.data[at * rank + pair[0]]!,
      factor.data[at * rank + pair[1]]!,
    ];
    return [{ mode, rows, place, names: pair.map((at) => looks[axis]![at]!.name) as [string, string] }];
  });
  if (!panels.length) return null;
  const told = [...new Set(panels.map(({ names }) => names.join(" and ")))].join("; ");
  return {
    id: "pairs",
    title: "Two components against each other",
    words: `A dot an index of the mode: its entry in one component across, in another up (components ${told}). Indices that lie together behave alike in both; those far from 0 have their names beside them.`,
    label: `Entries of components ${told} against each other, for ${panels.map(({ mode }) => data.modes[mode]!).join(", ")}`,
    draw(width, palette) {
      const left = 46;
      const grid = gridOf(panels.length, width - left, 260, 0.8, 3);
      const step = grid.height + 60;
      const parts = panels.flatMap(({ mode, rows, place, names }, at) => {
        const from = left + (at % grid.columns) * grid.width + 4;
        const top = Math.floor(at / grid.columns) * step + 40;
        const farthest = [...new Array(rows).keys()]
          .map((row) => ({ row, distance: Math.hypot(...place(row)) }))
          .sort((a, b) => b.distance - a.distance)
          .slice(0, MOST_ROWS);
        const drawn = farthest.map(({ row }) => ({ row, place: place(row) }));
        const [xs, ys] = [0, 1].map((axis) => [0, ...drawn.map((dot) => dot.place[axis]!)]) as [number[], number[]];
        const x = linear(Math.min(...xs), Math.max(...xs), [from, from + grid.width - 62]);
        const y = linear(Math.min(...ys), Math.max(...ys), [top + grid.height - 24, top]);
        return [
          axes(palette, { x, y, xName: `component ${names[0]}`, yName: `component ${names[1]}` }),
          label(from, top - 26, data.modes[mode]!),
          ...drawn.map((dot) =>
            el(
              "circle",
              { cx: x(dot.place[0]), cy: y(dot.place[1]), r: 3, fill: palette.accent, "fill-opacity": 0.6 },
              el(
                "title",
                {},
                words(`${labelsOf(data, mode)(dot.row)}: ${dot.place.map((value) => digits(value, 3)).join(", ")}`),
              ),
            ),
          ),
          ...apart(drawn.map((dot) => ({ x: x(dot.place[0]) + 6, y: y(dot.place[1]) + 4, row: dot.row })))
            .slice(0, MOST_NAMES)
            .map((name) =>
              label(name.x, name.y, shortened(labelsOf(data, mode)(name.row)), { fill: palette.mark, size: 12 }),
            ),
        ];
      });
      return picture(width, grid.rows * step, palette, ...parts);
    },
    table: () => ({
      head: ["mode", "index", "component across", "entry", "component up", "entry"],
      rows: panels.flatMap(({ mode, rows, place, names }) =>
        Array.from({ length: rows }, (_, row) => {
          const [across, up] = place(row);
          return [data.modes[mode]!, labelsOf(data, mode)(row), names[0], across, names[1], up];
        }),
      ),
    }),
  };
}

/** The core of a Tucker model: modes 0 and 1 as a matrix, a panel for every place of the others. */
function coreFigure(core: Values, block?: number): Figure {
  const [rows = 1, columns = 1, ...others] = core.shape;
  const count = others.reduce((product, extent) => product * extent, 1);
  const panels = Math.min(count, MOST_PANELS);
  const ofBlock = block === undefined ? "" : ` of block ${block + 1}`;
  const energy = core.data.reduce((sum, value) => sum + value * value, 0) || 1;
  const top = core.data.reduce((most, value) => Math.max(most, value * value), 0) / energy;
  const placeOf = (panel: number): string => {
    const place: number[] = [];
    let rest = panel;
    for (const extent of [...others].reverse()) {
      place.unshift((rest % extent) + 1);
      rest = Math.floor(rest / extent);
    }
    return place.length ? `(·, ·, ${place.join(", ")})` : "core";
  };
  const more = panels < count ? ` The first ${panels} of ${count} are drawn.` : "";
  return {
    id: `${block === undefined ? "" : `block-${block + 1}-`}core`,
    title: `Core${ofBlock}`,
    words: `How much of each combination of columns the model takes: components of mode 0 down, of mode 1 across${count > 1 ? ", a panel for each of the other modes" : ""}. Orange is above 0, blue below. The largest entry has ${(100 * top).toFixed(0)} % of the energy.${more}`,
    label: `Core${ofBlock} of ${core.shape.join(" × ")} entries; the largest has ${(100 * top).toFixed(0)} % of the energy`,
    draw: (width, palette) =>
      panelMaps(width, palette, {
        count: panels,
        rows,
        columns,
        most: largest(core.data),
        least: Math.min(200, Math.max(64, columns * 12)),
        titleOf: placeOf,
        valuesOf: (panel) => Float32Array.from({ length: rows * columns }, (_, at) => core.data[at * count + panel]!),
      }),
    table: () => ({
      head: [...core.shape.map((_, mode) => `component of mode ${mode}`), "value"],
      rows: entriesOf(core, 1),
    }),
  };
}

/** Every entry with its place, counted from `first`. */
function* entriesOf({ shape, data }: Values, first: number): Generator<readonly number[]> {
  const index = shape.map(() => 0);
  for (const value of data) {
    yield [...index.map((at) => at + first), value];
    for (let mode = shape.length - 1; mode >= 0; mode--) {
      if (++index[mode]! < shape[mode]!) break;
      index[mode] = 0;
    }
  }
}

/** The cores of a train or a ring: a row for every pair of ranks, the mode across. */
function coresFigures({ kind, cores }: CoresModel, modes: readonly string[]): Figure[] {
  return cores.map((core, k) => {
    const [left, extent, right] = core.shape as [number, number, number];
    const pairs = left * right;
    const shown = Math.min(pairs, 64);
    const columns = Math.min(extent, 256);
    return {
      id: `core-${k}`,
      title: `Core of ${modes[k]!}`,
      words: `Core ${k} of the ${kind}, ${left}×${extent}×${right}: ${modes[k]!} across, a row for every pair of ranks${shown < pairs ? ` (the first ${shown} of ${pairs})` : ""}. Only products of all cores mean something: a core by itself may be rotated.`,
      label: `Core ${k} of the ${kind}, ${left} by ${extent} by ${right}`,
      draw(width, palette) {
        const values = new Float32Array(shown * columns);
        for (let pair = 0; pair < shown; pair++) {
          const [a, b] = [Math.floor(pair / right), pair % right];
          for (let i = 0; i < extent; i++) {
            const bin = Math.floor((i * columns) / extent);
            const value = core.data[(a * extent + i) * right + b]!;
            const at = pair * columns + bin;
            // the strongest of those that share a cell
            if (Math.abs(value) > Math.abs(values[at]!)) values[at] = value;
          }
        }
        const height = Math.max(60, Math.min(420, shown * 18));
        const most = largest(values);
        return picture(
          width,
          height + 30,
          palette,
          scaleBar(palette, 52, 2, most),
          heatMap(palette, { values, rows: shown, columns, most }, { x: 0, y: 24, width, height }),
        );
      },
      table: () => ({ head: ["rank before", "index", "rank behind", "value"], rows: entriesOf(core, 0) }),
    };
  });
}

/** A picture of every component. */
function imageFigure(
  data: DecompositionData,
  model: DecompositionData["model"],
  choice: ImageChoice,
  looks: readonly (readonly Look[])[],
): Figure | null {
  const first = imagesOf(model, choice, 2);
  if (!first) return null;
  const of =
    choice.kind === "pair"
      ? `${data.modes[choice.modes[0]]!} down, ${data.modes[choice.modes[1]]!} across`
      : `the column of ${data.modes[choice.mode]!}, folded into ${choice.rows} rows`;
  const total = looks[first.axis]!.length;
  const count = Math.min(total, MOST_IMAGES);
  return {
    id: "images",
    title: "Components as images",
    words: `${capital(of)}, each on its own scale: orange is above 0, blue below.${count < total ? ` The first ${count} of ${total} are drawn.` : ""}`,
    label: `${plural(count, "component")} as images: ${of}`,
    draw(width, palette) {
      const side = Math.min(64, Math.max(24, Math.floor(Math.sqrt(MOST_CELLS / count))));
      const { rows, columns, images, axis } = imagesOf(model, choice, side)!;
      return panelMaps(width, palette, {
        count,
        rows,
        columns,
        most: null,
        least: 96,
        looks: looks[axis]!,
        titleOf: (at) => looks[axis]![at]!.name,
        valuesOf: (at) => images[at]!,
      });
    },
    table() {
      const { rows, columns, images, axis } = imagesOf(model, choice, 1024)!;
      return {
        head: ["row", "column", ...images.map((_, at) => `component ${looks[axis]![at]!.name}`)],
        rows: (function* () {
          for (let at = 0; at < rows * columns; at++)
            yield [Math.floor(at / columns), at % columns, ...images.map((image) => image[at]!)];
        })(),
      };
    },
  };
}

function congruenceFigure(congruence: Float64Array, looks: readonly Look[]): Figure {
  const rank = looks.length;
  let [most, pair] = [0, [0, 0]];
  for (let r = 0; r < rank; r++)
    for (let s = 0; s < r; s++)
      if (Math.abs(congruence[r * rank + s]!) > Math.abs(most)) [most, pair] = [congruence[r * rank + s]!, [s, r]];
  const likest = `components ${looks[pair[0]!]!.name} and ${looks[pair[1]!]!.name} are most alike, at ${digits(most, 3)}`;
  const warning =
    most < -0.85
      ? " Near −1 they cancel: the rank may be too high."
      : Math.abs(most) > 0.85
        ? " Near 1 they are one component twice."
        : "";
  return {
    id: "congruence",
    title: "Components that are alike",
    words: `The congruence of every two components, the product of the cosines of their columns: ${likest}.${warning}`,
    label: `Congruence of every two components; ${likest}`,
    draw: (width, palette) => {
      const shift = 22;
      const side = Math.min(width - shift, 34 * rank + 20, 380);
      const cell = side / rank;
      const every = Math.ceil(14 / cell);
      const names = looks.flatMap(({ name }, at) =>
        at % every
          ? []
          : [
              label(shift - 5, shift + 24 + (at + 0.5) * cell + 4, name, {
                anchor: "end",
                fill: palette.quiet,
                size: 12,
              }),
              label(shift + (at + 0.5) * cell, shift + 19, name, { anchor: "middle", fill: palette.quiet, size: 12 }),
            ],
      );
      return picture(
        width,
        side + shift + 30,
        palette,
        scaleBar(palette, 52, 2, 1),
        ...names,
        heatMap(
          palette,
          { values: congruence, rows: rank, columns: rank, most: 1 },
          { x: shift, y: shift + 24, width: side, height: side },
        ),
      );
    },
    table: () => ({
      head: ["component", ...looks.map(({ name }) => name)],
      rows: looks.map(({ name }, r) => [name, ...congruence.subarray(r * rank, (r + 1) * rank)]),
    }),
  };
}
