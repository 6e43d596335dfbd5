import { Conv2d, MaxPool2d } from "./convolution.js";
import type { Layer } from "./layer.js";
import { Flatten, Linear } from "./layers.js";

/** The shape of a sample of LeNet, channels×height×width: one grey image. */
export const LENET_SHAPE = [1, 28, 28] as const;

/**
 * LeNet-5 for 28×28 images (LeCun, Bottou, Bengio & Haffner 1998) with relu and max pooling: 1-6-16-400-120-84-10. It has
 * 61,706 weights and biases and takes 416,520 multiplications a sample.
 */
export const lenet = (): Layer[] => [
  new Conv2d({ inputs: 1, outputs: 6, kernel: 5, padding: 2, activation: "relu" }),
  new MaxPool2d(2),
  new Conv2d({ inputs: 6, outputs: 16, kernel: 5, activation: "relu" }),
  new MaxPool2d(2),
  new Flatten(),
  new Linear(400, 120, { activation: "relu" }),
  new Linear(120, 84, { activation: "relu" }),
  new Linear(84, 10),
];
