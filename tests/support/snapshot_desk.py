"""Books, marks and work lists for the tests of a day's figures: booked by the ledger, refreshed and read as a publisher does.

Times are written in New York: ``2026-02-03T10:00``. Each case has a book of its own in a database that a module shares, and the
list of published books names that one alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from fillbook.calendar import NEW_YORK
from fillbook.ledger import service
from fillbook.ledger.model import Fill, Mark
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from fillbook.snapshot import days, source
from fillbook.snapshot.model import Source, WorkDay
from fillbook.snapshot.source import ViewNames
from tests.support.ledger import StoredWorld, make_book, make_fill

CASES = Path(__file__).parents[1] / "cases" / "snapshot" / "figures"


def ny(text: str) -> datetime:
    """An instant by the clock of New York, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC)


def number(text: Any) -> Decimal | None:
    """A number of a case; null is unknown."""
    return None if text is None else Decimal(text)


def fill_of(row: Mapping[str, Any], position: int, **changes: Any) -> Fill:
    """A fill of a case: at, side, instrument, quantity, price and whatever else ``make_fill`` takes."""
    options = {name: value for name, value in row.items() if name not in ("at", "side", "quantity", "price")} | changes
    at = ny(row["at"])
    options.setdefault("fees", "0")
    options.setdefault("source", "ibkr")
    return make_fill(
        options.pop("id", f"f{position}"),
        row["side"],
        row["quantity"],
        row["price"],
        **options,
        executed_at=at,
        received_at=at,
        session_date=at.date(),
    )


class SnapshotDesk:
    """A database whose published book can be changed from test to test."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def open(self, name: str, *, start_cash: Decimal = Decimal(100_000), **options: Any) -> StoredWorld:
        """Open a book (a broker's, or ``live``) and publish it alone."""
        book_id = name if name == "live" else f"ibkr:{name}"
        world = StoredWorld(self.db, make_book(book_id, start_cash=start_cash, **options))
        self.publish(book_id)
        return world

    def publish(self, *book_ids: str) -> None:
        """Make these the published books; what was published of others is forgotten."""
        self.run("delete from metrics.snapshot_books")
        self.run("delete from metrics.equity_days")
        self.run("insert into metrics.snapshot_books select unnest(:books::text[])", books=list(book_ids))

    def run(self, text: str, **params: object) -> int:
        """One statement in a transaction of its own."""
        with self.db.transaction() as tx:
            return tx.execute(statement(text), **params)

    def query(self, text: str, **params: object) -> list[dict[str, Any]]:
        """Rows of one statement."""
        with self.db.transaction(read_only=True) as tx:
            return tx.query(statement(text), **params)

    def mark(self, world: StoredWorld, instrument: str, at: str | datetime, price: Any, bid: Any = None, ask: Any = None) -> None:
        """An instrument is seen at a price."""
        instant = ny(at) if isinstance(at, str) else at
        seen = Mark(
            instrument=instrument,
            price=Decimal(price),
            bid=number(bid),
            ask=number(ask),
            marked_at=instant,
            source="signal",
        )
        service.run(self.db, lambda tx: service.mark(tx, world.book.book_id, [seen], instant))

    def refreshed(self, *planned: WorkDay) -> None:
        """Put just these days on the list and refresh."""
        source.put_days(self.db, planned)
        source.refresh(self.db)

    def figures(self, now: str | datetime, day: date | None = None) -> Source:
        """The day of ``now`` (or another one) as it is seen then: listed alone, refreshed, read."""
        instant = ny(now) if isinstance(now, str) else now
        planned = days.plan(days.trading_day(instant) if day is None else day, instant)
        self.refreshed(planned)
        return source.read(self.db, ViewNames(), planned)

    def case(self, name: str, told: Mapping[str, Any]) -> Source:
        """Book a case of ``tests/cases/snapshot/figures`` and return its figures."""
        world = self.open(name, start_cash=Decimal(told.get("start_cash", "100000")), **told.get("book", {}))
        for position, row in enumerate(told.get("fills", [])):
            world.deliver([fill_of(row, position)], ny(row["at"]))
        for split in told.get("splits", []):
            self.split(world, **split)
        for row in told.get("marks", []):
            self.mark(world, row["instrument"], row["at"], row["price"], row.get("bid"), row.get("ask"))
        for row in told.get("equity_days", []):
            self.equity_day(*row)
        return self.figures(told["now"])

    def equity_day(self, day: str, equity: str, daily_return: str | None) -> None:
        """What was published at the end of an earlier day."""
        with self.db.transaction() as tx:
            source.put_equity(
                tx, date.fromisoformat(day), equity=Decimal(equity), daily_return=number(daily_return), content_sha256="-"
            )

    def split(self, world: StoredWorld, instrument: str, at: str, ratio: list[int]) -> None:
        """A split of an instrument at an instant."""
        from fillbook.ledger.model import Adjustment

        adjustment = Adjustment(
            book_id=world.book.book_id,
            instrument=instrument,
            ratio_num=ratio[0],
            ratio_den=ratio[1],
            effective_at=ny(at),
            entered_by="operator",
            reason="announced by the exchange",
        )
        service.run(self.db, lambda tx: service.adjust(tx, adjustment, ny(at)))


def cases() -> dict[str, dict[str, Any]]:
    """Every hand-worked case by its name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(CASES.glob("*.json"))}


def series(read: Source, kpi: str) -> list[tuple[str, Decimal, str]]:
    """A KPI's points as (New York clock, value, source)."""
    return [
        (f"{row['ts'].astimezone(NEW_YORK):%H:%M}", row["value"], row["source"]) for row in read.series if row["kpi_name"] == kpi
    ]


def ends(read: Source, kpi: str, side: str) -> list[dict[str, Any]]:
    """One side of a KPI's extremes in order of rank."""
    return [dict(row) for row in read.extremes if (row["kpi_name"], row["side"]) == (kpi, side)]


def figure(read: Source, kpi: str) -> tuple[Decimal | None, str | None]:
    """A KPI's number and why there is none."""
    assert read.values is not None
    row = read.values[kpi]
    return row["value_num"], row["missing_reason"]
