"""No request before the time Discord gave, windows never broken, one drainer per channel (scenarios 12 to 14, 26)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from fillbook.notify import service
from tests.support.campaigns import small_or_full
from tests.support.notify_desk import NotifyDesk, Stepping, envelope, executed, speaker_for

STORM_SECONDS = small_or_full(15, 60)
STORM_RATE = 1000 / 60
FORMS = (
    "normal", "header_only", "ms_header", "ms_body", "ms_both", "shared", "global", "remaining_2",
)  # fmt: skip


def instants(desk: NotifyDesk, *operations: str) -> list[datetime]:
    return [datetime.fromisoformat(one["at"]) for one in desk.requests(*operations)]


@pytest.mark.parametrize("form", FORMS)
def test_12_no_request_goes_out_before_the_wait_in_any_form(desk: NotifyDesk, form: str) -> None:
    desk.discord.fault(f"rate_limit.{form}", route="create", retry_after=7.5)
    desk.push(*(executed(name, position=name) for name in "abc"))
    desk.drain(allowance=20_000)
    first, second, *_ = instants(desk, "create")
    assert second - first >= timedelta(seconds=7.5)
    assert desk.discord.violations == 0
    assert len(desk.posts()) == 3
    assert [embed["footer"]["text"] for embed in desk.embeds()] == [
        row["footer"] for row in desk.rows("select wanted->'footer'->>'text' as footer from notify.messages order by order_seq")
    ]
    assert desk.message("a")["attempts"] == 0


def test_12_a_limit_without_any_readable_wait_is_five_seconds_doubling(desk: NotifyDesk) -> None:
    desk.discord.fault("rate_limit.header_only", route="create", retry_after=2)
    desk.push(executed())
    desk.drain(allowance=60)
    assert len(desk.posts()) == 1


def test_12_too_many_edits_of_old_messages_pause_edits_and_not_creates(desk: NotifyDesk) -> None:
    desk.tell(executed("old"))
    desk.clock.step(3 * 3600)
    desk.discord.fault("rate_limit.old_edits", route="edit")
    desk.tell(executed("old", event="execution_corrected", version=2, cause="revision", price="99"), allowance=30)
    desk.tell(executed("new", position="q"), allowance=30)
    assert [one["operation"] for one in desk.requests()] == ["create", "edit", "create"]
    desk.drain(allowance=700)
    assert [one["operation"] for one in desk.requests()] == ["create", "edit", "create", "edit"]
    assert instants(desk, "edit")[1] - instants(desk, "edit")[0] >= timedelta(minutes=10)
    assert desk.discord.violations == 0


def test_12_a_wait_above_a_quarter_of_an_hour_shows_the_channel_as_paused(desk: NotifyDesk) -> None:
    desk.discord.fault("rate_limit.normal", route="create", retry_after=1200)
    desk.tell(executed())
    (channel,) = desk.rows("select status, status_reason from notify.v_channels where channel_id = 'executions'")
    assert channel == {"status": "paused", "status_reason": "rate_limited"}
    desk.clock.step(1201)
    desk.drain()
    assert len(desk.posts()) == 1
    (channel,) = desk.rows("select status from notify.v_channels where channel_id = 'executions'")
    assert channel == {"status": "active"}


def test_13_two_instances_share_one_lease_and_never_break_the_windows(make_desk: Callable[..., NotifyDesk]) -> None:
    desk = make_desk()
    desk.push(*(executed(f"n{number}", position=f"n{number}") for number in range(40)))
    speakers = [speaker_for(desk.discord) for _ in range(4)]

    def run(index: int) -> str:
        desk.speaker = speakers[index]
        return desk.drain().reason

    with ThreadPoolExecutor(4) as pool:
        reasons = list(pool.map(run, range(4)))
    assert "busy" in reasons or reasons.count("waiting") >= 1
    desk.drain(allowance=600)
    assert desk.states() == {"posted": 40}
    assert desk.discord.violations == 0


def test_13_ops_and_executions_in_one_discord_channel_share_its_minute(make_desk: Callable[..., NotifyDesk]) -> None:
    desk = make_desk(webhooks=("executions", "ops@executions", "lanes"))
    desk.push(*(executed(f"n{number}", position=f"n{number}") for number in range(9)))
    for number in range(12):
        desk.push(_parked(number))
    for _ in range(200):
        desk.drain("executions")
        desk.drain("ops")
        desk.clock.step(0.7)
    assert desk.states() == {"posted": 21}
    assert desk.discord.violations == 0


def _parked(number: int) -> bytes:
    return envelope("fill_parked", {"fill_id": f"f{number}", "instrument": "AMD", "reason": "nothing_to_close"})


def test_14_a_ban_stops_every_channel_for_15_minutes_then_for_30(desk: NotifyDesk) -> None:
    desk.discord.fault("rate_limit.ban", route="create", count=2, retry_after=1)
    desk.push(executed(), _parked(1))
    desk.drain()
    desk.drain("ops")
    assert len(desk.requests()) == 1
    desk.clock.step(899)
    assert desk.drain().reason == "waiting"
    assert desk.drain("ops").reason == "waiting"
    desk.clock.step(2)
    desk.drain()
    desk.drain("ops")
    assert len(desk.requests()) == 2
    desk.clock.step(1799)
    assert desk.drain().reason == "waiting"
    desk.clock.step(2)
    desk.drain()
    desk.drain("ops")
    assert desk.states() == {"posted": 2}
    (limit,) = desk.rows("select strikes, reason from notify.limits where scope = 'global'")
    assert limit == {"strikes": 0, "reason": None}


@pytest.mark.slow
def test_26_a_thousand_events_of_a_minute_keep_the_windows_and_exits_come_first(desk: NotifyDesk) -> None:
    bodies = [
        executed(f"n{number}", position=f"n{number}", kind="EXIT" if number % 10 == 0 else "ENTRY")
        for number in range(round(STORM_SECONDS * STORM_RATE))
    ]
    began = desk.clock.now()
    for second in range(STORM_SECONDS):
        desk.clock.step((began + timedelta(seconds=second) - desk.clock.now()).total_seconds())
        desk.push(*bodies[round(second * STORM_RATE) : round((second + 1) * STORM_RATE)])
        desk.drain(allowance=0.9)
    desk.drain(allowance=6 * STORM_SECONDS)
    assert desk.states() == {"posted": len(bodies)}
    assert desk.discord.violations == 0
    waits = desk.rows("select priority, max(posted_at - created_at) as wait from notify.messages group by priority order by 1")
    assert waits[0]["wait"] <= timedelta(seconds=15)
    assert waits[1]["wait"] <= timedelta(seconds=6 * STORM_SECONDS)


def test_26_an_exit_that_arrives_late_in_a_storm_rides_on_the_next_post(desk: NotifyDesk) -> None:
    desk.push(*(executed(f"n{number}", position=f"n{number}") for number in range(200)))
    desk.drain(allowance=40)
    desk.push(executed("exit", kind="EXIT", position="late"))
    arrived = desk.clock.now()
    desk.drain(allowance=15)
    assert desk.message("exit")["posted_at"] - arrived <= timedelta(seconds=15)


def test_a_stale_event_makes_no_request(desk: NotifyDesk) -> None:
    desk.tell(executed(version=2, event="execution_corrected"))
    desk.clock.step(10)
    desk.tell(executed())
    assert len(desk.requests()) == 1
    assert service.fade(desk.db, desk.clock.now()) == 0


def test_a_desk_clock_set_back_by_months_does_not_stop_the_sending(desk: NotifyDesk) -> None:
    desk.discord.fault("server_error.500", route="create", count=1)
    desk.discord.fault("rate_limit.normal", route="create", count=1, retry_after=50_000)
    desk.tell(executed())
    desk.drain(allowance=6)
    assert desk.states() == {"pending": 1}
    desk.clock.step(-90 * 86400)
    desk.drain(allowance=10)
    assert desk.states() == {"posted": 1}
    assert Stepping(desk.clock, 1).is_over() is False
