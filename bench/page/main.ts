/** The page around the parts: which one is shown, theme, engine, and what to say where something is missing or lost. */

import { DeviceLostError, Engine } from "../../src/index.js";
import { h } from "../../src/report/elements.js";
import { loadDigits } from "./digits.js";
import type { Context, Mounted, Part } from "./part.js";
import "../../src/report/style.css";
import "./style.css";

interface Entry {
  id: string;
  title: string;
  load: () => Promise<Part>;
}

const PARTS: readonly Entry[] = [
  { id: "decompose", title: "Decompose", load: async () => (await import("./decompose.js")).part },
  { id: "train", title: "Train", load: async () => (await import("./train.js")).part },
  { id: "compress", title: "Compress", load: async () => (await import("./compress.js")).part },
  { id: "kernels", title: "Kernels", load: async () => (await import("./kernels.js")).part },
];

const element = (id: string): HTMLElement => document.getElementById(id)!;
const main = element("main");
const notices = element("notices");

// ---- the engine

let opening: Promise<Engine> | null = null;

function openEngine(): Promise<Engine> {
  opening ??= Engine.create().then((engine) => {
    demo.engine = engine;
    element("adapter").textContent = `GPU: ${engine.adapterName}`;
    engine.lost.catch(lost);
    return engine;
  });
  const current = opening;
  current.catch((error) => {
    if (opening === current) opening = null;
    noGpu(error);
  });
  return current;
}

function lost(error: unknown): void {
  if (!(error instanceof DeviceLostError)) return;
  opening = null;
  const again = h("button", { type: "button" }, "Start again");
  again.addEventListener("click", () => {
    notices.replaceChildren();
    void open("remount");
  });
  notices.replaceChildren(
    h(
      "div",
      { class: "notice", id: "lost" },
      h("strong", {}, "The GPU is gone."),
      h(
        "p",
        {},
        `${error.message}. Drivers restart and laptops switch GPUs; what ran is lost, and can be started again.`,
      ),
      again,
    ),
  );
}

function noGpu(error: unknown): void {
  notices.replaceChildren(
    h(
      "div",
      { class: "notice", id: "no-gpu" },
      h("strong", {}, "This needs WebGPU, and this browser gives none here."),
      h(
        "p",
        {},
        isSecureContext ? "" : "WebGPU works on https:// and localhost only; this page came another way. ",
        "Chrome and Edge have it from version 113 (Linux may need chrome://flags/#enable-unsafe-webgpu and #enable-vulkan), Safari from 26, Firefox from 141 on Windows and 145 on Macs (elsewhere: dom.webgpu.enabled in about:config). ",
        "Below are results recorded on other machines.",
      ),
      "gpu" in navigator ? h("p", { class: "small" }, (error as Error).message) : null,
    ),
  );
}

// ---- state in the URL: #part?digits=347&rank=15

interface Place {
  id: string;
  state: URLSearchParams;
}

function place(): Place {
  const [id = "", query = ""] = location.hash.slice(1).split("?", 2);
  return { id: PARTS.some((entry) => entry.id === id) ? id : PARTS[0]!.id, state: new URLSearchParams(query) };
}

const hashOf = (id: string, state: URLSearchParams | string): string => `#${id}${String(state) ? `?${state}` : ""}`;
/** each part as it was left */
const left = new Map<string, string>();
let shown: { id: string; mounted: Mounted | null } | null = null;

const links = PARTS.map(({ id, title }) => {
  const link = h("a", { href: `#${id}` }, title);
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (shown?.id === id) return;
    history.pushState(null, "", hashOf(id, left.get(id) ?? ""));
    void open();
  });
  return link;
});
element("parts").append(...links);

async function open(how: "show" | "remount" = "show"): Promise<void> {
  const { id, state } = place();
  left.set(id, String(state));
  if (shown?.id === id && how === "show") {
    shown.mounted?.show(state);
    return;
  }
  const entry = PARTS.find((other) => other.id === id)!;
  const before = shown;
  const now: { id: string; mounted: Mounted | null } = { id, mounted: null };
  shown = now;
  PARTS.forEach((other, index) => {
    const link = links[index]!;
    if (other.id === id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    link.href = hashOf(other.id, left.get(other.id) ?? "");
  });
  document.title = `${entry.title} – tenfold`;
  const leaving = before?.mounted?.unmount();
  main.replaceChildren();
  if (leaving) demo.leaving = Promise.resolve(leaving);
  const part = await entry.load();
  if (shown !== now) return;
  const container = h("div", { id: `part-${id}` });
  main.replaceChildren(container);
  const context: Context = {
    hasGpu: "gpu" in navigator,
    engine: openEngine,
    digits: loadDigits,
    setState(values, change) {
      if (shown !== now) return;
      const query = String(new URLSearchParams(values));
      left.set(id, query);
      const hash = hashOf(id, query);
      if (hash === location.hash) return;
      history[change === "push" ? "pushState" : "replaceState"](null, "", hash);
    },
    fail(error) {
      // the notices above have told of these
      if ("gpu" in navigator && !(error instanceof DeviceLostError)) console.warn(error);
    },
  };
  // the URL may have changed while the part's code was loading
  now.mounted = part.mount(container, context, place().state);
}
addEventListener("popstate", () => void open());
element("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

// ---- theme

const themeButton = element("theme");
function setTheme(theme: string): void {
  document.documentElement.dataset.theme = theme;
  themeButton.textContent = theme === "dark" ? "Light" : "Dark";
}
const remembered = (): string | null => {
  try {
    return localStorage.getItem("tenfold-theme");
  } catch {
    return null;
  }
};
const preference = matchMedia("(prefers-color-scheme: dark)");
const followPreference = (): void => setTheme(remembered() ?? (preference.matches ? "dark" : "light"));
preference.addEventListener("change", followPreference);
themeButton.addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  setTheme(theme);
  try {
    localStorage.setItem("tenfold-theme", theme);
  } catch {
    // a page without storage forgets
  }
});
followPreference();

/** For the console, and for the tests. */
export interface Demo {
  engine: Engine | null;
  /** resolves when the part left last has freed everything */
  leaving: Promise<void>;
  record(): unknown;
}
declare global {
  interface Window {
    demo: Demo;
  }
}
const demo: Demo = { engine: null, leaving: Promise.resolve(), record: () => shown?.mounted?.record?.() };
window.demo = demo;

if (!("gpu" in navigator)) openEngine().catch(() => {});
void open();
