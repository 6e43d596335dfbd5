export * from "./kruskal.js";
export * from "./tucker.js";
