"""Bundles kept from one start to the next: written and compiled again only when something they are made of changed.

Beside each bundle a record holds two digests: of everything it can be made from, and of what was written. A bundle that
anyone touched, or wrote without byte code, is made again. Refuses to guess: no record, no reuse.
"""

from __future__ import annotations

import hashlib
import json
from importlib.util import cache_from_source
from pathlib import Path

from infra.door import page
from infra.door.bundles import build, compile_bytecode, digest, files

EXTRA_SOURCES = ("infra/door",)  # what writes bundles


def prepare(name: str, root: Path, target: Path, sources: str) -> bool:
    """See to a compiled bundle of ``name`` in ``target``; whether it had to be made. ``sources``: ``sources_digest(root)``."""
    record = target.with_name(f".{target.name}.json")
    if target.is_dir() and _read(record) == {"sources": sources, "bundle": digest(target)} and _is_compiled(target):
        return False
    record.unlink(missing_ok=True)
    bundle = build(name, root=root, target=target)
    compile_bytecode(bundle.path)
    record.write_text(json.dumps({"sources": sources, "bundle": bundle.digest}), encoding="utf-8")
    return True


def sources_digest(root: Path) -> str:
    """One hash over everything a bundle of this work tree can be made from."""
    total = hashlib.sha256()
    for folder in ("functions", "shared/fillbook", *EXTRA_SOURCES):
        for path in files(root / folder):
            # the page's built copy under functions/ is made from infra/page while bundling
            if "static" not in path.relative_to(root).parts[:3]:
                total.update(f"{path.relative_to(root)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    total.update((root / "requirements.txt").read_bytes() + page.sources_digest(root).encode())  # one bundle holds the page
    return total.hexdigest()


def _is_compiled(target: Path) -> bool:
    """Whether every module has byte code of this interpreter's version."""
    return all(Path(cache_from_source(str(path))).exists() for path in target.rglob("*.py"))


def _read(record: Path) -> object:
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
