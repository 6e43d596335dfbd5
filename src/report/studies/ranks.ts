/** The page of `tenfold rank`: error and core consistency over the rank, and what speaks against each rank. */
import * as Plot from "@observablehq/plot";
import type { RankFit } from "../../decompositions/index.js";
import type { RankData } from "../data.js";
import { CLASS_COLOURS, card, chartStyle, h, percent, plot, wideTable } from "../elements.js";

/** `How many components? 3 are suggested` */
export function rankHeading({ suggestion }: RankData): string {
  if (suggestion === null) return "How many components? None is suggested";
  return `How many components? ${suggestion} ${suggestion === 1 ? "is" : "are"} suggested`;
}

const COLOUR = {
  error: CLASS_COLOURS[0]!,
  consistency: CLASS_COLOURS[1]!,
  starts: CLASS_COLOURS[2]!,
  halves: CLASS_COLOURS[3]!,
  heldOut: CLASS_COLOURS[4]!,
};

/** Core consistencies below this are drawn at it. */
const LOWEST = -50;

export function rankCards(data: RankData): HTMLElement[] {
  const summary = card("Why", sentence(data.reason));
  if (!data.ranks.length) return [summary];
  return [summary, h("div", { class: "two" }, errors(data), stability(data)), figures(data)];
}

/** Where the suggested rank is marked. */
const mark = ({ suggestion }: RankData): Plot.Markish[] =>
  suggestion === null
    ? []
    : [Plot.ruleX([suggestion], { stroke: "currentColor", strokeOpacity: 0.5, strokeDasharray: "4 3" })];

const rankAxis = ({ ranks }: RankData, width: number) => ({
  label: "rank",
  domain: [0.8, ranks.length + 0.2],
  ticks: ranks.map(({ rank }) => rank).filter((_, at) => at % Math.ceil(ranks.length / (width / 40)) === 0),
  tickFormat: "d",
});

function errors(data: RankData): HTMLElement {
  const heldOut = data.ranks.filter((fit) => fit.heldOut !== null);
  const names = ["relative error", "of held-out entries"];
  const chart = plot(
    (width) =>
      Plot.plot({
        width,
        height: 300,
        marginLeft: 50,
        style: chartStyle,
        x: rankAxis(data, width),
        y: {
          label: "relative error",
          grid: true,
          domain: [0, Math.max(...data.ranks.map((fit) => Math.max(fit.relativeError, Math.min(2, fit.heldOut ?? 0))))],
        },
        ...(heldOut.length && { color: { legend: true, domain: names, range: [COLOUR.error, COLOUR.heldOut] } }),
        marks: [
          Plot.ruleY([0]),
          ...mark(data),
          Plot.lineY(data.ranks, { x: "rank", y: "relativeError", stroke: COLOUR.error, marker: "dot" }),
          Plot.lineY(heldOut, {
            x: "rank",
            y: (fit: RankFit) => Math.min(2, fit.heldOut!),
            stroke: COLOUR.heldOut,
            marker: "dot",
          }),
          Plot.tip(data.ranks, Plot.pointerX({ x: "rank", y: "relativeError", title: describe })),
        ],
      }),
    `The relative error falls from ${data.ranks[0]!.relativeError.toPrecision(3)} at rank 1 to ${data.ranks.at(-1)!.relativeError.toPrecision(3)} at rank ${data.ranks.length}`,
  );
  return card(
    "Error",
    `‖X − X̂‖ / ‖X‖ of the best start. It falls with every rank, by little once the data are explained.${heldOut.length ? " At entries that were held out it is that of a model of the others, and grows again where a rank models noise; more than 2 is drawn as 2." : ""}`,
    chart.box,
  );
}

const describe = (fit: RankFit): string =>
  [
    `rank ${fit.rank}: error ${fit.relativeError.toPrecision(4)}, ${percent(fit.explained, 2)} explained`,
    fit.coreConsistency === null ? null : `core consistency ${fit.coreConsistency.toFixed(0)} %`,
    `${fit.agreeing} of ${fit.starts} starts agree`,
    fit.splitHalf === null ? null : `halves agree to ${fit.splitHalf.toFixed(2)}`,
    fit.heldOut === null ? null : `held-out entries: error ${fit.heldOut.toPrecision(4)}`,
    ...fit.objections.map((objection) => `– ${objection}`),
  ]
    .filter((line) => line !== null)
    .join("\n");

function stability(data: RankData): HTMLElement {
  const names = ["core consistency", "starts that agree", "halves' agreement"];
  const points = data.ranks.flatMap((fit) => [
    { fit, name: names[0]!, value: fit.coreConsistency === null ? null : Math.max(LOWEST, fit.coreConsistency) },
    { fit, name: names[1]!, value: (100 * fit.agreeing) / fit.starts },
    { fit, name: names[2]!, value: fit.splitHalf === null ? null : 100 * fit.splitHalf },
  ]);
  const known = points.filter(({ value }) => value !== null);
  const lowest = Math.min(0, ...known.map(({ value }) => value!));
  const chart = plot(
    (width) =>
      Plot.plot({
        width,
        height: 300,
        marginLeft: 50,
        style: chartStyle,
        x: rankAxis(data, width),
        y: { label: "%", grid: true, domain: [lowest, 100] },
        color: { legend: true, domain: names, range: [COLOUR.consistency, COLOUR.starts, COLOUR.halves] },
        marks: [
          Plot.ruleY([0]),
          ...mark(data),
          Plot.lineY(known, { x: (p) => p.fit.rank, y: "value", stroke: "name", marker: "dot" }),
          Plot.tip(known, Plot.pointer({ x: (p) => p.fit.rank, y: "value", title: (p) => describe(p.fit) })),
        ],
      }),
    `Core consistency, starts that agree and agreement of the halves, in per cent, over the rank`,
  );
  return card(
    "Core consistency and agreement",
    `Core consistency is 100 % where the data have no use for more than the model's own products of columns; below −${-LOWEST} % it is drawn there. Starts that agree ended at the best start's model; halves are those of the longest mode.`,
    chart.box,
  );
}

function figures(data: RankData): HTMLElement {
  const isHeldOut = data.ranks.some(({ heldOut }) => heldOut !== null);
  const head = [
    ...["rank", "error", "explained", "core consistency", "starts", "halves"],
    ...(isHeldOut ? ["held out"] : []),
    ...["degeneracy", "iterations"],
  ];
  const rows = data.ranks.map((fit) => ({
    first: fit.rank === data.suggestion,
    cells: [
      `${fit.rank}${fit.rank === data.suggestion ? " ←" : ""}`,
      fit.relativeError.toPrecision(5),
      percent(fit.explained, 3),
      fit.coreConsistency === null ? "–" : `${fit.coreConsistency.toFixed(1)} %`,
      `${fit.agreeing} of ${fit.starts}`,
      fit.splitHalf === null ? "–" : fit.splitHalf.toFixed(3),
      ...(isHeldOut ? [fit.heldOut === null ? "–" : fit.heldOut.toPrecision(4)] : []),
      fit.degeneracy.toPrecision(4),
      `${fit.iterations}${fit.converged ? "" : " (not converged)"}`,
    ],
  }));
  return card(
    "Every rank",
    "The suggestion is the highest rank that nothing speaks against: core consistency of 80 % or more, half of the starts or more at the same model, halves that agree to 0.9 or more, no two terms that cancel, and held-out entries, where there are some, that it predicts better than any lower rank. Degeneracy is Σ‖terms‖² / ‖X̂‖², 1 where terms are orthogonal; – stands for what cannot be told.",
    wideTable("Every rank", head, 1, rows),
    h("ul", { class: "notes" }, ...data.ranks.map((fit) => h("li", {}, against(fit)))),
  );
}

const against = ({ rank, objections }: RankFit): string =>
  `rank ${rank}: ${objections.length ? objections.join("; ") : "nothing speaks against it"}`;

const sentence = (text: string): string => `${text[0]!.toUpperCase()}${text.slice(1)}`;
