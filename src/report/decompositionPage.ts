/** A decomposition as one HTML file, which asks nobody for anything: its facts, and every figure. */
import { type FigureOptions, figuresOf } from "./decomposition.js";
import { count, percent } from "./elements.js";
import { digits } from "./figure.js";
import { figurePage } from "./figurePage.js";
import { type DecompositionData, errorWithout } from "./model.js";

/** What there is to say of a decomposition, name by name. `error`: of the components that are on show. */
export function factsOfDecomposition(
  data: DecompositionData,
  error = data.relativeError,
): [name: string, text: string][] {
  const { match } = data;
  const [size, entries] = sizeOf(data);
  return [
    ["data", `${data.data}, ${size}`],
    ["method", `${data.method}; ${data.options}`],
    [error === data.relativeError ? "relative error" : "relative error of the components on show", digits(error)],
    ["explained", percent(1 - error * error, 2)],
    ["numbers stored", `${count(data.parameters)} (${percent(data.parameters / entries)} of the entries)`],
    ["run", `${data.ending}, ${data.seconds.toFixed(2)} s`],
    ...(data.starts && data.starts.errors.length > 1
      ? [["starts that agree", `${data.starts.agreeing} of ${data.starts.errors.length}`] as [string, string]]
      : []),
    ...(match === null ? [] : [["factor match score", match.toFixed(4)] as [string, string]]),
  ];
}

/** The size of a tensor, or of slices, in words, and how many entries it has. */
function sizeOf({ shape, model }: DecompositionData): [size: string, entries: number] {
  const [, , columns = 0] = shape;
  const rows = model.kind === "kruskal" ? (model.projections ?? []).map((projection) => projection.shape[0]!) : [];
  const [least, most] = [Math.min(...rows), Math.max(...rows)];
  return least < most
    ? [`${rows.length} slices of ${least} to ${most} × ${columns}`, columns * rows.reduce((a, b) => a + b, 0)]
    : [shape.join(" × "), shape.reduce((product, extent) => product * extent, 1)];
}

/** The page. Figures are drawn 940 pixels wide; the components are those that `options` show. */
export const decompositionPage = (data: DecompositionData, options: FigureOptions = {}): string =>
  [...decompositionPieces(data, options)].join("");

/** The page in pieces, one a figure, for whom the page is too much at once. */
export function decompositionPieces(data: DecompositionData, options: FigureOptions = {}): Generator<string> {
  const error = (options.turn && errorWithout(data, options.turn.hidden)) ?? data.relativeError;
  return figurePage({
    title: `${data.data}: ${data.method}`,
    lead: `Decomposed by tenfold on ${data.adapter}, ${data.date.slice(0, 10)}.`,
    facts: factsOfDecomposition(data, error),
    figures: figuresOf(data, options),
  });
}
