"""What every answer of the function wears: headers that keep a page from doing what it should not, and gzip.

The same headers stand on data and on the page: a document that is opened by itself may do as little as the page may. Answers
from 1,024 bytes on are compressed for whoever can read it, exports piece by piece as they are made. Source: tracker.md 2, 11.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping

from flask import Request, Response

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
        "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
}
TRANSPORT = "max-age=63072000; includeSubDomains"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
GZIP_BYTES_MIN = 1_024
GZIP_LEVEL = 1
FILE_LEVEL = 1
"""Of files that are made while they are sent: a higher one costs as much as making them does, and saves a sixth."""
GZIP_WINDOW = 31  # zlib's way of asking for a gzip header
PACKED_KINDS = ("text/", "application/json", "application/manifest+json", "image/svg+xml")


def dress(request: Request, response: Response) -> None:
    """Give an answer its headers, and compress it where that is worth it."""
    response.headers.update(HEADERS)
    if request.host.rpartition(":")[0] not in LOOPBACK and request.host not in LOOPBACK:
        response.headers["Strict-Transport-Security"] = TRANSPORT
    if "Content-Encoding" in response.headers or not (response.content_type or "").startswith(PACKED_KINDS):
        return
    response.vary.add("Accept-Encoding")
    if not reads_gzip(request):
        return
    if response.is_sequence:
        content = response.get_data()
        if len(content) < GZIP_BYTES_MIN:
            return
        response.set_data(gzip.compress(content, GZIP_LEVEL, mtime=0))
    else:
        response.response = _packed(response.iter_encoded())
    response.headers["Content-Encoding"] = "gzip"


def reads_gzip(request: Request) -> bool:
    """Whether whoever asks can read gzip."""
    return request.accept_encodings["gzip"] > 0


def _packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of one gzip file; each is sent as soon as there is one. Closing it closes where they come from."""
    machine = zlib.compressobj(FILE_LEVEL, zlib.DEFLATED, GZIP_WINDOW)
    for piece in pieces:
        if made := machine.compress(piece):
            yield made
    yield machine.flush()
