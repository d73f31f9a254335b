"""The page's static files: a fixed set read once, with the headers that keep a page from doing anything it should not."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

INDEX = "index.html"
FILE_BYTES_MAX = 1_000_000
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
        "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "Cache-Control": "no-cache",
}


@frozen
class File:
    """A file of the page as it is sent."""

    content: bytes
    content_type: str


@functools.cache
def files(folder: Path) -> Mapping[str, File]:
    """All files of the page by name; only known kinds, nothing below the folder, no links out of it."""
    found = {}
    for path in sorted(folder.glob("*")):
        if path.suffix in TYPES and path.is_file() and path.stat().st_size <= FILE_BYTES_MAX:
            found[path.name] = File(content=path.read_bytes(), content_type=TYPES[path.suffix])
    return found


def find(folder: Path, name: str) -> File:
    """A file by its exact name; ``Rejected('not_found')`` 404 for anything else, never the index instead."""
    file = files(folder).get(name)
    if file is None:
        raise Rejected("not_found", "no such file of the page", status=404)
    return file
