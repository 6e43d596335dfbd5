"""
Arrays on their way to workers. Of what a worker has, only the key travels; of an array that is nearly a sum of columns that it has, times numbers
(factors that were normalised, or extrapolated), only the numbers and the last bits. What the worker gets is the same to the bit.
"""

import hashlib
import zlib
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

#: arrays of a place (factor 1, weights, …) that are kept for later parcels: a sweep sends a factor up to three times, and changes are of two sweeps
KEPT = 6
#: rows by which bases are chosen
SAMPLE = 96
#: a sum of bases has to be as near as this, relative to its largest entry
NEAR = 1e-5
#: arrays that a worker has, if it never hears which it is to forget
MOST = 512


class MissingArray(Exception):
    """An array that was sent to another worker, or to this one before it began anew: it has to be sent again."""


class Change(NamedTuple):
    """An array as columns of one or two others, and how many of f32's numbers lie between that and the array itself."""

    bases: tuple
    coefficients: np.ndarray
    #: whether negative entries of the sum are 0
    clipped: bool
    #: of int8, deflated
    steps: bytes
    #: entries that are too far from the sum for that
    places: np.ndarray
    values: np.ndarray

    @property
    def nbytes(self):
        return self.coefficients.nbytes + len(self.steps) + self.places.nbytes + self.values.nbytes


class Parcel(NamedTuple):
    """An array by its key (its place and digest), with its numbers, a Change, or nothing where the worker has it; and the keys of those that are of no more use."""

    key: str
    shape: tuple
    content: Any
    forget: tuple

    @property
    def nbytes(self):
        return 0 if self.content is None else self.content.nbytes


def digest(numbers):
    return hashlib.blake2b(numbers.tobytes(), digest_size=16, person=str(numbers.shape).encode()[:16]).hexdigest()


class Outbox:
    """What was sent to one worker, or to all of them alike."""

    def __init__(self):
        self.places = {}

    def pack(self, name, numbers):
        """The parcel of an array. Those of the same place (the name's last word) and shape are taken for bases."""
        numbers = np.ascontiguousarray(numbers)
        place = name.split(" ")[-1]
        sent = self.places.setdefault((place, numbers.shape), OrderedDict())
        key = f"{place} {digest(numbers)}"
        if key in sent:
            sent.move_to_end(key)
            return Parcel(key, numbers.shape, None, ())
        content = _change(numbers, sent) or numbers
        sent[key] = numbers
        forget = []
        while len(sent) > KEPT:
            forget.append(sent.popitem(last=False)[0])
        return Parcel(key, numbers.shape, content, tuple(forget))


class Inbox:
    """What a worker has had."""

    def __init__(self):
        self.arrays = OrderedDict()

    def unpack(self, parcel):
        if parcel.key not in self.arrays:
            if parcel.content is None:
                raise MissingArray(parcel.key)
            self.arrays[parcel.key] = self._made(parcel)
        self.arrays.move_to_end(parcel.key)
        numbers = self.arrays[parcel.key]
        for key in parcel.forget:
            self.arrays.pop(key, None)
        while len(self.arrays) > MOST:
            self.arrays.popitem(last=False)
        return numbers

    def _made(self, parcel):
        change = parcel.content
        if not isinstance(change, Change):
            return change
        if any(key not in self.arrays for key in change.bases):
            raise MissingArray(parcel.key)
        guess = _sum([self.arrays[key] for key in change.bases], change.coefficients, change.clipped)
        steps = np.frombuffer(zlib.decompress(change.steps, -15), np.int8).reshape(parcel.shape)
        numbers = _float(_order(guess) + steps)
        numbers.reshape(-1)[change.places] = change.values
        if not parcel.key.endswith(digest(numbers)):
            raise MissingArray(parcel.key)
        return numbers


def _order(numbers):
    """The place of each number among those of f32; both zeros have one."""
    bits = numbers.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _float(order):
    bits = np.where(order < 0, -order | 0x80000000, order)
    return bits.astype(np.uint32).view(np.float32)


def _coefficients(target, bases):
    """
    Of each column a, b and c by which it is nearest to a·u + b·(v − c·u), for one base u or two. Of a target without negative entries, zeros
    do not count: they may have been negative.
    """
    u = bases[0].astype(np.float64)
    counted = (target != 0) if target.min() >= 0 else np.ones_like(target, bool)
    t = np.where(counted, target, 0).astype(np.float64)
    u = np.where(counted, u, 0)
    found = np.zeros((3, target.shape[1]))
    squares = (u * u).sum(axis=0)
    over = lambda part, all: np.divide(part, all, out=np.zeros_like(part), where=all > 0)
    found[0] = over((t * u).sum(axis=0), squares)
    if len(bases) > 1:
        v = np.where(counted, bases[1], 0).astype(np.float64)
        found[2] = over((v * u).sum(axis=0), squares)
        rest = v - found[2] * u
        found[1] = over(((t - found[0] * u) * rest).sum(axis=0), (rest * rest).sum(axis=0))
    with np.errstate(over="ignore"):
        return found.astype(np.float32)


def _sum(bases, coefficients, clipped):
    """The columns that coefficients make of bases: of the same numbers in f64 at both ends, so that they agree to the bit."""
    a, b, c = coefficients.astype(np.float64)
    u = bases[0].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        total = u * a
        if len(bases) > 1:
            total = total + (bases[1].astype(np.float64) - u * c) * b
        if clipped:
            total = np.maximum(total, 0)
        return total.astype(np.float32)


def _change(numbers, sent):
    """The array as a change of those that were sent, where that is smaller than the array; else None."""
    if numbers.dtype != np.float32 or numbers.ndim != 2 or not sent or not np.isfinite(numbers).all():
        return None
    clipped = bool(numbers.min() >= 0)
    rows = np.unique(np.linspace(0, len(numbers) - 1, SAMPLE).round().astype(int))
    sample = numbers[rows]
    keys = list(sent)
    best, least = None, NEAR * np.abs(sample).max()
    for choice in [(key,) for key in reversed(keys)] + [(one, other) for one in reversed(keys) for other in keys if one != other]:
        bases = [sent[key][rows] for key in choice]
        far = np.abs(sample - _sum(bases, _coefficients(sample, bases), clipped)).max()
        if far < least:
            best, least = choice, far / 4  # two bases, or others, have to be clearly nearer
    if best is None:
        return None
    bases = [sent[key] for key in best]
    coefficients = _coefficients(numbers, bases)
    steps = _order(numbers) - _order(_sum(bases, coefficients, clipped))
    # of zeros, the one below 0 has no place of its own
    is_far = (np.abs(steps) > 127) | (numbers.view(np.uint32) == 0x80000000)
    places = np.flatnonzero(is_far).astype(np.int32)
    near = np.where(is_far, 0, steps).astype(np.int8)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    packed = deflate.compress(near.tobytes()) + deflate.flush()
    change = Change(best, coefficients, clipped, packed, places, numbers.reshape(-1)[places])
    return change if change.nbytes < numbers.nbytes else None
