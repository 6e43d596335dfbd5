/** Figures that are drawn by what they show, and again only when that has changed. */
import { drawLater, plot } from "../../src/report/elements.js";

type Values = readonly unknown[];
const same = (a: Values | null, b: Values): boolean => a?.every((value, index) => Object.is(value, b[index])) ?? false;

/** A function that computes again only where a value differs from the last call. */
export function memo<A extends Values, R>(compute: (...values: A) => R): (...values: A) => R {
  let last: A | null = null;
  let result: R;
  return (...values) => {
    if (!same(last, values)) {
      result = compute(...values);
      last = values;
    }
    return result;
  };
}

/** A function that draws again only where a value differs from the last call; soon, and in a task of its own, so that no task is long. */
export function drawn<A extends Values>(draw: (...values: A) => void): (...values: A) => void {
  let last: A | null = null;
  const now = (): void => draw(...last!);
  return (...values) => {
    if (same(last, values)) return;
    last = values;
    drawLater(now);
  };
}

/**
 * A chart as a function of what it shows.
 *
 * @param label what it says to those who do not see it
 * @returns the chart's box, always the same one
 */
export function chart<A extends Values>(
  draw: (width: number, ...values: A) => Element,
  label: (...values: NoInfer<A>) => string,
): (...values: A) => HTMLElement {
  let last: A | null = null;
  const { box, redraw } = plot((width) => draw(width, ...last!), "");
  return (...values) => {
    if (!same(last, values)) {
      last = values;
      redraw(label(...values));
    }
    return box;
  };
}
