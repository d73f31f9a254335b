"""Puts the page where its function serves it: ``infra/page`` into the git-ignored ``functions/trade_tracker/static``.

The first page needs no build step, so this copies; it refuses to leave a file behind that is no longer a source.
"""

from __future__ import annotations

import shutil
from pathlib import Path

FUNCTION = "trade_tracker"
KINDS = (".html", ".css", ".js")


def build(root: Path) -> Path:
    """Copy the page's files afresh; return the folder."""
    target = root / "functions" / FUNCTION / "static"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in sorted((root / "infra" / "page").iterdir()):
        if path.suffix in KINDS:
            shutil.copyfile(path, target / path.name)
    return target
