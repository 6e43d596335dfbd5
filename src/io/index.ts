export {
  encodingName,
  exact,
  fromColumnMajor,
  type Numeric,
  type NumericArray,
  unravel,
  writeAsF32,
} from "./array.js";
export {
  MOST_DENSE,
  readCsv,
  readTns,
  type TextArray,
  type TextEntries,
  type TextForm,
  TextReader,
  type TextTable,
} from "./columns.js";
export { checkBytes, FormatError, UnsupportedError } from "./errors.js";
export { encodeFrame, type Frame, type FrameArray, FrameReader } from "./frames.js";
export { gunzip } from "./gzip.js";
export { type Hdf5Array, type Hdf5Arrays, type Hdf5Classes, hdf5Arrays, isHdf5Signature } from "./hdf5.js";
export { readIdx } from "./idx.js";
export { isMat73, readMat } from "./mat.js";
export { NamedArrays } from "./named.js";
export { type NpyHeader, readNpy, readNpyHeader, readNpyPart, writeNpy } from "./npy.js";
export { readNpz, writeNpz } from "./npz.js";
export { readSafetensors, type SafeTensors, writeSafetensors } from "./safetensors.js";
