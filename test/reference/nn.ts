/** f64 loops for training: loss, optimisers, shuffling, and a small network. */
type Numbers = ArrayLike<number>;

/**
 * Gradient of the mean cross-entropy, sum of the losses, and number of right answers (the first of the largest logits). `double`
 * takes the softmax of the softmax.
 */
export function crossEntropy(
  logits: Numbers,
  labels: Numbers,
  classes: number,
  double = false,
): { gradient: Float64Array; loss: number; right: number } {
  const rows = labels.length;
  const gradient = new Float64Array(rows * classes);
  let loss = 0;
  let right = 0;
  const softmax = (values: number[]): number[] => {
    const largest = Math.max(...values);
    const powers = values.map((v) => Math.exp(v - largest));
    const total = powers.reduce((a, b) => a + b);
    return powers.map((v) => v / total);
  };
  for (let row = 0; row < rows; row++) {
    const z = Array.from({ length: classes }, (_, k) => logits[row * classes + k]!);
    const p = softmax(z);
    const q = double ? softmax(p) : p;
    const label = labels[row]!;
    loss -= Math.log(q[label]!);
    if (z.indexOf(Math.max(...z)) === label) right++;
    const outer = q.map((v, k) => v - (k === label ? 1 : 0));
    const dot = outer.reduce((sum, v, k) => sum + v * p[k]!, 0);
    outer.forEach((v, k) => {
      gradient[row * classes + k] = (double ? p[k]! * (v - dot) : v) / rows;
    });
  }
  return { gradient, loss, right };
}

export function sgd({
  rate,
  momentum,
  weightDecay,
  nesterov = false,
}: {
  rate: number;
  momentum: number;
  weightDecay: number;
  nesterov?: boolean;
}) {
  return (start: Numbers, gradients: Numbers[]): Float64Array => {
    const w = Float64Array.from(start);
    const v = new Float64Array(w.length);
    for (const gradient of gradients)
      for (let i = 0; i < w.length; i++) {
        const g = gradient[i]! + weightDecay * w[i]!;
        v[i] = momentum * v[i]! + g;
        w[i]! -= rate * (nesterov ? g + momentum * v[i]! : v[i]!);
      }
    return w;
  };
}

export function adam({
  rate: largest,
  weightDecay,
  decoupled,
  warmSteps = 0,
  decaySteps = 0,
}: {
  rate: number;
  weightDecay: number;
  decoupled: boolean;
  warmSteps?: number;
  decaySteps?: number;
}) {
  return (start: Numbers, gradients: Numbers[]): Float64Array => {
    const w = Float64Array.from(start);
    const m = new Float64Array(w.length);
    const v = new Float64Array(w.length);
    gradients.forEach((gradient, step) => {
      const warmed = warmSteps ? Math.min(1, (step + 1) / warmSteps) : 1;
      const decayed = decaySteps ? (1 + Math.cos(Math.PI * Math.min(1, step / decaySteps))) / 2 : 1;
      const rate = largest * warmed * decayed;
      for (let i = 0; i < w.length; i++) {
        let g = gradient[i]!;
        if (decoupled) w[i]! -= rate * weightDecay * w[i]!;
        else g += weightDecay * w[i]!;
        m[i] = 0.9 * m[i]! + 0.1 * g;
        v[i] = 0.999 * v[i]! + 0.001 * g * g;
        const first = m[i]! / (1 - 0.9 ** (step + 1));
        const second = v[i]! / (1 - 0.999 ** (step + 1));
        w[i]! -= (rate * first) / (Math.sqrt(second) + 1e-8);
      }
    });
    return w;
  };
}

const mix = (x: number): number => {
  let h = x >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b) >>> 0;
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35) >>> 0;
  return (h ^ (h >>> 16)) >>> 0;
};

/** The order in which an epoch visits the rows: a six-round Feistel network, applied until the result is below `count`. */
export function permutation(count: number, seed: number, epoch: number): number[] {
  const half = Math.max(1, Math.ceil(Math.log2(Math.max(count, 2)) / 2));
  const mask = 2 ** half - 1;
  return Array.from({ length: count }, (_, index) => {
    let at = index;
    do {
      let [left, right] = [at >>> half, at & mask];
      for (let round = 0; round < 6; round++)
        [left, right] = [right, (left ^ (mix((right ^ seed ^ mix((6 * epoch + round) >>> 0)) >>> 0) & mask)) >>> 0];
      at = ((left << half) | right) >>> 0;
    } while (at >= count);
    return at;
  });
}

interface MlpOptions {
  hidden: number;
  classes: number;
  epochs: number;
  batch: number;
  rate: number;
  momentum: number;
}

/** Trains a network n → hidden (bias, relu) → classes (no bias) by SGD in file order; weights are [W₁ h×n, b₁, W₂ k×h]. */
export function trainMlp(
  x: Numbers,
  labels: Numbers,
  start: Float64Array[],
  options: MlpOptions,
): { weights: Float64Array[]; curve: { loss: number; accuracy: number }[] } {
  const { hidden, classes, epochs, batch, rate, momentum } = options;
  const count = labels.length;
  const inputs = x.length / count;
  const [w1, b1, w2] = start.map((values) => Float64Array.from(values)) as [Float64Array, Float64Array, Float64Array];
  const velocities = [w1, b1, w2].map((values) => new Float64Array(values.length));
  const curve: { loss: number; accuracy: number }[] = [];
  for (let epoch = 0; epoch < epochs; epoch++) {
    let [loss, right] = [0, 0];
    for (let first = 0; first < count; first += batch) {
      const rows = Math.min(batch, count - first);
      const h = new Float64Array(rows * hidden);
      const z = new Float64Array(rows * classes);
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < hidden; j++) {
          let sum = b1[j]!;
          for (let k = 0; k < inputs; k++) sum += w1[j * inputs + k]! * x[(first + i) * inputs + k]!;
          h[i * hidden + j] = Math.max(sum, 0);
        }
        for (let c = 0; c < classes; c++)
          for (let j = 0; j < hidden; j++) z[i * classes + c]! += w2[c * hidden + j]! * h[i * hidden + j]!;
      }
      const result = crossEntropy(
        z,
        Array.from({ length: rows }, (_, i) => labels[first + i]!),
        classes,
      );
      loss += result.loss;
      right += result.right;
      const [g1, gb, g2] = [w1, b1, w2].map((values) => new Float64Array(values.length)) as [
        Float64Array,
        Float64Array,
        Float64Array,
      ];
      for (let i = 0; i < rows; i++)
        for (let j = 0; j < hidden; j++) {
          let dh = 0;
          for (let c = 0; c < classes; c++) {
            const dz = result.gradient[i * classes + c]!;
            g2[c * hidden + j]! += dz * h[i * hidden + j]!;
            dh += dz * w2[c * hidden + j]!;
          }
          if (h[i * hidden + j]! <= 0) continue;
          gb[j]! += dh;
          for (let k = 0; k < inputs; k++) g1[j * inputs + k]! += dh * x[(first + i) * inputs + k]!;
        }
      [w1, b1, w2].forEach((values, which) => {
        const [v, g] = [velocities[which]!, [g1, gb, g2][which]!];
        for (let i = 0; i < values.length; i++) {
          v[i] = momentum * v[i]! + g[i]!;
          values[i]! -= rate * v[i]!;
        }
      });
    }
    curve.push({ loss: loss / count, accuracy: right / count });
  }
  return { weights: [w1, b1, w2], curve };
}
