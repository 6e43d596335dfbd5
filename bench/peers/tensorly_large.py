"""What TensorLy takes for a tensor like that of `node bench/large.mjs slices`: seconds, relative error and peak resident memory after each method.

    python bench/peers/tensorly_large.py [ROWS] [SIDE] [RANK]

12, 2900 and 5 by default; two threads, f32. The whole tensor is in memory.
"""

import os
import resource
import sys
import time

for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]:
    os.environ[name] = "2"

import numpy as np  # noqa: E402
import tensorly as tl  # noqa: E402
from tensorly.decomposition import tensor_train, tucker  # noqa: E402

rows, side, rank = (int(word) for word in (sys.argv[1:] + ["12", "2900", "5"][len(sys.argv) - 1 :]))
rng = np.random.default_rng(1)
a, b, c = (rng.uniform(-1, 1, (extent, rank)).astype(np.float32) for extent in [rows, side, side])
x = np.empty((rows, side, side), np.float32)
noise = np.float32(0.1 * np.sqrt(rank / 9))
for k in range(rows):
    x[k] = (b * a[k]) @ c.T
    x[k] += noise * rng.uniform(-1, 1, (side, side)).astype(np.float32)


def peak():
    return f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB resident"


print(f"the tensor: {x.nbytes / 1e6:.0f} MB, {peak()}", flush=True)
for name, run in [
    ("tensor_train", lambda: tl.tt_to_tensor(tensor_train(x, [1, rank, rank, 1]))),
    ("tucker", lambda: tl.tucker_to_tensor(tucker(x, [rank] * 3, n_iter_max=5, tol=0))),
]:
    start = time.perf_counter()
    full = run()
    seconds = time.perf_counter() - start
    print(f"{name}: error {np.linalg.norm(x - full) / np.linalg.norm(x):.7f}, {seconds:.0f} s, {peak()}", flush=True)
