"""The page's static files: a fixed set read once, with the headers that keep a page from doing anything it should not."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path

from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

INDEX = "index.html"
ASSETS = "assets"
ICON = re.compile(r"icon-[\w-]+\.svg")
HASHED = re.compile(r"[\w.-]+-[\w-]{8}\.\w+")
FOR_EVER = "max-age=31536000, immutable"
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
    """A file of the page as it is sent; what has its content's hash in its name never changes."""

    content: bytes
    content_type: str
    cache_control: str


@functools.cache
def files(folder: Path) -> Mapping[str, File]:
    """The page and its assets by name; only known kinds, one folder deep."""
    found = {}
    for path in [folder / INDEX, *sorted((folder / ASSETS).glob("*"))]:
        if path.suffix in TYPES and path.is_file() and path.stat().st_size <= FILE_BYTES_MAX:
            cache_control = FOR_EVER if HASHED.fullmatch(path.name) else HEADERS["Cache-Control"]
            found[path.name] = File(content=path.read_bytes(), content_type=TYPES[path.suffix], cache_control=cache_control)
    return found


def find(folder: Path, name: str) -> File:
    """A file by its exact name; ``Rejected('not_found')`` 404 for anything else, never the index instead."""
    file = files(folder).get(name)
    if file is None:
        raise Rejected("not_found", "no such file of the page", status=404)
    return file


def icon(folder: Path) -> File:
    """The page's picture, for browsers that ask for it by its old name."""
    return find(folder, next(filter(ICON.fullmatch, files(folder)), "favicon.ico"))
