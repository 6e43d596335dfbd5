declare module "*.wgsl" {
  const shader: import("./gpu/kernel.js").ShaderSource;
  export default shader;
}

declare module "*.wgsl?late" {
  const shader: import("./gpu/kernel.js").ShaderSource;
  export default shader;
}

// wgsl_reflect's bare name is an empty module in Node, and this path has no types of its own
declare module "wgsl_reflect/wgsl_reflect.module.js" {
  export * from "wgsl_reflect";
}

declare module "*.css";

/** the address of a file that the bundler puts beside the page */
declare module "*?url" {
  const url: string;
  export default url;
}
