"""
CP in a notebook, computed by WebGPU in the browser that shows the notebook: on any GPU, without CUDA, also where Python runs on a server.

    import tenfold

    result = tenfold.cp(x, rank=4)
    result                      # shows how far it is

    result.weights, result.factors   # in the next cell: NumPy arrays
"""

from pathlib import Path

import anywidget
import numpy as np
import traitlets

_MODULE = Path(__file__).parent / "tenfold.js"


def _float_bytes(numbers):
    return np.ascontiguousarray(numbers, "<f4").tobytes()


class CP(anywidget.AnyWidget):
    """A CP model of a tensor, and how far the browser is with it."""

    _esm = _MODULE if _MODULE.exists() else "export default {};"

    x = traitlets.Bytes().tag(sync=True)
    shape = traitlets.List(traitlets.Int()).tag(sync=True)
    options = traitlets.Dict().tag(sync=True)
    #: waiting, running, done or failed
    state = traitlets.Unicode("waiting").tag(sync=True)
    failure = traitlets.Unicode("").tag(sync=True)
    adapter = traitlets.Unicode("").tag(sync=True)
    iteration = traitlets.Int(0).tag(sync=True)
    #: of the model so far, and of the result in the end: the norm of what it leaves of x, divided by that of x
    relative_error = traitlets.Float(1.0).tag(sync=True)
    converged = traitlets.Bool(False).tag(sync=True)
    weights_bytes = traitlets.Any(b"").tag(sync=True)
    factors_bytes = traitlets.List().tag(sync=True)

    def _done(self):
        if self.state == "failed":
            raise RuntimeError(f"cp: {self.failure.removeprefix('cp: ')}")
        if self.state != "done":
            raise RuntimeError(
                "cp: the browser has not sent the factors yet: show the result in one cell, and use it in the next"
            )

    @property
    def weights(self):
        """[rank], falling"""
        self._done()
        return np.frombuffer(self.weights_bytes, "<f4").copy()

    @property
    def factors(self):
        """A matrix for each mode, extent by rank, with columns of norm 1."""
        self._done()
        rank = self.options["rank"]
        return [np.frombuffer(factor, "<f4").reshape(-1, rank).copy() for factor in self.factors_bytes]

    def __array__(self, dtype=None, copy=None):
        """The tensor that the model makes."""
        weights, factors = self.weights, self.factors
        letters = "abcdefgh"[: len(factors)]
        terms = ",".join(f"{letter}r" for letter in letters)
        full = np.einsum(f"r,{terms}->{letters}", weights, *factors, optimize=True)
        return full if dtype is None else full.astype(dtype)


#: options of `cp`, and the names that JavaScript has for them
_OPTIONS = {"seed": "seed", "starts": "starts", "iterations": "sweeps", "tolerance": "tolerance", "nonnegative": "nonnegative"}


def cp(x, rank, **options):
    """
    Begins a CP decomposition in the notebook's browser, and returns it: show it, then use its `weights` and `factors` in the next cell.

    `x`: an array of 2 to 8 modes, of finite numbers, computed with as f32. `rank`: how many terms.
    Options: `iterations` at most, `tolerance`, `seed`, `starts`, `nonnegative`.
    """
    if not _MODULE.exists():
        raise RuntimeError(f"cp: {_MODULE} is missing, which npm run build:widget makes in a checkout")
    numbers = np.asarray(x)
    if numbers.dtype.kind not in "iufb":
        raise TypeError(f"cp: x holds {numbers.dtype}, needs real numbers")
    if not 2 <= numbers.ndim <= 8:
        raise ValueError(f"cp: x has {numbers.ndim} modes, needs 2 to 8")
    if 0 in numbers.shape:
        raise ValueError(f"cp: x has shape {numbers.shape}, needs entries")
    if not np.isfinite(numbers).all():
        raise ValueError("cp: x has entries that are not finite; remove or replace them")
    if not (isinstance(rank, (int, np.integer)) and rank >= 1):
        raise ValueError(f"cp: rank {rank}, needs a positive whole number")
    unknown = [name for name in options if name not in _OPTIONS]
    if unknown:
        raise TypeError(f"cp: no option {unknown[0]}; there are {', '.join(_OPTIONS)}")
    named = {_OPTIONS[name]: value for name, value in options.items()}
    return CP(x=_float_bytes(numbers), shape=list(numbers.shape), options={"rank": int(rank), **named})
