export { Chain } from "./chain.js";
export * from "./convolution.js";
export * from "./factorised/index.js";
export * from "./layer.js";
export * from "./layers.js";
export * from "./optimisers.js";
export { cloneLayer, loadModel, saveModel } from "./save.js";
export { Sequential } from "./sequential.js";
export * from "./train.js";
