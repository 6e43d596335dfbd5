import type { Output } from "./context.js";

/** The characters in a line of an output: the terminal's width, or 80. */
export const widthOf = (output: Output): number => (output.isTTY && output.columns ? output.columns : 80);

/** `47,040` */
export const formatCount = (count: number): string => count.toLocaleString("en-US");

/** `850 ms`, `12.3 s`, `4 min 05 s` */
export function formatSeconds(seconds: number): string {
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 99.95) return `${seconds.toPrecision(3)} s`;
  const rounded = Math.round(seconds);
  return `${Math.floor(rounded / 60)} min ${String(rounded % 60).padStart(2, "0")} s`;
}
