"""Desk time: one file, any speed; the system's time in the cloud, always."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from fillbook.runtime import clock
from fillbook.runtime.clock import DeskClock, FixedClock, SystemClock, clock_for
from fillbook.runtime.config import Config

DESK = datetime(2026, 2, 11, 14, 30, tzinfo=UTC)


@pytest.fixture
def real(monkeypatch):
    """Real epoch seconds, settable."""
    now = {"at": 1_000_000.0}
    monkeypatch.setattr(clock.time, "time", lambda: now["at"])
    return now


def write(path, *, speed=1.0, paused=False, desk_at=DESK, real_at=1_000_000.0, stamp=None):
    path.write_text(json.dumps({"desk_at": desk_at.isoformat(), "real_at": real_at, "speed": speed, "paused": paused}))
    if stamp is not None:
        os.utime(path, ns=(stamp, stamp))


def test_desk_time_runs_as_fast_as_it_is_told(tmp_path, real):
    write(tmp_path / "c", speed=300.0)
    desk = DeskClock(tmp_path / "c")
    assert desk.now() == DESK
    real["at"] += 2
    assert desk.now() == DESK + timedelta(minutes=10)


def test_a_paused_desk_stands_still(tmp_path, real):
    write(tmp_path / "c", speed=300.0, paused=True)
    desk = DeskClock(tmp_path / "c")
    real["at"] += 60
    assert desk.now() == DESK


def test_a_changed_file_is_noticed(tmp_path, real):
    write(tmp_path / "c", stamp=1)
    desk = DeskClock(tmp_path / "c")
    assert desk.now() == DESK
    write(tmp_path / "c", desk_at=DESK + timedelta(days=1), stamp=2)
    assert desk.now() == DESK + timedelta(days=1)


def test_without_a_file_the_system_clock_holds(tmp_path):
    before = SystemClock().now()
    assert before <= DeskClock(tmp_path / "none").now() <= SystemClock().now()


@pytest.mark.parametrize(
    "text", ["", "{}", '{"desk_at": "2026-02-11T14:30:00", "real_at": 1, "speed": 1, "paused": false}', "[]"]
)
def test_a_file_that_is_no_clock_is_refused(tmp_path, text):
    (tmp_path / "c").write_text(text)
    with pytest.raises(ValueError, match="not a desk clock"):
        DeskClock(tmp_path / "c").now()


def test_only_the_local_environment_has_a_desk_clock(tmp_path):
    write(tmp_path / "c")
    local = {"FILLBOOK_ENV": "local", "FILLBOOK_DESK_CLOCK": str(tmp_path / "c")}
    assert isinstance(clock_for(Config.from_environment(local)), DeskClock)
    assert isinstance(clock_for(Config.from_environment({**local, "FILLBOOK_ENV": "cloud"})), SystemClock)
    assert isinstance(clock_for(Config.from_environment({"FILLBOOK_ENV": "local"})), SystemClock)


def test_a_fixed_clock_moves_only_when_stepped():
    fixed = FixedClock(DESK)
    assert fixed.now() == DESK
    fixed.step(-600)
    assert fixed.now() == DESK - timedelta(minutes=10)
    with pytest.raises(ValueError, match="aware"):
        FixedClock(DESK.replace(tzinfo=None))


def test_the_system_clock_is_aware_and_in_utc():
    assert SystemClock().now().utcoffset() == timedelta(0)
