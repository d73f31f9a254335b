"""Where a day is sent: ports that ``receiver.py`` and ``d1.py`` fill. An adapter stores nothing here and decides no status.

Neither raises for what the outside does: every ending is a value. ``deadline`` is in seconds of ``time.monotonic``; no call
outlives it. Bytes are what is sent, to the letter; the snapshot beside them is what they say. Source: snapshot specification,
4.6 and 4.7.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from fillbook.snapshot.model import Guard, Snapshot
from fillbook.values import frozen


class SentKind(StrEnum):
    """How sending a day to the API ended."""

    STORED = "stored"
    """It holds the day. ``ReceiverEnd.verified`` says whether that was proven."""
    CONFLICT = "conflict"
    """409: it holds newer content."""
    REFUSED = "refused"
    """400, 413, 415, 422: the content is wrong for it."""
    MISCONFIGURED = "misconfigured"
    """401, 403, 404, 405, 3xx: a refused door is never written round."""
    UNREACHED = "unreached"
    """Not sent, ambiguous or told to wait, to the end: only now may the fallback write."""


@frozen
class Sending:
    """A day on its way: the bytes, what they say, who sends them and which of the API's refusals are to be overruled."""

    run_id: str
    body: bytes
    snapshot: Snapshot
    content_sha256: str
    forced: tuple[Guard, ...] = ()


@frozen
class ReceiverEnd:
    """``attempts``: posts made. ``version``: by the API's own count, None where it has none or did not say.

    ``verified`` is False where the receiver cannot be checked. ``detail`` is for the ledger of publications and the log: never a
    secret, a body or a figure.
    """

    kind: SentKind
    attempts: int
    http_status: int | None = None
    remote_request_id: str | None = None
    version: int | None = None
    verified: bool = False
    detail: str = ""


class StoredKind(StrEnum):
    """What a look at the receiver showed."""

    SAME = "same"
    OTHER = "other"
    """Another content or another time, or no such day."""
    UNREADABLE = "unreadable"
    """Nobody who may be asked answered."""


@frozen
class Stored:
    """What the receiver holds of a day, compared with what was sent."""

    kind: StoredKind
    version: int | None = None
    detail: str = ""


class Receiver(Protocol):
    """The API that takes a day."""

    def send(self, sending: Sending, *, before_attempt: Callable[[], None], deadline: float) -> ReceiverEnd:
        """Send, and send again as its answers allow, until it is stored and verified or cannot be.

        ``before_attempt`` is called right before each post; what it raises (the lease is lost) ends the sending.
        """
        ...

    def stored(self, sending: Sending, *, deadline: float) -> Stored:
        """Read back, without sending anything."""
        ...


class FallbackKind(StrEnum):
    """How writing past the API ended."""

    STORED = "stored"
    CONFLICT = "conflict"
    """The target holds a newer day: nothing was changed."""
    REFUSED = "refused"
    """400, 401, 403: trying again cannot help."""
    FAILED = "failed"


@frozen
class FallbackEnd:
    """``attempts``: batches sent. ``verified``: the target was read back and holds what was written. ``detail`` as above.

    ``is_torn``: the target holds parts of this day beside parts of another, or may: nobody could look.
    """

    kind: FallbackKind
    attempts: int
    detail: str = ""
    verified: bool = False
    is_torn: bool = False


class Fallback(Protocol):
    """The database behind the API's readers, written directly when the API cannot be reached."""

    def write(self, body: bytes, snapshot: Snapshot, *, deadline: float) -> FallbackEnd:
        """Write the whole day or leave the old one; read back and write again, at most three times in all."""
        ...
