"""Arrays on their way to workers: the same to the bit, in few bytes."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from tenfold.cluster.parcels import Change, Inbox, MissingArray, Outbox

rng = np.random.default_rng(5)
normalised = lambda x: (x / np.linalg.norm(x, axis=0)).astype("f4")


class Parcels(unittest.TestCase):
    def setUp(self):
        self.outbox, self.inbox = Outbox(), Inbox()

    def send(self, name, numbers):
        """Sends an array, and returns its parcel: what arrives is the same to the bit."""
        parcel = self.outbox.pack(name, numbers)
        np.testing.assert_array_equal(self.inbox.unpack(parcel).view("u4"), numbers.view("u4"))
        return parcel

    def test_what_is_there_is_not_sent_again(self):
        x = rng.standard_normal((30, 4)).astype("f4")
        self.assertEqual(self.send("factor 1", x).nbytes, x.nbytes)
        self.assertEqual(self.send("model 1", x.copy()).nbytes, 0)
        # of another mode, other arrays are known
        self.assertEqual(self.send("factor 2", x).nbytes, x.nbytes)

    def test_columns_times_numbers_and_extrapolated_ones(self):
        for rows, columns in ((37, 3), (300, 16)):
            first = normalised(rng.standard_normal((rows, columns)))
            second = normalised(first + 0.01 * rng.standard_normal((rows, columns)))
            self.send("factor 1", first)
            self.send("factor 1", second)
            for next in (
                second * rng.uniform(0.1, 9, columns).astype("f4"),
                normalised(second + np.float32(0.6) * (second - first)),
            ):
                parcel = self.send("factor 1", next)
                self.assertIsInstance(parcel.content, Change)
                self.assertLess(parcel.nbytes, 0.3 * next.nbytes)

    def test_clipped_zero_and_nasty(self):
        first = np.maximum(rng.standard_normal((80, 5)), 0).astype("f4")
        second = np.maximum(first + 0.1 * rng.standard_normal((80, 5)), 0).astype("f4")
        second[:, 2] = 0
        self.send("factor 1", first)
        self.send("factor 1", second)
        clipped = np.maximum(second + np.float32(0.9) * (second - first), 0)
        self.assertLess(self.send("factor 1", clipped).nbytes, 0.3 * clipped.nbytes)
        nasty = clipped * np.float32(3)
        nasty[3, 1], nasty[4, 1], nasty[5, 0] = -0.0, 1e-41, np.float32(1e-30)
        self.send("factor 1", nasty)
        for numbers in (np.full((80, 5), np.nan, "f4"), np.zeros((80, 5), "f4"), np.full((80, 5), 3e38, "f4")):
            self.send("factor 1", numbers)
            with np.errstate(over="ignore"):
                self.send("factor 1", numbers * np.float32(-1.5))
        for shape in ((1, 1), (0, 3), (4,), (3, 2, 2)):
            for _ in range(3):
                self.send("core", rng.standard_normal(shape).astype("f4"))

    def test_memory(self):
        x = normalised(rng.standard_normal((40, 3)))
        for step in range(40):
            self.send("factor 1", x if step % 3 else normalised(x + 1e-3 * rng.standard_normal((40, 3))))
        self.assertLessEqual(len(self.inbox.arrays), 7)

    def test_a_worker_that_began_anew_says_so(self):
        x = rng.standard_normal((40, 3)).astype("f4")
        self.send("factor 1", x)
        for numbers in (x, x * np.float32(2)):
            with self.assertRaises(MissingArray):
                Inbox().unpack(self.outbox.pack("factor 1", numbers))


if __name__ == "__main__":
    unittest.main()
