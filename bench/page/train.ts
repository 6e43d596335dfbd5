/** Train: a network on a few loadings beside one on all pixels, and a pad to try both on. */
import { PIXELS, splitDigits } from "../../src/experiments/digits.js";
import { DeviceLostError, type Epoch } from "../../src/index.js";
import { type AccuracyPoint, accuracyChart, confusionTable } from "../../src/report/charts.js";
import { card, count, drawImages, grey, h, nameOf, percent } from "../../src/report/elements.js";
import {
  ALL,
  checkControl,
  digitControl,
  IMAGES,
  numberControl,
  parseDigits,
  runner,
  selectControl,
  type Tell,
  whole,
} from "./controls.js";
import { chooseDigits, type DigitSet } from "./digits.js";
import { drawingPad } from "./pad.js";
import type { Context, Mounted, Part } from "./part.js";
import { disable, packTraining, recordedTraining } from "./recorded.js";
import { NETWORKS, type NetworkName, type RecipeName, Trained, type TrainedNetwork } from "./training.js";

/** points of a line in the chart */
const POINTS = 150;
const REDRAW_MS = 120;

const RECIPES: readonly (readonly [RecipeName, string])[] = [
  ["fixed", "one that works"],
  ["slides", "as on the slides"],
];
const NOTES: Record<RecipeName, string> = {
  fixed:
    "Loadings standardised by the training set, cross-entropy, shuffled batches of 100, Adam (Kingma & Ba 2015); of six starts the best after three epochs goes on: with three hidden neurons half of them never learn to tell the third class apart.",
  slides:
    "The thesis' recipe (Rasmussen 2020, week 5): loadings of about 0.01 as they are, softmax twice, plain SGD, no shuffling. The second softmax takes the gradient away, and some starts never leave chance: try other seeds.",
};

interface State {
  digits: number[];
  images: string;
  recipe: RecipeName;
  rank: number;
  hidden: number;
  full: number;
  centred: boolean;
  /** 0: as many as the recipe takes */
  epochs: number;
  seed: number;
}

/** The thesis' sizes. */
const sizesFor = (digits: readonly number[]) =>
  digits.length === ALL.length ? { rank: 15, hidden: 15, full: 10 } : { rank: 3, hidden: 5, full: 3 };

function parse(query: URLSearchParams): State {
  const digits = parseDigits(query.get("digits")) ?? [3, 4, 7];
  const sizes = sizesFor(digits);
  return {
    digits,
    images: String(whole(query.get("images"), 100, 10_000, 10_000)),
    recipe: query.get("recipe") === "slides" ? "slides" : "fixed",
    rank: whole(query.get("rank"), 1, 50, sizes.rank),
    hidden: whole(query.get("hidden"), 1, 64, sizes.hidden),
    full: whole(query.get("full"), 1, 64, sizes.full),
    centred: query.get("centred") === "1",
    epochs: whole(query.get("epochs"), 0, 2000, 0),
    seed: whole(query.get("seed"), 0, 1e6, 1),
  };
}

const written = (state: State): Record<string, string> => ({
  digits: state.digits.join(""),
  images: state.images,
  recipe: state.recipe,
  rank: String(state.rank),
  hidden: String(state.hidden),
  full: String(state.full),
  ...(state.centred ? { centred: "1" } : {}),
  ...(state.epochs ? { epochs: String(state.epochs) } : {}),
  ...(state.seed === 1 ? {} : { seed: String(state.seed) }),
});

function mount(container: HTMLElement, context: Context, query: URLSearchParams): Mounted {
  let state = parse(query);
  let trained: Trained | null = null;
  let set: DigitSet | null = null;
  const curves = new Map<NetworkName, readonly Epoch[]>();
  const finished = new Map<NetworkName, TrainedNetwork>();
  let summary = { relativeError: Number.NaN, images: { train: 0, validation: 0, test: 0 } };

  // ---- controls

  const change = (values: Partial<State>): void => {
    state = { ...state, ...values };
    context.setState(written(state), "push");
    apply();
  };
  const digits = digitControl((value) => change({ digits: value, ...sizesFor(value) }));
  const images = selectControl<string>(
    "Images",
    IMAGES.map((n) => [n, `of the first ${count(Number(n))}`]),
    (value) => change({ images: value }),
  );
  const recipe = selectControl("Recipe", RECIPES, (value) => change({ recipe: value }));
  const rank = numberControl("Rank: loadings an image", { min: 1, max: 50 }, (value) => change({ rank: value }));
  const hidden = numberControl("Hidden neurons on loadings", { min: 1, max: 64 }, (value) => change({ hidden: value }));
  const full = numberControl("Hidden neurons on pixels", { min: 1, max: 64 }, (value) => change({ full: value }));
  const epochs = numberControl("Epochs (0: the recipe's)", { min: 0, max: 2000 }, (value) => change({ epochs: value }));
  const seed = numberControl("Seed", { min: 0, max: 1e6 }, (value) => change({ seed: value }));
  const centred = checkControl("Centre: subtract the mean image first", (value) => change({ centred: value }));
  const run = runner(() => start(), context.fail);
  const note = h("p");

  // ---- figures

  const chart = accuracyChart(points, NETWORKS, "Accuracy against epoch");
  const table = h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "The two networks" });
  const confusions = h("div", { class: "two" });
  const about = h("p");
  const seen = h("canvas", { role: "img" });
  const rebuilt = h("canvas", { role: "img" });
  const verdict = h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "What the networks say" });
  /** for those who do not see the table: once the pen rests */
  const said = h("p", { class: "unseen", role: "status" });
  let saying: ReturnType<typeof setTimeout> | undefined;
  const pad = drawingPad(() => void ask());
  const clear = h("button", { type: "button" }, "Clear");
  clear.addEventListener("click", pad.clear);
  const sample = h("button", { type: "button" }, "Take a held-out image");
  let sampled = 0;
  sample.addEventListener("click", () => {
    if (!set) return;
    const [from, to] = splitDigits(set.labels.length).test;
    const index = from + ((sampled++ * 37) % (to - from));
    pad.load(Float32Array.from(set.images.subarray(index * PIXELS, (index + 1) * PIXELS), (value) => value / 255));
  });
  const knows = h("p");
  container.append(
    h(
      "p",
      { class: "lead" },
      "Each image becomes a few numbers, its loadings on a decomposition of the training images. A small network learns the digits from them, beside one that sees all 784 pixels.",
    ),
    h(
      "section",
      { class: "card", "aria-label": "Settings" },
      h(
        "div",
        { class: "controls" },
        digits.element,
        images.element,
        recipe.element,
        rank.element,
        hidden.element,
        full.element,
        epochs.element,
        seed.element,
        centred.element,
      ),
      note,
      run.element,
    ),
    h(
      "div",
      { class: "two" },
      card(
        "Training",
        "Accuracy on the validation images (solid) and, while it learns, on the training images (dashed), after every epoch.",
        chart.box,
      ),
      h("section", { class: "card" }, h("h2", {}, "The comparison"), about, table),
    ),
    card(
      "Draw a digit",
      "The drawing is fitted and centred as MNIST's digits were; then its loadings, what they give back, and what both networks say, as you draw. Arrow keys move the pen, space puts it down or lifts it.",
      knows,
      h(
        "div",
        { class: "drawing" },
        h("div", {}, pad.element, h("div", { class: "pager" }, clear, sample)),
        h("figure", {}, seen, h("figcaption", {}, "as the networks see it")),
        h("figure", {}, rebuilt, h("figcaption", {}, "from its loadings")),
        verdict,
        said,
      ),
    ),
    card("Confusion", "Held-out images: rows are what they show, columns what the network says.", confusions),
  );

  function points(): AccuracyPoint[] {
    return NETWORKS.flatMap((network) => {
      const curve = curves.get(network) ?? [];
      const step = Math.max(1, Math.ceil(curve.length / POINTS));
      return curve
        .filter((_, index) => index % step === 0 || index === curve.length - 1)
        .flatMap(({ epoch, accuracy, validationAccuracy }) => [
          { epoch, accuracy, network, set: "training" as const },
          { epoch, accuracy: validationAccuracy ?? 0, network, set: "validation" as const },
        ]);
    });
  }

  let drawn = 0;
  function redraw(now = false): void {
    if (!now && performance.now() - drawn < REDRAW_MS) return;
    drawn = performance.now();
    const ends = NETWORKS.flatMap((name) => {
      const last = curves.get(name)?.at(-1);
      return last ? [`${name} ${percent(last.validationAccuracy ?? 0)}`] : [];
    });
    chart.redraw(`Accuracy against epoch. Validation so far: ${ends.join(", ") || "none"}.`);
  }

  function showTable(): void {
    const { train, validation, test } = summary.images;
    about.textContent = train
      ? `${nameOf(state.digits)}: ${count(train)} images to train on, ${count(validation)} to watch, ${count(test)} held out. ${Number.isNaN(summary.relativeError) ? "" : `Rank ${state.rank} leaves a relative error of ${summary.relativeError.toFixed(4)}.`}`
      : "Numbers come as the networks learn.";
    const rows: [string, (network: TrainedNetwork) => string][] = [
      ["layout", ({ layout }) => layout],
      ["parameters", ({ parameters }) => count(parameters)],
      ["multiplications an image", ({ multiplications }) => count(multiplications)],
      ["seconds", ({ seconds }) => seconds.toFixed(2)],
      ["epochs", ({ curve }) => count(curve.length)],
      ["validation accuracy", ({ curve }) => percent(curve.at(-1)?.validationAccuracy ?? 0)],
      ["held-out accuracy", ({ testAccuracy }) => percent(testAccuracy)],
    ];
    table.replaceChildren(
      h(
        "table",
        { class: "compare" },
        h("thead", {}, h("tr", {}, h("td"), ...NETWORKS.map((name) => h("th", { scope: "col" }, `on ${name}`)))),
        h(
          "tbody",
          {},
          ...rows.map(([name, value]) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, name),
              ...NETWORKS.map((network) => {
                const one = finished.get(network);
                return h("td", { "data-of": `${network} ${name}` }, one ? value(one) : "…");
              }),
            ),
          ),
        ),
      ),
      h(
        "p",
        { class: "small" },
        "Multiplications on loadings include the projection; seconds on loadings include the decomposition.",
      ),
    );
    confusions.replaceChildren(
      ...NETWORKS.flatMap((network) => {
        const one = finished.get(network);
        return one
          ? [
              h(
                "div",
                {},
                h("h3", {}, `On ${network}`),
                h(
                  "div",
                  {
                    class: "scroll",
                    tabindex: "0",
                    role: "group",
                    "aria-label": `Confusion of the network on ${network}`,
                  },
                  confusionTable(one.confusion, state.digits, one.testAccuracy),
                ),
              ),
            ]
          : [];
      }),
    );
  }

  // ---- the pad

  let asking = false;
  let askAgain = false;
  /** Asks for what is on the pad now; one question at a time, the last one always. */
  async function ask(): Promise<void> {
    askAgain = true;
    if (asking) return;
    asking = true;
    try {
      while (askAgain) {
        askAgain = false;
        const image = pad.image();
        drawImages(image ?? new Float32Array(PIXELS), 1, 1, grey, "the drawing as the networks see it", seen);
        const answer = image && trained ? await trained.answer(image) : null;
        drawImages(
          answer?.reconstruction ?? new Float32Array(PIXELS),
          1,
          1,
          grey,
          "the drawing as its loadings give it back",
          rebuilt,
        );
        verdict.replaceChildren(answer ? answerTable(answer) : "");
        clearTimeout(saying);
        saying = setTimeout(() => {
          said.textContent = answer ? NETWORKS.map((name) => `${bestOf(answer[name])} on ${name}`).join(", ") : "";
        }, 600);
      }
    } catch (error) {
      context.fail(error);
    } finally {
      asking = false;
    }
  }

  const bestOf = (shares: readonly number[]): string => {
    const most = Math.max(...shares);
    return `${state.digits[shares.indexOf(most)]} (${percent(most, 0)})`;
  };

  function answerTable(answer: Record<NetworkName, number[]>): HTMLElement {
    return h(
      "table",
      { class: "answer" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "digit"),
          ...NETWORKS.map((name) => h("th", { scope: "col" }, `on ${name}`)),
        ),
      ),
      h(
        "tbody",
        {},
        ...state.digits.map((digit, index) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, String(digit)),
            ...NETWORKS.map((name) => {
              const share = answer[name][index]!;
              const best = share === Math.max(...answer[name]);
              const cell = h("td", best ? { class: "best" } : {}, percent(share, 0));
              cell.style.setProperty("--share", `${100 * share}%`);
              return cell;
            }),
          ),
        ),
      ),
    );
  }

  // ---- training

  function setControls(): void {
    digits.set(state.digits);
    images.set(state.images);
    recipe.set(state.recipe);
    rank.set(state.rank);
    hidden.set(state.hidden);
    full.set(state.full);
    epochs.set(state.epochs);
    seed.set(state.seed);
    centred.set(state.centred);
    note.textContent = NOTES[state.recipe];
    knows.textContent = `The networks know ${nameOf(state.digits)}${state.digits.length === 10 ? "" : " and nothing else"}.`;
  }

  function apply(): void {
    setControls();
    start();
  }

  function start(): void {
    void run.run((signal, tell) => work({ ...state, digits: [...state.digits] }, signal, tell));
  }

  function forget(): void {
    trained?.destroy();
    trained = null;
  }

  async function work(asked: State, signal: AbortSignal, tell: Tell): Promise<string> {
    forget();
    curves.clear();
    finished.clear();
    summary = { relativeError: Number.NaN, images: { train: 0, validation: 0, test: 0 } };
    showTable();
    redraw(true);
    void ask();
    if (!context.hasGpu) return showRecorded();
    tell(0, "Loading the digits…");
    const all = await context.digits();
    tell(0, "Opening the GPU…");
    const engine = await context.engine().catch((error) => {
      if (error instanceof DeviceLostError) throw error;
    });
    if (!engine) return showRecorded();
    signal.throwIfAborted();
    set = chooseDigits(all, asked.digits, Number(asked.images));
    const current = new Trained(engine, { ...asked, fullHidden: asked.full, epochs: asked.epochs || null });
    let done = 0;
    try {
      await current.run(
        set,
        {
          onStage: (words) => tell(done, words),
          onCurve: (name, curve, share) => {
            curves.set(name, curve);
            done = (name === "pixels" ? 0.5 : 0) + share / 2;
            const last = curve.at(-1)!;
            tell(done, `On ${name}, epoch ${last.epoch}: validation accuracy ${percent(last.validationAccuracy ?? 0)}`);
            redraw();
          },
          onNetwork: (network) => {
            curves.set(network.name, network.curve);
            finished.set(network.name, network);
            summary = current;
            showTable();
            redraw(true);
          },
        },
        signal,
      );
    } catch (error) {
      current.destroy();
      throw error;
    }
    if (signal.aborted) {
      current.destroy();
      return "Stopped.";
    }
    trained = current;
    if (pad.image()) void ask();
    else sample.click();
    return NETWORKS.map((name) => `${percent(finished.get(name)!.testAccuracy)} on ${name}`).join(", ");
  }

  /** Without a GPU: what networks on another machine learnt. */
  async function showRecorded(): Promise<string> {
    const found = await recordedTraining();
    if (!found) throw new Error("No WebGPU here: nothing can be computed.");
    state = parse(new URLSearchParams(found.state));
    setControls();
    for (const network of found.networks) {
      curves.set(network.name, network.curve);
      finished.set(network.name, network);
    }
    summary = found;
    showTable();
    redraw(true);
    disable(container);
    knows.textContent = "The networks answer where there is WebGPU.";
    return `Recorded on ${found.adapter}, ${found.date}: training needs WebGPU.`;
  }

  apply();
  return {
    record: () =>
      packTraining(document.querySelector("#adapter")!.textContent!, written(state), [...finished.values()], summary),
    show(next) {
      state = parse(next);
      apply();
    },
    async unmount() {
      clearTimeout(saying);
      await run.stop();
      forget();
    },
  };
}

export const part: Part = { mount };
