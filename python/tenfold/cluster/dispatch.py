"""Places questions among the workers of a Dask cluster, and brings their answers together."""

import asyncio
import time
import uuid
from collections import Counter
from concurrent.futures import CancelledError

import numpy as np

from . import shard
from .errors import ClusterError
from .joining import join
from .parcels import MissingArray, Outbox

#: bytes of the largest block as f32, unless a row has more
BLOCK = 64 * 2**20
#: bytes of GPU memory a worker, where the caller says nothing
MEMORY = 2**30
#: how often a step is placed again where all that hold its factors have died
ATTEMPTS = 4
#: seconds for which workers are waited for
PATIENCE = 120


def cut(rows, workers, memory):
    """Blocks (start, count) of mode 0: whole chunks where that leaves a block for every worker, and none larger than the memory allows."""
    extent = rows.shape[0]
    row = 4 * rows.row_entries
    most = int(min(BLOCK, shard.PLANNED * memory / (shard.TENSORS + 1)) // row)
    if most < 1:
        if row > shard.PLANNED * memory / (shard.TENSORS + 1):
            needed = (shard.TENSORS + 1) * row / shard.PLANNED
            raise ClusterError(
                f"{rows.name}: a row takes {row} bytes as f32, and memory of {int(memory)} a worker has no room for {shard.TENSORS + 1} of them: allow {int(needed)}, or permute the modes so that a longer one comes first",
                "LIMITS",
            )
        most = 1
    # so many chunks a worker, in as few blocks of about the same size as there is room for
    chunk = rows.chunk if rows.chunk <= min(most, -(-extent // workers)) else 1
    share = -(-extent // chunk // workers) if extent % chunk == 0 else -(-(extent // chunk + 1) // workers)
    parts = -(-share * chunk // most)
    count = chunk * max(1, min(most // chunk, -(-share // parts)))
    return [(start, min(count, extent - start)) for start in range(0, extent, count)]


def versions(client, workers, version):
    """
    Checks that these workers have this version of the package: what they run is called by its name there.

    The version of tenfold's command beside it, and the protocol of frames, are checked when that starts.
    """

    # a function within a function travels as it is, whatever the worker has
    def told():
        try:
            import tenfold
            import tenfold.cluster.parcels  # noqa: F401
        except ImportError as error:
            return None, str(error)
        return getattr(tenfold, "__version__", "of another version"), None

    for worker, answer in client.run(told, workers=workers, on_error="return").items():
        if not isinstance(answer, tuple):
            continue  # it is about to be gone: whatever is asked of it says so
        there, reason = answer
        if there is None:
            raise ClusterError(
                f'worker {worker} has no Python package tenfold {version} ({reason}): pip install "tenfold[cluster]" of the same version there',
                "INPUT",
            )
        if there != version:
            raise ClusterError(
                f"worker {worker} has the Python package tenfold {there}, the program that asks has {version}: install the same on both",
                "INPUT",
            )


class Dispatch:
    """The workers of a client, asked about one tensor."""

    def __init__(self, client, rows, version, memory=None):
        self.client, self.rows, self.version = client, rows, version
        self.memory = memory or MEMORY
        self.run = uuid.uuid4().hex
        #: what was sent to all workers, and, by address, to one
        self.to_all, self.to_one = Outbox(), {}
        self.placing = {}
        #: workers whose package is of this version
        self.checked = set()
        self.looked = 0.0
        self.resources = None
        self.steps = []
        workers = self._workers()
        self.blocks = cut(rows, len(workers), self.memory)

    @property
    def block_rows(self):
        return max(count for _, count in self.blocks)

    def _workers(self):
        """Addresses of the workers that there are now; waits where there are none."""
        began = time.monotonic()
        while True:
            try:
                told = self.client.scheduler_info(n_workers=-1)
            except TypeError:
                told = self.client.scheduler_info()
            self.looked = time.monotonic()
            # where workers declare GPUs (dask worker --resources GPU=1), those that have none are left to other work
            with_gpu = [worker for worker, info in told["workers"].items() if info.get("resources", {}).get("GPU")]
            self.resources = {"GPU": 1} if with_gpu else None
            workers = sorted(with_gpu or told["workers"])
            if workers:
                new = [worker for worker in workers if worker not in self.checked]
                if new:
                    versions(self.client, new, self.version)
                    self.checked.update(new)
                return workers
            if time.monotonic() - began > PATIENCE:
                raise ClusterError(f"the cluster has had no workers for {PATIENCE} seconds: start some", "INPUT")
            time.sleep(0.2)

    def _places(self, again):
        """Which blocks each worker has: as before, but that those of workers that are gone go to others, and new workers get their part."""
        if self.placing and not again and time.monotonic() - self.looked < 1:
            return self.placing
        workers = self._workers()
        if set(workers) == set(self.placing):
            return self.placing
        if not self.placing:
            bounds = [round(n * len(self.blocks) / len(workers)) for n in range(len(workers) + 1)]
            self.placing = {worker: self.blocks[bounds[n] : bounds[n + 1]] for n, worker in enumerate(workers)}
            return self.placing
        placing = {worker: list(self.placing.get(worker, [])) for worker in workers}
        there = {start for blocks in placing.values() for start, _ in blocks}
        homeless = [block for block in self.blocks if block[0] not in there]
        least = lambda: min(placing, key=lambda worker: sum(count for _, count in placing[worker]))
        for block in homeless:
            placing[least()].append(block)
        # a worker that has come takes blocks from those that have two more than it
        while True:
            low = min(placing, key=lambda worker: len(placing[worker]))
            high = max(placing, key=lambda worker: len(placing[worker]))
            if len(placing[high]) - len(placing[low]) < 2:
                break
            placing[low].append(placing[high].pop())
        self.placing = {worker: sorted(blocks) for worker, blocks in placing.items()}
        return self.placing

    def ask(self, question, arrays):
        """Asks all blocks. `arrays` are pairs of a description and numbers, and so are those of the answer."""
        from distributed import wait
        from distributed.scheduler import KilledWorker

        began = time.perf_counter()
        for attempt in range(1, ATTEMPTS + 1):
            places = {worker: blocks for worker, blocks in self._places(attempt > 1).items() if blocks}
            tasks = []
            try:
                shared = [pair for pair in arrays if not pair[0]["name"].startswith("rows of ")]
                cut_up = [pair for pair in arrays if pair[0]["name"].startswith("rows of ")]
                described = [description for description, _ in shared]
                described += [{**description, "isCut": True} for description, _ in cut_up]
                parcels = [self.to_all.pack(description["name"], numbers) for description, numbers in shared]
                sent = sum(parcel.nbytes for parcel in parcels)
                # keys alone travel with the task
                common = self.client.scatter([parcels], hash=False)[0] if sent else parcels
                most_rows = 0
                for worker, blocks in places.items():
                    outbox = self.to_one.setdefault(worker, Outbox())
                    of_rows = lambda numbers: np.concatenate([numbers[start : start + count] for start, count in blocks])
                    rows = [outbox.pack(description["name"], of_rows(numbers)) for description, numbers in cut_up]
                    most_rows = max(most_rows, sum(parcel.nbytes for parcel in rows))
                    tasks.append(
                        self.client.submit(
                            shard.answer,
                            *(self.run, self.rows, self.memory, self.version, question, described, blocks, common, rows),
                            workers=[worker],
                            allow_other_workers=True,
                            resources=self.resources,
                            pure=False,
                            key=f"tenfold-{question['verb']}-{uuid.uuid4().hex}",
                        )
                    )
                level = tasks
                while len(level) > 1:
                    pairs = [level[n : n + 2] for n in range(0, len(level), 2)]
                    level = [
                        self.client.submit(join, *pair, pure=False, key=f"tenfold-join-{uuid.uuid4().hex}")
                        if len(pair) > 1
                        else pair[0]
                        for pair in pairs
                    ]
                answer = self._result(level[0], wait)
                break
            except ClusterError:
                raise
            except (CancelledError, asyncio.CancelledError, KilledWorker, MissingArray, TimeoutError, OSError) as error:
                # factors were with workers that are gone: they are sent again
                self.to_all, self.to_one = Outbox(), {}
                if attempt == ATTEMPTS:
                    raise ClusterError(
                        f"{question['verb']}: {ATTEMPTS} attempts on the cluster failed, the last by {type(error).__name__}: {error}"
                    ) from error
        seconds = time.perf_counter() - began
        self.steps.append(
            {
                "verb": question["verb"],
                "seconds": seconds,
                "overhead": seconds - answer["seconds"],
                "down": sent + most_rows,
                "up": answer["bytes"],
                "held": answer["held"],
                "adapters": answer["adapters"],
            }
        )
        return answer

    def _result(self, future, wait):
        since = None
        while True:
            try:
                wait(future, timeout=5)
                return future.result()
            except TimeoutError:
                if future.done():
                    raise
                try:
                    there = self.client.nthreads()
                except Exception as error:
                    raise ClusterError(f"the scheduler does not answer ({error})") from error
                since = None if there else (since or time.monotonic())
                if since and time.monotonic() - since > PATIENCE:
                    raise ClusterError(f"the cluster has had no workers for {PATIENCE} seconds") from None

    def told(self):
        """What the steps took: bytes are those of a worker, in all."""
        count = len(self.steps)
        total = lambda name: sum(step[name] for step in self.steps)
        return {
            "workers": len(self.placing),
            "adapters": self.steps[-1]["adapters"] if self.steps else {},
            "blocks": len(self.blocks),
            "steps": count,
            "verbs": dict(Counter(step["verb"] for step in self.steps)),
            "seconds": total("seconds"),
            "overheadPerStep": total("overhead") / max(1, count),
            "bytesDown": total("down"),
            "bytesUp": total("up"),
        }

    def close(self):
        try:
            self.client.run(shard.close, self.run)
        except Exception:
            # workers that are gone have no processes left
            pass
