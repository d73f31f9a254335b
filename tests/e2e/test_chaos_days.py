"""Check 34: simulated days of the whole desk under faults of one seed, proven at each end, and the same again from the seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.chaos.plan import Plan, drawn
from infra.chaos.report import Told, text_of
from infra.chaos.run import play
from tests.support.campaigns import full_only, tell

pytestmark = [pytest.mark.bundles, pytest.mark.slow]

SEED = 7
FEW = (
    "kill.signal_worker",
    "kill.discord_notifier",
    "wire.duplicate",
    "discord.server_error",
    "sender",
    "message.poison",
    "clock",
)
SEEDS = (1, 2, 3, 4, 5)
FULL_DAYS = 24


def played(plan: Plan, folder: Path, cluster: Path, bundles: Path) -> Told:
    """A run of a plan; its report is shown beside a failure."""
    told = Told(command=f"seed {plan.seed}", plan=plan)
    play(plan, folder, told, tell, cluster=cluster, bundles=bundles)
    tell(text_of(told))
    return told


@full_only
def test_check_34_a_small_day_under_faults_of_a_seed_holds(tmp_path: Path, cluster: Path, bundles: Path) -> None:
    plan = drawn(SEED, 1, faults=8, bars=2, only=FEW)
    told = played(plan, tmp_path, cluster, bundles)
    assert told.is_proven, text_of(told)
    assert told.seen.total() >= 5
    figures = {claim.name: claim.figures for day in told.days for claim in day.claims}
    assert figures["nothing lost of what was acknowledged"]["receipts"] >= 20
    messages = figures["messages = executions"]
    assert messages["messages"] == messages["executions"] + messages["void"] > 0


@full_only
def test_check_34_the_seed_reproduces_the_run(tmp_path: Path, cluster: Path, bundles: Path) -> None:
    one, other = (played(drawn(SEED, 2), tmp_path / name, cluster, bundles) for name in ("one", "other"))
    assert one.is_proven
    assert other.is_proven
    assert (one.content_digest, one.data_digest, one.plan) == (other.content_digest, other.data_digest, other.plan)


@full_only
@pytest.mark.parametrize("seed", SEEDS)
def test_check_34_twenty_four_days_with_a_thousand_faults_hold(seed: int, tmp_path: Path, cluster: Path, bundles: Path) -> None:
    plan = drawn(seed, FULL_DAYS)
    assert plan.injected.total() >= 1_000
    told = played(plan, tmp_path, cluster, bundles)
    assert told.is_proven, text_of(told)
