import { affineKind } from "./affine.js";
import { chainKind } from "./chain.js";
import { concatConstantKind } from "./concatConstant.js";
import { conv1dKind } from "./conv1d.js";
import { averagePool2dKind, batchNormKind, conv2dKind, conv3dKind, maxPool2dKind } from "./convolution.js";
import { convTranspose2dKind } from "./convTranspose2d.js";
import {
  blockTermConvKind,
  cpConvKind,
  separableBasisConvKind,
  spatialConvKind,
  tucker2ConvKind,
} from "./factorised/factorisedConv.js";
import { groupedConvKind } from "./factorised/groupedConv.js";
import { svdLinearKind } from "./factorised/svdLinear.js";
import { tensorRingConvKind } from "./factorised/tensorRingConv.js";
import { tensorRingLinearKind } from "./factorised/tensorRingLinear.js";
import { tensorTrainLinearKind } from "./factorised/tensorTrainLinear.js";
import { tucker2Conv3dKind } from "./factorised/tucker2Conv3d.js";
import { tuckerLinearKind } from "./factorised/tuckerLinear.js";
import { globalAveragePoolKind } from "./globalAveragePool.js";
import type { LayerKind } from "./layerKind.js";
import { layerNormKind } from "./layerNorm.js";
import { activateKind, dropoutKind, flattenKind, linearKind, reluKind } from "./layers.js";
import { reshapeKind, sliceKind, transposeKind, upsample2dKind } from "./moves.js";
import { resizeKind } from "./resize.js";
import { rowwiseKind } from "./rowwise.js";
import { softmaxKind } from "./softmax.js";

/** Every layer that a file may hold, and `cloneLayer` copy. */
export const LAYER_KINDS: readonly LayerKind[] = [
  ...[linearKind, reluKind, activateKind, dropoutKind, flattenKind, chainKind],
  ...[conv2dKind, conv3dKind, batchNormKind, maxPool2dKind, averagePool2dKind],
  ...[conv1dKind, convTranspose2dKind, globalAveragePoolKind],
  ...[spatialConvKind, separableBasisConvKind, cpConvKind, tucker2ConvKind, blockTermConvKind, groupedConvKind],
  ...[tensorRingConvKind, tucker2Conv3dKind],
  ...[softmaxKind, layerNormKind, affineKind, rowwiseKind, reshapeKind, transposeKind, sliceKind, upsample2dKind],
  ...[resizeKind, concatConstantKind],
  ...[svdLinearKind, tensorTrainLinearKind, tensorRingLinearKind, tuckerLinearKind],
];
