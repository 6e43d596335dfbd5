/** Element types by their number in TensorProto.DataType: the name, and the bytes of an element where it fills whole bytes. */
export const DATA_TYPES: Readonly<Record<number, { name: string; bytes?: number }>> = {
  1: { name: "float32", bytes: 4 },
  2: { name: "uint8", bytes: 1 },
  3: { name: "int8", bytes: 1 },
  4: { name: "uint16", bytes: 2 },
  5: { name: "int16", bytes: 2 },
  6: { name: "int32", bytes: 4 },
  7: { name: "int64", bytes: 8 },
  8: { name: "string" },
  9: { name: "bool", bytes: 1 },
  10: { name: "float16", bytes: 2 },
  11: { name: "float64", bytes: 8 },
  12: { name: "uint32", bytes: 4 },
  13: { name: "uint64", bytes: 8 },
  14: { name: "complex64", bytes: 8 },
  15: { name: "complex128", bytes: 16 },
  16: { name: "bfloat16", bytes: 2 },
  17: { name: "float8e4m3fn", bytes: 1 },
  18: { name: "float8e4m3fnuz", bytes: 1 },
  19: { name: "float8e5m2", bytes: 1 },
  20: { name: "float8e5m2fnuz", bytes: 1 },
  21: { name: "uint4" },
  22: { name: "int4" },
  23: { name: "float4e2m1" },
  24: { name: "float8e8m0", bytes: 1 },
  25: { name: "uint2" },
  26: { name: "int2" },
};

export const FLOAT = 1;
export const UINT8 = 2;
export const INT8 = 3;
export const INT32 = 6;
export const INT64 = 7;
export const FLOAT16 = 10;
export const DOUBLE = 11;
export const BFLOAT16 = 16;

/** Types of weights that are read as f32 and written again as what they were. */
export const isFloat = (dataType: number): boolean => [FLOAT, FLOAT16, DOUBLE, BFLOAT16].includes(dataType);
