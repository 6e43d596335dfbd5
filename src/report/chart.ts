/** Charts of a page: lines, dots and bars between axes, with a legend, and with words for what the pointer is near. */
import { h } from "./elements.js";
import { type Attributes, axes, el, linear, logarithmic, PAGE, pathOf, picture, type Scale, words } from "./svg.js";

/** Where something lies, in the numbers of the axes. */
export interface Place {
  x: number;
  y: number;
}

export interface Axis {
  name?: string;
  isLogarithmic?: boolean;
  /** the axis' ends; without it the least and the largest number of the marks */
  domain?: readonly [number, number];
  /** moves both ends outwards to a tick */
  isNice?: boolean;
  /** ticks are whole numbers */
  integers?: boolean;
  ticks?: readonly number[];
  format?: (value: number) => string;
  grid?: boolean;
}

/** Something that is drawn, and the numbers that the axes have to hold for it. */
export interface Mark {
  xs?: readonly number[];
  ys?: readonly number[];
  draw(x: Scale, y: Scale): string;
}

/** What a pointer finds in a chart: the place that is nearest to it. */
export interface Pointer {
  places: readonly Place[];
  /** the direction that counts, both by default: along x, a place is found from anywhere above and below it */
  along?: "x" | "y";
  /** words beside the place, line by line */
  tip?: (index: number) => string;
  /** called with the place that the pointer is near from now on; −1: with none */
  onPoint?: (index: number) => void;
}

export interface ChartOptions {
  width: number;
  height: number;
  /** room for the ticks of y, 50 pixels by default */
  left?: number;
  x: Axis;
  y: Axis;
  legend?: readonly (readonly [name: string, colour: string])[];
  marks: readonly Mark[];
  pointer?: Pointer;
}

export interface DrawnChart {
  element: HTMLElement;
  svg: SVGSVGElement;
  /** from numbers to pixels of the SVG */
  x: Scale;
  y: Scale;
}

const MARGIN = { left: 50, right: 16, top: 26, bottom: 42 };
/** pixels from tick to tick, at least */
const APART = { x: 45, y: 28 };
/** pixels from a place at which the pointer is near it */
const REACH = 40;
/** how much less the direction that does not count weighs */
const ASIDE = 0.01;

/** A share as a tick: `95.5 %`. */
export const percentTick = (value: number): string => `${Number((100 * value).toFixed(1))} %`;

const PREFIXES = [
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
] as const;
/** A count as a tick: `20k`. */
export function countTick(value: number): string {
  const [size, prefix] = PREFIXES.find(([least]) => Math.abs(value) >= least) ?? [1, ""];
  return `${Number((value / size).toPrecision(3))}${prefix}`;
}

const coordinates = (places: readonly Place[]) => ({ xs: places.map(({ x }) => x), ys: places.map(({ y }) => y) });

export interface Stroke {
  width?: number;
  dashes?: string;
  opacity?: number;
}

const strokeOf = (stroke: string, { width = 2, dashes, opacity }: Stroke): Attributes => ({
  ...{ stroke, "stroke-width": width, "stroke-dasharray": dashes, "stroke-opacity": opacity },
  fill: "none",
});

/** A line from place to place. */
export const line = (places: readonly Place[], stroke: string, style: Stroke = {}): Mark => ({
  ...coordinates(places),
  draw: (x, y) =>
    el("path", {
      d: pathOf(
        places.map((place) => x(place.x)),
        places.map((place) => y(place.y)),
      ),
      ...strokeOf(stroke, style),
    }),
});

/** A line across the whole chart, at a number of y. */
export const lineAcross = (at: number, stroke: string, style: Stroke = {}): Mark => ({
  ys: [at],
  draw: (x, y) =>
    el("line", { x1: x(x.domain[0]), x2: x(x.domain[1]), y1: y(at), y2: y(at), ...strokeOf(stroke, style) }),
});

/** A line up through the whole chart, at a number of x. */
export const lineUp = (at: number, stroke: string, style: Stroke = {}): Mark => ({
  xs: [at],
  draw: (x, y) =>
    el("line", { x1: x(at), x2: x(at), y1: y(y.domain[0]), y2: y(y.domain[1]), ...strokeOf(stroke, style) }),
});

export interface Dot extends Place {
  colour: string;
  /** words that appear at the dot */
  title?: string;
}

export interface DotStyle {
  /** 3 pixels by default */
  radius?: number;
  opacity?: number;
  /** pixels of a ring's line: the dot is a ring; left out, it is filled */
  ring?: number;
  /** the colour around a filled dot */
  around?: string;
}

export const dots = (places: readonly Dot[], { radius: r = 3, opacity, ring, around }: DotStyle = {}): Mark => ({
  ...coordinates(places),
  draw: (x, y) =>
    el(
      "g",
      ring
        ? { fill: "none", "stroke-width": ring }
        : { "fill-opacity": opacity, stroke: around, "stroke-width": around && 2 },
      ...places.map(({ colour, title, ...place }) =>
        el(
          "circle",
          { cx: x(place.x), cy: y(place.y), r, [ring ? "stroke" : "fill"]: colour },
          ...(title ? [el("title", {}, words(title))] : []),
        ),
      ),
    ),
});

export interface Box {
  x: readonly [number, number];
  y: readonly [number, number];
  colour: string;
  title?: string;
}

/** Filled boxes from number to number in both directions: bars, bins. */
export const boxes = (list: readonly Box[], opacity?: number): Mark => ({
  xs: list.flatMap(({ x }) => x),
  ys: list.flatMap(({ y }) => y),
  draw: (x, y) =>
    el(
      "g",
      { "fill-opacity": opacity },
      ...list.map(({ colour, title, ...box }) => {
        const [left, right] = [x(box.x[0]), x(box.x[1])];
        const [bottom, top] = [y(box.y[0]), y(box.y[1])];
        return el(
          "rect",
          {
            ...{ x: Math.min(left, right), y: Math.min(bottom, top), fill: colour },
            ...{ width: Math.abs(right - left), height: Math.abs(bottom - top) },
          },
          ...(title ? [el("title", {}, words(title))] : []),
        );
      }),
    ),
});

/** Words at places. `down` moves them by so many pixels. */
export const texts = (
  places: readonly (Place & { text: string })[],
  { down = 4, ...attributes }: Attributes & { down?: number } = {},
): Mark => ({
  draw: (x, y) =>
    el(
      "g",
      attributes,
      ...places.map((place) => el("text", { x: x(place.x), y: y(place.y) + down }, words(place.text))),
    ),
});

/** The least and the largest value, or, where that would have no length, a bit more. */
function extentOf(values: readonly number[], isLogarithmic = false): readonly [number, number] {
  if (!values.length) return isLogarithmic ? [1, 10] : [0, 1];
  let [low, high] = [values[0]!, values[0]!];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  if (low < high) return [low, high];
  return [low, isLogarithmic ? 10 * low : low + 1];
}

function scaleOf(axis: Axis, values: readonly number[], range: readonly [number, number], ticks: number): Scale {
  const [low, high] = axis.domain ?? extentOf(values, axis.isLogarithmic);
  const scale = axis.isLogarithmic
    ? logarithmic(low, high, range, { ticks })
    : linear(low, high, range, { ticks, integers: axis.integers, isNice: axis.isNice });
  return axis.ticks
    ? Object.assign((value: number) => scale(value), { domain: scale.domain, ticks: axis.ticks })
    : scale;
}

/** SVG text as an element that screen readers pass over: the box around it has a label. */
export function svgElement(text: string): SVGSVGElement {
  const template = document.createElement("template");
  template.innerHTML = text;
  const svg = template.content.firstElementChild as SVGSVGElement;
  svg.setAttribute("aria-hidden", "true");
  return svg;
}

export function drawChart(options: ChartOptions): DrawnChart {
  const { width, height, left = MARGIN.left, legend = [], marks, pointer } = options;
  const of = (axis: "x" | "y", from: number, to: number): Scale => {
    const values = marks.flatMap((mark) => mark[`${axis}s`] ?? []);
    return scaleOf(options[axis], values, [from, to], Math.max(2, Math.floor(Math.abs(to - from) / APART[axis])));
  };
  const [x, y] = [of("x", left, width - MARGIN.right), of("y", height - MARGIN.bottom, MARGIN.top)];
  const svg = svgElement(
    picture(
      ...([width, height, PAGE] as const),
      axes(PAGE, {
        ...{ x, xName: options.x.name, xTick: options.x.format, xGrid: options.x.grid },
        ...{ y, yName: options.y.name, yTick: options.y.format, yGrid: options.y.grid },
      }),
      ...marks.map((mark) => mark.draw(x, y)),
    ),
  );
  const names = legend.map(([name, colour]) => h("span", {}, h("i", { style: `background:${colour}` }), name));
  const element = h("figure", {}, names.length ? h("div", { class: "legend" }, ...names) : null, svg);
  if (pointer) followPointer(element, { svg, x, y }, width, pointer);
  return { element, svg, x, y };
}

/** Tells what the pointer is near. A click keeps it until the next click. */
function followPointer(
  element: HTMLElement,
  { svg, x, y }: Pick<DrawnChart, "svg" | "x" | "y">,
  width: number,
  { places, along, tip, onPoint }: Pointer,
): void {
  const hint = h("div", { class: "hint", hidden: "" });
  if (tip) element.append(hint);
  const [xs, ys] = [places.map((place) => x(place.x)), places.map((place) => y(place.y))];
  const [wide, high] = [along === "y" ? ASIDE : 1, along === "x" ? ASIDE : 1];
  const ring = document.createElementNS(svg.namespaceURI, "circle");
  for (const [name, value] of Object.entries({ r: "6", fill: "none", stroke: "var(--mark)", "stroke-width": "2" }))
    ring.setAttribute(name, value);
  let current = -1;
  let isKept = false;
  const show = (index: number): void => {
    if (index === current) return;
    current = index;
    onPoint?.(index);
    hint.hidden = index < 0;
    ring.remove();
    if (index < 0) return;
    ring.setAttribute("cx", String(xs[index]));
    ring.setAttribute("cy", String(ys[index]));
    svg.append(ring);
    if (!tip) return;
    hint.textContent = tip(index);
    // beside the place where there is room, else as far to the right as the chart goes
    const [frame, box] = [element.getBoundingClientRect(), svg.getBoundingClientRect()];
    const shrunk = box.width / width;
    const [right, room] = [box.left - frame.left + shrunk * xs[index]! + 12, frame.width - hint.offsetWidth];
    const before = right - hint.offsetWidth - 24;
    hint.style.left = `${right <= room ? right : before >= 0 ? before : Math.max(0, room)}px`;
    hint.style.top = `${box.top - frame.top + shrunk * ys[index]! + 12}px`;
  };
  const nearest = ({ clientX, clientY }: PointerEvent): number => {
    const box = svg.getBoundingClientRect();
    const [px, py] = [((clientX - box.left) * width) / box.width, ((clientY - box.top) * width) / box.width];
    let [best, least] = [-1, REACH ** 2];
    for (const [index, place] of xs.entries()) {
      const distance = (wide * (place - px)) ** 2 + (high * (ys[index]! - py)) ** 2;
      if (distance < least) [best, least] = [index, distance];
    }
    return best;
  };
  const follow = (event: PointerEvent): void => {
    if (!isKept) show(nearest(event));
  };
  svg.addEventListener("pointerenter", follow);
  svg.addEventListener("pointermove", follow);
  svg.addEventListener("pointerleave", ({ pointerType }) => {
    // a finger leaves as it is lifted
    if (pointerType === "mouse" && !isKept) show(-1);
  });
  svg.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse") return;
    isKept = !isKept && current >= 0;
    follow(event);
  });
}
