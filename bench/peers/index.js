/** The libraries measured beside tenfold, each loaded when it is asked for. */
export const modules = {
  "jax-js": () => import("./jax.js"),
  tfjs: () => import("./tfjs.js"),
  ort: () => import("./ort.js"),
  "ml-matrix": () => import("./mlMatrix.js"),
};
