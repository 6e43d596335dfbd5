/** What Decompose looks like. */
import { html, nothing, type TemplateResult } from "lit-html";
import { PIXELS } from "../../../src/experiments/digits.js";
import { type Axis, dots, drawChart, line, type Mark, type Place } from "../../../src/report/chart.js";
import { count, drawImages, grey, h } from "../../../src/report/elements.js";
import { componentImages, imageGrids } from "../../../src/report/images.js";
import { type Dots, loadingHistogram, loadingScatter } from "../../../src/report/loadings.js";
import {
  card,
  checkControl,
  dataLinks,
  digitControl,
  fact,
  numberControl,
  rangeControl,
  selectControl,
  taskBar,
} from "../controls.js";
import type { DigitSet } from "../digits.js";
import { chart, drawn, memo } from "../figures.js";
import type { View } from "../part.js";
import { IMAGES } from "../settings.js";
import { type Decomposed, type Method, reconstruct } from "./decomposition.js";
import {
  type Event,
  factsOf,
  HUNDRED,
  hundredOf,
  isNested,
  knownErrors,
  METHODS,
  mostRank,
  NOTES,
  rankOf,
  type State,
  shownError,
  shownRank,
  turned,
} from "./state.js";

/** most dots of the histogram and of the scatter plot */
const DOTS = 500;
const NONE: readonly number[] = [];
const BLUE = "#0072b2";

type Send = (event: Event) => void;

/** What the buttons do. */
export interface Actions {
  /** computes the decomposition of the settings, even where its result is known */
  again(): void;
  abort(): void;
}

export function createView(send: Send, run: Actions): View<State> {
  const figures = new Figures();
  return {
    render: (state) => html`
      <p class="lead">
        A stack of images is a tensor: image × row × column. A decomposition writes every image as a sum of a few
        components, so that each image becomes a few numbers, its loadings. Move the slider to see what is kept.
      </p>
      ${settingsCard(state, send, run)}
      <div class="sticky">
        ${rangeControl(
          "Rank: numbers kept of each image",
          { min: 1, max: mostRank(state) },
          rankOf(state),
          (rank) => send({ type: "slide", rank }),
          (rank) => send({ type: "change", values: { rank } }),
        )}
      </div>
      ${facts(state)}
      ${state.shown ? figures.render(state, send) : nothing}
    `,
    destroy: () => figures.destroy(),
  };
}

function settingsCard({ settings, recorded, task }: State, send: Send, run: Actions): TemplateResult {
  const change = (values: Partial<State["settings"]>): void => send({ type: "change", values });
  const disabled = recorded !== null;
  const { digits, images, method, seed, centred } = settings;
  return html`
    <section class="card" aria-label="Settings">
      <div class="controls">
        ${dataLinks("digits")}
        ${digitControl(digits, (value) => change({ digits: value, at: 0 }), disabled)}
        ${selectControl(
          "Images",
          IMAGES.map((n) => [n as number, `of the first ${count(n)}`] as const),
          images,
          (value) => change({ images: value, at: 0 }),
          disabled,
        )}
        ${selectControl("Method", METHODS, method, (value) => change({ method: value }), disabled)}
        ${numberControl("Seed of the start", { min: 0, max: 1e6 }, seed, (value) => change({ seed: value }), disabled)}
        ${checkControl(
          "Centre: subtract the mean image first",
          centred,
          (value) => change({ centred: value }),
          disabled,
        )}
      </div>
      <p>${NOTES[method]}</p>
      ${taskBar(task, { disabled, onRun: () => run.again(), onStop: () => run.abort() })}
    </section>`;
}

const facts = (state: State): TemplateResult =>
  state.shown
    ? html`<dl class="facts" id="facts" data-error=${shownError(state)} data-rank=${shownRank(state)}>
        ${factsOf(state).map(([name, words]) => fact(name, words))}
      </dl>`
    : html`<dl class="facts" id="facts"></dl>`;

/** Figures of a result; a mark that is moved in one moves in another. */
class Figures {
  #dots: Dots | null = null;
  #dotIndices: readonly number[] = [];
  #shown: { result: Decomposed; start: number } | null = null;

  readonly #bySweep = chart(
    sweepChart,
    (errors, result) =>
      `Error by sweep: ${result ? `${result.relativeError.toFixed(4)} after ${errors.length} sweeps` : "running"}`,
  );
  readonly #byRank = chart(rankChart, (_, __, rank, error) => `Error by rank: ${error.toFixed(4)} at rank ${rank}`);
  readonly #known = memo(knownErrors);
  readonly #grids = imageGrids("the images themselves", (index) => this.#ring(index));
  readonly #histogram = loadingHistogram(() => this.#dots);
  readonly #scatter = loadingScatter(
    () => this.#dots,
    (index) => this.#point(index),
  );
  readonly #originals = memo((set: DigitSet, start: number, stop: number) =>
    Float32Array.from(set.images.subarray(start * PIXELS, stop * PIXELS), (value) => value / 255),
  );
  readonly #drawGrids = drawn((result: Decomposed, set: DigitSet, rank: number, start: number, stop: number) =>
    this.#grids.set({
      originals: this.#originals(set, start, stop),
      approximations: reconstruct(result, rank, start, stop),
      digits: [...set.labels.subarray(start, stop)],
      rank,
      start,
    }),
  );
  readonly #components = h("div", { class: "components" });
  readonly #drawComponents = drawn((result: Decomposed) => {
    const { mean, basis, settings } = result;
    const first = mean
      ? [h("figure", { class: "mean" }, drawImages(mean, 1, 1, grey, "mean image"), h("figcaption", {}, "mean"))]
      : [];
    this.#components.replaceChildren(...first, ...componentImages(basis, settings.rank));
    this.#hideComponents();
  });
  #componentsShown = 0;

  /** Shows the first components, as many as the rank. */
  #hideComponents(): void {
    [...this.#components.querySelectorAll<HTMLElement>("figure:not(.mean)")].forEach((figure, index) => {
      figure.hidden = index >= this.#componentsShown;
    });
  }

  readonly #drawDots = drawn((result: Decomposed, set: DigitSet, digits: readonly number[], rank: number) => {
    this.#dotIndices = evenly(set.labels.length, DOTS);
    this.#dots = dotsOf(result, set, digits, rank, this.#dotIndices);
    this.#histogram.update();
    this.#scatter.update();
  });

  /** An image was pointed at: its dot is ringed. */
  #ring(index: number): void {
    if (this.#shown) this.#scatter.ring(loadingsOf(this.#shown.result, this.#shown.start + index));
  }

  /** A dot was pointed at: its image is marked, where it is on show. */
  #point(index: number): void {
    const place = this.#dotIndices[index]! - (this.#shown?.start ?? 0);
    if (place >= 0 && place < HUNDRED) this.#grids.pick(place);
  }

  render(state: State, send: Send): TemplateResult {
    const { result, set, digits } = state.shown!;
    const rank = shownRank(state);
    const { start, stop, total } = hundredOf(state);
    this.#shown = { result, start };
    this.#drawGrids(result, set, rank, start, stop);
    this.#drawComponents(result);
    this.#componentsShown = rank;
    this.#hideComponents();
    this.#drawDots(result, set, digits, rank);
    const errors = state.running ? state.running.errors : result.errors;
    const turn = (step: number) => () => send({ type: "change", values: { at: turned(state, step) } });
    return html`<div>
      ${card(
        "Images",
        "Point at an image, or move the mark with the arrow keys: it is the same image in all three, and ringed in the scatter.",
        html`<div class="pager">
          <button type="button" ?disabled=${start === 0} @click=${turn(-HUNDRED)}>‹ hundred before</button>
          <button type="button" ?disabled=${stop === total} @click=${turn(HUNDRED)}>next hundred ›</button>
          <span aria-live="polite" .textContent=${`images ${count(start + 1)} to ${count(stop)} of ${count(total)}`}></span>
        </div>`,
        this.#grids.element,
      )}
      <div class="two">
        ${card(
          "Error by sweep",
          "‖X − X̂‖ / ‖X‖ after every sweep over all modes, for the rank that is computed.",
          this.#bySweep(errors.length ? errors : NONE, state.running ? null : result),
        )}
        ${card(
          "Error by rank",
          "‖X − X̂‖ / ‖X‖ of the ranks known so far; the mark is the slider's.",
          this.#byRank(this.#known(state.settings, state.results), state.settings.method, rank, shownError(state)),
        )}
      </div>
      ${card(
        "Components",
        "An image is about a sum of these, each weighted by one of its loadings; orange adds ink, blue takes it away.",
        this.#components,
      )}
      <div class="two">
        ${card(
          "Histogram of the loadings",
          `How often a loading has which value, among up to ${DOTS} of the images: the first five columns, or one column by class.`,
          this.#histogram.element,
        )}
        ${card(
          "Scatter of two loadings",
          `One dot an image, up to ${DOTS} of them; large dots are the means of the classes. Point at a dot to see its digit.`,
          this.#scatter.element,
        )}
      </div>
    </div>`;
  }

  destroy(): void {
    this.#scatter.destroy();
  }
}

/** At most `most` of the whole numbers below `total`, evenly spread. */
const evenly = (total: number, most: number): number[] => {
  const length = Math.min(most, total);
  return Array.from({ length }, (_, i) => Math.floor((i * total) / length));
};

const loadingsOf = ({ loadings, settings }: Decomposed, image: number): Float32Array =>
  loadings.subarray(image * settings.rank, (image + 1) * settings.rank);

function dotsOf(
  result: Decomposed,
  set: DigitSet,
  digits: readonly number[],
  rank: number,
  indices: readonly number[],
): Dots {
  const stride = result.settings.rank;
  const values = new Float32Array(indices.length * stride);
  indices.forEach((image, index) => {
    values.set(loadingsOf(result, image), index * stride);
  });
  return {
    rank,
    values,
    stride,
    labels: indices.map((image) => set.labels[image]!),
    digits,
    image: (index) => {
      const from = indices[index]! * PIXELS;
      return Float32Array.from(set.images.subarray(from, from + PIXELS), (value) => value / 255);
    },
  };
}

function sweepChart(width: number, errors: readonly number[], _result: Decomposed | null): Element {
  const places = errors.map((error, index) => ({ x: index + 1, y: error, colour: BLUE }));
  return errorChart(width, places, {
    x: { name: "sweep", domain: [1, Math.max(4, places.length)] },
    marks: [line(places, BLUE), dots(places)],
  });
}

function rankChart(
  width: number,
  points: readonly { rank: number; error: number }[],
  method: Method,
  rank: number,
  _error: number,
): Element {
  const places = points.map((point) => ({ x: point.rank, y: point.error, colour: BLUE }));
  const marked = places.filter(({ x }) => x === rank).map((place) => ({ ...place, colour: "var(--mark)" }));
  const nested = isNested(method);
  return errorChart(width, places, {
    x: { name: "rank", domain: [0, Math.max(20, ...places.map(({ x }) => x))] },
    y: { domain: [0, 1] },
    marks: [
      line(places, BLUE, { width: nested ? 2 : 0.7 }),
      ...(nested ? [] : [dots(places, { radius: 3.5 })]),
      dots(marked, { radius: 7, ring: 3 }),
    ],
  });
}

/** Relative errors, and what each is when the pointer is above or below it. */
const errorChart = (
  width: number,
  places: readonly Place[],
  { x, y = {}, marks }: { x: Axis; y?: Axis; marks: readonly Mark[] },
): Element =>
  drawChart({
    width,
    height: 240,
    x: { integers: true, ...x },
    y: { name: "relative error", isNice: true, ...y },
    marks,
    pointer: { places, along: "x", tip: (at) => `${x.name} ${places[at]!.x}: ${places[at]!.y.toFixed(4)}` },
  }).element;
