"""What still fits before a deadline, groups and windows, and what a service can give."""

from __future__ import annotations

import pytest

from fillbook.mt5.pacing import Batches, Fits, Throughput, Window, account_budget, capacity
from fillbook.mt5.words import Code


def test_the_95th_percentile_of_successful_accounts_is_expected_once_ten_are_known() -> None:
    fits = Fits(100.0)
    for seconds in range(9):
        fits.learn(float(seconds))
    assert fits.expected_seconds == 10
    fits.learn(9.0)
    assert fits.expected_seconds == 9
    for seconds in range(10, 100):
        fits.learn(float(seconds))
    assert fits.expected_seconds == 94


def test_an_account_is_admitted_while_more_than_expected_and_a_margin_remains() -> None:
    fits = Fits(100.0)
    assert fits.admits(84.9)
    assert not fits.admits(85.0)
    for _ in range(10):
        fits.learn(2.0)
    assert fits.admits(92.9)
    assert not fits.admits(93.0)


def test_an_account_gets_its_budget_or_what_the_run_has_left_without_the_margin() -> None:
    fits = Fits(270.0)
    assert fits.account_deadline(0.0, 90.0) == 90
    assert fits.account_deadline(200.0, 90.0) == 265
    assert fits.account_deadline(200.0, account_budget(Code.TIMEOUT)) == 230


@pytest.mark.parametrize(("code", "seconds"), [(None, 90), (Code.TIMEOUT, 30), (Code.CONNECTION, 90), (Code.AUTH_FAILED, 90)])
def test_after_a_timeout_an_account_gets_thirty_seconds_in_all(code: Code | None, seconds: float) -> None:
    assert account_budget(code) == seconds
    assert account_budget(code, 20.0) == 20


def test_a_group_begins_when_the_last_one_has_settled_and_the_pause_is_over() -> None:
    pace = Batches(3, 0.1)
    assert pace.room(0.0) == 3
    pace.took(2)
    assert (pace.room(0.0), pace.wake_at()) == (0, None)
    pace.ended(1.0)
    assert pace.room(1.0) == 0
    pace.ended(2.0)
    assert (pace.room(2.05), pace.wake_at()) == (0, 2.1)
    assert pace.room(2.1) == 3


def test_groups_are_counted_and_nothing_taken_up_is_no_group() -> None:
    told: list[tuple[int, int | None]] = []
    pace = Batches(10, 0.0, total=25, tell=lambda number, of: told.append((number, of)))
    for count in (10, 0, 10, 5):
        pace.took(count)
        for _ in range(count):
            pace.ended(0.0)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_window_has_room_for_what_ended() -> None:
    pace = Window(3)
    pace.took(3)
    assert (pace.room(0.0), pace.wake_at()) == (0, None)
    pace.ended(0.0)
    assert pace.room(0.0) == 1


def test_a_window_has_no_more_room_than_there_are_sessions() -> None:
    sessions = [2]
    pace = Window(3, sessions=lambda: sessions[0])
    assert pace.room(0.0) == 2
    pace.took(2)
    assert pace.room(0.0) == 0
    sessions[0] = 1
    pace.ended(0.0)
    assert pace.room(0.0) == 0, "one is in flight, and one session is left"
    sessions[0] = 20
    assert pace.room(0.0) == 2


@pytest.mark.parametrize(
    ("sessions", "seconds", "calls", "rate", "accounts"),
    [
        (10, 0.3, 3, 100, 133),
        (1, 13.0, 3, None, 23),
        (1, 25.0, 3, None, 12),
        (200, 0.2, 2, None, 300_000),
        (120, 3.5, 2, None, 10_285),
        (10, 2.0, 1, 1_000_000, 1_500),
    ],
)
def test_the_capacity_of_five_minutes_is_bounded_by_sessions_and_by_the_rate(
    sessions: int, seconds: float, calls: int, rate: int | None, accounts: int
) -> None:
    given = Throughput(sessions=sessions, seconds_per_account=seconds, calls_per_account=calls, rate_per_minute=rate)
    assert capacity(given) == accounts


def test_a_service_that_gives_nothing_has_no_capacity_to_compute() -> None:
    with pytest.raises(ValueError, match="positive"):
        capacity(Throughput(sessions=1, seconds_per_account=0.0, calls_per_account=1, rate_per_minute=None))
