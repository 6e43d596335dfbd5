import { chainKind } from "./chain.js";
import { averagePool2dKind, batchNormKind, conv2dKind, conv3dKind, maxPool2dKind } from "./convolution.js";
import {
  blockTermConvKind,
  cpConvKind,
  separableBasisConvKind,
  spatialConvKind,
  tucker2ConvKind,
} from "./factorised/factorisedConv.js";
import { svdLinearKind } from "./factorised/svdLinear.js";
import { tensorRingConvKind } from "./factorised/tensorRingConv.js";
import { tensorRingLinearKind } from "./factorised/tensorRingLinear.js";
import { tensorTrainLinearKind } from "./factorised/tensorTrainLinear.js";
import { tucker2Conv3dKind } from "./factorised/tucker2Conv3d.js";
import { tuckerLinearKind } from "./factorised/tuckerLinear.js";
import type { LayerKind } from "./layerKind.js";
import { dropoutKind, flattenKind, linearKind, reluKind } from "./layers.js";

/** Every layer that a file may hold, and `cloneLayer` copy. */
export const LAYER_KINDS: readonly LayerKind[] = [
  ...[linearKind, reluKind, dropoutKind, flattenKind, chainKind],
  ...[conv2dKind, conv3dKind, batchNormKind, maxPool2dKind, averagePool2dKind],
  ...[spatialConvKind, separableBasisConvKind, cpConvKind, tucker2ConvKind, blockTermConvKind],
  ...[tensorRingConvKind, tucker2Conv3dKind],
  ...[svdLinearKind, tensorTrainLinearKind, tensorRingLinearKind, tuckerLinearKind],
];
