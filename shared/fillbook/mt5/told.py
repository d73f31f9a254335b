"""Rows of a page that came before: what they say as one digest, and how the same bytes are recognised without being read. Pure.

Problem. An account that does nothing tells the deals of its last 48 hours again every five minutes, and reading a thousand of
them costs more than all else that is done for it. Observations. A service that has nothing new to say writes the same bytes;
whoever read them before knows what they say. Choice. Beside the digest of an account's state stands the hash of the bytes that
its last whole page of deals had, with the digest of what they said and the span of time they lie in. A page whose list has that
hash, in a window that would leave nothing of it out, is taken for read: the rest of it (whose it is, whether it is whole, how
many there are) is read and checked as always. Nothing is believed of what is stored. Source: mt5 specification, 2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Any, Final

from fillbook.money import plain
from fillbook.mt5.known import Told
from fillbook.mt5.model import Deal, Info, OpenPosition, PairedTrade, Window
from fillbook.mt5.revisions import content_text

BYTES_MIN: Final = 16_384
"""Pages below this are read: some fifty deals."""


def rows_hash(rows: bytes) -> bytes:
    """Of a list as it came."""
    return hashlib.sha256(rows).digest()


def content(deals: Iterable[Deal] = (), paired: Iterable[PairedTrade] = ()) -> bytes:
    """SHA-256 of what rows say: their order, repeated rows and the spelling of numbers change nothing."""
    return _of_lines(line(row) for rows in (deals, paired) for row in rows)


def told(rows: bytes, deals: Sequence[Deal]) -> Told:
    """What is kept of a list that was read: ``deals`` are all its rows, of which there is one at least."""
    times = [deal.time_msc for deal in deals]
    return Told(rows_hash=rows_hash(rows), content=content(deals), count=len(deals), first_msc=min(times), last_msc=max(times))


def is_within(one: Told, window: Window) -> bool:
    """Whether a window leaves none of the rows out."""
    return window.from_msc <= one.first_msc and one.last_msc < window.to_msc


def state_digest(info: Info, positions: Iterable[OpenPosition], rows: bytes) -> bytes:
    """SHA-256 of a normalised answer, ``rows`` being the ``content`` of its deals.

    Equal to ``account_sync_state.state_digest`` means that there is nothing to write, unless something waits: an absence that
    counts polls, an open gap, a read of the past.
    """
    return _of_lines([line(info), *map(line, positions), rows.hex()])


def line(row: Info | OpenPosition | Deal | PairedTrade) -> str:
    """What a row says, as JSON."""
    if type(row) is Deal:  # by the hundred in every answer
        told = content_text(row)
        return f"{told}{_json(_plain(row.extra))}" if row.extra else told
    return _json([type(row).__name__, *(_plain(getattr(row, each.name)) for each in fields(row))])


def _of_lines(lines: Iterable[str]) -> bytes:
    return hashlib.sha256("\n".join(sorted(set(lines))).encode()).digest()


def _json(values: Any) -> str:
    return json.dumps(values, separators=(",", ":"), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
