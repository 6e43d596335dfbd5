export * from "./kruskal.js";
export * from "./tensorTrain.js";
export * from "./tensorTrainMatrix.js";
export * from "./tucker.js";
