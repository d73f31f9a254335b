"""What the room asks of the outside and what it gets back: the ports that adapters fill, and the values that pass through.

A port has one or two methods. An adapter stores nothing and decides nothing: it hands over rows, refusals and counts, and
says what its answer really covers. ``main.py`` makes the adapter and hands it in.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Protocol

from fillbook.ibkr.allowlist import AllowList
from fillbook.ibkr.model import PositionRow, Refusal, Row, Window
from fillbook.ibkr.words import Source
from fillbook.values import frozen


@frozen
class Span:
    """What an answer really covers for one account, whatever was asked."""

    account_id: int
    covered: Window


@frozen
class Target:
    """Where a socket run dials. The adapter adds what its configuration knows of (host, port): zone, reach, client id pool."""

    host: str
    port: int
    client_id: int
    connect_timeout_seconds: int
    allow_list: AllowList


@frozen
class Fetched:
    """What one socket fetch brought. ``fetched_count``: execDetails frames tapped, the unreadable ones included.

    ``refusals`` holds one entry per such frame, so fetched = execution rows + refusals of execution frames.
    ``is_end_seen`` False: the socket was lost or no end frame came; ``error_class`` then says which (a slug).
    ``covered``: one span per account asked. ``asked_at``: the moment of asking, the end of the window.
    """

    rows: tuple[Row, ...]
    refusals: tuple[Refusal, ...] = ()
    fetched_count: int
    library_dropped_count: int = 0
    is_end_seen: bool
    covered: tuple[Span, ...]
    asked_at: datetime
    error_class: str | None = None
    error_detail: str | None = None
    client_version: str = ""


class ExecutionSource(Protocol):
    """The socket as ``runs.sync_trades_once`` sees it (``tws.py``)."""

    def fetch(self, target: Target, window: Window) -> Fetched:
        """Ask once. Raises ``Unavailable`` when nothing usable came (refused, silent, request error); stores nothing."""
        ...


@frozen
class StatementSpan:
    """The days one FlexStatement covers, both inclusive, and when the broker wrote it.

    ``states_positions``: it has a section of open positions; one without any row then means flat, no section means nothing.
    """

    account_code: str
    from_date: date
    to_date: date
    generated_at: datetime
    states_positions: bool = False


@frozen
class StatementHead:
    """What pass 1 found in a sound document."""

    source: Source
    spans: tuple[StatementSpan, ...]
    sha256: bytes
    byte_count: int


@frozen
class Chunk:
    """At most ``CHUNK_ROWS_MAX`` rows of a document. ``fetched_count``: EXECUTION rows (rows + refusals); skipped: the others."""

    rows: tuple[Row, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    positions: tuple[PositionRow, ...] = ()
    fetched_count: int
    skipped_count: int = 0


class StatementDocument(Protocol):
    """A Flex document on disk as ``runs.import_statement_once`` sees it (``flex_statement.py``)."""

    def check(self) -> StatementHead:
        """Pass 1: raises ``Rejected`` for a broken or incomplete document, before anything is written."""
        ...

    def chunks(self, allow_list: AllowList) -> Iterator[Chunk]:
        """Pass 2: rows sorted within a chunk by (account, executed_at, settled_key, revision, transaction id)."""
        ...


@frozen
class PositionsSnapshot:
    """All positions at ``as_of``. No end, or an error, is no answer, which is not flat: then ``is_end_seen`` is False."""

    rows: tuple[PositionRow, ...]
    refusals: tuple[Refusal, ...] = ()
    accounts: tuple[int, ...]
    as_of: datetime
    is_end_seen: bool
    error_class: str | None = None
    error_detail: str | None = None
    client_version: str = ""


class PositionSource(Protocol):
    """The socket as ``positions.sync_positions_once`` sees it."""

    def fetch_positions(self, target: Target) -> PositionsSnapshot:
        """Ask once; raises ``Unavailable`` when nothing usable came."""
        ...


@frozen
class FlexAnswer:
    """What the Flex web service made of one call; exactly one of four things.

    ``reference_code`` with ``statement_url`` (a checked address, never logged): the statement is being made. ``document``: a
    body on disk, to be closed by whoever asked. ``error_code``: the service's own code, ``error_text`` its sentence.
    ``failure``: nothing that the service's contract knows (a slug: ``flex_timeout``, ``flex_not_xml``, …), ``error_text`` then
    holds the first 4 KiB of the body.
    """

    reference_code: str | None = None
    statement_url: str | None = None
    document: FlexBody | None = None
    error_code: int | None = None
    error_text: str = ""
    failure: str | None = None


class FlexBody(StatementDocument, Protocol):
    """A fetched document; ``close`` removes it from the disk."""

    @property
    def head(self) -> str:
        """The first 4 KiB as text, for the note of a refused one."""
        ...

    def close(self) -> None:
        """Remove the file; the document cannot be read afterwards."""
        ...


class FlexService(Protocol):
    """The Flex web service as ``flexjobs`` sees it (``flex.py``): one call each, nothing repeated, nothing raised."""

    @property
    def token_name(self) -> str:
        """The name under which the token's pacing is kept; never the token."""
        ...

    @property
    def fingerprint(self) -> str:
        """The first 8 hex digits of the token's sha256: another one means that the token was changed."""
        ...

    def send(self, query_id: str, from_date: date, to_date: date) -> FlexAnswer:
        """Phase 1: ask for a statement of the days, both inclusive."""
        ...

    def fetch(self, statement_url: str, reference_code: str) -> FlexAnswer:
        """Phase 2: fetch it at the address that phase 1 returned; an address that is not the broker's is a failure."""
        ...
