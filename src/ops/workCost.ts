import type { Engine } from "../gpu/index.js";
import { setting } from "./adapter.js";

/** What a way to compute something takes. */
export interface Work {
  multiplications: number;
  /** elements that are read or written */
  elements: number;
  dispatches: number;
}

/** What work costs on this adapter, in multiplications: to choose between ways to compute the same. */
export const workCost = (engine: Engine, { multiplications, elements, dispatches }: Work): number =>
  multiplications + setting(engine, "elementCost") * elements + setting(engine, "dispatchCost") * dispatches;

/** Whether cores may be merged into one of so many elements. */
export const mayMerge = (engine: Engine, elements: number): boolean => elements <= setting(engine, "mergedElements");
