/**
 * WebGPU's types as the importing program knows them: from lib.dom since TypeScript 6, from npm @webgpu/types before,
 * `unknown` where it has neither. Public declarations take them from here, because a published declaration that names a
 * missing global does not compile, and one that brings @webgpu/types along contradicts lib.dom.
 */
type Known<Name extends string> = typeof globalThis extends { [key in Name]: { prototype: infer Instance } }
  ? Instance
  : unknown;

export type GPU = Known<"GPU">;
export type GPUAdapter = Known<"GPUAdapter">;
export type GPUBuffer = Known<"GPUBuffer">;
export type GPUCommandEncoder = Known<"GPUCommandEncoder">;
export type GPUComputePassEncoder = Known<"GPUComputePassEncoder">;
export type GPUDevice = Known<"GPUDevice">;

/** GPUBufferUsage's numbers: Node has no such global. */
export const GPU_USAGE = {
  MAP_READ: 0x1,
  MAP_WRITE: 0x2,
  COPY_SRC: 0x4,
  COPY_DST: 0x8,
  UNIFORM: 0x40,
  STORAGE: 0x80,
  QUERY_RESOLVE: 0x200,
} as const;

/** GPUMapMode.WRITE */
export const MAP_TO_WRITE = 0x2;

/** GPUShaderStage.COMPUTE */
export const COMPUTE_STAGE = 0x4;
