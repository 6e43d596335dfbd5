/** The page of `tenfold rank`: error and core consistency over the rank, and what speaks against each rank. */
import type { RankFit } from "../../decompositions/index.js";
import { type Axis, type Dot, dots, drawChart, line, lineAcross, lineUp, type Mark } from "../chart.js";
import type { RankData } from "../data.js";
import { CLASS_COLOURS, card, h, percent, plot, wideTable } from "../elements.js";

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

/** Where the suggested rank is marked, and 0. */
const marksOf = ({ suggestion }: RankData): Mark[] => [
  lineAcross(0, "var(--text)", { width: 1 }),
  ...(suggestion === null ? [] : [lineUp(suggestion, "var(--text)", { width: 1, dashes: "4 3", opacity: 0.5 })]),
];

const rankAxis = ({ ranks }: RankData, width: number): Axis => ({
  name: "rank",
  domain: [0.8, ranks.length + 0.2],
  ticks: ranks.map(({ rank }) => rank).filter((_, at) => at % Math.ceil(ranks.length / (width / 40)) === 0),
});

/** A line over ranks with a dot at each. */
const curve = (points: readonly Dot[], colour: string): Mark[] => [
  line(points, colour, { width: 1.5 }),
  dots(points, { radius: 2.5 }),
];

function errors(data: RankData): HTMLElement {
  const errors = data.ranks.map((fit): Dot => ({ x: fit.rank, y: fit.relativeError, colour: COLOUR.error }));
  const heldOut = data.ranks.flatMap((fit): Dot[] =>
    fit.heldOut === null ? [] : [{ x: fit.rank, y: Math.min(2, fit.heldOut), colour: COLOUR.heldOut }],
  );
  const chart = plot(
    (width) =>
      drawChart({
        width,
        height: 300,
        x: rankAxis(data, width),
        y: { name: "relative error", domain: [0, Math.max(...[...errors, ...heldOut].map(({ y }) => y))] },
        legend: heldOut.length
          ? [
              ["relative error", COLOUR.error],
              ["of held-out entries", COLOUR.heldOut],
            ]
          : [],
        marks: [...marksOf(data), ...curve(errors, COLOUR.error), ...curve(heldOut, COLOUR.heldOut)],
        pointer: { places: errors, along: "x", tip: (at) => describe(data.ranks[at]!) },
      }).element,
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
  const names = [
    ["core consistency", COLOUR.consistency],
    ["starts that agree", COLOUR.starts],
    ["halves' agreement", COLOUR.halves],
  ] as const;
  const valuesOf = (fit: RankFit): (number | null)[] => [
    fit.coreConsistency === null ? null : Math.max(LOWEST, fit.coreConsistency),
    (100 * fit.agreeing) / fit.starts,
    fit.splitHalf === null ? null : 100 * fit.splitHalf,
  ];
  const known = data.ranks.flatMap((fit) =>
    valuesOf(fit).flatMap((y, at) => (y === null ? [] : [{ fit, x: fit.rank, y, colour: names[at]![1] }])),
  );
  const chart = plot(
    (width) =>
      drawChart({
        width,
        height: 300,
        x: rankAxis(data, width),
        y: { name: "%", domain: [Math.min(0, ...known.map(({ y }) => y)), 100] },
        legend: names,
        marks: [
          ...marksOf(data),
          ...names.flatMap(([, colour]) =>
            curve(
              known.filter((point) => point.colour === colour),
              colour,
            ),
          ),
        ],
        pointer: { places: known, tip: (at) => describe(known[at]!.fit) },
      }).element,
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
