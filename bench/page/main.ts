/** The page around the parts: which one is shown, the engine, and what to say where something is missing or lost. */
import { html, render } from "lit-html";
import { DeviceLostError, Engine } from "../../src/index.js";
import { h } from "../../src/report/elements.js";
import { loadDigits } from "./digits.js";
import { FileDrops, filesOf } from "./drops.js";
import { type Mount, type Mounted, mounting } from "./mount.js";
import { lostNotice, noGpuNotice } from "./notices.js";
import type { Context } from "./part.js";
import { hashOf, placeOf } from "./place.js";
import { followTheme } from "./theme.js";
import "../../src/report/style.css";
import "./style.css";

interface Entry {
  id: string;
  title: string;
  /** the tab that it belongs to, where it has none of its own */
  tab?: string;
  load: () => Promise<Mount>;
}

const PARTS: readonly Entry[] = [
  { id: "decompose", title: "Decompose", load: async () => mounting((await import("./decompose/run.js")).part) },
  {
    ...{ id: "tensor", title: "Decompose", tab: "decompose" },
    load: async () => mounting((await import("./tensor/run.js")).part),
  },
  { id: "train", title: "Train", load: async () => mounting((await import("./train/run.js")).part) },
  { id: "compress", title: "Compress", load: async () => mounting((await import("./compress/run.js")).part) },
  {
    ...{ id: "onnx", title: "Compress", tab: "compress" },
    load: async () => mounting((await import("./onnx/run.js")).part),
  },
  { id: "kernels", title: "Kernels", load: async () => mounting((await import("./kernels/run.js")).part) },
];
const IDS = PARTS.map(({ id }) => id);

const element = (id: string): HTMLElement => document.getElementById(id)!;
const hasGpu = "gpu" in navigator;

/** What the console and the tests reach the page by. */
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
const demo: Demo = { engine: null, leaving: Promise.resolve(), record: () => shown?.mounted?.record() };
window.demo = demo;

// ---- the engine

let opening: Promise<Engine> | null = null;

function openEngine(): Promise<Engine> {
  opening ??= Engine.create().then((engine) => {
    demo.engine = engine;
    element("adapter").textContent = `GPU: ${engine.adapterName}`;
    engine.lost.catch(engineLost);
    return engine;
  });
  const current = opening;
  current.catch((error) => {
    if (opening === current) opening = null;
    render(noGpuNotice(error), element("notices"));
  });
  return current;
}

function engineLost(error: unknown): void {
  if (!(error instanceof DeviceLostError)) return;
  opening = null;
  const again = (): void => {
    render(html``, element("notices"));
    void open("afresh");
  };
  render(lostNotice(error, again), element("notices"));
}

// ---- the parts

/** the query of each part as it was left */
const queries = new Map<string, URLSearchParams>();
/** parts that were loaded, each knowing how it was left */
const mounts = new Map<string, Mount>();
let shown: { id: string; mounted: Mounted | null } | null = null;

const entryOf = (id: string): Entry => PARTS.find((entry) => entry.id === id)!;
const tabOf = ({ id, tab = id }: Entry): string => tab;
/** of tabs with several parts, the one that was shown last */
const lastOfTab = new Map<string, string>();

function drawLinks(): void {
  const go = (id: string) => (event: MouseEvent) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (shown?.id === id) return;
    history.pushState(null, "", hashOf(id, queries.get(id) ?? {}));
    void open();
  };
  const currentTab = shown && tabOf(entryOf(shown.id));
  const links = PARTS.filter(({ tab }) => !tab).map(({ id: tab, title }) => {
    const id = lastOfTab.get(tab) ?? tab;
    const href = hashOf(id, queries.get(id) ?? {});
    return currentTab === tab
      ? html`<a href=${href} aria-current="page" @click=${go(id)}>${title}</a>`
      : html`<a href=${href} @click=${go(id)}>${title}</a>`;
  });
  render(links, element("parts"));
}

// ---- files that are dropped

const files = new FileDrops();
const hasFiles = ({ dataTransfer }: DragEvent): boolean => dataTransfer?.types.includes("Files") ?? false;
const showDrag = (isOver: boolean): void => void document.body.classList.toggle("dragging", isOver);
addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  showDrag(true);
});
addEventListener("dragleave", (event) => {
  // only where the pointer leaves the page
  if (!event.relatedTarget) showDrag(false);
});
addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  showDrag(false);
  void filesOf(event.dataTransfer!).then(take);
});
function take(dropped: readonly File[]): void {
  if (!dropped.length) return;
  const isModel = dropped.some(({ name }) => /\.onnx$/i.test(name));
  // samples of a model are files of arrays, as tensors are
  const part = isModel || shown?.id === "onnx" ? "onnx" : "tensor";
  files.offer(part, dropped);
  if (shown?.id === part) return;
  history.pushState(null, "", hashOf(part, { data: "file" }));
  void open();
}

const contextOf = (): Context => ({
  hasGpu,
  engine: openEngine,
  adapterName: () => demo.engine?.adapterName ?? "",
  digits: loadDigits,
  files,
  fail(error) {
    // of these a notice tells
    if (hasGpu && !(error instanceof DeviceLostError)) console.warn(error);
  },
});

/** Shows what the URL asks for; `afresh`: also where that part is shown already. */
async function open(how: "afresh" | "" = ""): Promise<void> {
  const { id, query } = placeOf(location.hash, IDS);
  queries.set(id, query);
  if (shown?.id === id && how !== "afresh") {
    shown.mounted?.moved(query);
    return;
  }
  const entry = entryOf(id);
  lastOfTab.set(tabOf(entry), id);
  const before = shown?.mounted;
  const current: { id: string; mounted: Mounted | null } = { id, mounted: null };
  shown = current;
  drawLinks();
  document.title = `${entry.title} – tenfold`;
  if (before) demo.leaving = before.unmount();
  const container = h("div", { id: `part-${id}` });
  element("main").replaceChildren();
  const mount = mounts.get(id) ?? (await entry.load());
  mounts.set(id, mount);
  if (shown !== current) return;
  element("main").replaceChildren(container);
  const write = (values: Record<string, string>): void => {
    if (shown !== current) return;
    queries.set(id, new URLSearchParams(values));
    const hash = hashOf(id, values);
    if (hash !== location.hash) history.pushState(null, "", hash);
  };
  // the URL may have changed while the part's code was loading
  current.mounted = mount(container, contextOf(), placeOf(location.hash, IDS).query, write);
}

addEventListener("popstate", () => void open());
element("skip").addEventListener("click", (event) => {
  event.preventDefault();
  element("main").focus();
});
// inside a page of the site, which has a head of its own and says which theme it has
const embedded = new URLSearchParams(location.search).get("embedded");
document.body.classList.toggle("embedded", embedded !== null);
followTheme(element("theme"), embedded);
if (!hasGpu) openEngine().catch(() => {});
void open();
