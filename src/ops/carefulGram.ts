import { type Scheduler, ShapeError, type Tensor } from "../gpu/index.js";
import { accumulate } from "./accumulate.js";
import { matmul } from "./matmul.js";
import { recordProduct } from "./product.js";
import { sum } from "./reduce.js";
import { assertCall } from "./shapes.js";

/** Terms that are added up one after the other; the sum of so many equal terms rounds by 4e-7 at most. */
const RUN = 64;
/** Rows up to which two levels of sums hold 1e-7. */
const TALL = 1024;

/**
 * AᵀA of a matrix I×R, as a temporary. An entry is off by about 1e-7 of the product of its two columns' norms, for any number of rows
 * and for equal rows, too: 64 terms are added up, then 64 of those sums, and so on.
 */
export function carefulGram(s: Scheduler, a: Tensor): Tensor {
  assertCall("carefulGram", s, { a });
  if (a.order !== 2) throw new ShapeError(`carefulGram: ${a}, needs a matrix`);
  const [rows, columns] = a.shape as [number, number];
  // all parts are one binding
  const room = s.engine.device.limits.maxStorageBufferBindingSize;
  if (rows <= TALL || 4 * Math.floor(rows / RUN) * columns ** 2 > room)
    return matmul(s, a, a, { transposeA: true, careful: true });
  const blocks = Math.floor(rows / RUN);
  const parts = s.tensor([blocks, columns, columns], { label: "gram parts" });
  const between = RUN * columns;
  recordProduct(s, a, a, parts, {
    ...{ rows: columns, columns, inner: RUN, transposeA: true },
    ...{ batch: blocks, batchA: between, batchB: between },
  });
  const total = foldRows(s, parts.reshape([blocks, columns * columns]), parts).reshape([columns, columns]);
  if (blocks * RUN === rows) return total;
  const rest = a.rows(blocks * RUN, rows);
  const last = matmul(s, rest, rest, { transposeA: true });
  accumulate(s, last, total);
  s.release(last);
  return total;
}

/** Σ of the rows of [count, size], 64 at a time; releases `owner`, the temporary that `x` is a view of. */
function foldRows(s: Scheduler, x: Tensor, owner: Tensor): Tensor {
  const [count, size] = x.shape as [number, number];
  const groups = Math.floor(count / RUN);
  if (groups === 0) {
    const total = sum(s, x, { axis: 0 });
    s.release(owner);
    return total;
  }
  const folded = sum(s, x.rows(0, groups * RUN).reshape([groups, RUN, size]), { axis: 1 });
  const rest = groups * RUN < count ? sum(s, x.rows(groups * RUN, count), { axis: 0 }) : null;
  s.release(owner);
  const total = foldRows(s, folded, folded);
  if (rest) {
    accumulate(s, rest, total);
    s.release(rest);
  }
  return total;
}
