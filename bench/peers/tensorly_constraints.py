"""TensorLy's part of bench/constraints.ts: answers `data NAME` with tensors and `run SHORT LONG NAME` with ms an iteration, the error, the
processors' ms an iteration, and ms of the long run by the clock and of the processors.

Two threads, f32. The time of an iteration is that of LONG iterations less that of SHORT, divided by their difference.
"""

import base64
import json
import os
import sys
import time
import warnings

for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]:
    os.environ[name] = "2"
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
from tensorly.decomposition import non_negative_parafac_hals, non_negative_tucker_hals, parafac2  # noqa: E402


def cp():
    rng = np.random.default_rng(1)
    factors = [np.maximum(0, rng.random((100, 10)) - 0.3) for _ in range(3)]
    x = np.einsum("ir,jr,kr->ijk", *factors, optimize=True)
    x += 0.1 * np.sqrt(np.mean(x**2)) * rng.standard_normal(x.shape)
    return x.astype(np.float32)


def slices():
    rng = np.random.default_rng(2)
    a, b, c = rng.random((50, 10)) + 0.1, rng.standard_normal((10, 10)), rng.random((40, 10))
    out = []
    for k in range(50):
        q, _ = np.linalg.qr(rng.standard_normal((60 + (k * 37) % 81, 10)))
        x = q @ b @ np.diag(a[k]) @ c.T
        out.append((x + 0.1 * np.sqrt(np.mean(x**2)) * rng.standard_normal(x.shape)).astype(np.float32))
    return out


def run(name, iterations):
    if name.startswith("non-negative CP"):
        _, errors = non_negative_parafac_hals(
            data[name], 10, n_iter_max=iterations, init="random", tol=1e-30, random_state=0, return_errors=True
        )
    elif name.startswith("non-negative Tucker"):
        _, errors = non_negative_tucker_hals(
            data[name], [10, 10, 10], n_iter_max=iterations, init="random", tol=1e-30, random_state=0, return_errors=True
        )
    else:
        _, errors = parafac2(
            data[name], 10, n_iter_max=iterations, init="svd", tol=1e-30, random_state=0, return_errors=True
        )
    return float(errors[-1])


data = {}
for line in sys.stdin:
    words = line.strip().split(" ")
    if words[0] == "data":
        name = " ".join(words[1:])
        data[name] = slices() if name.startswith("PARAFAC2") else cp()
        listed = data[name] if isinstance(data[name], list) else [data[name]]
        print(json.dumps([{"shape": x.shape, "base64": base64.b64encode(x.tobytes()).decode()} for x in listed]), flush=True)
    else:
        short, long, name = int(words[1]), int(words[2]), " ".join(words[3:])
        times, processors = [], []
        for iterations in [short, long]:
            start, started = time.perf_counter(), time.process_time()
            error = run(name, iterations)
            times.append(time.perf_counter() - start)
            processors.append(time.process_time() - started)
        wall, cpu = (1000 * (both[1] - both[0]) / (long - short) for both in [times, processors])
        print(wall, error, cpu, 1000 * times[1], 1000 * processors[1], flush=True)
