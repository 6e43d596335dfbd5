import { TenfoldError } from "../gpu/index.js";

/** The first of entries that are not finite. */
export interface FirstNotFinite {
  /** flat index */
  index: number;
  kind: string;
  shape: readonly number[];
  /** the row that the first one of `shape` is; 0 by default */
  start?: number;
}

/** What is wrong with entries that are not finite: how many, and where the first is. */
export function notFiniteError(
  operation: string,
  name: string,
  count: number,
  { index, kind, shape, start = 0 }: FirstNotFinite,
): TenfoldError {
  const place: number[] = [];
  let rest = index;
  for (const extent of [...shape].reverse()) {
    place.unshift(rest % extent);
    rest = Math.floor(rest / extent);
  }
  if (place.length) place[0]! += start;
  const [entries, first, them] =
    count === 1 ? ["1 entry that is", "", "it"] : [`${count} entries that are`, "the first ", "them"];
  return new TenfoldError(
    `${operation}: ${name} has ${entries} not finite, ${first}${kind} at [${place.join(", ")}]; remove or replace ${them}`,
    { code: "ENTRIES" },
  );
}
