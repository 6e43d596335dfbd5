"""What runs on a worker: a long-lived Node process with an engine of its own, which holds blocks and answers questions about them."""

import atexit
import os
import subprocess
import tempfile
import threading
import time
from typing import Any, NamedTuple

from .errors import ClusterError
from .frames import PipeEnded, read_frame, write_frame
from .node import check_version, command
from .parcels import Inbox

#: what solvers make of a block at once, beside the block itself: as src/sources/streamed.ts counts
TENSORS = 3
#: the part of the memory that is planned for: buffers come in sizes up to a fourth larger
PLANNED = 0.75
#: seconds after which the process of a run that asks no more may be ended by the next run
IDLE = 300
#: seconds for which the process of a run that has ended waits for the next run, with its driver and its kernels, and no tensor
SPARE = 20

_shards = {}
#: by worker: processes that wait for the next run
_spares = {}
_lock = threading.Lock()


class Spare(NamedTuple):
    """A process that waits for the next run, the ends of its pipes, and what ends it unless a run comes first."""

    words: list
    process: Any
    input: Any
    errors: Any
    timer: threading.Timer


class Shard:
    """The process of one worker for one run, and which blocks it has."""

    def __init__(self, run, rows, memory, version, worker):
        self.run, self.rows, self.memory, self.version, self.worker = run, rows, memory, version, worker
        self.lock = threading.Lock()
        self.process = None
        self.kept = set()
        self.inbox = Inbox()
        self.used = time.monotonic()

    def _spawn(self):
        environment = {**os.environ, "TENFOLD_CLUSTER": "shard"}
        # what the process and its driver say is told where it ends before it should
        self.errors = tempfile.TemporaryFile()
        # a session of its own, so that Ctrl-C in a terminal does not reach it
        self.process = subprocess.Popen(
            self.words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            bufsize=0,
            env=environment,
            start_new_session=True,
        )
        self.input = os.fdopen(os.dup(self.process.stdin.fileno()), "wb", buffering=2**16)
        self.process.stdin.close()

    def start(self):
        try:
            self.words = command()
        except ClusterError as error:
            raise ClusterError(f"worker {self.worker}: {error}", error.code) from error
        with _lock:
            spare = _spares.pop(self.worker, None)
        if spare:
            spare.timer.cancel()
            _, self.process, self.input, self.errors, _ = spare
            # it may have ended meanwhile
            if spare.words != self.words or self.process.poll() is not None:
                self.stop()
        if self.process is None:
            self._spawn()
        self.kept = set()
        told = self._exchange({"verb": "hello"})
        try:
            check_version(told, f"worker {self.worker}")
        except ClusterError:
            self.stop()
            raise
        self.adapter = told["adapter"]
        x = {"shape": self.rows.shape, "format": self.rows.format, "missing": self.rows.missing}
        self._exchange({"verb": "open", "x": x})

    def spare(self):
        """Gives up the process, which frees what it has of X, for the next run; None where it cannot serve one."""
        if not self.lock.acquire(blocking=False):
            # it is answering
            return None
        try:
            if self.process is None:
                return None
            self._exchange({"verb": "close"})
        except (ClusterError, PipeEnded, OSError):
            return None
        finally:
            self.lock.release()
        process, self.process = self.process, None
        timer = threading.Timer(SPARE, _end_spare, [self.worker, process])
        timer.daemon = True
        return Spare(self.words, process, self.input, self.errors, timer)

    def stop(self):
        process, self.process = self.process, None
        if process is not None:
            _end(process, self.input, self.errors)

    def _last_words(self):
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _exchange(self, header, arrays=None):
        write_frame(self.input, header, arrays)
        return self._answer()[0]

    def _answer(self):
        frame = read_frame(self.process.stdout)
        if frame is None:
            raise PipeEnded("the process has ended")
        header, _ = frame
        if header["verb"] == "error":
            where = f"worker {self.worker}: "
            if header["code"] == "NO_GPU":
                self.stop()
                where = f"worker {self.worker} has no adapter for WebGPU: "
            raise ClusterError(where + header["message"], header["code"] or "USAGE")
        return frame

    def unpack(self, parcels):
        with self.lock:
            return [self.inbox.unpack(parcel) for parcel in parcels]

    def ask(self, question, arrays, blocks):
        with self.lock:
            self.used = time.monotonic()
            for attempt in (1, 2):
                try:
                    if self.process is None:
                        self.start()
                    return self._ask(question, arrays, blocks)
                except PipeEnded as error:
                    status = self.process.poll() if self.process else None
                    last = self._last_words()
                    self.stop()
                    if attempt == 2:
                        raise ClusterError(
                            f"worker {self.worker}: its Node process ended twice (status {status}, {error}; {last}); is there memory enough?"
                        ) from error

    def _ask(self, question, arrays, blocks):
        keep = self._keepable(blocks)
        asked = [
            {"start": start, "rows": count, "keep": start in keep, "sent": start not in self.kept}
            for start, count in blocks
        ]
        write_frame(self.input, {"verb": "ask", "question": question, "blocks": asked}, arrays)
        self.kept &= {start for start, _ in blocks}
        failure = None
        for block in asked:
            if not block["sent"]:
                continue
            try:
                numbers = self.rows.read(block["start"], block["start"] + block["rows"])
            except ClusterError as error:
                failure = ClusterError(f"{error} by worker {self.worker}", error.code)
                write_frame(self.input, {"verb": "cancel", "message": str(failure)})
                break
            write_frame(self.input, {"verb": "block"}, [({"name": "numbers"}, numbers)])
            if block["keep"]:
                self.kept.add(block["start"])
        try:
            return self._answer()
        except ClusterError as error:
            # what the process has of this question is not known
            self.stop()
            raise failure or error from error

    def _keepable(self, blocks):
        """The blocks that stay on the GPU, within the memory: those that are there first."""
        most = max(count for _, count in blocks)
        as_floats = 4 * self.rows.row_entries * most
        room = PLANNED * self.memory - TENSORS * as_floats
        if len(blocks) * most * self.rows.row_bytes > room:
            # blocks that are not kept are read to one place
            room -= most * self.rows.row_bytes
        count = max(0, int(room // (most * self.rows.row_bytes)))
        there = [start for start, _ in blocks if start in self.kept]
        others = [start for start, _ in blocks if start not in self.kept]
        return set([*there, *others][:count])


def _end(process, *ends):
    """Closes the pipes of a process, by which it ends, and waits for that."""
    for end in (*ends, process.stdout):
        try:
            end.close()
        except OSError:
            pass
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_spare(worker, process):
    """Ends the process that waits at this worker, unless it is another by now."""
    with _lock:
        spare = _spares.get(worker)
        if spare is None or spare.process is not process:
            return
        del _spares[worker]
    _end(spare.process, spare.input, spare.errors)


def _shard(run, rows, memory, version, worker):
    with _lock:
        shard = _shards.get((worker, run))
        if shard is None:
            for key in [key for key, other in _shards.items() if time.monotonic() - other.used > IDLE]:
                _shards.pop(key).stop()
            shard = _shards[worker, run] = Shard(run, rows, memory, version, worker)
        return shard


def close(run):
    """Ends a run on this worker: its process waits for the next one, or ends."""
    with _lock:
        ended = {key: _shards.pop(key) for key in [key for key in _shards if key[1] == run]}
    for (worker, _), shard in ended.items():
        spare = shard.spare()
        if spare is None:
            shard.stop()
            continue
        with _lock:
            before = _spares.get(worker)
            _spares[worker] = spare
        spare.timer.start()
        if before:
            before.timer.cancel()
            _end(before.process, before.input, before.errors)


def close_all():
    with _lock:
        for shard in _shards.values():
            shard.stop()
        _shards.clear()
        for spare in _spares.values():
            spare.timer.cancel()
            _end(spare.process, spare.input, spare.errors)
        _spares.clear()


atexit.register(close_all)


def processes():
    """The process ids of the shards of this worker's process, for tests and for whoever looks after memory."""
    return [shard.process.pid for shard in _shards.values() if shard.process]


def waiting():
    """The process ids of those that wait for the next run, likewise."""
    return [spare.process.pid for spare in _spares.values()]


def answer(run, rows, memory, version, question, described, blocks, common, rows_of_blocks):
    """A task: what some blocks answer to a question. A pure function of the blocks and the arrays."""
    try:
        from distributed import get_worker

        worker = get_worker().address
    except (ImportError, ValueError):
        worker = "here"
    began = time.perf_counter()
    shard = _shard(run, rows, memory, version, worker)
    arrays = shard.unpack([*common, *rows_of_blocks])
    header, answered = shard.ask(question, list(zip(described, arrays)), blocks)
    return {
        "ranges": header["ranges"],
        "arrays": answered,
        "seconds": time.perf_counter() - began,
        "bytes": sum(numbers.nbytes for _, numbers in answered),
        "held": header["bytes"],
        "adapters": {worker: shard.adapter},
    }
