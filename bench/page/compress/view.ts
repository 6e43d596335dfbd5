/** What Compress looks like. */
import { html, nothing, type TemplateResult } from "lit-html";
import { PIXELS } from "../../../src/experiments/digits.js";
import { type CompressedLayer, type Epoch, METHODS } from "../../../src/index.js";
import { dots, drawChart, line, percentTick } from "../../../src/report/chart.js";
import { count, drawImages, grey, percent } from "../../../src/report/elements.js";
import { layerBars } from "../../../src/report/networks.js";
import {
  card,
  fact,
  networkLinks,
  numberControl,
  rangeControl,
  scrolling,
  selectControl,
  taskBar,
} from "../controls.js";
import type { DigitSet } from "../digits.js";
import { chart, memo } from "../figures.js";
import type { View } from "../part.js";
import { type Shown, TIMED_BATCH } from "./compression.js";
import {
  COSTS,
  EPOCHS,
  type Event,
  factsOf,
  GROUPS,
  noteOf,
  PAGE,
  type Picture,
  pageOf,
  RATIO,
  ratioOf,
  reachedWords,
  type State,
  sortedWords,
  sortPictures,
  TUNING_IMAGES,
  times,
  tunedWords,
} from "./state.js";

type Send = (event: Event) => void;

/** What the buttons and the slider do. */
export interface Actions {
  /** compresses as the settings say */
  again(): void;
  abort(): void;
  slide(ratio: number): void;
  tune(): void;
  abortTuning(): void;
  /** hands the compressed network to the browser as a file */
  save(): Promise<void>;
}
const BLUE = "#0072b2";

export function createView(send: Send, run: Actions): View<State> {
  const bars = (["weights", "multiplications"] as const).map((measure) =>
    chart(
      (width, layers: readonly CompressedLayer[]) => layerBars(layers, measure, width),
      () => `${measure} of every layer, before and after`,
    ),
  );
  const layers = memo(layerTable);
  const tuning = tuningCard(send, run);
  const lost = lostCard(send);
  const figures = (state: State, shown: Shown): TemplateResult => html`<div>
    ${card(
      "Layers",
      "Ranks are chosen over all layers at once: always the step that loses least of the network's outputs for what it saves, until the target is met. Output error: ‖y − ŷ‖ / ‖y‖ of a layer's outputs on 256 images.",
      scrolling("Layers", layers(shown)),
    )}
    <div class="two">
      ${card(
        "Where it saves",
        "Dense layers hold most of the weights, convolutions do most of the multiplications. Point at a bar for its numbers.",
        bars.map((draw) => draw(shown.layers)),
      )}
      ${tuning(state)}
    </div>
    ${lost(state, shown)}
  </div>`;
  return {
    render: (state) => html`
      <p class="lead">
        A network that reads digits becomes several times smaller: its weights are tensors, and decomposed, each layer
        becomes a few small ones. Move the slider, then press Fine-tune below. <span id="reached">${reachedWords(state.reached)}</span>
      </p>
      ${settingsCard(state, send, run)}
      <div class="sticky">
        ${rangeControl(
          "Target: how many times fewer",
          { ...RATIO, format: (value) => `÷ ${value}`, disabled: state.recorded },
          ratioOf(state),
          (ratio) => {
            send({ type: "slide", ratio });
            run.slide(ratio);
          },
          (ratio) => send({ type: "change", values: { ratio } }),
        )}
      </div>
      ${facts(state)} ${state.shown ? figures(state, state.shown) : nothing}
    `,
  };
}

function settingsCard(state: State, send: Send, run: Actions): TemplateResult {
  const { settings, recorded, ready, saving, task } = state;
  const methods = METHODS.map(({ name, title }) => [name, title] as const);
  const change = (values: Partial<State["settings"]>): void => send({ type: "change", values });
  return html`
    <section class="card" aria-label="Settings">
      ${networkLinks("lenet")}
      <div class="controls">
        ${selectControl<string>("Method", methods, settings.method, (method) => change({ method }), recorded)}
        ${selectControl("What to save", COSTS, settings.cost, (cost) => change({ cost }), recorded)}
        <button type="button" ?disabled=${!ready || saving} @click=${() => void run.save()}>Download the network</button>
      </div>
      <p>${noteOf(settings.method)}</p>
      ${taskBar(task, {
        name: "Compress",
        disabled: recorded,
        onRun: () => run.again(),
        onStop: () => run.abort(),
      })}
    </section>`;
}

/** Figures of both networks; the attributes are for the tests. */
function facts(state: State): TemplateResult {
  const before = state.shown?.before ?? state.original;
  const after = state.shown?.after;
  return html`<dl
    class="facts"
    id="facts"
    data-before-weights=${before?.weights ?? ""}
    data-before-multiplications=${before?.multiplications ?? ""}
    data-before-accuracy=${before?.accuracy ?? ""}
    data-before-ms=${before?.ms ?? ""}
    data-after-weights=${after?.weights ?? ""}
    data-after-multiplications=${after?.multiplications ?? ""}
    data-after-accuracy=${after?.accuracy ?? ""}
    data-after-ms=${after?.ms ?? ""}
  >
    ${factsOf(state, TIMED_BATCH).map(([name, words]) => fact(name, words))}
  </dl>`;
}

const fromTo = ([before, after]: readonly [number, number]): TemplateResult =>
  html`<td>${count(before)}</td><td>${count(after)}</td><td>${before === after ? "" : times(before, after)}</td>`;

function layerTable({ layers, before, after }: Shown): TemplateResult {
  const rows = layers
    // pooling has nothing to decompose
    .filter(({ weights }) => weights[0] > 0)
    .map((layer) => {
      const [kind, ...shape] = layer.name.split(" ");
      return html`<tr data-layer=${layer.index} data-ranks=${layer.ranks.join()}>
        <th scope="row">${kind}</th>
        <td class="left">${shape.join(" ")}</td>
        <td>${layer.ranks.join(", ")}</td>
        ${fromTo(layer.weights)} ${fromTo(layer.multiplications)}
        <td>${layer.staysBecause ? "" : layer.outputError.toFixed(3)}</td>
        <td class="left becomes" .textContent=${layer.staysBecause ? `stays: ${layer.staysBecause}` : layer.compressed}></td>
      </tr>`;
    });
  return html`<table class="layers">
    <thead>
      <tr>
        <th scope="col" class="left">layer</th>
        <th scope="col" class="left">shape</th>
        <th scope="col">ranks</th>
        <th scope="col">weights</th>
        <th scope="col">now</th>
        <th scope="col">fewer</th>
        <th scope="col">multiplications</th>
        <th scope="col">now</th>
        <th scope="col">fewer</th>
        <th scope="col">output error</th>
        <th scope="col" class="left">becomes</th>
      </tr>
    </thead>
    <tbody>
      ${rows}
    </tbody>
    <tfoot>
      <tr>
        <th scope="row">all</th>
        <td></td>
        <td></td>
        ${fromTo([before.weights, after.weights])} ${fromTo([before.multiplications, after.multiplications])}
        <td></td>
        <td></td>
      </tr>
    </tfoot>
  </table>`;
}

/** Controls of fine-tuning, and its curves once there are any. */
function tuningCard(send: Send, run: Actions): (state: State) => TemplateResult {
  const accuracies = chart(
    (width, curve: readonly Epoch[]) => tuningChart(width, curve, "accuracy"),
    (curve) => `Accuracy while fine-tuning. ${tunedWords(curve)}`,
  );
  const losses = chart(
    (width, curve: readonly Epoch[]) => tuningChart(width, curve, "loss"),
    (curve) => {
      const last = curve.at(-1);
      return last ? `Loss while fine-tuning: ${last.loss.toFixed(4)} in epoch ${last.epoch}` : "Loss while fine-tuning";
    },
  );
  const change = (values: Partial<State["settings"]>): void => send({ type: "change", values });
  return ({ settings, recorded, ready, tuning, curve }) =>
    card(
      "Fine-tune",
      "Training goes on with the factorised layers (Adam, a tenth of its rate in the last third). Accuracy and loss of each epoch: on the training images dashed, on 1,000 others solid.",
      html`<div class="controls">
          ${numberControl("Epochs", EPOCHS, settings.epochs, (epochs) => change({ epochs }), recorded)}
          ${selectControl(
            "Training images",
            TUNING_IMAGES.map((n) => [n as number, `the first ${count(n)}`] as const),
            settings.images,
            (images) => change({ images }),
            recorded,
          )}
        </div>
        ${taskBar(tuning, {
          id: "tuner",
          name: "Fine-tune",
          disabled: !ready,
          onRun: () => run.tune(),
          onStop: () => run.abortTuning(),
        })}
        <p id="tuned" .textContent=${tunedWords(curve)}></p>
        ${curve.length ? [accuracies(curve), losses(curve)] : nothing}`,
    );
}

function tuningChart(width: number, curve: readonly Epoch[], what: "accuracy" | "loss"): Element {
  const share = what === "accuracy";
  const lineOf = (set: string, of: (epoch: Epoch) => number) =>
    curve.map((epoch) => ({ set, x: epoch.epoch, y: of(epoch), colour: BLUE }));
  const training = lineOf("training", (epoch) => epoch[what]);
  const validation = lineOf("validation", (epoch) => (share ? epoch.validationAccuracy : epoch.validationLoss) ?? 0);
  const places = [...training, ...validation];
  const last = Math.max(2, curve.at(-1)?.epoch ?? 0);
  return drawChart({
    width,
    height: 220,
    x: { name: "epoch", domain: [1, last], integers: true },
    y: share
      ? { name: "accuracy", isNice: true, format: percentTick }
      : { name: "loss (cross-entropy)", isNice: true, domain: [0, Math.max(...places.map(({ y }) => y))] },
    marks: [
      line(training, BLUE, { dashes: "4 3" }),
      line(validation, BLUE),
      // one epoch is no line yet
      dots(places),
    ],
    pointer: {
      places,
      tip: (at) => {
        const { set, x, y } = places[at]!;
        return `${set}\nepoch ${x}: ${share ? percent(y) : y.toFixed(4)}`;
      },
    },
  }).element;
}

/** Held-out digits, by whether each network is right. */
function lostCard(send: Send): (state: State, shown: Shown) => TemplateResult | typeof nothing {
  const sorted = memo(sortPictures);
  const page = memo((set: DigitSet, pictures: readonly Picture[], start: number) =>
    pictures.slice(start, start + PAGE).map((picture) => pictureOf(set, picture)),
  );
  const turn = (at: number) => () => send({ type: "turn", at });
  return ({ digits, group, at }, { before, after }) => {
    if (!digits) return nothing;
    const all = sorted(digits, before.predictions, after.predictions);
    const { start, stop, words } = pageOf(all[group], at);
    return card(
      "What was lost",
      "Held-out digits, and what each network takes them for; the wrong answers are marked with a cross.",
      html`<p aria-live="polite" .textContent=${sortedWords(all)}></p>
        <div class="controls">
          ${selectControl("Show", GROUPS, group, (next) => send({ type: "group", group: next }))}
          <div class="pager">
            <button type="button" ?disabled=${start === 0} @click=${turn(start - PAGE)}>‹ before</button>
            <button type="button" ?disabled=${stop === all[group].length} @click=${turn(start + PAGE)}>next ›</button>
            <span aria-live="polite" .textContent=${words}></span>
          </div>
        </div>
        <div class="taken">${page(digits, all[group], start)}</div>`,
    );
  };
}

function pictureOf({ images }: DigitSet, { index, label, before, after }: Picture): TemplateResult {
  const image = Float32Array.from(images.subarray(index * PIXELS, (index + 1) * PIXELS), (value) => value / 255);
  const answer = (network: string, prediction: number): TemplateResult => {
    const right = prediction === label;
    return html`<span class=${right ? nothing : "wrong"}
      ><span class="network">${network} </span>${prediction}${right ? "" : " ✗"}</span
    >`;
  };
  return html`<figure>
    ${drawImages(image, 1, 1, grey, `a ${label}`)}<figcaption>${answer("LeNet", before)}${answer("now", after)}</figcaption>
  </figure>`;
}
