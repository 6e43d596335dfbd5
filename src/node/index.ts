export { type OpenOptions, openEngine } from "./open.js";
