/** What Train looks like. */
import { html, nothing, type TemplateResult } from "lit-html";
import { PIXELS } from "../../../src/experiments/digits.js";
import { count, drawImages, grey, h, nameOf, percent } from "../../../src/report/elements.js";
import { accuracyPlot, confusionTable } from "../../../src/report/networks.js";
import { card, checkControl, digitControl, numberControl, scrolling, selectControl, taskBar } from "../controls.js";
import { chart, drawn, memo } from "../figures.js";
import type { View } from "../part.js";
import { IMAGES } from "../settings.js";
import { Pad } from "./pad.js";
import {
  aboutWords,
  BOUNDS,
  chartWords,
  type Event,
  NETWORKS,
  NOTES,
  pointsOf,
  RECIPES,
  ROWS,
  type State,
} from "./state.js";
import type { Answer, TrainedNetwork } from "./training.js";

type Send = (event: Event) => void;

/** What the buttons and the pad do. */
export interface Actions {
  /** trains as the settings say */
  apply(): void;
  abort(): void;
  /** the next held-out image, in pixels / 255; null before there are any */
  heldOut(): Float32Array | null;
  /** asks the networks for what is on the pad */
  ask(): Promise<void>;
}

export function createView(send: Send, run: Actions): View<State> {
  const accuracy = chart(
    (width: number, curves: State["curves"]) => accuracyPlot(pointsOf(curves), NETWORKS, width),
    chartWords,
  );
  const drawing = new DrawingCard(send, run);
  const confusions = memo(confusionsOf);
  return {
    render: (state) => html`
      <p class="lead">
        Each image becomes a few numbers, its loadings on a decomposition of the training images. A small network learns
        the digits from them, beside one that sees all 784 pixels. Watch both learn, then draw a digit for them below.
      </p>
      ${settingsCard(state, send, run)}
      <div class="two">
        ${card(
          "Training",
          "Accuracy on the validation images (solid) and, while it learns, on the training images (dashed), after every epoch.",
          accuracy(state.curves),
        )}
        <section class="card">
          <h2>The comparison</h2>
          <p>${aboutWords(state)}</p>
          ${scrolling("The two networks", comparison(state.finished))}
        </section>
      </div>
      ${drawing.render(state)}
      ${card(
        "Confusion",
        "Held-out images: rows are what they show, columns what the network says.",
        html`<div class="two">${confusions(state.finished, state.settings.digits)}</div>`,
      )}
    `,
  };
}

function settingsCard({ settings, recorded, task }: State, send: Send, run: Actions): TemplateResult {
  const change = (values: Partial<State["settings"]>): void => send({ type: "change", values });
  const number = (words: string, name: keyof typeof BOUNDS): TemplateResult =>
    numberControl(words, BOUNDS[name], settings[name], (value) => change({ [name]: value }), recorded);
  return html`
    <section class="card" aria-label="Settings">
      <div class="controls">
        ${digitControl(settings.digits, (digits) => change({ digits }), recorded)}
        ${selectControl(
          "Images",
          IMAGES.map((n) => [n as number, `of the first ${count(n)}`] as const),
          settings.images,
          (images) => change({ images }),
          recorded,
        )}
        ${selectControl("Training", RECIPES, settings.recipe, (recipe) => change({ recipe }), recorded)}
        ${number("Rank: loadings an image", "rank")}
        ${number("Hidden neurons on loadings", "hidden")}
        ${number("Hidden neurons on pixels", "full")}
        ${number("Epochs (0: automatic)", "epochs")}
        ${number("Seed", "seed")}
        ${checkControl(
          "Centre: subtract the mean image first",
          settings.centred,
          (centred) => change({ centred }),
          recorded,
        )}
      </div>
      <p>${NOTES[settings.recipe]}</p>
      ${taskBar(task, { disabled: recorded, onRun: () => run.apply(), onStop: () => run.abort() })}
    </section>`;
}

/** A row a figure, a column a network. */
const comparison = (finished: State["finished"]): TemplateResult => html`
  <table class="compare">
    <thead>
      <tr><td></td>${NETWORKS.map((name) => html`<th scope="col">on ${name}</th>`)}</tr>
    </thead>
    <tbody>
      ${ROWS.map(
        ([name, words]) => html`
          <tr>
            <th scope="row">${name}</th>
            ${NETWORKS.map((network) => {
              const learnt = finished[network];
              return html`<td data-of=${`${network} ${name}`} .textContent=${learnt ? words(learnt) : "…"}></td>`;
            })}
          </tr>`,
      )}
    </tbody>
  </table>
  <p class="small">
    Multiplications on loadings include the projection; seconds on loadings include the decomposition.
  </p>`;

const confusionsOf = (finished: State["finished"], digits: readonly number[]): TemplateResult[] =>
  NETWORKS.flatMap((network) => {
    const learnt = finished[network];
    return learnt ? [confusionOf(learnt, digits)] : [];
  });

const confusionOf = ({ name, confusion, testAccuracy }: TrainedNetwork, digits: readonly number[]): TemplateResult =>
  html`<div>
    <h3>On ${name}</h3>
    ${scrolling(`Confusion of the network on ${name}`, confusionTable(confusion, digits, testAccuracy))}
  </div>`;

/** A pad, what the networks see of it, and what they say. */
class DrawingCard {
  readonly #pad: Pad;
  readonly #take: () => void;
  readonly #seen = h("canvas", { role: "img" });
  readonly #rebuilt = h("canvas", { role: "img" });
  readonly #drawSeen = drawn((image: Float32Array | null) =>
    drawSmall(this.#seen, image, "the drawing as the networks see it"),
  );
  readonly #drawRebuilt = drawn((image: Float32Array | null) =>
    drawSmall(this.#rebuilt, image, "the drawing as its loadings give it back"),
  );

  constructor(send: Send, run: Actions) {
    const draw = (drawing: Float32Array | null): void => {
      send({ type: "drawn", drawing });
      void run.ask();
    };
    this.#pad = new Pad(draw);
    this.#take = () => {
      const image = run.heldOut();
      if (image) draw(image);
    };
  }

  render({ settings, recorded, drawing, answer, said }: State): TemplateResult {
    const { digits } = settings;
    this.#pad.show(drawing);
    this.#drawSeen(drawing);
    this.#drawRebuilt(answer?.reconstruction ?? null);
    const knows = recorded
      ? "The networks answer where there is WebGPU."
      : `The networks know ${nameOf(digits)}${digits.length === 10 ? "" : " and nothing else"}.`;
    return card(
      "Draw a digit",
      "Draw over the digit that is there: the first stroke clears the pad. The drawing is fitted and centred as the digits were that the networks learnt from (MNIST's). Arrow keys move the pen, space puts it down or lifts it.",
      html`<p>${knows}</p>
        <div class="drawing">
          <div>
            ${this.#pad.element}
            <div class="pager">
              <button type="button" @click=${this.#pad.clear}>Clear</button>
              <button type="button" @click=${this.#take}>Take a held-out image</button>
            </div>
          </div>
          <figure>${this.#seen}<figcaption>as the networks see it</figcaption></figure>
          <figure>${this.#rebuilt}<figcaption>from its loadings</figcaption></figure>
          ${scrolling("What the networks say", answer ? answerTable(answer, digits) : nothing)}
          <p class="unseen" role="status" .textContent=${said}></p>
        </div>`,
    );
  }
}

const BLACK = new Float32Array(PIXELS);
const drawSmall = (canvas: HTMLCanvasElement, image: Float32Array | null, label: string): void =>
  void drawImages(image ?? BLACK, 1, 1, grey, label, canvas);

/** How sure each network is of each digit. */
const answerTable = (answer: Answer, digits: readonly number[]): TemplateResult => html`
  <table class="answer">
    <thead>
      <tr><th scope="col">digit</th>${NETWORKS.map((name) => html`<th scope="col">on ${name}</th>`)}</tr>
    </thead>
    <tbody>
      ${digits.map(
        (digit, index) => html`
          <tr>
            <th scope="row">${digit}</th>
            ${NETWORKS.map((name) => {
              const share = answer[name][index] ?? 0;
              const best = share === Math.max(...answer[name]);
              return html`<td
                class=${best ? "best" : nothing}
                .style=${`--share: ${100 * share}%`}
                .textContent=${percent(share, 0)}
              ></td>`;
            })}
          </tr>`,
      )}
    </tbody>
  </table>`;
