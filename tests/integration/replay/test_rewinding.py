"""Clean slate by day and by ticker, and incremental runs: what goes, what stays, and that the end is that of a full run."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from fillbook.runtime.errors import Rejected
from fillbook.signal.receipt import instant
from tests.support.receipts import MINUTE_MS, body
from tests.support.replay_desk import OPENS, ReplayDesk, minute, walk

DAY_MS = 86_400_000
TICKERS = ["ZZTA", "ZZTB", "ZZTC"]


def decided(rows: dict[str, list[str]], ticker: str) -> dict[str, list[str]]:
    """The rows of one ticker."""
    return {table: [row for row in held if f'"{ticker}"' in row] for table, held in rows.items()}


def test_scenario_13_a_clean_slate_on_day_two_of_three_leaves_day_one_as_it_ended(desk: ReplayDesk) -> None:
    for number in range(3):
        desk.keep(walk(20 + number, TICKERS[:2], range(40), start=OPENS + number * DAY_MS))
    desk.keep([body(ticker="AAAA", ts=OPENS + DAY_MS, time_close=OPENS + DAY_MS + MINUTE_MS, htf_score=None, ltf_score=None)])
    three = {"name": "three", "from": "2026-02-02", "to": "2026-02-04"}
    desk.start(**{**three, "to": "2026-02-02", "name": "one"})
    desk.start(**three)
    desk.work_off()
    one, all_three = desk.shown("one"), desk.shown("three")
    assert (one["status"], all_three["status"], all_three["rows"]) == ("done", "done", 241)
    answer = desk.call(run="three", date="2026-02-03", cleanSlate="1", limit=1)
    assert answer.trades_purged == all_three["tradesCreated"] - one["tradesCreated"] > 0
    assert (answer.rows, answer.run.rows, answer.run.trades_created) == (1, 81, one["tradesCreated"])
    day_one = {table: [row for row in rows if '"AAAA"' not in row] for table, rows in desk.rows(answer).items()}
    assert day_one == desk.rows(one["book"]), "day 1 and what was opened on it, to the last row"
    desk.call(run="three", date="2026-02-03", cleanSlate="1", limit=1)
    desk.start(**three)
    desk.work_off()
    again = desk.shown("three")
    assert (again["resultHash"], again["rows"], again["status"]) == (all_three["resultHash"], 241, "done")


def test_a_clean_slate_of_a_whole_run_ends_with_the_same_hash_again(desk: ReplayDesk) -> None:
    desk.keep(walk(20, TICKERS, range(30)))
    first = desk.day(after="", limit=50)[-1]
    rows = desk.rows(first)
    again = desk.day(cleanSlate="1")
    assert again[0].trades_purged == first.run.trades_created > 0
    assert again[-1].result_hash == first.result_hash
    assert desk.rows(again[-1]) == rows


def test_scenario_14_a_ticker_that_is_run_again_alone_leaves_the_others_and_meets_the_book_of_its_time(desk: ReplayDesk) -> None:
    desk.keep(walk(5, TICKERS, range(40)))
    whole = desk.day(run="whole", after="", limit=500)[-1]
    before = desk.rows(whole)
    answers = [desk.call(run="whole", ticker="ZZTB", cleanSlate="1", limit=25)]
    assert answers[0].trades_purged > 0
    while answers[-1].has_more:
        answers.append(desk.call(run="whole", ticker="ZZTB"))
    assert [answer.rows for answer in answers] == [25, 15]
    after = desk.rows(whole)
    for ticker in ("ZZTA", "ZZTC"):
        assert decided(after, ticker) == decided(before, ticker)
    assert after == before  # no limit bound, and each ask met the book as it was
    record = desk.shown("whole")
    assert (record["tickerPass"], record["status"], record["rows"]) == (True, "done", 120)
    assert record["tradesCreated"] == whole.run.trades_created


@pytest.mark.parametrize("params", [{"offset": 25}, {"after": "MTc3MDA0Mjg0MDAwMHxaWlRBfDB8NmYwYzJiMWU"}])
def test_scenario_15_a_clean_slate_begins_at_the_beginning(desk: ReplayDesk, params: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match="param"):
        desk.call(cleanSlate="1", **params)


LATE_BUCKET = 40
LATE_TS = OPENS + (LATE_BUCKET * 5 + 2) * MINUTE_MS


def test_scenario_22_an_incremental_run_equals_a_full_one_and_stops_where_states_meet(
    desk: ReplayDesk,
) -> None:
    """A day of 78 buckets: a minute of each, and every minute from the thirty-eighth bucket on, for twelve of them."""
    whole = walk(8, TICKERS, sorted({*range(0, 390, 5), *range(38 * 5, 50 * 5)}))
    desk.keep(one for one in whole if (one["ticker"], one["ts"]) != ("ZZTA", LATE_TS))
    [last] = [one for one in whole if (one["ticker"], one["ts"]) == ("ZZTA", LATE_TS - MINUTE_MS)]
    first = desk.day(run="kept", after="", limit=500)[-1]
    before_it = "select * from replay.checkpoints where bucket < :b and run_id = :run order by bucket"
    late = {"b": OPENS + LATE_BUCKET * 300_000, "run": first.run.run_id}
    untouched = desk.query(before_it, **late)
    assert len(untouched) == LATE_BUCKET
    recorded = "select ts, ticker, recorded_at from signal.decisions where book_id = :book order by ts, ticker"
    before = desk.query(recorded, book=first.run.book_id)
    # a minute that nobody had, without scores and at an unmoved price: what it leaves behind is forgotten after a few more
    desk.keep([last | {"ts": LATE_TS, "time_close": LATE_TS + MINUTE_MS, "htf_score": None, "ltf_score": None}])
    desk.now = desk.now.replace(hour=13)
    desk.start(name="kept", date="2026-02-02", mode="incremental")
    desk.work_off()
    full = desk.day(run="full", after="", limit=500)[-1]
    record = desk.shown("kept")
    assert (record["resultHash"], record["inputDigest"], record["rows"], record["tradesCreated"]) == (
        full.result_hash, full.run.input_digest, len(whole), full.run.trades_created,
    )  # fmt: skip
    assert record["resultHash"] != first.result_hash
    assert desk.rows(first) == desk.rows(full)
    assert untouched == desk.query(before_it, **late)
    stamps = {(row["ts"], row["ticker"]): row["recorded_at"] for row in desk.query(recorded, book=first.run.book_id)}
    old = {(row["ts"], row["ticker"]): row["recorded_at"] for row in before}
    kept = sorted(place for place in old if stamps[place] == old[place])
    again = sorted(place for place in old if stamps[place] != old[place])
    late_bucket = instant(OPENS + LATE_BUCKET * 300_000)
    assert again[0] >= (late_bucket, ""), "the buckets before the late one are kept"
    assert again[-1] < (instant(OPENS + 390 * MINUTE_MS - 5 * 300_000), ""), "the states met, and the rest of the day is kept"
    assert kept[-1] == max(old)


def test_an_incremental_run_whose_states_never_meet_is_a_full_one_from_there(desk: ReplayDesk) -> None:
    desk.keep(walk(9, TICKERS, range(25)))
    first = desk.day(run="kept", after="", limit=500)[-1]
    desk.keep([minute("ZZTD", OPENS + 7 * MINUTE_MS, "100.40")])
    desk.start(name="kept", date="2026-02-02", mode="incremental")
    desk.work_off(page_rows=20)
    full = desk.day(run="full", after="", limit=500)[-1]
    assert desk.shown("kept")["resultHash"] == full.result_hash != first.result_hash
    assert desk.rows(first) == desk.rows(full)


def test_an_incremental_run_of_two_days_leaves_the_later_snapshots_of_a_full_one(desk: ReplayDesk) -> None:
    both = {"from": "2026-02-02", "to": "2026-02-03"}
    first = walk(9, TICKERS[:2], range(10))
    late = first.pop(3)
    desk.keep(first + walk(10, TICKERS[:2], range(3), start=OPENS + 1440 * MINUTE_MS))
    desk.start(name="kept", **both)
    desk.work_off()
    desk.keep([late], result="late")
    desk.start(name="kept", mode="incremental", **both)
    desk.start(name="full", **both)
    desk.work_off()
    kept, full = desk.shown("kept"), desk.shown("full")
    assert kept["resultHash"] == full["resultHash"]
    assert desk.rows(kept["book"]) == desk.rows(full["book"])


def test_an_incremental_run_without_change_changes_nothing(desk: ReplayDesk) -> None:
    desk.keep(walk(9, TICKERS, range(10)))
    first = desk.day(run="kept", after="", limit=500)[-1]
    desk.start(name="kept", date=date(2026, 2, 2).isoformat(), mode="incremental")
    desk.work_off()
    assert desk.shown("kept")["resultHash"] == first.result_hash
