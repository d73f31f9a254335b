"""The jobs of a statement against the fake service: waits, pauses, codes, and documents that must not be taken in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fillbook.ibkr.flex_statement import StatementFile
from fillbook.ibkr.flexjobs import Next
from fillbook.runtime import outgoing
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected, Unavailable
from infra.local import flex_document
from infra.local.flex import FlexFake
from tests.support.ibkr import exec_id, flex_raw
from tests.support.ibkr_flex import DAY, FlexDesk, statement
from tests.support.ibkr_world import Query

NOW = datetime(2026, 1, 6, 11, 15, tzinfo=UTC)
CANARY = "987654321098765432109876"
LOCKED_OUT = timedelta(minutes=45)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def fake(clock: FixedClock) -> Iterator[FlexFake]:
    with FlexFake(clock=clock, token=CANARY, accounts=("U1234567", "U7654321")) as served:
        yield served


@pytest.fixture
def desk(worker: Database, fake: FlexFake, clock: FixedClock, tmp_path: Path) -> FlexDesk:
    return FlexDesk(worker, fake, clock, tmp_path)


@pytest.fixture
def stored(query: Query) -> Callable[[str], list[dict[str, Any]]]:
    return lambda name: query(f"select * from ibkr.{name}")


Stored = Callable[[str], list[dict[str, Any]]]


def nothing_written(stored: Stored) -> bool:
    names = (
        "trade_executions",
        "execution_payloads",
        "broker_events",
        "sync_runs",
        "sync_coverage",
        "sync_cursors",
        "quarantine",
    )
    return not any(stored(name) for name in names)


def test_a_statement_is_asked_for_fetched_and_taken_in(desk: FlexDesk, stored: Stored) -> None:
    request_id = desk.asked()
    step = desk.fetch(request_id)
    assert step.next_step is Next.DONE
    assert step.metrics is not None
    assert (step.metrics.state, step.metrics.inserted_executions_count) == ("complete", 16)
    [row] = stored("flex_requests")
    assert (row["state"], str(row["run_id"]), len(row["body_sha256"])) == ("fetched", step.metrics.run_id, 32)
    assert row["body_bytes"] > 1_000
    assert [(one["step"], one["user_agent"][:8]) for one in desk.fake.requests()] == [("send", "Fillbook"), ("fetch", "Fillbook")]
    assert desk.fake.requests()[0]["query"] == {"q": "7", "fd": "20260105", "td": "20260105", "v": "3"}


def test_a_job_that_comes_again_calls_nobody(desk: FlexDesk) -> None:
    request_id = desk.asked()
    assert desk.ask().follow_ups[0].request_id == request_id
    desk.fetch(request_id)
    assert desk.fetch(request_id).next_step is Next.DONE
    assert desk.ask().follow_ups == ()
    assert desk.steps() == ["send", "fetch"]


def test_a_fetch_that_comes_too_early_waits(desk: FlexDesk) -> None:
    step = desk.ask()
    early = desk.fetch(step.request_id)
    assert (early.next_step, early.not_before) == (Next.DEFER, step.follow_ups[0].not_before)
    assert desk.steps() == ["send"]


def test_scenario_38_a_statement_in_the_making_keeps_its_reference(desk: FlexDesk, stored: Stored) -> None:
    request_id = desk.asked()
    desk.fake.fault("code", step="fetch", code=1019, count=3)
    step, waits = desk.until_done(request_id)
    assert (step.next_step, waits) == (Next.DONE, ["flex_not_ready"] * 3)
    references = {one["query"]["q"] for one in desk.fake.requests() if one["step"] == "fetch"}
    assert len(references) == 1
    assert stored("flex_requests")[0]["deferrals"] == 3


def test_waits_grow_from_20_to_300_seconds_and_end_after_forty(desk: FlexDesk) -> None:
    request_id = desk.asked()
    desk.fake.fault("code", step="fetch", code=1021, count=None)
    waits: list[int] = []
    step = desk.fetch(request_id)
    while step.next_step is Next.DEFER:
        assert step.not_before is not None
        waits.append(round((step.not_before - desk.clock.now()).total_seconds()))
        desk.step_to(step.not_before)
        step = desk.fetch(request_id)
    assert waits == [20, 40, 80, 160, *[300] * 36]
    assert (step.next_step, step.error_class) == (Next.FAILED, "flex_never_ready")


def test_scenario_38_too_many_requests_pause_the_token(desk: FlexDesk, stored: Stored) -> None:
    desk.fake.fault("code", step="send", code=1018)
    step = desk.ask()
    assert (step.next_step, step.error_class, step.trouble) == (Next.DEFER, "flex_too_many_requests", None)
    assert step.not_before is not None
    assert 90 <= (step.not_before - NOW).total_seconds() < 95
    calls = len(desk.steps())
    other = desk.ask("job-2")
    assert (other.next_step, other.error_class, len(desk.steps())) == (Next.DEFER, "flex_token_paused", calls)
    desk.step_to(step.not_before)
    assert desk.ask().next_step is Next.DONE
    assert stored("flex_tokens")[0]["state"] == "active"


def test_scenario_38_nobody_calls_while_locked_out_and_it_is_told_once(desk: FlexDesk) -> None:
    request_id = desk.asked()
    desk.fake.fault("code", step="fetch", code=1025)
    step = desk.fetch(request_id)
    assert (step.next_step, step.trouble) == (Next.DEFER, "flex_locked_out")
    assert step.not_before is not None
    assert step.not_before >= desk.clock.now() + LOCKED_OUT
    calls = desk.steps()
    for minutes in (0, 20, 44):
        desk.clock.step(minutes * 60 - (desk.clock.now() - (step.not_before - LOCKED_OUT)).total_seconds())
        for other in ("job-2", "job-3"):
            waiting = desk.ask(other)
            assert (waiting.next_step, waiting.trouble) == (Next.DEFER, None)
        assert desk.fetch(request_id).next_step is Next.DEFER
    assert desk.steps() == calls
    desk.step_to(step.not_before)
    assert desk.fetch(request_id).next_step is Next.DONE


@pytest.mark.parametrize("code", [1012, 1013, 1015])
def test_scenario_38_a_token_that_is_refused_is_used_no_more_until_it_changes(desk: FlexDesk, stored: Stored, code: int) -> None:
    desk.fake.fault("code", step="send", code=code)
    step = desk.ask()
    assert (step.next_step, step.error_class) == (Next.FAILED, "flex_token_disabled")
    [token] = stored("flex_tokens")
    assert (token["state"], token["reason_code"]) == ("disabled", code)
    desk.clock.step(86_400)
    assert desk.ask("job-2").error_class == "flex_token_disabled"
    assert desk.steps() == ["send"]
    desk.fake.set_token("111122223333444455556666")
    assert desk.ask("job-3").next_step is Next.DONE
    assert stored("flex_tokens")[0]["state"] == "active"


@pytest.mark.parametrize("code", [1010, 1011, 1014, 1016, 1017, 1020])
def test_a_wrong_request_fails_alone(desk: FlexDesk, stored: Stored, code: int) -> None:
    desk.fake.fault("code", step="send", code=code)
    step = desk.ask()
    assert (step.next_step, step.error_class) == (Next.FAILED, "flex_request_refused")
    assert stored("flex_requests")[0]["error_code"] == code
    assert desk.ask().next_step is Next.FAILED
    desk.clock.step(2)
    assert desk.ask("job-2").next_step is Next.DONE


def test_an_invalid_reference_is_asked_for_anew_once(desk: FlexDesk) -> None:
    request_id = desk.asked()
    desk.fake.fault("code", step="fetch", code=1017)
    step, waits = desk.until_done(request_id)
    assert (step.next_step, waits[0]) == (Next.DONE, "flex_reference_invalid")
    assert desk.steps() == ["send", "fetch", "send", "fetch"]


def test_a_second_invalid_reference_is_the_end(desk: FlexDesk) -> None:
    request_id = desk.asked()
    desk.fake.fault("code", step="fetch", code=1017, count=2)
    desk.fake.fault("code", step="fetch", code=1019)
    step, _ = desk.until_done(request_id)
    assert (step.next_step, step.error_class) == (Next.FAILED, "flex_request_refused")


def test_a_window_that_cannot_be_made_is_halved_and_no_day_is_lost(desk: FlexDesk, stored: Stored) -> None:
    desk.fake.fault("code", step="send", code=1001, count=3)
    days = (date(2026, 1, 1), date(2026, 1, 5))
    follow_ups = []
    for _ in range(3):
        step = desk.ask(days=days)
        assert step.next_step is Next.DEFER
        follow_ups += step.follow_ups
        desk.step_to(step.not_before)
    [rest] = follow_ups
    windows = sorted((row["from_date"], row["to_date"]) for row in stored("flex_requests"))
    assert windows == [(date(2026, 1, 1), date(2026, 1, 3)), (date(2026, 1, 4), date(2026, 1, 5))]
    assert desk.ask(days=days).next_step is Next.DONE
    desk.clock.step(30)
    step, _ = desk.until_done(rest.request_id)
    assert step.next_step is Next.DONE
    sent = [one["query"]["fd"] + "-" + one["query"]["td"] for one in desk.fake.requests() if one["step"] == "send"]
    assert sent == [*["20260101-20260105"] * 3, "20260101-20260103", "20260104-20260105"]


def test_one_day_is_not_halved(desk: FlexDesk, stored: Stored) -> None:
    desk.fake.fault("code", step="send", code=1001, count=4)
    for _ in range(4):
        desk.step_to(desk.ask().not_before)
    assert desk.ask().next_step is Next.DONE
    assert len(stored("flex_requests")) == 1


def test_calls_keep_the_pace_of_the_token_whoever_makes_them(desk: FlexDesk) -> None:
    made, waited = 0, 0
    for number in range(40):
        step = desk.ask(f"job-{number}")
        made += step.next_step is Next.DONE
        waited += step.error_class == "flex_no_slot"
        desk.clock.step(0.5)
    assert (made, made + waited) == (10, 40)
    assert desk.fake.rules.violations == 0


@pytest.mark.parametrize("days", [(DAY, DAY - timedelta(days=1)), (DAY, DAY + timedelta(days=365))])
def test_days_out_of_range_are_refused(desk: FlexDesk, days: tuple[date, date]) -> None:
    with pytest.raises(Rejected, match="flex_days_invalid"):
        desk.ask(days=days)


def test_a_request_nobody_made_is_refused(desk: FlexDesk) -> None:
    with pytest.raises(Rejected, match="flex_request_unknown"):
        desk.fetch("00000000-0000-4000-8000-00000000000f")


BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("html", {}, "flex_not_xml"),
    ("empty", {}, "flex_not_xml"),
    ("code", {"code": 4711}, "flex_code_unknown"),
    ("http_error", {}, "flex_http_503"),
    ("truncate", {"at": 900}, "flex_truncated"),
    ("cut", {"at": 900}, ""),
    ("doctype", {}, "flex_doctype"),
    ("entity_bomb", {}, "flex_doctype"),
    ("flood", {}, "flex_too_large"),
    ("drip", {}, "flex_timeout"),
    ("hang", {}, "flex_timeout"),
    ("reset", {}, "flex_unreachable"),
    ("redirect", {"url": "https://example.com/"}, "flex_redirect"),
]


@pytest.mark.parametrize(("knob", "options", "reason"), BROKEN, ids=[one[0] for one in BROKEN])
def test_scenario_37_what_is_no_statement_writes_nothing(
    desk: FlexDesk, stored: Stored, tmp_path: Path, knob: str, options: dict[str, Any], reason: str
) -> None:
    request_id = desk.asked()
    desk.fake.fault(knob, step="fetch", **options)
    desk.options |= {"fetch_seconds": 60.0 if knob == "flood" else 1.0}
    with pytest.raises(Unavailable) as caught:
        desk.fetch(request_id)
    assert caught.value.reason == reason or not reason
    assert nothing_written(stored)
    [row] = stored("flex_requests")
    assert (row["state"], len((row["error_body"] or "").encode()) <= 4096) == ("requested", True)
    assert list(tmp_path.iterdir()) == []
    desk.clock.step(2)
    assert desk.fetch(request_id).next_step is Next.DONE


@pytest.mark.parametrize(
    "url",
    [
        "https://gdcdyn.interactivebrokers.com.example.com/x",
        "https://example.com/x",
        "http://gdcdyn.interactivebrokers.com/x",
        "https://gdcdyn.interactivebrokers.com:8443/x",
        "https://user@gdcdyn.interactivebrokers.com/x",
        "https://interactivebrokers.com@example.com/x",
        "http://169.254.169.254/x",
        "file:///etc/passwd",
    ],
)
def test_an_address_that_is_not_the_brokers_is_not_called(desk: FlexDesk, url: str) -> None:
    desk.fake.fault("foreign_url", step="send", url=url)
    with pytest.raises(Unavailable, match="flex_url_refused"):
        desk.ask()


def test_a_packed_answer_is_unpacked(desk: FlexDesk) -> None:
    request_id = desk.asked()
    desk.fake.fault("gzip", step="fetch")
    assert desk.fetch(request_id).next_step is Next.DONE


def test_a_document_of_a_wrong_query_fails_and_names_the_columns(desk: FlexDesk, stored: Stored) -> None:
    raw = flex_raw(exec_id(1))
    del raw["conid"]
    desk.fake.serve("7", statement([raw]))
    step = desk.fetch(desk.asked())
    assert (step.next_step, step.error_class) == (Next.FAILED, "flex_columns_missing")
    [row] = stored("flex_requests")
    assert row["error_body"] == "flex_columns_missing: the query must state conid"
    assert nothing_written(stored)


def test_a_broken_document_moves_no_cursor(desk: FlexDesk, stored: Stored) -> None:
    assert desk.fetch(desk.asked("job-1")).next_step is Next.DONE
    before = stored("sync_cursors")
    desk.clock.step(2)
    request_id = desk.asked("job-2", days=(DAY, DAY + timedelta(days=1)))
    desk.fake.fault("truncate", step="fetch", at=1500)
    with pytest.raises(Unavailable):
        desk.fetch(request_id)
    assert stored("sync_cursors") == before


def test_an_empty_window_is_complete(desk: FlexDesk) -> None:
    desk.fake.serve("7", statement([]))
    step = desk.fetch(desk.asked())
    assert step.metrics is not None
    assert (step.metrics.state, step.metrics.fetched_executions_count) == ("complete", 0)


def test_positions_are_read_before_the_document_is_removed(desk: FlexDesk, tmp_path: Path) -> None:
    held = [flex_document.position("U1234567", "AAPL", 265598, "100", "10", "11")]
    desk.fake.serve("7", statement([flex_raw(exec_id(1))], positions=held))
    seen: list[int] = []

    def keep(document: Any, metrics: Any) -> None:
        assert isinstance(document, StatementFile)
        seen.append(len(list(tmp_path.iterdir())))

    desk.fetch(desk.asked(), on_taken=keep)
    assert (seen, list(tmp_path.iterdir())) == ([1], [])


def test_the_token_is_in_no_log_no_error_and_no_row(
    desk: FlexDesk, query: Query, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", *outgoing.ADDRESS_LOGGERS):  # whoever wants to see every call of the library
        caplog.set_level(logging.DEBUG, logger=name)
    told: list[str] = []
    for number, (knob, options) in enumerate(
        [("reset", {}), ("redirect", {"url": desk.fake.send_url}), ("hang", {}), ("html", {})]
    ):
        request_id = desk.asked(f"job-{number}")
        desk.options |= {"fetch_seconds": 0.5}
        desk.fake.fault(knob, step="fetch", **options)
        with pytest.raises(Unavailable) as caught:
            desk.fetch(request_id)
        told += [repr(caught.value), str(caught.value.__cause__), str(caught.value.detail), repr(desk.service)]
        desk.clock.step(30)
    rows = query(
        "select to_jsonb(t)::text as r from ibkr.flex_tokens t union all select to_jsonb(t)::text from ibkr.flex_requests t"
    )
    written = capfd.readouterr()
    logged = [f"{one.getMessage()} {one.args} {one.exc_info}" for one in caplog.records]
    for text in [*told, *(row["r"] for row in rows), written.out, written.err, *logged]:
        assert CANARY not in text
