"""When accounts are due: slots, cadence of large fleets, back-off, refused logins."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fillbook.mt5 import bookkeeping, duetimes
from fillbook.mt5.duetimes import Activity, Logins
from fillbook.mt5.model import AccountState
from fillbook.mt5.terms import Terms
from fillbook.mt5.words import Code, SyncType

SLOT = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
ACCOUNT = "00000000-0000-4000-8000-000000000000"
MOVING = Activity(has_open_positions=True, last_deal_at=None)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=1), timedelta(minutes=4, seconds=59, microseconds=999_999)])
def test_a_slot_is_five_minutes_whatever_the_second_it_was_asked_in(late: timedelta) -> None:
    assert duetimes.slot_of(SLOT + late) == SLOT


def test_an_account_is_due_up_to_a_minute_early_and_when_its_due_time_cannot_be_meant() -> None:
    assert duetimes.is_due(SLOT + minutes(1), SLOT)
    assert not duetimes.is_due(SLOT + minutes(1.01), SLOT)
    assert not duetimes.is_due(SLOT + minutes(66), SLOT)
    assert duetimes.is_due(SLOT + minutes(121), SLOT)


@pytest.mark.parametrize(
    ("activity", "expected"),
    [
        (MOVING, 5),
        (Activity(has_open_positions=True, last_deal_at=SLOT - timedelta(days=90), is_venue_closed=True), 5),
        (Activity(has_open_positions=False, last_deal_at=SLOT - timedelta(hours=24)), 5),
        (Activity(has_open_positions=False, last_deal_at=SLOT - timedelta(hours=25)), 30),
        (Activity(has_open_positions=False, last_deal_at=SLOT - timedelta(hours=25), is_venue_closed=True), 60),
        (Activity(has_open_positions=False, last_deal_at=SLOT - timedelta(days=7)), 30),
        (Activity(has_open_positions=False, last_deal_at=SLOT - timedelta(days=7, seconds=1)), 60),
        (Activity(has_open_positions=False, last_deal_at=None), 60),
    ],
)
def test_above_300_accounts_the_cadence_holds_and_up_to_300_every_tick(activity: Activity, expected: int) -> None:
    assert duetimes.interval(activity, SLOT, duetimes.Cadence()) == minutes(expected)
    assert duetimes.after_success(SLOT, activity, active_accounts=300) == SLOT + minutes(5)
    due = duetimes.after_success(SLOT, activity, active_accounts=301)
    assert SLOT + minutes(5) <= due <= SLOT + minutes(expected)


def test_idle_accounts_spread_over_the_ticks_and_then_keep_their_cadence() -> None:
    idle = Activity(has_open_positions=False, last_deal_at=SLOT - timedelta(days=2))
    first = [duetimes.after_success(SLOT, idle, active_accounts=1000, shard=shard) for shard in range(1024)]
    assert {due - SLOT for due in first} == {minutes(5 * ticks) for ticks in range(1, 7)}
    assert max(first.count(due) for due in set(first)) <= 171
    for shard, due in enumerate(first):
        assert duetimes.after_success(due, idle, active_accounts=1000, shard=shard) == due + minutes(30)


@pytest.mark.parametrize(
    ("slot", "is_moving", "expected"),
    [
        (datetime(2026, 1, 16, 21, 30, tzinfo=UTC), False, 30),  # Friday 16:30 in New York
        (datetime(2026, 1, 16, 22, 0, tzinfo=UTC), False, 60),
        (datetime(2026, 1, 18, 21, 0, tzinfo=UTC), False, 60),
        (datetime(2026, 1, 18, 22, 0, tzinfo=UTC), False, 30),
        (datetime(2026, 1, 17, 12, 0, tzinfo=UTC), True, 5),  # a weekend's own markets: whoever moves is read at every tick
    ],
)
def test_an_idle_account_of_a_large_fleet_rests_while_the_fx_week_does(slot: datetime, is_moving: bool, expected: int) -> None:
    state = AccountState(next_due_at=slot, lease_token=1, has_open_positions=is_moving, last_deal_at=slot - timedelta(days=3))
    terms = Terms(run_id=ACCOUNT, sync_type=SyncType.SCHEDULED, slot=slot, active_accounts=301, instances={})
    assert bookkeeping.due_after_success(ACCOUNT, state, terms) == slot + minutes(expected)
    assert bookkeeping.due_after_success(ACCOUNT, state, replace(terms, active_accounts=300)) == slot + minutes(5)


@pytest.mark.parametrize(("failures", "expected"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (400, 60)])
def test_failures_in_a_row_pause_longer_and_longer_by_ten_percent_of_chance(failures: int, expected: int) -> None:
    found = [duetimes.after_failure(SLOT, failures, dice) - SLOT for dice in (0, 500, 1000)]
    assert found == [minutes(expected) * 0.9, minutes(expected), minutes(expected) * 1.1]


@pytest.mark.parametrize(("failures", "dice"), [(0, 500), (1, -1), (1, 1001)])
def test_what_counts_no_failure_has_no_pause(failures: int, dice: int) -> None:
    with pytest.raises(ValueError, match="failures count from 1"):
        duetimes.after_failure(SLOT, failures, dice)


def test_whatever_the_dice_a_first_failure_is_tried_again_at_the_next_tick() -> None:
    assert all(duetimes.is_due(duetimes.after_failure(SLOT, 1, dice), SLOT + minutes(5)) for dice in range(1001))
    assert not any(duetimes.is_due(duetimes.after_failure(SLOT, 2, dice), SLOT + minutes(5)) for dice in range(1001))


def test_a_row_of_failures_is_told_at_three_and_at_each_doubling() -> None:
    assert [count for count in range(100) if duetimes.is_told(count)] == [3, 6, 12, 24, 48, 96]


def refused(before: Logins, version: int = 1) -> Logins:
    return duetimes.counted_logins(before, version, has_answered=False, codes=[Code.AUTH_FAILED])


def test_three_refused_logins_in_a_row_need_new_credentials() -> None:
    logins = Logins()
    for count in (1, 2, 3):
        assert not duetimes.needs_reauth(logins, 1)
        logins = refused(logins)
        assert logins.failures == count
    assert duetimes.needs_reauth(logins, 1)
    assert not duetimes.needs_reauth(logins, 2)
    assert refused(logins, 2) == Logins(failures=1, credentials_version=2)


def test_an_answer_ends_the_row_and_a_timeout_does_not() -> None:
    twice = refused(refused(Logins()))
    timed_out = duetimes.counted_logins(twice, 1, has_answered=False, codes=[Code.TIMEOUT])
    assert duetimes.needs_reauth(refused(timed_out), 1)
    answered = duetimes.counted_logins(twice, 1, has_answered=True, codes=[Code.TIMEOUT])
    assert refused(answered).failures == 1
