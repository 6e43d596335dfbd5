/** Versions of a compressed model side by side: the original, int8 alone, and the file. */
import { percent } from "../experiments/figures.js";

export interface ModelVersion {
  /** `original`, `int8`, `low rank`, `low rank + int8` */
  name: string;
  bytes: number;
  /** of a run */
  milliseconds: number;
  error: number;
  cosine: number;
  /** the part of the classifications that stay; null where outputs are no classes */
  agreement: number | null;
}

/** What a version is judged by. */
type Nearness = { error: number | null; agreement: number | null };
/** The part of the answers that change; of models that give no answers, the error. */
export const lossOf = ({ agreement, error }: Nearness): number => (agreement === null ? error! : 1 - agreement);
/** What a model may lose that is as good as the original. 1 − 0.98 is a little more than 0.02. */
export const mostLoss = ({ agreement }: Nearness): number => (agreement === null ? 0.1 : 0.02 + 1e-9);

const divided = (before: number, after: number): string => `÷${(before / after).toFixed(2)}`;

/** A row each, with what sizes and times are divided by. */
export function versionTable(versions: readonly ModelVersion[]): { head: string[]; rows: string[][] } {
  const [first] = versions;
  const hasClasses = versions.some(({ agreement }) => agreement !== null);
  const rows = versions.map((one) => {
    const { name, bytes, milliseconds, error, cosine, agreement } = one;
    const of = (key: "bytes" | "milliseconds", text: string): string =>
      one === first ? text : `${text} (${divided(first![key], one[key])})`;
    return [
      ...[name, of("bytes", bytes.toLocaleString("en-US")), of("milliseconds", milliseconds.toPrecision(3))],
      ...[error.toFixed(4), cosine.toFixed(5), ...(hasClasses ? [agreement === null ? "" : percent(agreement)] : [])],
    ];
  });
  return { head: ["", "bytes", "ms a run", "error", "cosine", ...(hasClasses ? ["same class"] : [])], rows };
}

/** Says that int8 is the better way to a small file, where it is; else null. */
export function int8Words(versions: readonly ModelVersion[]): string | null {
  const [original] = versions;
  const int8 = versions.find(({ name }) => name === "int8");
  const low = versions.find(({ name }) => name.startsWith("low rank"));
  if (!int8 || !low || int8.bytes >= low.bytes) return null;
  if (int8.error > low.error && lossOf(int8) > mostLoss(int8)) return null;
  const near =
    int8.agreement === null ? `an error of ${int8.error.toFixed(4)}` : `${percent(int8.agreement)} same class`;
  const more =
    int8.milliseconds <= low.milliseconds
      ? "and is faster here, too: low rank is for where int8 does not run"
      : low.milliseconds < original!.milliseconds
        ? "and low rank is the way to a faster one in float"
        : "and low rank makes it no faster here";
  return `int8 (--int8) is the better way to a small file of this model (${divided(original!.bytes, int8.bytes)}, ${near}), ${more}`;
}
