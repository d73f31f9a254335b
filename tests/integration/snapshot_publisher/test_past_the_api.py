"""With the real adapters: a day goes past a silent API into D1 and shows in its readers, or is kept, and the API catches up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from pydantic import SecretStr

from fillbook.snapshot.d1 import D1
from fillbook.snapshot.model import Status
from fillbook.snapshot.outcomes import Target
from fillbook.snapshot.receiver import Door, HttpReceiver, Pace
from infra.local.d1 import D1Fake
from infra.local.lenient import LATEST, POST_PATH, LenientReceiver
from tests.support.snapshot_publishing import DAY, PublishDesk

AFTER = DAY + timedelta(days=1)


@pytest.fixture
def template(w1_template: str) -> str:
    return w1_template


@pytest.fixture
def targets(small: PublishDesk, tmp_path: Path) -> Iterator[tuple[LenientReceiver, D1Fake]]:
    """A receiver and the database behind its readers; the desk publishes to the one and, past it, to the other."""
    with D1Fake(tmp_path / "d1.sqlite") as d1, LenientReceiver(tmp_path / "d1.sqlite") as receiver:
        token, key = SecretStr(receiver.token), SecretStr(receiver.read_key)
        door = Door(url=receiver.base_url, endpoint=POST_PATH, token=token, read_key=key)
        http = HttpReceiver(door, now=small.clock.now, pace=Pace(sleep=lambda _seconds: None))
        past = D1(
            SecretStr(d1.token),
            account_id=d1.account_id,
            database_id=d1.database_id,
            api_base=d1.api_base,
            is_local=True,
            pause_seconds=(0.0, 0.0),
        )
        small.ground = replace(small.ground, receiver=http, fallback=past)
        yield receiver, d1


def test_scenarios_21_and_22_a_torn_batch_is_repaired_shown_to_readers_and_later_sent_to_the_api(
    small: PublishDesk, targets: tuple[LenientReceiver, D1Fake]
) -> None:
    receiver, d1 = targets
    receiver.fault("reset_before", count=None)
    d1.fault("stop", n=7, rollback=False)
    first = small.publish(refresh=False)
    assert (first.status, first.target, first.verified) == (Status.PUBLISHED_FALLBACK, Target.D1, True)
    assert len(d1.calls()) == 4, "the batch, a look, the batch again, a look"
    assert first.counts is not None
    stored = d1.store.counts(DAY.isoformat())
    assert (stored["metrics_kpi_values"], stored["metrics_series_points"]) == (first.counts.kpis, first.counts.series)
    receiver.faults.rules.clear()
    shown = requests.get(f"{receiver.base_url}{LATEST}?date={DAY}", timeout=20).json()
    assert ("Realized PnL", "$77.00") in [(row["kpi"], row["value"]) for row in shown["rows"]]
    second = small.publish(refresh=False)
    assert (second.status, second.target, second.verified) == (Status.PUBLISHED, Target.API, True)


def test_scenario_22_a_d1_that_only_acknowledges_keeps_the_day_for_the_next_slot(
    small: PublishDesk, targets: tuple[LenientReceiver, D1Fake]
) -> None:
    receiver, d1 = targets
    receiver.fault("reset_before", count=None)
    d1.fault("forget", count=3)
    outcome = small.call(refresh=False)
    assert (outcome.status, outcome.exit) == (Status.KEPT, 6)
    assert set(d1.store.counts().values()) == {0}
    assert len(small.kept()) == 1
    assert [event for event, _ in small.events()] == ["snapshot_publish_failed"]
    receiver.faults.rules.clear()
    assert small.publish(refresh=False).status is Status.PUBLISHED


@pytest.mark.parametrize("slot", ["premarket", "watch"])
def test_a_day_that_d1_left_in_parts_says_so_and_is_made_whole_by_the_next_call_whatever_that_is_about(
    small: PublishDesk, targets: tuple[LenientReceiver, D1Fake], slot: str
) -> None:
    receiver, d1 = targets
    receiver.fault("reset_before", count=None)
    d1.fault("stop", n=3, rollback=False, count=3)
    kept = small.publish(refresh=False)
    assert (kept.status, kept.is_torn, kept.document()["torn"]) == (Status.KEPT, True, True)
    assert small.rows()[-1]["is_torn"] is True
    (event,) = small.events()
    assert (event[0], event[1]["torn"]) == ("snapshot_publish_failed", True)
    assert event[1]["reason"].endswith("in parts")
    small.again_on([AFTER])
    later = AFTER + timedelta(days=1)
    mended, *_ = small.slot(slot, AFTER if slot == "watch" else later).results
    assert (mended.date, mended.status, mended.is_torn) == (DAY, Status.PUBLISHED_FALLBACK, False)
    assert mended.counts is not None
    stored = d1.store.counts(DAY.isoformat())
    assert (stored["metrics_kpi_values"], stored["metrics_series_points"]) == (mended.counts.kpis, mended.counts.series)
    assert DAY not in [one.date for one in small.slot("watch", later).results], "and is left alone from then on"


def test_scenario_23_a_newer_day_in_d1_stands_and_a_locked_one_keeps_ours(
    small: PublishDesk, targets: tuple[LenientReceiver, D1Fake]
) -> None:
    receiver, d1 = targets
    receiver.fault("reset_before", count=None)
    d1.fault("status", status=401)
    assert small.publish(refresh=False).status is Status.KEPT
    newer = ("insert into metrics_daily values (?1, '2099-01-01T00:00:00.000Z', 'newer', '', '[]', '{}')", [DAY.isoformat()])
    d1.store.batch([newer])
    before = {table: d1.store.rows(table) for table in d1.store.counts()}
    assert small.publish(refresh=False).status is Status.CONFLICT
    assert {table: d1.store.rows(table) for table in before} == before
