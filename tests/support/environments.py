"""Virtual environments that hold a bundle's own requirements and nothing else.

``linked`` makes one in a moment, of links to the packages that the tests' own environment has from the same lock, byte code
included; it refuses a package that is missing there or has another version than the bundle pins. ``installed`` has the pinned
installer install the bundle's requirements with their hashes, from what it kept when it made the tests' own environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

from infra.door.lock import normal, parse

SITE = Path(sysconfig.get_path("purelib"))
DEPTH_MAX = 4
"""Folders shared by several packages (``google``, ``google/cloud``) are looked into so far."""


def linked(folder: Path, requirements: str) -> Path:
    """The Python of an environment in ``folder`` with what the lines of a lock ask for on this platform."""
    venv.create(folder, symlinks=True, with_pip=False)
    site = next((folder / "lib").glob("python*")) / "site-packages"
    link_all(site, frozenset(wanted(requirements)), ())
    return folder / "bin" / "python"


def installed(folder: Path, requirements: Path) -> Path:
    """The Python of an environment in ``folder`` into which the installer put a file of requirements."""
    venv.create(folder, symlinks=True, with_pip=False)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", str(python), "--no-deps", "--require-hashes"]
    for offline in (["--offline"], []):
        done = subprocess.run([*command, *offline, "-r", str(requirements)], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return python
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--require-hashes"]
    subprocess.run([*pip, "-r", str(requirements)], check=True)
    return python


def wanted(requirements: str) -> Iterable[str]:
    """The packages of a lock's lines whose conditions hold here; raises ``LookupError`` for one that is not here as pinned."""
    for name, pins in parse(requirements).items():
        for pin in pins:
            asked = Requirement(pin.lines[0].rstrip("\\ "))
            if asked.marker is None or asked.marker.evaluate():
                if name not in here() or here()[name].version != pin.version:
                    raise LookupError(f"{name}=={pin.version} is not in the tests' environment")
                yield name


@cache
def here() -> Mapping[str, Distribution]:
    """What the tests' own environment has."""
    return {normal(one.metadata["Name"]): one for one in distributions(path=[str(SITE)])}


@cache
def owners() -> Mapping[tuple[str, ...], frozenset[str]]:
    """Folders and files of the tests' own environment, as far down as is looked: who put something there."""
    found: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name, one in here().items():
        for path in one.files or ():
            if path.parts[0] not in ("..", "__pycache__"):
                for depth in range(1, min(len(path.parts), DEPTH_MAX) + 1):
                    found[path.parts[:depth]].add(name)
    return {parts: frozenset(names) for parts, names in found.items()}


def link_all(site: Path, held: frozenset[str], parts: tuple[str, ...]) -> None:
    """Link what lies in one folder and belongs to ``held``; a folder that others share is made and looked into."""
    depth = len(parts) + 1
    for path, names in owners().items():
        if len(path) != depth or path[:-1] != parts or not names & held:
            continue
        target = site.joinpath(*path)
        if names <= held:
            target.symlink_to(SITE.joinpath(*path))
        else:
            assert depth < DEPTH_MAX, f"{'/'.join(path)} is shared by {sorted(names)}"
            target.mkdir()
            link_all(site, held, path)


def plain_environment(**more: str) -> dict[str, str]:
    """What a process gets that shall find nothing but its own environment."""
    kept = {name: os.environ[name] for name in ("PATH", "TZ", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"} | more
