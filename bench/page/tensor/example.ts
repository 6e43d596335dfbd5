/** A small tensor whose components are known: for those without a file, and to see whether they are found again. */

export const EXAMPLE = {
  name: "generated example",
  shape: [40, 30, 24],
  rank: 3,
  /** ‖noise‖ / ‖X‖ */
  noise: 0.05,
  modes: ["sample", "wavelength", "time"],
} as const;

export interface Example {
  shape: readonly number[];
  values: Float32Array<ArrayBuffer>;
  /** I_n×3, row-major */
  factors: Float32Array<ArrayBuffer>[];
}

/** Numbers between −1 and 1, the same every time (Park & Miller 1988). */
function* numbers(): Generator<number> {
  let state = 20261129;
  for (;;) {
    state = (state * 48271) % 2147483647;
    yield (2 * state) / 2147483647 - 1;
  }
}

/** Three substances: how much of each is in every sample, its spectrum, and how it decays. With noise. */
export function createExample(): Example {
  const { shape, rank, noise } = EXAMPLE;
  const random = numbers();
  const next = (): number => random.next().value as number;
  const column = [
    () => 0.55 + 0.45 * next(),
    (i: number, r: number) => Math.exp(-(((i - 6 - 8 * r) / (3.5 + r)) ** 2)),
    (i: number, r: number) => Math.exp(-i / (4 + 9 * r)) * (1 - Math.exp(-(i + 0.5) / (1 + r))),
  ];
  const factors = shape.map((extent, mode) =>
    Float32Array.from({ length: extent * rank }, (_, at) => column[mode]!(Math.floor(at / rank), at % rank)),
  );
  const [a, b, c] = factors as [Float32Array, Float32Array, Float32Array];
  const [n, m, k] = shape;
  const values = new Float32Array(n * m * k);
  const errors = new Float32Array(values.length);
  let [signal, disturbance] = [0, 0];
  for (let i = 0; i < n; i++)
    for (let j = 0; j < m; j++)
      for (let l = 0; l < k; l++) {
        let value = 0;
        for (let r = 0; r < rank; r++) value += a[i * rank + r]! * b[j * rank + r]! * c[l * rank + r]!;
        const at = (i * m + j) * k + l;
        values[at] = value;
        errors[at] = next() + next() + next();
        signal += value * value;
        disturbance += errors[at]! ** 2;
      }
  const scale = noise * Math.sqrt(signal / disturbance);
  return { shape, factors, values: values.map((value, at) => value + scale * errors[at]!) };
}
