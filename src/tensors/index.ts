export * from "./kruskal.js";
export * from "./tensorTrain.js";
export * from "./tucker.js";
