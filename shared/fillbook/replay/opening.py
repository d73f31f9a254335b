"""The book a run begins with: empty, or as live stood when the session date began.

Carried positions are booked first, from live's own fills with origin ``history``: not counted and not hashed. Starting cash is
live's equity then, less what the carried fills realize, so that equity is the same. What live remembered of a ticker comes from
the snapshot that its first decision of that date, or of the next date it had one, left behind. Source: replay.md 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final

from fillbook.ledger import bookstore
from fillbook.ledger import service as ledger
from fillbook.ledger.model import Book, Fill
from fillbook.replay import inputstore
from fillbook.replay.hashing import Remembered
from fillbook.replay.model import LIVE_BOOK, Run
from fillbook.runtime.db import Call, Tx
from fillbook.signal.profile import Profile
from fillbook.signal.receipt import instant
from fillbook.values import frozen

EMPTY: Final = "empty"
MOVING_NAMES: Final = ("position_id", "stop", "tiers_taken", "adds", "cycles_used")
PLAN_NAMES: Final = (*MOVING_NAMES, "plan", "sector")


@frozen
class Beginning:
    """What a run begins with: each ticker's memory, and fills to be booked before anything is decided."""

    memories: Mapping[str, Remembered]
    fills: Sequence[Fill] = ()


def open_run(tx: Tx, run: Run, profile: Profile, now: datetime) -> None:
    """Open the run's book and put into it what the run begins with."""
    first = run.scope.date_from
    if run.pins.start_from == EMPTY:
        ledger.open_book(tx, Book(book_id=run.book_id, start_cash=profile.size.start_cash), now)
        return
    begun = beginning(tx, run)
    cash = inputstore.live_start_cash(tx, first, [fill.fill_id for fill in begun.fills])
    ledger.open_book(tx, Book(book_id=run.book_id, start_cash=profile.size.start_cash if cash is None else cash), now)
    restore(tx, run, begun.memories, from_ts=None, snapshots_from=None)
    if begun.fills:
        ledger.book_fills(tx, run.book_id, list(begun.fills), now)
    open_plans(tx, run, begun.memories)


def beginning(tx: Tx, run: Run) -> Beginning:
    """What the run began with; the same whenever it is asked, because live's past does not change."""
    if run.pins.start_from == EMPTY:
        return Beginning(memories={})
    day: date = run.scope.date_from
    memories = {
        row["ticker"]: Remembered(version=row["state"]["version"], state=row["state"], plan=_plan(row["plan"]))
        for row in inputstore.live_states(tx, day)
        if row["state"] is not None and run.scope.ticker in (None, row["ticker"])
    }
    return Beginning(memories=memories, fills=_carried(tx, day, run.scope.ticker))


def _plan(document: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if document is None else {name: document[name] for name in PLAN_NAMES}


def _carried(tx: Tx, day: date, ticker: str | None) -> list[Fill]:
    fills = []
    for fill_id in inputstore.live_fill_ids(tx, day):
        version = bookstore.current_fill(tx, LIVE_BOOK, fill_id)
        if version is not None and ticker in (None, version.fill.instrument):
            fills.append(replace(version.fill, origin="history"))
    return fills


def restore(
    tx: Tx,
    run: Run,
    memories: Mapping[str, Remembered],
    *,
    from_ts: int | None,
    snapshots_from: date | None,
    ticker: str | None = None,
    until: int | None = None,
) -> None:
    """Take the signal side of the run's book back to ``from_ts`` (``None``: before anything) with these memories.

    ``until``: what was decided from then on stays, and so do the states.
    """
    plans = [memory.plan for memory in memories.values() if memory.plan is not None]
    document: dict[str, Any] = {
        "book_id": run.book_id,
        "from": instant(0 if from_ts is None else from_ts),
        "until": None if until is None else instant(until),
        "ticker": ticker,
        "snapshots_from": snapshots_from,
        "states": [{"ticker": name, "state": memory.state} for name, memory in memories.items()],
        "plans": [{name: plan[name] for name in MOVING_NAMES} for plan in plans],
    }
    tx.send(Call("signal.rewind", document))


def open_plans(tx: Tx, run: Run, memories: Mapping[str, Remembered]) -> None:
    """The plans of carried positions, as they stood."""
    rows = []
    for ticker, memory in memories.items():
        if memory.plan is not None:
            plan, frozen_plan = memory.plan, memory.plan["plan"]
            rows.append(
                {
                    "book_id": run.book_id,
                    "ticker": ticker,
                    "side": frozen_plan["side"],
                    "opened_at": instant(0),
                    "profile": frozen_plan["profile"],
                    "config_digest": frozen_plan["config_digest"],
                    "closed_at": None,
                    "close_reason": None,
                    **{name: plan[name] for name in PLAN_NAMES},
                }
            )
    if rows:
        tx.send(Call("signal.apply", {"plans_opened": rows}))
