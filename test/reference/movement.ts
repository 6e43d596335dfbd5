/** f64 loops for data movement, elementwise functions, reductions and random numbers. */
type Numbers = ArrayLike<number>;

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Calls `visit` with every multi-index in row-major order. */
function forEachIndex(shape: readonly number[], visit: (index: number[]) => void): void {
  const index = new Array<number>(shape.length).fill(0);
  for (let count = size(shape); count > 0; count--) {
    visit(index);
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis]! === shape[axis]; axis--) index[axis] = 0;
  }
}

const flatten = (index: readonly number[], shape: readonly number[]): number =>
  index.reduce((flat, at, axis) => flat * shape[axis]! + at, 0);

/** out[index] = x with its axes in the order `axes`, as NumPy's transpose. */
export function permute(x: Numbers, shape: readonly number[], axes: readonly number[]): number[] {
  const out: number[] = [];
  forEachIndex(
    axes.map((axis) => shape[axis]!),
    (index) => {
      const from = new Array<number>(shape.length);
      for (const [k, axis] of axes.entries()) from[axis] = index[k]!;
      out.push(x[flatten(from, shape)]!);
    },
  );
  return out;
}

export function slice(
  x: Numbers,
  shape: readonly number[],
  starts: readonly number[],
  sizes: readonly number[],
): number[] {
  const out: number[] = [];
  forEachIndex(sizes, (index) =>
    out.push(
      x[
        flatten(
          index.map((at, axis) => at + starts[axis]!),
          shape,
        )
      ]!,
    ),
  );
  return out;
}

/** f(a, b) with NumPy's broadcasting. */
export function broadcast(
  a: Numbers,
  shapeA: readonly number[],
  b: Numbers,
  shapeB: readonly number[],
  f: (x: number, y: number) => number,
): number[] {
  const order = Math.max(shapeA.length, shapeB.length);
  const pad = (shape: readonly number[]) => [...new Array<number>(order - shape.length).fill(1), ...shape];
  const [wideA, wideB] = [pad(shapeA), pad(shapeB)];
  const out: number[] = [];
  forEachIndex(
    wideA.map((extent, axis) => Math.max(extent, wideB[axis]!)),
    (index) => {
      const at = (shape: readonly number[]) =>
        flatten(
          index.map((i, axis) => (shape[axis] === 1 ? 0 : i)),
          shape,
        );
      out.push(f(a[at(wideA)]!, b[at(wideB)]!));
    },
  );
  return out;
}

/** The elements along an axis, for every index of the other axes. */
export function fibres(x: Numbers, shape: readonly number[], axis: number): number[][] {
  const after = size(shape.slice(axis + 1));
  const extent = shape[axis]!;
  return Array.from({ length: size(shape) / extent }, (_, output) => {
    const start = Math.floor(output / after) * extent * after + (output % after);
    return Array.from({ length: extent }, (_, i) => x[start + i * after]!);
  });
}

/** Philox4x32-10 with exact integers. */
export function philox(counter: readonly number[], key: readonly number[]): number[] {
  const mask = 0xffffffffn;
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map(BigInt) as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const p = 0xd2511f53n * c0;
    const q = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(q >> 32n) ^ c1 ^ k0, q & mask, (p >> 32n) ^ c3 ^ k1, p & mask];
    k0 = (k0 + 0x9e3779b9n) & mask;
    k1 = (k1 + 0xbb67ae85n) & mask;
  }
  return [c0, c1, c2, c3].map(Number);
}

/** At least `count` random words, block by block as random_fill makes them. */
const words = (count: number, seed: number, stream: number, step: number): number[] => {
  const key = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
  const out: number[] = [];
  for (let block = 0; out.length < count; block++) out.push(...philox([block, stream, step, 0], key));
  return out;
};

export const uniform = (count: number, seed: number, stream: number, step: number): number[] =>
  words(count, seed, stream, step)
    .slice(0, count)
    .map((word) => (word >>> 8) / 2 ** 24);

export function normal(count: number, seed: number, stream: number, step: number): number[] {
  const bits = words(count, seed, stream, step);
  const out: number[] = [];
  for (let i = 0; out.length < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(((bits[i]! >>> 8) + 1) / 2 ** 24));
    const angle = (2 * Math.PI * (bits[i + 1]! >>> 8)) / 2 ** 24;
    out.push(radius * Math.cos(angle), radius * Math.sin(angle));
  }
  return out.slice(0, count);
}
