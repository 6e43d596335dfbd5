"""Where rows of a tensor come from: a Zarr store, or a Dask array."""

import numpy as np

from .errors import ClusterError

#: formats that kernels read; everything else becomes f32
FORMATS = {
    np.dtype("float32"): "f32",
    np.dtype("float16"): "f16",
    np.dtype("uint8"): "u8",
    np.dtype("int8"): "i8",
    np.dtype("uint16"): "u16",
    np.dtype("int16"): "i16",
    np.dtype("uint32"): "u32",
    np.dtype("int32"): "i32",
}
BYTES = {"f32": 4, "u32": 4, "i32": 4, "u16": 2, "i16": 2, "f16": 2, "u8": 1, "i8": 1}


class Rows:
    """Rows of a tensor, read on whichever worker has use for them."""

    def __init__(self, name, shape, dtype, chunk, missing):
        self.name, self.shape, self.chunk, self.missing = name, tuple(int(n) for n in shape), int(chunk), bool(missing)
        if len(self.shape) < 2:
            raise ClusterError(f"{name}: shape {self.shape}, needs at least two modes", "SHAPE")
        if 0 in self.shape:
            raise ClusterError(f"{name}: shape {self.shape} has no entries", "SHAPE")
        if np.dtype(dtype).kind not in "iufb":
            raise ClusterError(f"{name}: holds {dtype}, needs real numbers", "UNSUPPORTED")
        native = np.dtype(dtype).newbyteorder("=")
        self.format = "f32" if missing else FORMATS.get(native, "f32")

    @property
    def row_bytes(self):
        """as they are sent"""
        return self.row_entries * BYTES[self.format]

    @property
    def row_entries(self):
        return int(np.prod(self.shape[1:], dtype=np.int64))

    def _read(self, start, stop):
        raise NotImplementedError

    def read(self, start, stop):
        """Rows as bytes, little-endian."""
        try:
            numbers = np.asarray(self._read(start, stop))
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise ClusterError(f"{self.name}: rows {start} to {stop} cannot be read ({told})", "FILE") from error
        if numbers.shape != (stop - start, *self.shape[1:]):
            raise ClusterError(f"{self.name}: rows {start} to {stop} have shape {numbers.shape}", "FILE")
        dtype = {name: dtype for dtype, name in FORMATS.items()}[self.format]
        with np.errstate(over="ignore"):
            numbers = np.ascontiguousarray(numbers, dtype.newbyteorder("<"))
        return numbers.reshape(-1).view("u1")


class ZarrRows(Rows):
    """Of an array in a Zarr store: a folder, or whatever zarr.open takes, such as s3://bucket/X.zarr."""

    def __init__(self, store, path=None, missing=False, storage_options=None):
        self.store, self.path, self.options = store, path, storage_options
        array = self._open()
        name = f"{store}:{path}" if path else str(store)
        super().__init__(name, array.shape, array.dtype, array.chunks[0] if array.chunks else 1, missing)

    def _open(self):
        try:
            import zarr
        except ImportError as error:
            raise ClusterError('Zarr stores are read by zarr: pip install "tenfold[cluster]"', "INPUT") from error
        more = {"storage_options": self.options} if self.options else {}
        try:
            array = zarr.open(self.store, path=self.path or "", mode="r", **more)
        except Exception as error:
            raise ClusterError(f"{self.store}: no Zarr store ({type(error).__name__}: {error})", "FILE") from error
        if hasattr(array, "dtype"):
            return array
        names = list(array.array_keys())
        if len(names) != 1:
            raise ClusterError(f"{self.store}: give one of its arrays, as in {self.store}:{(names or ['X'])[0]}; it has {', '.join(names) or 'none'}", "FORMAT")
        self.path = f"{self.path}/{names[0]}" if self.path else names[0]
        return array[names[0]]

    def _read(self, start, stop):
        if getattr(self, "_array", None) is None:
            self._array = self._open()
        return self._array[start:stop]

    def __getstate__(self):
        return {**self.__dict__, "_array": None}


class DaskRows(Rows):
    """Of a Dask array, whose rows are computed anew on the worker that has use for them."""

    def __init__(self, array, missing=False):
        self.array = array
        super().__init__(getattr(array, "name", "array"), array.shape, array.dtype, array.chunks[0][0], missing)

    def _read(self, start, stop):
        return self.array[start:stop].compute(scheduler="synchronous")


def rows_of(x, missing=False, storage_options=None):
    """The rows of a Zarr array or store, of a Dask array, or of a path as in data.zarr:group/X."""
    if isinstance(x, Rows):
        return x
    if hasattr(x, "dask") and hasattr(x, "chunks"):
        return DaskRows(x, missing)
    if hasattr(x, "store") and hasattr(x, "chunks"):
        # an open Zarr array: workers open its store by themselves
        root = getattr(getattr(x, "store", None), "root", None) or getattr(x.store, "path", None)
        if root is None:
            raise ClusterError("this Zarr array lies in a store that workers cannot open; give its path", "INPUT")
        return ZarrRows(str(root), x.path or None, missing, storage_options)
    if isinstance(x, np.ndarray):
        raise ClusterError("a NumPy array is in this process alone: give dask.array.from_array(x), or save it as Zarr", "INPUT")
    store, _, path = str(x).partition(".zarr:")
    return ZarrRows(f"{store}.zarr" if path else str(x), path or None, missing, storage_options)
