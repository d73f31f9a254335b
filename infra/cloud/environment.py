"""The cloud program's own environment: Pulumi and the provider weigh ten times what the project weighs, and only this needs them.

Made on demand under ``.fillbook`` from the hashed ``requirements.txt`` beside this file. A stamp holds the lock's digest, so
that an environment of another lock counts as none. What is imported is compiled once, because every start would do it again
otherwise.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from infra.door.lock import OPTIONS

ROOT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = Path(__file__).with_name("requirements.txt")
SOURCE: Final = Path(__file__).with_name("requirements.in")
FOLDER: Final = ROOT / ".fillbook" / "cloud"
PYTHON: Final = FOLDER / "bin" / "python"
STAMP: Final = FOLDER / "fillbook-stamp"
MODULES: Final = (
    "artifactregistry billing cloudbuild cloudrunv2 cloudscheduler compute iap logging monitoring projects pubsub secretmanager "
    "serviceaccount servicenetworking sql"
).split()
# the provider reads a module when something of it is asked for
COMPILED: Final = f"import importlib; [hasattr(importlib.import_module('pulumi_gcp.' + name), 'Args') for name in {MODULES}]"


def is_ready() -> bool:
    """Whether it is there, and made from the lock as it is now."""
    return STAMP.exists() and STAMP.read_text("utf-8") == _digest()


def make() -> None:
    """Make it anew; raises ``CalledProcessError`` where a package cannot be had."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", str(FOLDER)], check=True)
    subprocess.run([*uv, "pip", "sync", "-q", "--require-hashes", "--python", str(PYTHON), str(LOCK)], check=True)
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([str(PYTHON), "-c", COMPILED], check=True, env=compiled)
    STAMP.write_text(_digest(), "utf-8")


def lock() -> int:
    """Resolve what the program needs into its hashed lock, naming no index; the exit status of the resolver."""
    names = (str(SOURCE.relative_to(ROOT)), "-o", str(LOCK.relative_to(ROOT)))
    return subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", "-q", *OPTIONS, *names], cwd=ROOT, check=False
    ).returncode


def _digest() -> str:
    return hashlib.sha256(LOCK.read_bytes() + COMPILED.encode()).hexdigest()
