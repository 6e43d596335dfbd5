/** What Kernels looks like. */
import { html, nothing, type TemplateResult } from "lit-html";
import { live } from "lit-html/directives/live.js";
import { isSoftware } from "../../../src/index.js";
import { boxes, dots, drawChart, line, texts } from "../../../src/report/chart.js";
import { CLASS_COLOURS, count, h } from "../../../src/report/elements.js";
import { card, fact, numberControl, scrolling, selectControl, taskBar } from "../controls.js";
import { chart, memo } from "../figures.js";
import type { View } from "../part.js";
import {
  adapterOf,
  type Bar,
  barsOf,
  choiceWords,
  chosenCases,
  digits,
  durationWords,
  type Event,
  GROUPS,
  headsOf,
  type Measured,
  ROUNDS,
  reportWords,
  roofDomain,
  roofOf,
  rowsOf,
  type State,
  secondsOf,
  shownReport,
  titleOf,
  togglePicked,
} from "./state.js";
import type { Adapter } from "./worker.js";

type Send = (event: Event) => void;

/** What the buttons do. */
export interface Actions {
  /** measures the chosen cases */
  measure(): void;
  abort(): void;
  /** hands the results to the browser as a file */
  save(): void;
}
/** height of a line of the time chart, in pixels */
const LINE_HEIGHT = 15;

export function createView(send: Send, run: Actions): View<State> {
  const times = chart(timeChart, () => "Time of each case");
  const roof = chart(roofChart, () => "Roofline");
  const adapterBox = memo(adapterCard);
  const table = memo(resultTable);
  const boxes = memo((cases: State["cases"], settings: State["settings"]) => caseBoxes({ cases, settings }, send));
  const measuredOf = memo(
    (
      cases: State["cases"],
      settings: State["settings"],
      results: State["results"],
      report: State["report"],
      opened: State["opened"],
      beside: string,
    ): Measured => ({ cases, settings, results, report, opened, beside }),
  );
  return {
    render(state) {
      const measured = measuredOf(
        ...([state.cases, state.settings, state.results, state.report, state.opened] as const),
        adapterOf(shownReport(state)),
      );
      return html`
        <p class="lead">
          How fast is your GPU at this, beside one that was measured before? Press Run: products, sweeps and training,
          which everything here is made of, are checked against a reference in f64, and then timed.
        </p>
        ${settingsCard(state, boxes(state.cases, state.settings), send, run)}
        ${card(
          "Results",
          "ms: median time of a run, of training a step. Of FMA, of copy: the share of what plain multiply-adds and a plain copy reach on this GPU. Error: the largest, relative, against f64. Variants: other kernels for the same work, and how many times as long they take.",
          scrolling("Results", table(measured, state.current)),
        )}
        <div class="two">
          ${card("Time", "Median of a run, on a logarithmic scale: shorter is faster.", times(measured))}
          ${card(
            "Roofline",
            "Each kernel by its arithmetic for a byte that it must move (Williams, Waterman & Patterson 2009). Lines are the limits measured by the probes; above the line a cache helped.",
            roof(measured),
          )}
        </div>
        ${card(
          "The adapter",
          "What this GPU and its driver say of themselves, and what the library asked for.",
          html`<div>${state.adapter ? adapterBox(state.adapter) : nothing}</div>`,
        )}
      `;
    },
  };
}

function settingsCard(state: State, boxes: TemplateResult[], send: Send, run: Actions): TemplateResult {
  const { settings, committed, results, task } = state;
  const change = (values: Partial<State["settings"]>): void => send({ type: "change", values });
  const reports: [string, string][] = [
    ["", committed.length ? "nothing" : "none committed yet"],
    ...committed.map((name): [string, string] => [name, titleOf(name)]),
  ];
  const seconds = secondsOf(state);
  return html`
    <section class="card" aria-label="Settings">
      <div class="controls">
        ${selectControl("Cases", GROUPS, settings.group, (group) => change({ group }))}
        ${numberControl("Rounds a case", ROUNDS, settings.rounds, (rounds) => change({ rounds }))}
        ${selectControl("Beside it, recorded", reports, shownReport(state), (recorded) => change({ recorded }))}
        <button type="button" ?disabled=${results.size === 0} @click=${() => run.save()}>Download JSON</button>
      </div>
      <details>
        <summary>Pick cases one by one</summary>
        <div class="cases">${boxes}</div>
      </details>
      ${
        seconds === null || task.phase === "running"
          ? nothing
          : html`<p id="takes">
              ${count(chosenCases(state).length)} cases take ${durationWords(seconds)} on ${
                isSoftware(Object.values(state.adapter!.info).join(" ")) ? "this adapter, which is software" : "a GPU"
              }.
            </p>`
      }
      ${taskBar(task, { onRun: () => run.measure(), onStop: () => run.abort() })}
      <p id="choices" .textContent=${choiceWords(state)}></p>
      <p .textContent=${reportWords(state)}></p>
    </section>`;
}

function caseBoxes(of: Pick<State, "cases" | "settings">, send: Send): TemplateResult[] {
  const chosen = new Set(chosenCases(of));
  return of.cases.map(({ name }, index) => {
    const toggle = (): void => send({ type: "change", values: { group: "own", picked: togglePicked(of, index) } });
    return html`<label class="check"
      ><input type="checkbox" .checked=${live(chosen.has(index))} @change=${toggle} />${name}</label
    >`;
  });
}

const resultTable = (measured: Measured, current: string): TemplateResult => html`
  <table class="results">
    <thead>
      <tr>
        ${headsOf(measured).map(
          (name) => html`<th scope="col" class=${name === "variants" ? "left" : nothing}>${name}</th>`,
        )}
      </tr>
    </thead>
    <tbody>
      ${rowsOf(measured, current).map(
        ({ name, shapes, state: how, cells }) => html`
          <tr data-case=${name} data-state=${how}>
            <th scope="row">${name}<span class="shapes">${shapes}</span></th>
            ${cells.map((text, index) => html`<td class=${index === 6 ? "left" : nothing}>${text}</td>`)}
          </tr>`,
      )}
    </tbody>
  </table>`;

/** The text that stands in place of an empty chart. */
const nothingYet = (): HTMLElement => h("p", {}, "Nothing measured yet.");

/** A line for the name of every case, and below it one for each of its bars. */
function timeChart(width: number, measured: Measured): Element {
  const { bars, parties } = barsOf(measured);
  if (bars.length === 0) return nothingYet();
  const colours = parties.map((party, at) => [party, CLASS_COLOURS[at % CLASS_COLOURS.length]!] as const);
  const least = 10 ** Math.floor(Math.log10(Math.min(...bars.map(({ ms }) => ms))) - 0.3);
  const most = Math.max(...bars.map(({ ms }) => ms));
  const lines: (string | Bar)[] = [...new Set(bars.map(({ name }) => name))].flatMap((name) => {
    const ofCase = bars.filter((bar) => bar.name === name);
    return [name, ...parties.flatMap((party) => ofCase.filter((bar) => bar.party === party))];
  });
  const drawn = lines.flatMap((bar, at) =>
    typeof bar === "string"
      ? []
      : [
          {
            x: [least, bar.ms] as const,
            y: [at + 0.05, at + 0.95] as const,
            colour: colours[parties.indexOf(bar.party)]![1],
            title: `${bar.name}\n${bar.party}: ${digits(bar.ms)} ms`,
          },
        ],
  );
  const names = lines.flatMap((text, at) => (typeof text === "string" ? [{ x: least, y: at + 0.5, text }] : []));
  return drawChart({
    width,
    height: 60 + lines.length * LINE_HEIGHT,
    left: 8,
    x: { name: "ms", isLogarithmic: true, domain: [least, 2 * most], grid: true },
    y: { domain: [lines.length, 0], ticks: [] },
    legend: colours,
    marks: [boxes(drawn), texts(names, { down: 6 })],
  }).element;
}

const ROOFS = [
  ["here", "#0072b2"],
  ["recorded", "#d55e00"],
] as const;

function roofChart(width: number, measured: Measured): Element {
  const { points, roofs } = roofOf(measured);
  if (points.length === 0) return nothingYet();
  const rates = points.map(({ rate }) => rate);
  const places = points.map(({ intensity, rate, where }) => ({
    ...{ x: intensity, y: rate },
    colour: ROOFS.find(([name]) => name === where)![1],
  }));
  return drawChart({
    width,
    height: 380,
    left: 55,
    x: { name: "flop a byte", isLogarithmic: true, grid: true, domain: roofDomain(points) },
    y: {
      name: "GFLOP/s",
      isLogarithmic: true,
      domain: [Math.min(...rates) / 2, 1.5 * Math.max(...rates, ...roofs.map(({ rate }) => rate))],
    },
    legend: ROOFS,
    marks: [
      ...ROOFS.map(([name, colour]) =>
        line(
          roofs.filter(({ where }) => where === name).map(({ x, rate }) => ({ x, y: rate })),
          colour,
          { dashes: "6 4" },
        ),
      ),
      dots(places, { radius: 4, opacity: 0.75 }),
    ],
    pointer: {
      places,
      tip: (at) => {
        const { name, rate, intensity, where } = points[at]!;
        return `${name}\n${digits(rate)} GFLOP/s, ${digits(intensity)} flop a byte, ${where}`;
      },
    },
  }).element;
}

const limitTable = (label: string, heads: string[], rows: (readonly string[])[]): TemplateResult =>
  scrolling(
    label,
    html`<table class="limits">
      <thead>
        <tr>${heads.map((text) => html`<th scope="col">${text}</th>`)}</tr>
      </thead>
      <tbody>
        ${rows.map(
          ([first, ...rest]) =>
            html`<tr><th scope="row">${first}</th>${rest.map((text) => html`<td>${text}</td>`)}</tr>`,
        )}
      </tbody>
    </table>`,
  );

const adapterCard = ({ info, limits, features }: Adapter): TemplateResult => html`
  <dl class="facts">${Object.entries(info).map(([name, value]) => fact(name, value || "–"))}</dl>
  <details>
    <summary>Limits and features</summary>
    <div class="two">
      ${limitTable(
        "Limits",
        ["limit", "adapter", "asked for"],
        limits.map((limit) => [limit.name, count(limit.adapter), limit.device === null ? "" : count(limit.device)]),
      )}
      ${limitTable(
        "Features",
        ["feature", "asked for"],
        features.map(({ name, used }) => [name, used === null ? "" : used ? "yes" : "no"]),
      )}
    </div>
  </details>`;
