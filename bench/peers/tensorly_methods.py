"""TensorLy's part of bench/methods.ts, which asks it in lines of JSON and gets a line for each.

f32, the NumPy backend, one or two threads, whichever is faster (two where threadpoolctl is not installed). Data are planted models with noise, made here from fixed seeds. Errors of both sides are computed here, in
f64, from the numbers of a result: ||X - X^|| / ||X||, of known entries where some are missing, and of all data sets together where there are several.

A case has several ways to call TensorLy: its start, its SVD, its line search, its solver. `choose` tries all of them, and takes the one that is
first at the error that the best of them ends at. Starts of singular vectors are those of `randomized_svd`, which take a tenth of the time of
`truncated_svd`'s. `symeig_svd` is tried for matrices alone: TensorLy 0.10 forms the Gram matrix of the longer side, of a tensor's unfoldings too.
"""

import base64
import contextlib
import json
import os
import platform
import sys
import time
import warnings

for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]:
    os.environ[name] = "2"
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import tensorly as tl  # noqa: E402
from tensorly.contrib.decomposition import tensor_train_cross  # noqa: E402
from tensorly.decomposition import (  # noqa: E402
    constrained_parafac,
    coupled_matrix_tensor_3d_factorization,
    non_negative_parafac_hals,
    non_negative_tucker_hals,
    parafac,
    parafac2,
    partial_tucker,
    tensor_ring,
    tensor_ring_als,
    tensor_ring_als_sampled,
    tensor_train,
    tensor_train_matrix,
    tucker,
)
from tensorly.tenalg.svd import svd_interface  # noqa: E402

try:
    from threadpoolctl import threadpool_limits
except ImportError:
    threadpool_limits = None
try:
    import sklearn
    from sklearn.decomposition import NMF
except ImportError:
    sklearn = None

tl.set_backend("numpy")

# ---- data

NOISE = 0.1


def noisy(model, rng, noise=NOISE):
    """With noise whose norm is this part of the model's."""
    return (model + noise * np.sqrt(np.mean(model**2)) * rng.standard_normal(model.shape)).astype(np.float32)


def cp_data(shape, rank, seed=1, kind="uniform"):
    rng = np.random.default_rng(seed)
    factors = [np.maximum(0, rng.random((extent, rank)) - 0.3) for extent in shape]
    if kind == "normal":
        factors = [rng.standard_normal((extent, rank)) for extent in shape]
    if kind == "peaks":
        at, width = rng.uniform(0.1, 0.9, rank), rng.uniform(0.05, 0.2, rank)
        factors[0] = np.exp(-(((np.arange(shape[0])[:, None] / shape[0] - at) / width) ** 2))
    return [noisy(full("kruskal", [np.ones(rank), *factors]), rng)], factors


def tucker_data(shape, ranks, seed=2, nonnegative=False):
    rng = np.random.default_rng(seed)
    draw = rng.random if nonnegative else rng.standard_normal
    factors = [None if rank == extent else draw((extent, rank)) for extent, rank in zip(shape, ranks)]
    return [noisy(full("tucker", [draw(ranks), *factors]), rng)]


def train_data(shape, rank, seed=3, ring=False):
    rng = np.random.default_rng(seed)
    ranks = [rank if ring else 1, *[rank] * (len(shape) - 1), rank if ring else 1]
    cores = [rng.standard_normal((ranks[k], extent, ranks[k + 1])) for k, extent in enumerate(shape)]
    return [noisy(full("ring" if ring else "train", cores), rng)]


def train_matrix_data(modes, rank, seed=4):
    rng = np.random.default_rng(seed)
    ranks = [1, *[rank] * (len(modes) - 1), 1]
    cores = [rng.standard_normal((ranks[k], extent, extent, ranks[k + 1])) for k, extent in enumerate(modes)]
    return [noisy(full("trainMatrix", cores), rng)]


def function_data(extent, order):
    """1 / (1 + i + j + ...), which trains of small ranks nearly are."""
    sums = sum(np.meshgrid(*[np.arange(extent, dtype=np.float64) * 10 / extent] * order, indexing="ij"))
    return [(1 / (1 + sums)).astype(np.float32)]


def slices_data(count, rows, columns, rank, seed=5):
    """Slices of rows[0] to rows[1] rows."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.random((count, rank)) + 0.1, rng.standard_normal((rank, rank)), rng.random((columns, rank))
    low, high = rows
    out = []
    for k in range(count):
        q, _ = np.linalg.qr(rng.standard_normal((low + (k * 37) % (high - low + 1), rank)))
        out.append(noisy(q @ b @ np.diag(a[k]) @ c.T, rng))
    return out


def coupled_data(shape, columns, rank, seed=6):
    """A tensor, and a matrix with the same norm, so that they count alike in what either library makes small."""
    (x,), factors = cp_data(shape, rank, seed, "normal")
    rng = np.random.default_rng(seed + 100)
    y = noisy(factors[0] @ rng.standard_normal((rank, columns)), rng)
    return [x, (y * (np.linalg.norm(x) / np.linalg.norm(y))).astype(np.float32)]


def matrix_data(shape, rank, seed=7, nonnegative=False):
    rng = np.random.default_rng(seed)
    w, h = (np.maximum(0, rng.random(s) - 0.5) if nonnegative else rng.standard_normal(s) for s in [(shape[0], rank), (rank, shape[1])])
    x = noisy(w @ h, rng)
    return [np.maximum(x, 0) if nonnegative else x]


def with_mask(tensors, seed=8):
    """And a mask: 0 for a fifth of the entries."""
    (x,) = tensors
    return [x, (np.random.default_rng(seed).random(x.shape) >= 0.2).astype(np.float32)]


# ---- models, as lists of arrays

LETTERS = "abcdefgh"


def full(form, parts):
    """The tensor that a model stands for."""
    if form == "kruskal":
        weights, *factors = parts
        modes = LETTERS[: len(factors)]
        # the first factor times all others, so that it is one product of matrices
        rest = np.einsum(",".join(f"{mode}z" for mode in modes[1:]) + "->" + modes[1:] + "z", *factors[1:])
        return ((factors[0] * weights) @ rest.reshape(-1, len(weights)).T).reshape([len(factor) for factor in factors])
    if form == "product":
        return parts[0] @ parts[1]
    if form == "tucker":
        out, *factors = parts
        for mode, factor in enumerate(factors):
            if factor is not None:
                out = np.moveaxis(np.tensordot(factor, out, (1, mode)), 0, mode)
        return out
    if form in ["train", "ring"]:
        out = parts[0]
        for core in parts[1:]:
            out = np.tensordot(out, core, (out.ndim - 1, 0))
        return out[0, ..., 0] if out.shape[0] == out.shape[-1] == 1 else np.einsum("z...z->...", out)
    if form == "trainMatrix":
        out = parts[0]
        for core in parts[1:]:
            out = np.tensordot(out, core, (out.ndim - 1, 0))
        out = out[0, ..., 0]
        rows = int(np.prod([core.shape[1] for core in parts]))
        return out.transpose([*range(0, out.ndim, 2), *range(1, out.ndim, 2)]).reshape(rows, -1)
    raise ValueError(form)


def error(form, data, parts):
    parts = [part if part is None else np.asarray(part, dtype=np.float64) for part in parts]
    if form == "parafac2":
        weights, a, b, c, *projections = parts
        lost = sum(np.sum((x - p @ (b * (weights * row)) @ c.T) ** 2) for x, p, row in zip(data, projections, a))
        return float(np.sqrt(lost / sum(np.sum(x.astype(np.float64) ** 2) for x in data)))
    if form == "coupled":
        models = [full("kruskal", parts[:4]), full("kruskal", parts[4:])]
        lost = sum(np.sum((x - model) ** 2) for x, model in zip(data, models))
        return float(np.sqrt(lost / sum(np.sum(x.astype(np.float64) ** 2) for x in data)))
    x, model = data[0].astype(np.float64), full(form.removeprefix("masked "), parts)
    if form.startswith("masked "):
        x, model = x * data[1], model * data[1]
    return float(np.linalg.norm(x - model) / np.linalg.norm(x))


def kruskal(model):
    weights, factors = model
    return [np.ones(factors[0].shape[1]) if weights is None else weights, *factors]


def flat(model):
    return [model[0], *model[1]]


# ---- cases

STARTS = ["svd", "random"]
SVDS = ["truncated_svd", "randomized_svd"]
ALL_SVDS = [*SVDS, "symeig_svd"]
COMMON = {"random_state": 0}
QUICK = {"svd": "randomized_svd", **COMMON}


def parafac_ways(rank):
    # a line search needs errors: with a tolerance below 0, which is never met
    for start in STARTS:
        for search in [False, True]:
            yield f"{start} start{', line search' if search else ''}", lambda data, n, start=start, search=search: kruskal(
                parafac(data[0], rank, n_iter_max=n, init=start, linesearch=search, tol=-1 if search else 0, **QUICK)
            )


def nonnegative_ways(rank):
    for start in STARTS:
        yield f"{start} start", lambda data, n, start=start: kruskal(
            non_negative_parafac_hals(data[0], rank, n_iter_max=n, init=start, tol=0, **QUICK)
        )


def constrained_ways(rank, **constraints):
    for start in STARTS:
        for inner in [10, 1]:
            yield f"{start} start, {inner} inner", lambda data, n, start=start, inner=inner: kruskal(
                constrained_parafac(
                    data[0], rank, n_iter_max=n, n_iter_max_inner=inner, init=start, tol_outer=0, **QUICK, **constraints
                )
            )


def masked_ways(rank):
    for start in STARTS:
        yield f"{start} start", lambda data, n, start=start: kruskal(
            parafac(data[0], rank, n_iter_max=n, init=start, tol=0, mask=data[1], **QUICK)
        )


def known_factor(shape, rank):
    """The first factor is known, and the third tensor of the data."""
    (x,), factors = cp_data(shape, rank, 9, "normal")
    return [x, factors[0].astype(np.float32)]


def known_ways(rank):
    def run(data, n):
        x, known = data
        rng = np.random.default_rng(0)
        start = [known.copy(), *[rng.random((extent, rank)).astype(np.float32) for extent in x.shape[1:]]]
        init = (np.ones(rank, dtype=np.float32), start)
        return kruskal(parafac(x, rank, n_iter_max=n, init=init, fixed_modes=[0], tol=0, **COMMON))

    yield "random start", run


def tucker_ways(ranks, svds=SVDS, sweeps=None, masked=False):
    for svd in svds:
        yield f"{svd}", lambda data, n, svd=svd: flat(
            tucker(
                data[0],
                ranks,
                n_iter_max=n if sweeps is None else sweeps,
                svd=svd,
                tol=0,
                mask=data[1] if masked else None,
                **COMMON,
            )
        )


def partial_ways(ranks, modes, order, svds=SVDS):
    def parts(model):
        (core, factors), _ = model
        return [core, *[factors[modes.index(mode)] if mode in modes else None for mode in range(order)]]

    for svd in svds:
        yield svd, lambda data, n, svd=svd: parts(
            partial_tucker(data[0], ranks, modes=modes, n_iter_max=n, svd=svd, tol=0, **COMMON)
        )


def nonnegative_tucker_ways(ranks):
    # non-negative parts of randomized_svd's vectors were NaN
    for start in STARTS:
        yield f"{start} start", lambda data, n, start=start: flat(
            non_negative_tucker_hals(data[0], ranks, n_iter_max=n, init=start, tol=0, **COMMON)
        )


def parafac2_ways(rank, **options):
    def parts(model):
        weights, factors, projections = model
        return [weights, *factors, *projections]

    for start in STARTS:
        for search in [True, False]:
            # a line search needs errors, which are left out where there is none
            tol = 1e-30 if search else 0
            yield f"{start} start{', line search' if search else ''}", lambda data, n, start=start, search=search, tol=tol: parts(
                parafac2(data, rank, n_iter_max=n, init=start, linesearch=search, tol=tol, **COMMON, **options)
            )


def coupled_ways(rank):
    for start in STARTS:

        def run(data, n, start=start):
            # it takes no seed
            np.random.seed(0)
            x, y, _ = coupled_matrix_tensor_3d_factorization(*data, rank, init=start, n_iter_max=n, tol=-1)
            return [*kruskal(x), *kruskal(y)]

        yield f"{start} start", run


def train_ways(ranks, svds=SVDS):
    for svd in svds:
        yield svd, lambda data, _, svd=svd: list(tensor_train(data[0], list(ranks), svd=svd, **COMMON))


def train_matrix_ways(modes, ranks, svds=SVDS):
    for svd in svds:
        yield svd, lambda data, _, svd=svd: list(
            tensor_train_matrix(data[0].reshape([*modes, *modes]), list(ranks), svd=svd, **COMMON)
        )


def cross_ways(ranks):
    yield "tol 1e-4", lambda data, _: list(tensor_train_cross(data[0], list(ranks), tol=1e-4, **COMMON))


def ring_ways(ranks, svds=SVDS):
    for svd in svds:
        yield svd, lambda data, _, svd=svd: list(tensor_ring(data[0], list(ranks), svd=svd, **COMMON))


def ring_als_ways(ranks, samples=None):
    for solve in ["lstsq", "normal_eq"]:
        yield solve, lambda data, n, solve=solve: list(
            tensor_ring_als(data[0], list(ranks), ls_solve=solve, n_iter_max=n, tol=0, **COMMON)
        )
    if samples:
        yield f"{samples} samples", lambda data, n: list(
            tensor_ring_als_sampled(data[0], list(ranks), samples, n_iter_max=n, tol=0, **COMMON)
        )


def svd_ways(rank, svds=ALL_SVDS):
    for svd in svds:

        def run(data, _, svd=svd):
            u, s, v = svd_interface(data[0], method=svd, n_eigenvecs=rank, **COMMON)
            return [s, u, v.T]

        yield svd, run


def nmf_ways(rank):
    for start in ["nndsvd", "nndsvda", "random"]:

        def run(data, n, start=start):
            model = NMF(rank, init=start, solver="cd", tol=0, max_iter=n, random_state=0)
            w = model.fit_transform(data[0])
            return [w, model.components_]

        yield f"{start} start", run


PARTIAL = [1, 2]

# name: what TensorLy's function is called, the form of its model, data, ways; and whether it is one call without iterations
CASES = {
    "CP 100³ R10": ("parafac", "kruskal", lambda: cp_data([100] * 3, 10)[0], parafac_ways(10), False),
    "CP 200³ R16": ("parafac", "kruskal", lambda: cp_data([200] * 3, 16)[0], parafac_ways(16), False),
    "CP, 7 of 10 columns alike, 60³ R10": ("parafac", "kruskal", lambda: alike_data(), parafac_ways(10), False),
    "non-negative CP 100³ R10": (
        *("non_negative_parafac_hals", "kruskal"),
        *(lambda: cp_data([100] * 3, 10)[0], nonnegative_ways(10), False),
    ),
    "non-negative CP 200³ R16": (
        *("non_negative_parafac_hals", "kruskal"),
        *(lambda: cp_data([200] * 3, 16)[0], nonnegative_ways(16), False),
    ),
    "unimodal CP 100×60×60 R4": (
        *("constrained_parafac", "kruskal", lambda: cp_data([100, 60, 60], 4, 10, "peaks")[0]),
        *(constrained_ways(4, unimodality={0: True}), False),
    ),
    "CP with a known factor 100³ R10": (
        *("parafac", "kruskal", lambda: known_factor([100] * 3, 10), known_ways(10), False),
    ),
    "CP, a fifth missing, 100³ R10": (
        *("parafac", "masked kruskal", lambda: with_mask(cp_data([100] * 3, 10)[0]), masked_ways(10), False),
    ),
    "PARAFAC2 50 slices of 60–140×40 R10": (
        *("parafac2", "parafac2", lambda: slices_data(50, [60, 140], 40, 10), parafac2_ways(10), False),
    ),
    "PARAFAC2 200 slices of 100–300×60 R10": (
        *("parafac2", "parafac2", lambda: slices_data(200, [100, 300], 60, 10), parafac2_ways(10), False),
    ),
    "PARAFAC2, A non-negative, 50 slices of 60–140×40 R10": (
        *("parafac2", "parafac2", lambda: slices_data(50, [60, 140], 40, 10), parafac2_ways(10, nn_modes=[0]), False),
    ),
    "coupled 60³ and 60×100 R5": (
        *("coupled_matrix_tensor_3d_factorization", "coupled"),
        *(lambda: coupled_data([60] * 3, 100, 5), coupled_ways(5), False),
    ),
    "coupled 120×100×80 and 120×300 R8": (
        *("coupled_matrix_tensor_3d_factorization", "coupled"),
        *(lambda: coupled_data([120, 100, 80], 300, 8), coupled_ways(8), False),
    ),
    "HOSVD 60³ → 8³": ("tucker, no sweeps", "tucker", lambda: tucker_data([60] * 3, [8] * 3), tucker_ways([8] * 3, sweeps=0), True),
    "HOSVD 200³ → 16³": (
        *("tucker, no sweeps", "tucker", lambda: tucker_data([200] * 3, [16] * 3)),
        *(tucker_ways([16] * 3, sweeps=0), True),
    ),
    "Tucker 60³ → 8³": ("tucker", "tucker", lambda: tucker_data([60] * 3, [8] * 3), tucker_ways([8] * 3), False),
    "Tucker 200³ → 16³": ("tucker", "tucker", lambda: tucker_data([200] * 3, [16] * 3), tucker_ways([16] * 3), False),
    "Tucker, a fifth missing, 60³ → 8³": (
        *("tucker", "masked tucker", lambda: with_mask(tucker_data([60] * 3, [8] * 3))),
        *(tucker_ways([8] * 3, masked=True), False),
    ),
    "Tucker of two modes 1000×64×64 → 10×10": (
        *("partial_tucker", "tucker", lambda: tucker_data([1000, 64, 64], [1000, 10, 10])),
        *(partial_ways([10, 10], PARTIAL, 3), False),
    ),
    "non-negative Tucker 100³ → 10³": (
        *("non_negative_tucker_hals", "tucker", lambda: tucker_data([100] * 3, [10] * 3, nonnegative=True)),
        *(nonnegative_tucker_ways([10] * 3), False),
    ),
    "non-negative Tucker 200×150×100 → 12×10×8": (
        *("non_negative_tucker_hals", "tucker"),
        *(lambda: tucker_data([200, 150, 100], [12, 10, 8], nonnegative=True),),
        *(nonnegative_tucker_ways([12, 10, 8]), False),
    ),
    "tensor train 20⁴, ranks 8": (
        *("tensor_train", "train", lambda: train_data([20] * 4, 8), train_ways([1, 8, 8, 8, 1]), True),
    ),
    "tensor train 12⁶, ranks 10": (
        *("tensor_train", "train", lambda: train_data([12] * 6, 10), train_ways([1, *[10] * 5, 1]), True),
    ),
    "tensor train 200³, ranks 16": (
        *("tensor_train", "train", lambda: train_data([200] * 3, 16), train_ways([1, 16, 16, 1]), True),
    ),
    "train of a matrix 512², modes 8, ranks 16": (
        *("tensor_train_matrix", "trainMatrix", lambda: train_matrix_data([8] * 3, 16)),
        *(train_matrix_ways([8] * 3, [1, 16, 16, 1]), True),
    ),
    "train of a matrix 2197², modes 13, ranks 16": (
        *("tensor_train_matrix", "trainMatrix", lambda: train_matrix_data([13] * 3, 16)),
        *(train_matrix_ways([13] * 3, [1, 16, 16, 1]), True),
    ),
    "train from few entries 30⁴, ranks 6": (
        *("tensor_train_cross", "train", lambda: function_data(30, 4), cross_ways([1, 6, 6, 6, 1]), True),
    ),
    "tensor ring 20⁴, ranks 4": (
        *("tensor_ring", "ring", lambda: function_data(20, 4), ring_ways([4] * 5), True),
    ),
    "tensor ring 50⁴, ranks 4": (
        *("tensor_ring", "ring", lambda: function_data(50, 4), ring_ways([4] * 5), True),
    ),
    "tensor ring by ALS 20⁴, ranks 4": (
        *("tensor_ring_als", "ring", lambda: train_data([20] * 4, 4, ring=True), ring_als_ways([4] * 5, 2000), False),
    ),
    "tensor ring by ALS 40⁴, ranks 4": (
        *("tensor_ring_als", "ring", lambda: train_data([40] * 4, 4, ring=True), ring_als_ways([4] * 5, 5000), False),
    ),
    "truncated SVD 500×300 R20": ("truncated_svd", "kruskal", lambda: matrix_data([500, 300], 20), svd_ways(20), True),
    "truncated SVD 2000×1000 R20": ("truncated_svd", "kruskal", lambda: matrix_data([2000, 1000], 20), svd_ways(20), True),
    "NMF 500×300 R10": (
        *("NMF", "product", lambda: matrix_data([500, 300], 10, nonnegative=True), nmf_ways(10), False),
    ),
    "NMF 2000×1000 R20": (
        *("NMF", "product", lambda: matrix_data([2000, 1000], 20, nonnegative=True), nmf_ways(20), False),
    ),
}


def alike_data():
    """Seven of ten columns of every factor have cosines of 0.8 with each other, as those of mixtures do: alternating least squares creeps."""
    rng = np.random.default_rng(11)
    factors = []
    for _ in range(3):
        basis, _ = np.linalg.qr(rng.standard_normal((60, 11)))
        columns = basis[:, 1:].copy()
        columns[:, :7] = np.sqrt(0.8) * basis[:, :1] + np.sqrt(0.2) * columns[:, :7]
        factors.append(columns)
    return [noisy(full("kruskal", [np.ones(10), *factors]), rng, 0.02)]


# ---- answers

ROOM = 1e-3
"""how much larger than the least error another may be and still count as the same"""


def threads(count):
    return threadpool_limits(limits=count) if threadpool_limits and count else contextlib.nullcontext()


class Case:
    def __init__(self, name):
        self.name = name
        self.function, self.form, make, ways, self.is_direct = CASES[name]
        self.data = make()
        self.ways = dict(ways)
        CASES[name] = (self.function, self.form, make, list(self.ways.items()), self.is_direct)
        self.way, self.threads, self.choices = None, 1, {}

    def tensors(self):
        return [pack(x) for x in self.data]

    def error(self, parts):
        return error(self.form, self.data, parts)

    def time(self, way, iterations):
        with threads(self.threads):
            start, started = time.perf_counter(), time.process_time()
            parts = self.ways[way](self.data, iterations)
            ms, cpu = 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - started)
        return ms, cpu, parts

    def choose(self, long):
        """The way that is first at the least error that any ends at, and the iterations that it takes."""
        ends, failed, self.threads = {}, {}, 1 if threadpool_limits else None
        for way in self.ways:
            try:
                ms, _, parts = self.time(way, long)
                if ms < 500:
                    # the first call may have waited for something
                    ms = min(ms, self.time(way, long)[0])
                ends[way] = (self.error(parts), ms)
            except Exception as reason:
                failed[way] = f"{type(reason).__name__}: {reason}"
        finite = {way: end for way, end in ends.items() if np.isfinite(end[0])}
        if not finite:
            return {"failed": failed}
        goal = (1 + ROOM) * min(end for end, _ in finite.values())
        reached = {way: end for way, end in finite.items() if end[0] <= goal}
        # ways that take five times as long as the fastest are not looked at further
        quick = 5 * min(ms for _, ms in reached.values())
        best = None
        for way, (end, ms) in reached.items():
            iterations = long
            if not self.is_direct and ms <= quick:
                low = 0
                while iterations - low > 1:
                    middle = (low + iterations) // 2
                    took, _, parts = self.time(way, middle)
                    at = self.error(parts)
                    if at <= goal:
                        iterations, end, ms = middle, at, took
                    else:
                        low = middle
            if best is None or ms < best["ms"]:
                best = {"way": way, "goal": goal, "iterations": iterations, "error": end, "ms": ms}
        self.way = best["way"]
        if threadpool_limits:
            alone = min(best["ms"], self.time(self.way, best["iterations"])[0])
            self.threads = 2
            # what is hardly faster here may be slower in the next run
            if self.time(self.way, best["iterations"])[0] > 0.9 * alone:
                self.threads = 1
        tried = {way: {"error": end, "ms": ms} for way, (end, ms) in ends.items()}
        return {**best, "threads": self.threads or 2, "tried": tried, "failed": failed}


def pack(x):
    x = np.ascontiguousarray(x, dtype=np.float32)
    return {"shape": list(x.shape), "base64": base64.b64encode(x.tobytes()).decode()}


def unpack(part):
    return part and np.frombuffer(base64.b64decode(part["base64"]), dtype=np.float32).reshape(part["shape"])


def versions():
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "TensorLy": tl.__version__,
        **({"scikit-learn": sklearn.__version__} if sklearn else {}),
        "BLAS": f"{blas['name']} {blas['version']}",
    }


def answer(asked, case):
    do = asked["do"]
    if do == "names":
        missing = [] if sklearn else [name for name, of in CASES.items() if of[0] == "NMF"]
        return {"names": list(CASES), "missing": missing, "versions": versions(), "functions": {name: of[0] for name, of in CASES.items()}}
    if do == "open":
        return {"tensors": case.tensors(), "form": case.form, "isDirect": case.is_direct}
    if do == "choose":
        long = asked["long"]
        if long not in case.choices:
            case.choices[long] = case.choose(long)
        return case.choices[long]
    if do == "time":
        ms, cpu, _ = case.time(case.way, asked["iterations"])
        return {"ms": ms, "cpu": cpu}
    return {"error": case.error([unpack(part) for part in asked["parts"]])}


opened = None
for line in sys.stdin:
    asked = json.loads(line)
    try:
        if asked["do"] == "open" and not (opened and opened.name == asked["case"]):
            opened = None
            opened = Case(asked["case"])
        reply = answer(asked, opened)
    except Exception as reason:
        reply = {"refused": f"{type(reason).__name__}: {reason}"}
    print(json.dumps(reply), flush=True)
