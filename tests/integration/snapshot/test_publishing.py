"""A day is published whole or not at all, once per content, and every end of it is recorded and told."""

from __future__ import annotations

from decimal import Decimal

from fillbook.snapshot.model import Stage, Status
from fillbook.snapshot.outcomes import Target
from tests.support.snapshot_desk import PublishDesk, kpis, says_what_it_is


def test_scenario_1_the_worked_case_is_published_verified_and_recorded(desk: PublishDesk) -> None:
    desk.w1()
    result = desk.publish()
    print(result)
    assert (result.status, result.stage, result.version, result.verified) == (Status.PUBLISHED, Stage.FINAL, 1, True)
