import { expect } from "vitest";
import type { Engine } from "../../src/gpu/index.js";
import { type Layer, Sequential } from "../../src/nn/index.js";
import { copy } from "../../src/ops/index.js";
import { evaluate, expectClose } from "../engine.js";
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
