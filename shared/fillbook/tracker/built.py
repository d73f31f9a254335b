"""What is running: the digest of its code, the shape of its answers, and the schema that it needs."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

API: Final = 1
MIGRATION: Final = "0045"
"""The newest migration that the code was written for; held against the migrations by a test."""
KINDS: Final = (".py", ".sql", ".csv", ".json", ".toml")


@cache
def build() -> str:
    """Digest of the package as it lies there: the same code has the same, whoever built it."""
    digest = hashlib.sha256()
    for name, entry in sorted(_files(files("fillbook"), "")):
        digest.update(name.encode() + b"\0" + entry.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _files(folder: Traversable, path: str) -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            found += _files(entry, name)
        elif entry.name.endswith(KINDS):
            found.append((name, entry))
    return found
