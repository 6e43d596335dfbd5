import { expect } from "vitest";
import type { Engine, Tensor } from "../../src/gpu/index.js";
import { type Layer, type Network, Sequential } from "../../src/nn/index.js";
import { copy, softmaxCrossEntropy } from "../../src/ops/index.js";
import { evaluate, expectClose } from "../engine.js";
import * as reference from "../reference/nn.js";
import { randomArray } from "../reference.js";

/**
 * Compares a layer's gradients with central differences of L = Σ w∘y. The outputs y of a factorised layer are linear in each of
 * its numbers, so a step of 0.5 gives the exact slope, with little rounding.
 *
 * @param options.most about how many numbers of each parameter are moved
 */
export async function checkGradients(
  engine: Engine,
  layer: Layer,
  shape: readonly number[],
  { batch = 3, most = 5 }: { batch?: number; most?: number } = {},
): Promise<void> {
  using model = await Sequential.create(engine, [layer], { inputShape: shape, seed: 5 });
  const size = shape.reduce((a, b) => a * b, 1);
  using x = engine.tensor([batch, ...shape], randomArray(batch * size, 2));
  const outputs = layer.outputShape(shape);
  const weights = randomArray(batch * outputs.reduce((a, b) => a * b, 1), 3);
  using w = engine.tensor([batch, ...outputs], weights);
  const [y, dx, ...gradients] = await evaluate(engine, (s) => {
    const output = model.forward(s, x, { training: true });
    // backward frees dy and the output, so both are copied before
    const dy = copy(s, w);
    const outputCopy = copy(s, output);
    const inputGradient = model.backward(s, dy, { inputGradient: true })!;
    return [outputCopy, inputGradient, ...model.parameters.map(({ gradient }) => gradient)];
  });
  const s = engine.scheduler();
  const output = model.forward(s, x);
  using schedule = await s.compile();
  const loss = async (): Promise<number> => {
    engine.submit(schedule);
    const values = (await engine.read(output)) as Float32Array;
    return values.reduce((sum, value, i) => sum + value * weights[i]!, 0);
  };
  engine.submit(schedule);
  expectClose(await engine.read(output), y!, 1e-5);
  const pairs = [
    { tensor: x, gradient: dx! },
    ...model.parameters.map(({ value }, i) => ({ tensor: value, gradient: gradients[i]! })),
  ];
  for (const { tensor, gradient } of pairs) {
    const values = Float32Array.from(await engine.read(tensor));
    const scale = Math.max(...gradient.map(Math.abs));
    expect(scale).toBeGreaterThan(0);
    for (let i = 0; i < values.length; i += Math.max(1, Math.floor(values.length / most))) {
      const losses: number[] = [];
      for (const step of [0.5, -0.5]) {
        const moved = Float32Array.from(values);
        moved[i]! += step;
        engine.write(tensor, moved);
        losses.push(await loss());
      }
      engine.write(tensor, values);
      expect(Math.abs(losses[0]! - losses[1]! - gradient[i]!)).toBeLessThan(1e-4 * scale + 1e-5 * Math.abs(losses[0]!));
    }
  }
}

/**
 * Compares the gradients of a network whose outputs are classes with central differences of its mean cross-entropy, for a batch
 * of 11.
 *
 * @param options.double whether the loss is that of a double softmax
 */
export async function checkNetworkGradients(model: Network, { double = false } = {}): Promise<void> {
  const { engine, inputShape: shape } = model;
  const batch = 11;
  const size = shape.reduce((a, b) => a * b, 1);
  using x = engine.tensor([batch, ...shape], randomArray(batch * size, 2));
  const classes = model.outputShape[0]!;
  const classOf = Uint32Array.from({ length: batch }, (_, i) => i % classes);
  using labels = engine.tensor([batch], classOf);
  using curve = engine.tensor([1, 2]);
  using state = engine.tensor([3], Uint32Array.of(0, 0, 5));
  const s = engine.scheduler();
  const logits = model.forward(s, x, { training: true, state, seed: 3 });
  const dy = softmaxCrossEntropy(s, logits, labels, { curve, column: 0, state }, { double });
  const dx = model.backward(s, dy, { inputGradient: true })!;
  using schedule = await s.compile();
  engine.submit(schedule);
  const [inputGradient, ...gradients] = await engine.read([dx, ...model.parameters.map(({ gradient }) => gradient)]);
  engine.write(state, Uint32Array.of(0, 0, 5));
  const [alone] = await evaluate(engine, (s) => {
    const logits = model.forward(s, x, { training: true, state, seed: 3 });
    const dy = softmaxCrossEntropy(s, logits, labels, { curve, column: 0, state }, { double });
    return [model.backward(s, dy, { inputGradient: true, weightGradients: false })!];
  });
  expectClose(alone!, inputGradient!, 1e-5);
  const again = engine.scheduler();
  const moved = model.forward(again, x, { training: true, state, seed: 3 });
  using forward = await again.compile();
  /** of the batch's mean, in f64 from the logits: their rounding is all that blurs it */
  const lossOf = async (): Promise<number> => {
    engine.write(state, Uint32Array.of(0, 0, 5));
    engine.submit(forward);
    return reference.crossEntropy(await engine.read(moved), classOf, classes, double).loss / batch;
  };
  // so short that hardly one crosses a kink of relu
  const step = 5e-4;
  const check = async (tensor: Tensor, gradient: ArrayLike<number>) => {
    const values = Float32Array.from(await engine.read(tensor));
    const scale = Math.max(...Array.from(gradient, Math.abs));
    for (let i = 0; i < values.length; i += Math.max(1, Math.floor(values.length / 6))) {
      const losses: number[] = [];
      for (const sign of [1, -1]) {
        const changed = Float32Array.from(values);
        changed[i]! += sign * step;
        engine.write(tensor, changed);
        losses.push(await lossOf());
      }
      engine.write(tensor, values);
      const slope = (losses[0]! - losses[1]!) / (2 * step);
      // the largest error here is a third of this; the batch of a normalisation cancels, which blurs most
      expect(Math.abs(slope - gradient[i]!)).toBeLessThan(4e-3 * scale + 5e-5);
    }
  };
  for (const [index, { value }] of model.parameters.entries()) await check(value, gradients[index]!);
  await check(x, inputGradient!);
  expect(Math.max(...gradients.flatMap((g) => [...g].map(Math.abs)))).toBeGreaterThan(double ? 5e-3 : 2e-2);
}
