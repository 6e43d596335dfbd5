/** The page that `tenfold mnist`, `tenfold compare` and `tenfold rank` write: shows the results inside it. */
import type { ComparisonData, PageData, RankData, ReportData } from "../data.js";
import { count, h } from "../elements.js";
import { comparisonCards } from "./comparison.js";
import { studyCards } from "./mnist.js";
import { rankCards, rankHeading } from "./ranks.js";
import "../style.css";

function setTheme(theme: "light" | "dark"): void {
  document.documentElement.dataset.theme = theme;
  document.querySelector("#theme")!.textContent = theme === "dark" ? "Light" : "Dark";
}

function start(data: ReportData): void {
  const about = `${data.data}; ${data.adapter}; ${data.command}, seed ${data.seed}; ${data.date.slice(0, 10)}`;
  document.querySelector("#about")!.textContent = about;
  document.querySelector("#main")!.append(...studyCards(data));
}

function startComparison(data: ComparisonData): void {
  const { network, images, adapter, command, date } = data;
  document.title = "Decomposed networks, compared — tenfold";
  document.querySelector("h1")!.textContent = "Decomposed networks, compared";
  document.querySelector("#about")!.textContent =
    `${network}; ${data.data}; ${count(images.train)} images to train on, ${count(images.test)} held out; ${adapter}; ${command}; ${date.slice(0, 10)}`;
  const early = data.stopped ? [h("p", { class: "early", role: "status" }, `Not all of it: ${data.stopped}.`)] : [];
  document.querySelector("#main")!.append(...early, ...comparisonCards(data));
}

function startRanks(data: RankData): void {
  document.title = `${rankHeading(data)} — tenfold`;
  document.querySelector("h1")!.textContent = rankHeading(data);
  document.querySelector("#about")!.textContent =
    `${data.data}; ${data.adapter}; ${data.command}, seed ${data.seed}; ${data.date.slice(0, 10)}`;
  document.querySelector("#main")!.append(...rankCards(data));
}

const data = JSON.parse(document.querySelector("#tenfold-report-data")!.textContent!) as PageData | null;
if (!data)
  document.querySelector("#about")!.textContent =
    "This page holds no data: tenfold mnist, tenfold compare and tenfold rank fill it in.";
else if (!("kind" in data)) start(data);
else if (data.kind === "ranks") startRanks(data);
else startComparison(data);
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
document
  .querySelector("#theme")!
  .addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
