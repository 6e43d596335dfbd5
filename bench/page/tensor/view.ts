/** What a tensor of one's own looks like. */
import { html, nothing, type TemplateResult } from "lit-html";
import { METHODS, OPTIONS } from "../../../src/methods/index.js";
import { svgElement } from "../../../src/report/chart.js";
import { convergenceFigure, figuresOf, type Selected } from "../../../src/report/decomposition.js";
import { factsOfDecomposition } from "../../../src/report/decompositionPage.js";
import { type Chart, count, plot } from "../../../src/report/elements.js";
import { digits, type Figure } from "../../../src/report/figure.js";
import {
  axesOf,
  errorsWithoutOne,
  flipped,
  hasComponents,
  ordered,
  sizesOf,
  toggled,
  unturned,
} from "../../../src/report/model.js";
import { PAGE } from "../../../src/report/svg.js";
import { checkControl, dataLinks, fact, numberControl, selectControl, taskBar, textControl } from "../controls.js";
import { memo } from "../figures.js";
import type { View } from "../part.js";
import { KNOWN_FILES } from "./formats.js";
import type { FigureFile } from "./save.js";
import {
  algorithmFor,
  algorithmsOf,
  BOUNDS,
  canRun,
  capital,
  type Event,
  type Fill,
  factsOfFile,
  fieldsOf,
  imageChoices,
  imageOf,
  isNonnegative,
  methodOf,
  obstacle,
  optionsInWords,
  type Problem,
  parseList,
  type State,
  shownError,
  subjectOf,
  titleOf,
  written,
} from "./state.js";

type Send = (event: Event) => void;
/** the browser's; `Event` is the part's */
type DomEvent = globalThis.Event;

/** What the buttons do. */
export interface Actions {
  open(file: File): void;
  choose(member: number): void;
  abortReading(): void;
  start(): void;
  abort(): void;
  saveFactors(): void;
  saveReport(): void;
  saveFigure(figure: Figure, kind: FigureFile): void;
}

export function createView(send: Send, run: Actions): View<State> {
  const figures = new FigureCards(run);
  const known = knownOf();
  return {
    render: (state) => html`
      <p class="lead">
        Drop an array of numbers with several modes, such as sample × wavelength × time, and see what it is made of: a few
        components, each with a column for every mode.
      </p>
      ${dataCard(state, send, run)} ${settingsCard(state, send, run)} ${figures.running(state)}
      ${state.shown ? resultOf(state, send, run, figures, known) : nothing}
    `,
  };
}

// ---- the data

function dataCard(state: State, send: Send, run: Actions): TemplateResult {
  const { settings, file, reading, problem } = state;
  const links = dataLinks(settings.data, (data) => `#tensor?${new URLSearchParams(written({ ...settings, data }))}`);
  return html`
    <section class="card" aria-label="Data">
      ${links}
      ${
        settings.data === "file"
          ? html`${fileControls(state, run)} ${file ? fileFacts(state, send, run) : nothing}`
          : html`<p>
              Made by the page: 40 samples of three substances, each with a spectrum of 30 wavelengths and a decay of 24
              times, and 5 % of noise. The factor match score says how well a CP finds the substances again: 1 is exactly.
            </p>`
      }
      <p class="unseen" role="status" aria-live="polite" .textContent=${reading.phase === "running" ? "" : reading.words}></p>
      ${problem ? problemBox(problem) : nothing}
    </section>`;
}

function fileControls({ reading }: State, run: Actions): TemplateResult {
  const isReading = reading.phase === "running";
  const pick = (event: DomEvent): void => {
    const input = event.target as HTMLInputElement;
    const file = input.files?.[0];
    // the same file may be chosen again, after it was mended
    input.value = "";
    if (file) run.open(file);
  };
  const press = (event: DomEvent): void =>
    (event.currentTarget as HTMLElement).parentElement!.querySelector<HTMLInputElement>("input[type=file]")!.click();
  return html`
    <div class="drop">
      <input type="file" hidden accept=".npy,.npz,.mat,.h5,.hdf5,.csv,.tsv,.txt" @change=${pick} />
      <button type="button" class="run" @click=${press}>Choose a file…</button>
      <span class="words">or drop one on this page: ${KNOWN_FILES}. <strong>It stays in this browser: nothing is sent anywhere.</strong></span>
    </div>
    ${
      isReading
        ? html`<div class="runner reading">
            <button type="button" @click=${() => run.abortReading()}>Stop reading</button>
            <progress max="1" .value=${reading.done} aria-label="Progress of reading"></progress>
            <p class="status" .textContent=${reading.words}></p>
          </div>`
        : nothing
    }`;
}

function fileFacts(state: State, send: Send, run: Actions): TemplateResult {
  const { file, settings } = state;
  const member = file!.members[file!.member];
  const bad = (file!.inspection?.missing ?? 0) + (file!.inspection?.infinite ?? 0);
  const obstructed = obstacle(state);
  return html`
    <div id="file" data-name=${file!.name}>
      <h2>${file!.name} <span class="quiet">${file!.kind}</span></h2>
      <div class="controls">
        ${
          file!.members.length > 1
            ? selectControl(
                "Array",
                file!.members.map(({ name, shape }, at) => [at, `${name}, ${shape.join("×") || "a scalar"}`] as const),
                file!.member,
                (at) => run.choose(at),
              )
            : nothing
        }
        ${
          member && !member.slices
            ? textControl(
                "Another shape (the same entries)",
                settings.shape?.join("×") ?? "",
                member.shape.join("×"),
                (text) => send({ type: "change", values: { shape: text.trim() ? parseList(text) : null } }),
              )
            : nothing
        }
        ${
          bad
            ? selectControl<Fill>(
                "Entries that are not finite",
                [
                  ["stop", "refuse them"],
                  ["missing", "leave them out: they are missing"],
                  ["mean", "put the mean of the others"],
                  ["zero", "put 0"],
                ],
                settings.fill,
                (fill) => send({ type: "change", values: { fill } }),
              )
            : nothing
        }
      </div>
      <dl class="facts">${factsOfFile(state).map(([name, text]) => fact(name, text))}</dl>
      ${member?.note ? html`<p>${capital(member.note)}.</p>` : nothing}
      ${
        file!.skipped.length
          ? html`<details><summary>${file!.skipped.length} not read</summary><ul class="notes">
              ${file!.skipped.map(([name, reason]) => html`<li>${name}: ${reason}</li>`)}
            </ul></details>`
          : nothing
      }
      ${obstructed ? problemBox(obstructed) : nothing}
    </div>`;
}

const problemBox = ({ words, advice }: Problem): TemplateResult =>
  html`<div class="problem" role="alert"><strong>${words}</strong> ${advice}</div>`;

// ---- what is asked for

function settingsCard(state: State, send: Send, run: Actions): TemplateResult {
  const { settings, task } = state;
  const method = methodOf(settings.method);
  const change = (values: Partial<State["settings"]>): void => send({ type: "change", values });
  const order = subjectOf(state)?.shape.length ?? 3;
  const algorithm = algorithmFor(method, settings);
  const algorithms = algorithmsOf(method, settings);
  const controls = fieldsOf(method, settings).map((field) => {
    const { label } = OPTIONS[field];
    if (field === "ranks")
      return textControl(
        `${label}: one for all, or ${method.places!.count(order)}`,
        settings.ranks.join(", "),
        "3",
        (text) => change({ ranks: parseList(text) ?? settings.ranks }),
      );
    if (field === "nonnegative")
      return checkControl(label, settings.nonnegative, (nonnegative) => change({ nonnegative }));
    const value = settings[field] ?? algorithm.defaults[field]!;
    return numberControl(label, BOUNDS[field], value, (next) => change({ [field]: next }));
  });
  const disabled = task.phase !== "running" && !canRun(state);
  return html`
    <section class="card" aria-label="Settings">
      <div class="controls">
        ${selectControl(
          "Method",
          METHODS.map(({ name, title, summary }) => [name, `${title}: ${summary}`] as const),
          method.name,
          (name) => change({ method: name, algorithm: "" }),
        )}
        ${
          algorithms.length > 1
            ? selectControl(
                "Algorithm",
                algorithms.map(({ name }) => [name, name] as const),
                algorithm.name,
                (name) => change({ algorithm: name === algorithms[0]!.name ? "" : name }),
              )
            : nothing
        }
        ${controls}
      </div>
      <p>${algorithm.note}</p>
      ${
        isNonnegative(method, settings) && settings.data === "file" && state.file?.inspection?.negative
          ? html`<p class="early">${count(state.file.inspection.negative)} entries are negative: this method cannot follow them.</p>`
          : nothing
      }
      ${settings.data === "example" && obstacle(state) ? problemBox(obstacle(state)!) : nothing}
      ${taskBar(task, { disabled, name: "Decompose", onRun: () => run.start(), onStop: () => run.abort() })}
    </section>`;
}

// ---- the result

/** What takes a pass over a model, and is shown again with every sweep of the next run. */
const knownOf = () => ({
  error: memo((shown: Shown, turn: TurnOnShow) => shownError({ shown, turn })),
  sizes: memo((shown: Shown) => sizesOf(shown.model)),
  without: memo((shown: Shown, axis: number) => errorsWithoutOne(shown, axis)),
});
type Known = ReturnType<typeof knownOf>;
type Shown = NonNullable<State["shown"]>;
type TurnOnShow = NonNullable<State["turn"]>;

function resultOf(state: State, send: Send, run: Actions, figures: FigureCards, known: Known): TemplateResult {
  const { shown, turn, settings } = state;
  const error = known.error(shown!, turn!);
  const facts = factsOfDecomposition(shown!, error ?? shown!.relativeError);
  const isOther =
    shown!.method !== titleOf(methodOf(settings.method), settings) ||
    shown!.options !== optionsInWords(settings, methodOf(settings.method)) ||
    shown!.data !== subjectOf(state)?.name;
  const choices = imageChoices(shown!.model, shown!.shape, shown!.modes);
  return html`
    <section class="card" aria-label="Result">
      <h2>${shown!.method} of ${shown!.data}</h2>
      ${isOther ? html`<p>This is the result of before; Decompose makes one of the settings above.</p>` : nothing}
      <dl class="facts" id="facts" data-error=${error ?? nothing} data-all=${shown!.relativeError} data-match=${shown!.match ?? nothing}>
        ${facts.slice(2).map(([name, text]) => fact(name, text))}
      </dl>
      <p>${shown!.options}.${shown!.slices || (shown!.model.kind === "kruskal" && shown!.model.projections) ? "" : " The residual by mode was not measured: there was no room for it on the GPU, or the numbers are too large or too small for their squares."}</p>
      <div class="controls">
        <span class="choices">
          <button type="button" @click=${() => run.saveFactors()}>Download the factors (.npz)</button>
          <button type="button" @click=${() => run.saveReport()}>Download a report (.html)</button>
        </span>
        ${
          choices.length > 1
            ? selectControl(
                "Components as images",
                choices,
                imageOf(settings, shown!.model, shown!.shape) ? settings.image : "",
                (image) => send({ type: "change", values: { image } }),
              )
            : nothing
        }
      </div>
      ${turn && axesOf(shown!.model).length ? componentsOf(state, send, known) : nothing}
    </section>
    ${figures.result(state)}`;
}

/** Every component with its size, what the model is without it, and whether it is on show. */
function componentsOf(state: State, send: Send, known: Known): TemplateResult {
  const { shown, turn, selected, axis } = state;
  const { model, modes } = shown!;
  const isTucker = model.kind === "tucker";
  const axes = axesOf(model)
    .map((_, at) => at)
    .filter((at) => hasComponents(model, at));
  if (!axes.length) return html`<p>No mode was reduced: there are no components.</p>`;
  const sizes = known.sizes(shown!)[axis]!;
  const errors = known.without(shown!, axis);
  const most = Math.max(...sizes) || 1;
  const order = turn!.orders[axis]!;
  const shownOrder = order.slice(0, MOST_ROWS);
  const setTurn = (next: NonNullable<State["turn"]>): void => send({ type: "turn", turn: next });
  const isHidden = turn!.hidden.some((of) => of.includes(true));
  const row = (r: number): TemplateResult => {
    const isSelected = selected?.axis === axis && selected.component === r;
    const without = errors[r] ?? null;
    return html`<tr class=${isSelected ? "chosen" : ""}>
      <th scope="row">
        <button type="button" class="digit" aria-pressed=${String(isSelected)} aria-label=${`Mark component ${r + 1}`}
          @click=${() => send({ type: "select", selected: isSelected ? null : { axis, component: r } })}>${r + 1}</button>
      </th>
      <td class="size"><meter min="0" max=${most} .value=${sizes[r]!} aria-label=${`size of component ${r + 1}`}></meter> ${digits(sizes[r]!)}</td>
      <td>${without === null ? "–" : digits(without)}</td>
      <td><label><input type="checkbox" .checked=${!turn!.hidden[axis]![r]} aria-label=${`Show component ${r + 1}`}
        @change=${() => setTurn(toggled(turn!, axis, r))} /></label></td>
    </tr>`;
  };
  return html`
    <h3>Components</h3>
    <div class="controls">
      ${
        isTucker
          ? selectControl(
              "Of mode",
              axes.map((at) => [at, modes[at]!] as const),
              axis,
              (at) => send({ type: "axis", axis: at }),
            )
          : nothing
      }
      <span class="choices">
        <button type="button" @click=${() => setTurn(ordered(model, turn!, "size"))}>Largest first</button>
        <button type="button" @click=${() => setTurn(ordered(model, turn!, "as computed"))}>As computed</button>
        <button type="button" ?disabled=${!isHidden} @click=${() => setTurn({ ...turn!, hidden: unturned(model).hidden })}>Show all</button>
        ${flips(state, setTurn)}
      </span>
    </div>
    <div class="scroll" tabindex="0" role="group" aria-label="Components">
      <table class="parts">
        <thead><tr>
          <th scope="col">Mark</th><th scope="col">${isTucker ? "Size in the core" : "Weight"}</th>
          <th scope="col">Error without it</th><th scope="col">Show</th>
        </tr></thead>
        <tbody>${shownOrder.map(row)}</tbody>
      </table>
    </div>
    ${order.length > MOST_ROWS ? html`<p>The first ${MOST_ROWS} of ${order.length}.</p>` : nothing}
    <p class="small">Files hold all components, in the order and with the signs on show.</p>`;
}

/** rows of the table of components */
const MOST_ROWS = 50;

/** Turns the signs of the marked component: of two modes together, so that the term stays the same; of a Tucker column alone. */
function flips({ shown, turn, selected }: State, setTurn: (turn: NonNullable<State["turn"]>) => void): unknown {
  const { model, modes } = shown!;
  if (!selected) return html`<span class="quiet">Mark a component to turn its signs.</span>`;
  const { axis, component } = selected;
  if (model.kind === "tucker")
    return html`<button type="button" @click=${() => setTurn(flipped(turn!, component, [axis]))}>Turn the sign of ${component + 1}</button>`;
  const pairs = modes.slice(1).map((_, at): [number, number] => [0, at + 1]);
  return pairs.map(
    ([i, j]) =>
      html`<button type="button" @click=${() => setTurn(flipped(turn!, component, [i, j]))}>Turn ${component + 1} in ${modes[i]} and ${modes[j]}</button>`,
  );
}

// ---- figures

/** Boxes of figures, by their names: one is drawn again when its figure is another. */
class FigureCards {
  readonly #boxes = new Map<string, { figure: Figure; chart: Chart }>();
  readonly #figures = memo(
    (shown: NonNullable<State["shown"]>, turn: NonNullable<State["turn"]>, selected: Selected | null, image: string) =>
      figuresOf(shown, { turn, selected, image: imageOf({ image }, shown.model, shown.shape) }),
  );
  readonly #live = memo((curves: readonly (readonly number[])[]) => convergenceFigure(curves));

  constructor(private readonly run: Actions) {}

  #boxOf(name: string, figure: Figure): HTMLElement {
    const known = this.#boxes.get(name);
    if (known) {
      if (known.figure !== figure) {
        known.figure = figure;
        known.chart.redraw(figure.label);
      }
      return known.chart.box;
    }
    const entry: { figure: Figure; chart: Chart } = {
      figure,
      chart: plot((width) => svgElement(entry.figure.draw(width, PAGE)), figure.label),
    };
    this.#boxes.set(name, entry);
    return entry.chart.box;
  }

  /** The error by sweep, while it runs. */
  running({ running }: State): unknown {
    if (!running) return nothing;
    const figure = this.#live(running);
    return html`<section class="card" id="live"><h2>${figure.title}</h2><p>${figure.words} This run.</p>${this.#boxOf("live", figure)}</section>`;
  }

  result({ shown, turn, selected, settings }: State): unknown {
    const figures = this.#figures(shown!, turn!, selected, settings.image);
    return figures.map(
      (figure) => html`
        <section class="card figure" data-figure=${figure.id}>
          <div class="head">
            <h2>${figure.title}</h2>
            <span class="choices" role="group" aria-label=${`Download ${figure.title}`}>
              ${(["SVG", "PNG", "CSV"] as const).map(
                (kind) =>
                  html`<button type="button" class="small" aria-label=${`${figure.title} as ${kind}`} @click=${() => this.run.saveFigure(figure, kind)}>${kind}</button>`,
              )}
            </span>
          </div>
          <p>${figure.words}</p>
          ${this.#boxOf(figure.id, figure)}
        </section>`,
    );
  }
}
