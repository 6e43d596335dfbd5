import { TenfoldError } from "../../errors.js";

/** Stands for a function that the page's build leaves out: vite.config.ts beside this file says which, and why. */
export function leftOut(): never {
  throw new TenfoldError("a chart needs maps, axes of time or a colour scheme, which the page is built without");
}
