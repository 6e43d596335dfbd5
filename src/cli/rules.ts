import type { Engine } from "../gpu/index.js";
import {
  columnOf,
  type KernelRule,
  KINDS,
  type Kind,
  kindOf,
  type Note,
  type NumberRule,
  RULES,
} from "../ops/adapter.js";
import { table } from "../report/terminal.js";
import { formatCount } from "./table.js";

/** A rule as `tenfold doctor --rules` shows it. */
export interface ShownRule {
  name: string;
  decides: string;
  /** of its numbers; empty where it has names */
  unit: string;
  /** by kind of adapter: a number, the name of one (`never`), or the kernels that a probe chooses among */
  values: Record<Kind, number | string>;
  because: string;
}

/** What `tenfold doctor --rules --json` prints. */
export interface ShownRules {
  adapter: string;
  /** which of the values are in force on this adapter */
  kind: Kind;
  kinds: Record<Kind, string>;
  rules: ShownRule[];
}

const kinds = Object.keys(KINDS) as Kind[];

/** Every rule, in the order of the table. */
export const shownRules = (): ShownRule[] =>
  Object.entries<Rule>(RULES).map(([name, rule]) => ({
    name,
    decides: rule.decides,
    unit: rule.unit,
    values: Object.fromEntries(kinds.map((kind) => [kind, cellOf(rule, kind)])) as ShownRule["values"],
    because: rule.because,
  }));

type Rule = (NumberRule | KernelRule) & Note;

function cellOf(rule: Rule, kind: Kind): number | string {
  if ("kernels" in rule) return columnOf(rule.kernels, kind).join(" or ");
  const value = columnOf(rule.values, kind);
  const word = Object.entries(rule.words ?? {}).find(([, number]) => number === value)?.[0];
  // a threshold of 0 stays a number
  return word && (!rule.unit || value === Number.POSITIVE_INFINITY) ? word : value;
}

export function rulesOn(engine: Engine): ShownRules {
  const titles = Object.fromEntries(kinds.map((kind) => [kind, KINDS[kind].title])) as Record<Kind, string>;
  return { adapter: engine.adapterName, kind: kindOf(engine), kinds: titles, rules: shownRules() };
}

const text = (value: number | string): string => (typeof value === "number" ? formatCount(value) : value);

/** The rules as text: a table of values, then what they decide and why. */
export function rulesText({ adapter, kind, kinds: titles, rules }: ShownRules, width: number): string {
  const head = ["rule", ...kinds.map((column) => (column === kind ? `[${titles[column]}]` : titles[column])), "unit"];
  const rows = rules.map(({ name, unit, values }) => [name, ...kinds.map((column) => text(values[column])), unit]);
  const reasons = rules.flatMap(({ name, decides, because }) => [
    ["", ""],
    [name, `${decides}:\n${because}`],
  ]);
  return [
    table([[`${adapter}: the values of [${titles[kind]}] are in force.`]], { width }),
    table(rows, { head, width }),
    table(reasons, { width }).trimStart(),
  ].join("\n");
}

/** The rules as a table in Markdown: bench/README.md has it. */
export function rulesMarkdown(): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const head = ["rule", "decides", ...kinds.map((kind) => KINDS[kind].title), "unit", "because"];
  const rows = shownRules().map(({ name, decides, unit, values, because }) =>
    line([`\`${name}\``, decides, ...kinds.map((kind) => text(values[kind])), unit, because]),
  );
  return [line(head), line(head.map(() => "---")), ...rows].join("\n");
}
