/** What a network of one's own looks like. */
import { html, nothing, type TemplateResult } from "lit-html";
import { classWords, type WorstSample } from "../../../src/report/compressionPage.js";
import { count, percent } from "../../../src/report/elements.js";
import { bytes } from "../bytes.js";
import {
  card,
  checkControl,
  fact,
  networkLinks,
  rangeControl,
  scrolling,
  selectControl,
  taskBar,
  textControl,
} from "../controls.js";
import type { View } from "../part.js";
import type { FittedLayer, LayerInfo, ModelInfo, Version } from "./messages.js";
import {
  COSTS,
  canRun,
  comparedOf,
  type Event,
  examplesOf,
  factor,
  factsOf,
  nearness,
  nothingWords,
  obstacle,
  type Problem,
  RATIO,
  RESIZES,
  ratioOf,
  type State,
  verdict,
  written,
} from "./state.js";

type Send = (event: Event) => void;
/** the browser's; `Event` is the part's */
type DomEvent = globalThis.Event;

/** What the buttons do. */
export interface Actions {
  open(files: readonly File[]): void;
  forget(): void;
  start(): void;
  abort(): void;
  save(version: Version): void;
}

export function createView(send: Send, run: Actions): View<State> {
  return {
    render: (state) => html`
      <p class="lead">
        Bring a trained network as an ONNX file, and some samples of what it will see. Its layers become chains of smaller
        ones, and you get a smaller, faster ONNX file with the same inputs and outputs – or a plain word where there is
        nothing to be won.
      </p>
      ${modelCard(state, send, run)} ${state.model ? budgetCard(state, state.model, send, run) : nothing}
      ${state.model && state.versions.length ? resultCard(state, state.model, send, run) : nothing}
      ${samplesCard(state)} ${state.model ? layersCard(state, state.model) : nothing}
    `,
  };
}

function modelCard(state: State, send: Send, run: Actions): TemplateResult {
  const { settings, model, samples, reading, problem, images } = state;
  const change = (values: Partial<State["settings"]>): void => send({ type: "change", values });
  const isFile = settings.data === "file";
  const links = networkLinks(settings.data, (data) => `#onnx?${new URLSearchParams(written({ ...settings, data }))}`);
  const pick = (event: DomEvent): void => {
    const input = event.target as HTMLInputElement;
    const files = [...(input.files ?? [])];
    // the same file may be chosen again, after it was mended
    input.value = "";
    if (files.length) run.open(files);
  };
  // the button's, which stands in front of it
  const press = (event: DomEvent): void =>
    ((event.currentTarget as HTMLElement).previousElementSibling as HTMLInputElement).click();
  const asks = model?.inputs.some(({ shape }) => !shape?.slice(1).every((extent) => typeof extent === "number"));
  return html`
    <section class="card" aria-label="Model">
      ${links}
      ${
        isFile
          ? html`<div class="drop">
              <input type="file" hidden multiple accept=".onnx,.data,.npz,.npy,.jpg,.jpeg,.png,.webp,.avif,.gif" @change=${pick} />
              <button type="button" class="run" @click=${press}>${model ? "Choose samples, or another model…" : "Choose a model…"}</button>
              ${
                model
                  ? html`<input type="file" hidden webkitdirectory @change=${pick} />
                      <button type="button" @click=${press}>Choose a folder of images…</button>`
                  : nothing
              }
              <span class="words"
                >or drop files on this page: a model (.onnx, with its weight files), and samples (.npz with an array for
                each input, samples along the first axis; .npy; or images, or a folder of them). <strong>They stay in this browser: nothing is sent anywhere.</strong></span
              >
            </div>`
          : html`<p>
              Six convolutions and a dense layer that read handwritten digits (266 kB, from PyTorch), and 160 digits as
              samples.
            </p>`
      }
      ${reading.phase === "running" ? html`<p role="status">${reading.words}</p>` : nothing}
      ${
        model
          ? html`<div id="model" data-name=${model.name} data-samples=${samples?.count ?? 0}>
              <h2>${model.name}</h2>
              <dl class="facts">${factsOf(state).map(([name, words]) => fact(name, words))}</dl>
              ${samplesWords(state, run)}
              ${
                asks
                  ? html`<div class="controls">${textControl(
                      "Shapes of inputs that are open",
                      settings.shapes,
                      examplesOf(model),
                      (shapes) => change({ shapes }),
                    )}</div>`
                  : nothing
              }
              ${images ? imageControls(settings, change) : nothing}
            </div>`
          : nothing
      }
      ${problem ? problemBox(problem) : nothing}
    </section>`;
}

/** How images become samples. */
const imageControls = (settings: State["settings"], change: (values: Partial<State["settings"]>) => void) => html`
  <p>
    A value is (byte ÷ 255 − mean) ÷ std, as the network was trained: one number or three, as in 0.485,0.456,0.406;
    a std of 1/255 gives values from 0 to 255.
  </p>
  <div class="controls">
    ${textControl("Mean of images", settings.mean, "0", (mean) => change({ mean }))}
    ${textControl("Std of images", settings.std, "1", (std) => change({ std }))}
    ${selectControl("What of images", RESIZES, settings.resize, (resize) => change({ resize }))}
    ${checkControl("blue first (BGR)", settings.bgr, (bgr) => change({ bgr }))}
  </div>`;

function samplesWords({ samples, settings }: State, run: Actions): TemplateResult {
  if (!samples)
    return html`<p>
      Without samples, random inputs tell the time and nothing else, and layers are fitted by their weights alone, which
      loses much more. Bring 32 samples or more, of every kind of input that the model will see.
    </p>`;
  const few = samples.count < 32 ? " These are few: 32 or more are wanted." : "";
  return html`<p>
    Samples must hold every kind of input that the model will see: what they lack is lost, and nothing in them shows it.${few}
    ${settings.data === "file" ? html`<button type="button" @click=${() => run.forget()}>Random inputs: time only</button>` : nothing}
  </p>`;
}

const problemBox = ({ words, advice }: Problem): TemplateResult =>
  html`<p class="problem" role="alert"><strong>${words}</strong> ${advice}</p>`;

function budgetCard(state: State, model: ModelInfo, send: Send, run: Actions): TemplateResult {
  const { settings, task } = state;
  const change = (values: Partial<State["settings"]>): void => send({ type: "change", values });
  const obstructed = obstacle(state);
  return html`
    <section class="card" aria-label="Budget">
      <div class="controls">
        ${selectControl("What to save", COSTS, settings.cost, (cost) => change({ cost }))}
        ${rangeControl(
          "Budget: how many times less",
          { ...RATIO, format: (value) => `÷ ${value}` },
          ratioOf(state),
          (ratio) => send({ type: "slide", ratio }),
          (ratio) => change({ ratio }),
        )}
        ${checkControl("int8 beside it, and on top", settings.int8, (int8) => change({ int8 }))}
      </div>
      <p>
        The network runs in onnxruntime-web (14 MB, loaded once, from this site) on one thread.
        ${
          model.bytes > 5e7
            ? "A model of this size takes minutes on a GPU, and much longer on a software adapter. "
            : ""
        }Each budget adds a row to the table below; what one has found of the layers serves the next.
      </p>
      ${obstructed ? problemBox(obstructed) : nothing}
      ${taskBar(task, {
        name: "Compress",
        disabled: task.phase !== "running" && !canRun(state),
        onRun: () => run.start(),
        onStop: () => run.abort(),
      })}
    </section>`;
}

function resultCard(state: State, model: ModelInfo, send: Send, run: Actions): TemplateResult {
  const { versions, chosen, samples } = state;
  const told = versions.find(({ verified }) => verified)?.verified ?? 0;
  const original = versions.findLast(({ time }) => time)?.time?.before ?? null;
  const seen = new Set(versions.flatMap(({ warnings }) => warnings));
  const row = (version: Version): TemplateResult => {
    const { title, file, bytes: size, multiplications, time, reason, layers, id } = version;
    if (size === null)
      return html`<tr data-version=${id}><th scope="row">${title}</th><td class="left" colspan="5">none: ${reason}</td></tr>`;
    return html`<tr data-version=${id} data-bytes=${size} data-error=${version.error ?? ""} data-agreement=${version.agreement ?? ""}>
      <th scope="row">${
        layers
          ? html`<button type="button" aria-pressed=${String(id === chosen)} @click=${() => send({ type: "choose", id })}>${title}</button>`
          : title
      }</th>
      <td>${bytes(size)} <span class="quiet">${factor(model.bytes, size)}</span></td>
      <td>${
        multiplications === null || !model.multiplications
          ? "–"
          : html`${short(multiplications)} <span class="quiet">${
              multiplications === model.multiplications ? "the same" : factor(model.multiplications, multiplications)
            }</span>`
      }</td>
      <td>${
        time
          ? html`${time.after.toPrecision(3)} ms <span class="quiet">${(time.before / time.after).toFixed(2)} × as fast</span>`
          : state.task.phase === "running"
            ? "…"
            : "–"
      }</td>
      <td>${nearness(version)}${
        version.agreement !== null ? html` <span class="quiet">error ${percent(version.error!)}</span>` : nothing
      }</td>
      <td>${file ? html`<button type="button" aria-label=${`Download ${title}`} @click=${() => run.save(version)}>Download</button>` : nothing}</td>
    </tr>`;
  };
  return html`
    <section class="card" aria-label="Result">
      <h2>Result</h2>
      <p id="verdict" class="lead">${state.task.phase === "running" ? "" : verdict(state)}</p>
      ${scrolling(
        "Versions of the model",
        html`<table class="versions">
          <thead>
            <tr>
              <th scope="col">model</th>
              <th scope="col">size</th>
              <th scope="col">multiplications</th>
              <th scope="col">time of a run</th>
              <th scope="col">beside the original</th>
              <th scope="col">file</th>
            </tr>
          </thead>
          <tbody>
            <tr data-version="original">
              <th scope="row">the original</th>
              <td>${bytes(model.bytes)}</td>
              <td>${model.multiplications === null ? "–" : short(model.multiplications)}</td>
              <td>${original === null ? "–" : `${original.toPrecision(3)} ms`}</td>
              <td>–</td>
              <td></td>
            </tr>
            ${versions.map(row)}
          </tbody>
        </table>`,
      )}
      <p>${
        samples
          ? `Beside the original: on ${told} samples that nothing was fitted to. The error is that of the outputs before a final Softmax, which would hide much.`
          : "How near the outputs stay is not known: random inputs tell the time alone."
      }</p>
      ${seen.size ? html`<ul class="notes">${[...seen].map((words) => html`<li>${words}</li>`)}</ul>` : nothing}
    </section>`;
}

/** What each version makes of the samples that they change most. */
function samplesCard({ versions: all }: State): TemplateResult | typeof nothing {
  const { versions, samples } = comparedOf(all);
  if (!samples.length) return nothing;
  const hasImages = samples.some(({ image }) => image);
  const hasClasses = samples.some(({ original }) => original !== null);
  return card(
    "Samples side by side",
    `Of the samples that nothing was fitted to, those that change most${
      hasClasses ? ": the best class of each model" : ""
    }, and how far its outputs are off. Numbers count from 0 in your file, or in the order of images' names.`,
    scrolling(
      "Samples side by side",
      html`<table class="samples">
        <thead>
          <tr>
            <th scope="col">sample</th>
            ${hasImages ? html`<th scope="col">picture</th>` : nothing}
            ${hasClasses ? html`<th scope="col">the original</th>` : nothing}
            ${versions.map(({ title }) => html`<th scope="col">${title}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${samples.map(
            ({ sample, image, original, versions: found }) => html`<tr data-sample=${sample}>
              <th scope="row">${sample}</th>
              ${hasImages ? html`<td>${image ? html`<img src=${image} alt=${`sample ${sample}`} height="48" />` : nothing}</td>` : nothing}
              ${hasClasses ? html`<td>${original ?? "–"}</td>` : nothing}
              ${found.map((one) => html`<td>${one ? answerOf(one) : "–"}</td>`)}
            </tr>`,
          )}
        </tbody>
      </table>`,
    ),
  );
}

/** `8 ✗ error 41 %` */
function answerOf(one: WorstSample): TemplateResult {
  const [, after] = classWords(one);
  return html`${after} <span class="quiet">error ${percent(one.error)}</span>`;
}

/** `1.23 M` */
function short(value: number): string {
  const [unit, name] = value >= 1e9 ? [1e9, " G"] : value >= 1e6 ? [1e6, " M"] : value >= 1e3 ? [1e3, " k"] : [1, ""];
  return unit === 1 ? count(value) : `${(value / unit).toPrecision(3)}${name}`;
}

function layersCard(state: State, model: ModelInfo): TemplateResult {
  const { layers, leftAlone } = model;
  const fitted = new Map(
    (state.versions.find(({ id }) => id === state.chosen)?.layers ?? []).map((layer) => [layer.id, layer]),
  );
  const share = (layer: LayerInfo): number =>
    model.multiplications
      ? (layer.multiplications ?? 0) / model.multiplications
      : layer.weights / Math.max(1, model.weights);
  const nothingHere = nothingWords(model);
  return card(
    "Layers",
    nothingHere ||
      `What can be factorised, with its share of the work, and what it becomes. Error: of the layer's ${
        state.samples ? "outputs alone, on the samples" : "weights, as there are no samples"
      }.`,
    layers.length
      ? scrolling(
          "Layers",
          html`<table class="layers results">
            <thead>
              <tr>
                <th scope="col" class="left">layer</th>
                <th scope="col" class="left">shape</th>
                <th scope="col">${model.multiplications ? "multiplications" : "weights"}</th>
                <th scope="col" class="left">becomes</th>
                <th scope="col">ranks</th>
                <th scope="col">its work</th>
                <th scope="col">error</th>
              </tr>
            </thead>
            <tbody>
              ${layers.map((layer) => layerRow(layer, share(layer), fitted.get(layer.id), state))}
            </tbody>
          </table>`,
        )
      : nothing,
    leftAlone.length
      ? html`<details>
          <summary>Left alone: ${count(leftAlone.reduce((sum, group) => sum + group.layers, 0))} layers</summary>
          <ul class="notes">${leftAlone.map(({ reason, layers: number }) => html`<li>${count(number)}: ${reason}</li>`)}</ul>
        </details>`
      : nothing,
  );
}

/** what each way to factorise makes of a layer */
const SCHEMES: Readonly<Record<NonNullable<FittedLayer["scheme"]>, string>> = {
  lowRank: "two thinner layers",
  kernelFirst: "the kernel onto fewer channels, then 1×1",
  pointwiseFirst: "1×1 onto fewer channels, then the kernel",
  vertical: "a column kernel, then a row kernel",
  horizontal: "a row kernel, then a column kernel",
  tucker2: "1×1, a smaller kernel, 1×1 (Tucker-2)",
};

function layerRow(layer: LayerInfo, share: number, fitted: FittedLayer | undefined, state: State): TemplateResult {
  const { id, name, op, shape } = layer;
  const isRunning = state.layer === id;
  const becomes = isRunning
    ? "fitting…"
    : fitted
      ? fitted.scheme
        ? `${SCHEMES[fitted.scheme]}${fitted.refitted ? ", fitted twice" : ""}`
        : "stays"
      : state.chosen
        ? "stays"
        : state.task.phase === "running" && state.seen.has(id)
          ? "fitted"
          : "";
  const { after, before } = fitted?.multiplications ?? { after: null, before: null };
  return html`<tr data-layer=${id} data-state=${isRunning ? "running" : nothing}>
    <th scope="row">${name} <span class="quiet">${op}</span></th>
    <td class="left">${shape.join("×")}</td>
    <td><meter min="0" max="1" value=${share} aria-label=${`share of ${name}`}></meter> <span class="share">${percent(share, 0)}</span></td>
    <td class="left">${becomes}</td>
    <td>${fitted?.ranks.join(", ") ?? ""}</td>
    <td>${fitted?.scheme && before && after ? factor(before, after) : ""}</td>
    <td>${fitted?.scheme ? percent(fitted.error) : ""}</td>
  </tr>`;
}
