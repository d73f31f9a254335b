"""The hashed lock: how it is read, how it is written, and which part of it a set of packages needs.

``infra/requirements.in`` says what is wanted and why; ``requirements.txt`` pins the whole of it with hashes, for every
platform, naming no index and no host. Reading it takes the standard library alone, because the environment is made from
it. It refuses a package that is not in the lock: nothing is ever installed that nobody has resolved and hashed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "infra/requirements.in"
LOCK = "requirements.txt"
OPTIONS = ("--generate-hashes", "--universal", "--python-version", "3.11", "--no-emit-index-url", "--no-header")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One package of the lock: its exact version, its lines with hashes, and who asked for it."""

    name: str
    version: str
    lines: tuple[str, ...]
    wanted_by: tuple[str, ...]

    @property
    def text(self) -> str:
        """The pin as a requirements file writes it, without the comments."""
        return "\n".join(self.lines) + "\n"


def normal(name: str) -> str:
    """A package name as indexes compare them: lower case, runs of ``-_.`` are one hyphen."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse(text: str) -> Mapping[str, tuple[Pin, ...]]:
    """Read a lock; a package may be pinned several times, each for other platforms or Python versions."""
    pins: dict[str, list[Pin]] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", text.strip()):
        lines = block.splitlines()
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", lines[0])
        if match is None:
            raise ValueError(f"not a pinned package: {lines[0]!r}")
        body = tuple(line for line in lines if not line.lstrip().startswith("#"))
        comments = [line.lstrip("# ").removeprefix("via").strip() for line in lines if line.lstrip().startswith("#")]
        parents = tuple(normal(name) for name in comments if name and not name.startswith("-r"))
        pin = Pin(name=normal(match[1]), version=match[2], lines=body, wanted_by=parents)
        pins.setdefault(pin.name, []).append(pin)
    return {name: tuple(found) for name, found in pins.items()}


def closure(pins: Mapping[str, tuple[Pin, ...]], names: Iterable[str]) -> frozenset[str]:
    """``names`` and everything they need, by the lock's own record of who asked for what.

    The record does not tell extras apart, so the result may hold a package too many, never one too few. A name that the
    lock does not hold is a ``KeyError``.
    """
    needed = {normal(name) for name in names}
    missing = sorted(needed - set(pins))
    if missing:
        raise KeyError(f"not in the lock: {', '.join(missing)}")
    while True:
        more = {name for name, found in pins.items() if any(needed & set(pin.wanted_by) for pin in found)} - needed
        if not more:
            return frozenset(needed)
        needed |= more


def subset(pins: Mapping[str, tuple[Pin, ...]], names: Iterable[str]) -> str:
    """The lock's lines for ``names`` and everything they need, sorted by name."""
    return "".join(pin.text for name in sorted(closure(pins, names)) for pin in pins[name])


def without(pins: Mapping[str, tuple[Pin, ...]], names: Iterable[str]) -> str:
    """The lock's lines but for these packages, in the lock's own order."""
    left_out = {normal(name) for name in names}
    return "".join(pin.text for name, found in pins.items() if name not in left_out for pin in found)


def direct(text: str) -> tuple[str, ...]:
    """The package names of a requirements source, one a line, comments and blank lines aside; nothing else may stand there."""
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    wrong = [line for line in lines if line and not re.fullmatch(r"[A-Za-z0-9._-]+", line)]
    if wrong:
        raise ValueError(f"only names stand here, versions are the lock's business: {wrong}")
    return tuple(line for line in lines if line)


def run(argv: list[str]) -> int:
    """Resolve the source into the lock; ``--upgrade`` takes the newest versions instead of keeping the pinned ones."""
    if argv not in ([], ["--upgrade"]):
        print("lock [--upgrade]")
        return 2
    command = [sys.executable, "-m", "uv", "pip", "compile", *OPTIONS, "-q", SOURCE, "-o", LOCK, *argv]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status == 0:
        print(f"{LOCK}: {len(parse((ROOT / LOCK).read_text('utf-8')))} packages")
    return status
