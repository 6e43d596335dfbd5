export { type Numeric, type NumericArray, unravel } from "./array.js";
export { FormatError } from "./errors.js";
export { readIdx } from "./idx.js";
export { NamedArrays } from "./named.js";
export { type NpyHeader, readNpy, readNpyHeader, writeNpy } from "./npy.js";
export { readNpz, writeNpz } from "./npz.js";
export { readSafetensors, type SafeTensors, writeSafetensors } from "./safetensors.js";
