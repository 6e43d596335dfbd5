"""f64 oracle of the fits of one small convolution: python3 test/compress/onnx/oracle.py > test/compress/onnx/oracle.json

Weights and patches are sines, so that the test makes the same ones. For every scheme and rank: the share of the output's energy
that is lost, and the root of the mean squared error of the outputs of the fitted chain over the patches, both by NumPy and SciPy.
Made with numpy 2.4, scipy 1.17.
"""
import json

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular, svd

O, I, H, W, N = 7, 5, 3, 3, 400
D, RIDGE = I * H * W, 1e-3
CARRIES = {"kernelFirst": "riab,orcd,iab->o", "vertical": "riac,ordb,iab->o", "horizontal": "ricb,orad,iab->o",
           "pointwiseFirst": "ricd,orab,iab->o", "tucker2": "ricd,srab,osef,iab->o"}


def sines(shape, a, b):
    k = np.arange(int(np.prod(shape)))
    return np.sin(a * k + b * k * k % 7).reshape(shape)


w = sines((O, D), 0.71, 0.13)
base = sines((N, D), 1.37, 0.29)
x = 3 + base + 0.8 * np.roll(base, 1, axis=1) + 0.5 * np.roll(base, 3, axis=1)
z = x + 0.1 * sines((N, D), 0.53, 0.41)


def lower(a):
    return cholesky(a + 1e-10 * np.trace(a) / len(a) * np.eye(len(a)), lower=True)


def solve(factor, b, transposed=False):
    return solve_triangular(factor, b, lower=True, trans="T" if transposed else "N")


class Fitter:
    def __init__(self, x, z):
        self.mx, self.mz = x.mean(0), z.mean(0)
        covariance, cross = (z - self.mz).T @ (z - self.mz) / N, (x - self.mx).T @ (z - self.mz) / N
        r = RIDGE * np.trace(covariance) / D + 1e-12
        self.a, self.b = covariance + r * np.eye(D), w @ cross + r * w
        self.energy = float(np.sum(self.b * w))

    def whitened(self, scheme):
        if scheme == "kernelFirst":
            factor = lower(self.a)
            return None, factor, solve(factor, self.b.T), 1
        n = {"vertical": I * H, "horizontal": I * W}.get(scheme, I)
        order = np.arange(D).reshape(I, H, W)
        order = (order.transpose(0, 2, 1) if scheme == "horizontal" else order).reshape(-1)
        columns = D // n
        a, b = self.a[np.ix_(order, order)].reshape(n, columns, n, columns), self.b[:, order].reshape(O, n, columns)
        _, factor, v, _ = self.whitened("kernelFirst")
        unfolded = solve(factor, v, transposed=True)[order]
        block = lower(np.einsum("ncmc->nm", a))
        weighted = block.T @ unfolded.reshape(n, columns * O)
        limit = n if scheme in ("tucker2", "pointwiseFirst") else max(1, min(n, w.size // (n + O * columns)))
        first = solve(block, eigh(weighted @ weighted.T)[1][:, ::-1][:, :limit], transposed=True).T
        a = np.einsum("rn,ncmd,sm->rcsd", first, a, first).reshape(limit * columns, -1)
        factor = lower(a)
        return first, factor, solve(factor, np.einsum("onc,rn->orc", b, first).reshape(O, -1).T), columns

    def fit(self, scheme, ranks):
        first, factor, v, columns = self.whitened(scheme)
        k = len(v) if first is None else ranks[0] * columns
        factors = [] if first is None else [first[:ranks[0]]]
        if scheme in ("kernelFirst", "tucker2"):
            u, s, vt = svd(v[:k].T, full_matrices=False)
            r = ranks[-1]
            explained = float(np.sum(s[:r] ** 2))
            factors += [solve(factor[:k, :k], vt[:r].T, transposed=True).T * s[:r, None], u[:, :r]]
        else:
            explained = float(np.sum(v[:k] ** 2))
            factors.append(solve(factor[:k, :k], v[:k], transposed=True).T)
        shapes = {"kernelFirst": [(ranks[0], I, H, W), (O, ranks[0], 1, 1)],
                  "vertical": [(ranks[0], I, H, 1), (O, ranks[0], 1, W)],
                  "horizontal": [(ranks[0], I, 1, W), (O, ranks[0], H, 1)],
                  "pointwiseFirst": [(ranks[0], I, 1, 1), (O, ranks[0], H, W)],
                  "tucker2": [(ranks[0], I, 1, 1), (ranks[-1], ranks[0], H, W), (O, ranks[-1], 1, 1)]}[scheme]
        parts = [f.reshape(s) for f, s in zip(factors, shapes)]
        made = np.array([np.einsum(CARRIES[scheme], *parts, p.reshape(I, H, W)) for p in z])
        wanted = x @ w.T
        bias = wanted.mean(0) - made.mean(0)
        return 1 - explained / self.energy, float(np.sqrt(np.mean((wanted - made - bias) ** 2)))


rows = []
for refit in (False, True):
    if not refit:
        z, kept = x, z
    else:
        z = kept
    fitter = Fitter(x, z)
    for scheme, ranks in [("kernelFirst", [2]), ("kernelFirst", [5]), ("vertical", [2]), ("vertical", [4]), ("horizontal", [3]),
                          ("pointwiseFirst", [2]), ("pointwiseFirst", [4]), ("tucker2", [3, 4]), ("tucker2", [2, 3])]:
        lost, rms = fitter.fit(scheme, ranks)
        rows.append({"refit": refit, "scheme": scheme, "ranks": ranks, "lost": lost, "rms": rms})
print(json.dumps(rows, indent=1))
