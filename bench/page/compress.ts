/** Compress: a trained LeNet's layers are decomposed; what it saves, what it costs, and what fine-tuning brings back. */
import * as Plot from "@observablehq/plot";
import { splitDigits } from "../../src/experiments/digits.js";
import { type CompressedLayer, type CompressionPlan, DeviceLostError, type Epoch, METHODS } from "../../src/index.js";
import { layerBars } from "../../src/report/charts.js";
import { card, chartStyle, count, drawImages, grey, h, PIXELS, percent, plot } from "../../src/report/elements.js";
import { Compression, type Cost, type Figures, loadLenet, type Shown, TIMED_BATCH } from "./compression.js";
import { numberControl, rangeControl, runner, saveFile, selectControl, type Tell, whole } from "./controls.js";
import type { DigitSet } from "./digits.js";
import type { Context, Mounted, Part } from "./part.js";
import { disable, packCompression, recordedCompression } from "./recorded.js";

/** What each method makes of a layer. All but the first three take the dense layers by the SVD. */
const NOTES: Record<string, string> = {
  svd: "A dense layer becomes two, with R numbers between them: the best approximation of its matrix of rank R. Convolutions stay.",
  tt: "A dense layer's matrix is seen as a tensor of many modes and becomes a train of small cores, each joined to the next by a rank. Convolutions stay.",
  ring: "As the tensor train, but the last core is joined to the first as well. Convolutions stay.",
  jaderberg1:
    "All filters become mixtures of R separable ones, each a column times a row, which every input channel is filtered with.",
  jaderberg2: "A convolution becomes two: R filters one column wide, then filters one row high over their outputs.",
  cp: "A convolution becomes four: 1×1, one column wide, one row high, 1×1, with R channels in between. Terms of CP that nearly cancel each other make it hard to fine-tune.",
  "cp-corrected":
    "CP whose sensitivity is bounded, so that no terms cancel each other: as large as CP, easier to fine-tune.",
  btd: "A convolution becomes a sum of two small Tucker-2 blocks beside each other.",
  tucker2:
    "A convolution becomes three: 1×1 onto fewer channels, a small one between them, 1×1 back onto all. Both ranks are the numbers of channels in between; where that is all of them, there is no 1×1.",
};

const COSTS: readonly (readonly [Cost, string])[] = [
  ["weights", "weights"],
  ["multiplications", "multiplications an image"],
];
const IMAGES = ["1000", "3000", "7000"] as const;
/** times fewer: of the slider */
const [LEAST, MOST, STEP] = [1.5, 16, 0.5];
const MOST_EPOCHS = 50;

interface State {
  method: string;
  cost: Cost;
  ratio: number;
  epochs: number;
  /** to fine-tune on */
  images: string;
}

const savesOf = (method: string): Cost => METHODS.find(({ name }) => name === method)!.saves;
const titleOf = (method: string): string => METHODS.find(({ name }) => name === method)!.title;

function parse(query: URLSearchParams): State {
  const method = METHODS.find(({ name }) => name === query.get("method"))?.name ?? "tucker2";
  const ratio = Math.round(Number(query.get("ratio") ?? 4) / STEP) * STEP;
  return {
    method,
    cost: COSTS.find(([id]) => id === query.get("cost"))?.[0] ?? savesOf(method),
    ratio: ratio >= LEAST && ratio <= MOST ? ratio : 4,
    epochs: whole(query.get("epochs"), 1, MOST_EPOCHS, 3),
    images: String(whole(query.get("images"), 100, 7000, 7000)),
  };
}

const written = ({ method, cost, ratio, epochs, images }: State): Record<string, string> => ({
  method,
  cost,
  ratio: String(ratio),
  ...(epochs === 3 ? {} : { epochs: String(epochs) }),
  ...(images === "7000" ? {} : { images }),
});

/** Which held-out images are shown, by whether each network is right. */
const WHICH = [
  ["lost", "right before, wrong now"],
  ["gained", "wrong before, right now"],
  ["both", "wrong before and now"],
  ["all", "as they come"],
] as const;
type Which = (typeof WHICH)[number][0];
/** images on show at once */
const PAGE = 24;

/** Why layers are as they were, in more words than the library's, which does not know what a page shows beside it. */
function explained(plan: CompressionPlan, layers: readonly CompressedLayer[]): CompressedLayer[] {
  return layers.map((layer) => {
    const [now, ...others] = plan.layers[layer.index]!.candidates;
    if (!layer.kept || !now) return layer;
    if (others.length === 0) return layer;
    const smaller = others.some(
      ({ weights, multiplications }) => weights < now.weights || multiplications < now.multiplications,
    );
    const kept = smaller ? "other layers save more for what they lose" : "every rank would make it larger";
    return { ...layer, kept };
  });
}

/** how many times fewer; more, where a method saves the one at the cost of the other */
const times = (before: number, after: number): string =>
  before < after ? `× ${(after / before).toPrecision(3)}` : `÷ ${(before / after).toPrecision(3)}`;
const accuracyOf = ({ accuracy }: Figures): string => percent(accuracy, 2);
const msOf = ({ ms }: Figures): string => (ms === null ? "…" : `${ms.toPrecision(3)} ms`);

function mount(container: HTMLElement, context: Context, query: URLSearchParams): Mounted {
  let state = parse(query);
  let work: Compression | null = null;
  let shown: Shown | null = null;
  let digits: DigitSet | null = null;
  /** what was tuned so far; the network before it is not part of it */
  let curve: Epoch[] = [];
  /** the method whose plan is being made */
  let planning = "";
  /** where the slider is */
  let moving = state.ratio;

  // ---- controls

  const change = (values: Partial<State>): void => {
    const before = state;
    state = { ...state, ...values };
    moving = state.ratio;
    context.setState(written(state), "push");
    apply(before);
  };
  const method = selectControl<string>(
    "Method",
    METHODS.map(({ name, title }) => [name, title]),
    (value) => change({ method: value, cost: savesOf(value) }),
  );
  const cost = selectControl("What to save", COSTS, (value) => change({ cost: value }));
  const ratio = rangeControl(
    "Target: how many times fewer",
    { min: LEAST, max: MOST, step: STEP, format: (value) => `÷ ${value}` },
    (value) => {
      // while it moves, only what is planned already, and without taking the time
      if (value === moving) return;
      moving = value;
      if (work?.plans.has(state.method)) start({ ...state, ratio: value }, false);
    },
    (value) => change({ ratio: value }),
  );
  const run = runner(() => start(state), context.fail, "Compress");
  const note = h("p");
  const epochs = numberControl("Epochs", { min: 1, max: MOST_EPOCHS }, (value) => change({ epochs: value }));
  const images = selectControl<string>(
    "Training images",
    IMAGES.map((n) => [n, `the first ${count(Number(n))}`]),
    (value) => change({ images: value }),
  );
  const tuner = runner(() => void tuner.run(tune), context.fail, "Fine-tune");
  tuner.enable(false);
  tuner.element.id = "tuner";
  const download = h("button", { type: "button", disabled: "" }, "Download the network");
  download.addEventListener("click", () => void save());

  // ---- figures

  const facts = h("dl", { class: "facts", id: "facts" });
  const table = h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Layers" });
  const bars = (["weights", "multiplications"] as const).map((measure) =>
    plot((width) => layerBars(shown?.layers ?? [], measure, width), `${measure} of every layer, before and after`),
  );
  const accuracies = plot((width) => tuningChart(width, "accuracy"), "Accuracy while fine-tuning");
  const losses = plot((width) => tuningChart(width, "loss"), "Loss while fine-tuning");
  const tuned = h("p", { id: "tuned" });
  const told = h("p", { "aria-live": "polite" });
  const pictures = h("div", { class: "taken" });
  let which: Which = "lost";
  let at = 0;
  const show = selectControl<Which>("Show", WHICH, (value) => {
    [which, at] = [value, 0];
    showPictures();
  });
  show.set(which);
  const pageBy = (step: number) => () => {
    at += step;
    showPictures();
  };
  const earlier = h("button", { type: "button" }, "‹ before");
  const later = h("button", { type: "button" }, "next ›");
  earlier.addEventListener("click", pageBy(-PAGE));
  later.addEventListener("click", pageBy(PAGE));
  const range = h("span", { "aria-live": "polite" });
  const figures = h(
    "div",
    { hidden: "" },
    card(
      "Layers",
      "Ranks are chosen over all layers at once: always the step that loses least of the network's outputs for what it saves, until the target is met. Output error: ‖y − ŷ‖ / ‖y‖ of a layer's outputs on 256 images.",
      table,
    ),
    h(
      "div",
      { class: "two" },
      card(
        "Where it saves",
        "Dense layers hold most of the weights, convolutions do most of the multiplications. Point at a bar for its numbers.",
        ...bars.map(({ box }) => box),
      ),
      card(
        "Fine-tune",
        "Training goes on with the factorised layers (Adam, a tenth of its rate in the last third). Accuracy and loss of each epoch: on the training images dashed, on 1,000 others solid.",
        h("div", { class: "controls" }, epochs.element, images.element),
        tuner.element,
        tuned,
        accuracies.box,
        losses.box,
      ),
    ),
    card(
      "What was lost",
      "Held-out digits, and what each network takes them for; the wrong answers are marked with a cross.",
      told,
      h("div", { class: "controls" }, show.element, h("div", { class: "pager" }, earlier, later, range)),
      pictures,
    ),
  );
  container.append(
    h(
      "p",
      { class: "lead" },
      "A LeNet that has learnt to read digits has two convolutions and three dense layers, and their weights are tensors: decomposed, each layer becomes a few small ones. The network then has fewer numbers and forgets a little; fine-tuning brings most of it back.",
    ),
    h(
      "section",
      { class: "card", "aria-label": "Settings" },
      h("div", { class: "controls" }, method.element, cost.element, download),
      note,
      run.element,
    ),
    h("div", { class: "sticky" }, ratio.element),
    facts,
    figures,
  );

  // ---- showing

  function present(): void {
    showFacts();
    if (!shown) return;
    figures.hidden = false;
    showTable(shown);
    for (const chart of bars) chart.redraw();
    showPictures();
    showTuning();
  }

  function showFacts(): void {
    const before = shown?.before ?? work?.before;
    const after = shown?.after;
    if (!before) {
      facts.replaceChildren();
      return;
    }
    const fact = (name: string, ...words: string[]): HTMLElement =>
      h("div", {}, h("dt", {}, name), h("dd", {}, ...words));
    const change = (name: string, of: (each: Figures) => string, size?: (each: Figures) => number): HTMLElement => {
      if (!after) return fact(name, of(before));
      const fewer = size?.(before) && size(after) ? ` (${times(size(before), size(after))})` : "";
      return fact(name, `${of(before)} → ${of(after)}${fewer}`);
    };
    const tuned = shown?.untuned != null;
    const accuracy = tuned
      ? `${accuracyOf(before)} → ${percent(shown!.untuned!, 2)} → tuned ${accuracyOf(after!)}`
      : accuracyOf(before) + (after ? ` → ${accuracyOf(after)}` : "");
    facts.replaceChildren(
      ...(shown
        ? [
            fact(
              titleOf(shown.method),
              `÷ ${shown.ratio} ${shown.cost}`,
              shown.reached ? "" : ", which it cannot reach",
            ),
          ]
        : []),
      change(
        "weights",
        (each) => count(each.weights),
        (each) => each.weights,
      ),
      change(
        "multiplications an image",
        (each) => count(each.multiplications),
        (each) => each.multiplications,
      ),
      fact(`accuracy on ${count(before.predictions.length)} held-out images`, accuracy),
      change(`time of ${TIMED_BATCH} images`, msOf, (each) => each.ms ?? 0),
    );
    // for the tests
    for (const [name, of] of [
      ["before", before],
      ["after", after],
    ] as const)
      for (const key of ["weights", "multiplications", "accuracy", "ms"] as const)
        facts.setAttribute(`data-${name}-${key}`, String(of?.[key] ?? ""));
  }

  function showTable({ layers, before, after }: Shown): void {
    const fromTo = ([a, b]: readonly [number, number]): HTMLElement[] => [
      h("td", {}, count(a)),
      h("td", {}, count(b)),
      h("td", {}, a === b ? "" : times(a, b)),
    ];
    const head = ["layer", "shape", "ranks", "weights", "now", "", "multiplications", "now", "", "output error", ""];
    const rows = layers
      // pooling has nothing to decompose
      .filter(({ weights }) => weights[0] > 0)
      .map((layer) => {
        const [kind, ...shape] = layer.name.split(" ");
        return h(
          "tr",
          { "data-layer": String(layer.index), "data-ranks": layer.ranks.join() },
          h("th", { scope: "row" }, kind!),
          h("td", { class: "left" }, shape.join(" ")),
          h("td", {}, layer.ranks.join(", ")),
          ...fromTo(layer.weights),
          ...fromTo(layer.multiplications),
          h("td", {}, layer.kept ? "" : layer.outputError.toFixed(3)),
          h("td", { class: "left becomes" }, layer.kept ? `stays: ${layer.kept}` : layer.compressed),
        );
      });
    const names = new Set(["layer", "shape"]);
    table.replaceChildren(
      h(
        "table",
        { class: "layers" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ...head.map((text, index) =>
              text
                ? h("th", { scope: "col", ...(names.has(text) && { class: "left" }) }, text)
                : h("th", { scope: "col", ...(index > 9 && { class: "left" }) }, index > 9 ? "becomes" : "fewer"),
            ),
          ),
        ),
        h("tbody", {}, ...rows),
        h(
          "tfoot",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "row" }, "all"),
            h("td"),
            h("td"),
            ...fromTo([before.weights, after.weights]),
            ...fromTo([before.multiplications, after.multiplications]),
            h("td"),
            h("td"),
          ),
        ),
      ),
    );
  }

  function tuningChart(width: number, what: "accuracy" | "loss"): Element {
    const share = what === "accuracy";
    const found = curve.flatMap((epoch) => [
      { epoch: epoch.epoch, value: epoch[what], set: "training" },
      { epoch: epoch.epoch, value: (share ? epoch.validationAccuracy : epoch.validationLoss) ?? 0, set: "validation" },
    ]);
    const words = (value: number): string => (share ? percent(value) : value.toFixed(4));
    return Plot.plot({
      width,
      height: 220,
      marginBottom: 42,
      marginLeft: 52,
      style: chartStyle,
      x: {
        label: "epoch",
        domain: [1, Math.max(2, curve.at(-1)?.epoch ?? 0)],
        ticks: Math.min(10, Math.max(1, curve.length - 1)),
        tickFormat: "d",
      },
      y: {
        label: share ? "accuracy" : "loss (cross-entropy)",
        grid: true,
        nice: true,
        zero: !share,
        ...(share && { tickFormat: (v: number) => `${Number((100 * v).toFixed(1))} %` }),
      },
      marks: [
        ...(["training", "validation"] as const).map((set) =>
          Plot.line(
            found.filter((point) => point.set === set),
            {
              x: "epoch",
              y: "value",
              stroke: "#0072b2",
              strokeWidth: 2,
              strokeDasharray: set === "training" ? "4 3" : "none",
            },
          ),
        ),
        // one epoch is no line yet
        Plot.dot(found, { x: "epoch", y: "value", fill: "#0072b2", r: 3 }),
        Plot.tip(
          found,
          Plot.pointer({
            x: "epoch",
            y: "value",
            title: (d: (typeof found)[0]) => `${d.set}\nepoch ${d.epoch}: ${words(d.value)}`,
          }),
        ),
      ],
    });
  }

  function showTuning(): void {
    const last = curve.at(-1);
    accuracies.box.hidden = losses.box.hidden = curve.length === 0;
    tuned.textContent = last
      ? `After ${count(last.epoch)} epoch${last.epoch === 1 ? "" : "s"}: ${percent(last.accuracy)} on training images, ${percent(last.validationAccuracy ?? 0)} on others.`
      : "Not tuned yet.";
    accuracies.redraw(`Accuracy while fine-tuning. ${tuned.textContent}`);
    losses.redraw(last ? `Loss while fine-tuning: ${last.loss.toFixed(4)} in epoch ${last.epoch}` : undefined);
  }

  // ---- the digits

  function showPictures(): void {
    if (!shown || !digits) return;
    const { before, after } = shown;
    const [start, stop] = splitDigits(digits.labels.length).test;
    const labels = digits.labels.subarray(start, stop);
    const of: Record<Which, number[]> = { lost: [], gained: [], both: [], all: [] };
    labels.forEach((label, index) => {
      const [was, is] = [before.predictions[index] === label, after.predictions[index] === label];
      of.all.push(index);
      if (was && !is) of.lost.push(index);
      if (!was && is) of.gained.push(index);
      if (!was && !is) of.both.push(index);
    });
    told.textContent = `Of ${count(labels.length)} held-out images ${count(of.lost.length)} were read right before and are wrong now; ${count(of.gained.length)} the other way round; both networks are wrong on ${count(of.both.length)}.`;
    const found = of[which];
    at = Math.max(0, Math.min(at, Math.floor((found.length - 1) / PAGE) * PAGE));
    const part = found.slice(at, at + PAGE);
    earlier.disabled = at === 0;
    later.disabled = at + PAGE >= found.length;
    range.textContent = found.length
      ? `${count(at + 1)} to ${count(at + part.length)} of ${count(found.length)}`
      : "None.";
    const { images: bytes } = digits;
    pictures.replaceChildren(
      ...part.map((index) => {
        const from = (start + index) * PIXELS;
        const image = Float32Array.from(bytes.subarray(from, from + PIXELS), (value) => value / 255);
        const label = labels[index]!;
        const answer = (name: string, prediction: number): HTMLElement =>
          h(
            "span",
            prediction === label ? {} : { class: "wrong" },
            h("span", { class: "network" }, `${name} `),
            `${prediction}${prediction === label ? "" : " ✗"}`,
          );
        return h(
          "figure",
          {},
          drawImages(image, 1, 1, grey, `a ${label}`),
          h("figcaption", {}, answer("LeNet", before.predictions[index]!), answer("now", after.predictions[index]!)),
        );
      }),
    );
  }

  // ---- compressing

  function setControls(): void {
    method.set(state.method);
    cost.set(state.cost);
    ratio.set(state.ratio);
    epochs.set(state.epochs);
    images.set(state.images);
    note.textContent = `${NOTES[state.method] ?? ""}${savesOf(state.method) === "multiplications" ? " Dense layers go by the SVD." : ""}`;
  }

  /** Shows the state. How to fine-tune changes nothing until it is asked for. */
  function apply(before: State | null): void {
    setControls();
    const same = before && before.method === state.method && before.cost === state.cost && before.ratio === state.ratio;
    if (same) return;
    // the plan that is being made serves every target
    if (planning === state.method) return;
    start(state);
  }

  function start(asked: State, whole = true): void {
    void run.run((signal, tell) => compress(asked, whole, signal, tell));
  }

  async function compress(asked: State, whole: boolean, signal: AbortSignal, tell: Tell): Promise<string> {
    tuner.enable(false);
    download.disabled = true;
    await tuner.stop();
    if (!context.hasGpu) return showRecorded();
    try {
      const lab = await opened(signal, tell);
      if (!lab) return showRecorded();
      const plan = await planFor(lab, asked.method, signal, tell);
      signal.throwIfAborted();
      // the target may have been moved while the plan was made; what is still moving is not in the state yet
      const target = whole ? state : asked;
      tell(0.9, "Building the network and reading the digits with it…");
      await lab.select(plan, { cost: target.cost, ratio: target.ratio });
      curve = [];
      const { layers, reached } = lab.compressed!;
      shown = {
        method: target.method,
        cost: target.cost,
        ratio: target.ratio,
        layers: explained(plan, layers),
        reached,
        before: lab.before,
        after: lab.after!,
        untuned: null,
      };
      present();
      if (whole) {
        signal.throwIfAborted();
        tell(0.95, "Taking the time of both networks…");
        await lab.time();
        showFacts();
      }
      return summary(target);
    } finally {
      const ready = work?.compressed != null;
      tuner.enable(ready);
      download.disabled = !ready;
    }
  }

  /** The network and the digits on the GPU; a lost one is replaced. Null where there is none. */
  async function opened(signal: AbortSignal, tell: Tell): Promise<Compression | null> {
    tell(0, "Loading the digits and a trained LeNet…");
    const [all, file] = await Promise.all([context.digits(), loadLenet()]);
    digits = all;
    signal.throwIfAborted();
    tell(0, "Opening the GPU…");
    const engine = await context.engine().catch((error) => {
      if (error instanceof DeviceLostError) throw error;
    });
    if (!engine) return null;
    signal.throwIfAborted();
    if (work?.engine !== engine) {
      forget();
      tell(0, "Reading the digits with LeNet…");
      work = await Compression.open(engine, file, all);
      present();
    }
    return work;
  }

  async function planFor(lab: Compression, name: string, signal: AbortSignal, tell: Tell) {
    planning = name;
    try {
      return await lab.plan(
        name,
        (done, total, what) =>
          tell((0.9 * done) / total, `Decomposing with several ranks: ${done} of ${total}, ${what}`),
        signal,
      );
    } finally {
      planning = "";
    }
  }

  function summary(target: Pick<State, "method" | "cost" | "ratio">): string {
    const { before, after, reached } = shown!;
    const words = `${times(before.weights, after.weights)} weights, ${times(before.multiplications, after.multiplications)} multiplications: accuracy ${accuracyOf(before)} before, ${accuracyOf(after)} now.`;
    return reached
      ? words
      : `${titleOf(target.method)} cannot reach ÷ ${target.ratio} ${target.cost} here; this is within 5 % of the least it can do. ${words}`;
  }

  async function tune(signal: AbortSignal, tell: Tell): Promise<string> {
    const lab = work!;
    await run.stop();
    if (!lab.compressed) throw new Error("There is no compressed network to tune.");
    const asked = { epochs: state.epochs, images: Number(state.images) };
    const before = lab.tuned;
    signal.addEventListener("abort", () => tell(0, "Stopping…"));
    tell(0, "Compiling kernels…");
    await lab.tune(
      asked,
      {
        onEpoch: (epoch) => {
          curve.push(epoch);
          showTuning();
        },
        onProgress: (epochs) => {
          const last = curve.at(-1);
          const words = last ? `: loss ${last.loss.toFixed(4)}, accuracy ${percent(last.validationAccuracy ?? 0)}` : "";
          const current = Math.min(before + asked.epochs, before + Math.floor(epochs) + 1);
          // the share of an epoch that takes long enough to be told of
          const share = epochs % 1 ? ` (${percent(epochs % 1, 0)})` : "";
          if (!signal.aborted)
            tell(epochs / asked.epochs, `Epoch ${current} of ${before + asked.epochs}${share}${words}`);
        },
      },
      signal,
    );
    shown = { ...shown!, after: lab.after!, untuned: shown!.untuned ?? shown!.after.accuracy };
    present();
    const words = `Accuracy ${accuracyOf(shown.after)} on held-out images, ${accuracyOf(shown.before)} before compressing.`;
    return signal.aborted ? `Stopped. ${words}` : words;
  }

  async function save(): Promise<void> {
    download.disabled = true;
    try {
      const file = await work!.file();
      const { method: by, ratio: fewer } = shown!;
      const name = `lenet-${by}-${fewer}.safetensors`;
      saveFile(name, file as Uint8Array<ArrayBuffer>, "application/octet-stream");
    } catch (error) {
      context.fail(error);
    } finally {
      download.disabled = work?.compressed == null;
    }
  }

  function forget(): void {
    work?.destroy();
    work = null;
    shown = null;
    curve = [];
    figures.hidden = true;
    showFacts();
  }

  /** Without a GPU: what another machine made of it. */
  async function showRecorded(): Promise<string> {
    const found = await recordedCompression();
    if (!found) throw new Error("No WebGPU here: nothing can be computed.");
    digits = await context.digits();
    state = parse(new URLSearchParams(found.state));
    shown = found.shown;
    curve = found.curve;
    setControls();
    present();
    disable(container);
    ratio.element.querySelector("input")!.disabled = true;
    // other digits need no GPU
    show.element.querySelector("select")!.disabled = false;
    showPictures();
    return `Recorded on ${found.adapter}, ${found.date}: compressing needs WebGPU.`;
  }

  setControls();
  start(state);
  return {
    record: () =>
      shown && packCompression(document.querySelector("#adapter")!.textContent!, written(state), shown, curve),
    show(next) {
      const before = state;
      state = parse(next);
      moving = state.ratio;
      apply(before);
    },
    async unmount() {
      await tuner.stop();
      await run.stop();
      forget();
    },
  };
}

export const part: Part = { mount };
