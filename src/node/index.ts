export type { Digits } from "../experiments/digits.js";
// The public names of `tenfold/node`, one by one.
export {
  FormatError,
  NamedArrays,
  type NpyHeader,
  type Numeric,
  type NumericArray,
  readCsv,
  readIdx,
  readMat,
  readNpy,
  readNpyHeader,
  readNpz,
  readSafetensors,
  readTns,
  type SafeTensors,
  type TextArray,
  type TextEntries,
  type TextForm,
  TextReader,
  type TextTable,
  writeNpy,
  writeNpz,
  writeSafetensors,
} from "../io/index.js";
export { checkpointFile } from "./checkpointFile.js";
export { externalFiles } from "./external.js";
export { FileError, readBytes, writeAtomic, writeAtomicPieces } from "./files.js";
export { readEmbeddedDigits, readIdxFolder, readMnistData } from "./mnist.js";
export { type OpenOptions, openEngine } from "./open.js";
export { NpyFile, openNpy } from "./openNpy.js";
