"""The bucket route on a real database: pages of a day, however they are cut, make one run; and what a call refuses."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from fillbook.replay import store
from fillbook.replay.buckets import BucketNotInDay
from fillbook.replay.calls import Explained
from fillbook.replay.cursors import FIRST_ID
from fillbook.replay.inputstore import Window
from fillbook.runtime.errors import Conflict, Rejected
from fillbook.runtime.sql import statement
from fillbook.signal.receipt import instant
from tests.support.plans import rows_read
from tests.support.receipts import MINUTE_MS, body
from tests.support.replay_desk import OPENS, ReplayDesk, book_rows, minute, walk
from tests.support.signal_live import LiveDesk

BUCKET_MS = 5 * MINUTE_MS


def test_scenarios_1_and_2_a_day_of_one_ticker_is_one_run_whatever_way_it_is_walked(desk: ReplayDesk) -> None:
    desk.keep(walk(3, ["ZZTA"], range(390)))
    answers = desk.day(ticker="ZZTA")
    assert [answer.rows for answer in answers] == [25] * 15 + [15]
    assert [answer.buckets_done for answer in answers[:3]] == [5, 10, 15]
    by_offset = answers[-1]
    assert (by_offset.run.status, by_offset.buckets_done, by_offset.buckets_total) == ("done", 78, 78)
    assert sum(answer.trades_created for answer in answers) == by_offset.run.trades_created > 1
    assert by_offset.run.gaps is not None
    assert by_offset.run.gaps["grade"] == "complete"
    [by_cursor] = desk.day(run="by-cursor", ticker="ZZTA", after="", limit=500)
    by_bucket = [desk.call(run="by-bucket", ticker="ZZTA", bucket=OPENS)]
    while (following := by_bucket[-1].next_bucket) is not None:
        by_bucket.append(desk.call(run="by-bucket", ticker="ZZTA", bucket=following))
    assert [answer.rows for answer in by_bucket] == [5] * 78
    desk.start(name="job", date="2026-02-02", ticker="ZZTA")
    desk.work_off()
    job = desk.shown("job")
    assert {by_cursor.result_hash, by_bucket[-1].result_hash, job["resultHash"]} == {by_offset.result_hash}
    assert desk.rows(by_offset) == desk.rows(by_cursor) == desk.rows(by_bucket[-1]) == desk.rows(job["book"])


def test_scenario_2_pages_of_any_size_by_any_way_give_one_hash_and_the_same_rows(desk: ReplayDesk) -> None:
    desk.keep(walk(5, ["ZZTA", "ZZTB", "ZZTC"], range(40)))
    by_offset = desk.day(run="by-offset")[-1]
    by_seven = desk.day(run="by-seven", after="", limit=7)[-1]
    answer = desk.call(run="by-bucket", after="", bucket=OPENS, limit=4)
    while answer.next_bucket is not None:
        answer = desk.call(run="by-bucket", after=answer.after, bucket=answer.next_bucket, limit=4)
        assert answer.rows
    assert len({one.result_hash for one in (by_offset, by_seven, answer)}) == 1
    assert by_offset.run.trades_created > 2
    rows = desk.rows(by_offset)
    assert rows == desk.rows(by_seven) == desk.rows(answer)
    assert len(rows["signal.decisions"]) == 120


def test_a_replay_of_what_live_decided_is_row_for_row_what_live_wrote(desk: ReplayDesk, open_database: Any, query: Any) -> None:
    live = LiveDesk(open_database("signal_worker", pool_size=2), query)
    for document in walk(11, ["ZZTA", "ZZTB", "ZZTC"], range(45)):
        live.take(document)
    answer = desk.day(after="", limit=40)[-1]
    ours, theirs = desk.rows(answer), book_rows(query, "live")
    assert len(ours["ledger.v_actions"]) > 6
    assert ours == theirs


@pytest.mark.parametrize(
    ("params", "field"),
    [({"limit": 0}, "limit"), ({"offset": 0, "limit": 51}, "limit"), ({"after": "", "limit": 2_001}, "limit")],
)
def test_scenario_3_a_limit_outside_its_range_is_refused(desk: ReplayDesk, params: dict[str, Any], field: str) -> None:
    with pytest.raises(Rejected) as refusal:
        desk.call(**params)
    assert (refusal.value.reason, refusal.value.field) == ("param", field)


def test_scenario_3_an_offset_ahead_of_a_fresh_run_says_what_is_expected(desk: ReplayDesk) -> None:
    with pytest.raises(Explained) as refusal:
        desk.call(offset=25)
    assert (refusal.value.reason, refusal.value.facts) == ("offset_mismatch", {"expected": 0})


@pytest.mark.parametrize("bucket", [1_738_517_400_000, 1_770_042_600_001, 1_770_066_000_000])
def test_scenario_4_a_bucket_of_another_day_off_the_grid_or_after_the_close_is_refused(desk: ReplayDesk, bucket: int) -> None:
    with pytest.raises(BucketNotInDay) as refusal:
        desk.call(bucket=bucket)
    assert (refusal.value.first, refusal.value.last) == (OPENS, OPENS + 77 * BUCKET_MS)
    assert desk.query("select * from replay.run_records") == []


AROUND_CLOCK_CHANGES = {
    date(2026, 3, 6): 1_772_807_400_000,
    date(2026, 3, 9): 1_773_063_000_000,
    date(2026, 10, 30): 1_793_367_000_000,
    date(2026, 11, 2): 1_793_629_800_000,
}


def test_scenario_6_days_around_clock_changes_hash_the_same_with_host_and_database_in_tokyo(
    desk: ReplayDesk, open_database: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.now = datetime(2026, 12, 1, tzinfo=UTC)
    for opens in AROUND_CLOCK_CHANGES.values():
        desk.keep(walk(7, ["ZZTA"], range(-1, 9), start=opens))
    here = {day: desk.day(date=day.isoformat(), run=f"here-{day}") for day in AROUND_CLOCK_CHANGES}
    assert {day: answers[0].bucket for day, answers in here.items()} == {
        day: opens + BUCKET_MS for day, opens in AROUND_CLOCK_CHANGES.items()
    }
    desk.query(f"alter database {database_url.rpartition('/')[2]} set timezone to 'Asia/Tokyo'")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        there = ReplayDesk(open_database("replay_worker", pool_size=2), desk.query, desk.owner)
        there.now = desk.now
        far = {day: there.day(date=day.isoformat(), run=f"far-{day}") for day in AROUND_CLOCK_CHANGES}
    finally:
        monkeypatch.undo()
        time.tzset()
    for day, opens in AROUND_CLOCK_CHANGES.items():
        assert far[day][-1].result_hash == here[day][-1].result_hash
        assert sum(one.rows for one in far[day]) == 9, "the minute before the open is none of it"
        assert desk.call(date=day.isoformat(), run=f"again-{day}", bucket=opens).rows == 5


def test_scenario_7_the_regular_session_takes_the_open_and_leaves_the_close_and_all_takes_every_minute(desk: ReplayDesk) -> None:
    desk.keep(minute("ZZTA", OPENS + number * MINUTE_MS, "100.40") for number in (-1, 0, 389, 390))
    regular, every = desk.day(), desk.day(session="all")
    assert sum(answer.rows for answer in regular) == 2
    assert sum(answer.rows for answer in every) == 4
    assert (regular[-1].buckets_total, every[-1].buckets_total) == (78, 4)


def test_scenario_8_another_script_version_is_left_out_unless_any_is_taken(desk: ReplayDesk) -> None:
    desk.keep([minute("ZZTA", OPENS, "100.40"), minute("ZZTA", OPENS + MINUTE_MS, "100.50", script_version="2.6.0")])
    assert sum(answer.rows for answer in desk.day()) == 1
    assert sum(answer.rows for answer in desk.day(scriptVersion="2.6.0")) == 1
    assert sum(answer.rows for answer in desk.day(scriptVersion="*")) == 2


def test_scenario_9_an_empty_bucket_in_the_middle_is_answered_and_skipped_to_the_next_with_rows(desk: ReplayDesk) -> None:
    desk.keep(minute("ZZTA", OPENS + number * MINUTE_MS, "100.40") for number in (0, 15))
    assert desk.call(bucket=OPENS).next_bucket == OPENS + 3 * BUCKET_MS
    empty = desk.call(bucket=OPENS + BUCKET_MS)
    assert (empty.bucket, empty.rows, empty.next_bucket) == (OPENS + BUCKET_MS, 0, OPENS + 3 * BUCKET_MS)
    with pytest.raises(Explained) as refusal:
        desk.call(bucket=OPENS + 10 * BUCKET_MS)
    assert (refusal.value.reason, refusal.value.facts) == ("bucket_skipped", {"expectedBucket": OPENS + 3 * BUCKET_MS})
    last = desk.call(bucket=OPENS + 3 * BUCKET_MS)
    assert (last.rows, last.has_more, last.next_bucket) == (1, False, None)
    assert desk.call().bucket is None


def test_scenario_10_a_bucket_of_two_thousand_rows_is_worked_in_four_calls_without_gap_or_repeat(desk: ReplayDesk) -> None:
    names = [f"T{number:03}" for number in range(400)]
    desk.keep({"ticker": name, "ts": OPENS + number * MINUTE_MS, "price": Decimal(7)} for number in range(5) for name in names)
    desk.keep([body(ticker="ZZTA", ts=OPENS + BUCKET_MS, time_close=OPENS + BUCKET_MS + MINUTE_MS)])
    answers = [desk.call(after="", bucket=OPENS, limit=500, scriptVersion="*")]
    while answers[-1].has_more_in_bucket:
        answers.append(desk.call(after=answers[-1].after, bucket=OPENS, limit=500, scriptVersion="*"))
    assert [answer.has_more_in_bucket for answer in answers] == [True, True, True, False]
    assert [(answer.rows, answer.skipped, answer.bucket) for answer in answers] == [(500, 0, OPENS)] * 4
    assert answers[-1].next_bucket == OPENS + BUCKET_MS
    [row] = desk.query("select count(*) as n, count(distinct receipt_id) as receipts from signal.decisions")
    assert row == {"n": 2_000, "receipts": 2_000}


def test_the_rows_of_a_bucket_are_counted_by_offset_as_well(desk: ReplayDesk) -> None:
    desk.keep({"ticker": f"T{number:04}", "ts": OPENS, "price": Decimal(7)} for number in range(60))
    answers = [desk.call(bucket=OPENS, scriptVersion="*", offset=20 * number, limit=20) for number in range(3)]
    assert [(answer.rows, answer.has_more_in_bucket) for answer in answers] == [(20, True), (20, True), (20, False)]


def test_scenario_11_rows_that_come_before_the_cursor_of_today_are_not_met_but_reported(desk: ReplayDesk) -> None:
    desk.now = instant(OPENS + 13 * MINUTE_MS)  # of today's three buckets two are settled
    desk.keep(minute("ZZTB", OPENS + number * MINUTE_MS, "100.40") for number in range(12))
    first = desk.call(after="", limit=7)
    desk.keep([minute("ZZTA", OPENS, "100.40")])
    second = desk.call(after=first.after, limit=500)
    assert (first.rows, second.rows, second.has_more, second.changed) == (7, 3, False, True)
    assert second.run.status == "paused", "today goes on"
    again = desk.call(bucket=OPENS)
    assert (again.rows, again.changed) == (0, True)
    assert not desk.call(bucket=OPENS + BUCKET_MS).changed
    desk.now = instant(OPENS + 16 * MINUTE_MS)
    third = desk.call(after=second.after, limit=500)
    assert (third.rows, third.skipped, third.has_more) == (2, 0, False)


def test_scenario_12_a_repeated_call_skips_what_is_decided(desk: ReplayDesk) -> None:
    desk.keep(walk(2, ["ZZTA"], range(30)))
    first, second = desk.call(offset=0), desk.call(offset=0)
    assert (first.rows, first.skipped) == (25, 0)
    assert (second.rows, second.skipped) == (0, 25)
    third = desk.call(offset=20)
    assert (third.rows, third.skipped, third.has_more) == (5, 5, False)
    repeated = desk.call(after="", limit=10)
    assert (repeated.rows, repeated.skipped) == (0, 10)


def test_a_second_receipt_of_one_minute_is_a_conflict_and_the_first_received_wins(desk: ReplayDesk) -> None:
    desk.keep([minute("ZZTA", OPENS, "100.40")], received=5)
    [first] = desk.keep([minute("ZZTA", OPENS, "100.50")], received=2)
    answer = desk.call()
    assert (answer.rows, answer.conflicts) == (1, 1)
    [row] = desk.query("select receipt_id::text as id from signal.decisions")
    assert row["id"] == first.receipt.receipt_id


def test_scenario_18_a_run_goes_on_with_the_profile_it_pinned(desk: ReplayDesk) -> None:
    desk.keep(walk(2, ["ZZTA"], range(30)))
    whole = desk.day(run="whole")[-1]
    desk.call(run="halved")
    desk.desk = desk.with_profiles("tt-2026-02-12").desk
    halved = desk.day(run="halved")[-1]
    assert halved.result_hash == whole.result_hash
    assert halved.run.pins.config_digest == whole.run.pins.config_digest


def test_scenario_34_other_code_does_not_go_on_with_a_run_unless_that_is_accepted_and_recorded(desk: ReplayDesk) -> None:
    desk.keep(walk(2, ["ZZTA"], range(30)))
    desk.call()
    other = desk.with_code("code 2")
    with pytest.raises(Conflict, match="run_differs"):
        other.call()
    accepted = other.call(acceptCode="1")
    assert accepted.rows == 5
    assert (accepted.run.pins.code_version, accepted.run.accepted_code) == ("code 1", ("code 2",))


@pytest.mark.parametrize(
    "params", [{"profile": "tt-2026-02-12"}, {"session": "all"}, {"facts": "recorded"}, {"date": "2026-02-03"}]
)
def test_a_named_run_is_not_another_one(desk: ReplayDesk, params: dict[str, Any]) -> None:
    desk.call(run="mine")
    with pytest.raises(Conflict, match="run_differs"):
        desk.call(**{"run": "mine", **params})
    desk.call(run="mine", session="regular", profile="tt-2026-02")


def test_a_run_id_that_nobody_has_is_unknown(desk: ReplayDesk) -> None:
    with pytest.raises(Rejected, match="run_unknown"):
        desk.call(run="6f0c2b1e-6f5e-5a3a-9a55-0d6a5e1d7c11")


def test_scenario_28_a_scope_with_gaps_is_refused_where_it_must_be_complete_and_noted_where_not(desk: ReplayDesk) -> None:
    desk.keep(walk(2, ["ZZTA"], range(30)))
    with pytest.raises(Conflict, match="gaps"):
        desk.call(requireComplete="1")
    gaps = desk.call().run.gaps
    assert gaps is not None
    assert gaps["grade"] == "gap"


def test_the_next_places_are_read_in_order_and_hardly_a_row_more_than_is_used(desk: ReplayDesk, db: Any) -> None:
    desk.keep(walk(7, ["ZZTA", "ZZTB", "ZZTC"], range(60)))
    desk.query("analyze signal.receipts")
    wanted = Window(since=OPENS, until=OPENS + 390 * MINUTE_MS, ticker=None, script_version="2.5.0", inputs="all")
    place = {"ts": instant(OPENS + 20 * MINUTE_MS), "bucket": instant(OPENS + 20 * MINUTE_MS), "received_at": instant(OPENS)}
    with db.transaction() as tx:
        tx.execute(statement("set local enable_seqscan = off"))
        params = {**wanted.params(), **place, "ticker_after": "", "receipt_id": FIRST_ID, "rows_max": 50}
        assert rows_read(tx, store.QUERIES["input_keys"], **params) <= 55
