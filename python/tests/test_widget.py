"""What the notebook's widget sends to the browser, and what it makes of what comes back."""

import sys
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import tenfold
from tenfold import widget


class Widget(unittest.TestCase):
    def setUp(self):
        # the browser's module need not be built for what is tested here
        patched = mock.patch.object(widget, "_MODULE", Path(__file__))
        patched.start()
        self.addCleanup(patched.stop)

    def test_sends_numbers_row_by_row(self):
        x = np.asfortranarray(np.arange(24.0).reshape(2, 3, 4))
        result = tenfold.cp(x, rank=2, iterations=7, nonnegative=True)
        self.assertEqual(result.shape, [2, 3, 4])
        self.assertEqual(result.options, {"rank": 2, "sweeps": 7, "nonnegative": True})
        np.testing.assert_array_equal(np.frombuffer(result.x, "<f4"), np.arange(24))
        sent = result.get_state()
        self.assertEqual(sent["state"], "waiting")
        with self.assertRaisesRegex(RuntimeError, "has not sent the factors yet"):
            result.factors

    def test_factors_come_back_as_arrays(self):
        result = tenfold.cp(np.ones((2, 3)), rank=2)
        weights = np.array([2, 1], "<f4")
        factors = [np.arange(4, dtype="<f4").reshape(2, 2), np.arange(6, dtype="<f4").reshape(3, 2)]
        # as the browser's messages bring them
        result.set_state(
            {
                "weights_bytes": memoryview(weights.tobytes()),
                "factors_bytes": [memoryview(factor.tobytes()) for factor in factors],
                "relative_error": 0.25,
                "converged": True,
                "state": "done",
            }
        )
        np.testing.assert_array_equal(result.weights, weights)
        for ours, theirs in zip(result.factors, factors, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_allclose(np.asarray(result), factors[0] * weights @ factors[1].T)

    def test_failures(self):
        result = tenfold.cp(np.ones((2, 3)), rank=1)
        result.set_state({"state": "failed", "failure": "cp: this browser has no WebGPU"})
        with self.assertRaisesRegex(RuntimeError, "cp: this browser has no WebGPU"):
            result.weights
        for wrong, message in [
            (lambda: tenfold.cp(np.ones(3), rank=1), "has 1 modes, needs 2 to 8"),
            (lambda: tenfold.cp(np.full((2, 2), np.nan), rank=1), "not finite"),
            (lambda: tenfold.cp(np.ones((2, 2)), rank=0), "needs a positive whole number"),
            (lambda: tenfold.cp(np.ones((0, 2)), rank=1), "needs entries"),
        ]:
            with self.assertRaisesRegex(ValueError, message):
                wrong()
        with self.assertRaisesRegex(TypeError, "no option sweeps; there are seed, starts, iterations"):
            tenfold.cp(np.ones((2, 2)), rank=1, sweeps=3)
        with self.assertRaisesRegex(TypeError, "needs real numbers"):
            tenfold.cp(np.ones((2, 2), complex), rank=1)


if __name__ == "__main__":
    unittest.main()
