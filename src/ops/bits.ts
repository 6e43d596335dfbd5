import { bytesOf, type Constants, type DType, dtypes, Tensor } from "../gpu/index.js";

/**
 * The same elements as words of 32 bits, for kernels that look at their bits; smaller ones lie in words as they are. Shares the buffer; rows that lie
 * apart stay so, and are refused as those of `x` would be.
 */
export const bitsOf = (x: Tensor<DType>): Tensor<DType> =>
  bytesOf(x.dtype) < 4 ? x : new Tensor(x.engine, x.storage, x.shape, "u32", x.offset, x.label, x.rowStride);

/** The constants of shaders/common/numbers.wgsl for a tensor that is read one by one, or in fours. */
export const readingOf = ({ dtype }: Tensor<DType>, inVectors: boolean): Constants => ({
  KIND: dtypes.indexOf(dtype),
  ...(inVectors && vectorsOf(bytesOf(dtype) < 4)),
});

/** Those of reading in fours; small numbers are read by the word anyway. */
export const vectorsOf = (areSmall: boolean): Constants => ({ VECTORS: true, scalar: areSmall ? "u32" : "vec4u" });
