"""The environment that holds the other client library of the socket, ``ib_async`` in the place of ``ib_insync``.

``python -m tests.support.ibkr_other_library`` makes it under ``.fillbook``: the lock without the one library and what only that
needs, plus the other. The two share a package name underneath, so they never stand in one environment.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".fillbook" / "peers" / "ib_async"
PYTHON = FOLDER / "bin" / "python"
OTHER = ("ib_async==2.1.0", "aeventkit==2.1.0", "nest-asyncio==1.6.0")
LEFT_OUT = ("ib-insync", "eventkit", "nest-asyncio")


def is_ready() -> bool:
    """Whether it was made, completely."""
    return (FOLDER / "ready").exists()


def lock_without(names: tuple[str, ...]) -> str:
    """The lock's text without the entries of these packages."""
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", (ROOT / "requirements.txt").read_text(encoding="utf-8"))
    return "".join(entry for entry in entries if entry.split("==")[0] not in names)


def make() -> None:
    """Make it; raises ``CalledProcessError`` where a package cannot be had."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", str(FOLDER)], check=True)
    lock = FOLDER / "lock.txt"
    lock.write_text(lock_without(LEFT_OUT), encoding="utf-8")
    install = [*uv, "pip", "install", "-q", "--python", str(PYTHON), "--no-deps"]
    subprocess.run([*install, "--require-hashes", "-r", str(lock)], check=True)
    subprocess.run([*install, *OTHER], check=True)
    (FOLDER / "ready").touch()


if __name__ == "__main__":
    make()
