/** What the pages of the studies show: the results of one study, and where they come from. */
import type { RankProfile } from "../decompositions/index.js";
import type { Comparison } from "../experiments/compare.js";
import type { ReportCase, ReportSweep } from "../experiments/results.js";

/** What the page of `tenfold compare` shows. */
export interface ComparisonData extends Omit<Comparison, "model"> {
  kind: "comparison";
  command: string;
  date: string;
}

/** What the page of `tenfold mnist` shows. */
export interface ReportData {
  adapter: string;
  data: string;
  command: string;
  /** ISO date */
  date: string;
  recipe: "default" | "slides";
  seed: number;
  cases: ReportCase[];
  sweep?: ReportSweep;
}

/** What the page of `tenfold rank` shows. */
export interface RankData extends RankProfile {
  kind: "ranks";
  adapter: string;
  /** the tensor's name and shape: `X.npy, 20×15×17` */
  data: string;
  command: string;
  /** ISO date */
  date: string;
}

/** What any of the pages shows. */
export type PageData = ReportData | ComparisonData | RankData;
