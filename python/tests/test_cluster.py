"""
A real cluster of processes on this machine, held against the same command without one.

    python -m unittest discover -s python/tests -v

Needs dask[distributed], zarr, and tenfold's command as built (npm run build), or named in TENFOLD_CLI.
"""

import functools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import dask.array
import numpy as np
import zarr
from distributed import Client, LocalCluster

import tenfold
from tenfold import cluster
from tenfold.cluster import asking, dispatch, shard
from tenfold.cluster.node import command
from tenfold.cluster.rows import ZarrRows

SHAPE, RANK, TUCKER_RANKS = (37, 12, 10), 3, (4, 3, 2)
folder = Path(tempfile.mkdtemp(prefix="tenfold-"))
client = None
local = None


def start_cluster(workers, env=None, **options):
    started = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        memory_limit=0,
        env=env or {},
        silence_logs=50,
        **options,
    )
    return started, Client(started)


def setUpModule():
    global client, local
    local, client = start_cluster(3, {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}, resources={"GPU": 1})


def tearDownModule():
    client.close()
    local.close()
    shutil.rmtree(folder)


rng = np.random.default_rng(1)
planted = [rng.standard_normal((extent, RANK)) for extent in SHAPE]
noise = rng.standard_normal(SHAPE)
start = [factor + 0.2 * rng.standard_normal(factor.shape) for factor in planted]


def full(factors):
    return np.einsum("ir,jr,kr->ijk", *factors)


x = (full(planted) + 0.02 * noise).astype("f4")
positive = (full([np.abs(factor) for factor in planted]) + 0.02 * np.abs(noise)).astype("f4")
holed = x.copy()
holed.flat[::7] = np.nan


def store(name, data, chunk=5):
    path = folder / f"{name}.zarr"
    if not path.exists():
        array = zarr.open(str(path), mode="w", shape=data.shape, chunks=(chunk, *data.shape[1:]), dtype=data.dtype)
        array[:] = data
        np.save(folder / f"{name}.npy", data)
    return str(path)


@functools.cache
def single(name, *words):
    """The same command on one machine."""
    out = folder / "single.npz"
    begin = folder / "begin.npz"
    np.savez(begin, **{f"factor_{mode}": factor.astype("f4") for mode, factor in enumerate(start)})
    words = [str(begin) if word == "START" else word for word in words]
    made = subprocess.run(
        [*command(), "decompose", str(folder / f"{name}.npy"), *words, "--out", str(out)], capture_output=True, text=True
    )
    if made.returncode:
        raise RuntimeError(made.stderr)
    with np.load(out) as file:
        return {key: file[key] for key in file.files}


class Same(unittest.TestCase):
    def near(self, ours, theirs, tolerance=1e-5):
        for one, other in zip(ours, theirs, strict=True):
            self.assertEqual(one.shape, other.shape)
            self.assertLess(np.abs(one - other).max() / np.abs(other).max(), tolerance)

    def near_cp(self, ours, theirs, tolerance=1e-5):
        factors = [theirs[f"factor_{mode}"] for mode in range(len(SHAPE))]
        self.near([ours.weights, *ours.factors], [theirs["weights"], *factors], tolerance)


class Answers(Same):
    def test_cp(self):
        ours = cluster.cp(store("x", x), RANK, client, initialize=start, sweeps=20, tolerance=0)
        self.near_cp(ours, single("x", *f"--rank {RANK} --init START --sweeps 20 --tolerance 0".split()))
        told = ours.report["cluster"]
        self.assertEqual(told["workers"], 3)
        self.assertEqual(told["verbs"]["evaluate"], 20)
        bound = 1.2 * 4 * RANK * sum(SHAPE) * 21
        self.assertLess(told["bytesDown"], bound)
        self.assertLess(told["bytesUp"], bound)
        print(f"\n  overhead of a step: {1000 * told['overheadPerStep']:.1f} ms", file=sys.stderr)

    def test_nonnegative(self):
        ours = cluster.cp(
            store("positive", positive), RANK, client, initialize=start, nonnegative=True, sweeps=30, tolerance=0
        )
        theirs = single("positive", *f"--rank {RANK} --nonnegative --init START --sweeps 30 --tolerance 0".split())
        self.near_cp(ours, theirs)
        self.assertTrue(all((factor >= 0).all() for factor in ours.factors))

    def test_missing(self):
        ours = cluster.cp(store("holed", holed), RANK, client, initialize=start, missing=True, sweeps=20, tolerance=0)
        theirs = single("holed", *f"--rank {RANK} --missing --init START --sweeps 20 --tolerance 0".split())
        self.near_cp(ours, theirs)
        self.assertEqual(ours.report["known"], np.isfinite(holed).sum())

    def test_missing_filled(self):
        holes = store("holes", np.where(np.isfinite(holed), positive, np.nan))
        ours = cluster.cp(holes, RANK, client, initialize=start, nonnegative=True, missing=True, sweeps=20, tolerance=0)
        words = f"--rank {RANK} --missing --nonnegative --init START --sweeps 20 --tolerance 0"
        self.near_cp(ours, single("holes", *words.split()))
        ours = cluster.tucker(holes, (3, 3, 3), client, missing=True, sweeps=60, tolerance=0)
        theirs = single("holes", *"--method tucker --ranks 3,3,3 --missing --sweeps 60 --tolerance 0".split())
        self.near([ours.core, *ours.factors], [theirs["core"], *(theirs[f"factor_{mode}"] for mode in range(3))])

    def test_tucker(self):
        ours = cluster.tucker(store("x", x), (3, 3, 3), client, sweeps=10, tolerance=0)
        theirs = single("x", *"--method tucker --ranks 3,3,3 --sweeps 10 --tolerance 0".split())
        self.near([ours.core, *ours.factors], [theirs["core"], *(theirs[f"factor_{mode}"] for mode in range(3))])

    def test_als(self):
        # of plain sweeps: every factor goes out once, and its product comes back
        ours = cluster.cp(store("x", x), RANK, client, algorithm="als", seed=3, sweeps=8, tolerance=0)
        theirs = single("x", *f"--rank {RANK} --algorithm als --seed 3 --sweeps 8 --tolerance 0".split())
        self.near_cp(ours, theirs, 1e-3)

    def test_dask_array(self):
        array = dask.array.from_array(x.astype("f8"), chunks=(8, 12, 10))
        ours = cluster.cp(array, RANK, client, initialize=start, sweeps=20, tolerance=0)
        store("x", x)
        self.near_cp(ours, single("x", *f"--rank {RANK} --init START --sweeps 20 --tolerance 0".split()))

    def test_integers(self):
        counts = np.clip(np.round(20 * positive), 0, 255).astype("u1")
        ours = cluster.cp(store("counts", counts), RANK, client, initialize=start, sweeps=20, tolerance=0)
        theirs = single("counts", *f"--rank {RANK} --init START --sweeps 20 --tolerance 0".split())
        self.near_cp(ours, theirs, 1e-4)


class Bytes(Same):
    """What travels to and from a worker in a sweep, as a part of the factors and of their sums: 4·R·ΣIₙ bytes, and of Tucker's projections."""

    def sweep(self, run, ranks, verb, times):
        """Of sweeps that ask `verb` so many times; some are run again, by a kind that tells its error more exactly."""
        few, many = (run(sweeps).report["cluster"] for sweeps in (4, 12))
        sweeps = (many["verbs"][verb] - few["verbs"][verb]) / times
        factors = 4 * sum(rank * extent for rank, extent in zip(ranks, SHAPE, strict=True))
        # a mode of HOOI gets x projected on the factors of the others: its extent times their ranks
        projections = 4 * sum(math.prod(ranks) // rank * extent for rank, extent in zip(ranks, SHAPE, strict=True))
        bounds = {"bytesDown": factors, "bytesUp": projections if verb == "project" else factors}
        return [(many[way] - few[way]) / sweeps / bound for way, bound in bounds.items()]

    def test_of_a_sweep(self):
        path = store("x", x)
        begin = {"initialize": start, "tolerance": 0}
        runs = {
            ("an iteration of cp", "evaluate", 1): lambda sweeps: cluster.cp(path, RANK, client, sweeps=sweeps, **begin),
            ("a sweep of non-negative factors", "mttkrp", 3): lambda sweeps: cluster.cp(
                store("positive", positive), RANK, client, nonnegative=True, sweeps=sweeps, **begin
            ),
            ("an extrapolated sweep", "mttkrp", 3): lambda sweeps: cluster.cp(
                path, RANK, client, algorithm="als", seed=3, sweeps=sweeps, tolerance=0
            ),
            ("a sweep of HOOI", "project", 3): lambda sweeps: cluster.tucker(
                path, TUCKER_RANKS, client, sweeps=sweeps, tolerance=0
            ),
        }
        for (name, verb, times), run in runs.items():
            ranks = TUCKER_RANKS if verb == "project" else [RANK] * len(SHAPE)
            down, up = self.sweep(run, ranks, verb, times)
            print(f"\n  {name}: {down:.2f} down, {up:.2f} up", file=sys.stderr)
            self.assertLess(down, 1.2, name)
            self.assertLess(up, 1.2, name)


class Processes(Same):
    def test_a_run_takes_those_of_the_last(self):
        cluster.cp(store("x", x), RANK, client, initialize=start, sweeps=1)
        waiting = client.run(shard.waiting)
        self.assertEqual([len(pids) for pids in waiting.values()], [1, 1, 1])
        # of another tensor
        ours = cluster.cp(store("positive", positive), RANK, client, initialize=start, sweeps=20, tolerance=0)
        self.near_cp(ours, single("positive", *f"--rank {RANK} --init START --sweeps 20 --tolerance 0".split()))
        self.assertEqual(client.run(shard.waiting), waiting)
        # one that has ended meanwhile
        os.kill(next(iter(waiting.values()))[0], signal.SIGKILL)
        again = cluster.cp(store("positive", positive), RANK, client, initialize=start, sweeps=20, tolerance=0)
        self.near([again.weights, *again.factors], [ours.weights, *ours.factors])


class Failures(Same):
    def test_worker_killed_twice(self):
        path = store("x", x)
        words = {"initialize": start, "sweeps": 40, "tolerance": 0}
        before = cluster.cp(path, RANK, client, **words)
        killed = []
        ask = dispatch.Dispatch.ask

        def killing(self, question, arrays):
            if len(self.steps) in (10, 20) and len(killed) < len(self.steps) // 10:
                worker = sorted(self.placing)[0]
                pid = client.run(os.getpid, workers=[worker])[worker]
                # in the middle of a step
                threading.Timer(0.01, os.kill, (pid, signal.SIGKILL)).start()
                killed.append(pid)
            return ask(self, question, arrays)

        dispatch.Dispatch.ask = killing
        try:
            ours = cluster.cp(path, RANK, client, **words)
        finally:
            dispatch.Dispatch.ask = ask
        self.assertEqual(len(set(killed)), 2)
        self.near([ours.weights, *ours.factors], [before.weights, *before.factors])
        client.wait_for_workers(3, timeout=60)

    def test_node_killed(self):
        path = store("x", x)
        ask = dispatch.Dispatch.ask
        killed = []

        def killing(self, question, arrays):
            if len(self.steps) == 5 and not killed:
                killed.extend(pid for pids in client.run(shard.processes).values() for pid in pids)
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
            return ask(self, question, arrays)

        dispatch.Dispatch.ask = killing
        try:
            ours = cluster.cp(path, RANK, client, initialize=start, sweeps=20, tolerance=0)
        finally:
            dispatch.Dispatch.ask = ask
        self.assertEqual(len(killed), 3)
        self.near_cp(ours, single("x", *f"--rank {RANK} --init START --sweeps 20 --tolerance 0".split()))

    def test_unreadable_chunk(self):
        path = store("damaged", x)
        chunks = sorted(file for file in Path(path).rglob("*") if file.is_file() and "3" in file.parts[-3:])
        chunks[0].write_bytes(b"no chunk")
        with self.assertRaises(cluster.ClusterError) as raised:
            cluster.cp(path, RANK, client, initialize=start)
        self.assertRegex(str(raised.exception), r"damaged.zarr: rows \d+ to \d+ cannot be read \(.*\) by worker tcp://")
        self.assertEqual(raised.exception.code, "FILE")
        # and the workers go on
        cluster.cp(store("x", x), RANK, client, initialize=start, sweeps=1)

    def test_not_finite(self):
        wrong = x.copy()
        wrong[30, 2, 1] = np.inf
        with self.assertRaisesRegex(cluster.ClusterError, r"1 entry that is not finite, infinity at \[30, 2, 1\]"):
            cluster.cp(store("wrong", wrong), RANK, client)

    def failing_worker(self, env):
        """A cluster of two workers, one of which has another environment."""
        path = {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        other, its_client = start_cluster(1, {**path, **env})
        try:
            with self.assertRaises(cluster.ClusterError) as raised:
                cluster.cp(store("x", x), RANK, its_client, initialize=start)
            return str(raised.exception)
        finally:
            its_client.close()
            other.close()

    def test_no_adapter(self):
        message = self.failing_worker({"TENFOLD_ADAPTER": "system", "VK_DRIVER_FILES": "/none"})
        self.assertRegex(message, "worker tcp://.* has no adapter for WebGPU: No WebGPU adapter was found")

    def other_command(self):
        """The command, but for its version."""
        other = folder / "other"
        if not other.exists():
            cli = Path(command()[1]).resolve()
            shutil.copytree(cli.parent, other / "dist", ignore=shutil.ignore_patterns("demo", "docs", "types"))
            (other / "package.json").write_text(json.dumps({"version": "0.0.9", "type": "module"}))
            (other / "node_modules").symlink_to(cli.parents[1] / "node_modules")
        return str(other / "dist/cli.js")

    def test_no_gpu_of_that_name(self):
        message = self.failing_worker({"TENFOLD_GPU": "no such GPU"})
        self.assertRegex(message, 'worker tcp://.* has no adapter for WebGPU: .*TENFOLD_GPU is "no such GPU", which is in no adapter.s name; there are ')

    def test_other_command_on_a_worker(self):
        message = self.failing_worker({"TENFOLD_CLI": self.other_command()})
        self.assertRegex(
            message,
            r"worker tcp://.* has the command tenfold 0.0.9 \(protocol 1\) and the Python package \d+\.\d+\.\d+ \(protocol 1\): install the same",
        )

    def test_other_command_where_it_is_asked(self):
        with mock.patch.dict(os.environ, {"TENFOLD_CLI": self.other_command()}):
            with self.assertRaisesRegex(cluster.ClusterError, "^the program that asks has the command tenfold 0.0.9"):
                cluster.cp(store("x", x), RANK, client, initialize=start)

    def test_other_package_on_a_worker(self):
        package = folder / "package"
        shutil.copytree(Path(__file__).parents[1] / "tenfold", package / "tenfold")
        init = package / "tenfold/__init__.py"
        init.write_text(init.read_text().replace(f'"{tenfold.__version__}"', '"0.0.8"'))
        for path, message in (
            (str(package), r"^worker tcp://.* has the Python package tenfold 0.0.8, the program that asks has \d+\.\d+\.\d+: "),
            ("", r"^worker tcp://.* has no Python package tenfold \d+\.\d+\.\d+ \(No module named 'tenfold'\): pip install"),
        ):
            local, its_client = start_cluster(0)
            # a process of its own: those that LocalCluster starts have this one's path
            words = [sys.executable, "-m", "distributed.cli.dask_worker", local.scheduler_address, "--nthreads", "1", "--no-dashboard"]
            worker = subprocess.Popen(
                words, env={**os.environ, "PYTHONPATH": path}, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                with self.assertRaisesRegex(cluster.ClusterError, message):
                    cluster.cp(store("x", x), RANK, its_client, initialize=start)
            finally:
                worker.terminate()
                worker.wait()
                its_client.close()
                local.close()

    def test_no_node(self):
        message = self.failing_worker({"TENFOLD_NODE": "", "PATH": "/none"})
        self.assertRegex(message, "worker tcp://.*: Node is not on PATH: install it")

    def test_numpy_array_is_refused(self):
        with self.assertRaisesRegex(cluster.ClusterError, "give dask.array.from_array"):
            cluster.cp(x, RANK, client)


class Adapters(Same):
    def test_each_worker_takes_the_gpu_that_it_is_told(self):
        """Two software adapters stand for two GPUs of one machine."""
        drivers = [*Path("/usr/share/vulkan/icd.d").glob("lvp_icd*.json"), *Path.home().glob(".cache/tenfold/swiftshader-*/*.json")]
        if len(drivers) < 2:
            self.skipTest("lavapipe and SwiftShader are not both here")
        local, its_client = start_cluster(0)
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1]), "VK_DRIVER_FILES": ":".join(map(str, drivers[:2]))}
        words = [sys.executable, "-m", "distributed.cli.dask_worker", local.scheduler_address, "--nthreads", "1", "--no-dashboard"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started = [
            subprocess.Popen([*words, "--resources", "GPU=1"], env={**env, "TENFOLD_GPU": name}, **quiet)
            for name in ("llvmpipe", "SwiftShader")
        ]
        try:
            its_client.wait_for_workers(2, timeout=60)
            ours = cluster.cp(store("x", x), RANK, its_client, initialize=start, sweeps=20, tolerance=0)
            told = ours.report["cluster"]["adapters"].values()
            self.assertEqual(len(told), 2)
            for name in ("llvmpipe", "swiftshader"):
                self.assertEqual(sum(name in adapter.lower() for adapter in told), 1, told)
            self.near_cp(ours, single("x", *f"--rank {RANK} --init START --sweeps 20 --tolerance 0".split()))
        finally:
            for worker in started:
                worker.terminate()
                worker.wait()
            its_client.close()
            local.close()


class Memory(Same):
    def test_store_of_four_times_the_budget(self):
        # of three workers, 8 MB each
        budget, row = 8 * 2**20, (256, 128)
        begin = lambda rows: [np.random.default_rng(3).standard_normal((extent, 2)) for extent in (rows, *row)]
        close = dispatch.Dispatch.close
        peaks, held = [], []

        def looking(self):
            for pids in client.run(shard.processes).values():
                told = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
                peaks.extend(int(text.split("VmHWM:")[1].split()[0]) / 1024 for text in told)
            held.extend(step["held"] for step in self.steps)
            close(self)

        dispatch.Dispatch.close = looking
        largest = []
        try:
            # the part of X that a worker reads is one block, four times the budget, and sixteen times
            for rows in (36, 768, 3072):
                data = np.random.default_rng(2).standard_normal((rows, *row), dtype="f4")
                path = store(f"large{rows}", data, 4)
                # peaks are those of new processes
                client.run(shard.close_all)
                cluster.cp(path, 2, client, initialize=begin(rows), sweeps=3, tolerance=0, memory=budget)
                largest.append(max(peaks))
                peaks.clear()
        finally:
            dispatch.Dispatch.close = close
        print(f"\n  peak of a process: {' '.join(f'{peak:.0f}' for peak in largest)} MiB", file=sys.stderr)
        # what the worker has of X on its GPU, to the byte
        self.assertLessEqual(max(held), budget)
        # a worker that kept its part of X would have 96 MiB more; garbage of messages, where the machine is busy, is some 30
        self.assertLess(largest[2] - largest[1], 48)
        self.assertLess(largest[1] - largest[0], 200)

    def test_a_row_that_is_too_large(self):
        with self.assertRaisesRegex(cluster.ClusterError, "a row takes 480 bytes as f32, and memory of 1000 a worker"):
            cluster.cp(store("x", x), RANK, client, memory=1000)


class Command(Same):
    def test_decompose_and_interrupt(self):
        path, kept, out = store("x", x), folder / "kept", folder / "out.npz"
        words = [sys.executable, "-m", "tenfold.cluster", "decompose", path, "--rank", str(RANK), "--algorithm", "als", "--scheduler", client.scheduler.address]
        words += ["--tolerance", "0", "--seed", "2", "--starts", "1", "--checkpoint", str(kept), "--out", str(out)]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        running = subprocess.Popen(
            [*words, "--sweeps", "100000"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        while "10/100000" not in running.stderr.readline():
            self.assertIsNone(running.poll())
        os.killpg(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=60)
        self.assertEqual(running.returncode, 130, errors)
        self.assertIn("the same command goes on from it", errors)
        self.assertTrue(kept.exists())
        done = subprocess.run([*words, "--sweeps", "12"], env=env, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("CP, rank 3", done.stdout)
        self.assertIn("cluster: 3 workers", done.stderr)


if __name__ == "__main__":
    unittest.main()
