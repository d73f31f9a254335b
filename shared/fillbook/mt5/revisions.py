"""Deals read again: a known ticket with other content becomes a new revision, and what a broker took out is withdrawn.

Brokers edit and delete deals, answers repeat them, an adapter may know less than the one before it. So equal content writes
nothing, an optional field that is not said keeps what is known, and one absence proves nothing: a deal is withdrawn only
when three complete reads over a day no longer hold it and the account's money adds up without it. Source: 5 and 7.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from fillbook.money import plain
from fillbook.mt5.deals import Effect, Stored, effect_of
from fillbook.mt5.model import Deal, DealVersion, Window
from fillbook.values import frozen

MISSED_READS_MIN: Final = 3
MISSED_FOR_MIN: Final = timedelta(hours=24)
_CONTENT: Final = (
    "deal_ticket",
    "order_id",
    "position_id",
    "time_msc",
    "deal_type",
    "entry",
    "reason",
    "symbol",
    "volume",
    "price",
    "profit",
    "commission",
    "swap",
    "fee",
    "magic",
    "comment",
    "external_id",
)
_OPTIONAL: Final = ("reason", "magic", "comment", "external_id")


@frozen(kw_only=False)
class Merged:
    """New rows of ``mt5.deals``, and the positions whose trades are to be derived again."""

    versions: tuple[DealVersion, ...]
    positions: frozenset[int]


@frozen
class Missed:
    """A stored deal that complete reads of its time no longer hold: since when, and how many of them."""

    deal_ticket: int
    first_missed_at: datetime
    reads: int


def content_text(deal: Deal) -> str:
    """What the broker said of a deal, as a JSON list of texts; equal for equal numbers, however they are written.

    ``extra`` stays outside. Of whole numbers and amounts no character has to be escaped, so that only texts are.
    """
    return (
        f'["{deal.deal_ticket}","{deal.order_id}","{deal.position_id}","{deal.time_msc}","{deal.deal_type}","{deal.entry}",'
        f'{_whole(deal.reason)},{quoted(deal.symbol)},"{plain(deal.volume)}","{plain(deal.price)}","{plain(deal.profit)}",'
        f'"{plain(deal.commission)}","{plain(deal.swap)}","{plain(deal.fee)}",{_whole(deal.magic)},'
        f"{_remark(deal.comment)},{_remark(deal.external_id)}]"
    )


def content_hash(deal: Deal) -> bytes:
    """Hash of ``content_text``: two deals that say the same have the same."""
    return hashlib.sha256(content_text(deal).encode()).digest()


def last_rows(read: Iterable[Deal]) -> dict[int, Deal]:
    """Deals by ticket; of a ticket read twice the last row counts."""
    return {deal.deal_ticket: deal for deal in read}


def merge(stored: Mapping[int, Stored], read: Iterable[Deal], now: datetime) -> Merged:
    """What reading ``read`` adds to the stored deals. ``stored`` holds at least the tickets read; of a ticket read twice in
    one answer the last row counts.
    """
    versions: list[DealVersion] = []
    positions: set[int] = set()
    for deal in last_rows(read).values():
        known = stored.get(deal.deal_ticket)
        if known is None:
            versions.append(DealVersion(deal=deal, recorded_at=now))
            positions |= _positions(deal)
            continue
        told = _filled(deal, known.deal)
        if known.withdrawn or not _equal(told, known.deal):
            versions.append(DealVersion(deal=told, revision=known.revision + 1, recorded_at=now))
            positions |= _positions(told) | _positions(known.deal)
    return Merged(tuple(versions), frozenset(positions))


def withdraw(known: Stored, now: datetime) -> DealVersion:
    """The revision that says a deal no longer counts."""
    return DealVersion(deal=known.deal, revision=known.revision + 1, withdrawn=True, recorded_at=now)


def missed(
    stored: Iterable[Stored], read: Iterable[int], window: Window, before: Mapping[int, Missed], now: datetime
) -> dict[int, Missed]:
    """Who is missing after a **complete** read of ``window`` returned the tickets ``read``; one that is back is forgotten.

    ``before``: as it stood; what lies outside the window is carried on unchanged.
    """
    held = set(read)
    result = {ticket: one for ticket, one in before.items() if ticket not in held}
    for one in stored:
        ticket = one.deal.deal_ticket
        if one.withdrawn:
            result.pop(ticket, None)
        elif ticket not in held and window.from_msc <= one.deal.time_msc < window.to_msc:
            known = before.get(ticket)
            result[ticket] = (
                Missed(deal_ticket=ticket, first_missed_at=now, reads=1)
                if known is None
                else replace(known, reads=known.reads + 1)
            )
    return result


def is_gone(one: Missed, now: datetime) -> bool:
    """Whether a missing deal may be withdrawn, provided that the cash check passes without it."""
    return one.reads >= MISSED_READS_MIN and now - one.first_missed_at >= MISSED_FOR_MIN


def _positions(deal: Deal) -> set[int]:
    return set() if effect_of(deal) is Effect.CASH else {deal.position_id}


def _filled(deal: Deal, known: Deal) -> Deal:
    """The deal as read, with what is known of fields that were not said."""
    kept = {name: getattr(known, name) for name in _OPTIONAL if getattr(deal, name) is None and getattr(known, name) is not None}
    return replace(deal, **kept) if kept else deal


def _equal(one: Deal, other: Deal) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in _CONTENT)


def _whole(value: int | None) -> str:
    return "null" if value is None else f'"{value}"'


def _remark(value: str | None) -> str:
    return "null" if value is None else quoted(value)
