/** The page of `tenfold mnist`: the three tables of the study, and each case in pictures. */
import { PIXELS } from "../../experiments/digits.js";
import { type ReportCase, type ReportNetwork, unpack } from "../../experiments/results.js";
import { countTick, dots, drawChart, line, lineAcross, percentTick, texts } from "../chart.js";
import type { ReportData } from "../data.js";
import { card, choices, count, h, nameOf, percent, plot, tableWithSwitch } from "../elements.js";
import { componentImages, imageGrids } from "../images.js";
import { type Dots, loadingHistogram, loadingScatter } from "../loadings.js";
import { accuracyPlot, confusionTable } from "../networks.js";

/** What the tables come to: what a few numbers an image are worth, digits by digits. */
function meaning({ cases }: ReportData): HTMLElement {
  const told = cases.map(({ digits, rank, full, decomposed }) => {
    const fewer = Number((full.parameters / decomposed.parameters).toPrecision(2));
    return `On ${nameOf(digits)}, ${rank} numbers an image in place of ${PIXELS} pixels make the network ${fewer} times smaller: it reads ${percent(decomposed.testAccuracy)} of unseen images, and ${percent(full.testAccuracy)} on pixels.`;
  });
  return card("What it means", told.join(" "));
}

function summary(data: ReportData): HTMLElement {
  const t10k = data.cases.some(({ full }) => full.t10kAccuracy !== undefined);
  const head = [
    ...[
      "digits",
      "network on",
      "layout",
      "parameters as the thesis counts them",
      "parameters",
      "multiplications",
      "training",
    ],
    ...["held out", ...(t10k ? ["t10k"] : []), "error", "seconds"],
  ];
  const brief = [
    "digits",
    "network on",
    "parameters",
    "multiplications",
    "held out",
    ...(t10k ? ["t10k"] : []),
    "error",
  ];
  const rows = data.cases.flatMap((study) => {
    const row = (name: string, network: ReportNetwork, error: string, time: string, first: boolean) => ({
      first,
      cells: [
        first ? nameOf(study.digits) : "",
        name,
        network.layout,
        count(network.slideParameters),
        count(network.parameters),
        count(network.multiplications),
        percent(network.curve.at(-1)?.train ?? 0),
        percent(network.testAccuracy),
        ...(t10k ? [network.t10kAccuracy === undefined ? "" : percent(network.t10kAccuracy)] : []),
        error,
        time,
      ],
    });
    const { full, decomposed, centred, seconds, decompositionError } = study;
    return [
      row("pixels", full, "", seconds.trainFull.toFixed(1), true),
      row(
        `loadings, rank ${study.rank}`,
        decomposed,
        decompositionError.toFixed(4),
        (seconds.decompose + seconds.trainDecomposed).toFixed(1),
        false,
      ),
      row("loadings of centred images", centred, "", "", false),
    ];
  });
  return card(
    "The comparison",
    "Each image becomes a few numbers, its loadings on a Tucker decomposition of the training images; a small network learns from them, beside one that sees all 784 pixels. Multiplications are those of the network for one image, error is ‖X − X̂‖ / ‖X‖ of the training images.",
    tableWithSwitch("The comparison", head, 3, brief, rows),
  );
}

function images(study: ReportCase): HTMLElement {
  const grids = imageGrids("the first hundred training images");
  grids.set({
    originals: Float32Array.from(unpack(study.originals), (value) => value / 255),
    approximations: unpack(study.reconstructions) as Float32Array,
    digits: study.originalLabels.map((label) => study.digits[label]!),
    rank: study.rank,
  });
  return card(
    "Images",
    "Point at an image, or move the mark with the arrow keys: it is the same image in all three.",
    grids.element,
  );
}

function components(study: ReportCase): HTMLElement {
  const figures = componentImages(unpack(study.components), study.components.shape[0]!);
  return card(
    "Components",
    "An image is about a sum of these, each weighted by a loading; orange adds ink, blue takes it away. The first is close to the mean image.",
    h("div", { class: "components" }, ...figures),
  );
}

const NETWORKS = [
  ["pixels", "full"],
  ["loadings", "decomposed"],
  ["centred loadings", "centred"],
] as const;

function curves(study: ReportCase): HTMLElement {
  const points = NETWORKS.flatMap(([network, key]) =>
    study[key].curve.flatMap(({ epoch, train, validation }) => [
      { epoch, accuracy: train, network, set: "training" as const },
      { epoch, accuracy: validation, network, set: "validation" as const },
    ]),
  );
  const ends = NETWORKS.map(([name, key]) => `${name} ${percent(study[key].testAccuracy)}`).join(", ");
  const label = `Accuracy against epoch. Held out in the end: ${ends}.`;
  const names = NETWORKS.map(([name]) => name);
  return card(
    "Training",
    "Accuracy on the validation images (solid) and, while it learns, on the training images (dashed), after every epoch.",
    plot((width) => accuracyPlot(points, names, width), label).box,
  );
}

function dotsOf(study: ReportCase): () => Dots {
  const [, rank] = study.loadings.shape as [number, number];
  const pictures = unpack(study.loadingImages);
  const dots: Dots = {
    rank,
    stride: rank,
    values: unpack(study.loadings) as Float32Array,
    labels: study.loadingLabels.map((label) => study.digits[label]!),
    digits: study.digits,
    image: (index) => Float32Array.from(pictures.subarray(index * PIXELS, (index + 1) * PIXELS), (v) => v / 255),
  };
  return () => dots;
}

function histogram(study: ReportCase): HTMLElement {
  const rank = study.loadings.shape[1]!;
  const words = rank > 5 ? "The first five columns, or one column by class." : "All columns, or one column by class.";
  return card(
    "Histogram of the loadings",
    `How often a loading has which value among ${study.loadingLabels.length} training images. ${words}`,
    loadingHistogram(dotsOf(study)).element,
  );
}

function scatter(study: ReportCase): HTMLElement {
  return card(
    "Scatter of two loadings",
    `One dot an image, ${study.loadingLabels.length} of the training set; large dots are the means of the classes. Point at a dot to see its digit.`,
    loadingScatter(dotsOf(study)).element,
  );
}

function confusion(study: ReportCase): HTMLElement {
  const box = h("div", { class: "scroll", tabindex: "0" });
  const group = choices(
    "network",
    NETWORKS.map(([name, key]) => [name, key] as const),
    (key) => box.replaceChildren(confusionTable(study[key].confusion, study.digits, study[key].testAccuracy)),
  );
  return card("Confusion", "Held-out images: rows are what they show, columns what the network says.", group, box);
}

function slides(study: ReportCase): HTMLElement | null {
  if (!study.slides) return null;
  const entries = [
    ["pixels", study.slides.full],
    ["loadings", study.slides.decomposed],
  ] as const;
  const points = entries.flatMap(([, { accuracies }], row) =>
    accuracies.map((accuracy, run) => ({
      ...{ x: accuracy, y: row, colour: "#d55e00" },
      title: `seed ${run + 1}: ${percent(accuracy)}`,
    })),
  );
  const chart = plot(
    (width) =>
      drawChart({
        width,
        height: 160,
        left: 70,
        x: { name: "held-out accuracy", format: percentTick, domain: [0, 1], grid: true },
        y: { domain: [1.5, -0.5], ticks: [0, 1], format: (row) => entries[row]![0] },
        marks: [dots(points, { radius: 6, opacity: 0.6 })],
      }).element,
    "Accuracy of every seed under the slides' recipe",
  ).box;
  const words = entries
    .map(([name, { failures, accuracies }]) => `on ${name} ${failures} of ${accuracies.length} learnt nothing`)
    .join(", ");
  return card(
    "The slides' recipe",
    `Softmax twice, plain SGD, loadings as they are; one dot a seed: ${words}. Loadings of about 0.01 are never standardised, and the second softmax takes the gradient away.`,
    chart,
  );
}

function sweep(data: ReportData): HTMLElement | null {
  if (!data.sweep) return null;
  const { points, full, hidden } = data.sweep;
  const [blue, orange] = ["#0072b2", "#d55e00"];
  const chart = (of: "rank" | "multiplications", label: string) => {
    const places = points.map((point) => ({ x: point[of], y: point.accuracy, colour: blue }));
    const isCount = of === "multiplications";
    const pixels = { x: full.multiplications, y: full.accuracy, colour: orange };
    return plot(
      (width) =>
        drawChart({
          width,
          height: 310,
          x: {
            name: label,
            grid: true,
            ...(isCount ? { isLogarithmic: true, format: countTick } : { integers: true }),
          },
          y: { name: "held-out accuracy", format: percentTick, isNice: true },
          marks: [
            lineAcross(full.accuracy, orange, { dashes: "6 4" }),
            texts([{ x: places[0]!.x, y: full.accuracy, text: `pixels ${percent(full.accuracy)}` }], { down: 15 }),
            line(places, blue),
            dots(places, { radius: 4.5 }),
            ...(isCount ? [dots([pixels], { radius: 6 })] : []),
          ],
          pointer: {
            places,
            tip: (at) => {
              const { rank, accuracy, decompositionError, multiplications, parameters } = points[at]!;
              return `rank ${rank}: ${percent(accuracy)}\nerror ${decompositionError.toFixed(4)}\n${count(multiplications)} multiplications\n${count(parameters)} weights`;
            },
          },
        }).element,
      `Held-out accuracy against ${label}: ${points.map((p) => `rank ${p.rank} ${percent(p.accuracy)}`).join(", ")}`,
    ).box;
  };
  const all = data.sweep.digits.length === 10 ? "all ten digits" : `digits ${data.sweep.digits.join(", ")}`;
  return card(
    "Rank sweep",
    `How many loadings does a network with ${hidden} hidden neurons need, on ${all}? The dashed line is the same network on pixels. Multiplications are for one image: the projection onto the components, then the network.`,
    h("div", { class: "two" }, chart("rank", "rank"), chart("multiplications", "multiplications")),
  );
}

function casePanel(study: ReportCase): HTMLElement {
  const { train, validation, test } = study.images;
  const words = `${count(train)} images to train on, ${count(validation)} to watch and ${count(test)} held out. Projection, standardisation and first layer folded into one matrix predict the same on ${percent(study.fused.agreement, 2)} of the held-out images; logits differ by at most ${study.fused.largestDifference.toExponential(1)}.`;
  return h(
    "div",
    { role: "tabpanel" },
    h("p", {}, words),
    images(study),
    components(study),
    h("div", { class: "two" }, curves(study), confusion(study)),
    h("div", { class: "two", style: "margin-top:1rem" }, histogram(study), scatter(study)),
    slides(study),
  );
}

/** One tab for each case; arrow keys go from tab to tab. */
function caseTabs(cases: readonly ReportCase[]): HTMLElement[] {
  const panels = cases.map((study, index) => {
    const panel = casePanel(study);
    panel.hidden = index > 0;
    panel.id = `case-${index}`;
    panel.setAttribute("aria-labelledby", `tab-${index}`);
    return panel;
  });
  const tabs = cases.map((study, index) => {
    const tab = h(
      "button",
      {
        type: "button",
        role: "tab",
        id: `tab-${index}`,
        "aria-controls": `case-${index}`,
        "aria-selected": String(index === 0),
        tabindex: index ? "-1" : "0",
      },
      nameOf(study.digits),
    );
    tab.addEventListener("click", () => select(index));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) select((index + step + tabs.length) % tabs.length, true);
    });
    return tab;
  });
  const select = (chosen: number, focus = false): void => {
    tabs.forEach((tab, index) => {
      tab.setAttribute("aria-selected", String(index === chosen));
      tab.tabIndex = index === chosen ? 0 : -1;
      panels[index]!.hidden = index !== chosen;
    });
    if (focus) tabs[chosen]!.focus();
  };
  return [h("div", { class: "tabs", role: "tablist", "aria-label": "digits" }, ...tabs), ...panels];
}

/** What stands below the page's title. */
export function studyCards(data: ReportData): HTMLElement[] {
  return [meaning(data), summary(data), ...caseTabs(data.cases), sweep(data)].filter((element) => element !== null);
}
