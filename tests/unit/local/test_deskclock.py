"""The desk clock's hand: what it writes is what the functions' clock reads, at every pace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fillbook.runtime.clock import DeskClock
from infra.local.deskclock import ClockError, DeskClockFile, Setting

START = datetime(2026, 2, 3, 14, 30, tzinfo=UTC)


def test_a_running_setting_is_its_speed_times_real_time_on() -> None:
    setting = Setting(desk_at=START, real_at=1_000.0, speed=300.0)
    assert setting.at(1_002.0) == START + timedelta(minutes=10)
    assert Setting(desk_at=START, real_at=1_000.0, paused=True).at(9_999.0) == START


def test_the_functions_read_every_change_at_once(tmp_path: Path) -> None:
    hand, reader = DeskClockFile(tmp_path / "clock.json"), DeskClock(tmp_path / "clock.json")
    hand.apply({"desk_at": START.isoformat(), "paused": True})
    for steps in range(1, 200):  # faster than the file system's time stamps
        hand.apply({"step_seconds": 1})
        assert reader.now() == START + timedelta(seconds=steps) == hand.now()


def test_two_hands_see_each_others_changes(tmp_path: Path) -> None:
    first, second = DeskClockFile(tmp_path / "clock.json"), DeskClockFile(tmp_path / "clock.json")
    first.apply({"desk_at": START.isoformat(), "paused": True})
    second.apply({"step_seconds": -60})
    assert first.now() == START - timedelta(minutes=1)


def test_a_change_of_pace_goes_on_from_the_present_desk_time(tmp_path: Path) -> None:
    hand = DeskClockFile(tmp_path / "clock.json")
    hand.apply({"desk_at": "2026-02-03T09:30:00-05:00", "paused": True})
    setting = hand.apply({"speed": 300, "paused": False})
    assert (setting.desk_at, setting.speed, setting.paused) == (START, 300.0, False)
    assert hand.now() >= START


def test_realtime_is_the_wall_clock(tmp_path: Path) -> None:
    hand = DeskClockFile(tmp_path / "clock.json")
    hand.apply({"desk_at": START.isoformat(), "paused": True, "speed": 300})
    hand.apply({"realtime": True})
    assert abs(hand.now() - datetime.now(UTC)) < timedelta(seconds=5)
    assert hand.setting().speed == 1.0


def test_a_new_file_is_the_wall_clock_and_an_old_one_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    assert abs(DeskClockFile(path).now() - datetime.now(UTC)) < timedelta(seconds=5)
    DeskClockFile(path).apply({"desk_at": START.isoformat(), "paused": True})
    assert DeskClockFile(path).now() == START


@pytest.mark.parametrize(
    "instruction",
    [
        {}, {"hands": 1}, {"desk_at": 5}, {"desk_at": "noon"}, {"desk_at": "2026-02-03T09:30:00"}, {"speed": 0},
        {"speed": "1"}, {"speed": True}, {"speed": 1e9}, {"paused": 1}, {"step_seconds": float("nan")},
        {"realtime": False}, {"realtime": True, "speed": 1},
    ],
)  # fmt: skip
def test_nonsense_is_refused_and_changes_nothing(tmp_path: Path, instruction: dict[str, object]) -> None:
    hand = DeskClockFile(tmp_path / "clock.json")
    hand.apply({"desk_at": START.isoformat(), "paused": True})
    with pytest.raises(ClockError):
        hand.apply(instruction)
    assert hand.now() == START
