"""The life of a break: told once, aged, noted, resolved, back again; whatever the order, number and timing of statements."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from fillbook.calendar import calendar
from fillbook.ledger import audit, reconcile, service
from fillbook.ledger.keeping import keep_desk
from fillbook.runtime.db import Database
from tests.conftest import OpenDatabase
from tests.support.ledger import at
from tests.support.ledger_statements import BOOK, NOON, BrokerDesk, cash, events, fact, line, new_york, says

Query = Callable[..., list[dict[str, Any]]]
AMD, SHORT_OF_ONE = line("AMD", 10, 100), line("AMD", 9, 100)
FOUND, RESOLVED = "break_found", "break_resolved"
QUANTITY = "position_quantity"


@pytest.fixture
def desk(db: Database) -> BrokerDesk:
    """An account that bought 10 AMD at 100."""
    made = BrokerDesk(db)
    made.book(fact("a", "BUY", 10, 100))
    return made


# --- once, resolved, back ---------------------------------------------------------------------------------------------


def test_a_break_is_told_once_and_resolved_once(desk: BrokerDesk, query: Query) -> None:
    for minute in (60, 61, 62):
        desk.hears(SHORT_OF_ONE, as_of=at(minute))
    assert desk.told == [(FOUND, QUANTITY, 0)]
    (row,) = desk.breaks()
    assert (row.first_seen_at, row.last_seen_at, row.version, row.episode) == (at(60), at(62), 1, 1)
    outcome = desk.hears(AMD, as_of=at(63))
    assert (outcome.result, outcome.resolved, outcome.breaks) == ("matched", 1, ())
    desk.hears(AMD, as_of=at(64))
    assert desk.told == [(FOUND, QUANTITY, 0), (RESOLVED, QUANTITY, 0)]
    assert [row.resolved_at for row in desk.breaks(resolved=True)] == [at(63)]
    assert events(query)[1]["data"]["resolved_at"] == "2026-02-03T16:03:00.000000Z"


def test_a_break_that_comes_back_keeps_its_id_and_its_history(desk: BrokerDesk, query: Query) -> None:
    first = desk.hears(SHORT_OF_ONE).breaks[0]
    desk.hears(AMD, as_of=at(61))
    again = desk.hears(line("AMD", 8, 100), as_of=at(62)).breaks[0]
    assert again.break_id == first.break_id
    assert (again.episode, again.version, again.first_seen_at, again.resolved_at) == (2, 3, at(62), None)
    assert [event_type for event_type, _, _ in desk.told] == [FOUND, RESOLVED, FOUND]
    rows = query("select * from ledger.v_break_history order by version")
    assert [(row["episode"], row["actual"], row["resolved_at"]) for row in rows] == [
        (1, 9, None),
        (1, 9, at(61)),
        (2, 8, None),
    ]
    told = events(query)
    assert len({event["event_id"] for event in told}) == 3
    assert [event["occurred_at"] for event in told] == sorted(event["occurred_at"] for event in told)


def test_other_figures_are_history_and_no_news(desk: BrokerDesk, query: Query) -> None:
    desk.hears(SHORT_OF_ONE)
    desk.hears(line("AMD", 8, 100), as_of=at(61))
    desk.hears(line("AMD", 8, 100), as_of=at(62))
    assert len(desk.told) == 1
    assert [row["actual"] for row in query("select actual from ledger.break_history order by version")] == [9, 8]
    assert query("select count(*) as n from ledger.v_reconciliations")[0]["n"] == 3


def test_one_kind_gives_way_to_another(desk: BrokerDesk) -> None:
    desk.hears(SHORT_OF_ONE)
    desk.book(fact("x", "SELL", 10, 110, 61))
    desk.hears(SHORT_OF_ONE, as_of=at(62))
    assert [kind for kind, _, _ in desk.found] == ["missing_in_book"]
    desk.hears(as_of=at(63))
    assert desk.found == []
    assert [(kind, name) for kind, name, _ in desk.told] == [
        (FOUND, QUANTITY),
        (FOUND, "missing_in_book"),
        (RESOLVED, QUANTITY),
        (RESOLVED, "missing_in_book"),
    ]


def test_a_price_break_ends_with_its_position(desk: BrokerDesk) -> None:
    desk.hears(line("AMD", 10, 120))
    desk.book(fact("x", "SELL", 10, 110, 61))
    desk.hears(as_of=at(62))
    assert desk.found == []


def test_a_repair_resolves_its_break_with_the_very_same_statement(desk: BrokerDesk, query: Query) -> None:
    said = says(line("AMD", 12, 100))
    assert desk.compare(said).found == 1
    assert desk.compare(said).is_new is False
    desk.book(fact("b", "BUY", 2, 100, 5))
    outcome = desk.compare(said)
    assert (outcome.is_new, outcome.result, outcome.resolved) == (True, "matched", 1)
    assert desk.compare(said, NOON + timedelta(hours=25)).result == "matched"
    rows = query("select version, result from ledger.v_reconciliations order by version")
    assert [(row["version"], row["result"]) for row in rows] == [(1, "breaks"), (2, "matched")]


def test_a_cause_the_room_learns_later_is_taken_over(desk: BrokerDesk) -> None:
    said = says(line("AMD", 3, 100))
    desk.compare(said)
    desk.compare(replace(said, known_causes={"AMD": "open_anomaly"}))
    assert desk.found == [(QUANTITY, "AMD", "open_anomaly")]
    assert len(desk.told) == 1


# --- duplicate, concurrent, reordered ---------------------------------------------------------------------------------


def test_any_order_of_statements_ends_in_the_same_breaks(db: Database) -> None:
    said = [
        (SHORT_OF_ONE, line("X", 1)),
        (AMD, line("X", 1)),
        (line("AMD", 7, 100),),
    ]
    ends = []
    for turn, order in enumerate(permutations(range(3))):
        desk = BrokerDesk(db, book_id=f"ibkr:U{turn}")
        desk.book(fact("a", "BUY", 10, 100))
        for index in order:
            desk.hears(*said[index], as_of=at(60 + index), now=at(70))
        rows = desk.breaks(resolved=True)
        ends.append([(row.key.kind, row.key.instrument, row.actual) for row in rows if row.resolved_at is None])
        kinds = [event_type for event_type, _, _ in desk.told]
        assert kinds.count(FOUND) - kinds.count(RESOLVED) == 1
    assert ends == [[(QUANTITY, "AMD", 7)]] * 6


def test_an_older_statement_says_nothing_about_what_a_newer_one_spoke_of(desk: BrokerDesk, query: Query) -> None:
    desk.hears(AMD, as_of=at(62))
    outcome = desk.hears(SHORT_OF_ONE, as_of=at(61), cash=(cash(0, 5),))
    assert (outcome.result, outcome.found) == ("breaks", 2)
    # the newer one knew nothing of cash, so about that the older one is the last word
    assert [kind for kind, _, _ in desk.found] == ["cash"]
    assert len(events(query)) == 1
    desk.hears(SHORT_OF_ONE, as_of=at(62), source="tws")
    desk.hears(AMD, as_of=at(62), source="a_third")
    assert [kind for kind, _, _ in desk.found] == ["cash", QUANTITY]


def test_two_reconcilers_at_once_find_a_break_once(desk: BrokerDesk, open_database: OpenDatabase, query: Query) -> None:
    said = [says(SHORT_OF_ONE, line("X", 2), source=f"s{number % 3}") for number in range(12)]
    writer = open_database("ledger_writer", pool_size=8)
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda one: service.run(writer, lambda tx: reconcile.reconcile(tx, one, at(61))), said))
    assert sum(outcome.is_new for outcome in outcomes) == 3
    assert sorted(desk.told) == [(FOUND, "missing_in_book", 0), (FOUND, QUANTITY, 0)]
    assert query("select count(*) as n from ledger.reconciliations")[0]["n"] == 3
    assert query("select max(version) as v from ledger.breaks")[0]["v"] == 1


def test_bookings_and_reconcilers_side_by_side_neither_block_for_ever_nor_misjudge(
    desk: BrokerDesk, open_database: OpenDatabase
) -> None:
    writer = open_database("ledger_writer", pool_size=8)

    def book(number: int) -> None:
        fill = fact(f"f{number}", "BUY", 1, 100, -1, instrument=f"N{number % 3}")
        service.run(writer, lambda tx: service.book_fills(tx, BOOK, [fill], NOON))

    def compare(number: int) -> None:
        said = says(AMD, as_of=at(60 + number), not_compared=frozenset({"N0", "N1", "N2"}))
        assert service.run(writer, lambda tx: reconcile.reconcile(tx, said, at(90))).result == "matched"

    with ThreadPoolExecutor(6) as pool:
        work = [pool.submit(book if number % 2 else compare, number) for number in range(24)]
        for one in work:
            one.result()
    assert desk.found == []


def test_what_fails_leaves_neither_break_nor_event(desk: BrokerDesk, query: Query) -> None:
    def room(tx: Any) -> None:
        reconcile.reconcile(tx, says(SHORT_OF_ONE), at(61))
        raise RuntimeError("the room's own work failed")

    with pytest.raises(RuntimeError, match="own work"):
        service.run(desk.db, room)
    assert (desk.breaks(), events(query), query("select 1 from ledger.reconciliations")) == ([], [], [])


FORCED = """
do $$ begin
    create sequence public.forced;
    grant usage on schema public to public;
    grant usage on sequence public.forced to public;
    create function public.fail() returns trigger language plpgsql as $f$ begin
        if nextval('public.forced') <= 2 then raise exception 'forced' using errcode = '{sqlstate}'; end if;
        return new;
    end $f$;
    create trigger forced before insert on {table} for each row execute function public.fail();
end $$
"""


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03"])
@pytest.mark.parametrize("table", ["ledger.reconciliations", "ledger.breaks", "ledger.break_history", "outbox.events"])
def test_a_forced_failure_of_any_write_runs_the_comparison_again_and_tells_once(
    desk: BrokerDesk, query: Query, sqlstate: str, table: str
) -> None:
    query(FORCED.format(table=table, sqlstate=sqlstate))
    assert desk.hears(SHORT_OF_ONE).found == 1
    assert query("select last_value from public.forced") == [{"last_value": 3}]
    assert desk.told == [(FOUND, QUANTITY, 0)]
    assert [len(query(f"select 1 from ledger.{name}")) for name in ("reconciliations", "breaks", "break_history")] == [1, 1, 1]


def test_a_reconciliation_after_a_booking_in_one_transaction_sees_it(desk: BrokerDesk) -> None:
    def room(tx: Any) -> Any:
        service.book_fills(tx, BOOK, [fact("b", "BUY", 2, 100, 30)], NOON)
        return reconcile.reconcile(tx, says(line("AMD", 12, 100)), at(61))

    assert service.run(desk.db, room).result == "matched"


# --- ageing -----------------------------------------------------------------------------------------------------------


def test_a_break_is_told_again_at_two_and_five_sessions_over_a_weekend_and_a_holiday(desk: BrokerDesk) -> None:
    """Found on Thursday 12 February after the open; Monday 16 is Presidents' Day."""
    desk.hears(SHORT_OF_ONE, as_of=new_york(12, 11))
    ages = []
    for day in range(12, 25):
        for _ in range(2):
            service.run(desk.db, lambda tx, day=day: reconcile.age_breaks(tx, BOOK, new_york(day, 17, 45)))
        ages.append((day, desk.breaks()[0].sessions))
    assert ages == [
        (12, 0), (13, 1), (14, 1), (15, 1), (16, 1), (17, 2), (18, 3), (19, 4), (20, 5), (21, 5), (22, 5), (23, 6), (24, 7)
    ]  # fmt: skip
    assert desk.told == [(FOUND, QUANTITY, 0), (FOUND, QUANTITY, 2), (FOUND, QUANTITY, 5)]


def test_a_half_day_is_a_session_and_a_night_is_none(desk: BrokerDesk) -> None:
    """Friday 27 November 2026 closes at 13:00."""
    desk.hears(SHORT_OF_ONE, as_of=new_york(25, 18, month=11), now=new_york(25, 18, 1, month=11))
    for day, hour, sessions in ((26, 20, 0), (27, 12, 0), (27, 14, 1), (30, 12, 1), (30, 17, 2)):
        service.run(desk.db, lambda tx, d=day, h=hour: reconcile.age_breaks(tx, BOOK, new_york(d, h, month=11)))
        assert desk.breaks()[0].sessions == sessions, (day, hour)


def test_a_break_that_nobody_looked_at_for_a_week_is_told_again_once(desk: BrokerDesk) -> None:
    desk.hears(SHORT_OF_ONE, as_of=new_york(3, 11))
    service.run(desk.db, lambda tx: reconcile.age_breaks(tx, BOOK, new_york(13, 18)))
    assert desk.told == [(FOUND, QUANTITY, 0), (FOUND, QUANTITY, 8)]
    # a clock that steps back makes nothing younger and tells nothing twice
    assert service.run(desk.db, lambda tx: reconcile.age_breaks(tx, BOOK, new_york(3, 12))) == 0
    assert desk.breaks()[0].sessions == 8


def test_a_statement_that_sees_an_old_break_again_tells_its_age_itself(desk: BrokerDesk) -> None:
    desk.hears(SHORT_OF_ONE, as_of=new_york(3, 11))
    desk.hears(SHORT_OF_ONE, as_of=new_york(5, 18))
    assert desk.told == [(FOUND, QUANTITY, 0), (FOUND, QUANTITY, 2)]
    assert service.run(desk.db, lambda tx: reconcile.age_breaks(tx, BOOK, new_york(5, 18, 5))) == 0


def test_a_new_episode_is_young_again(desk: BrokerDesk) -> None:
    desk.hears(SHORT_OF_ONE, as_of=new_york(3, 11))
    desk.hears(SHORT_OF_ONE, as_of=new_york(10, 18))
    desk.hears(AMD, as_of=new_york(11, 18))
    desk.hears(SHORT_OF_ONE, as_of=new_york(12, 18))
    assert [(event_type, sessions) for event_type, _, sessions in desk.told] == [
        (FOUND, 0),
        (FOUND, 5),
        (RESOLVED, 5),
        (FOUND, 0),
    ]


def test_the_daily_run_compares_what_moved_ages_every_book_and_is_idempotent(
    db: Database, open_database: OpenDatabase, desk: BrokerDesk
) -> None:
    other = BrokerDesk(db, book_id="mt5:srv:7")
    other.book(fact("z", "BUY", 1, 5, instrument="EURUSD", source="mt5", account_key="srv:7"))
    desk.hears(line("AMD", 12, 100), as_of=new_york(3, 11))
    other.hears(as_of=new_york(3, 16), now=new_york(3, 16, 1))
    desk.book(fact("b", "BUY", 2, 100, 5), now=new_york(3, 17))
    keeper = open_database("ledger_writer")
    run = {"sessions": calendar(), "chores": {"breaks": reconcile.reconcile_due}}
    slot = new_york(3, 17, 45)
    done = keep_desk(keeper, slot=slot, now=slot, **run)
    assert done["breaks"] == {"books": 2, "compared": 1, "found": 0, "resolved": 1, "told_again": 0}
    assert keep_desk(keeper, slot=slot, now=slot, **run) == {"status": "duplicate"}
    assert keep_desk(keeper, slot=None, now=slot, **run)["breaks"] == {
        "books": 2, "compared": 0, "found": 0, "resolved": 0, "told_again": 0
    }  # fmt: skip
    told_again = [keep_desk(keeper, slot=new_york(day, 17, 45), now=new_york(day, 17, 45), **run) for day in (4, 5, 6)]
    assert [run["breaks"]["told_again"] for run in told_again] == [0, 1, 0]  # type: ignore[index]
    assert [(event_type, sessions) for event_type, _, sessions in other.told] == [(FOUND, 0), (FOUND, 2)]
    assert [event_type for event_type, _, _ in desk.told] == [FOUND, RESOLVED]
    assert audit.audit(db, BOOK, slot).exit == 0


def test_the_daily_run_leaves_old_statements_alone(desk: BrokerDesk) -> None:
    desk.hears(line("AMD", 12, 100), as_of=new_york(3, 11))
    desk.book(fact("b", "BUY", 2, 100, 5), now=new_york(4, 17))
    assert reconcile.reconcile_due(desk.db, new_york(4, 17, 45))["compared"] == 0
    assert desk.breaks()[0].sessions == 1
