"""
Decompositions of tensors that no single machine holds, on the workers of a Dask cluster.

    from dask.distributed import Client
    from tenfold import cluster

    client = Client("tcp://scheduler:8786")
    result = cluster.cp("s3://bucket/X.zarr", rank=16, client=client)
    result.weights, result.factors, result.report["relativeError"]
"""

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .errors import ClusterError
from .rows import DaskRows, Rows, ZarrRows, rows_of

__all__ = ["ClusterError", "CP", "DaskRows", "Rows", "Tucker", "ZarrRows", "cp", "tucker"]


@dataclass
class CP:
    """A sum of rank-one terms: numpy.einsum('r,ir,jr,kr->ijk', weights, *factors)."""

    weights: np.ndarray
    factors: list
    #: what `tenfold decompose --json` writes, and under `cluster` what the steps took
    report: dict = field(repr=False)


@dataclass
class Tucker:
    """A core, and a matrix with orthonormal columns for each mode."""

    core: np.ndarray
    factors: list
    #: as that of CP
    report: dict = field(repr=False)


def cp(x, rank, client, *, initialize=None, missing=False, memory=None, storage_options=None, verbose=False, **options):
    """
    CP of a Zarr store or a Dask array.

    `x`: a path (`X.zarr`, `store.zarr:group/X`, `s3://bucket/X.zarr`), a Zarr array, or a Dask array.
    `initialize`: "random", "hosvd", or a list of factors to begin with.
    `missing`: entries that are NaN are missing.
    `memory`: bytes of GPU memory a worker, 1 GiB by default; blocks beyond it are read anew in every step.
    Other options are those of `tenfold decompose`: sweeps, tolerance, seed, starts, nonnegative, algorithm, checkpoint.
    """
    with tempfile.TemporaryDirectory() as folder:
        if initialize is not None and not isinstance(initialize, str):
            start = str(Path(folder) / "start.npz")
            np.savez(start, **{f"factor_{mode}": np.asarray(factor, "f4") for mode, factor in enumerate(initialize)})
            initialize = start
        if initialize is not None:
            options["init"] = initialize
        arrays, report = _decompose(folder, x, client, {"rank": rank, **options}, missing, memory, storage_options, verbose)
    return CP(arrays["weights"], [arrays[f"factor_{mode}"] for mode in range(len(report["shape"]))], report)


def tucker(x, ranks, client, *, missing=False, memory=None, storage_options=None, verbose=False, **options):
    """Tucker, by higher-order orthogonal iteration. `ranks` is one number for all modes, or one for each; else as `cp`."""
    ranks = ",".join(str(rank) for rank in np.atleast_1d(ranks))
    with tempfile.TemporaryDirectory() as folder:
        asked = {"method": "tucker", "ranks": ranks, **options}
        arrays, report = _decompose(folder, x, client, asked, missing, memory, storage_options, verbose)
    return Tucker(arrays["core"], [arrays[f"factor_{mode}"] for mode in range(len(report["shape"]))], report)


def _decompose(folder, x, client, options, missing, memory, storage_options, verbose):
    from .asking import run

    rows = rows_of(x, missing, storage_options)
    out, told = Path(folder) / "result.npz", Path(folder) / "report.json"
    words = ["decompose", rows.name, "--out", str(out), "--json", str(told)]
    for name, value in {**options, "missing": missing}.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not None and value is not False:
            words += [f"--{name}", str(value)]
    with tempfile.TemporaryFile() as errors:
        code, steps, failed = run(
            client, rows, words, memory, None if verbose else (lambda _: None), None if verbose else errors
        )
        if code:
            if failed:
                raise failed
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines()
            if code == 130:
                raise KeyboardInterrupt(lines[-1] if lines else "stopped")
            # of a crash, the error stands above its trace
            told = [line for line in lines if "rror: " in line] or lines or [f"the command ended with {code}"]
            message = told[-1].removeprefix("error: ")
            raise ClusterError(message, "INPUT" if code == 2 else "USAGE")
    report = {**json.loads(told.read_text()), "cluster": steps}
    with np.load(out) as file:
        return {name: file[name] for name in file.files}, report
