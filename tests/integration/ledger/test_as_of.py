"""Scenarios 37 to 39 and their edges: the book as of T, known as of K, with marks, splits, shorts, voids and late facts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ledger import asof, rebuild, service, standing
from fillbook.ledger.asof import Selection
from fillbook.ledger.ids import fill_id
from fillbook.ledger.model import Fill, Mark
from fillbook.ledger.moment import moment
from fillbook.ledger.standing import BookAsOf, Standing
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import encode
from tests.conftest import OpenDatabase
from tests.support.ledger import DAY, StoredWorld, at, make_book, make_fill

Query = Callable[..., list[dict[str, Any]]]
LATER = datetime(2026, 3, 1, tzinfo=UTC)
DESK = {"source": "operator", "account_key": "ann"}


def stood(
    world: StoredWorld, as_of: datetime | None = None, known_as_of: datetime | None = None, instrument: str | None = None
) -> BookAsOf:
    """The book at a moment, asked for a month later."""
    return standing.book_as_of(world.db, world.book.book_id, moment(as_of, known_as_of, LATER), instrument)


def only(found: BookAsOf) -> Standing:
    (one,) = found.positions
    return one


def text(found: BookAsOf) -> str:
    """The whole answer as it is printed; figures that need a mark are the same here, because no mark comes later."""
    return encode(standing.document(found))


def mark(world: StoredWorld, price: str, seen_at: datetime, instrument: str = "AMD", source: str = "signal") -> None:
    seen = Mark(instrument=instrument, price=Decimal(price), marked_at=seen_at, source=source)
    service.run(world.db, lambda tx: service.mark(tx, world.book.book_id, [seen], seen_at))


def revised(source_id: str, side: str, quantity: object, price: object, minute: float, **options: Any) -> Fill:
    return make_fill(source_id, side, quantity, price, minute, cause="revision", **(DESK | options))


def test_scenario_37_without_a_mark_unrealized_is_unknown_and_the_total_names_it(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)])
    found = stood(stored, at(5))
    assert (only(found).mark_state, only(found).unrealized_pnl) == ("missing", None)
    (usd,) = found.totals
    assert (usd.unrealized_pnl, usd.market_value, usd.equity, usd.missing_marks) == (None, None, None, ("AMD",))


@pytest.mark.parametrize(("age", "state"), [("15:00", "fresh"), ("15:01", "stale")])
def test_scenario_37_a_mark_is_stale_after_fifteen_minutes_of_the_session_and_still_values(
    stored: StoredWorld, age: str, state: str
) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)])
    mark(stored, "101", at(1))
    minutes, seconds = map(int, age.split(":"))
    one = only(stood(stored, at(1) + timedelta(minutes=minutes, seconds=seconds)))
    assert (one.mark_state, one.unrealized_pnl) == (state, 10)
    assert one.mark is not None
    assert (one.mark.price, one.mark.marked_at, one.mark.source) == (101, at(1), "signal")


def test_scenario_37_fridays_close_is_fresh_over_the_weekend_and_stale_once_monday_has_closed(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)])
    mark(stored, "101", datetime(2026, 2, 6, 20, 58, tzinfo=UTC))
    assert only(stood(stored, datetime(2026, 2, 8, 12, tzinfo=UTC))).mark_state == "fresh"
    assert only(stood(stored, datetime(2026, 2, 9, 22, tzinfo=UTC))).mark_state == "stale"


def test_a_brokers_mark_may_be_half_an_hour_old(db: Database) -> None:
    world = StoredWorld(db, make_book("ibkr:U1"))
    world.deliver([make_fill("a", "BUY", 10, 100, source="ibkr", account_key="U1")])
    mark(world, "101", at(1), source="ibkr")
    assert [only(stood(world, at(minute))).mark_state for minute in (31, 32)] == ["fresh", "stale"]


def test_the_mark_of_t_is_the_last_one_seen_by_then(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)])
    for minute, price in ((5, "105"), (10, "110"), (20, "120")):
        mark(stored, price, at(minute))
    assert [only(stood(stored, at(minute))).unrealized_pnl for minute in (4, 5, 9.9, 10, 19, 60)] == [None, 50, 50, 100, 100, 200]


def test_scenario_38_as_of_t_inside_the_day(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100, fees="1")], at(1))
    stored.deliver([make_fill("b", "BUY", 10, 110, 10)], at(11))
    stored.deliver([make_fill("c", "SELL", 15, 120, 20)], at(21))
    stored.deliver([make_fill("d", "SELL", 5, 115, 30)], at(31))
    assert stood(stored, at(-1)).positions == ()
    held = [only(stood(stored, at(minute))).held for minute in (0, 9, 10, 20, 29)]
    assert [(one.quantity_open, one.vwap, one.cost_basis, one.realized_pnl) for one in held] == [
        (10, 100, 1001, 0), (10, 100, 1001, 0), (20, 105, 2101, 0), (5, 110, 550, 249), (5, 110, 550, 249),
    ]  # fmt: skip
    assert stood(stored, at(30)).positions == ()
    closed = only(stood(stored, at(30), instrument="AMD")).held
    assert (closed.status, closed.realized_pnl, closed.closed_at) == ("CLOSED", 274, at(30))
    assert [(lot.quantity_open, lot.status) for lot in only(stood(stored, at(20))).lots] == [(0, "CLOSED"), (5, "OPEN")]
    assert [(lot.quantity_open, lot.status) for lot in only(stood(stored, at(10))).lots] == [(10, "OPEN"), (10, "OPEN")]


def test_scenario_38_known_as_of_before_a_correction_has_the_old_figures(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100, **DESK), make_fill("b", "SELL", 4, 120, 1, **DESK)], at(2))
    stored.deliver([revised("a", "BUY", 10, 101, 0, source_revision=2)], at(40))
    figures = [
        (held.realized_pnl, held.cost_basis, held.vwap)
        for held in (only(stood(stored, at(60), at(minute))).held for minute in (2, 39, 40, 60))
    ]
    assert figures == [(80, 600, 100), (80, 600, 100), (76, 606, 101), (76, 606, 101)]


def test_scenario_38_both_axes_together(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100, **DESK), make_fill("b", "SELL", 4, 120, 30, **DESK)], at(31))
    stored.deliver([revised("a", "BUY", 10, 101, 0, source_revision=2)], at(40))
    assert [
        (only(stood(stored, as_of, known)).held.quantity_open, only(stood(stored, as_of, known)).held.cost_basis)
        for as_of, known in ((at(29), at(39)), (at(29), at(40)), (at(30), at(39)), (at(30), at(40)))
    ] == [(10, 1000), (10, 1010), (6, 600), (6, 606)]
    assert stood(stored, at(29), at(30)).positions == ()


def test_known_exactly_when_it_was_recorded_is_known_and_a_microsecond_before_is_not(stored: StoredWorld) -> None:
    recorded = at(7) + timedelta(microseconds=123457)
    stored.deliver([make_fill("a", "BUY", 10, 100, **DESK)], recorded)
    again = recorded + timedelta(microseconds=1)
    stored.deliver([revised("a", "BUY", 12, 100, 0, source_revision=2)], again)
    before = stood(stored, at(9), recorded - timedelta(microseconds=1))
    assert (before.positions, before.known.seq) == ((), 0)
    assert (only(stood(stored, at(9), recorded)).held.quantity_open, stood(stored, at(9), recorded).known.seq) == (10, 2)
    assert (only(stood(stored, at(9), again)).held.quantity_open, stood(stored, at(9), again).known.seq) == (12, 4)


def test_an_answer_that_echoed_the_newest_row_is_never_added_to(stored: StoredWorld) -> None:
    opened = stood(stored, at(9)).known.recorded_at
    empty = text(stood(stored, at(9), opened))
    stored.deliver([make_fill("a", "BUY", 10, 100, **DESK)], at(7))
    echoed = stood(stored, at(9)).known.recorded_at
    answer = text(stood(stored, at(9), echoed))
    stored.deliver([revised("a", "BUY", 12, 100, 0, source_revision=2)], at(7))
    stored.deliver([make_fill("b", "BUY", 1, 100, 1, **DESK)], at(7))
    stored.split((2, 1), 2, now=at(7))
    assert text(stood(stored, at(9), echoed)) == answer
    assert text(stood(stored, at(9), opened)) == empty
    assert only(stood(stored, at(9))).held.quantity_open == 26


def test_the_clock_standing_still_or_stepping_back_leaves_every_call_its_own_recorded_time(
    stored: StoredWorld, query: Query
) -> None:
    for number, minute in enumerate((7, 7, 6, 7, 8)):
        stored.deliver([make_fill(f"{number}", "BUY", 10, 100, number, **DESK)], at(minute))
    rows = query("select recorded_at from ledger.fills order by seq")
    tick = timedelta(microseconds=1)
    assert [row["recorded_at"] for row in rows] == [*(at(7) + tick * number for number in range(4)), at(8)]
    rebuilt = rebuild.check(stored.db, stored.book.book_id)
    assert (rebuilt.is_equal, rebuilt.chain_head) == (True, stored.chain_head)


def test_a_correction_told_with_an_older_clock_is_known_from_right_after_what_it_corrects(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100, **DESK)], at(7))
    stored.deliver([revised("a", "BUY", 12, 100, 0, source_revision=2)], at(6))
    assert only(stood(stored, at(9), at(7))).held.quantity_open == 10
    assert only(stood(stored, at(9), at(7) + timedelta(microseconds=1))).held.quantity_open == 12


def corrections(day: int) -> list[Fill]:
    """What arrives on a day: a new trade, and a correction, a bust or a late fill of an earlier day."""
    executed = {"executed_at": DAY + timedelta(days=day), "session_date": (DAY + timedelta(days=day)).date()}
    new = [
        make_fill(f"buy-{day}", "BUY", 10, 100 + day, instrument=f"T{day}", **DESK, **executed),
        make_fill(f"sell-{day}", "SELL", 4, 110 + day, instrument=f"T{day}", **DESK, venue_order="1", **executed),
    ]
    before = {"executed_at": DAY + timedelta(days=day - 1), "instrument": f"T{day - 1}"}
    fixes = {
        1: [revised("buy-0", "BUY", 10, "99.5", 0, source_revision=2, **before)],
        2: [make_fill("late-1", "BUY", 3, 90, instrument="T1", **DESK, executed_at=DAY + timedelta(days=1, minutes=-30))],
        3: [make_fill("buy-2", "BUY", 10, 102, is_bust=True, **(DESK | {"cause": "bust"}), **before)],
        4: [revised("buy-0", "BUY", 9, "99.5", 0, source_revision=3, instrument="T0", executed_at=DAY)],
    }
    return new + fixes.get(day, [])


def test_scenario_39_what_was_answered_daily_for_five_days_of_corrections_is_answered_again(stored: StoredWorld) -> None:
    answers = []
    for day in range(5):
        closing = DAY + timedelta(days=day, hours=6)
        stored.deliver(corrections(day), DAY + timedelta(days=day, hours=1))
        if day == 2:
            stored.split((4, 1), 24 * 60 + 1, instrument="T1", now=DAY + timedelta(days=day, hours=2))
        found = standing.book_as_of(stored.db, "live", moment(None, closing, closing))
        answers.append((closing, text(found)))
        for asked, given in answers:
            assert text(stood(stored, None, asked)) == given, f"of {asked}, asked on day {day}"
    assert len({given for _, given in answers}) == 5


def test_a_split_between_t_and_now_is_not_in_the_units_of_t(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100), make_fill("b", "SELL", 4, 110, 1)], at(2))
    mark(stored, "120", at(3))
    stored.split((4, 1), 10, now=at(12))
    mark(stored, "30", at(15))
    before, on_it, now = (only(stood(stored, at(minute), at(60))) for minute in (9, 10, 60))
    assert [(one.held.quantity_open, one.held.vwap, one.held.cost_basis) for one in (before, on_it, now)] == [
        (6, 100, 600), (24, 25, 600), (24, 25, 600),
    ]  # fmt: skip
    assert [one.unrealized_pnl for one in (before, on_it, now)] == [120, 120, 120]
    assert [one.mark and one.mark.price for one in (before, on_it, now)] == [120, 30, 30]
    assert [lot.quantity_open for one in (before, on_it, now) for lot in one.lots] == [6, 24, 24]
    assert only(stood(stored, at(11), at(11))).held.quantity_open == 6


def test_a_split_of_several_lots_rounds_each_of_them(db: Database) -> None:
    world = StoredWorld(db)
    world.deliver([make_fill(f"f{number}", "BUY", 1, 70, number) for number in range(3)], at(4))
    world.split((1, 7), 10, now=at(11))
    one = only(stood(world, at(20)))
    assert [lot.quantity_open for lot in one.lots] == [Decimal("0.1428571429")] * 3
    assert one.held.quantity_open == Decimal("0.4285714287") == world.positions[0].quantity_open


def test_a_split_undone_later_was_in_force_while_it_was_believed(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)], at(1))
    stored.split((2, 1), 10, now=at(12))
    stored.split((2, 1), 10, is_void=True, now=at(20))
    assert [only(stood(stored, at(30), at(minute))).held.quantity_open for minute in (11, 12, 19, 20)] == [10, 20, 20, 10]


def test_a_short_position_gains_as_its_mark_falls(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "SELL", 100, 50, fees="1"), make_fill("b", "SELL", 50, 54, 5, fees="0.5")], at(6))
    stored.deliver([make_fill("c", "BUY", 120, 48, 10, fees="1.2")], at(11))
    mark(stored, "52", at(5))
    early, late = only(stood(stored, at(5))), only(stood(stored, at(10)))
    assert (early.held.quantity_open, early.held.cost_basis, early.unrealized_pnl) == (150, Decimal("7698.5"), Decimal("-101.5"))
    assert (late.held.quantity_open, late.held.cost_basis, late.held.realized_pnl) == (30, Decimal("1619.7"), Decimal("317.6"))
    (usd,) = stood(stored, at(10)).totals
    assert (usd.market_value, usd.unrealized_pnl) == (-1560, Decimal("59.7"))


def test_a_hedging_book_holds_both_directions_at_t(db: Database) -> None:
    world = StoredWorld(db, make_book("mt5:s:1", netting="hedge"))
    facts = {"source": "mt5", "account_key": "s:1"}
    world.deliver([make_fill("a", "BUY", 2, 100, direction="LONG", **facts)], at(1))
    world.deliver([make_fill("b", "SELL", 3, 101, 5, direction="SHORT", **facts)], at(6))
    world.deliver([make_fill("c", "SELL", 2, 102, 10, direction="LONG", **facts)], at(11))
    found = [stood(world, at(minute)).positions for minute in (4, 9, 10)]
    assert [[(one.held.direction, one.held.quantity_open) for one in positions] for positions in found] == [
        [("LONG", 2)], [("SHORT", 3), ("LONG", 2)], [("SHORT", 3)],
    ]  # fmt: skip


def test_a_reversal_ends_one_position_and_begins_another(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 200, fees="1"), make_fill("b", "SELL", 25, 210, 5, fees="2.5")], at(6))
    found = only(stood(stored, at(5)))
    assert (found.held.direction, found.held.quantity_open, found.held.cost_basis) == ("SHORT", 15, Decimal("3148.5"))
    both = stood(stored, at(5), instrument="AMD").positions
    assert {(one.held.direction, one.held.status, one.held.realized_pnl) for one in both} == {
        ("LONG", "CLOSED", 98), ("SHORT", "OPEN", 0),
    }  # fmt: skip
    assert [lot.fees for lot in found.lots] == [Decimal("1.5")]


def test_what_was_void_and_was_booked_again_shows_as_it_was_each_day(stored: StoredWorld) -> None:
    facts = make_fill("a", "BUY", 10, 100, **DESK)
    stored.deliver([facts], at(1))
    stored.deliver([make_fill("a", "BUY", 10, 100, is_bust=True, **(DESK | {"cause": "bust"}))], at(10))
    stored.deliver([revised("a", "BUY", 11, 100, 0, source_revision=2)], at(20))
    quantities = [
        [one.held.quantity_open for one in stood(stored, at(30), at(minute)).positions] for minute in (1, 9, 10, 19, 20)
    ]
    assert quantities == [[10], [10], [], [], [11]]
    (usd,) = stood(stored, at(30), at(15)).totals
    assert (usd.cash, usd.realized_pnl, usd.equity) == (0, 0, 0)


def test_a_late_first_fill_gives_the_position_another_id_only_for_those_who_know_it(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100, 5, **DESK)], at(6))
    stored.deliver([make_fill("early", "BUY", 5, 90, 1, **DESK)], at(20))
    before, after = (only(stood(stored, at(30), at(minute))).held for minute in (19, 20))
    assert (before.quantity_open, before.opened_at, before.action_count) == (10, at(5), 1)
    assert (after.quantity_open, after.opened_at, after.action_count) == (15, at(1), 2)
    assert before.position_id != after.position_id
    assert only(stood(stored, at(3), at(20))).held.quantity_open == 5


def test_totals_of_now_are_those_of_the_view(db: Database, query: Query) -> None:
    world = StoredWorld(db, make_book("ibkr:U1", start_cash=Decimal(1000)))
    facts = {"source": "ibkr", "account_key": "U1"}
    fills = [
        make_fill("a", "BUY", 10, 50, fees="1", **facts),
        make_fill("b", "SELL", 3, "55.55", 1, fees="0.3", **facts),
        make_fill("c", "SELL", 2, 20, 2, instrument="SAP", currency="EUR", fx_rate="1.1", fees="1", fees_currency="USD", **facts),
        make_fill("d", "BUY", 2, "4500.25", 3, instrument="ES", multiplier=50, cash_style="margin", fees="4.5", **facts),
        make_fill("e", "BUY", 2, 10, 4, instrument="NVDA", fees=None, **facts),
        make_fill("f", "SELL", 2, 11, 5, instrument="NVDA", **facts),
    ]
    world.deliver(fills, at(6))
    for instrument, price in (("AMD", "51.37"), ("ES", "4490"), ("SAP", "21")):
        mark(world, price, at(6), instrument, "ibkr")
    names = ("cash", "realized_pnl", "fees", "market_value", "unrealized_pnl", "equity")
    rows = query("select * from ledger.v_book_totals order by currency")
    found = stood(world).totals
    assert [one.currency for one in found] == [row["currency"] for row in rows] == ["EUR", "USD"]
    assert [{name: getattr(one, name) for name in names} for one in found] == [
        {name: row[name] for name in names} for row in rows
    ]


def test_a_reader_sees_all_of_a_rebooking_or_nothing_of_it(stored: StoredWorld, open_database: OpenDatabase) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100, **DESK), make_fill("b", "BUY", 10, 100, 1, **DESK)], at(2))
    now = moment(None, None, LATER)
    with open_database("ledger_reader").transaction(read_only=True, isolation="repeatable read") as tx:
        known = asof.books(tx, ["live"], now)
        stored.deliver([make_fill("early", "BUY", 5, 90, -5, **DESK)], at(20))
        (held,) = asof.positions(tx, known, now, Selection(rows_max=10))
        unfolded = asof.unfold_all(tx, known, now, [held.place])
    assert (held.quantity_open, held.action_count, known["live"].seq) == (20, 2, 4)
    assert sum(lot.quantity_open for lot in unfolded[held.place].lots) == 20


@pytest.mark.parametrize("role", ["ledger_reader", "tracker_reader", "ledger_writer", "replay_writer", "desk_operator"])
def test_every_reader_may_ask(stored: StoredWorld, open_database: OpenDatabase, role: str) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)], at(1))
    found = standing.book_as_of(open_database(role), "live", moment(at(1), at(1), LATER))
    assert only(found).held.quantity_open == 10


@pytest.mark.parametrize(
    ("as_of", "known_as_of", "reason", "field"),
    [
        (LATER + timedelta(microseconds=1), None, "instant_in_future", "as_of"),
        (None, LATER + timedelta(days=1), "instant_in_future", "known_as_of"),
        (DAY.replace(tzinfo=None), None, "instant_invalid", "as_of"),
        (None, DAY.replace(tzinfo=None), "instant_invalid", "known_as_of"),
    ],
)
def test_an_instant_of_the_future_or_without_a_zone_is_refused(
    as_of: datetime | None, known_as_of: datetime | None, reason: str, field: str
) -> None:
    with pytest.raises(Rejected, match=reason) as refused:
        moment(as_of, known_as_of, LATER)
    assert refused.value.field == field


def test_as_of_alone_is_known_now_and_known_as_of_alone_asks_for_its_own_instant() -> None:
    assert moment(at(1), None, LATER) == moment(at(1), LATER, LATER)
    assert moment(None, at(1), LATER) == moment(at(1), at(1), LATER)


def test_an_unknown_book_and_one_that_was_not_opened_yet(stored: StoredWorld) -> None:
    with pytest.raises(Rejected, match="book_unknown"):
        standing.book_as_of(stored.db, "ibkr:none", moment(None, None, LATER))
    found = stood(stored, None, DAY - timedelta(days=1))
    assert (found.known.seq, found.known.recorded_at, found.positions) == (0, None, ())


def test_too_many_actions_are_refused_by_name_and_fewer_are_answered(
    stored: StoredWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.deliver([make_fill(f"f{number}", "BUY", 1, 100, number) for number in range(5)], at(6))
    monkeypatch.setattr(asof, "UNFOLDED_ACTIONS_MAX", 4)
    with pytest.raises(Rejected, match="too_many_actions: more than 4"):
        stood(stored, at(6))
    assert len(only(stood(stored, at(3))).lots) == 4
    with stored.db.transaction(read_only=True) as tx:
        now = moment(at(6), None, LATER)
        (held,) = asof.positions(tx, asof.books(tx, ["live"], now), now, Selection(rows_max=10))
    assert (held.quantity_open, held.action_count) == (5, 5)


def test_the_seq_is_that_of_the_newest_row_known_of_any_kind(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)], at(1))
    stored.split((2, 1), 30, instrument="NVDA", now=at(5))
    assert [stood(stored, None, at(minute)).known.seq for minute in (0, 1, 4, 5)] == [0, 2, 2, 3]
    assert fill_id("signal", "", "a") == only(stood(stored)).lots[0].fill_id
