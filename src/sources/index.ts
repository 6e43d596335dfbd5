export { exponentOf, look, see } from "./facts.js";
export type { NumberFormat, RowReader } from "./feed.js";
export { knownEntries, Masked, type MaskedOptions, masked, scaleMarked, type UnknownSlice } from "./masked.js";
export { MaskedSlabs } from "./maskedSlabs.js";
export { overModes } from "./overModes.js";
export { type InSlabs, liesInSlabs, passesOf } from "./passes.js";
export { countReads, type Reads } from "./reads.js";
export { Resident, resident, TensorReader } from "./resident.js";
export { restore, restoreValues } from "./scale.js";
export { type Block, Shard, type ShardTensor } from "./shard.js";
export { Sharded, sharded } from "./sharded.js";
export {
  type HostArray,
  type Joining,
  joinAnswers,
  type ShardAnswer,
  type ShardRequest,
  type Shards,
} from "./shards.js";
export { type HostSlab, modelRows, rowsOf, SlabResult, Slabs, slabs } from "./slabs.js";
export {
  checkCall,
  type Difference,
  type Facts,
  type Model,
  type ProjectOptions,
  type Reader,
  type Slab,
  type Source,
} from "./source.js";
export { source, sourceOf, streamed } from "./streamed.js";
export { withSource } from "./withSource.js";
