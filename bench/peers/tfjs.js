/** TensorFlow.js on its WebGPU backend: eager ops inside `tf.tidy`, as its guides have it. */
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-core/dist/register_all_gradients.js";
import "@tensorflow/tfjs-backend-webgpu";
import { fastest, shapesOf, waysOf } from "./ways.js";

export async function open() {
  if (!(await tf.setBackend("webgpu"))) throw new Error("tfjs finds no WebGPU");
  await tf.ready();
  return { name: `tfjs ${tf.version_core}`, prepare };
}

const library = {
  matmul: (a, b, transposeA = false, transposeB = false) => tf.matMul(a, b, transposeA, transposeB),
  reshape: (x, shape) => tf.reshape(x, shape),
  multiply: (x, y) => tf.mul(x, y),
  sum: (x, axis) => tf.sum(x, axis),
  transpose: (x) => tf.transpose(x),
  conv2d: (x, w) => tf.conv2d(x, w, 1, "same"),
};

/** Resolves when the GPU has done what was asked for so far; nothing is read back. */
async function done() {
  const backend = tf.backend();
  if (backend.commandEncoder) {
    backend.endComputePassEncoder();
    backend.submitQueue();
  }
  await backend.device.queue.onSubmittedWorkDone();
}

async function prepare(work, inputs, isRight) {
  if (work.op === "training") return training(work.network, dense(work.network), inputs);
  if (work.op === "lenet") return training(work.network, lenet, inputs);
  // its einsum stores the product of all operands before it sums: 2 GiB of a mode product of 256³
  const ways = waysOf(work, { einsum: false });
  if (ways.length === 0) return null;
  const shapes = shapesOf(work);
  // its convolutions take NHWC and HWIO: so lie the operands, and so the result
  const images = work.op === "conv2d" || work.op === "tucker2";
  const laid = (tensor, at) => {
    if (!images) return tensor;
    const turned = tf.transpose(tensor, at === 0 ? [0, 2, 3, 1] : [2, 3, 1, 0]);
    tensor.dispose();
    return turned;
  };
  return fastest(
    ways,
    async (way) => {
      const operands = way.operands.map((at) => laid(tf.tensor(inputs[at], shapes[at]), at));
      let result = null;
      await done();
      return {
        async run(times) {
          for (let i = 0; i < times; i++) {
            result?.dispose();
            result = tf.tidy(() => way.apply(library, ...operands));
          }
          await done();
        },
        outputs: async () => [await (images ? tf.transpose(result, [0, 3, 1, 2]) : result).data()],
        destroy() {
          result?.dispose();
          tf.dispose(operands);
        },
      };
    },
    isRight,
  );
}

/** A network: one sample's shape, its parameters as tfjs lays them, and logits. */
const dense = ({ inputs: n, hidden, classes, bias }) => ({
  sample: [n],
  classes,
  parameters: (values) =>
    [[hidden, n], [hidden], [classes, hidden], ...(bias ? [[classes]] : [])].map((shape, index) =>
      tf.tensor(values[index], shape),
    ),
  logits([w1, b1, w2, b2], x) {
    const h = tf.relu(tf.add(tf.matMul(x, w1, false, true), b1));
    const product = tf.matMul(h, w2, false, true);
    return b2 ? tf.add(product, b2) : product;
  },
});

// NHWC and HWIO
const lenet = {
  sample: [28, 28, 1],
  classes: 10,
  parameters: ([w1, b1, w2, b2, w3, b3, w4, b4, w5, b5]) => [
    tf.transpose(tf.tensor(w1, [6, 1, 5, 5]), [2, 3, 1, 0]),
    tf.tensor1d(b1),
    tf.transpose(tf.tensor(w2, [16, 6, 5, 5]), [2, 3, 1, 0]),
    tf.tensor1d(b2),
    tf.reshape(tf.transpose(tf.tensor(w3, [120, 16, 5, 5]), [0, 2, 3, 1]), [120, 400]),
    tf.tensor1d(b3),
    tf.tensor(w4, [84, 120]),
    tf.tensor1d(b4),
    tf.tensor(w5, [10, 84]),
    tf.tensor1d(b5),
  ],
  logits([w1, b1, w2, b2, w3, b3, w4, b4, w5, b5], x) {
    const pool = (input) => tf.maxPool(input, 2, 2, "valid");
    const linear = (input, w, b) => tf.add(tf.matMul(input, w, false, true), b);
    const first = pool(tf.relu(tf.add(tf.conv2d(x, w1, 1, "same"), b1)));
    const maps = pool(tf.relu(tf.add(tf.conv2d(first, w2, 1, "valid"), b2)));
    const h = tf.relu(linear(tf.reshape(maps, [-1, 400]), w3, b3));
    return linear(tf.relu(linear(h, w4, b4)), w5, b5);
  },
};

async function training({ samples, batch, rate }, { sample, classes, parameters, logits }, inputs) {
  const steps = samples / batch;
  const n = sample.reduce((a, b) => a * b);
  // batches cut beforehand: the most convenient a loader can be
  const batches = Array.from({ length: steps }, (_, step) => {
    const rows = inputs[0].slice(step * batch * n, (step + 1) * batch * n);
    const labels = Int32Array.from(inputs[1].slice(step * batch, (step + 1) * batch));
    return [
      tf.tensor(rows, [batch, ...sample]),
      tf.tidy(() => tf.cast(tf.oneHot(tf.tensor1d(labels, "int32"), classes), "float32")),
    ];
  });
  const variables = tf.tidy(() => parameters(inputs.slice(2)).map((value) => tf.keep(tf.variable(value))));
  const optimizer = tf.train.adam(rate, 0.9, 0.999, 1e-8);
  const loss = (x, y) => () => tf.losses.softmaxCrossEntropy(y, logits(variables, x));
  let first = null;
  return {
    async run(epochs) {
      for (let epoch = 0; epoch < epochs; epoch++) {
        const losses = batches.map(([x, y]) => optimizer.minimize(loss(x, y), true, variables));
        // the curve is read once an epoch at most
        if (epoch === epochs - 1) {
          const curve = tf.tidy(() => tf.stack(losses));
          const values = await curve.data();
          first ??= values;
          curve.dispose();
        }
        tf.dispose(losses);
      }
      await done();
    },
    outputs: async () => [first],
    destroy() {
      optimizer.dispose();
      tf.dispose([...batches.flat(), ...variables]);
    },
  };
}
