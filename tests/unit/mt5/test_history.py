"""Windows, pages, the watermark, gaps: what a read of history proves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from fillbook.mt5.cash import CashCheck
from fillbook.mt5.history import (
    CashStep,
    Gap,
    Next,
    Proof,
    Reading,
    after_check,
    begin,
    taken,
    watermark,
    within,
)
from fillbook.mt5.model import AccountState, DealPage, Head, Window
from fillbook.mt5.windows import (
    DAY_MSC,
    HOUR_MSC,
    Deepened,
    Spans,
    backfill,
    backfill_state,
    day_msc,
    day_of,
    deepened,
    forward,
    may_backfill,
)
from fillbook.mt5.words import BackfillState, CashResult, CashState
from tests.support.mt5_deals import NOW, at, deal

SERVER = at(0)
SPANS = Spans()
FRESH = AccountState(next_due_at=NOW, lease_token=1)
READ = replace(FRESH, history_until_msc=SERVER - HOUR_MSC, history_floor_msc=SERVER - 30 * DAY_MSC, opening_balance=Decimal(0))
OK = CashCheck(result=CashResult.OK, gap=Decimal(0))
GAP = CashCheck(result=CashResult.GAP, gap=Decimal(50))


def days(start: int, end: float) -> Window:
    return Window(from_msc=SERVER - start * DAY_MSC, to_msc=SERVER - int(end * DAY_MSC))


# --- windows ----------------------------------------------------------------------------------------------------------


def test_scenario_12_the_first_read_is_thirty_days_whatever_the_target():
    assert forward(FRESH, SERVER, None, spans=SPANS).window == days(30, -1)
    assert forward(FRESH, SERVER, date(1970, 1, 1), spans=SPANS).window == days(30, -1)


def test_the_first_read_is_shorter_where_the_target_is_nearer():
    target = day_of(SERVER - 3 * DAY_MSC)
    assert forward(FRESH, SERVER, target, spans=SPANS).window.from_msc == day_msc(target)


def test_after_that_it_overlaps_by_48_hours_and_ends_a_day_ahead_of_the_server():
    window = forward(READ, SERVER, None, spans=SPANS).window
    overlap = (SERVER - HOUR_MSC - 2 * DAY_MSC) // HOUR_MSC * HOUR_MSC
    assert (window.from_msc, window.to_msc) == (overlap, SERVER + DAY_MSC)


def test_runs_of_an_hour_begin_at_one_moment_so_that_nothing_leaves_their_windows():
    hour = SERVER // HOUR_MSC * HOUR_MSC
    states = [replace(READ, history_until_msc=hour + minutes * 60_000) for minutes in range(0, 60, 5)]
    begins = [forward(state, SERVER, None, spans=SPANS).window.from_msc for state in states]
    assert set(begins) == {hour - 2 * DAY_MSC}


def test_a_large_overlap_is_read_once_an_hour_and_two_hours_otherwise():
    hour = SERVER // HOUR_MSC * HOUR_MSC
    state = replace(READ, history_until_msc=hour + 60_000)
    short = forward(state, hour + 360_000, None, overlap_is_large=True, spans=SPANS)
    assert short.window.from_msc == hour - 2 * HOUR_MSC
    full = forward(state, hour + HOUR_MSC, None, overlap_is_large=True, spans=SPANS)
    assert full.window.from_msc == hour - 2 * DAY_MSC


@pytest.mark.parametrize(("runs", "start", "is_whole"), [(1, 7, False), (2, 29, False), (3, 29, True)])
def test_a_gap_reads_seven_days_thirty_days_everything_never_below_the_floor(runs, start, is_whole):
    state = replace(READ, cash_gap_runs=runs, history_floor_msc=SERVER - 29 * DAY_MSC)
    wanted = forward(state, SERVER, None, spans=SPANS)
    assert (wanted.window.from_msc, wanted.is_whole) == (SERVER - start * DAY_MSC, is_whole)


def test_after_the_three_rereads_the_usual_window_is_read():
    assert forward(replace(READ, cash_gap_runs=4), SERVER, None, spans=SPANS) == forward(READ, SERVER, None, spans=SPANS)


def test_a_window_left_half_read_is_resumed_as_it_was():
    state = replace(READ, page_from_msc=1, page_to_msc=2, page_cursor="c")
    wanted = forward(state, SERVER, None, spans=SPANS)
    assert (wanted.window, wanted.cursor) == (Window(from_msc=1, to_msc=2), "c")


# --- backfill ---------------------------------------------------------------------------------------------------------


def test_the_past_is_read_in_two_chunks_of_seven_days_downwards_to_the_target():
    target = day_of(SERVER - 40 * DAY_MSC)
    assert backfill(READ, target, SPANS) == (days(37, 30), Window(from_msc=day_msc(target), to_msc=SERVER - 37 * DAY_MSC))
    assert backfill(READ, None, SPANS) == ()
    assert backfill(FRESH, target, SPANS) == ()


def test_empty_chunks_double_and_2015_is_the_end():
    state = replace(READ, empty_chunks=3)
    assert backfill(state, date(1970, 1, 1), SPANS) == (days(86, 30), days(142, 86))
    deep = replace(READ, empty_chunks=60, history_floor_msc=day_msc(date(2015, 1, 2)))
    assert backfill(deep, date(1970, 1, 1), SPANS) == (
        Window(from_msc=day_msc(date(2015, 1, 1)), to_msc=day_msc(date(2015, 1, 2))),
    )


def test_a_chunk_moves_the_floor_and_counts_empty_ones():
    target = date(2015, 1, 1)
    one = Deepened(history_floor_msc=SERVER - 37 * DAY_MSC, empty_chunks=0, backfill_state=BackfillState.RUNNING)
    assert deepened(READ, days(37, 30), 5, target, is_inception=False) == one
    assert deepened(READ, days(37, 30), 0, target, is_inception=False).empty_chunks == 1
    assert deepened(READ, days(37, 30), 5, target, is_inception=True).backfill_state is BackfillState.DONE
    assert deepened(
        READ, days(37, 30), 5, day_of(SERVER - 37 * DAY_MSC) + timedelta(days=1), is_inception=False
    ).backfill_state is (BackfillState.DONE)


def test_scenario_12_chunks_reach_the_target_and_the_floor_falls_monotonically():
    target, state, floors = day_of(SERVER - 90 * DAY_MSC), READ, [SERVER]
    while chunks := backfill(state, target, SPANS):
        for chunk in chunks:
            after = deepened(state, chunk, 1, target, is_inception=False)
            assert chunk.to_msc == state.history_floor_msc
            state = replace(state, history_floor_msc=after.history_floor_msc, backfill_state=after.backfill_state)
            floors.append(after.history_floor_msc)
    assert floors == sorted(floors, reverse=True)
    assert (floors[-1], state.backfill_state) == (day_msc(target), BackfillState.DONE)


def test_a_target_set_further_back_wakes_a_backfill_that_was_done():
    done = replace(READ, backfill_state=BackfillState.DONE)
    assert backfill_state(done, date(2016, 1, 1)) is BackfillState.RUNNING
    assert backfill_state(replace(done, opening_proven=True), date(2016, 1, 1)) is BackfillState.DONE
    assert backfill_state(done, None) is BackfillState.DONE
    assert backfill_state(FRESH, None) is BackfillState.PENDING
    assert backfill_state(replace(READ, backfill_state=BackfillState.BLOCKED), date(2016, 1, 1)) is BackfillState.BLOCKED


def test_the_past_waits_for_time_and_for_a_sound_present():
    half, whole = timedelta(seconds=45), timedelta(seconds=90)
    assert may_backfill(half + timedelta(seconds=1), whole, has_failed=False, has_gap=False)
    assert not may_backfill(half, whole, has_failed=False, has_gap=False)
    assert not may_backfill(whole, whole, has_failed=True, has_gap=False)
    assert not may_backfill(whole, whole, has_failed=False, has_gap=True)


# --- pages ------------------------------------------------------------------------------------------------------------


def page(*seconds: int, total: int | None = 6, cursor: str | None = "more", server: int = SERVER, age: int = 0) -> DealPage:
    head = Head(login=1, server="s", server_time_msc=server, as_of=datetime(2026, 2, 2, tzinfo=UTC), cache_age_ms=age)
    deals = tuple(deal(100 + second, 5, "buy", "in", 1, 1, second) for second in seconds)
    return DealPage(head=head, deals=deals, total=total, next_cursor=cursor)


def read(*pages: DealPage, reading: Reading | None = None, pages_max: int = 20) -> tuple[Reading, list[Next]]:
    reading, steps = reading or begin(days(30, -1)), []
    for one in pages:
        reading, step = taken(reading, one, pages_max)
        steps.append(step)
    return reading, steps


def test_scenario_10_a_window_is_whole_when_its_last_page_came():
    reading, steps = read(page(1, 2), page(3, 4), page(5, 6, cursor=None))
    assert steps == [Next.READ, Next.READ, Next.DONE]
    assert (reading.is_whole, reading.count, reading.proven_msc) == (True, 3, SERVER)
    partly, _ = read(page(1, 2), page(3, 4))
    assert (partly.is_whole, partly.proven_msc, partly.cursor) == (False, None, "more")


def test_what_is_proven_is_the_earliest_moment_any_page_described():
    reading, _ = read(
        page(1, server=SERVER + 10, age=3), page(2, server=SERVER + 20, age=15), page(3, server=SERVER + 30, cursor=None)
    )
    assert reading.proven_msc == SERVER + 5


def test_a_resumed_window_is_proven_only_up_to_when_it_was_begun():
    reading, _ = read(page(5, 6, server=SERVER + 5000, cursor=None), reading=begin(days(30, -1), "c"))
    assert reading.proven_msc == SERVER


@pytest.mark.parametrize("second", [page(3, 4, total=7), page(1, 2)])
def test_a_window_that_shifts_is_begun_again_once_and_then_fails(second):
    reading, steps = read(page(1, 2, total=6), second) if second.total == 7 else read(page(3, 4), second)
    assert steps == [Next.READ, Next.RESTART]
    assert (reading.cursor, reading.is_restarted) == (None, True)
    _, again = read(page(3, 4, total=6), replace(second, total=5), reading=reading)
    assert again == [Next.READ, Next.DRIFT]


def test_rows_repeated_inside_a_page_and_at_its_edge_are_no_shift():
    _, steps = read(page(1, 1, 2), page(2, 3, cursor=None))
    assert steps == [Next.READ, Next.DONE]


def test_a_run_stops_after_twenty_pages_and_commits_every_five():
    reading, steps = read(*(page(second, total=None) for second in range(20)))
    assert steps == [Next.READ] * 19 + [Next.STOP]
    assert (reading.cursor, reading.is_whole) == ("more", False)
    due = [read(*(page(second) for second in range(count)))[0].is_due for count in range(1, 11)]
    assert [count for count, is_due in enumerate(due, 1) if is_due] == [5, 10]


def test_deals_outside_the_window_are_passed_over():
    deals = [deal(1, 5, "buy", "in", 1, 1, second) for second in (0, 10, 20)]
    assert [one.time_msc for one in within(Window(from_msc=at(10), to_msc=at(20)), deals)] == [at(10)]


# --- the watermark ----------------------------------------------------------------------------------------------------

WHOLE = replace(begin(days(2, -1)), is_whole=True, known_msc=SERVER)


def test_the_watermark_moves_to_the_moment_the_answer_describes():
    assert watermark(READ, Proof(reading=WHOLE, check=OK), NOW) == SERVER
    assert watermark(FRESH, Proof(reading=WHOLE, check=OK), NOW) == SERVER
    unavailable = CashCheck(result=CashResult.UNAVAILABLE)
    assert watermark(READ, Proof(reading=WHOLE, check=unavailable), NOW) == SERVER


def test_the_watermark_never_falls():
    ahead = replace(READ, history_until_msc=SERVER + 5)
    assert watermark(ahead, Proof(reading=WHOLE, check=OK), NOW) == SERVER + 5


def test_the_watermark_stays_without_every_page_without_info_and_with_a_young_gap():
    stays = READ.history_until_msc
    assert watermark(READ, Proof(reading=replace(WHOLE, is_whole=False), check=OK), NOW) == stays
    assert watermark(READ, Proof(reading=WHOLE, check=None), NOW) == stays
    assert watermark(READ, Proof(reading=WHOLE, check=GAP), NOW) == stays
    young = Gap(opened_at=NOW - timedelta(hours=23))
    assert watermark(READ, Proof(reading=WHOLE, check=OK, gap=young), NOW) == stays
    assert watermark(READ, Proof(reading=replace(WHOLE, known_msc=None), check=OK), NOW) == stays


def test_after_a_day_a_gap_in_a_proven_history_lets_the_watermark_pass():
    old = Gap(opened_at=NOW - timedelta(hours=24), amount=Decimal(50))
    assert watermark(replace(READ, opening_proven=True), Proof(reading=WHOLE, check=GAP, gap=old), NOW) == SERVER
    assert watermark(READ, Proof(reading=WHOLE, check=GAP, gap=old), NOW) == READ.history_until_msc


# --- gaps -------------------------------------------------------------------------------------------------------------


def test_a_gap_is_opened_read_three_times_and_then_a_history_without_proof_is_anchored_anew():
    state, gap, steps = READ, None, []
    for _ in range(4):
        step = after_check(state, GAP, gap)
        steps.append((step.opens, step.cash_gap_runs, step.reanchors))
        state, gap = replace(state, cash_gap_runs=step.cash_gap_runs), Gap(opened_at=NOW, amount=Decimal(50))
    assert steps == [(True, 1, False), (False, 2, False), (False, 3, False), (False, 0, True)]


def test_a_proven_history_keeps_its_gap():
    state = replace(READ, opening_proven=True, cash_gap_runs=3)
    same = Gap(opened_at=NOW, amount=Decimal(50))
    step = after_check(state, GAP, same)
    assert step == CashStep(cash_state=CashState.GAP, cash_gap_runs=4)
    assert after_check(replace(state, cash_gap_runs=4), GAP, same) == step


def test_a_gap_of_another_amount_starts_over():
    state = replace(READ, cash_gap_runs=3)
    step = after_check(state, GAP, Gap(opened_at=NOW, amount=Decimal(49)))
    assert (step.cash_gap_runs, step.opens, step.closes) == (1, False, False)


def test_money_that_adds_up_again_closes_the_gap():
    step = after_check(replace(READ, cash_gap_runs=2), OK, Gap(opened_at=NOW, amount=Decimal(50)))
    assert step == CashStep(cash_state=CashState.OK, cash_gap_runs=0, closes=True)
    assert after_check(READ, CashCheck(result=CashResult.UNAVAILABLE), None).cash_state is CashState.UNAVAILABLE
