"""Which factors a convolution has the least error of outputs with, at equal multiplications: those that compressOnnx takes, CP and block terms.

    python3 bench/convolutionMethods.py MODEL.onnx IMAGES [LAYERS]     (PyPI numpy, onnx, onnxruntime; IMAGES: an IDX file of bytes)

Errors are the share of the energy of a layer's centred outputs that is lost on 256 images that fits did not see; fits see 256 others. Single
matrices are found in closed form, as in src/compress/onnx/fits.ts. CP (1x1, 3x1 and 1x3 of each channel, 1x1) and block terms (1x1, groups, 1x1) are
found by least squares of one factor after another for the outputs, 40 sweeps from the best of two starts.
"""
import gzip
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

RIDGE, SWEEPS = 1e-3, 40


def images(path):
    raw = (gzip.open(path) if path.endswith(".gz") else open(path, "rb")).read()
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 1, 28, 28)[:512].astype(np.float32) / 255


def layers_of(path, pictures):
    model = onnx.load(path)
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    kernels = {n.output[0]: arrays[n.input[1]].shape for n in model.graph.node if n.op_type == "Conv"}
    nodes = [n for n in model.graph.node if kernels.get(n.output[0], ())[2:] == (3, 3) and kernels[n.output[0]][1] >= 8]
    model.graph.output.extend(helper.make_tensor_value_info(n.input[0], 1, None) for n in nodes if n.input[0] != model.graph.input[0].name)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = dict(zip([o.name for o in session.get_outputs()], session.run(None, {session.get_inputs()[0].name: pictures})))
    for node in nodes:
        yield node.name or node.output[0], arrays[node.input[1]].astype(np.float64), values[node.input[0]]


def covariances(x):
    """Of the patches of the first and the second half of the samples."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3)).transpose(0, 2, 3, 1, 4, 5)
    out = []
    for half in np.split(views, 2):
        rows = half.reshape(-1, x.shape[1] * 9).astype(np.float64)[:: max(1, half.shape[0] * half.shape[1] * half.shape[2] // 30000)]
        rows = rows - rows.mean(0)
        out.append(rows.T @ rows / len(rows))
    out[0] += RIDGE * np.trace(out[0]) / len(out[0]) * np.eye(len(out[0]))
    return out


def loss(w, f, c):
    d, m = (w - f).reshape(len(w), -1), w.reshape(len(w), -1)
    return float(np.sum((d @ c) * d) / np.sum((m @ c) * m))


def first_factor(w, c, order, n):
    """Ordered vectors of the unfolded kernel, whitened by the sum of the blocks; n x n."""
    columns = len(order) // n
    block = np.einsum("ncmc->nm", c[np.ix_(order, order)].reshape(n, columns, n, columns))
    lower = np.linalg.cholesky(block)
    unfolded = w.reshape(len(w), -1)[:, order].reshape(len(w), n, columns)
    weighted = lower.T @ unfolded.transpose(1, 0, 2).reshape(n, -1)
    vectors = np.linalg.eigh(weighted @ weighted.T)[1][:, ::-1]
    return np.linalg.solve(lower.T, vectors).T


def given_first(w, c, order, first, rank):
    """W projected: the least squares second factor given `rank` rows of the first one, all as one kernel; rank2: of lower rank."""
    n = first.shape[1]
    columns = len(order) // n
    v = np.kron(first[:rank], np.eye(columns))  # (rank*columns) x (n*columns)
    co, wo = c[np.ix_(order, order)], w.reshape(len(w), -1)[:, order]
    a, b = v @ co @ v.T, wo @ co @ v.T
    return v, a, b


def restore(full, order, shape):
    out = np.empty_like(full)
    out[:, order] = full
    return out.reshape(shape)


def closed_forms(w, c, budget):
    t, s = w.shape[:2]
    index = np.arange(s * 9).reshape(s, 3, 3)
    orders = {"vertical": (index.reshape(-1), 3 * s), "horizontal": (index.transpose(0, 2, 1).reshape(-1), 3 * s), "tucker2": (index.reshape(-1), s)}
    for name, (order, n) in orders.items():
        first = first_factor(w, c, order, n)
        if name != "tucker2":
            rank = int(budget // (3 * s + 3 * t))
            v, a, b = given_first(w, c, order, first, min(rank, n))
            yield name, restore(np.linalg.solve(a, b.T).T @ v, order, w.shape)
            continue
        for r1 in range(4, s + 1, 4):
            r2 = int((budget - s * r1) // (9 * r1 + t))
            if not 1 <= r2 <= t:
                continue
            v, a, b = given_first(w, c, order, first, r1)
            lower = np.linalg.cholesky(a)
            z = np.linalg.solve(lower, b.T).T
            u, sv, vt = np.linalg.svd(z, full_matrices=False)
            yield f"tucker2 {r1},{r2}", restore((u[:, :r2] * sv[:r2]) @ np.linalg.solve(lower.T, vt[:r2].T).T @ v, order, w.shape)
    r = int(budget // (9 * s + t))
    u = np.linalg.svd(w.reshape(t, -1) @ np.linalg.cholesky(c), full_matrices=False)[0][:, :r]
    yield "kernelFirst", (u @ (u.T @ w.reshape(t, -1))).reshape(w.shape)


def solve(normal, right):
    return np.linalg.solve(normal + 1e-9 * np.trace(normal) / len(normal) * np.eye(len(normal)), right)


def cp(w, c, rank, rng):
    """A[t,r] B[s,r] H[h,r] V[v,r], least squares of the outputs one factor after another."""
    t, s = w.shape[:2]
    c4 = c.reshape(s, 3, 3, s, 3, 3)
    wc = (w.reshape(t, -1) @ c).reshape(t, s, 3, 3)
    b, h, v = rng.normal(size=(s, rank)), rng.normal(size=(3, rank)), rng.normal(size=(3, rank))
    for _ in range(SWEEPS):
        k = np.einsum("sr,hr,vr->rshv", b, h, v).reshape(rank, -1)
        a = solve(k @ c @ k.T, k @ wc.reshape(t, -1).T).T
        m = a.T @ a
        right = np.einsum("tr,tshv->rshv", a, wc, optimize=True)
        hv = np.einsum("hr,vr->rhv", h, v)
        part = np.einsum("rhv,shvzij->rszij", hv, c4, optimize=True)
        normal = np.einsum("rszij,qij,rq->rsqz", part, hv, m, optimize=True).reshape(rank * s, -1)
        b = solve(normal, np.einsum("rshv,rhv->rs", right, hv).reshape(-1)).reshape(rank, s).T
        for axis in "hv":
            other = v if axis == "h" else h
            take = "sr,vr->rsv" if axis == "h" else "sr,hr->rsh"
            bo = np.einsum(take, b, other)
            part = np.einsum("rsv,shvzij->rhzij" if axis == "h" else "rsh,shvzij->rvzij", bo, c4, optimize=True)
            normal = np.einsum("rhzij,qzj,rq->rhqi" if axis == "h" else "rvzij,qzi,rq->rvqj", part, bo, m, optimize=True).reshape(3 * rank, -1)
            found = solve(normal, np.einsum("rshv,rsv->rh" if axis == "h" else "rshv,rsh->rv", right, bo).reshape(-1)).reshape(rank, 3).T
            h, v = (found, v) if axis == "h" else (h, found)
        for one in (b, h, v):
            one /= np.linalg.norm(one, axis=0) + 1e-30
    k = np.einsum("sr,hr,vr->rshv", b, h, v).reshape(rank, -1)
    return (solve(k @ c @ k.T, k @ wc.reshape(t, -1).T).T @ k).reshape(w.shape)


def blocks(w, c, count, r1, r2, rng):
    """Sum over blocks of P (t x r2) K (r2 x r1 x 3 x 3) Q (r1 x s)."""
    t, s = w.shape[:2]
    c4 = c.reshape(s, 9, s, 9)
    wc = (w.reshape(t, -1) @ c).reshape(t, s, 9)
    q, k = rng.normal(size=(count, r1, s)), rng.normal(size=(count, r2, r1, 9))
    for _ in range(SWEEPS):
        f = np.einsum("bjik,bis->bjsk", k, q, optimize=True).reshape(count * r2, -1)
        p = solve(f @ c @ f.T, f @ wc.reshape(t, -1).T).T.reshape(t, count, r2)
        m = np.einsum("tbj,tdl->bjdl", p, p)
        g = np.einsum("tbj,tsk->bjsk", p, wc, optimize=True)
        seen = np.einsum("bis,skzm,dnz->bikdnm", q, c4, q, optimize=True)
        normal = np.einsum("bjdl,bikdnm->bjikdlnm", m, seen, optimize=True).reshape(count * r2 * r1 * 9, -1)
        k = solve(normal, np.einsum("bjsk,bis->bjik", g, q, optimize=True).reshape(-1)).reshape(k.shape)
        half = np.einsum("bjik,skzm->bjiszm", k, c4, optimize=True)
        normal = np.einsum("bjiszm,dlnm,bjdl->bisdnz", half, k, m, optimize=True).reshape(count * r1 * s, -1)
        q = solve(normal, np.einsum("bjsk,bjik->bis", g, k, optimize=True).reshape(-1)).reshape(q.shape)
        q /= np.linalg.norm(q, axis=2, keepdims=True) + 1e-30
        k /= np.linalg.norm(k, axis=(2, 3), keepdims=True) + 1e-30
    f = np.einsum("bjik,bis->bjsk", k, q, optimize=True).reshape(count * r2, -1)
    return (solve(f @ c @ f.T, f @ wc.reshape(t, -1).T).T @ f).reshape(w.shape)


def best_of(make, w, c, starts=2):
    return min((make(np.random.default_rng(seed)) for seed in range(starts)), key=lambda f: loss(w, f, c))


def main():
    wanted = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    layers = list(layers_of(sys.argv[1], images(sys.argv[2])))
    for name, w, x in layers[:: max(1, len(layers) // wanted)][:wanted]:
        t, s = w.shape[:2]
        fit, seen = covariances(x)
        for divided in (2, 3, 4):
            budget = 9 * s * t / divided
            found = sorted((loss(w, f, seen), kind) for kind, f in closed_forms(w, fit, budget))
            rank = int(budget // (s + t + 6))
            line = [f"{kind} {error:.4f}" for error, kind in found[:2]]
            line.append(f"cp {rank} {loss(w, best_of(lambda rng: cp(w, fit, rank, rng), w, fit), seen):.4f}")
            for count in (2, 4):
                side = max(r for r in range(1, min(s, t) + 1) if count * (s * r + 9 * r * r + r * t) <= budget)
                if count * side * side * 9 > 3000:
                    continue
                error = loss(w, best_of(lambda rng: blocks(w, fit, count, side, side, rng), w, fit), seen)
                line.append(f"{count} blocks of {side} {error:.4f}")
            print(f"{name} {s}->{t} /{divided}: {', '.join(line)}", flush=True)


if __name__ == "__main__":
    main()
