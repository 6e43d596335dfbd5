"""Tensor decompositions on any GPU. `tenfold.cluster` works on a Dask cluster."""

__version__ = "0.1.0"
