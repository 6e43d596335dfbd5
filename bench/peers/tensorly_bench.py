"""TensorLy's rows of the benchmark: the same cases on NumPy (CPU) and, where it finds a device, on PyTorch (CUDA). Where there is
PyTorch, the rows of torch.linalg's svd, eigh and qr too, on CUDA or else on the CPU.

    python tensorly_bench.py cases.json rows.json [rounds seconds]

`npm run bench -- --tensorly python3` writes the first file, runs this and joins what it writes to the table. Needs numpy and
tensorly; torch where there is one. Inputs are the same numbers as everywhere (a hash of seed and index); results
are held against the same computation in float64. Not interleaved with the other rows: it runs before them.
"""

import json
import sys
import time

import numpy as np
import tensorly as tl
from tensorly.decomposition import parafac, tucker
from tensorly.tenalg import mode_dot, unfolding_dot_khatri_rao
from tensorly.tenalg.svd import truncated_svd

SWEEPS = 4  # of a call beyond its first, which pays for what a call does once (norms, checks)


def mix(x):
    """lowbias32, as in bench/inputs.ts."""
    x = x.astype(np.uint32)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def values(spec):
    shape = spec["shape"]
    low, high = spec.get("low", -1), spec.get("high", 1)
    start = int(mix(np.array([spec["seed"]], dtype=np.uint32))[0])
    index = np.arange(int(np.prod(shape)), dtype=np.uint64) + start
    hashed = mix((index & 0xFFFFFFFF).astype(np.uint32)).astype(np.float64)
    return (low + hashed * ((high - low) / 2**32)).astype(np.float32).reshape(shape)


def planted(spec):
    shape, rank, noise = spec["shape"], spec["rank"], spec["noise"]
    factors = made(spec, rank)
    full = np.einsum("ir,jr,kr->ijk", *[f.astype(np.float64) for f in factors], optimize=True)
    return (full + values({"shape": shape, "seed": spec["seed"], "low": -noise, "high": noise})).astype(np.float32)


def made(spec, rank):
    return [
        values({"shape": [extent, rank], "seed": spec["seed"] * 16 + mode + 1})
        for mode, extent in enumerate(spec["shape"])
    ]


def relative(got, want):
    return float(np.max(np.abs(got - want)) / np.max(np.abs(want)))


def symmetric(spec):
    m = values(spec)
    return (m + m.T) / np.float32(2)


def positive(spec):
    m = values(spec).astype(np.float64)
    return (m.T @ m / len(m) + np.eye(len(m))).astype(np.float32)


def moderate(spec):
    m = values(spec)
    return (m / np.sqrt(len(m)) + 2 * np.eye(len(m))).astype(np.float32)


def cp_sweeps(x, start, count):
    """Sweeps of ALS by TensorLy's own loop; weights and factors."""
    rank = start[0].shape[1]
    return parafac(
        x,
        rank,
        n_iter_max=count,
        init=(tl.ones(rank, **tl.context(x)), start),
        normalize_factors=False,
        tol=0,
        linesearch=False,
    )


def modelled(spec):
    """As in bench/inputs.ts."""
    shape, rank, cosine, noise = spec["shape"], spec["rank"], spec["cosine"], spec["noise"]
    factors = []
    for mode, extent in enumerate(shape):
        columns = rank if cosine is None else rank + 1
        basis = values({"shape": [extent, columns], "seed": spec["seed"] * 16 + mode + 1}).astype(np.float64)
        if cosine is not None:
            q, r = np.linalg.qr(basis)
            q = q * np.sign(np.diag(r))
            basis = np.sqrt(cosine) * q[:, :1] + np.sqrt(1 - cosine) * q[:, 1:]
        factors.append(basis)
    model = full_of([np.ones(rank), *factors])
    bound = noise * np.sqrt(3 * np.mean(model**2))
    added = values({"shape": shape, "seed": spec["seed"]})
    return (model + bound * added.astype(np.float64)).astype(np.float32)


class Reached(Exception):
    pass


PATIENCE = 30  # seconds of a way of calling parafac, looks at the error included, before it is given up


def to_error(work, wanted, party):
    """CP until ||X - X^|| / ||X|| is as small as asked for, in the way of calling parafac that gets there first.

    The sweep that reaches the error is found by a callback that computes it in float64, more and more seldom; it is not timed. What is
    timed is a call with just so many sweeps and no test of convergence.
    """
    x64 = modelled(work["x"]).astype(np.float64)
    norm = np.linalg.norm(x64)
    error_of = lambda cp: float(
        np.linalg.norm(x64 - full_of([np.asarray(party.download(part), dtype=np.float64) for part in flat(cp)])) / norm
    )
    best, nearest = None, (np.inf, "")
    for dtype in ["float32", "float64"]:
        x = party.upload(x64.astype(dtype))
        for options in [{"init": "random", "random_state": 0}, {"init": "svd"}]:
            for linesearch in [False, True]:
                # a tolerance below 0 is never met; with 0 no error is computed, which line search and the callback need
                call = lambda count, callback=None: parafac(
                    x,
                    work["rank"],
                    n_iter_max=count,
                    tol=-1 if linesearch or callback else 0,
                    linesearch=linesearch,
                    callback=callback,
                    **options,
                )
                sweeps, error, next_look, begun = -1, np.inf, 1, time.perf_counter()

                def look(cp, _):
                    nonlocal sweeps, error, next_look
                    # the first call is that of the start
                    sweeps += 1
                    if sweeps < next_look and sweeps < work["sweeps"]:
                        return
                    next_look = sweeps + max(1, sweeps // 16)
                    error = error_of(cp)
                    if error <= wanted or time.perf_counter() - begun > PATIENCE:
                        raise Reached

                try:
                    call(work["sweeps"], look)
                except Reached:
                    pass
                way = f"parafac {options['init']}{', line search' if linesearch else ''}, {dtype}, {sweeps} sweeps"
                if error < nearest[0]:
                    nearest = (error, way)
                if error > wanted:
                    continue
                started = time.perf_counter()
                result = call(sweeps)
                party.wait()
                spent = time.perf_counter() - started
                reached = error_of(result)
                if reached <= wanted and (best is None or spent < best[0]):
                    best = (spent, way, lambda call=call, sweeps=sweeps: call(sweeps), reached)
    if best is None:
        return {"error": nearest[0], "way": nearest[1], "samples": []}
    return best


def full_of(parts):
    weights, *factors = parts
    letters = "abcdefg"[: len(factors)]
    return np.einsum("z," + ",".join(f"{letter}z" for letter in letters) + "->" + letters, weights, *factors, optimize=True)


class Work:
    """Operands in float32, what is computed from them, and the error of a result."""

    def __init__(self, operands, compute, error, sweeps=None):
        self.operands, self.compute, self.error = operands, compute, error
        # (count, *operands) of a computation whose sweeps are timed; `compute` is one of them
        self.sweeps = sweeps


def case_of(work):
    """What TensorLy does of a case; None where it has nothing for it (convolutions, training)."""
    op = work["op"]
    if op == "matmul":
        a, b = values(work["a"]), values(work["b"])
        columns = slice(0, None, max(1, b.shape[1] // 16))
        want = a.astype(np.float64) @ b[:, columns].astype(np.float64)
        return Work([a, b], lambda x, y: tl.matmul(x, y), lambda got: relative(got[:, columns], want))
    if op == "gram":
        a = values(work["a"])
        want = a.astype(np.float64).T @ a.astype(np.float64)
        return Work([a], lambda x: tl.matmul(tl.transpose(x), x), lambda got: relative(got, want))
    if op == "eigen":
        a = symmetric(work["a"])
        error = lambda w, v: relative(v * w @ v.T, a.astype(np.float64)) + orthonormal_loss(v)
        return Work([a], lambda x: list(tl.eigh(x)), error)
    if op == "svd":
        a = moderate(work["a"])
        error = lambda u, s, vt: relative(u * s @ vt, a.astype(np.float64)) + orthonormal_loss(u) + orthonormal_loss(vt.T)
        return Work([a], lambda x: list(truncated_svd(x)), error)
    if op == "cholesky":
        a, b = positive(work["a"]), values(work["b"])
        want = np.linalg.solve(a.astype(np.float64), b.astype(np.float64).T).T
        return Work([a, b], lambda x, y: tl.transpose(tl.solve(x, tl.transpose(y))), lambda got: relative(got, want))
    if op == "orthogonalise":
        a = values(work["a"])
        error = lambda q, r: relative(q @ r, a.astype(np.float64)) + orthonormal_loss(q)
        return Work([a], lambda x: list(tl.qr(x)), error)
    if op == "modeProduct":
        x, u, mode = values(work["x"]), values(work["u"]), work["mode"]
        want = np.moveaxis(np.tensordot(u.astype(np.float64), x.astype(np.float64), (1, mode)), 0, mode)
        return Work([x, u], lambda t, m: mode_dot(t, m, mode), lambda got: relative(got, want))
    if op == "mttkrp":
        x, factors, mode = values(work["x"]), [values(f) for f in work["factors"]], work["mode"]
        others = [f.astype(np.float64) for i, f in enumerate(factors) if i != mode]
        unfolded = np.moveaxis(x, mode, 0).reshape(x.shape[mode], -1)
        rows = slice(0, None, max(1, x.shape[mode] // 16))
        want = unfolded[rows].astype(np.float64) @ khatri_rao_64(others)
        compute = lambda t, *given: unfolding_dot_khatri_rao(t, (None, list(given)), mode)  # skips the one of `mode`
        return Work([x, *factors], compute, lambda got: relative(got[rows], want))
    if op == "cpSweep":
        x, start = planted(work["x"]), [values(f) for f in work["factors"]]
        want = tl.cp_to_tensor(cp_sweeps(x.astype(np.float64), [f.astype(np.float64) for f in start], 1))
        scale = np.sqrt(np.mean(want**2))

        def error(weights, *factors):
            full = np.einsum("r,ir,jr,kr->ijk", weights, *factors, optimize=True)
            return float(np.sqrt(np.mean((full - want) ** 2)) / scale)

        sweeps = lambda count, t, *given: flat(cp_sweeps(t, list(given), count))
        return Work([x, *start], lambda *given: sweeps(1, *given), error, sweeps)
    if op == "hooiSweep":
        x, ranks = planted(work["x"]), work["ranks"]
        bases = [np.linalg.qr(f.astype(np.float64))[0] for f in made(work["x"], work["x"]["rank"])]
        core = np.einsum("ijk,ia,jb,kc->abc", x.astype(np.float64), *bases, optimize=True)

        def error(_, *factors):
            got = np.einsum("ijk,ia,jb,kc->abc", x.astype(np.float64), *factors, optimize=True)
            loss = max(orthonormal_loss(f) for f in factors)
            return float(max(0, loss, 1 - np.sum(got**2) / np.sum(core**2)))

        def sweeps(count, t, *given):
            zeros = tl.zeros(tuple(ranks), **tl.context(t))
            return flat(tucker(t, ranks, n_iter_max=count, init=(zeros, list(given)), tol=0))

        # near the answer, as the other rows start
        start = [np.linalg.qr(2 * m + values(f))[0].astype(np.float32) for m, f in zip(made(work["x"], work["x"]["rank"]), work["factors"])]
        return Work([x, *start], lambda *given: sweeps(1, *given), error, sweeps)
    return None


def orthonormal_loss(q):
    return float(np.max(np.abs(q.T @ q - np.eye(q.shape[1]))))


def khatri_rao_64(matrices):
    out = matrices[0]
    for matrix in matrices[1:]:
        out = (out[:, None, :] * matrix[None, :, :]).reshape(-1, matrix.shape[1])
    return out


def flat(decomposed):
    first, factors = decomposed
    return [first, *factors]


class Party:
    """Who computes, and where its arrays are. `solvers` by op take the place of what TensorLy computes; None for TensorLy's own."""

    def __init__(self, name, backend, upload, wait, download, solvers=None):
        self.name, self.backend, self.solvers = name, backend, solvers
        self.upload, self.wait, self.download = upload, wait, download


def parties():
    yield Party(f"TensorLy {tl.__version__} on NumPy (CPU)", "numpy", lambda a: a, lambda: None, np.asarray)
    try:
        import torch
    except ImportError:
        return
    cuda = torch.cuda.is_available()
    upload = lambda a: torch.from_numpy(a).cuda() if cuda else torch.from_numpy(a)
    wait = torch.cuda.synchronize if cuda else lambda: None
    download = lambda t: t.cpu().numpy() if hasattr(t, "cpu") else np.asarray(t)
    where = f"CUDA, {torch.cuda.get_device_name()}" if cuda else "CPU"
    if cuda:
        name = f"TensorLy {tl.__version__} on PyTorch {torch.__version__} ({where})"
        yield Party(name, "pytorch", upload, wait, download)
    solvers = {
        "svd": lambda x: list(torch.linalg.svd(x, full_matrices=False)),
        "eigen": lambda x: list(torch.linalg.eigh(x)),
        "orthogonalise": lambda x: list(torch.linalg.qr(x)),
    }
    yield Party(f"torch.linalg {torch.__version__} ({where})", "numpy", upload, wait, download, solvers)


def measure(party, case, rounds, seconds):
    op = case["work"]["op"]
    if party.solvers and op not in party.solvers:
        return None
    if op == "cpToError":
        tl.set_backend(party.backend)
        outcome = to_error(case["work"], case["tolerance"], party)
        if isinstance(outcome, dict):
            return outcome
        _, way, compute, error = outcome
        samples, begun = [], time.perf_counter()
        while len(samples) < rounds and (len(samples) < 3 or time.perf_counter() - begun < seconds):
            started = time.perf_counter()
            compute()
            party.wait()
            samples.append(1000 * (time.perf_counter() - started))
        return {"error": error, "way": way, "samples": samples}
    # references are NumPy's; only what is timed is the backend's
    tl.set_backend("numpy")
    work = case_of(case["work"])
    if work is None:
        return None
    tl.set_backend(party.backend)
    compute = party.solvers[op] if party.solvers else work.compute
    resident = [party.upload(operand) for operand in work.operands]
    found = compute(*resident)
    party.wait()
    parts = found if isinstance(found, list) else [found]
    results = [np.asarray(party.download(part), dtype=np.float64) for part in parts]
    error = work.error(*results)
    if not error <= case["tolerance"]:
        # what is wrong is not timed; JSON has no NaN
        return {"error": error if np.isfinite(error) else 1e300, "samples": []}

    def timed(compute, repetitions):
        started = time.perf_counter()
        for _ in range(repetitions):
            compute(*resident)
        party.wait()
        return 1000 * (time.perf_counter() - started) / repetitions

    repetitions = 1
    while repetitions < 512 and timed(compute, repetitions) * repetitions < 100:
        repetitions *= 2
    samples, begun = [], time.perf_counter()
    while len(samples) < rounds and (len(samples) < 3 or time.perf_counter() - begun < seconds):
        if work.sweeps:
            longer = timed(lambda *given: work.sweeps(1 + SWEEPS, *given), repetitions)
            samples.append((longer - timed(compute, repetitions)) / SWEEPS)
        else:
            samples.append(timed(compute, repetitions))
    return {"error": error, "samples": samples}


def main(cases_file, rows_file, rounds="9", seconds="5"):
    with open(cases_file) as file:
        cases = json.load(file)
    rows = []
    for party in parties():
        for case in cases:
            try:
                row = measure(party, case, int(rounds), float(seconds))
            except Exception as problem:  # one case must not take the others with it
                row = {"error": None, "samples": [], "message": f"{type(problem).__name__}: {problem}"}
            if row is not None:
                rows.append({"case": case["name"], "party": party.name, **row})
                print(f"{party.name}: {case['name']}", file=sys.stderr)
    with open(rows_file, "w") as file:
        json.dump(rows, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
