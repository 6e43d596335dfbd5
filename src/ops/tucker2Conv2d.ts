import shader from "../../shaders/tucker2_conv2d.wgsl";
import { formatShape, grid1d, Kernel, type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { type Epilogue, epilogues } from "./activations.js";
import { setting } from "./adapter.js";
import { type ConvolutionOptions, geometryOf } from "./conv2d.js";
import { assertBias, assertCall, assertShape } from "./shapes.js";
import { quadsOf } from "./tiles.js";

const kernel = new Kernel(shader, ({ batch, tiles_y, tiles_x }) => grid1d(batch! * tiles_y! * tiles_x!, 1));

/** Weights of a Tucker-2 convolution: U R₃×S×1×1, core R₄×R₃×KH×KW, V T×R₄×1×1. */
export interface Tucker2Weights {
  first: Tensor;
  core: Tensor;
  last: Tensor;
}

/** Numbers that a workgroup's memory holds: 16 KiB, which every adapter has. */
const ROOM = 4096;

interface Tiling {
  rows: number;
  quads: number;
  windowRows: number;
  windowQuads: number;
  /** multiplications of all tiles of a sample */
  work: number;
}

/** The tile with the least work for halos and corners, or null where not even the smallest fits into a workgroup's memory. */
function tilingOf(
  { outSize, kernel, stride, dilation, channels: rankIn, outputs: rankOut }: ReturnType<typeof geometryOf>,
  inputs: number,
  outputs: number,
): Tiling | null {
  let best: Tiling | null = null;
  const divisions = (extent: number): number[] => [
    ...new Set(Array.from({ length: extent }, (_, at) => Math.ceil(extent / (at + 1)))),
  ];
  for (const rows of divisions(outSize[0]))
    for (const quads of divisions(quadsOf(outSize[1]))) {
      const window = [rows, 4 * quads].map(
        (extent, k) => (extent - 1) * stride[k]! + (kernel[k]! - 1) * dilation[k]! + 1,
      );
      const [windowRows, windowQuads] = [window[0]!, quadsOf(window[1]!)];
      const positions = rows * 4 * quads;
      if (rankIn * windowRows * 4 * windowQuads + rankOut * positions > ROOM) continue;
      const tiles = Math.ceil(outSize[0] / rows) * Math.ceil(quadsOf(outSize[1]) / quads);
      const work =
        tiles *
        (windowRows * 4 * windowQuads * inputs * rankIn +
          positions * (rankIn * rankOut * kernel[0] * kernel[1] + rankOut * outputs));
      if (!best || work < best.work) best = { rows, quads, windowRows, windowQuads, work };
    }
  return best;
}

function planOf(
  x: Tensor,
  { first, core, last }: Tucker2Weights,
  options: ConvolutionOptions,
): { geometry: ReturnType<typeof geometryOf>; tiling: Tiling | null } {
  const [rankOut, rankIn] = core.shape as [number, number];
  const call = `tucker2Conv2d: ${formatShape(x.shape)} by ${[first, core, last].map(({ shape }) => formatShape(shape)).join(", ")}`;
  if (first.order !== 4 || core.order !== 4 || last.order !== 4 || x.order !== 4)
    throw new ShapeError(`${call}: needs samples N×S×H×W and weights R₃×S×1×1, R₄×R₃×KH×KW, T×R₄×1×1`);
  if (first.shape[0] !== rankIn || last.shape[1] !== rankOut || first.shape[1] !== x.shape[1])
    throw new ShapeError(`${call}: channels or ranks differ`);
  if ([first, last].some(({ shape }) => shape[2] !== 1 || shape[3] !== 1))
    throw new ShapeError(`${call}: the first and the last weight have one tap`);
  if ((options.groups ?? 1) !== 1) throw new ShapeError(`${call}: takes no groups`);
  const between = [x.shape[0]!, rankIn, x.shape[2]!, x.shape[3]!];
  const geometry = geometryOf("tucker2Conv2d", between, core.shape, options);
  return { geometry, tiling: tilingOf(geometry, x.shape[1]!, last.shape[0]!) };
}

/** Whether ranks and kernel leave room for a tile of {@link tucker2Conv2d} in a workgroup's memory. */
export const fitsTucker2 = (x: Tensor, weights: Tucker2Weights, options: ConvolutionOptions = {}): boolean =>
  planOf(x, weights, options).tiling !== null;

/** Whether {@link tucker2Conv2d} has room for a tile, and is faster than three convolutions on this adapter for this batch. */
export function prefersTucker2(x: Tensor, weights: Tucker2Weights, options: ConvolutionOptions = {}): boolean {
  const { geometry, tiling } = planOf(x, weights, options);
  return tiling !== null && geometry.batch * tiling.work <= setting(x.engine, "tucker2");
}

/**
 * Convolution by a Tucker-2 kernel (Kim et al. 2016) in one dispatch: the result of the 1×1, the core and the 1×1 convolution in turn,
 * without storing those of the first two. Stride, padding and dilation are the core's; bias and activation come last.
 *
 * @throws ShapeError where channels, ranks or extents do not fit, or not even a row of four positions has room
 */
export function tucker2Conv2d(
  s: Scheduler,
  x: Tensor,
  weights: Tucker2Weights,
  options: Omit<ConvolutionOptions, "groups"> & {
    bias?: Tensor | undefined;
    activation?: Epilogue;
    out?: Tensor | undefined;
  } = {},
): Tensor {
  assertCall("tucker2Conv2d", s, { x });
  const { bias, activation = "none" } = options;
  const { geometry, tiling } = planOf(x, weights, options);
  const { batch, size, channels, outputs, outSize, stride, padding, dilation } = geometry;
  const results = weights.last.shape[0]!;
  if (!tiling)
    throw new ShapeError(
      `tucker2Conv2d: ranks ${channels} and ${outputs} of a ${formatShape(geometry.kernel)} kernel need more than 16 KiB for a tile; take three convolutions`,
    );
  if (bias) assertBias("tucker2Conv2d", bias, results);
  const shape = [batch, results, ...outSize];
  if (options.out) assertShape("tucker2Conv2d", "out", options.out, shape);
  const out = options.out ?? s.tensor(shape, { label: "tucker2Conv2d" });
  const { rows, quads, windowRows, windowQuads } = tiling;
  const room = (count: number): number => Math.ceil(count / 16) * 16;
  const specialised = kernel.with({
    WINDOW: room(channels * windowRows * 4 * windowQuads),
    TILE: room(outputs * rows * quads),
    BIAS: bias !== undefined,
    ACTIVATION: epilogues[activation],
  });
  s.run(
    specialised,
    { x, u: weights.first, core: weights.core, v: weights.last, bias: bias ?? weights.last, out },
    {
      batch,
      channels: x.shape[1]!,
      height: size[0],
      width: size[1],
      rank_in: channels,
      rank_out: outputs,
      outputs: results,
      out_height: outSize[0],
      out_width: outSize[1],
      kernel_height: geometry.kernel[0],
      kernel_width: geometry.kernel[1],
      stride_y: stride[0],
      stride_x: stride[1],
      pad_y: padding[0],
      pad_x: padding[1],
      dilation_y: dilation[0],
      dilation_x: dilation[1],
      tile_rows: rows,
      tile_quads: quads,
      tiles_y: Math.ceil(outSize[0] / rows),
      tiles_x: Math.ceil(quadsOf(outSize[1]) / quads),
      window_rows: windowRows,
      window_quads: windowQuads,
    },
  );
  return out;
}
