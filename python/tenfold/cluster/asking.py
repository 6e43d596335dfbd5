"""Runs the command that asks: the solver in Node, whose questions come and whose answers go over pipes."""

import os
import signal
import subprocess
import sys
import threading

from .dispatch import Dispatch
from .errors import ClusterError
from .frames import PipeEnded, read_frame, write_frame
from .node import check_version, command


def run(client, rows, argv, memory=None, output=None, errors=None):
    """
    Runs `tenfold` with these words on the rows, by way of the client's workers. Returns the exit code and what the steps took.

    `output` is called with bytes that the command prints. Ctrl-C is handed to the command, which keeps its checkpoint.
    """
    environment = {**os.environ, "TENFOLD_CLUSTER": "ask"}
    process = subprocess.Popen(
        [*command(), *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        bufsize=0,
        env=environment,
        start_new_session=True,
    )
    dispatch = None
    failed = None
    restore = _hand_on(process)
    incoming = os.fdopen(os.dup(process.stdin.fileno()), "wb", buffering=2**16)
    process.stdin.close()
    try:
        while True:
            frame = read_frame(process.stdout)
            if frame is None:
                break
            header, arrays = frame
            if header["verb"] == "print":
                (output or _print)(arrays[0][1].tobytes())
                continue
            try:
                if header["verb"] == "hello":
                    check_version(header, "the program that asks")
                    dispatch = Dispatch(client, rows, header["version"], memory)
                    x = {"name": rows.name, "shape": rows.shape, "missing": rows.missing}
                    write_frame(incoming, {"verb": "x", **x, "blockRows": dispatch.block_rows})
                else:
                    answer = dispatch.ask(header["question"], arrays)
                    write_frame(incoming, {"verb": "answer", "ranges": answer["ranges"]}, answer["arrays"])
            except ClusterError as error:
                failed = error
                write_frame(incoming, {"verb": "error", "message": str(error), "code": error.code})
    except PipeEnded:
        pass
    finally:
        restore()
        try:
            incoming.close()
        except OSError:
            pass
        process.stdout.close()
        try:
            code = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if dispatch:
            dispatch.close()
    return code, (dispatch.told() if dispatch else {}), failed


def _print(content):
    sys.stdout.buffer.write(content)
    sys.stdout.flush()


def _hand_on(process):
    """Ctrl-C goes to the command; twice ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = signal.signal(signal.SIGINT, lambda *_: process.send_signal(signal.SIGINT))
    return lambda: signal.signal(signal.SIGINT, before)
