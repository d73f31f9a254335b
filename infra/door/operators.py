"""``op ROOM VERB``: starts a room's operator verbs inside the environment, pointed at the running local desk.

It adds what a person would otherwise type: while ``run`` is up, the settings it wrote to ``.fillbook/run.json``. Settings
already in the caller's environment win, so the same verbs work against any other database. It knows no verb itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ROOT / "shared" / "fillbook"


def run(argv: list[str]) -> int:
    """Start ``python -m fillbook.ROOM VERB …`` and return its exit status; without a room, list them."""
    rooms = sorted(path.parent.name for path in ROOMS.glob("*/__main__.py"))
    if not argv or argv[0] not in rooms:
        print("op ROOM VERB …; rooms with operator verbs: " + ", ".join(rooms))
        return 0 if not argv else 2
    environ = local_settings(home() / "run.json") | os.environ
    return subprocess.run([sys.executable, "-m", f"fillbook.{argv[0]}", *argv[1:]], env=environ, check=False).returncode


def home() -> Path:
    """The folder of everything local: ``.fillbook/`` in the work tree unless ``FILLBOOK_HOME`` names another."""
    return Path(os.environ.get("FILLBOOK_HOME", ROOT / ".fillbook"))


def local_settings(path: Path) -> dict[str, str]:
    """The operator's settings of the running local desk: key ``operator_env`` of its run file, empty when none runs."""
    try:
        document = json.loads(path.read_text("utf-8"))
        os.kill(int(document["pid"]), 0)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    settings: Mapping[str, object] = document.get("operator_env", {})
    return {str(name): str(value) for name, value in settings.items()}
