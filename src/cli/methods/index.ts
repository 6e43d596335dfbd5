import { blockTerm } from "./blockTerm.js";
import { cp } from "./cp.js";
import type { Method } from "./method.js";
import { nmf } from "./nmf.js";
import { parafac2 } from "./parafac2.js";
import { svd } from "./svd.js";
import { tensorRing } from "./tensorRing.js";
import { tensorTrain } from "./tensorTrain.js";
import { tucker } from "./tucker.js";

export type { Method, Run, Saved, Solution, Watch } from "./method.js";
export { DEFAULT_TOLERANCE, type MethodOptions, OPTIONS, type OptionName, optionFor } from "./options.js";

/** The methods of `tenfold decompose`, in the order of its help. A method that is added is a row here, and its test. */
export const METHODS: readonly Method[] = [cp, tucker, tensorTrain, tensorRing, blockTerm, svd, nmf, parafac2];
