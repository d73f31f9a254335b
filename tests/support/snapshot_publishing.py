"""A desk that publishes: the worked case W1 in the live book, a receiver with a will of its own, and the publisher before both.

The publisher acts with the grants of its login role only. W1 is the specification's: two trades of 11 February 2026.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from fillbook.ledger import service as ledger
from fillbook.ledger.model import Fill, Mark
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from fillbook.snapshot import document, publish
from fillbook.snapshot.asked import asked
from fillbook.snapshot.outcomes import DayResult, Outcome
from fillbook.snapshot.publishing import Ground
from fillbook.snapshot.source import REFRESH_SECONDS, ViewNames
from fillbook.snapshot.sources import (
    Fallback,
    FallbackEnd,
    FallbackKind,
    Receiver,
    ReceiverEnd,
    Sending,
    SentKind,
    Stored,
    StoredKind,
)
from tests.support.ledger import make_book, make_fill

ROLE = "snapshot_publisher"
DAY = date(2026, 2, 11)
SCHEDULED = {"premarket": (9, 0), "midday": (12, 30), "postmarket": (16, 30), "watch": (17, 0)}


def new_york(clock: str, day: date = DAY) -> datetime:
    """A winter instant by New York's clock."""
    hour, minute = clock.split(":")[:2]
    return datetime(day.year, day.month, day.day, int(hour), int(minute), tzinfo=UTC) + timedelta(hours=5)


EVENING = new_york("16:30")


def w1_fills(day: date = DAY) -> list[Fill]:
    """The five fills of W1; the session date is the day's."""

    def one(name: str, instrument: str, direction: str, side: str, quantity: int, price: str, fees: str, clock: str) -> Fill:
        return make_fill(
            f"{day}-{name}",
            side,
            quantity,
            price,
            instrument=instrument,
            direction=direction,
            fees=fees,
            executed_at=new_york(clock, day),
            session_date=day,
            received_at=new_york(clock, day),
        )

    return [
        one("1", "AAPL", "LONG", "BUY", 10, "100", "1", "09:45"),
        one("2", "TSLA", "SHORT", "SELL", 4, "250", "1", "10:00"),
        one("3", "AAPL", "LONG", "BUY", 10, "110", "1", "10:30"),
        one("4", "TSLA", "SHORT", "BUY", 4, "255", "1", "11:03"),
        one("5", "AAPL", "LONG", "SELL", 5, "120", "0.50", "14:00"),
    ]


def w1_marks(day: date = DAY) -> list[Mark]:
    """AAPL seen once an hour from the open to five minutes before the close, at W1's last price throughout."""
    clocks = ["09:31", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00", "15:55"]
    found = []
    for instrument, price, half in (("AAPL", "115", "0.10"), ("TSLA", "255", "0.05")):
        found += [
            Mark(
                instrument=instrument,
                price=Decimal(price),
                bid=Decimal(price) - Decimal(half),
                ask=Decimal(price) + Decimal(half),
                marked_at=new_york(clock, day),
                source="tests",
            )
            for clock in clocks
        ]
    return found


class Shelf:
    """Port ``Receiver``: keeps a day's content and counts versions. ``says``: how it ends instead, in turn.

    ``during`` is called while a day is on its way, before it is kept.
    """

    def __init__(self) -> None:
        self.sent: list[Sending] = []
        self.looked: list[date] = []
        self.days: dict[date, tuple[str, int]] = {}
        self.says: list[ReceiverEnd] = []
        self.shows: list[Stored] = []
        self.during: Callable[[], None] = lambda: None

    def send(self, sending: Sending, *, before_attempt: Callable[[], None], deadline: float) -> ReceiverEnd:
        """See ``sources.Receiver``."""
        del deadline
        before_attempt()
        self.sent.append(sending)
        self.during()
        if self.says:
            return self.says.pop(0)
        digest, version = self.days.get(sending.snapshot.date, ("", 0))
        version += digest != sending.content_sha256
        self.days[sending.snapshot.date] = (sending.content_sha256, version)
        return ReceiverEnd(kind=SentKind.STORED, attempts=1, http_status=200, version=version, verified=True)

    def stored(self, sending: Sending, *, deadline: float) -> Stored:
        """See ``sources.Receiver``."""
        del deadline
        self.looked.append(sending.snapshot.date)
        return self.shows.pop(0) if self.shows else Stored(kind=StoredKind.SAME)


class Cellar:
    """Port ``Fallback``: ends as ``says`` says, in turn, else stores."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.says: list[FallbackEnd] = []

    def write(self, body: bytes, snapshot: Any, *, deadline: float) -> FallbackEnd:
        """See ``sources.Fallback``."""
        del snapshot, deadline
        self.written.append(body)
        return self.says.pop(0) if self.says else FallbackEnd(kind=FallbackKind.STORED, attempts=1, verified=True)


UNREACHED = ReceiverEnd(kind=SentKind.UNREACHED, attempts=4, detail="ambiguous: Timeout")


class PublishDesk:
    """The publisher on a test's own database."""

    def __init__(
        self, open_database: Callable[..., Database], db: Database, query: Any, *, receiver: Receiver | None = None
    ) -> None:
        self.db, self.query = db, query
        self.clock = FixedClock(EVENING)
        self.shelf, self.cellar = Shelf(), Cellar()
        self.relayed: list[int] = []
        self.ground = Ground(
            db=open_database(ROLE, statement_timeout_seconds=30),
            refreshing=open_database(ROLE, statement_timeout_seconds=REFRESH_SECONDS, pool_size=1),
            names=ViewNames(),
            clock=self.clock,
            receiver=receiver or self.shelf,
            fallback=None,
            relay=self.relayed.extend,
        )

    # -- the book --------------------------------------------------------------------------------------------------------

    def open_book(self, start_cash: str = "100000") -> None:
        """The live book, empty."""
        book = make_book(start_cash=Decimal(start_cash))
        ledger.run(self.db, lambda tx: ledger.open_book(tx, book, new_york("09:00", DAY - timedelta(days=30))))

    def trade(self, fills: Sequence[Fill], *, at: datetime | None = None) -> None:
        """Book fills, recorded at an instant (when the last of them was executed)."""
        now = at or max(fill.executed_at for fill in fills) + timedelta(seconds=1)
        ledger.run(self.db, lambda tx: ledger.book_fills(tx, "live", fills, now))

    def mark(self, marks: Sequence[Mark]) -> None:
        """Keep marks, each recorded when it was seen."""
        for mark in marks:
            ledger.run(self.db, lambda tx, mark=mark: ledger.mark(tx, "live", [mark], mark.marked_at))

    def w1(self, day: date = DAY) -> None:
        """The worked case, fill by fill."""
        self.open_book()
        for fill in w1_fills(day):
            self.trade([fill])
        self.mark(w1_marks(day))

    def make_foreign_views(self) -> None:
        """Tables that hold what our views show of W1, its series once an hour: somebody else's views, free to be spoilt."""
        self.query("create schema reports")
        self.query(f"grant usage on schema reports to {ROLE}")
        for name in ("kpi", "series", "extremes", "portfolio"):
            few = "and extract(minute from ts) = 0" if name == "series" else ""
            self.query(
                f"create table reports.{name} as select * from {getattr(ViewNames(), name)} where report_date = '{DAY}' {few}"
            )
            self.query(f"grant select on reports.{name} to {ROLE}")

    def read_foreign_views(self) -> None:
        """From now on those are published."""
        theirs = ViewNames(kpi="reports.kpi", series="reports.series", extremes="reports.extremes", portfolio="reports.portfolio")
        self.ground = replace(self.ground, names=theirs, refreshing=None)

    def again_on(self, days: Sequence[date]) -> None:
        """Somebody else's views show on these days what they show of W1's."""
        for name in ("kpi", "series", "extremes", "portfolio"):
            found = self.query(
                "select column_name from information_schema.columns where table_schema = 'reports' and table_name = :name"
                " order by ordinal_position",
                name=name,
            )
            moved = {"report_date": "d", "ts": f"ts - (date '{DAY}' - d) * interval '1 day'"}
            columns = ", ".join(moved.get(row["column_name"], row["column_name"]) for row in found)
            self.query(
                f"insert into reports.{name} select {columns} from reports.{name} cross join unnest(:days::date[]) as d"
                f" where report_date = '{DAY}' returning 1",
                days=list(days),
            )

    # -- calls -----------------------------------------------------------------------------------------------------------

    def with_fallback(self, fallback: Fallback | None = None) -> None:
        """From now on there is one."""
        self.ground = replace(self.ground, fallback=fallback or self.cellar)

    def at(self, clock: str, day: date = DAY) -> None:
        """Set the desk clock."""
        self.clock = FixedClock(new_york(clock, day))
        self.ground = replace(self.ground, clock=self.clock)

    def call(self, run: str = "", *, cron: datetime | None = None, seconds: float = 540, **body: Any) -> Outcome:
        """A person's call, or the scheduler's; ``seconds``: what the whole of it may take."""
        wanted = asked(body, scheduled_at=cron, actor="somebody", now=self.clock.now())
        return publish.publish(self.ground, wanted, run_id=run or next_run(), call_seconds=seconds)

    def slot(self, name: str, day: date = DAY) -> Outcome:
        """The scheduled call of a slot, at its time."""
        hour, minute = SCHEDULED[name]
        self.at(f"{hour:02}:{minute:02}", day)
        return self.call(cron=self.clock.now(), slot=name)

    def publish(self, **body: Any) -> DayResult:
        """A person's call for one day, and its one result."""
        (result,) = self.call(**body).results
        return result

    # -- what came of it -------------------------------------------------------------------------------------------------

    def rows(self, day: date = DAY) -> list[dict[str, Any]]:
        """The ledger of publications of a day, oldest first."""
        return list(self.query("select * from metrics.v_publications where report_date = :day order by seq", day=day))

    def statuses(self, day: date = DAY) -> list[str]:
        """How the publications of a day stand."""
        return [row["status"] for row in self.rows(day)]

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Events of this room, in order: type and data."""
        found = self.query(
            "select event_type, payload::jsonb->'data' as data from outbox.events where event_type like 'snapshot_%' order by id"
        )
        return [(row["event_type"], row["data"]) for row in found]

    def kept(self) -> list[bytes]:
        """Bytes that are still there."""
        return [bytes(row["body"]) for row in self.query("select body from metrics.publication_documents order by recorded_at")]

    def leases(self) -> int:
        """Days that somebody has."""
        return len(self.query("select from metrics.publication_leases"))

    def end_leases(self) -> None:
        """Three minutes of real time later."""
        self.query("update metrics.publication_leases set expires_at = clock_timestamp() returning token")


_RUNS = iter(range(1, 1_000_000))
_TURN = threading.Lock()


def next_run() -> str:
    """A run id."""
    with _TURN:
        return f"00000000-0000-4000-8000-{next(_RUNS):012}"


def kpis(sending: Sending) -> dict[str, tuple[str, Decimal | None]]:
    """Display text and number by KPI."""
    return {row.kpi: (row.value, row.value_num) for row in sending.snapshot.rows}


def says_what_it_is(sending: Sending) -> bool:
    """Whether hash, bytes and snapshot of a sending belong together."""
    digest = document.content_sha256(sending.snapshot)
    return sending.content_sha256 == digest and digest.encode() in sending.body
