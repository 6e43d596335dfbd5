"""Frames, by which processes send each other numbers: see src/io/frames.ts."""

import json
import struct

import numpy as np

MAGIC = b"TFC1"
PREFIX = struct.Struct("<4sIQ")
DTYPES = {"f32": np.dtype("<f4"), "f64": np.dtype("<f8"), "u8": np.dtype("u1")}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
#: what changes when processes of another version would misunderstand frames
PROTOCOL = 1


class PipeEnded(Exception):
    """The process at the other end is gone."""


def write_frame(pipe, header, arrays=None):
    """Writes a frame. `arrays` has pairs of a description (name, and what else is told) and numbers."""
    listed, pieces = [], []
    for description, numbers in arrays or []:
        numbers = np.ascontiguousarray(numbers)
        listed.append({**description, "dtype": NAMES[numbers.dtype], "shape": list(numbers.shape)})
        pieces.append(numbers)
    text = json.dumps({**header, "arrays": listed}).encode()
    try:
        pipe.write(PREFIX.pack(MAGIC, len(text), sum(numbers.nbytes for numbers in pieces)))
        pipe.write(text)
        for numbers in pieces:
            if numbers.nbytes:
                pipe.write(memoryview(numbers).cast("B"))
        pipe.flush()
    except (BrokenPipeError, ConnectionResetError, ValueError) as error:
        raise PipeEnded(str(error)) from error


def read_frame(pipe):
    """Reads a frame: its header, and pairs of a description and numbers. None where the pipe has ended."""
    prefix = _exactly(pipe, PREFIX.size, may_end=True)
    if prefix is None:
        return None
    magic, length, size = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise PipeEnded("something else than frames came")
    header = json.loads(bytes(_exactly(pipe, length)))
    numbers = _exactly(pipe, size)
    arrays, at = [], 0
    for description in header.pop("arrays"):
        dtype = DTYPES[description.pop("dtype")]
        shape = description.pop("shape")
        count = int(np.prod(shape, dtype=np.int64))
        arrays.append((description, np.frombuffer(numbers, dtype, count, at).reshape(shape)))
        at += count * dtype.itemsize
    return header, arrays


def _exactly(pipe, count, may_end=False):
    data = bytearray(count)
    view, at = memoryview(data), 0
    while at < count:
        got = pipe.readinto(view[at:])
        if not got:
            if may_end and at == 0:
                return None
            raise PipeEnded("ended within a frame")
        at += got
    return data
