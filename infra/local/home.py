"""The state folder of one local desk (``.fillbook/``): its lock, secrets, ports and the file that says what runs.

One runner at a time: the lock is the kernel's and goes with the process, however it ends. Secrets are made once, at random,
and never leave the folder but as environment of the functions that are entitled to them. Files with secrets are 0600.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.local.ports import free_port, is_free

ROOT = Path(__file__).resolve().parents[2]
RUN_FILE, SECRETS_FILE, LOCK_FILE = "run.json", "secrets.json", "run.lock"
SECRETS = (
    *("ingest_token", "desk_key", "flex_token", "mt5_key"),
    *("internal_token", "signing_secret", "metrics_key", "d1_token", "lenient_token", "lenient_key"),
)
TOKEN_BYTES = 24
USUAL_PORTS = {"trade_tracker": 8080, "mt5": 8000}
"""What the work tree's own desk listens on while it is free."""


class AlreadyRunning(RuntimeError):
    """Another runner holds this folder; the text says which process."""


class Home:
    """One state folder; made when missing."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.path.mkdir(parents=True, exist_ok=True)
        for folder in (self.logs, self.requests, self.usage):
            folder.mkdir(exist_ok=True)
        self._lock: int | None = None

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.path / "logs"

    @property
    def requests(self) -> Path:
        """One log of requests per function (``served.py``), those of this run."""
        return self.path / "requests"

    @property
    def usage(self) -> Path:
        """One file per day with what was counted (``meter.py``)."""
        return self.path / "usage"

    @property
    def clock(self) -> Path:
        """The desk clock's file."""
        return self.path / "clock.json"

    @property
    def bundles(self) -> Path:
        """Where bundles are written: ``build/`` of the work tree for its own desk, else inside the folder."""
        return ROOT / "build" if self.path == ROOT / ".fillbook" else self.path / "build"

    def turn_logs(self) -> None:
        """Begin new logs; those of the run before stay beside them as ``.log.1``."""
        for path in self.logs.glob("*.log"):
            path.replace(path.with_suffix(".log.1"))
        for path in self.requests.glob("*.log"):
            path.unlink()

    def take(self) -> None:
        """Take the lock until ``release`` or the end of this process. Raises AlreadyRunning."""
        lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "?"
            os.close(lock)
            raise AlreadyRunning(f"another desk runs from {self.path} (process {holder}); stop it with Ctrl-C there") from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock

    def release(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def secrets(self) -> dict[str, str]:
        """One of each of ``SECRETS``, made on first use."""
        path = self.path / SECRETS_FILE
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        missing = [name for name in SECRETS if name not in found]
        if missing:
            found |= {name: secrets.token_urlsafe(TOKEN_BYTES) for name in missing}
            write_private(path, found)
        return found

    def read_run(self) -> dict[str, Any]:
        """The run file, or nothing when there is none yet."""
        try:
            document: dict[str, Any] = json.loads((self.path / RUN_FILE).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return document

    def running(self) -> dict[str, Any] | None:
        """The run file of the desk that runs from this folder at this moment; None when none does (a killed one included)."""
        document = self.read_run()
        if document.get("status") != "running":
            return None
        lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return document
        else:
            return None
        finally:
            os.close(lock)

    def write_run(self, document: Mapping[str, Any]) -> None:
        """Replace the run file."""
        write_private(self.path / RUN_FILE, document)

    def ports(self, names: Sequence[str], wanted: Mapping[str, int]) -> dict[str, int]:
        """A free port for each name: the wanted one, else the one it had last time, else any.

        A wanted port that is taken raises OSError; a usual one is wanted only while it is free.
        """
        last: Mapping[str, int] = self.read_run().get("ports", {})
        chosen: dict[str, int] = {}
        for name in names:
            if name in wanted:
                if not is_free(wanted[name]):
                    raise OSError(f"port {wanted[name]} is taken; choose another with --port")
                chosen[name] = wanted[name]
                continue
            before = last.get(name) or (USUAL_PORTS.get(name, 0) if self.path == ROOT / ".fillbook" else 0)
            usable = before and before not in chosen.values() and is_free(before)
            chosen[name] = before if usable else free_port(chosen.values())
        return chosen


def desk_keys(key: str) -> str:
    """``DESK_KEYS`` with the hash of one local key that may do everything on every book."""
    entry = {
        "id": "local",
        "sha256": hashlib.sha256(key.encode()).hexdigest(),
        "scopes": ["read", "admin"],
        "tenant_id": "desk",
        "books": ["live", "replay:*", "ibkr:*", "mt5:*"],
    }
    return json.dumps([entry])


def metrics_keys(key: str) -> str:
    """``METRICS_KEYS`` with the hash of one local key."""
    entry = {"id": "local", "sha256": hashlib.sha256(key.encode()).hexdigest(), "scopes": ["metrics:read"]}
    return json.dumps([entry])


def write_private(path: Path, document: Mapping[str, Any]) -> None:
    """Replace a JSON file in one rename, readable by its owner only."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
    fresh.replace(path)
