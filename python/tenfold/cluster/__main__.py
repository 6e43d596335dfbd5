"""
python -m tenfold.cluster decompose data.zarr --rank 16 --scheduler tcp://host:8786

The words are those of `tenfold decompose`, which checks them and starts this program again as `run`.
"""

import argparse
import os
import subprocess
import sys

from .errors import ClusterError


def main(words):
    if words[:1] == ["run"]:
        return run(words[1:])
    if words[:1] != ["decompose"]:
        print(__doc__.strip(), file=sys.stderr)
        return 0 if words in ([], ["--help"], ["-h"]) else 2
    from .node import command

    if not {"--help", "-h", "--scheduler", "--workers"} & {word.split("=")[0] for word in words}:
        words = [*words, "--workers", "2"]
    # Ctrl-C is for the processes that it starts
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return subprocess.run([*command(), *words], env={**os.environ, "TENFOLD_PYTHON": sys.executable}).returncode


def run(words):
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", required=True)
    parser.add_argument("--scheduler")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", type=float)
    parser.add_argument("--missing", action="store_true")
    parser.add_argument("words", nargs=argparse.REMAINDER)
    asked = parser.parse_args(words)
    argv = asked.words[1:] if asked.words[:1] == ["--"] else asked.words

    from distributed import Client, LocalCluster

    from . import asking
    from .rows import rows_of

    rows = rows_of(asked.file, asked.missing)
    cluster = None
    if asked.scheduler:
        try:
            client = Client(asked.scheduler, timeout=30)
        except OSError as error:
            raise ClusterError(f"--scheduler {asked.scheduler} does not answer ({error})", "INPUT") from error
    else:
        cluster = LocalCluster(
            n_workers=asked.workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, memory_limit=0
        )
        client = Client(cluster)
    try:
        code, told, _ = asking.run(client, rows, argv, asked.memory)
        if told.get("steps"):
            print(
                f"cluster: {told['workers']} workers, {told['blocks']} blocks, {told['steps']} steps in {told['seconds']:.1f} s, "
                f"{1000 * told['overheadPerStep']:.0f} ms of each for placing and travelling; "
                f"a worker got {told['bytesDown'] / 1e6:.2f} MB and sent {told['bytesUp'] / 1e6:.2f} MB",
                file=sys.stderr,
            )
        return code
    finally:
        client.close()
        if cluster:
            cluster.close()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
