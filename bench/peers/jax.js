/**
 * jax-js (https://jax-js.com) as its users write it: arrays on the WebGPU device, whole computations under `jit`. An array
 * given to a function is used up by it; `.ref` keeps it.
 */
import { blockUntilReady, defaultDevice, init, jit, lax, nn, numpy as np, valueAndGrad } from "@jax-js/jax";
import { version } from "./node_modules/@jax-js/jax/package.json";
import { fastest, shapesOf, waysOf } from "./ways.js";

export async function open() {
  if (!(await init("webgpu")).includes("webgpu")) throw new Error("jax-js finds no WebGPU");
  defaultDevice("webgpu");
  return { name: `jax-js ${version}`, prepare };
}

/** np.einsum in the form with numbers: the one with letters wants iterator helpers, which Node 20 lacks. */
function einsum(equation, ...operands) {
  const [left, right] = equation.split("->");
  const indices = (term) => Array.from(term, (letter) => letter.charCodeAt(0) - 97);
  const terms = left.split(",");
  return np.einsum(...operands.flatMap((operand, index) => [operand, indices(terms[index])]), indices(right));
}

const library = {
  matmul: (a, b, transposeA = false, transposeB = false) =>
    np.matmul(transposeA ? np.matrixTranspose(a) : a, transposeB ? np.matrixTranspose(b) : b),
  reshape: (x, shape) => x.reshape(shape),
  multiply: (x, y) => x.mul(y),
  sum: (x, axis) => np.sum(x, axis),
  transpose: (x) => np.transpose(x),
  conv2d(x, w, padding) {
    const around = [padding, padding];
    return lax.convGeneralDilated(x, w, [1, 1], [around, around]);
  },
  einsum,
};

const upload = (data, shape) => np.array(data, { shape: [...shape] });

async function prepare(work, inputs, isRight) {
  const ways = waysOf(work);
  if (ways.length) {
    const shapes = shapesOf(work);
    const prepareWay = (way) =>
      repeated(
        (...operands) => way.apply(library, ...operands),
        way.operands.map((at) => upload(inputs[at], shapes[at])),
      );
    return fastest(ways, prepareWay, isRight);
  }
  if (work.op === "training") return training(work.network, dense(work.network), inputs);
  if (work.op === "lenet") return fastest(pools, ({ pool }) => training(work.network, lenet(pool), inputs), isRight);
  if (work.op === "cpSweep") return fastest(sweeps, (way) => cpSweep(way.sweep, work, inputs), isRight);
  if (work.op === "cpToError") return cpToError(work, inputs, isRight);
  if (work.op === "hooiSweep") return hooiSweep(work, inputs);
  return linearAlgebra(work, inputs);
}

/** A pure function of resident operands. */
async function repeated(compute, operands, toOutputs = (results) => results) {
  await blockUntilReady(operands);
  const f = jit(compute);
  let results = [];
  const drop = (arrays) => {
    for (const array of arrays) array.dispose();
  };
  return {
    async run(times) {
      drop(results.splice(0));
      // all are kept until they are there: what is dropped before is never computed
      const runs = Array.from({ length: times }, () => {
        const found = f(...operands.map((operand) => operand.ref));
        return Array.isArray(found) ? found : [found];
      });
      await blockUntilReady(runs.flat());
      results = runs.pop();
      drop(runs.flat());
    },
    outputs: async () => toOutputs(await Promise.all(results.map((array) => array.ref.data()))),
    destroy() {
      drop(results);
      f.dispose();
      for (const operand of operands) operand.dispose();
    },
  };
}

/**
 * X with X·Uᵀ = B for an upper triangular U. Under `jit` the routines of jax-js 0.1 take no views (transposed, flipped), so
 * both are multiplied by a one that the compiler does not know.
 */
const triangular = (upper, b, one) =>
  lax.linalg.triangularSolve(upper.mul(one.ref), b.mul(one), { leftSide: false, lower: false, transposeA: true });

/** X = B·A⁻¹ for the rows of B, A symmetric positive definite. */
function solveRows(a, b, one) {
  const lower = lax.linalg.cholesky(a);
  const half = triangular(np.flip(lower.ref), np.flip(b, 1), one.ref);
  return triangular(np.transpose(lower), np.flip(half, 1), one);
}

/** Q and R by Cholesky, twice: what there is where there is no QR. */
function qr(a, one) {
  const pass = (x) => {
    const lower = lax.linalg.cholesky(np.matmul(np.transpose(x.ref), x.ref));
    const q = np.flip(triangular(np.flip(lower.ref), np.flip(x, 1), one.ref), 1);
    return [q, np.transpose(lower)];
  };
  const [q1, r1] = pass(a);
  const [q, r2] = pass(q1);
  one.dispose();
  return [q, np.matmul(r2, r1)];
}

async function linearAlgebra(work, inputs) {
  const n = work.a.shape[1];
  // 19 s for the SVD of 256 on a software adapter, and eight times that at every step up
  if ((work.op === "svd" || work.op === "eigen") && n > 256) return null;
  const a = upload(inputs[0], work.a.shape);
  switch (work.op) {
    case "eigen":
      // values and vectors in columns, whatever their order
      return repeated((x) => np.linalg.eigh(x), [a]);
    case "svd":
      return repeated(
        (x) => np.linalg.svd(x, { fullMatrices: false }),
        [a],
        ([u, values, vt]) => [values, u, vt.map((_, index) => vt[(index % n) * n + Math.floor(index / n)])],
      );
    case "cholesky":
      return repeated(solveRows, [a, upload(inputs[1], work.b.shape), np.array([1])]);
    case "orthogonalise":
      return repeated(qr, [a, np.array([1])]);
    default:
      return null;
  }
}

// ---- decompositions

const columnNorms = (a) => np.sqrt(np.sum(np.square(a), 0));
const gram = (a) => np.matmul(np.transpose(a.ref), a);

/** The least squares update of one factor from its MTTKRP, with columns of norm 1. */
function update(product, others, one) {
  const [first, second] = others.map(gram);
  const solved = solveRows(first.mul(second), product, one);
  const norms = columnNorms(solved.ref);
  return [solved.div(norms.ref), norms];
}

const sweeps = [
  {
    // X times the last factor serves the first two modes: two reads of X a sweep
    name: "dimension tree",
    sweep(x, one, a, b, c) {
      a.dispose();
      const partial = einsum("ijk,kr->ijr", x.ref, c.ref);
      const [a1] = updateOf(einsum("ijr,jr->ir", partial.ref, b.ref), [b, c.ref], one.ref);
      const [b1] = updateOf(einsum("ijr,ir->jr", partial, a1.ref), [a1.ref, c], one.ref);
      const last = einsum("jkr,jr->kr", einsum("ijk,ir->jkr", x, a1.ref), b1.ref);
      const [c1, weights] = update(last, [a1.ref, b1.ref], one);
      return [weights, a1, b1, c1];
    },
  },
  {
    name: "Khatri-Rao products",
    sweep(x, one, a, b, c) {
      a.dispose();
      const [I, J] = x.shape;
      const K = x.shape[2];
      const khatriRao = (left, right) => {
        const [rows, rank] = left.shape;
        return left
          .reshape([rows, 1, rank])
          .mul(right.reshape([1, right.shape[0], rank]))
          .reshape([-1, rank]);
      };
      const [a1] = updateOf(np.matmul(x.ref.reshape([I, J * K]), khatriRao(b.ref, c.ref)), [b, c.ref], one.ref);
      const inner = np.matmul(x.ref.reshape([I * J, K]), c.ref).reshape([I, J, -1]);
      const [b1] = updateOf(einsum("ijr,ir->jr", inner, a1.ref), [a1.ref, c], one.ref);
      const last = np.matmul(np.transpose(x.reshape([I * J, K])), khatriRao(a1.ref, b1.ref));
      const [c1, weights] = update(last, [a1.ref, b1.ref], one);
      return [weights, a1, b1, c1];
    },
  },
  {
    name: "einsum",
    sweep(x, one, a, b, c) {
      a.dispose();
      const [a1] = updateOf(einsum("ijk,jr,kr->ir", x.ref, b.ref, c.ref), [b, c.ref], one.ref);
      const [b1] = updateOf(einsum("ijk,ir,kr->jr", x.ref, a1.ref, c.ref), [a1.ref, c], one.ref);
      const [c1, weights] = update(einsum("ijk,ir,jr->kr", x, a1.ref, b1.ref), [a1.ref, b1.ref], one);
      return [weights, a1, b1, c1];
    },
  },
];

/** An update whose weights nobody needs. */
function updateOf(product, others, one) {
  const [factor, weights] = update(product, others, one);
  weights.dispose();
  return [factor];
}

async function cpSweep(sweep, { x, factors }, inputs) {
  const tensor = upload(inputs[0], x.shape);
  const one = np.array([1]);
  const f = jit(sweep);
  let state = factors.map(({ shape }, mode) => upload(inputs[mode + 1], shape));
  let weights = null;
  let first = null;
  await blockUntilReady([tensor, ...state]);
  return {
    async run(times) {
      for (let i = 0; i < times; i++) {
        weights?.dispose();
        [weights, ...state] = f(tensor.ref, one.ref, ...state);
      }
      await blockUntilReady([weights, ...state]);
      first ??= await Promise.all([weights, ...state].map((array) => array.ref.data()));
    },
    outputs: async () => first,
    restart() {
      for (const array of state) array.dispose();
      state = factors.map(({ shape }, mode) => upload(inputs[mode + 1], shape));
    },
    last: () => Promise.all([weights, ...state].map((array) => array.ref.data())),
    destroy() {
      for (const array of [tensor, one, weights, ...state]) array?.dispose();
      f.dispose();
    },
  };
}

/** Seconds in which a way of sweeping may look for the sweep that reaches the error. */
const PATIENCE = 30;

/**
 * ALS until the model is good enough. How many sweeps that takes is found out beforehand, by looking at the model more and more
 * seldom, and none of that is timed: a run is so many sweeps from the start.
 */
async function cpToError(work, inputs, isRight) {
  if (work.x.shape.length !== 3) return null; // the sweep is written for three modes
  const start = work.factors.map((_, mode) => inputs[mode + 1]);
  const search = await cpSweep(sweeps[0].sweep, work, [inputs[0], ...start]);
  const begun = performance.now();
  let [done, isReached, model] = [0, false, null];
  while (!isReached && done < work.sweeps && performance.now() - begun < 1000 * PATIENCE) {
    const more = Math.min(work.sweeps - done, Math.max(1, Math.floor(done / 16)));
    await search.run(more);
    done += more;
    model = await search.last();
    isReached = isRight(model);
  }
  search.destroy();
  const way = `ALS, ${done} sweeps`;
  if (!isReached) return { run: async () => {}, outputs: async () => model, way, destroy() {} };
  const solver = await cpSweep(sweeps[0].sweep, work, [inputs[0], ...start]);
  return {
    way,
    async run(times) {
      for (let i = 0; i < times; i++) {
        solver.restart();
        await solver.run(done);
      }
    },
    outputs: () => solver.last(),
    destroy: () => solver.destroy(),
  };
}

async function hooiSweep({ x, ranks, factors }, inputs) {
  if (Math.max(...x.shape) > 1024) return null; // an eigendecomposition of 6000×6000
  const tensor = upload(inputs[0], x.shape);
  const leading = (unfolded, rank) => {
    const [, vectors] = np.linalg.eigh(np.matmul(unfolded.ref, np.transpose(unfolded)));
    // eigenvalues rise: the leading vectors are the last columns
    return np.split(vectors, [vectors.shape[1] - rank], 1);
  };
  const last = ([rest, wanted]) => {
    rest.dispose();
    return wanted;
  };
  const f = jit((t, a, b, c) => {
    a.dispose();
    const [I, J, K] = t.shape;
    const y1 = einsum("ijr,js->isr", einsum("ijk,kr->ijr", t.ref, c.ref), b);
    const a1 = last(leading(y1.reshape([I, -1]), ranks[0]));
    const y2 = einsum("ijr,is->jsr", einsum("ijk,kr->ijr", t.ref, c), a1.ref);
    const b1 = last(leading(y2.reshape([J, -1]), ranks[1]));
    const y3 = einsum("sjk,jr->ksr", einsum("ijk,is->sjk", t, a1.ref), b1.ref);
    const c1 = last(leading(y3.reshape([K, -1]), ranks[2]));
    return [a1, b1, c1];
  });
  let state = factors.map(({ shape }, mode) => upload(inputs[mode + 1], shape));
  let first = null;
  return {
    async run(times) {
      for (let i = 0; i < times; i++) state = f(tensor.ref, ...state);
      await blockUntilReady(state);
      first ??= await Promise.all(state.map((array) => array.ref.data()));
    },
    outputs: async () => first,
    destroy() {
      for (const array of [tensor, ...state]) array.dispose();
      f.dispose();
    },
  };
}

// ---- training

/** A network: one sample's shape, those of its parameters, and logits. */
const dense = ({ inputs: n, hidden, classes, bias }) => ({
  sample: [n],
  classes,
  shapes: [[hidden, n], [hidden], [classes, hidden], ...(bias ? [[classes]] : [])],
  logits([w1, b1, w2, b2], x) {
    const h = nn.relu(np.matmul(x, np.transpose(w1)).add(b1));
    const product = np.matmul(h, np.transpose(w2));
    return b2 ? product.add(b2) : product;
  },
});

/** Ways to halve both extents of images. */
const pools = [
  {
    name: "reduceWindow",
    pool: (x) => lax.reduceWindow(x, np.max, [2, 2], [2, 2]),
  },
  {
    name: "reshape and max",
    pool(x) {
      const [n, channels, height, width] = x.shape;
      return np.max(x.reshape([n, channels, height / 2, 2, width / 2, 2]), [3, 5]);
    },
  },
];

const lenet = (pool) => ({
  sample: [1, 28, 28],
  classes: 10,
  shapes: [[6, 1, 5, 5], [6], [16, 6, 5, 5], [16], [120, 400], [120], [84, 120], [84], [10, 84], [10]],
  logits([w1, b1, w2, b2, w3, b3, w4, b4, w5, b5], x) {
    const convolution = (input, w, b, around) =>
      nn.relu(
        lax
          .convGeneralDilated(
            input,
            w,
            [1, 1],
            [
              [around, around],
              [around, around],
            ],
          )
          .add(b.reshape([-1, 1, 1])),
      );
    const linear = (input, w, b) => np.matmul(input, np.transpose(w)).add(b);
    const maps = pool(convolution(pool(convolution(x, w1, b1, 2)), w2, b2, 0));
    const h = nn.relu(linear(maps.reshape([-1, 400]), w3, b3));
    return linear(nn.relu(linear(h, w4, b4)), w5, b5);
  },
});

async function training({ samples, batch, rate }, { sample, classes, shapes, logits }, inputs) {
  const steps = samples / batch;
  const n = sample.reduce((a, b) => a * b);
  // batches cut beforehand: the most convenient a loader can be
  const batches = Array.from({ length: steps }, (_, step) => {
    const x = upload(inputs[0].slice(step * batch * n, (step + 1) * batch * n), [batch, ...sample]);
    const hot = new Float32Array(batch * classes);
    for (let row = 0; row < batch; row++) hot[row * classes + inputs[1][step * batch + row]] = 1;
    return [x, upload(hot, [batch, classes])];
  });
  const loss = (parameters, x, y) => np.sum(nn.logSoftmax(logits(parameters, x)).mul(y)).mul(-1 / batch);
  // Adam as optax has it, all parameters in one jitted step
  const step = jit((parameters, firsts, seconds, decay, x, y) => {
    const [value, gradients] = valueAndGrad(loss)(
      parameters.map((p) => p.ref),
      x,
      y,
    );
    const [decay1, decay2] = [decay.ref.slice(0).mul(0.9), decay.slice(1).mul(0.999)];
    const m = firsts.map((moment, index) => moment.mul(0.9).add(gradients[index].ref.mul(0.1)));
    const v = seconds.map((moment, index) => moment.mul(0.999).add(np.square(gradients[index]).mul(0.001)));
    const next = parameters.map((parameter, index) => {
      const mean = m[index].ref.div(np.subtract(1, decay1.ref));
      const scale = np.sqrt(v[index].ref.div(np.subtract(1, decay2.ref))).add(1e-8);
      return parameter.sub(mean.div(scale).mul(rate));
    });
    return [next, m, v, np.stack([decay1, decay2]), value];
  });
  const state = [
    shapes.map((shape, index) => upload(inputs[index + 2], shape)),
    shapes.map((shape) => np.zeros(shape)),
    shapes.map((shape) => np.zeros(shape)),
    np.array([1, 1]),
  ];
  let first = null;
  await blockUntilReady(batches.flat());
  return {
    async run(epochs) {
      let losses = [];
      for (let epoch = 0; epoch < epochs; epoch++) {
        for (const [x, y] of batches) {
          let value;
          [state[0], state[1], state[2], state[3], value] = step(...state, x.ref, y.ref);
          losses.push(value);
        }
        if (epoch < epochs - 1) for (const value of losses.splice(0)) value.dispose();
      }
      // the curve is read once an epoch at most
      await blockUntilReady([losses.at(-1), ...state[0]]);
      const curve = await np.stack(losses).data();
      losses = [];
      first ??= curve;
    },
    outputs: async () => [first],
    destroy() {
      for (const array of [...batches.flat(), ...state.flat()]) array.dispose();
      step.dispose();
    },
  };
}
