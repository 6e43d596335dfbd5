export * from "../io/index.js";
export { FileError, readBytes, writeAtomic } from "./files.js";
export { readEmbeddedDigits, readIdxFolder, readMnistData } from "./mnist.js";
export { type OpenOptions, openEngine } from "./open.js";
