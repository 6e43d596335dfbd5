export * from "./compress/index.js";
export * from "./decompositions/index.js";
export * from "./gpu/index.js";
export * from "./io/index.js";
export * from "./nn/index.js";
export * from "./ops/index.js";
export * from "./tensors/index.js";
