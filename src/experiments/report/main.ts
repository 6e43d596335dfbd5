import * as Plot from "@observablehq/plot";
import { type CurvePoint, type ReportCase, type ReportData, type ReportNetwork, unpack } from "./data.js";
import "./style.css";

const SIDE = 28;
const PIXELS = SIDE * SIDE;
const GRID = 10;
/** Okabe and Ito's colours, told apart with any colour vision; the tenth is grey. */
const CLASS_COLOURS = [
  "#0072b2",
  "#d55e00",
  "#009e73",
  "#cc79a7",
  "#e69f00",
  "#56b4e9",
  "#8a6d00",
  "#9467bd",
  "#b2182b",
  "#777777",
];

const percent = (share: number, digits = 1): string => `${(100 * share).toFixed(digits)} %`;
const nameOf = (digits: readonly number[]): string =>
  digits.length === 10 ? "all ten digits" : `digits ${digits.join(", ")}`;
const count = (value: number): string => value.toLocaleString("en-US");

type Child = Node | string | null | undefined;

/** An element with attributes and children. */
function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child): child is Node | string => child !== null && child !== undefined));
  return element;
}

const card = (title: string, words: string, ...children: Child[]): HTMLElement =>
  h("section", { class: "card" }, h("h2", {}, title), h("p", {}, words), ...children);

/** Buttons of which one is pressed. */
function choices<T>(
  label: string,
  options: readonly (readonly [string, T])[],
  choose: (value: T) => void,
): HTMLElement {
  const group = h("div", { class: "choices", role: "group", "aria-label": label });
  const buttons = options.map(([name, value], index) => {
    const button = h("button", { type: "button", "aria-pressed": String(index === 0) }, name);
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      choose(value);
    });
    return button;
  });
  group.append(...buttons);
  choose(options[0]![1]);
  return group;
}

/** A colour of grey for 0 to 1, or from blue over white to orange for −1 to 1. */
const grey = (value: number): [number, number, number] => {
  const level = Math.round(255 * Math.min(1, Math.max(0, value)));
  return [level, level, level];
};
const diverging = (value: number): [number, number, number] => {
  const v = Math.min(1, Math.max(-1, value));
  const [r, g, b] = v > 0 ? [213, 94, 0] : [0, 114, 178];
  const mix = (end: number) => Math.round(247 + (end - 247) * Math.abs(v));
  return [mix(r), mix(g), mix(b)];
};

/** Draws images of 28×28 side by side, `columns` in a row. */
function drawImages(
  values: ArrayLike<number>,
  images: number,
  columns: number,
  colour: (value: number) => [number, number, number],
  label: string,
): HTMLCanvasElement {
  const canvas = h("canvas", { role: "img", "aria-label": label });
  canvas.width = columns * SIDE;
  canvas.height = Math.ceil(images / columns) * SIDE;
  const context = canvas.getContext("2d")!;
  const picture = context.createImageData(canvas.width, canvas.height);
  for (let image = 0; image < images; image++) {
    const [left, top] = [(image % columns) * SIDE, Math.floor(image / columns) * SIDE];
    for (let pixel = 0; pixel < PIXELS; pixel++) {
      const at = 4 * ((top + Math.floor(pixel / SIDE)) * canvas.width + left + (pixel % SIDE));
      picture.data.set([...colour(values[image * PIXELS + pixel]!), 255], at);
    }
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}

/** A chart that is drawn again when the theme or its width changes. */
const redraws = new Set<() => void>();
function plot(make: (width: number) => Element, label: string): HTMLElement {
  const box = h("div", { class: "plot", role: "img", "aria-label": label });
  let width = 0;
  const draw = (): void => {
    if (box.clientWidth) box.replaceChildren(make(Math.max(260, box.clientWidth)));
  };
  new ResizeObserver(() => {
    if (Math.abs(box.clientWidth - width) < 2) return;
    width = box.clientWidth;
    draw();
  }).observe(box);
  redraws.add(draw);
  return box;
}

const chartStyle = { background: "transparent", color: "var(--text)", fontSize: "12px", overflow: "visible" };

function summary(data: ReportData): HTMLElement {
  const t10k = data.cases.some(({ full }) => full.t10kAccuracy !== undefined);
  const head = [
    "digits",
    "network on",
    "layout",
    "parameters as on the slide",
    "parameters",
    "multiplications",
    "training",
    "held out",
    ...(t10k ? ["t10k"] : []),
    "error",
    "seconds",
  ];
  const rows = data.cases.flatMap((one) => {
    const row = (name: string, network: ReportNetwork, error: string, time: string, first: boolean) =>
      h(
        "tr",
        first ? { class: "first" } : {},
        h("th", { scope: "row" }, first ? nameOf(one.digits) : ""),
        ...[
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
        ].map((text, index) => h("td", index < 2 ? { class: "left" } : {}, text)),
      );
    const { full, decomposed, centred, seconds, decompositionError } = one;
    return [
      row("pixels", full, "", seconds.trainFull.toFixed(1), true),
      row(
        `loadings, rank ${one.rank}`,
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
    h(
      "div",
      { class: "scroll", tabindex: "0" },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ...head.map((text, index) => h("th", { scope: "col", ...(index < 3 ? { class: "left" } : {}) }, text)),
          ),
        ),
        h("tbody", {}, ...rows),
      ),
    ),
  );
}

function images(one: ReportCase): HTMLElement {
  const bytes = unpack(one.originals);
  const approximations = unpack(one.reconstructions);
  const shown = one.originals.shape[0]!;
  const originals = Float32Array.from(bytes, (value) => value / 255);
  const residuals = originals.map((value, index) => value - approximations[index]!);
  const picked = h("div", { class: "picked", "aria-live": "polite" });
  const frames: HTMLElement[] = [];
  let current = 0;
  const pick = (index: number): void => {
    current = Math.min(shown - 1, Math.max(0, index));
    for (const frame of frames) {
      frame.style.left = `${(current % GRID) * 10}%`;
      frame.style.top = `${Math.floor(current / GRID) * 10}%`;
    }
    const part = (values: Float32Array) => values.subarray(current * PIXELS, (current + 1) * PIXELS);
    const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
    const digit = one.digits[one.originalLabels[current]!];
    picked.textContent = `Image ${current + 1}: a ${digit}. ${percent((norm(part(residuals)) / norm(part(originals))) ** 2, 0)} of its energy is in the residual.`;
  };
  const grid = (title: string, words: string, values: ArrayLike<number>, colour: typeof grey): HTMLElement => {
    const frame = h("div", { class: "frame" });
    frames.push(frame);
    const box = h(
      "div",
      { class: "grid", tabindex: "0", role: "group", "aria-label": `${title}; arrow keys move the mark` },
      drawImages(values, shown, GRID, colour, title),
      frame,
    );
    box.addEventListener("pointermove", (event) => {
      const { left, top, width, height } = box.getBoundingClientRect();
      const column = Math.floor((GRID * (event.clientX - left)) / width);
      pick(GRID * Math.floor((GRID * (event.clientY - top)) / height) + Math.min(GRID - 1, Math.max(0, column)));
    });
    box.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -GRID, ArrowDown: GRID }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      pick(current + step);
    });
    return h("figure", {}, box, h("figcaption", {}, h("strong", {}, title), ` ${words}`));
  };
  const grids = h(
    "div",
    { class: "grids" },
    grid("Original", "the first hundred training images", originals, grey),
    grid(`Rank ${one.rank}`, "what the loadings keep; below 0 is drawn black, above 1 white", approximations, grey),
    grid("Residual", `original − rank ${one.rank}: orange is missing, blue is too much`, residuals, diverging),
  );
  pick(0);
  return card(
    "Images",
    "Point at an image, or move the mark with the arrow keys: it is the same image in all three.",
    grids,
    picked,
  );
}

function components(one: ReportCase): HTMLElement {
  const values = unpack(one.components);
  const [rank] = one.components.shape as [number, number];
  const figures = Array.from({ length: rank }, (_, r) => {
    const image = (values as Float32Array).subarray(r * PIXELS, (r + 1) * PIXELS);
    const largest = Math.max(...image.map(Math.abs)) || 1;
    const canvas = drawImages(
      image.map((v) => v / largest),
      1,
      1,
      diverging,
      `component ${r + 1}`,
    );
    return h("figure", {}, canvas, h("figcaption", {}, String(r + 1)));
  });
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

function curves(one: ReportCase): HTMLElement {
  const points = NETWORKS.flatMap(([name, key]) =>
    one[key].curve.flatMap(({ epoch, train, validation }: CurvePoint) => [
      { epoch, accuracy: train, network: name, set: "training" },
      { epoch, accuracy: validation, network: name, set: "validation" },
    ]),
  );
  const chart = plot(
    (width) =>
      Plot.plot({
        width,
        height: 310,
        marginBottom: 42,
        style: chartStyle,
        x: { label: "epoch" },
        y: { label: "accuracy", tickFormat: (v: number) => `${Math.round(100 * v)} %`, grid: true, nice: true },
        color: { legend: true, domain: NETWORKS.map(([name]) => name), range: ["#0072b2", "#d55e00", "#009e73"] },
        marks: [
          ...(["training", "validation"] as const).map((set) =>
            Plot.line(
              points.filter((point) => point.set === set),
              {
                x: "epoch",
                y: "accuracy",
                stroke: "network",
                strokeWidth: 2,
                strokeDasharray: set === "training" ? "4 3" : "none",
              },
            ),
          ),
          Plot.tip(
            points,
            Plot.pointer({
              x: "epoch",
              y: "accuracy",
              title: (d) => `${d.network}, ${d.set}\nepoch ${d.epoch}: ${percent(d.accuracy)}`,
            }),
          ),
        ],
      }),
    `Accuracy against epoch. Held out in the end: ${NETWORKS.map(([name, key]) => `${name} ${percent(one[key].testAccuracy)}`).join(", ")}.`,
  );
  return card(
    "Training",
    "Accuracy on the validation images (solid) and, while it learns, on the training images (dashed), after every epoch.",
    chart,
  );
}

interface Dot {
  loadings: ArrayLike<number>;
  label: number;
  index: number;
}

const dotsOf = (one: ReportCase): Dot[] => {
  const values = unpack(one.loadings) as Float32Array;
  const rank = one.loadings.shape[1]!;
  return one.loadingLabels.map((label, index) => ({
    loadings: values.subarray(index * rank, (index + 1) * rank),
    label,
    index,
  }));
};

const classScale = (one: ReportCase) => ({
  legend: true,
  domain: one.digits.map(String),
  range: one.digits.map((digit) => CLASS_COLOURS[digit]!),
});

function histogram(one: ReportCase): HTMLElement {
  const dots = dotsOf(one);
  const rank = one.loadings.shape[1]!;
  let mode: "column" | "class" = "column";
  let column = 0;
  const select = h(
    "select",
    { "aria-label": "column" },
    ...Array.from({ length: rank }, (_, r) => h("option", { value: String(r) }, `column ${r + 1}`)),
  );
  const label = h("label", {}, "of ", select);
  const redraw = (): void => {
    label.hidden = mode === "column";
    draw?.();
  };
  let draw: (() => void) | null = null;
  const box = plot((width) => {
    const most = Math.min(rank, 5);
    const data =
      mode === "column"
        ? dots.flatMap(({ loadings }) =>
            Array.from({ length: most }, (_, r) => ({ value: loadings[r]!, group: `column ${r + 1}` })),
          )
        : dots.map(({ loadings, label }) => ({ value: loadings[column]!, group: String(one.digits[label]) }));
    const color =
      mode === "column"
        ? { legend: true, domain: Array.from({ length: most }, (_, r) => `column ${r + 1}`), range: CLASS_COLOURS }
        : classScale(one);
    const bars = {
      x: "value",
      fill: "group",
      fillOpacity: 0.45,
      thresholds: 40,
    } as Plot.BinXInputs<Plot.RectYOptions>;
    return Plot.plot({
      width,
      height: 310,
      marginBottom: 42,
      style: chartStyle,
      x: { label: "loading" },
      y: { label: "images", grid: true },
      color,
      marks: [Plot.rectY(data, Plot.binX({ y2: "count" }, bars)), Plot.ruleY([0])],
    });
  }, "Histogram of the loadings");
  draw = [...redraws].at(-1)!;
  select.addEventListener("change", () => {
    column = Number(select.value);
    redraw();
  });
  const group = choices(
    "group by",
    [
      ["by column", "column"],
      ["by class", "class"],
    ] as const,
    (value) => {
      mode = value;
      redraw();
    },
  );
  group.append(label);
  const words = rank > 5 ? "The first five columns, or one column by class." : "All columns, or one column by class.";
  return card(
    "Histogram of the loadings",
    `How often a loading has which value among ${one.loadingLabels.length} training images. ${words}`,
    group,
    box,
  );
}

function scatter(one: ReportCase): HTMLElement {
  const dots = dotsOf(one);
  const pictures = unpack(one.loadingImages);
  const rank = one.loadings.shape[1]!;
  const selectOf = (label: string, start: number) => {
    const select = h(
      "select",
      { "aria-label": label },
      ...Array.from({ length: rank }, (_, r) => h("option", { value: String(r) }, `column ${r + 1}`)),
    );
    select.value = String(start);
    return select;
  };
  const across = selectOf("across", Math.min(1, rank - 1));
  const up = selectOf("up", Math.min(2, rank - 1));
  const tip = h("div", { class: "tip", hidden: "" });
  const box = plot((width) => {
    const [cx, cy] = [Number(across.value), Number(up.value)];
    const data = dots.map(({ loadings, label, index }) => ({
      x: loadings[cx]!,
      y: loadings[cy]!,
      digit: String(one.digits[label]),
      index,
    }));
    const means = one.digits.map((digit) => {
      const own = data.filter((dot) => dot.digit === String(digit));
      const average = (key: "x" | "y") => own.reduce((sum, dot) => sum + dot[key], 0) / Math.max(1, own.length);
      return { x: average("x"), y: average("y"), digit: String(digit) };
    });
    const chart = Plot.plot({
      width,
      height: 350,
      marginBottom: 42,
      style: chartStyle,
      x: { label: `loading ${cx + 1}`, grid: true },
      y: { label: `loading ${cy + 1}`, grid: true },
      color: classScale(one),
      marks: [
        Plot.dot(data, { x: "x", y: "y", fill: "digit", r: 3, fillOpacity: 0.65 }),
        Plot.dot(means, { x: "x", y: "y", fill: "digit", stroke: "var(--card)", strokeWidth: 2, r: 11 }),
        Plot.text(means, { x: "x", y: "y", text: "digit", fill: "white", fontWeight: "bold" }),
        Plot.dot(data, Plot.pointer({ x: "x", y: "y", stroke: "var(--mark)", strokeWidth: 2, r: 6 })),
      ],
    });
    chart.addEventListener("input", () => {
      const dot = (chart as unknown as { value: { index: number; digit: string } | null }).value;
      tip.hidden = !dot;
      if (!dot) return;
      const image = Float32Array.from(pictures.subarray(dot.index * PIXELS, (dot.index + 1) * PIXELS), (v) => v / 255);
      tip.replaceChildren(drawImages(image, 1, 1, grey, `a ${dot.digit}`), `a ${dot.digit}`);
    });
    chart.addEventListener("pointermove", (event) => {
      const { clientX, clientY } = event as PointerEvent;
      tip.style.left = `${Math.min(clientX + 16, innerWidth - 110)}px`;
      tip.style.top = `${clientY + 16}px`;
    });
    chart.addEventListener("pointerleave", () => {
      tip.hidden = true;
    });
    return chart;
  }, "Two loadings of each image, coloured by digit, with the mean of each digit");
  const draw = [...redraws].at(-1)!;
  for (const select of [across, up]) select.addEventListener("change", draw);
  return card(
    "Scatter of two loadings",
    `One dot an image, ${one.loadingLabels.length} of the training set; large dots are the means of the classes. Point at a dot to see its digit.`,
    h("div", { class: "choices" }, h("label", {}, "across ", across), h("label", {}, "up ", up)),
    box,
    tip,
  );
}

function confusion(one: ReportCase): HTMLElement {
  const box = h("div", { class: "scroll", tabindex: "0" });
  const group = choices(
    "network",
    NETWORKS.map(([name, key]) => [name, key] as const),
    (key) => {
      const { confusion: matrix, testAccuracy } = one[key];
      const rows = matrix.map((row, truth) => {
        const total = row.reduce((a, b) => a + b, 0);
        const cells = row.map((value, guess) => {
          const share = total ? value / total : 0;
          const colour = guess === truth ? "#0072b2" : "#d55e00";
          const cell = h(
            "td",
            { class: "cell", title: `${one.digits[truth]} taken for ${one.digits[guess]}: ${percent(share)}` },
            count(value),
          );
          cell.style.background = `color-mix(in srgb, ${colour} ${Math.round(70 * Math.sqrt(share))}%, transparent)`;
          return cell;
        });
        return h("tr", {}, h("th", { scope: "row" }, String(one.digits[truth])), ...cells);
      });
      const head = h(
        "tr",
        {},
        h("th", { scope: "col" }, "is ↓ taken for →"),
        ...one.digits.map((digit) => h("th", { scope: "col" }, String(digit))),
      );
      box.replaceChildren(
        h(
          "table",
          { class: "confusion" },
          h("caption", {}, `${percent(testAccuracy)} right`),
          h("thead", {}, head),
          h("tbody", {}, ...rows),
        ),
      );
    },
  );
  return card("Confusion", "Held-out images: rows are what they show, columns what the network says.", group, box);
}

function slides(one: ReportCase): HTMLElement | null {
  if (!one.slides) return null;
  const entries = [
    ["pixels", one.slides.full],
    ["loadings", one.slides.decomposed],
  ] as const;
  const points = entries.flatMap(([network, { accuracies }]) =>
    accuracies.map((accuracy, run) => ({ network, accuracy, run: run + 1 })),
  );
  const chart = plot(
    (width) =>
      Plot.plot({
        width,
        height: 160,
        marginLeft: 70,
        style: chartStyle,
        x: {
          label: "held-out accuracy",
          tickFormat: (v: number) => `${Math.round(100 * v)} %`,
          domain: [0, 1],
          grid: true,
        },
        y: { label: null, domain: ["pixels", "loadings"] },
        marks: [
          Plot.dot(points, {
            x: "accuracy",
            y: "network",
            fill: "#d55e00",
            r: 6,
            fillOpacity: 0.6,
            title: (d) => `seed ${d.run}: ${percent(d.accuracy)}`,
          }),
        ],
      }),
    "Accuracy of every seed under the slides' recipe",
  );
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
  const chart = (x: "rank" | "multiplications", label: string) =>
    plot(
      (width) =>
        Plot.plot({
          width,
          height: 310,
          marginBottom: 42,
          style: chartStyle,
          marginLeft: 50,
          x: {
            label,
            type: x === "multiplications" ? "log" : "linear",
            grid: true,
            tickFormat: x === "multiplications" ? "~s" : "d",
          },
          y: {
            label: "held-out accuracy",
            tickFormat: (v: number) => `${Math.round(100 * v)} %`,
            grid: true,
            nice: true,
          },
          marks: [
            Plot.ruleY([full.accuracy], { stroke: "#d55e00", strokeWidth: 2, strokeDasharray: "6 4" }),
            Plot.text([full], {
              x: points[0]![x],
              y: "accuracy",
              text: () => `pixels ${percent(full.accuracy)}`,
              dy: 11,
              textAnchor: "start",
              fill: "currentColor",
            }),
            Plot.line(points, { x, y: "accuracy", stroke: "#0072b2", strokeWidth: 2 }),
            Plot.dot(points, { x, y: "accuracy", fill: "#0072b2", r: 4.5 }),
            x === "multiplications"
              ? Plot.dot([full], { x: "multiplications", y: "accuracy", fill: "#d55e00", r: 6 })
              : null,
            Plot.tip(
              points,
              Plot.pointer({
                x,
                y: "accuracy",
                title: (d) =>
                  `rank ${d.rank}: ${percent(d.accuracy)}\nerror ${d.decompositionError.toFixed(4)}\n${count(d.multiplications)} multiplications\n${count(d.parameters)} weights`,
              }),
            ),
          ],
        }),
      `Held-out accuracy against ${label}: ${points.map((p) => `rank ${p.rank} ${percent(p.accuracy)}`).join(", ")}`,
    );
  const all = data.sweep.digits.length === 10 ? "all ten digits" : `digits ${data.sweep.digits.join(", ")}`;
  return card(
    "Rank sweep",
    `How many loadings does a network with ${hidden} hidden neurons need, on ${all}? The dashed line is the same network on pixels. Multiplications are for one image: the projection onto the components, then the network.`,
    h("div", { class: "two" }, chart("rank", "rank"), chart("multiplications", "multiplications")),
  );
}

function casePanel(one: ReportCase): HTMLElement {
  const { train, validation, test } = one.images;
  const words = `${count(train)} images to train on, ${count(validation)} to watch and ${count(test)} held out. Projection, standardisation and first layer folded into one matrix predict the same on ${percent(one.fused.agreement, 2)} of the held-out images; logits differ by at most ${one.fused.largestDifference.toExponential(1)}.`;
  return h(
    "div",
    { role: "tabpanel" },
    h("p", {}, words),
    images(one),
    components(one),
    h("div", { class: "two" }, curves(one), confusion(one)),
    h("div", { class: "two", style: "margin-top:1rem" }, histogram(one), scatter(one)),
    slides(one),
  );
}

function setTheme(theme: "light" | "dark"): void {
  document.documentElement.dataset.theme = theme;
  document.querySelector("#theme")!.textContent = theme === "dark" ? "Light" : "Dark";
  for (const draw of redraws) draw();
}

function start(data: ReportData): void {
  const about = `${data.data}; ${data.adapter}; ${data.command}, seed ${data.seed}; ${data.date.slice(0, 10)}`;
  document.querySelector("#about")!.textContent = about;
  const main = document.querySelector("#main")!;
  const panels = data.cases.map((one, index) => {
    const panel = casePanel(one);
    panel.hidden = index > 0;
    panel.id = `case-${index}`;
    panel.setAttribute("aria-labelledby", `tab-${index}`);
    return panel;
  });
  const tabs = data.cases.map((one, index) => {
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
      nameOf(one.digits),
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
  const last = sweep(data);
  main.append(
    summary(data),
    h("div", { class: "tabs", role: "tablist", "aria-label": "digits" }, ...tabs),
    ...panels,
    ...(last ? [last] : []),
  );
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document
    .querySelector("#theme")!
    .addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
}

const data = JSON.parse(document.querySelector("#tenfold-report-data")!.textContent!) as ReportData | null;
if (data) start(data);
else document.querySelector("#about")!.textContent = "This page holds no data: tenfold mnist fills it in.";
