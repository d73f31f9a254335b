"""The page's static files: a fixed set read once, compressed once, under names that say whether they may be kept."""

from __future__ import annotations

import functools
import gzip
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

INDEX = "index.html"
ICON = "favicon.ico"
ASSETS = "assets"
FILE_BYTES_MAX = 2_000_000
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}
HASHED = re.compile(r".+-[A-Za-z0-9_-]{8}\.[a-z0-9]+")
"""The name of a file that is never another one: its content's hash is a part of it."""
KEPT, ASKED_AGAIN = "public, max-age=31536000, immutable", "no-cache"


@frozen
class File:
    """A file of the page as it is sent; ``packed``: the same, compressed with gzip; ``tag``: its ETag."""

    content: bytes
    packed: bytes
    content_type: str
    tag: str
    cache_control: str


@functools.cache
def files(folder: Path) -> Mapping[str, File]:
    """All files of the page by their place below ``folder``; only known kinds of its root and of its assets."""
    found = {}
    for path in sorted([*folder.glob("*"), *folder.glob(f"{ASSETS}/*")]):
        if path.suffix in TYPES and path.is_file() and not path.is_symlink() and path.stat().st_size <= FILE_BYTES_MAX:
            found[path.relative_to(folder).as_posix()] = _file(path)
    return found


def _file(path: Path) -> File:
    content = path.read_bytes()
    return File(
        content=content,
        packed=gzip.compress(content, mtime=0),
        content_type=TYPES[path.suffix],
        tag=hashlib.sha256(content).hexdigest()[:32],
        cache_control=KEPT if HASHED.fullmatch(path.name) else ASKED_AGAIN,
    )


def find(folder: Path, place: str) -> File:
    """A file by its exact place; ``Rejected('not_found')`` 404 for anything else, never the index instead."""
    file = files(folder).get(place)
    if file is None:
        raise Rejected("not_found", "no such file of the page", status=404)
    return file
