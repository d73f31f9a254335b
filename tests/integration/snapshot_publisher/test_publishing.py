"""A day is published whole or not at all, once per content, and every end of it is recorded and told."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.snapshot import publish
from fillbook.snapshot.model import Stage, Status
from fillbook.snapshot.outcomes import Target
from fillbook.snapshot.publishing import FALLBACK_SECONDS
from fillbook.snapshot.sources import FallbackEnd, FallbackKind, ReceiverEnd, SentKind, Stored, StoredKind
from tests.support.ledger import make_fill
from tests.support.snapshot_publishing import DAY, UNREACHED, PublishDesk, kpis, new_york, says_what_it_is

STILL: dict[str, Any] = {"refresh": False}
"""What the views show is what they showed when the database was copied."""
REFUSED = ReceiverEnd(kind=SentKind.REFUSED, attempts=1, http_status=422, detail="refused: HTTP 422, bad_snapshot")
CONFLICT = ReceiverEnd(kind=SentKind.CONFLICT, attempts=1, http_status=409, detail="conflict: HTTP 409, older_snapshot")

W1_KPIS = {
    "Daily PnL": ("$200.50", "200.50"),
    "Realized PnL": ("$77.00", "77.00"),
    "Unrealized PnL": ("$123.50", "123.50"),
    "Total PnL": ("$200.50", "200.50"),
    "Equity": ("$100,200.50", "100200.50"),
    "Daily return": ("0.2%", "0.2005"),
    "Win rate": ("0.0%", "0"),
    "Profit factor": ("4.50", "4.5"),
    "Expectancy": ("-$22.00", "-22.00"),
    "Avg win": ("—", None),
    "Avg loss": ("-$22.00", "-22.00"),
    "Entries opened": ("2", "2"),
    "Add entries": ("1", "1"),
    "Trims taken": ("1", "1"),
    "Exits closed": ("1", "1"),
    "Open positions": ("1", "1"),
    "Gross exposure": ("$1,725.00", "1725.00"),
    "Net exposure": ("$1,725.00", "1725.00"),
    "Traded value": ("$4,720.00", "4720.00"),
    "Fees paid": ("$4.50", "4.50"),
    "Avg hold time": ("1h 03m", "3780"),
    "Liquidity drag": ("$1.50", "1.50"),
    "Oldest mark age": ("5m 00s", "300"),
}


@pytest.fixture
def template(w1_template: str) -> str:
    return w1_template


# --- published ----------------------------------------------------------------------------------------------------------


def test_scenario_1_the_worked_case_is_published_verified_recorded_and_told(desk: PublishDesk) -> None:
    result = desk.publish(**STILL)
    assert (result.status, result.stage, result.version, result.verified) == (Status.PUBLISHED, Stage.FINAL, 1, True)
    (sent,) = desk.shelf.sent
    assert says_what_it_is(sent)
    shown = kpis(sent)
    assert len(shown) == 25
    for name, (text, number) in W1_KPIS.items():
        assert shown[name] == (text, None if number is None else Decimal(number)), name
    (row,) = desk.rows()
    assert (row["status"], row["target"], row["version"], row["verified"]) == ("published", "api", 1, True)
    assert (row["content_sha256"], row["counts"]) == (
        sent.content_sha256,
        {"kpis": 25, "series": 5666, "extremes": 36, "assets": 1},
    )
    assert (row["trigger"], row["actor"], row["slot"], row["forced"]) == ("manual", "somebody", None, [])
    ((event, told),) = desk.events()
    assert (event, told["date"], told["version"], told["status"]) == ("snapshot_published", "2026-02-11", 1, "published")
    assert told["kpis"]["Equity"] == "$100,200.50"
    assert told["content_sha256"] == sent.content_sha256
    assert (desk.leases(), desk.kept(), len(desk.relayed)) == (0, [], 1)


def test_a_final_day_is_kept_as_equity_for_the_days_after_it(desk: PublishDesk) -> None:
    digest = desk.publish(**STILL).content_sha256
    (kept,) = desk.query("select * from metrics.equity_days")
    assert kept == {
        "report_date": DAY,
        "equity": Decimal("100200.50"),
        "daily_return": Decimal("0.2005"),
        "content_sha256": digest,
    }


def test_a_document_says_where_it_comes_from(desk: PublishDesk) -> None:
    desk.call("11111111-1111-4111-8111-111111111111", **STILL)
    body = json.loads(desk.shelf.sent[0].body)
    provenance = body["provenance"]
    assert (provenance["books"], provenance["forced"], provenance["late_actions"]) == (["live"], [], [])
    assert provenance["run_id"] == "11111111-1111-4111-8111-111111111111"
    assert (body["headline"], body["summary"]) == ("Fillbook metrics for 2026-02-11", "")
    assert body["watermark"]["actions"] == 5


def test_scenario_12_the_same_data_twice_is_sent_once(small: PublishDesk) -> None:
    first = small.publish(**STILL)
    second = small.publish(**STILL)
    assert (second.status, second.version, second.content_sha256) == (Status.UNCHANGED, 1, first.content_sha256)
    assert (len(small.shelf.sent), small.shelf.looked) == (1, [])
    assert small.statuses() == ["published", "unchanged"]
    assert [event for event, _ in small.events()] == ["snapshot_published"]


def test_an_unchanged_day_is_read_back_where_that_is_asked_for_and_sent_where_it_is_gone(small: PublishDesk) -> None:
    small.publish(**STILL)
    assert small.publish(verify=True, **STILL).verified is True
    small.shelf.shows = [Stored(kind=StoredKind.UNREADABLE), Stored(kind=StoredKind.OTHER)]
    unreadable = small.publish(verify=True, **STILL)
    assert (unreadable.status, unreadable.verified) == (Status.UNCHANGED, False)
    assert small.publish(verify=True, **STILL).status is Status.PUBLISHED
    assert len(small.shelf.sent) == 2


def test_a_day_that_was_not_verified_is_sent_again(small: PublishDesk) -> None:
    small.shelf.says = [ReceiverEnd(kind=SentKind.STORED, attempts=1, http_status=200)]
    first = small.publish(**STILL)
    assert (first.status, first.verified, len(small.kept())) == (Status.PUBLISHED_UNVERIFIED, False, 1)
    assert small.publish(**STILL).status is Status.PUBLISHED


def test_a_dry_run_builds_and_checks_and_leaves_no_trace(small: PublishDesk) -> None:
    result = small.publish(dry_run=True, **STILL)
    assert (result.status, result.counts is None, result.target) == (Status.DRY_RUN, False, Target.NONE)
    assert (small.rows(), small.events(), small.shelf.sent, small.leases()) == ([], [], [], 0)


def test_bytes_that_were_never_verified_go_after_seven_days(small: PublishDesk) -> None:
    small.shelf.says = [UNREACHED]
    small.publish(**STILL)
    small.query("update metrics.publication_documents set recorded_at = recorded_at - interval '7 days 1 second' returning 1")
    small.publish(**STILL)
    assert small.kept() == []


# --- refused, kept, written past -----------------------------------------------------------------------------------------


def test_scenario_20_what_the_receiver_refuses_is_final_and_told(small: PublishDesk) -> None:
    small.with_fallback()
    small.shelf.says = [REFUSED, CONFLICT]
    refused, conflict = small.publish(**STILL), small.publish(**STILL)
    assert (refused.status, conflict.status) == (Status.REFUSED_RECEIVER, Status.CONFLICT)
    assert (small.cellar.written, refused.http_status) == ([], 422)
    assert [(event, told["status"]) for event, told in small.events()] == [
        ("snapshot_refused", "refused_receiver"),
        ("snapshot_refused", "conflict"),
    ]


def test_scenario_21_a_day_written_past_the_api_is_sent_to_it_again(small: PublishDesk) -> None:
    small.with_fallback()
    small.shelf.says = [UNREACHED]
    first = small.publish(**STILL)
    assert (first.status, first.target, first.verified) == (Status.PUBLISHED_FALLBACK, Target.D1, True)
    assert small.cellar.written == [small.shelf.sent[0].body]
    ((event, told),) = small.events()
    assert (event, told["target"]) == ("snapshot_published", "d1")
    assert datetime.fromisoformat(told["readers_stale_until"]) == small.clock.now() + timedelta(minutes=5)
    second = small.publish(**STILL)
    assert (second.status, second.target, len(small.cellar.written)) == (Status.PUBLISHED, Target.API, 1)


def test_scenario_22_what_nobody_takes_is_kept_and_goes_with_the_next_slot(small: PublishDesk) -> None:
    small.with_fallback()
    small.shelf.says = [UNREACHED]
    small.cellar.says = [FallbackEnd(kind=FallbackKind.FAILED, attempts=3, detail="differs")]
    outcome = small.call(**STILL)
    assert (outcome.status, outcome.exit, outcome.http_status(is_cron=True)) == (Status.KEPT, 6, 500)
    assert small.kept() == [small.shelf.sent[0].body]
    ((event, told),) = small.events()
    assert (event, told["reason"]) == ("snapshot_publish_failed", "ambiguous: Timeout; fallback failed: differs")
    assert small.publish(**STILL).status is Status.PUBLISHED
    assert small.statuses() == ["kept", "published"]


def test_without_a_fallback_an_unreachable_api_keeps_the_day(small: PublishDesk) -> None:
    small.shelf.says = [UNREACHED]
    assert small.publish(**STILL).status is Status.KEPT


@pytest.mark.parametrize(("kind", "status"), [(FallbackKind.CONFLICT, Status.CONFLICT), (FallbackKind.REFUSED, Status.KEPT)])
def test_scenario_23_a_fallback_that_holds_a_newer_day_or_is_locked(
    small: PublishDesk, kind: FallbackKind, status: Status
) -> None:
    small.with_fallback()
    small.shelf.says = [UNREACHED]
    small.cellar.says = [FallbackEnd(kind=kind, attempts=1)]
    assert small.publish(**STILL).status is status


def test_the_fallback_has_time_when_the_api_was_silent_for_long(small: PublishDesk) -> None:
    assert publish.DAY_SECONDS - FALLBACK_SECONDS >= 4 * (30 + 10) + 1.5 * (1 + 2 + 4)


# --- slots ----------------------------------------------------------------------------------------------------------------


def test_a_second_delivery_of_a_scheduled_call_that_ended_well_does_nothing(small: PublishDesk) -> None:
    due = small.clock.now()
    assert small.call(cron=due, slot="postmarket", **STILL).status is Status.PUBLISHED
    again = small.call(cron=due, slot="postmarket", **STILL)
    assert (again.status, again.exit, small.leases()) == (Status.DUPLICATE, 0, 0)
    assert small.call(cron=due, slot="midday", **STILL).status is Status.UNCHANGED
    (row, _) = small.rows()
    assert (row["slot"], row["trigger"], row["scheduled_at"]) == ("postmarket", "cron", due)


def test_a_scheduled_call_that_failed_is_done_when_it_comes_again(small: PublishDesk) -> None:
    due = small.clock.now()
    small.shelf.says = [UNREACHED]
    assert small.call(cron=due, slot="postmarket", **STILL).http_status(is_cron=True) == 500
    assert small.call(cron=due, slot="postmarket", **STILL).status is Status.PUBLISHED


def test_the_watch_tells_once_of_a_day_without_final_figures_and_not_before_they_are_due(small: PublishDesk) -> None:
    small.at("16:44")
    assert small.call(slot="watch").status is Status.WATCHED
    assert small.events() == []
    first, again = small.slot("watch"), small.slot("watch")
    assert (first.status, again.status) == (Status.WATCHED, Status.DUPLICATE)
    ((event, told),) = small.events()
    assert (event, told["run_id"], told["date"]) == ("snapshot_overdue", first.run_id, "2026-02-11")
    assert datetime.fromisoformat(told["due_at"]) == new_york("16:45")


def test_the_watch_is_silent_about_a_day_that_is_final(small: PublishDesk) -> None:
    small.publish(**STILL)
    small.slot("watch")
    assert [event for event, _ in small.events()] == ["snapshot_published"]
    assert small.statuses() == ["published", "watched"]


@pytest.mark.parametrize("day", [date(2026, 2, 14), date(2026, 2, 16)])
def test_scenario_4_a_day_without_session_is_closed_and_nothing_is_read_or_written(small: PublishDesk, day: date) -> None:
    small.at("16:30", day)
    outcome = small.call(cron=small.clock.now(), slot="postmarket")
    assert (outcome.status, outcome.http_status(is_cron=True), len(outcome.results)) == (Status.CLOSED, 200, 1)
    assert (small.rows(day), small.events(), small.leases()) == ([], [], 0)


def test_scenario_13_a_late_fill_of_yesterday_is_published_before_the_open_with_its_cause(desk: PublishDesk) -> None:
    desk.publish(**STILL)
    day_after = DAY + timedelta(days=1)
    late = make_fill(
        "late",
        "SELL",
        5,
        "121",
        instrument="AAPL",
        direction="LONG",
        fees="1",
        executed_at=new_york("15:00"),
        session_date=DAY,
        received_at=new_york("08:00", day_after),
    )
    desk.trade([late], at=new_york("08:00", day_after))
    outcome = desk.slot("premarket", day_after)
    again, today = outcome.results
    assert (again.date, again.status, again.version, again.stage) == (DAY, Status.PUBLISHED, 2, Stage.FINAL)
    assert (today.date, today.status, today.stage) == (day_after, Status.PUBLISHED, Stage.PREMARKET)
    sent = next(one for one in desk.shelf.sent if one.snapshot.date == DAY and b'"late_actions":[]' not in one.body)
    (cause,) = json.loads(sent.body)["provenance"]["late_actions"]
    assert (cause["symbol"], cause["action_type"], cause["quantity"]) == ("AAPL", "TRIM", 5)
    assert cause["recorded_at"] == "2026-02-12T13:00:00.000Z"
    realized = [kpis(one)["Realized PnL"][1] for one in desk.shelf.sent if one.snapshot.date == DAY]
    assert realized[1] is not None
    assert realized[0] is not None
    assert realized[1] - realized[0] == Decimal(str(cause["realized_pnl"]))


# --- the lease ------------------------------------------------------------------------------------------------------------


def test_scenario_24_of_three_calls_at_once_one_publishes(small: PublishDesk) -> None:
    def cron() -> Status:
        return small.call(cron=small.clock.now(), slot="postmarket", **STILL).results[0].status

    def manual() -> Status:
        return small.publish(**STILL).status

    def backfill() -> Status:
        return small.call(**{"from": DAY.isoformat(), "to": DAY.isoformat()}, **STILL).results[0].status

    waiting: list[Any] = []
    with ThreadPoolExecutor(3) as pool:
        small.shelf.during = lambda: waiting.extend([future.result() for future in [pool.submit(manual), pool.submit(backfill)]])
        assert pool.submit(cron).result() is Status.PUBLISHED
    assert waiting == [Status.BUSY, Status.BUSY]
    assert (small.statuses(), small.shelf.days[DAY][1]) == (["published"], 1)


def test_a_run_that_lost_its_lease_sends_nothing_more(small: PublishDesk) -> None:
    def taken_over() -> None:
        small.query("update metrics.publication_leases set token = gen_random_uuid() returning 1")

    small.shelf.during = taken_over
    small.with_fallback()
    small.shelf.says = [UNREACHED]
    result = small.publish(**STILL)
    assert (result.status, small.cellar.written) == (Status.BUSY, [])
    assert small.statuses() == ["busy"]
    assert small.leases() == 1


def test_a_lease_that_is_over_is_taken_by_the_next_run(small: PublishDesk) -> None:
    small.query(
        "insert into metrics.publication_leases values (:day, gen_random_uuid(), gen_random_uuid(),"
        " clock_timestamp() + interval '180 seconds') returning 1",
        day=DAY,
    )
    assert small.publish(**STILL).status is Status.BUSY
    small.end_leases()
    assert small.publish(**STILL).status is Status.PUBLISHED


# --- time and trouble -----------------------------------------------------------------------------------------------------


def test_days_that_a_call_has_no_time_for_are_not_started(small: PublishDesk) -> None:
    outcome = small.call(seconds=0, **{"from": "2026-02-10", "to": "2026-02-11"}, **STILL)
    assert [result.status for result in outcome.results] == [Status.NOT_STARTED] * 2
    assert outcome.exit == 9


def test_a_database_that_is_away_is_no_end_that_is_recorded(small: PublishDesk) -> None:
    def away() -> None:
        raise Unavailable("database_unavailable", "gone")

    small.shelf.during = away
    outcome = small.call(**STILL)
    assert (outcome.status, outcome.exit, outcome.http_status(is_cron=True)) == (Status.SOURCE_UNAVAILABLE, 9, 500)
    assert (small.statuses(), small.leases()) == (["sending"], 0)
    small.shelf.during = lambda: None
    assert small.publish(**STILL).status is Status.PUBLISHED


def test_a_future_day_is_refused_before_anything_is_done(small: PublishDesk) -> None:
    with pytest.raises(Rejected, match="date_in_future"):
        small.call(date="2026-02-12")
    assert small.rows() == []
