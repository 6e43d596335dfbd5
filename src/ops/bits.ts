import { type DType, Tensor } from "../gpu/index.js";

/** The same elements as 32-bit words, for kernels that look at their bits. Shares the buffer. */
export const bitsOf = (x: Tensor<DType>): Tensor<"u32"> =>
  new Tensor(x.engine, x.storage, x.shape, "u32", x.offset, x.label);
