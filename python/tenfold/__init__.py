"""
Tensor decompositions on any GPU.

`tenfold.cp(x, rank=4)` in a notebook computes in the browser that shows it (`pip install "tenfold[widget]"`);
`tenfold.cluster` on the workers of a Dask cluster (`pip install "tenfold[cluster]"`).
"""

__version__ = "0.1.0"
__all__ = ["cp"]


def __getattr__(name):
    if name != "cp":
        raise AttributeError(f"module 'tenfold' has no attribute {name!r}")
    try:
        from .widget import cp
    except ModuleNotFoundError as error:
        if error.name != "anywidget":
            raise
        raise ModuleNotFoundError('tenfold.cp needs anywidget: pip install "tenfold[widget]"', name="anywidget") from None
    return cp
