"""Figures read what is kept of days that are over, and of today its own rows, whatever the size of the book."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from fillbook.ledger import keeping
from fillbook.runtime.db import Database
from fillbook.runtime.sql import Statement, statement
from fillbook.tracker import activity, marks, portfolio, sums
from fillbook.tracker.present import QUERIES as TRADES
from infra.local.postgres import PostgresServer
from tests.support.campaigns import small_or_full
from tests.support.ledger import StoredWorld, make_book
from tests.support.ledger_crowd import crowd
from tests.support.plans import conditions_on, rows_read
from tests.support.servers import TEMPLATE, database_config

POSITIONS = small_or_full(3_000, 100_000)
APART = timedelta(days=60) / POSITIONS
OPEN = 100
TICKERS = 500
LIMIT = 51
BOOK = "ibkr:U1"
BEGIN = datetime(2026, 1, 2, 15, tzinfo=UTC)
END = BEGIN + timedelta(days=60)
DAY = datetime(2026, 2, 20, 5, tzinfo=UTC)
"""A New York midnight."""
OF_A_DAY = POSITIONS * 3 // 60
EVER, FOR_EVER = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
MINUTES = {
    "books": [BOOK], "open_at": END - timedelta(hours=6), "since": END - timedelta(days=1), "last_at": END, "valued_at": END,
    "minutes": 360,
}  # fmt: skip
MARKS = """
insert into ledger.marks (book_id, instrument, bucket_at, marked_at, recorded_at, price, source)
select p.book_id, p.instrument, date_bin('5 minutes', s.at, 'epoch'), s.at, s.at, 101, 'signal'
  from ledger.positions p
 cross join lateral generate_series(p.opened_at - interval '1 day', p.opened_at, interval '6 hours') as s(at)
    on conflict do nothing"""


@pytest.fixture(scope="module")
def reader(postgres: PostgresServer) -> Iterator[Database]:
    """A book of sixty days whose days were kept up to the last, as the read API sees it, with statistics."""
    name = "figure_plans"
    postgres.run("psql", "-qc", f"create database {name} template {TEMPLATE}")
    url = postgres.url(database=name)
    owner = Database.open(database_config(url), application_name="tests", statement_timeout_seconds=600)
    crowd(StoredWorld(owner, make_book(BOOK)).db, BOOK, POSITIONS, left_open=OPEN, spread=True, apart=APART, swing=3)
    with owner.transaction() as tx:
        tx.execute(statement(MARKS))
    keeping.carry_results(owner, END)
    with owner.transaction() as tx:
        for table in ("marks", "result_days", "result_months", "worth_days", "books"):
            tx.execute(statement(f"analyze ledger.{table}"))
    db = Database.open(database_config(f"{url}?role=tracker_reader"), application_name="tests", statement_timeout_seconds=120)
    yield db
    db.close()
    owner.close()
    postgres.run("psql", "-qc", f"drop database {name} with (force)")


def read(db: Database, asked: Statement, **params: object) -> int:
    """How many rows a statement's scans gave or threw away, where no table is so small that reading it whole is the cheapest."""
    with db.transaction(read_only=True, tenant_id="desk") as tx:
        tx.execute(statement("set local enable_seqscan = off"))
        return rows_read(tx, asked, **params)


def kept(**given: Any) -> dict[str, Any]:
    """The parameters of kept sums."""
    return {
        "by": "ticker",
        "dimension": "ticker",
        "day_books": [],
        "firsts": [],
        "lasts": [],
        "month_books": [],
        "months": [],
    } | given


def test_kept_sums_are_found_by_their_key_and_months_stand_for_their_days(reader: Database) -> None:
    asked = sums.QUERIES["kept"]
    of_days = read(reader, asked, **kept(day_books=[BOOK], firsts=[date(2026, 1, 1)], lasts=[date(2026, 1, 31)]))
    of_a_month = read(reader, asked, **kept(month_books=[BOOK], months=[date(2026, 1, 1)]))
    assert of_a_month <= TICKERS < of_days <= 2 * OF_A_DAY * 31
    nothing_else = kept(by="", dimension="none", day_books=[BOOK], firsts=[date(2026, 1, 1)], lasts=[date(2026, 3, 31)])
    for one in (asked, sums.QUERIES["executed_kept"]):
        assert read(reader, one, **nothing_else) <= 62


def test_what_is_summed_up_at_once_is_a_day_and_no_more(reader: Database) -> None:
    clocks = {"as_of": FOR_EVER, "known_as_of": FOR_EVER}
    span = {"books": [BOOK], "sinces": [DAY], "untils": [DAY + timedelta(days=1)]}
    for by in ("", "ticker", "reason"):
        assert read(reader, sums.QUERIES["results"], by=by, is_past=False, **span, **clocks) <= 8 * OF_A_DAY
    for by in ("", "ticker", "day"):
        assert read(reader, sums.QUERIES["executed"], by=by, **span) <= OF_A_DAY + 1
    assert read(reader, sums.QUERIES["active"], by="reason", **span, **clocks) <= 4 * OF_A_DAY
    range_of = {"books": [BOOK], "by": "", "since": DAY, "until": FOR_EVER}
    days_since = (END - DAY).days + 1
    assert read(reader, sums.QUERIES["carried"], **range_of) <= 8 * (OF_A_DAY * days_since // 3 + OPEN)
    assert read(reader, sums.QUERIES["open_at"], books=[BOOK], at=DAY) <= 4 * (OF_A_DAY * days_since // 3 + OPEN)


def test_the_worth_of_days_is_read_and_that_of_a_moment_is_of_what_was_held(reader: Database) -> None:
    days = {"books": [BOOK], "firsts": [date(2026, 1, 1)], "lasts": [date(2026, 3, 31)]}
    assert read(reader, portfolio.QUERIES["kept_worth"], **days) <= 2 * 62
    moment = {"books": [BOOK], "ns": [0], "held_ats": [END], "valued_ats": [END]}
    assert read(reader, portfolio.QUERIES["worth_at"], **moment) <= 4 * OPEN
    assert read(reader, portfolio.QUERIES["minutes"], **MINUTES) <= 4 * OPEN + 20 * OF_A_DAY


def test_of_what_changed_within_a_day_only_its_own_marks_are_looked_at(reader: Database) -> None:
    """Whatever the planner expects of a book: the stretches of all marks cost a second in one of a million actions."""
    with reader.transaction(read_only=True, tenant_id="desk") as tx:
        asked = conditions_on(tx, "walk", portfolio.QUERIES["minutes"], **MINUTES)
    assert sum("place = ANY" in one for one in asked) == 1


@pytest.mark.parametrize("ticker", [None, "T77"])
def test_executions_and_what_happened_are_walked_by_time_or_by_ticker(reader: Database, ticker: str | None) -> None:
    happened = {
        "books": [BOOK], "since": EVER, "until": FOR_EVER, "known_as_of": FOR_EVER, "ticker": ticker, "after_at": FOR_EVER,
        "after_id": "ffffffff-ffff-ffff-ffff-ffffffffffff", "limit": LIMIT,
    }  # fmt: skip
    replaced = POSITIONS // 100
    assert read(reader, activity.QUERIES["execution"], **happened) <= 4 * LIMIT + replaced
    assert read(reader, activity.QUERIES["correction"], **happened) <= max(4 * LIMIT, 2 * replaced)
    listed = {
        **dict.fromkeys(("after_at", "after_id", "after_book", "since", "until", "action_type", "position_id")),
        "books": [BOOK], "as_of": FOR_EVER, "known_as_of": FOR_EVER, "ticker": ticker, "limit": LIMIT,
    }  # fmt: skip
    assert read(reader, TRADES["executions"], **listed) <= 8 * LIMIT + replaced


def test_a_page_looks_at_the_last_marks_alone(reader: Database) -> None:
    page = {
        **dict.fromkeys("ticker direction outcome reason min_pnl max_pnl lane within_books within_positions since until".split()),
        **dict.fromkeys(("after_at", "after_id", "after_book")),
        "books": [BOOK], "status": "all", "marked_before": FOR_EVER, "marked_before_then": END, "limit": LIMIT,
    }  # fmt: skip
    assert read(reader, TRADES["positions"], **page) <= 10 * LIMIT
    seen = marks.QUERIES["marks"]
    given = {"books": [BOOK], "instrument": "T77 77", "since": EVER, "until": FOR_EVER, "limit": LIMIT}
    assert read(reader, seen, **{name: given[name] for name in seen.parameters}) <= 4 * LIMIT


def test_every_statement_about_figures_is_valid_sql(reader: Database) -> None:
    for queries in (sums.QUERIES, portfolio.QUERIES, activity.QUERIES, marks.QUERIES):
        for name, asked in queries.items():
            with reader.transaction() as tx:
                tx.execute(statement(f"prepare checked_{name} as {asked.numbered}"))
