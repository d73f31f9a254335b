"""Executions told by the notifier's desk, and passes of the proof over them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fillbook.ledger import service as ledger
from fillbook.ledger.model import Fill
from fillbook.notify import reconcile, runs
from fillbook.notify.judging import UNDER_WAY
from tests.support.ledger import at, make_book, make_fill
from tests.support.notify_desk import NotifyDesk, Stepping


def book(desk: NotifyDesk, *fills: Fill, book_id: str = "live") -> None:
    """Book fills in the ledger and hand its events to the notifier; the clock stands a while after the last fill."""
    with desk.admin.transaction() as tx:
        ledger.open_book(tx, make_book(book_id), desk.clock.now())
    with desk.admin.transaction() as tx:
        ledger.book_fills(tx, book_id, fills, desk.clock.now())
    desk.relay()


def trades(count: int, *, ticker: str = "AMD") -> list[Fill]:
    """Entry, add, trim over two lots and exit, again and again."""
    steps = (("BUY", "10", "100"), ("BUY", "5", "101"), ("SELL", "12", "103"), ("SELL", "3", "102"))
    return [
        make_fill(f"{ticker}{number}", *steps[number % 4], minute=number, instrument=ticker, fees="0.5")
        for number in range(count)
    ]


def prove(desk: NotifyDesk, *, repair: bool = True, allowance: float = 50_000, **window: Any) -> dict[str, Any]:
    """A proof of what was booked so far, which is looked for from a minute later on."""
    desk.clock.step(UNDER_WAY.total_seconds() + 1)
    return prove_now(desk, repair=repair, allowance=allowance, **window)


def prove_now(desk: NotifyDesk, *, repair: bool = True, allowance: float = 50_000, **window: Any) -> dict[str, Any]:
    """A proof that begins at once."""
    now = desk.clock.now()
    run_id, is_new = runs.ask(
        desk.db, since=window.get("since", at(-60)), until=window.get("until", at(6000)),
        repair=repair, requested_by="test", now=now,
    )  # fmt: skip
    assert is_new
    for _ in range(100):
        status = reconcile.work(desk.desk, Stepping(desk.clock, allowance), run_id)
        if status != "running":
            break
        desk.clock.step(60)
    run = reconcile.run_of(desk.desk, run_id)
    assert run is not None
    return {**run["counts"], "status": run["status"], "run_id": run["run_id"]}


def findings(desk: NotifyDesk, run: dict[str, Any]) -> list[dict[str, Any]]:
    return list(reconcile.findings_of(desk.desk, UUID(str(run["run_id"])), 500))
