"""Every figure of results, calendar and account over generated books, against a second computation from the actions alone.

Acceptance 2: results equal an independent fold; weeks = Σ days = summary; the account equals the published day to the last digit.
What the ledger keeps of days that are over changes no figure, whatever comes after it was taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from fillbook.ledger import keeping, service
from fillbook.ledger.keeping import carry_results
from fillbook.ledger.model import Mark
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.sql import statement
from fillbook.snapshot import days, source
from fillbook.snapshot.source import ViewNames
from fillbook.tracker import figures, portfolio, store, trades
from fillbook.tracker.sums import Sums
from infra.local.postgres import PostgresServer
from tests.support.campaigns import chance, small_or_full, tell
from tests.support.figures_fold import WORDS, fold
from tests.support.ledger import StoredWorld, make_fill
from tests.support.ledger import at as at_minute
from tests.support.servers import TEMPLATE, database_config
from tests.support.snapshot_desk import SnapshotDesk, ny
from tests.support.snapshot_histories import history
from tests.support.snapshot_oracle import Oracle, Seen, rounded
from tests.support.tracker_fold import summed, written

BOOKS = small_or_full(5, 1_000)
START_CASH = Decimal(100_000)
EVER, FOR_EVER = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
KEY = DeskKey(id="laws", sha256="0" * 64, scopes=frozenset({"read"}), tenant_id="desk", books=("ibkr:*",))
TOLD_AT = ny("2026-02-03T21:00")
NOWS = ("2026-02-03T16:30", "2026-02-03T11:17:30", "2026-02-03T20:00", "2026-02-03T09:00", "2026-02-04T08:30")
LOOKED_AT = ("2026-02-03T11:17:30", "2026-02-03T15:59:59.999999", "2026-02-03T16:00", "2026-02-03T16:00:01", "2026-02-04T08:30")
"""Inside a session, at its close, a second after, and before the next one."""
EDGES = ("2026-02-03T11:17:30", "2026-02-03T16:00", "2026-02-03T16:05")
PUBLISHED = {
    "equity": "Equity",
    "unrealized_pnl": "Unrealized PnL",
    "day_pnl": "Daily PnL",
    "day_realized_pnl": "Realized PnL",
    "day_return_percent": "Daily return",
    "gross_exposure": "Gross exposure",
    "net_exposure": "Net exposure",
}


@pytest.fixture(scope="module")
def desk(postgres: PostgresServer) -> Iterator[SnapshotDesk]:
    """A database whose published book changes from book to book."""
    name = "tracker_figure_laws"
    postgres.run("psql", "-qc", f"create database {name} template {TEMPLATE} strategy = file_copy")
    db = Database.open(database_config(postgres.url(database=name)), application_name="tests", statement_timeout_seconds=120)
    yield SnapshotDesk(db)
    db.close()
    postgres.run("psql", "-qc", f"drop database {name} with (force)")


def told(desk: SnapshotDesk, name: str, rng: Random) -> tuple[StoredWorld, list[Seen]]:
    """A generated book and its marks; its days are summed up before or after some of it is told, or never."""
    story = history(rng)
    story.marks[:] = on_the_edges(story.marks, rng)
    world = desk.open(name, start_cash=START_CASH)
    cut = rng.choice([0, len(story.deliveries) // 2, len(story.deliveries)])
    late = rng.choice([0, len(story.marks) // 2, len(story.marks)])
    marked(world, story.marks[late:])
    if cut:
        world.deliver(story.deliveries[:cut], TOLD_AT)
        carry_results(desk.db, TOLD_AT)
    if cut < len(story.deliveries):
        world.deliver(story.deliveries[cut:], TOLD_AT)
    marked(world, story.marks[:late])
    return world, story.marks


def on_the_edges(marks: list[Seen], rng: Random) -> list[Seen]:
    """The marks with some at the very instants that are looked at; one per bucket, so that all of them are kept."""
    found = {(seen.instrument, seen.at.timestamp() // 300): seen for seen in marks}
    for instrument in {seen.instrument for seen in marks}:
        for at in map(ny, rng.sample(EDGES, 2)):
            price = Decimal(rng.randint(9_000, 11_000)) / 100
            found[instrument, at.timestamp() // 300] = Seen(instrument, at, price, None, None)
    return list(found.values())


def marked(world: StoredWorld, marks: list[Seen]) -> None:
    """Prices that were seen."""
    seen = [Mark(instrument=m.instrument, price=m.price, bid=m.bid, ask=m.ask, marked_at=m.at, source="signal") for m in marks]
    service.run(world.db, lambda tx: service.mark(tx, world.book.book_id, seen, TOLD_AT))


def test_every_figure_of_generated_books_equals_an_independent_fold(desk: SnapshotDesk) -> None:
    rng = chance(20_260_204)
    for number in range(BOOKS):
        world, marks = told(desk, f"law-{number}", rng)
        now = ny(rng.choice(NOWS))
        if number % 100 == 99:
            tell(f"{number + 1} books")
        since = rng.choice([None, ny("2026-02-02T00:00"), ny("2026-02-02T10:30")])
        until = rng.choice([None, ny("2026-02-03T00:00"), ny("2026-02-03T12:00")])
        for by in rng.sample(list(WORDS), len(WORDS) if number == 0 else 3):
            results_agree(desk.db, world, since, until, by)
        days_add_up_to_weeks_and_to_the_summary(desk.db, world)
        account_agrees(desk, world, marks, now)
        views_agree(desk.db, world, marks)


def views_agree(db: Database, world: StoredWorld, marks: list[Seen]) -> None:
    """Grid and account, to the last digit, whenever they are looked at, each price that of a second reading of the marks."""
    last = ny("2026-02-04T09:00")
    for text in LOOKED_AT:
        at = ny(text)
        shown = asked(db, world, trades.trades, last, as_of=at.isoformat(), status="open", limit="1000")["trades"]
        if at > ny("2026-02-03T19:30"):
            now = asked(db, world, trades.trades, at, status="open", limit="1000")["trades"]
            assert [one | {"lane": None, "is_defend": None} for one in now] == shown
        planned = days.plan(days.trading_day(at), at)
        oracle = Oracle(world.actions, marks, planned, START_CASH)
        bound = planned.session_close if at >= planned.session_close else at + timedelta(microseconds=1)
        for one in shown:
            seen = oracle.mark(one["instrument"], bound)
            assert one["current_price"] == (None if seen is None else written(seen.price)), (text, one["instrument"])
        for total in asked(db, world, portfolio.portfolio, last, as_of=at.isoformat())["totals"]:
            mine = [one for one in shown if one["currency"] == total["currency"]]
            parts = [None if one["unrealized_pnl"] is None else Decimal(one["unrealized_pnl"]) for one in mine]
            assert total["unrealized_pnl"] == written(rounded(summed(parts), 2)), (text, total["currency"])
            assert (total["open_positions"], set(total["missing_marks"])) == (
                len(mine),
                {one["ticker"] for one in mine if one["price_state"] == "missing"},
            )


def test_what_is_kept_changes_no_figure(desk: SnapshotDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes after it was taken, in steps of whatever size: facts, corrections, late marks, splits, another night."""
    rng = chance(20_261_128)
    read = 0
    for number in range(BOOKS):
        story = history(rng)
        world = desk.open(f"kept-{number}", start_cash=START_CASH)
        deliveries, marks = story.deliveries, story.marks
        for _ in range(3):
            facts, seen = rng.randint(1, len(deliveries) + 1), rng.randint(0, len(marks))
            deliveries, told_now = deliveries[facts:], deliveries[:facts]
            marks, seen_now = marks[seen:], marks[:seen]
            if told_now:
                world.deliver(told_now, TOLD_AT)
            marked(world, seen_now)
            if rng.random() < 0.2:
                world.split(rng.choice([(2, 1), (3, 2), (1, 3)]), rng.randint(-9_000, 100), instrument="AMD", now=TOLD_AT)
            if rng.random() < 0.6:
                monkeypatch.setattr(keeping, "CARRY_ROWS_MAX", rng.choice([1, 3, 10, 50_000]))
                carry_results(desk.db, ny(rng.choice(("2026-01-30T12:00", "2026-02-02T18:00", "2026-02-03T18:00"))))
        read += kept_days(desk.db, world)
        with_it = [said(desk.db, world, *one) for one in QUESTIONS]
        with desk.db.transaction() as tx:
            tx.execute(statement("delete from ledger.result_books where book_id = :book_id"), book_id=world.book.book_id)
        assert with_it == [said(desk.db, world, *one) for one in QUESTIONS]
    assert read > BOOKS // 2


QUESTIONS: tuple[tuple[Any, dict[str, str]], ...] = (
    (portfolio.portfolio, {"range": "all"}),
    (portfolio.portfolio, {"range": "5d"}),
    (figures.summary, {"group_by": "ticker"}),
    (figures.summary, {"group_by": "reason", "since": "2026-01-30"}),
    (figures.by_days, {"from": "2026-01-26", "to": "2026-02-03"}),
)


def said(db: Database, world: StoredWorld, use_case: Any, given: dict[str, str]) -> Any:
    """An answer of the evening."""
    return asked(db, world, use_case, TOLD_AT, **given)


def kept_days(db: Database, world: StoredWorld) -> int:
    """How many days of a book's worth are there to be read."""
    with store.look(db, KEY, [world.book.book_id]) as seen:
        kept = Sums(seen).books().get(world.book.book_id)
        rows = seen.tx.query(
            statement("select distinct day from ledger.v_worth_days where book_id = :book_id"), book_id=world.book.book_id
        )
    return 0 if kept is None else sum(kept.values(row["day"]) for row in rows)


def test_a_kept_day_is_read_until_a_row_a_late_mark_or_a_split_touches_it(desk: SnapshotDesk) -> None:
    """What is kept is set to another worth, so that one sees where it is read."""
    world = desk.open("kept-shown", start_cash=START_CASH)

    def bought(instrument: str, day: str) -> None:
        at = ny(f"{day}T12:00")
        one = make_fill(instrument, "BUY", 2, 10, source="ibkr", instrument=instrument, executed_at=at, received_at=at)
        world.deliver([one], TOLD_AT)

    def read() -> list[bool]:
        curve = asked(desk.db, world, portfolio.portfolio, ny("2026-02-04T10:00"), range="5d")["curve"]
        shown = {point["at"][:10]: point["equity"] for point in curve}
        return [shown.get(day) == "107000" for day in ("2026-02-02", "2026-02-03")]

    def carried() -> list[bool]:
        carry_results(desk.db, ny("2026-02-04T01:00"))
        with desk.db.transaction() as tx:
            tx.execute(
                statement("update ledger.worth_days set unrealized = 7000, lacks_unrealized = 0 where day >= '2026-02-02'")
            )
        return read()

    def seen(at: str) -> list[bool]:
        marked(world, [Seen("AMD", ny(at), Decimal(99), None, None)])
        return read()

    bought("AMD", "2026-02-02")
    assert carried() == [True, True]
    assert seen("2026-02-04T09:59") == [True, True], "marks after a close say nothing of it"
    assert seen("2026-02-03T17:00") == [True, True]
    assert seen("2026-02-03T15:59") == [True, False], "one before it that comes late takes the day away"
    assert carried() == [True, True]
    bought("NVDA", "2026-02-03")
    assert read() == [True, False], "a later row of the third"
    assert carried() == [True, True]
    world.split((2, 1), -9_000, instrument="AMD", now=TOLD_AT)
    assert read() == [False, False]
    assert carried() == [True, True], "the night after a split all days are worked out anew"


SOLD: tuple[tuple[tuple[str, str], ...], ...] = (
    (("2026-01-30T12:00", "9"),),
    (("2026-01-30T12:00", "4"), ("2026-02-03T12:00", "10")),
    (("2026-01-30T12:00", "6"), ("2026-01-30T13:00", "1")),
    (("2026-02-03T12:00", "18"),),
    (),
)
"""When and how many of nine are sold, of which two are one after the split."""


@pytest.mark.parametrize("sold", SOLD)
def test_a_day_before_a_split_is_worth_what_it_was_whatever_was_sold_before_or_after_it(
    desk: SnapshotDesk, sold: tuple[tuple[str, str], ...]
) -> None:
    """What was closed before a split never went through it: it counts in its own units, at the price of its own time."""
    world = desk.open(f"split-{SOLD.index(sold)}", start_cash=START_CASH)
    deals = [("2026-01-29T12:00", "BUY", "5"), ("2026-01-29T12:01", "BUY", "4"), *((at, "SELL", n) for at, n in sold)]
    for number, (day, side, quantity) in enumerate(deals):
        at = ny(day)
        one = make_fill(f"s{number}", side, quantity, "98.31", source="ibkr", executed_at=at, received_at=at)
        world.deliver([one], TOLD_AT)
    marked(world, [Seen("AMD", ny("2026-01-29T15:45"), Decimal("94.36"), None, None)])
    world.split((2, 1), (ny("2026-02-02T08:00") - at_minute(0)).total_seconds() / 60, now=TOLD_AT)
    then = START_CASH + 9 * (Decimal("94.36") - Decimal("98.31"))
    curve = asked(desk.db, world, portfolio.portfolio, TOLD_AT, range="all")["curve"]
    assert [point["equity"] for point in curve if point["at"].startswith("2026-01-29")] == [written(then)]
    day = asked(desk.db, world, portfolio.portfolio, TOLD_AT, as_of=ny("2026-01-29T15:59").isoformat())
    assert (day["curve"][-1]["equity"], day["totals"][0]["equity"]) == (written(then), written(then))


def asked(db: Database, world: StoredWorld, use_case: Any, now: datetime, **given: str | None) -> Any:
    """The answer of a use case for the world's book."""
    question = {"books": [world.book.book_id]} | {name: [text] for name, text in given.items() if text is not None}
    return use_case(db, KEY, question, now)


def results_agree(db: Database, world: StoredWorld, since: datetime | None, until: datetime | None, by: str | None) -> None:
    """Summary and groups against the fold, as they are now and as they were known."""
    whole = fold(world.actions, since or EVER, until or FOR_EVER, None)
    parts = fold(world.actions, since or EVER, until or FOR_EVER, by)
    limits = {
        "since": None if since is None else since.isoformat(),
        "until": None if until is None else until.isoformat(),
        "group_by": by,
    }
    later = ny("2026-02-04T09:00")
    for known in (None, later.isoformat()):
        answer = asked(db, world, figures.summary, later, known_as_of=known, **limits)
        assert {(one["currency"], None): one for one in answer["totals"]} == whole, (by, limits)
        if by is not None:
            shown = {(one["currency"], one["key"]): {k: v for k, v in one.items() if k != "key"} for one in answer["groups"]}
            assert shown == parts, (by, limits)
            assert answer["other"] == []


def days_add_up_to_weeks_and_to_the_summary(db: Database, world: StoredWorld) -> None:
    """Journey 12: week totals = Σ days = summary of the same span, for every currency."""
    later = ny("2026-02-04T09:00")
    calendar = asked(db, world, figures.by_days, later, **{"from": "2026-01-29", "to": "2026-02-03"})
    until = ny("2026-02-04T00:00").isoformat()
    summary = asked(db, world, figures.summary, later, since=ny("2026-01-29T00:00").isoformat(), until=until)
    totals = {one["currency"]: one for one in summary["totals"]}
    for currency, total in totals.items():
        for name in ("entries", "adds", "trims", "exits", "wins", "losses", "flats", "pending"):
            for rows in (calendar["days"], calendar["weeks"]):
                assert sum(one[name] for one in rows if one["currency"] == currency) == total[name]
        for name in ("realized_pnl", "fees"):
            for rows in (calendar["days"], calendar["weeks"]):
                parts = [one[name] for one in rows if one["currency"] == currency]
                assert (None if None in parts else sum(map(Decimal, parts))) == (
                    None if total[name] is None else Decimal(total[name])
                )
        opened = [one.action for one in world.actions if one.action.currency == currency]
        held = sum(a.action_type == "ENTRY" for a in opened) - sum(a.action_type == "EXIT" for a in opened)
        assert [one["open_at_close"] for one in calendar["days"] if one["currency"] == currency][-1] == held


def account_agrees(desk: SnapshotDesk, world: StoredWorld, marks: list[Seen], now: datetime) -> None:
    """The account against the published day and against a computation from the actions, its minutes too."""
    # a mark of this very instant is the next publication's: the page counts it already
    planned = days.plan(days.trading_day(now), now if now >= ny("2026-02-03T16:00") else now + timedelta(microseconds=1))
    desk.refreshed(planned)
    values = source.read(desk.db, ViewNames(), planned).values
    assert values is not None
    answer = asked(desk.db, world, portfolio.portfolio, now)
    (total,) = [one for one in answer["totals"] if one["currency"] == "USD"]
    for name, kpi in PUBLISHED.items():
        expected = values[kpi]["value_num"]
        assert (None if total[name] is None else Decimal(total[name])) == expected, (name, kpi)
    assert total["open_positions"] == values["Open positions"]["value_num"]
    oracle = Oracle(world.actions, marks, planned, START_CASH)
    cash, value, equity = total["cash"], total["positions_value"], total["equity"]
    if None not in (cash, value, equity):
        assert abs(Decimal(cash) + Decimal(value) - Decimal(equity)) <= Decimal("0.01")
    minutes_agree(answer, oracle, planned, Random(7))
    closes_agree(asked(desk.db, world, portfolio.portfolio, now, range="5d"), world, marks)


def minutes_agree(answer: Any, oracle: Oracle, planned: Any, rng: Random) -> None:
    """A point where everything has a mark, and none elsewhere."""
    shown = {point["at"]: point for point in answer["curve"] if point["currency"] == "USD"}
    count = max(0, int((planned.valuation_at - planned.session_open).total_seconds() // 60))
    assert len(shown) <= count
    for minute in rng.sample(range(1, count + 1), min(count, 12)):
        at = planned.session_open + timedelta(minutes=minute)
        expected = rounded(oracle.equity(at, at, ended=True), 2)
        point = shown.get(at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))
        assert (None if point is None else Decimal(point["equity"])) == expected, at
        if point is not None:
            assert point["state"] == oracle.is_stale(at), at


def closes_agree(answer: Any, world: StoredWorld, marks: list[Seen]) -> None:
    """The end of each session's day at the marks of its close."""
    shown = {point["at"]: point["equity"] for point in answer["curve"] if point["currency"] == "USD"}
    for day in ("2026-01-30", "2026-02-02"):
        planned = days.plan(datetime.fromisoformat(day).date(), ny(f"{day}T23:59:59"))
        oracle = Oracle(world.actions, marks, planned, START_CASH)
        expected = rounded(oracle.equity(planned.window_end - timedelta(microseconds=1), planned.session_close), 2)
        at = planned.session_close.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert (None if at not in shown else Decimal(shown[at])) == expected, day
