import { type DenseLayer, MOST_DENSE_LAYERS } from "../ops/index.js";
import type { Layer } from "./layer.js";
import { Dropout, Flatten, Linear, ReLU } from "./layers.js";

/**
 * The layers in the form that `trainDense` takes, or the reason why it cannot take them, in words. It takes Linear layers:
 * relu follows each one but the last, and dropout may follow a relu.
 */
export function denseLayers(layers: readonly Layer[]): DenseLayer[] | string {
  const dense: DenseLayer[] = [];
  for (const layer of layers) {
    const last = dense.at(-1);
    if (layer instanceof Linear) {
      if (layer.activation !== "none" && layer.activation !== "relu")
        return `${layer.name} has the activation ${layer.activation}, needs relu`;
      dense.push({
        inputs: layer.inputs,
        outputs: layer.outputs,
        weight: layer.weight.value,
        bias: layer.bias?.value ?? null,
        relu: layer.activation === "relu",
        dropout: null,
      });
    } else if (layer instanceof ReLU && last && !last.dropout) last.relu = true;
    else if (layer instanceof Dropout && layer.rate === 0) continue;
    else if (layer instanceof Dropout && last?.relu && !last.dropout)
      last.dropout = { rate: layer.rate, stream: layer.stream };
    else if (!(layer instanceof Flatten)) return `${layer.name} is none of Linear, ReLU and Dropout after ReLU`;
  }
  const last = dense.at(-1);
  if (!last || last.relu) return "the last layer is no Linear without activation";
  if (dense.length > MOST_DENSE_LAYERS) return `it has more than ${MOST_DENSE_LAYERS} layers`;
  return dense;
}
