"""Puts the page where its function serves it: ``infra/page`` into the git-ignored ``functions/trade_tracker/static``.

The first page needs no build step, so this copies; it refuses to leave a file behind that is no longer a source.
"""

from __future__ import annotations

import os
from pathlib import Path

FUNCTION = "trade_tracker"
KINDS = (".html", ".css", ".js", ".svg")
PART = ".part-"


def build(root: Path) -> Path:
    """Bring the folder up to date and return it; what is already right is not touched, because builds may run side by side."""
    target = root / "functions" / FUNCTION / "static"
    target.mkdir(parents=True, exist_ok=True)
    sources = {path.name: path.read_bytes() for path in sorted((root / "infra" / "page").iterdir()) if path.suffix in KINDS}
    for path in target.iterdir():
        if path.name not in sources and not path.name.startswith(PART):
            path.unlink(missing_ok=True)
    for name, content in sources.items():
        path = target / name
        if not path.exists() or path.read_bytes() != content:
            part = target / f"{PART}{os.getpid()}-{name}"
            part.write_bytes(content)
            part.replace(path)  # at once: no reader ever sees half a file
    return target
