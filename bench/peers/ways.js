/**
 * The ways in which a user of a tensor library would write our products, in a small vocabulary that every library has:
 * matmul, reshape, multiply, sum, transpose, and einsum where there is one. Every peer is measured with the one that is
 * fastest for it. Each operand and each intermediate result is used exactly once.
 *
 * @typedef {object} Library
 * @property {(a: any, b: any, transposeA?: boolean, transposeB?: boolean) => any} matmul
 * @property {(x: any, shape: number[]) => any} reshape
 * @property {(x: any, y: any) => any} multiply with broadcasting
 * @property {(x: any, axis: number) => any} sum
 * @property {(x: any) => any} transpose of a matrix
 * @property {(x: any, w: any, padding: number) => any} conv2d with strides of 1
 * @property {(equation: string, ...operands: any[]) => any} [einsum]
 *
 * @typedef {{ name: string, operands: number[], apply: (L: Library, ...operands: any[]) => any }} Way
 * `operands` are places among the inputs of the work
 */

/** Shapes of a work's operands, in the order of its members. */
export const shapesOf = (work) =>
  Object.values(work)
    .flat()
    .filter((member) => member?.shape)
    .map(({ shape }) => [...shape]);

const size = (shape) => shape.reduce((product, extent) => product * extent, 1);
const letters = "abcdefgh";

/** @returns {Way[]} */
export function waysOf(work, { einsum = true } = {}) {
  switch (work.op) {
    case "matmul":
      return [{ name: "matmul", operands: [0, 1], apply: (L, a, b) => L.matmul(a, b) }];
    case "gram":
      return gram();
    case "conv2d":
      return [{ name: "conv2d", operands: [0, 1], apply: (L, x, w) => L.conv2d(x, w, work.padding) }];
    case "lowRank":
      return [
        {
          name: "matmul",
          operands: [0, 1, 2],
          apply: (L, x, a, b) => L.matmul(L.matmul(x, a, false, true), b, false, true),
        },
      ];
    case "tucker2":
      return [
        {
          name: "conv2d",
          operands: [0, 1, 2, 3],
          apply: (L, x, first, core, last) => L.conv2d(L.conv2d(L.conv2d(x, first, 0), core, work.padding), last, 0),
        },
      ];
    case "modeProduct":
      return modeProduct(work, einsum);
    case "mttkrp":
      return mttkrp(work, einsum);
    default:
      return [];
  }
}

function gram() {
  return [{ name: "matmul", operands: [0, 0], apply: (L, x, y) => L.matmul(x, y, true, false) }];
}

function modeProduct({ x, u, mode }, einsum) {
  const { shape } = x;
  const before = size(shape.slice(0, mode));
  const after = size(shape.slice(mode + 1));
  const [extent, columns] = [shape[mode], u.shape[0]];
  const out = shape.map((value, index) => (index === mode ? columns : value));
  const indices = letters.slice(0, shape.length);
  const equation = `${indices},z${indices[mode]}->${indices.replace(indices[mode], "z")}`;
  return [
    {
      name: "matmul",
      operands: [0, 1],
      apply(L, tensor, matrix) {
        if (after === 1) return L.reshape(L.matmul(L.reshape(tensor, [before, extent]), matrix, false, true), out);
        if (before === 1) return L.reshape(L.matmul(matrix, L.reshape(tensor, [extent, after])), out);
        const batch = L.reshape(tensor, [before, extent, after]);
        return L.reshape(L.matmul(L.reshape(matrix, [1, columns, extent]), batch), out);
      },
    },
    ...(einsum ? [{ name: "einsum", operands: [0, 1], apply: (L, t, m) => L.einsum(equation, t, m) }] : []),
  ];
}

function mttkrp({ x, factors, mode }, einsum) {
  const { shape } = x;
  const rank = factors[0].shape[1];
  const order = shape.length;
  const others = shape.map((_, other) => other).filter((other) => other !== mode);
  const operands = [0, ...others.map((other) => other + 1)];
  const before = size(shape.slice(0, mode));
  const after = size(shape.slice(mode + 1));
  const extent = shape[mode];

  /** Rows of the Khatri-Rao product of these factors, as row-major unfoldings want them. */
  const khatriRao = (L, matrices) =>
    matrices.reduce((left, right) => {
      if (!left) return right;
      const [rows, more] = [left.rows * right.rows, right.rows];
      const product = L.multiply(L.reshape(left.value, [left.rows, 1, rank]), L.reshape(right.value, [1, more, rank]));
      return { value: L.reshape(product, [rows, rank]), rows };
    }, null);

  const ways = [
    {
      name: "unfolding · Khatri-Rao product",
      operands,
      apply(L, tensor, ...given) {
        const matrices = given.map((value, index) => ({ value, rows: shape[others[index]] }));
        const left = khatriRao(L, matrices.slice(0, mode));
        const right = khatriRao(L, matrices.slice(mode));
        if (!left) return L.matmul(L.reshape(tensor, [extent, after]), right.value);
        if (!right) return L.matmul(L.reshape(tensor, [before, extent]), left.value, true, false);
        const inner = L.matmul(L.reshape(tensor, [before * extent, after]), right.value);
        const weights = L.reshape(left.value, [before, 1, rank]);
        return L.sum(L.multiply(L.reshape(inner, [before, extent, rank]), weights), 0);
      },
    },
    {
      name: "one mode after the other",
      operands,
      apply(L, tensor, ...given) {
        if (mode === order - 1) {
          // contract the first mode: R×(rest), then weigh and sum the others from the front
          const [first, ...rest] = given;
          let current = L.matmul(first, L.reshape(tensor, [shape[0], size(shape) / shape[0]]), true, false);
          let width = size(shape) / shape[0];
          rest.forEach((factor, index) => {
            const rows = shape[others[index + 1]];
            const weights = L.reshape(L.transpose(factor), [rank, rows, 1]);
            current = L.sum(L.multiply(L.reshape(current, [rank, rows, width / rows]), weights), 1);
            width /= rows;
          });
          return L.transpose(L.reshape(current, [rank, extent]));
        }
        // contract the last mode: (rest)×R, then weigh and sum the others from the back
        const last = given.at(-1);
        let rows = size(shape) / shape[order - 1];
        let current = L.matmul(L.reshape(tensor, [rows, shape[order - 1]]), last);
        const modes = shape.map((_, index) => index).slice(0, -1);
        for (let index = given.length - 2; index >= 0; index--) {
          const other = others[index];
          const [front, back] = [modes.slice(0, modes.indexOf(other)), modes.slice(modes.indexOf(other) + 1)];
          const [outer, middle, inner] = [front, [other], back].map((list) => size(list.map((m) => shape[m])));
          const weights = L.reshape(given[index], [1, middle, 1, rank]);
          current = L.sum(L.multiply(L.reshape(current, [outer, middle, inner, rank]), weights), 1);
          rows /= middle;
          modes.splice(modes.indexOf(other), 1);
        }
        return L.reshape(current, [extent, rank]);
      },
    },
  ];
  if (einsum) {
    const indices = letters.slice(0, order);
    const terms = others.map((other) => `${indices[other]}z`).join();
    const equation = `${indices},${terms}->${indices[mode]}z`;
    ways.push({ name: "einsum", operands, apply: (L, tensor, ...given) => L.einsum(equation, tensor, ...given) });
    // one contraction at a time, as the order of einsum's operands is not every library's to choose
    const kept = mode === order - 1 ? 0 : order - 1;
    const steps = [kept, ...others.filter((other) => other !== kept)];
    ways.push({
      name: "einsum, one mode after the other",
      operands: [0, ...steps.map((other) => other + 1)],
      apply(L, tensor, ...given) {
        let rest = indices.replace(indices[steps[0]], "");
        let current = L.einsum(`${indices},${indices[steps[0]]}z->${rest}z`, tensor, given[0]);
        for (const [index, other] of steps.slice(1).entries()) {
          const next = rest.replace(indices[other], "");
          current = L.einsum(`${rest}z,${indices[other]}z->${next}z`, current, given[index + 1]);
          rest = next;
        }
        return current;
      },
    });
  }
  return ways;
}

/**
 * Tries every way and keeps the one that is fastest after a warm-up. One that cannot run, or whose result is wrong (beyond
 * a device's limits libraries answer zeros at once), is passed over. Where none is right a wrong one stays, for the caller to
 * find out; where none runs, the first error is thrown.
 */
export async function fastest(ways, prepare, isRight) {
  let best = null;
  let wrong = null;
  let failure = null;
  for (const way of ways) {
    let prepared;
    try {
      const begun = performance.now();
      prepared = await prepare(way);
      await prepared.run(1);
      const firstMs = performance.now() - begun;
      if (!isRight(await prepared.outputs())) {
        if (wrong) prepared.destroy();
        else wrong = { prepared, firstMs, name: way.name };
        continue;
      }
      let least = Number.POSITIVE_INFINITY;
      for (let attempt = 0; attempt < (ways.length > 1 ? 3 : 0); attempt++) {
        const started = performance.now();
        await prepared.run(1);
        least = Math.min(least, performance.now() - started);
      }
      if (best && best.least <= least) prepared.destroy();
      else {
        best?.prepared.destroy();
        best = { least, prepared, firstMs, name: way.name };
      }
    } catch (error) {
      prepared?.destroy();
      failure ??= error;
    }
  }
  if (best) wrong?.prepared.destroy();
  best ??= wrong;
  if (!best) throw failure;
  return { ...best.prepared, firstMs: best.firstMs, ...(ways.length > 1 && { way: best.name }) };
}
