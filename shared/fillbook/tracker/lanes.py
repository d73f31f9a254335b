"""The kanban board: always all eight lanes in their order, every ticker in exactly one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.signal.rules import reason_words
from fillbook.tracker import store
from fillbook.tracker.model import books, single, whole
from fillbook.tracker.wire import answer, instants, text

CARDS_MAX = 50
PARAMETERS = frozenset({"books", "ticker", "cards"})

# key, title, stages: the list is data, so a ninth lane needs no code
LANES = (
    ("watching", "Watching", ("watch", "setup_watch")),
    ("almost_ready", "Almost Ready", ("flip_watch", "just_flipped")),
    ("enter_now", "Enter Now", ("enter_now",)),
    ("just_entered", "Just Entered", ("just_entered",)),
    ("hold", "Hold", ("hold",)),
    ("trim", "Trim", ("trim",)),
    ("exit", "Exit", ("exit",)),
    ("archived", "Archived", ("archive",)),
)
ORDER = {stage: number for number, (_, _, stages) in enumerate(LANES) for stage in stages}


def lanes(db: Database, key: DeskKey, given: Mapping[str, list[str]], now: datetime) -> dict[str, Any]:
    """All lanes with their newest cards; ``position`` says from the ledger whether a lane's tickers hold one."""
    one = single(given, PARAMETERS)
    cards = whole(one.get("cards", str(CARDS_MAX)), "cards", CARDS_MAX)
    with store.look(db, key, books(one)) as seen:
        rows = seen.rows("board", ticker=one.get("ticker"))
    found: list[dict[str, Any]] = []
    for lane, title, stages in LANES:
        here = [row for row in rows if row["lane"] in stages]
        found.append(
            {
                "key": lane,
                "title": title,
                "position": any(row["position_id"] is not None for row in here),
                "count": len(here),
                "cards": [card(row) for row in here[:cards]],
            }
        )
    newest = max((row["last_ts"] for row in rows), default=None)
    return answer(now, newest, seen.books, count=len(rows), lanes=found)


def card(row: Mapping[str, Any]) -> dict[str, Any]:
    """One ticker on the board, with why it is there and why it is not traded."""
    before = row["previous_lane"]
    change = row["day_change_percent"]
    return {
        "ticker": row["ticker"],
        "direction": row["side"],
        "stage": row["lane"],
        "previous_stage": before,
        **instants("moved", row["lane_since"]),
        "moved": None if before is None else "forward" if ORDER[row["lane"]] > ORDER[before] else "backward",
        "score": text(row["score"]),
        "price": text(row["last_price"]),
        **instants("price", row["last_ts"]),
        "day_change_percent": text(change),
        "day_direction": "unknown" if change is None else "up" if change > 0 else "down" if change < 0 else "flat",
        "badges": list(row["badges"] or ()),
        "reasons": [{"code": row["reason"], "text": reason_words(row["reason"])}],
        "block_reasons": [{"code": block["rule"], "text": block["why"]} for block in row["blocks"] or ()],
        "position_id": row["position_id"],
        "receipt_id": row["last_receipt_id"],
    }
