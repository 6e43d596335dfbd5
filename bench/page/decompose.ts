/** Decompose: what a decomposition keeps of images, and what it makes of them. */
import * as Plot from "@observablehq/plot";
import { PIXELS } from "../../src/experiments/digits.js";
import { DeviceLostError } from "../../src/index.js";
import { componentImages, type Dots, imageGrids, loadingHistogram, loadingScatter } from "../../src/report/charts.js";
import {
  card,
  chartStyle,
  count,
  drawImages,
  drawLater,
  grey,
  h,
  nameOf,
  percent,
  plot,
} from "../../src/report/elements.js";
import {
  checkControl,
  digitControl,
  IMAGES,
  numberControl,
  parseDigits,
  rangeControl,
  runner,
  selectControl,
  type Tell,
  whole,
} from "./controls.js";
import {
  type Decomposed,
  decompose,
  errorsByRank,
  type Method,
  reconstruct,
  type Settings,
  SWEEPS,
} from "./decomposition.js";
import { chooseDigits, type DigitSet } from "./digits.js";
import type { Context, Mounted, Part } from "./part.js";
import { disable, packDecomposition, recordedDecomposition } from "./recorded.js";

/** ranks that a nested decomposition is computed for: a smaller one is part of it */
const LEVELS = [20, 50];
const MOST = { tucker: 50, tucker10: 50, cp: 50 } as const;
const DOTS = 500;
const HUNDRED = 100;

const METHODS: readonly (readonly [Method, string])[] = [
  ["tucker", "Tucker (r, 28, 28)"],
  ["tucker10", "Tucker (r, 10, 10)"],
  ["cp", "CP"],
];
const NOTES: Record<Method, string> = {
  tucker:
    "Tucker with the images' mode alone reduced (HOSVD; De Lathauwer, De Moor & Vandewalle 2000). A smaller rank is the first columns of a larger one, so the slider recomputes nothing.",
  tucker10:
    "Tucker by higher-order orthogonal iteration (Kolda & Bader 2009, section 4.2), rows and columns reduced to 10 each. Its ranks are not nested: each is computed once, then kept.",
  cp: "CP by alternating least squares (Kolda & Bader 2009, section 3.4): every component is one column times one row. Its ranks are not nested: each is computed once, then kept.",
};

interface State {
  digits: number[];
  images: string;
  method: Method;
  rank: number;
  centred: boolean;
  seed: number;
  /** the first of the hundred images shown */
  at: number;
}

function parse(query: URLSearchParams): State {
  const method = METHODS.find(([id]) => id === query.get("method"))?.[0] ?? "tucker";
  return {
    digits: parseDigits(query.get("digits")) ?? [3, 4, 7],
    images: String(whole(query.get("images"), 100, 10_000, 3000)),
    method,
    rank: whole(query.get("rank"), 1, MOST[method], 3),
    centred: query.get("centred") === "1",
    seed: whole(query.get("seed"), 0, 1e6, 1),
    at: whole(query.get("at"), 0, 10_000, 0),
  };
}

const written = ({ digits, images, method, rank, centred, seed, at }: State): Record<string, string> => ({
  digits: digits.join(""),
  images,
  method,
  rank: String(rank),
  ...(centred ? { centred: "1" } : {}),
  ...(seed === 1 ? {} : { seed: String(seed) }),
  ...(at ? { at: String(at) } : {}),
});

/** everything that was computed to the end, by its key, the latest last */
const results = new Map<string, Decomposed>();
const KEPT = 60;

const known = ({ relativeError, settings }: Decomposed): string =>
  `Known from before: error ${relativeError.toFixed(4)} at rank ${settings.rank}.`;

function mount(container: HTMLElement, context: Context, query: URLSearchParams): Mounted {
  let state = parse(query);
  let chosen: { key: string; set: DigitSet } | null = null;
  /** what is shown */
  let result: Decomposed | null = null;
  let running: { key: string; errors: number[] } | null = null;

  const dataKey = (): string => `${state.digits.join("")}/${state.images}`;
  const problemKey = (method = state.method): string => `${dataKey()}/${method}/${state.centred}/${state.seed}`;
  const nested = (): boolean => state.method === "tucker";
  const keyOf = (rank: number): string => `${problemKey()}/${rank}`;
  /** the rank to compute for the one asked for */
  const rankFor = (rank: number): number => (nested() ? LEVELS.find((level) => level >= rank)! : rank);
  const found = (): Decomposed | undefined =>
    (nested() ? LEVELS.filter((level) => level >= state.rank) : [state.rank])
      .map((rank) => results.get(keyOf(rank)))
      .find(Boolean);

  // ---- controls

  const change = (values: Partial<State>, how: "push" | "replace" = "push"): void => {
    state = { ...state, ...values };
    state.rank = Math.min(state.rank, MOST[state.method]);
    context.setState(written(state), how);
    apply();
  };
  const digits = digitControl((value) => change({ digits: value, at: 0 }));
  const images = selectControl<string>(
    "Images",
    IMAGES.map((n) => [n, `of the first ${count(Number(n))}`]),
    (value) => change({ images: value, at: 0 }),
  );
  const method = selectControl("Method", METHODS, (value) => change({ method: value }));
  const centred = checkControl("Centre: subtract the mean image first", (value) => change({ centred: value }));
  const seed = numberControl("Seed of the start", { min: 0, max: 1e6 }, (value) => change({ seed: value }));
  const rank = rangeControl(
    "Rank: numbers kept of each image",
    { min: 1, max: 50 },
    (value) => {
      // while it moves, only what costs nothing
      state.rank = value;
      const ready = found();
      if (ready) present(ready);
    },
    (value) => change({ rank: value }),
  );
  const run = runner(() => start(true), context.fail);
  const note = h("p");

  // ---- figures

  const facts = h("dl", { class: "facts", id: "facts" });
  const bySweep = plot((width) => sweepChart(width, running?.errors ?? result?.errors ?? []), "Error by sweep");
  const byRank = plot((width) => rankChart(width), "Error by rank");
  const grids = imageGrids("the images themselves", (index) => {
    if (result) scatter.ring(loadingsOf(result, state.at + index));
  });
  const which = h("span", { "aria-live": "polite" });
  const pageBy = (step: number) => () => {
    const last = Math.floor(((chosen?.set.labels.length ?? 1) - 1) / HUNDRED) * HUNDRED;
    change({ at: Math.min(last, Math.max(0, state.at + step)) });
  };
  const earlier = h("button", { type: "button" }, "‹ hundred before");
  const later = h("button", { type: "button" }, "next hundred ›");
  earlier.addEventListener("click", pageBy(-HUNDRED));
  later.addEventListener("click", pageBy(HUNDRED));
  const components = h("div", { class: "components" });
  let dots: Dots | null = null;
  const dotIndices: number[] = [];
  const histogram = loadingHistogram(() => dots);
  const scatter = loadingScatter(
    () => dots,
    (index) => {
      const at = dotIndices[index]! - state.at;
      if (at >= 0 && at < HUNDRED) grids.pick(at);
    },
  );
  const figures = h(
    "div",
    { hidden: "" },
    card(
      "Images",
      "Point at an image, or move the mark with the arrow keys: it is the same image in all three, and ringed in the scatter.",
      h("div", { class: "pager" }, earlier, later, which),
      grids.element,
    ),
    h(
      "div",
      { class: "two" },
      card(
        "Error by sweep",
        "‖X − X̂‖ / ‖X‖ after every sweep over all modes, for the rank that is computed.",
        bySweep.box,
      ),
      card("Error by rank", "‖X − X̂‖ / ‖X‖ of the ranks known so far; the mark is the slider's.", byRank.box),
    ),
    card(
      "Components",
      "An image is about a sum of these, each weighted by one of its loadings; orange adds ink, blue takes it away.",
      components,
    ),
    h(
      "div",
      { class: "two" },
      card(
        "Histogram of the loadings",
        `How often a loading has which value, among up to ${DOTS} of the images: the first five columns, or one column by class.`,
        histogram.element,
      ),
      card(
        "Scatter of two loadings",
        `One dot an image, up to ${DOTS} of them; large dots are the means of the classes. Point at a dot to see its digit.`,
        scatter.element,
      ),
    ),
  );
  container.append(
    h(
      "p",
      { class: "lead" },
      "A stack of images is a tensor: image × row × column. A decomposition writes every image as a sum of a few components, so that each image becomes a few numbers, its loadings. Move the slider to see what is kept.",
    ),
    h(
      "section",
      { class: "card", "aria-label": "Settings" },
      h("div", { class: "controls" }, digits.element, images.element, method.element, seed.element, centred.element),
      note,
      run.element,
    ),
    h("div", { class: "sticky" }, rank.element),
    facts,
    figures,
  );

  // ---- showing

  function sweepChart(width: number, errors: readonly number[]): Element {
    const points = errors.map((error, index) => ({ sweep: index + 1, error }));
    return Plot.plot({
      width,
      height: 240,
      marginBottom: 40,
      marginLeft: 50,
      style: chartStyle,
      x: { label: "sweep", tickFormat: "d", domain: [1, Math.max(4, points.length)] },
      y: { label: "relative error", grid: true, nice: true, zero: false },
      marks: [
        Plot.line(points, { x: "sweep", y: "error", stroke: "#0072b2", strokeWidth: 2 }),
        Plot.dot(points, { x: "sweep", y: "error", fill: "#0072b2", r: 3 }),
        Plot.tip(
          points,
          Plot.pointerX({ x: "sweep", y: "error", title: (d) => `sweep ${d.sweep}: ${d.error.toFixed(4)}` }),
        ),
      ],
    });
  }

  function knownByRank(): { rank: number; error: number }[] {
    if (nested()) {
      const best = LEVELS.map((level) => results.get(keyOf(level))).findLast(Boolean);
      return best ? errorsByRank(best).map((error, index) => ({ rank: index + 1, error })) : [];
    }
    const all = Array.from({ length: MOST[state.method] }, (_, index) => results.get(keyOf(index + 1)));
    return all.flatMap((one) => (one ? [{ rank: one.settings.rank, error: one.relativeError }] : []));
  }

  function rankChart(width: number): Element {
    const points = knownByRank();
    const current = points.filter((point) => point.rank === state.rank);
    return Plot.plot({
      width,
      height: 240,
      marginBottom: 40,
      marginLeft: 50,
      style: chartStyle,
      x: { label: "rank", tickFormat: "d", domain: [0, Math.max(20, ...points.map((point) => point.rank))] },
      y: { label: "relative error", grid: true, nice: true, domain: [0, 1] },
      marks: [
        Plot.line(points, { x: "rank", y: "error", stroke: "#0072b2", strokeWidth: nested() ? 2 : 0.7 }),
        nested() ? null : Plot.dot(points, { x: "rank", y: "error", fill: "#0072b2", r: 3.5 }),
        Plot.dot(current, { x: "rank", y: "error", stroke: "var(--mark)", strokeWidth: 3, r: 7 }),
        Plot.tip(
          points,
          Plot.pointerX({ x: "rank", y: "error", title: (d) => `rank ${d.rank}: ${d.error.toFixed(4)}` }),
        ),
      ],
    });
  }

  const loadingsOf = ({ loadings, settings }: Decomposed, image: number): Float32Array =>
    loadings.subarray(image * settings.rank, (image + 1) * settings.rank);

  /** of the images on show; the originals stay the same array while the hundred does */
  let originals: { at: number; set: DigitSet; values: Float32Array } | null = null;

  /** Shows a result at the slider's rank, in several tasks. */
  function present(given: Decomposed): void {
    const fresh = result !== given;
    result = given;
    figures.hidden = false;
    const shownRank = Math.min(state.rank, given.settings.rank);
    drawLater(presentImages);
    if (fresh) {
      drawLater(presentComponents);
      chooseDots(given);
      bySweep.redraw(`Error by sweep: ${given.relativeError.toFixed(4)} after ${given.errors.length} sweeps`);
    } else drawLater(hideComponents);
    if (fresh || dots?.rank !== shownRank) {
      dots!.rank = shownRank;
      histogram.update();
      scatter.update();
    }
    const error = given.settings.rank === shownRank ? given.relativeError : errorsByRank(given)[shownRank - 1]!;
    byRank.redraw(`Error by rank: ${error.toFixed(4)} at rank ${shownRank}`);
    const stored =
      given.settings.method === "tucker"
        ? shownRank * (given.count + PIXELS) + (given.mean ? PIXELS : 0)
        : given.parameters;
    const pixels = given.count * PIXELS;
    const fact = (name: string, value: string): HTMLElement => h("div", {}, h("dt", {}, name), h("dd", {}, value));
    facts.replaceChildren(
      fact("images", `${count(given.count)} of ${nameOf(state.digits)}`),
      fact("rank", String(shownRank)),
      fact(given.mean ? "relative error (of centred images)" : "relative error", error.toFixed(4)),
      fact("energy kept", percent(1 - error * error)),
      fact("numbers stored", `${count(stored)} (${percent(stored / pixels)} of the pixels)`),
      fact("decomposed in", `${given.seconds.toFixed(2)} s, ${given.errors.length} sweeps`),
    );
    facts.dataset.error = String(error);
    facts.dataset.rank = String(shownRank);
  }

  function presentImages(): void {
    if (!result || !chosen || result.count !== chosen.set.labels.length) return;
    const { set } = chosen;
    const total = set.labels.length;
    const start = Math.min(state.at, Math.floor((total - 1) / HUNDRED) * HUNDRED);
    const stop = Math.min(total, start + HUNDRED);
    if (originals?.at !== start || originals.set !== set) {
      const values = Float32Array.from(set.images.subarray(start * PIXELS, stop * PIXELS), (v) => v / 255);
      originals = { at: start, set, values };
    }
    const shownRank = Math.min(state.rank, result.settings.rank);
    grids.set({
      originals: originals.values,
      approximations: reconstruct(result, shownRank, start, stop),
      digits: [...set.labels.subarray(start, stop)],
      rank: shownRank,
      start,
    });
    which.textContent = `images ${count(start + 1)} to ${count(stop)} of ${count(total)}`;
    earlier.disabled = start === 0;
    later.disabled = stop === total;
  }

  function presentComponents(): void {
    if (!result) return;
    const { mean: average, basis, settings } = result;
    const first = average
      ? [h("figure", { class: "mean" }, drawImages(average, 1, 1, grey, "mean image"), h("figcaption", {}, "mean"))]
      : [];
    components.replaceChildren(...first, ...componentImages(basis, settings.rank));
    hideComponents();
  }

  function hideComponents(): void {
    if (!result) return;
    const shownRank = Math.min(state.rank, result.settings.rank);
    [...components.querySelectorAll<HTMLElement>("figure:not(.mean)")].forEach((figure, r) => {
      figure.hidden = r >= shownRank;
    });
  }

  function chooseDots(given: Decomposed): void {
    const { set } = chosen!;
    const total = set.labels.length;
    dotIndices.length = Math.min(DOTS, total);
    for (let i = 0; i < dotIndices.length; i++) dotIndices[i] = Math.floor((i * total) / dotIndices.length);
    const { rank: stride } = given.settings;
    const values = new Float32Array(dotIndices.length * stride);
    dotIndices.forEach((image, index) => {
      values.set(loadingsOf(given, image), index * stride);
    });
    dots = {
      rank: stride,
      values,
      stride,
      labels: dotIndices.map((image) => set.labels[image]!),
      digits: state.digits,
      image: (index) => {
        const from = dotIndices[index]! * PIXELS;
        return Float32Array.from(set.images.subarray(from, from + PIXELS), (v) => v / 255);
      },
    };
  }

  // ---- computing

  /** Shows the state: what is known at once, what is not after a run. */
  function apply(): void {
    setControls();
    const ready = chosen?.key === dataKey() ? found() : undefined;
    if (ready) {
      // something else may be running
      void run.settle(known(ready));
      present(ready);
    } else start(false);
  }

  function setControls(): void {
    digits.set(state.digits);
    images.set(state.images);
    method.set(state.method);
    centred.set(state.centred);
    seed.set(state.seed);
    rank.setMost(MOST[state.method]);
    rank.set(state.rank);
    note.textContent = NOTES[state.method];
  }

  function start(again: boolean): void {
    const target = rankFor(state.rank);
    if (!again && running?.key === keyOf(target)) return;
    if (again) results.delete(keyOf(target));
    void run.run((signal, tell) => work({ ...state }, target, signal, tell));
  }

  async function work(asked: State, target: number, signal: AbortSignal, tell: Tell): Promise<string> {
    const key = keyOf(target);
    if (!context.hasGpu) return showRecorded();
    tell(0, "Loading the digits…");
    const all = await context.digits();
    signal.throwIfAborted();
    if (chosen?.key !== dataKey()) {
      chosen = { key: dataKey(), set: chooseDigits(all, asked.digits, Number(asked.images)) };
      originals = null;
    }
    const { set } = chosen;
    const ready = found();
    if (ready) {
      present(ready);
      return known(ready);
    }
    tell(0, "Opening the GPU…");
    const engine = await context.engine().catch((error) => {
      if (error instanceof DeviceLostError) throw error;
    });
    if (!engine) return showRecorded();
    signal.throwIfAborted();
    const most = Math.min(target, set.labels.length);
    const settings: Settings = { method: asked.method, rank: most, centred: asked.centred, seed: asked.seed };
    running = { key, errors: [] };
    const sweeps = SWEEPS[asked.method];
    tell(0, "Compiling kernels…");
    try {
      const computed = await decompose(
        engine,
        set.images,
        settings,
        ({ sweep, relativeError }) => {
          running?.errors.push(relativeError);
          tell(sweep / sweeps, `Rank ${most}, sweep ${sweep}: error ${relativeError.toFixed(4)}`);
          bySweep.redraw();
        },
        signal,
      );
      running = null;
      if (!computed.aborted) results.set(key, computed);
      for (const old of results.keys()) if (results.size > KEPT) results.delete(old);
      present(computed);
      const end = computed.aborted ? "Stopped" : computed.converged ? "Converged" : "Done";
      return `${end} after ${computed.errors.length} sweeps: error ${computed.relativeError.toFixed(4)} at rank ${most}.`;
    } finally {
      running = null;
    }
  }

  /** Without a GPU: a result of another machine, of which the slider still shows every rank. */
  async function showRecorded(): Promise<string> {
    const found = await recordedDecomposition();
    if (!found) throw new Error("No WebGPU here: nothing can be computed.");
    const all = await context.digits();
    const { rank: asked } = state;
    state = { ...parse(new URLSearchParams(found.state)), rank: Math.min(asked, found.result.settings.rank) };
    chosen = { key: dataKey(), set: chooseDigits(all, state.digits, Number(state.images)) };
    results.set(keyOf(found.result.settings.rank), found.result);
    setControls();
    present(found.result);
    rank.setMost(found.result.settings.rank);
    disable(container);
    return `Recorded on ${found.adapter}, ${found.date}: the slider moves, the rest needs WebGPU.`;
  }

  apply();
  return {
    record: () => result && packDecomposition(document.querySelector("#adapter")!.textContent!, written(state), result),
    show(next) {
      state = parse(next);
      apply();
    },
    async unmount() {
      scatter.destroy();
      await run.stop();
    },
  };
}

export const part: Part = { mount };
