"""Two decision logs in a real database: read by keyset with the grants of a replay writer, explained, kept and found again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from fillbook.replay import comparisonstore, comparisonwire
from fillbook.replay.comparing import compare_runs
from fillbook.replay.model import Cause, Comparison
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Conflict, Rejected
from fillbook.signal import lanes
from fillbook.signal.model import Check
from tests.support.receipts import MINUTE_MS, R_TS, body
from tests.support.replay_books import DAY, NOW, ReplayBooks
from tests.support.signal_keys import FIRST, changed

D = Decimal
STORY = [
    body(),
    body(minutes=20, price=D("102.10")),
    body(minutes=40, price=D("104.90")),
    body("Q"),
    *(body(ticker=f"ZZT{letter}", minutes=minutes, sector=None) for minutes, letter in ((1, "C"), (2, "D"))),
]


@pytest.fixture
def books(db: Database, query: Callable[..., list[dict[str, Any]]]) -> ReplayBooks:
    return ReplayBooks(db, query)


@pytest.fixture
def comparing(open_database: Callable[..., Database]) -> Callable[..., Comparison]:
    replay_writer = open_database("replay_writer")

    def compared(a: str, b: str, day: date | None = None) -> Comparison:
        return compare_runs(replay_writer, a, b, day=day, now=NOW)

    return compared


def test_a_run_over_the_same_receipts_is_identical_to_live(books: ReplayBooks, comparing: Callable[..., Comparison]) -> None:
    books.live(STORY)
    run = books.run(STORY)
    found = comparing(run, "live")
    assert found.identical
    assert found.totals_a == found.totals_b
    assert (found.totals_a.decided, found.totals_a.entries, found.totals_a.exits) == (6, 3, 1)
    assert found.totals_a.realized_pnl == "106.13758"
    assert (found.positions["equal"], found.tickers) == (3, 4)


# Scenario 23
def test_another_limit_is_explained_to_ticker_ts_rule_and_key(
    books: ReplayBooks, comparing: Callable[..., Comparison], query: Callable[..., list[dict[str, Any]]]
) -> None:
    a, b = books.run(STORY), books.run(STORY, changed(FIRST, "entry.rr.base", "1.5"))
    found = comparing(a, b)
    assert not found.identical
    assert [(one.ticker, one.cause, one.rule) for one in found.divergences] == [
        ("ZZTA", Cause.CONFIG, "G12"),
        ("ZZTC", Cause.CONFIG, "G12"),
        ("ZZTD", Cause.CONFIG, "G12"),
    ]
    first = found.divergences[0]
    assert first.detail is not None
    assert (first.ts, first.detail["limits"], first.detail["key"]) == (R_TS, ["1.2", "1.5"], "entry.rr.base")
    assert found.positions == {"equal": 0, "left_only": 3, "right_only": 0, "different": 0}
    [kept] = query("select * from replay.v_comparison")
    assert (kept["a"], kept["b"], kept["divergent"]) == (a, b, 3)
    assert [one["ticker"] for one in kept["divergences"]] == ["ZZTA", "ZZTC", "ZZTD"]
    assert kept["divergences"][0]["detail"]["key"] == "entry.rr.base"


# Scenario 24
def test_a_missing_receipt_is_an_input_and_an_empty_start_against_live_is_the_start(
    books: ReplayBooks, comparing: Callable[..., Comparison]
) -> None:
    before = body(minutes=-24 * 60, trigger_ts=R_TS - 24 * 60 * MINUTE_MS - 1)
    books.live([before, *STORY])
    b, a = books.run(STORY[1:]), books.run(STORY)
    [missing] = comparing(a, b).divergences
    assert (missing.ticker, missing.field, missing.cause, missing.value_b) == ("ZZTA", "receipt", Cause.INPUT, None)
    [start] = [one for one in comparing("live", a).divergences if one.ticker == "ZZTA"]
    assert (start.cause, start.ts) == (Cause.START, R_TS)


# Scenario 24
def test_a_planted_change_of_the_code_is_the_code_and_names_its_rule(
    books: ReplayBooks, comparing: Callable[..., Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, evaluate = books.run(STORY), lanes.evaluate

    def stricter(reading: Any, incoming: Any, *rest: Any) -> tuple[Check, ...]:
        checks = evaluate(reading, incoming, *rest)
        return tuple(one._replace(holds=False) if (incoming.ticker, one.rule) == ("ZZTC", "G13") else one for one in checks)

    monkeypatch.setattr(lanes, "evaluate", stricter)
    b = books.run(STORY)
    [found] = comparing(a, b).divergences
    assert (found.ticker, found.ts, found.cause, found.rule) == ("ZZTC", R_TS + MINUTE_MS, Cause.CODE, "G13")
    assert found.detail is not None
    assert found.detail["values"][0] == found.detail["values"][1]
    assert found.detail["holds"] == [True, False]


# Scenario 26
def test_a_quantity_altered_behind_our_back_is_the_one_difference(
    books: ReplayBooks, comparing: Callable[..., Comparison], query: Callable[..., list[dict[str, Any]]]
) -> None:
    books.live(STORY)
    run = books.run(STORY)
    query("update ledger.execution_actions set quantity = 37, value = 37 * price where book_id = 'live' and ticker = 'ZZTC'")
    [found] = comparing(run, "live").divergences
    assert (found.ticker, found.ts, found.field) == ("ZZTC", R_TS + MINUTE_MS, "quantity")
    assert (found.value_a, found.value_b) == (["37.6374"], ["37"])
    assert (found.cause, found.later_count) == (Cause.CODE, 0)


def test_a_slot_that_another_ticker_took_is_named(books: ReplayBooks, comparing: Callable[..., Comparison]) -> None:
    only_one = changed(FIRST, "limits.entries_per_day", 1)
    a = books.run(STORY[4:], only_one)  # ZZTC takes the slot, ZZTD is refused
    b = books.run([STORY[0], *STORY[4:]], only_one)  # ZZTA came before both
    by_ticker = {one.ticker: one for one in comparing(a, b).divergences}
    refused = by_ticker["ZZTC"]
    assert (refused.cause, refused.rule) == (Cause.FACTS, "L3")
    assert refused.detail is not None
    assert (refused.detail["taken"]["ticker"], refused.detail["taken"]["actionType"]) == ("ZZTA", "ENTRY")
    assert by_ticker["ZZTA"].cause is Cause.INPUT


def test_live_is_compared_within_the_runs_scope_alone(books: ReplayBooks, comparing: Callable[..., Comparison]) -> None:
    outside = [body(minutes=-60), body(ticker="ZZTE", minutes=-60), body(ticker="ZZTF", script_version="2.6.0")]
    books.live([*STORY, *outside[1:]])
    one, whole = books.run([STORY[0]], ticker="ZZTA"), books.run([*STORY, *outside[1:]])
    beside = {found.ticker: found.value_b for found in comparing(whole, "live").divergences}
    assert beside == {"ZZTF": None}  # live's own is of another script; before the open nobody looks
    assert comparing("live", one).totals_a.decided == 3
    assert comparing(whole, one, DAY).totals_b.decided == 1


def test_a_second_comparison_takes_the_place_of_the_first(
    books: ReplayBooks, comparing: Callable[..., Comparison], query: Callable[..., list[dict[str, Any]]]
) -> None:
    a, b = books.run(STORY), books.run(STORY[1:])
    assert comparing(a, b).comparison_id == comparing(a, b).comparison_id
    assert [row["n"] for row in query("select count(*) as n from replay.divergences")] == [1]


def test_the_answers_name_bucket_rule_and_sentence_and_page_through_the_differences(
    books: ReplayBooks, open_database: Callable[..., Database]
) -> None:
    a, b = books.run(STORY, name="first"), books.run(STORY, changed(FIRST, "entry.rr.base", "1.5"), name="stricter")
    db = open_database("replay_writer")
    told = comparisonwire.compare(db, {"a": "first", "b": "stricter"}, NOW)
    assert (told["a"], told["b"], told["identical"], told["divergent"]) == (a, b, False, 3)
    assert told["totals"]["a"]["realizedPnl"] == "106.13758"
    first = told["first"]
    assert (first["bucket"], first["rule"], first["cause"]) == (R_TS, "G12", "config")
    assert first["says"] == [f"Reward to risk 1.3529 must be at least {limit}." for limit in ("1.2", "1.5")]
    paged: list[str] = []
    after = ""
    while True:
        page = comparisonwire.divergences(db, "stricter", {"limit": "2", "after": after})
        paged += [one["ticker"] for one in page["divergences"]]
        after = page["after"]
        if not page["hasMore"]:
            break
    assert paged == ["ZZTA", "ZZTC", "ZZTD"]
    assert page["divergences"][0]["says"][1] == "Reward to risk 1.3529 must be at least 1.5."
    for given, field in (({"a": a}, "b"), ({"a": a, "b": b, "dat": "x"}, "dat"), ({"a": a, "b": b, "date": "x"}, "date")):
        with pytest.raises(Rejected) as refused:
            comparisonwire.compare(db, given, NOW)
        assert (refused.value.reason, refused.value.field) == ("param", field)
    with pytest.raises(Rejected) as unknown:
        comparisonwire.divergences(db, "nobody", {})
    assert (unknown.value.reason, unknown.value.status) == ("not_compared", 404)


def test_of_a_run_that_is_not_done_what_it_has_behind_it_is_compared(
    books: ReplayBooks, comparing: Callable[..., Comparison], query: Callable[..., list[dict[str, Any]]]
) -> None:
    books.live(STORY)
    half = books.run([one for one in STORY if one["ts"] <= R_TS + 20 * MINUTE_MS], status="paused")
    query(
        "insert into replay.checkpoints values (:run, :bucket, 1, 0, 0, '', '', '', '', '', :now)",
        run=half,
        bucket=R_TS + 20 * MINUTE_MS,
        now=NOW,
    )
    found = comparing(half, "live")
    assert found.identical
    assert found.totals_b.decided == 5


def test_a_log_read_in_small_pages_is_the_same_log_and_one_that_is_too_long_is_refused(
    books: ReplayBooks, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.live(STORY)
    stretch = comparisonstore.LoggedStretch(book_id="live")
    with db.transaction(read_only=True) as tx:
        tickers = comparisonstore.tickers_of(tx, ["live"], None)
        whole, small = (list(comparisonstore.log_of(tx, stretch, tickers, page=page)) for page in (100, 1))
        monkeypatch.setattr(comparisonstore, "LINES_MAX", 5)
        with pytest.raises(Rejected) as refused:
            list(comparisonstore.log_of(tx, stretch, tickers))
    assert whole == small
    assert len(whole) == 6
    assert refused.value.reason == "too_many_lines"


def test_what_cannot_be_compared_is_refused(books: ReplayBooks, comparing: Callable[..., Comparison]) -> None:
    books.live(STORY[:1])
    planned = books.run(STORY[:1], status="planned")
    with pytest.raises(Conflict) as early:
        comparing(planned, "live")
    assert early.value.reason == "run_not_begun"
    for a, b, reason in (("live", "live", "param"), ("nobody", "live", "run_unknown")):
        with pytest.raises(Rejected) as refused:
            comparing(a, b)
        assert refused.value.reason == reason
