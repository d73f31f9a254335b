"""Paging while fills, corrections and exits arrive: every position known at the start is returned exactly once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from flask.testing import FlaskClient

from fillbook.ledger import service
from fillbook.ledger.model import Book, Fill, Side
from fillbook.runtime.db import Database
from tests.support.campaigns import chance, small_or_full, tell
from tests.support.tracker_desk import BOOKED_AT, fill, get

POSITIONS = small_or_full(60, 100_000)
BATCH = small_or_full(60, 500)
LIMIT = small_or_full("7", "1000")
BEGINS = BOOKED_AT - timedelta(seconds=POSITIONS)
Kept = tuple[int, str]


def named(number: int) -> str:
    return f"ZP{number:06}"


def opening(number: int, quantity: str = "10") -> Fill:
    """One position a number; three of them are opened at the same instant."""
    at = BEGINS + timedelta(seconds=number // 3 * 3)
    return replace(fill(named(number), 1, Side.BUY, quantity, "100"), executed_at=at)


def deliver(db: Database, facts: list[Fill], second: int) -> None:
    with db.transaction() as tx:
        service.book_fills(tx, "live", facts, BOOKED_AT + timedelta(seconds=second))


def arrivals(number: int, turn: int) -> list[Fill]:
    """What comes between two pages: a trim, an exit, a late fill before the entry, a correction, a bust, a stranger."""
    entry = opening(number)
    sold = fill(named(number), 9, Side.SELL, "4", "110")
    early = replace(fill(named(number), 2, Side.BUY, "1", "90"), executed_at=entry.executed_at - timedelta(minutes=30 + turn))
    revised = replace(entry, source_revision=2, cause="revision", executed_at=entry.executed_at - timedelta(minutes=45))
    return [
        sold,
        replace(sold, quantity=sold.quantity + 6),
        early,
        revised,
        replace(entry, is_bust=True, cause="bust"),
        replace(fill(f"ZN{turn:05}", 3, Side.BUY, "1", "5"), executed_at=entry.executed_at),
    ][turn % 6 : turn % 6 + 1]


def test_every_position_known_at_the_start_is_returned_exactly_once_while_the_book_moves(
    client: FlaskClient, db: Database
) -> None:
    opened(db)
    for start in range(0, POSITIONS, BATCH):
        deliver(db, [opening(number) for number in range(start, min(start + BATCH, POSITIONS))], 1 + start // BATCH)
    known = dict(map(kept, everything(client, "?limit=1000&include=lots,actions")))
    rng, second, turn = chance(8), 240, 0
    seen: list[tuple[str, Kept]] = []
    seen_actions: list[str] = []
    cursor: str | None = ""
    own: str | None = ""
    while cursor is not None:
        page = get(client, f"/timed/trades?limit={LIMIT}&include=lots,actions" + (f"&cursor={cursor}" if cursor else ""))[1]
        if own is not None:
            listed = get(client, f"/timed/ledger/actions?limit={LIMIT}" + (f"&cursor={own}" if own else ""))[1]
            seen_actions, own = seen_actions + [row["action_id"] for row in listed["actions"]], listed["next_cursor"]
        seen += map(kept, page["trades"])
        cursor = page["next_cursor"]
        for _ in range(3):
            deliver(db, arrivals(rng.randrange(POSITIONS), turn), second)
            second, turn = second + 1, turn + 1
    assert len(seen) == len(dict(seen)) == POSITIONS
    assert dict(seen) == known
    ids = [position_id for position_id, _ in seen]
    assert ids == sorted(ids, key=lambda one: (known[one][0], one), reverse=True)
    after = dict(map(kept, everything(client, "?limit=1000&include=lots,actions")))
    assert len(seen_actions) == len(set(seen_actions)) == POSITIONS
    assert after.keys() != known.keys()
    assert [one for one in known if one in after and after[one] != known[one]]
    tell(f"{POSITIONS:,} positions, {turn} arrivals between pages")


def opened(db: Database) -> None:
    with db.transaction() as tx:
        service.open_book(tx, Book(book_id="live", start_cash=Decimal(100_000_000)), BEGINS - timedelta(days=1))


def everything(client: FlaskClient, query: str) -> Iterator[dict[str, Any]]:
    """All rows of a list, page by page."""
    cursor: str | None = ""
    while cursor is not None:
        page = get(client, f"/timed/trades{query}" + (f"&cursor={cursor}" if cursor else ""))[1]
        yield from page["trades"]
        cursor = page["next_cursor"]


def kept(trade: dict[str, Any]) -> tuple[str, Kept]:
    """A position's id, when it began, and what it is all through, in few bytes."""
    text = json.dumps(without_marks(trade), sort_keys=True)
    return trade["position_id"], (trade["first_entry_ts"], hashlib.sha256(text.encode()).hexdigest())


def without_marks(trade: dict[str, Any]) -> dict[str, Any]:
    """What does not move with prices."""
    return {
        name: value for name, value in trade.items() if not name.startswith(("price", "current", "day_", "unrealized", "return"))
    }
