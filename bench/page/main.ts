/** The benchmark in a page: by hand with its form, or driven by headless.ts through `window.bench`. */
import { Engine } from "../../src/gpu/index.js";
import { cases } from "../cases/index.js";
import { DEFAULTS, type MeasureOptions, type Result } from "../measure.js";
import { modules } from "../peers/index.js";
import { type Opened, Session } from "../session.js";

/** What headless.ts calls. Work is started and then asked for: a long call would time out. */
export interface PageBench {
  open(options: { slim: boolean; peers: readonly string[] | null }): void;
  start(index: number, options: MeasureOptions): void;
  /** what came of the last call */
  state: { step: string; opened?: Opened; result?: Result; error?: string };
}

declare global {
  interface Window {
    bench: PageBench;
  }
}

let session: Session | undefined;

async function open(slim: boolean, peers: readonly string[] | null = null): Promise<Session> {
  session ??= await Session.open(await Engine.create(), modules, { slim, peers });
  return session;
}

const state: PageBench["state"] = { step: "" };
const bench: PageBench = {
  state,
  open: ({ slim, peers }) => during(async () => (state.opened = (await open(slim, peers)).opened)),
  start: (index, options) =>
    during(async () => {
      state.result = await session!.measure(index, { ...options, onStep: (step) => (state.step = step) });
    }),
};
window.bench = bench;

function during(work: () => Promise<unknown>): void {
  delete state.opened;
  delete state.result;
  delete state.error;
  work().catch((error) => (state.error = (error as Error).stack ?? String(error)));
}

// ---- by hand

const form = document.querySelector("form")!;
const status = document.querySelector("#status")!;
const body = document.querySelector("tbody")!;

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button")!;
  const values = new FormData(form);
  button.disabled = true;
  body.replaceChildren();
  try {
    const pattern = new RegExp(String(values.get("cases")));
    status.textContent = "Opening the adapter and probing it…";
    const opened = await open(false);
    const chosen = cases().flatMap(({ name }, index) => (pattern.test(name) ? [{ name, index }] : []));
    for (const [done, { name, index }] of chosen.entries()) {
      const onStep = (step: string): void => {
        status.textContent = `${done + 1} of ${chosen.length}: ${name}, ${step}`;
      };
      const options = { ...DEFAULTS, rounds: Number(values.get("rounds")), onStep };
      show(await opened.measure(index, options), opened.opened);
    }
    status.textContent = `${opened.opened.device}: ${chosen.length} cases done.`;
  } catch (error) {
    status.textContent = (error as Error).message;
  }
  button.disabled = false;
});

function show({ name, flops, bytes, rows }: Result, { probes }: Opened): void {
  rows.forEach(({ party, state: found, ms, ratio, error }, index) => {
    const rate = (amount: number): number => amount / (ms!.median / 1000);
    const cells = ms
      ? [
          ms.median.toPrecision(3),
          ratio?.median.toFixed(2) ?? "",
          (rate(flops) / 1e9).toPrecision(3),
          `${((100 * rate(flops)) / probes!.flops).toFixed(0)} %`,
          (rate(bytes) / 1e9).toPrecision(3),
          `${((100 * rate(bytes)) / probes!.bytes).toFixed(0)} %`,
        ]
      : [found, "", "", "", "", ""];
    const row = document.createElement("tr");
    if (index === 0) row.className = "first";
    for (const text of [index ? "" : name, party, ...cells, error?.toExponential(0) ?? ""]) {
      const cell = row.insertCell();
      cell.textContent = text;
      if (text === "WRONG" || text === "failed") cell.className = "bad";
    }
    body.append(row);
  });
}
