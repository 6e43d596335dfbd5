/** Kernels: the benchmark's cases on this machine, beside results recorded on others. */
import * as Plot from "@observablehq/plot";
import { CLASS_COLOURS, card, chartStyle, count, h, plot } from "../../src/experiments/report/elements.js";
import { isSoftware } from "../../src/index.js";
import type { MeasureOptions } from "../measure.js";
import type { Report } from "../report.js";
import type { Result, Row } from "../result.js";
import type { Opened } from "../session.js";
import { numberControl, runner, saveFile, selectControl, type Tell, whole } from "./controls.js";
import type { Adapter, CaseInfo, FromWorker, ToWorker } from "./kernelsWorker.js";
import type { Context, Mounted, Part } from "./part.js";

declare const __VERSION__: string;

/** Reports that `npm run bench` wrote and somebody committed, by name. */
const RECORDED = new Map(
  Object.entries(import.meta.glob<Report>("../results/*.json", { import: "default" })).map(([path, load]) => [
    path.replace(/^.*\/|\.json$/g, ""),
    load,
  ]),
);
/** a GPU's, where there is one: software tells little about kernels */
const FIRST_RECORDED = [...RECORDED.keys()].find((name) => !isSoftware(name)) ?? [...RECORDED.keys()][0] ?? "";
/** `google-swiftshader-chromium-2026-11-23-14-53` as people read it */
const titleOf = (name: string): string => {
  const [, device, date] = /^(.*)-(\d{4}-\d\d-\d\d)-\d\d-\d\d$/.exec(name) ?? [];
  return device ? `${device.replaceAll("-", " ")}, ${date}` : name;
};

const OPS: Record<CaseInfo["op"], string> = {
  matmul: "products",
  gram: "products",
  modeProduct: "products",
  mttkrp: "mttkrp",
  cpSweep: "sweeps",
  hooiSweep: "sweeps",
  eigen: "linear",
  svd: "linear",
  cholesky: "linear",
  orthogonalise: "linear",
  conv2d: "convolutions",
  tucker2: "convolutions",
  lowRank: "products",
  training: "training",
  lenet: "training",
};
const GROUPS = [
  ["few", "a few of each"],
  ["products", "matrix and mode products"],
  ["mttkrp", "MTTKRP"],
  ["sweeps", "sweeps of CP and Tucker"],
  ["linear", "linear algebra"],
  ["convolutions", "convolutions"],
  ["training", "training"],
  ["all", "all"],
  ["own", "my own choice"],
] as const;
type Group = (typeof GROUPS)[number][0];
const FEW =
  /^(matmul 512|matmul 30000×784×16|gram 4096×256|mode product 60×50×40×30 × 16, mode 1|MTTKRP 128³ R16, mode [012]|CP-ALS sweep 6000.*|HOOI sweep 6000.*|eigen 64|SVD 64|Cholesky solve 64|conv2d 5×5.*|epoch 784-3-3.*|epoch 3-5-3.*)$/;
const OURS = "tenfold";

interface State {
  group: Group;
  /** of group `own`: places in the list */
  own: number[];
  rounds: number;
  recorded: string;
}

function parse(query: URLSearchParams): State {
  const given = query.get("cases") ?? "few";
  const group = GROUPS.find(([id]) => id === given)?.[0];
  const own = given.split(".").map(Number);
  const recorded = query.get("with");
  return {
    group: group ?? (own.every(Number.isInteger) ? "own" : "few"),
    own: group ? [] : own.filter(Number.isInteger),
    rounds: whole(query.get("rounds"), 1, 50, 5),
    recorded: recorded !== null && (recorded === "" || RECORDED.has(recorded)) ? recorded : FIRST_RECORDED,
  };
}

const written = ({ group, own, rounds, recorded }: State): Record<string, string> => ({
  cases: group === "own" ? own.join(".") : group,
  ...(rounds === 5 ? {} : { rounds: String(rounds) }),
  ...(recorded === FIRST_RECORDED ? {} : { with: recorded }),
});

/** so many significant digits, without exponents */
const digits = (value: number, significant = 3): string =>
  value.toLocaleString("en-US", { maximumSignificantDigits: significant, useGrouping: value >= 1e4 });

type Started = Extract<FromWorker, { type: "cases" }>;

/** A worker, asked one thing at a time. */
class Bench {
  readonly #worker = new Worker(new URL("./kernelsWorker.ts", import.meta.url), { type: "module" });
  #started!: (message: Started) => void;
  /** the cases, and the adapter before anything is opened */
  readonly started = new Promise<Started>((resolve) => {
    this.#started = resolve;
  });
  #answer: { resolve: (message: FromWorker) => void; reject: (error: Error) => void } | null = null;
  onStep: (step: string) => void = () => {};
  opened: Extract<FromWorker, { type: "opened" }> | null = null;
  /** why nothing more will come of it */
  broken: Error | null = null;

  constructor() {
    this.#worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => {
      if (data.type === "cases") this.#started(data);
      else if (data.type === "step") this.onStep(data.step);
      else if (data.type === "error") this.end(new Error(`${data.message.replace(/\.*$/, "")}. Run starts again.`));
      else this.#answer?.resolve(data);
    });
    this.#worker.addEventListener("error", ({ message }) => this.end(new Error(message || "The worker did not start")));
  }

  async #ask<T extends FromWorker["type"]>(message: ToWorker): Promise<Extract<FromWorker, { type: T }>> {
    if (this.broken) throw this.broken;
    return (await new Promise<FromWorker>((resolve, reject) => {
      this.#answer = { resolve, reject };
      this.#worker.postMessage(message);
    })) as Extract<FromWorker, { type: T }>;
  }

  async open(): Promise<Extract<FromWorker, { type: "opened" }>> {
    this.opened ??= await this.#ask<"opened">({ type: "open" });
    return this.opened;
  }

  async measure(index: number, options: MeasureOptions): Promise<Result> {
    return (await this.#ask<"result">({ type: "measure", index, options })).result;
  }

  end(error = new Error("Stopped.")): void {
    this.broken ??= error;
    this.#worker.terminate();
    this.#answer?.reject(this.broken);
  }
}

function mount(container: HTMLElement, context: Context, query: URLSearchParams): Mounted {
  let state = parse(query);
  let bench: Bench | null = null;
  let list: CaseInfo[] = [];
  let opened: Opened | null = null;
  const results = new Map<string, Result>();
  let recorded: Report | null = null;
  let current = "";

  const chosen = (): number[] =>
    list.flatMap(({ name, op }, index) => {
      const { group } = state;
      const taken =
        group === "own"
          ? state.own.includes(index)
          : group === "all" || (group === "few" ? FEW.test(name) : OPS[op] === group);
      return taken ? [index] : [];
    });

  // ---- controls

  const change = (values: Partial<State>): void => {
    state = { ...state, ...values };
    context.setState(written(state), "push");
    apply();
  };
  const group = selectControl("Cases", GROUPS, (value) =>
    change(value === "own" ? { group: value, own: chosen() } : { group: value }),
  );
  const rounds = numberControl("Rounds a case", { min: 1, max: 50 }, (value) => change({ rounds: value }));
  const beside = selectControl<string>(
    "Beside it, recorded",
    [
      ["", RECORDED.size ? "nothing" : "none committed yet"],
      ...[...RECORDED.keys()].map((name) => [name, titleOf(name)] as const),
    ],
    (value) => change({ recorded: value }),
  );
  // what goes wrong in the worker is said in the status line
  const run = runner(
    () => start(),
    () => {},
  );
  const download = h("button", { type: "button", disabled: "" }, "Download JSON");
  download.addEventListener("click", save);

  // ---- figures

  const pick = h("div", { class: "cases" });
  const choice = h("p", { id: "choices" });
  const aboutRecorded = h("p");
  const head = h("thead");
  const body = h("tbody");
  const times = plot(timeChart, "Time of each case");
  const roof = plot(roofChart, "Roofline");
  const adapterBox = h("div");
  container.append(
    h(
      "p",
      { class: "lead" },
      "Products, sweeps and training are what everything here is made of. Every case is checked against a reference in f64, then timed; the yardsticks are what plain multiply-adds and a plain copy reach on this GPU.",
    ),
    h(
      "section",
      { class: "card", "aria-label": "Settings" },
      h("div", { class: "controls" }, group.element, rounds.element, beside.element, download),
      h("details", {}, h("summary", {}, "Pick cases one by one"), pick),
      run.element,
      choice,
      aboutRecorded,
    ),
    card(
      "Results",
      "ms: median wall time of a run, of a step where training; share of the FMA and the copy probe; error: largest, relative, against f64; variants: the other kernels of the family, ÷ the one in force.",
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "group", "aria-label": "Results" },
        h("table", { class: "results" }, head, body),
      ),
    ),
    h(
      "div",
      { class: "two" },
      card("Time", "Median of a run, on a logarithmic scale: shorter is faster.", times.box),
      card(
        "Roofline",
        "Each kernel by its arithmetic for a byte that it must move (Williams, Waterman & Patterson 2009). Lines are the limits measured by the probes; above the line a cache helped.",
        roof.box,
      ),
    ),
    card("The adapter", "What this GPU and its driver say of themselves, and what the library asked for.", adapterBox),
  );

  // ---- what is shown

  const oursOf = (result: Result | undefined): Row | undefined => result?.rows.find(({ party }) => party === OURS);
  const recordedOf = (name: string): Result | undefined => recorded?.results.find((result) => result.name === name);
  /** recorded results of what was measured here, or else of what is chosen */
  function recordedChosen(): Result[] {
    const names = new Set(results.size ? results.keys() : chosen().map((index) => list[index]!.name));
    return (recorded?.results ?? []).filter(({ name }) => names.has(name));
  }
  const intensity = ({ flops, bytes }: { flops: number; bytes: number }): number => flops / bytes;

  function showTable(): void {
    const probes = opened?.probes;
    const other = recorded !== null;
    const names = ["case", "ms", "GFLOP/s", "of FMA", "GB/s", "of copy", "error", "variants"];
    if (other) names.push("recorded ms", "recorded ÷ here");
    head.replaceChildren(
      h(
        "tr",
        {},
        ...names.map((name) => h("th", { scope: "col", ...(name === "variants" ? { class: "left" } : {}) }, name)),
      ),
    );
    const shown = chosen().map((index) => list[index]!);
    body.replaceChildren(
      ...shown.map(({ name, shapes }) => {
        const result = results.get(name);
        const ours = oursOf(result);
        const there = oursOf(recordedOf(name))?.ms?.median;
        const cells: string[] = [];
        if (ours?.ms) {
          const seconds = ours.ms.median / 1000;
          const [flops, bytes] = [result!.flops / seconds, result!.bytes / seconds];
          cells.push(
            digits(ours.ms.median),
            digits(flops / 1e9),
            probes ? `${digits((100 * flops) / probes.flops, 2)} %` : "",
            digits(bytes / 1e9),
            probes ? `${digits((100 * bytes) / probes.bytes, 2)} %` : "",
            ours.error?.toExponential(0) ?? "",
            variantsOf(result!),
          );
        } else {
          const words = ours ? `${ours.state} ${ours.message ?? ""}` : name === current ? "running…" : "";
          cells.push(words, "", "", "", "", "", "");
        }
        if (other)
          cells.push(
            there === undefined ? "" : digits(there),
            there === undefined || !ours?.ms ? "" : digits(there / ours.ms.median),
          );
        return h(
          "tr",
          { "data-case": name, "data-state": ours?.state ?? (name === current ? "running" : "waiting") },
          h("th", { scope: "row" }, name, h("span", { class: "shapes" }, shapes)),
          ...cells.map((text, index) => h("td", index === 6 ? { class: "left" } : {}, text)),
        );
      }),
    );
  }

  const variantsOf = ({ rows }: Result): string =>
    rows
      .filter(({ party }) => party.startsWith(`${OURS} (`))
      .map(({ party, ratio, state: found }) => {
        const name = party.slice(OURS.length + 2, -1);
        return `${name} ${ratio ? digits(ratio.median, 2) : found}`;
      })
      .join(", ");

  interface Bar {
    name: string;
    party: string;
    ms: number;
  }

  function bars(): Bar[] {
    const of = ({ name, rows }: Result, where: string): Bar[] =>
      rows.flatMap(({ party, ms }) => (ms ? [{ name, party: `${party}, ${where}`, ms: ms.median }] : []));
    const here = [...results.values()].flatMap((result) => of(result, "here"));
    const there = recordedChosen()
      .flatMap((result) => of(result, "recorded"))
      // another device's variants say nothing about this one's
      .filter(({ party }) => !party.startsWith(`${OURS} (`));
    return [...here, ...there];
  }

  function timeChart(width: number): Element {
    const data = bars();
    if (data.length === 0) return h("p", {}, "Nothing measured yet.");
    const names = [...new Set(data.map(({ name }) => name))];
    // the colours of the roofline first
    const parties = [...new Set([`${OURS}, here`, `${OURS}, recorded`, ...data.map(({ party }) => party).sort()])];
    const least = 10 ** Math.floor(Math.log10(Math.min(...data.map(({ ms }) => ms))) - 0.3);
    const most = Math.max(...data.map(({ ms }) => ms));
    return Plot.plot({
      width,
      height: 60 + data.length * 13 + names.length * 16,
      marginLeft: 8,
      marginTop: 24,
      style: chartStyle,
      x: { type: "log", label: "ms", domain: [least, 2 * most], grid: true, tickFormat: "~g" },
      y: { axis: null, domain: parties },
      fy: { axis: null, domain: names, padding: 0.35 },
      color: { legend: true, domain: parties, range: CLASS_COLOURS },
      marks: [
        Plot.barX(data, {
          x1: least,
          x2: "ms",
          y: "party",
          fy: "name",
          fill: "party",
          title: (d: Bar) => `${d.name}\n${d.party}: ${digits(d.ms)} ms`,
        }),
        Plot.text(names, { fy: (d) => d, text: (d) => d, frameAnchor: "top-left", dy: -11 }),
      ],
    });
  }

  function roofChart(width: number): Element {
    interface Point {
      name: string;
      intensity: number;
      rate: number;
      where: string;
    }
    const pointsOf = (found: Iterable<Result>, where: string): Point[] =>
      [...found].flatMap((result) => {
        const ms = oursOf(result)?.ms?.median;
        return ms ? [{ name: result.name, intensity: intensity(result), rate: result.flops / ms / 1e6, where }] : [];
      });
    const points = [...pointsOf(results.values(), "here"), ...pointsOf(recordedChosen(), "recorded")];
    if (points.length === 0) return h("p", {}, "Nothing measured yet.");
    const at = points.map((point) => point.intensity);
    const [least, most] = [Math.min(...at) / 2, Math.max(...at) * 2];
    const rates = points.map((point) => point.rate);
    const roofs = [
      ["here", results.size ? opened?.probes : null],
      ["recorded", recorded?.probes],
    ].flatMap(([where, probes]) => {
      if (!probes || typeof probes === "string") return [];
      const knee = probes.flops / probes.bytes;
      return [least, knee, most]
        .filter((x) => x >= least && x <= most)
        .map((x) => ({ x, rate: Math.min(probes.flops, probes.bytes * x) / 1e9, where: where as string }));
    });
    return Plot.plot({
      width,
      height: 380,
      marginBottom: 42,
      marginLeft: 55,
      style: chartStyle,
      x: { type: "log", label: "flop a byte", grid: true, tickFormat: "~g", domain: [least, most] },
      y: {
        type: "log",
        label: "GFLOP/s",
        grid: true,
        tickFormat: "~g",
        domain: [Math.min(...rates) / 2, 1.5 * Math.max(...rates, ...roofs.map((point) => point.rate))],
      },
      color: { legend: true, domain: ["here", "recorded"], range: ["#0072b2", "#d55e00"] },
      marks: [
        Plot.line(roofs, { x: "x", y: "rate", stroke: "where", strokeWidth: 2, strokeDasharray: "6 4" }),
        Plot.dot(points, { x: "intensity", y: "rate", fill: "where", r: 4, fillOpacity: 0.75 }),
        Plot.tip(
          points,
          Plot.pointer({
            x: "intensity",
            y: "rate",
            title: (d: Point) => `${d.name}\n${digits(d.rate)} GFLOP/s, ${digits(d.intensity)} flop a byte, ${d.where}`,
          }),
        ),
      ],
    });
  }

  function showAdapter({ info, limits, features }: Adapter): void {
    const table = (label: string, headings: string[], rows: (readonly string[])[]): HTMLElement =>
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "group", "aria-label": label },
        h(
          "table",
          { class: "limits" },
          h("thead", {}, h("tr", {}, ...headings.map((text) => h("th", { scope: "col" }, text)))),
          h(
            "tbody",
            {},
            ...rows.map(([first, ...rest]) =>
              h("tr", {}, h("th", { scope: "row" }, first!), ...rest.map((text) => h("td", {}, text))),
            ),
          ),
        ),
      );
    adapterBox.replaceChildren(
      h(
        "dl",
        { class: "facts" },
        ...Object.entries(info).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value || "–"))),
      ),
      h(
        "details",
        {},
        h("summary", {}, "Limits and features"),
        h(
          "div",
          { class: "two" },
          table(
            "Limits",
            ["limit", "adapter", "asked for"],
            limits.map((limit) => [limit.name, count(limit.adapter), limit.device === null ? "" : count(limit.device)]),
          ),
          table(
            "Features",
            ["feature", "asked for"],
            features.map(({ name, used }) => [name, used === null ? "" : used ? "yes" : "no"]),
          ),
        ),
      ),
    );
  }

  function showPick(): void {
    const taken = new Set(chosen());
    pick.replaceChildren(
      ...list.map(({ name }, index) => {
        const input = h("input", { type: "checkbox" });
        input.checked = taken.has(index);
        input.addEventListener("change", () => {
          if (input.checked) taken.add(index);
          else taken.delete(index);
          change({ group: "own", own: [...taken].sort((a, b) => a - b) });
        });
        return h("label", { class: "check" }, input, name);
      }),
    );
  }

  function redraw(): void {
    showTable();
    times.redraw();
    roof.redraw();
    download.disabled = results.size === 0;
  }

  function apply(): void {
    group.set(state.group);
    rounds.set(state.rounds);
    beside.set(state.recorded);
    if (pick.querySelectorAll("input").length !== list.length || state.group !== "own") showPick();
    redraw();
    void showRecorded();
  }

  async function showRecorded(): Promise<void> {
    const name = state.recorded;
    const report = name ? await RECORDED.get(name)!() : null;
    if (name !== state.recorded || report === recorded) return;
    recorded = report;
    aboutRecorded.textContent = report ? `Recorded: ${report.device}, ${report.environment}, ${report.date}.` : "";
    redraw();
  }

  // ---- measuring

  function worker(): Bench {
    if (!bench || bench.broken) bench = new Bench();
    return bench;
  }

  function start(): void {
    void run.run(work);
  }

  async function work(signal: AbortSignal, tell: Tell): Promise<string> {
    if (!context.hasGpu) throw new Error("No WebGPU here: nothing can be measured.");
    const own = worker();
    signal.addEventListener("abort", () => own.end());
    results.clear();
    redraw();
    let before = 0;
    let words = "";
    own.onStep = (step) => tell(before, words ? `${words}: ${step}` : `${step[0]!.toUpperCase()}${step.slice(1)}…`);
    list = (await own.started).cases;
    const indices = chosen();
    if (indices.length === 0) throw new Error("No case is picked.");
    tell(0, "Opening the adapter…");
    const found = await own.open();
    opened = found.opened;
    showAdapter(found.adapter);
    const { probes } = opened;
    choice.textContent = `${opened.device}. ${probes ? `Multiply-adds reach ${digits(probes.flops / 1e9)} GFLOP/s, a copy ${digits(probes.bytes / 1e9)} GB/s. ` : ""}In force: ${Object.entries(
      found.choices,
    )
      .map(([family, kernel]) => `${family} “${kernel}”`)
      .join(", ")}.`;
    const options: MeasureOptions = { rounds: state.rounds, sampleMs: 50, budget: 5, variants: true };
    try {
      for (const [done, index] of indices.entries()) {
        before = done / indices.length;
        words = `${done + 1} of ${indices.length}, ${list[index]!.name}`;
        current = list[index]!.name;
        tell(before, words);
        showTable();
        results.set(current, await own.measure(index, options));
        redraw();
      }
    } finally {
      current = "";
      redraw();
    }
    const wrong = [...results.values()].filter((result) => oursOf(result)?.state !== "measured").length;
    const cases = `${results.size} case${results.size === 1 ? "" : "s"} measured`;
    return `${cases}, ${wrong ? `${wrong} not right` : "all correct"}.`;
  }

  function save(): void {
    const report: Report = {
      device: opened?.device ?? "",
      environment: navigator.userAgent,
      date: new Date().toISOString().slice(0, 16).replace("T", " "),
      command: `the demo page, ${location.hash}`,
      version: __VERSION__,
      peers: [],
      probes: opened?.probes ?? null,
      fineTimestamps: opened?.fineTimestamps ?? false,
      load: null,
      rounds: state.rounds,
      results: [...results.values()],
    };
    saveFile("tenfold-bench.json", JSON.stringify(report, null, 1), "application/json");
  }

  apply();
  // the list of cases needs no GPU
  worker()
    .started.then((found) => {
      list = found.cases;
      if (found.adapter && !opened) showAdapter(found.adapter);
      apply();
    })
    .catch(context.fail);
  return {
    show(next) {
      state = parse(next);
      apply();
    },
    async unmount() {
      await run.stop();
      bench?.end();
    },
  };
}

export const part: Part = { mount };
