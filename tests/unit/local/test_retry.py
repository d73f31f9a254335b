"""Retries are due on the desk clock, never faster than real outages last, never later than the wall clock would allow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from infra.local.retry import backoff_seconds, due_after
from infra.local.wiring import RETRY_FLOOR_SECONDS

NOW = datetime(2026, 2, 3, tzinfo=UTC)


def test_the_backoff_doubles_from_least_to_most() -> None:
    assert [backoff_seconds(failures, 5, 30) for failures in range(1, 6)] == [5, 10, 20, 30, 30]
    assert backoff_seconds(10_000, 10, 600) == 600


def test_without_a_floor_a_step_of_the_clock_makes_a_retry_due() -> None:
    due = due_after(1, least=5, most=30, floor=0, desk_now=NOW, monotonic=100.0)
    assert not due.is_due(NOW + timedelta(seconds=4.9), 100.0)
    assert due.is_due(NOW + timedelta(seconds=5), 100.0)


def test_however_fast_the_desk_clock_runs_the_floor_holds() -> None:
    due = due_after(1, least=5, most=30, floor=0.1, desk_now=NOW, monotonic=100.0)
    assert not due.is_due(NOW + timedelta(days=1), 100.09)
    assert due.is_due(NOW + timedelta(days=1), 100.1)


def test_a_clock_that_stands_still_holds_nothing_up_for_ever() -> None:
    due = due_after(1, least=5, most=30, floor=0.1, desk_now=NOW, monotonic=100.0)
    assert not due.is_due(NOW, 104.9)
    assert due.is_due(NOW - timedelta(days=1), 105.0)


def test_twenty_attempts_outlast_forty_seconds_of_real_outage() -> None:
    waits = [
        due_after(failures, least=5, most=30, floor=RETRY_FLOOR_SECONDS, desk_now=NOW, monotonic=0.0).floor_at
        for failures in range(1, 20)
    ]
    assert sum(waits) > 40


@given(st.integers(1, 100), st.floats(0, 600), st.floats(0, 600), st.floats(0, 1))
def test_the_ceiling_is_never_before_the_floor(failures: int, least: float, more: float, floor: float) -> None:
    due = due_after(failures, least=least, most=least + more, floor=floor, desk_now=NOW, monotonic=7.0)
    assert due.ceiling_at >= due.floor_at >= 7.0
    assert due.is_due(NOW, due.ceiling_at)
