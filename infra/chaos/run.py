"""Plays a plan: season by season on a desk of its own, day by day, moment by moment, and proves each day at its end."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from infra.chaos import heal, stage, strike
from infra.chaos.bars import DayOfBars, Sender
from infra.chaos.days import Moment
from infra.chaos.plan import DayPlan, Fault, Plan, SeasonPlan
from infra.chaos.proof import Prover
from infra.chaos.report import DayTold, Told, line_of
from infra.chaos.stage import Stage
from infra.chaos.strike import AFTER, AMID, BEFORE, Striker
from infra.local.database import make_desk_cluster
from infra.local.fakes import TWS_CONTROL

REST_SECONDS: Final = 12.0
"""At most, beyond a moment's receipts; what it leaves open, the next ones or the night go on with."""
NIGHT: Final = "night"
"""The moment before which rules that never struck are taken off, what is put on later going with the morning; and the last one at
which the gateway tells its day."""
Tell = Callable[[str], None]


def play(plan: Plan, folder: Path, told: Told, tell: Tell, *, cluster: Path | None = None, bundles: Path | None = None) -> None:
    """Play every season; ``told`` is filled as it goes, so that a run that is broken off has a report too."""
    begun = time.monotonic()
    shared, made = bundles or folder / "bundles", cluster or folder / "cluster"
    if not made.exists():
        make_desk_cluster(made)
    for number, season in enumerate(plan.seasons, 1):
        home = folder / f"season-{number}"
        tell(f"{season.name}: {len(season.days)} days")
        with stage.started(home, season.days[0].day, cluster=made, bundles=shared) as cloud:
            here = Stage(cloud, season.days[0].day)
            try:
                _season(here, season, plan.seed, told, tell)
            finally:
                told.seen += here.seen
                told.healed += here.healed
                told.refused += here.refused
                told.seconds = time.monotonic() - begun
        if all(day.is_proven for day in told.days):
            shutil.rmtree(home / "pgdata", ignore_errors=True)


def _season(here: Stage, season: SeasonPlan, seed: int, told: Told, tell: Tell) -> None:
    begun = time.monotonic()
    here.open()
    tell(f"  accounts opened in {time.monotonic() - begun:.1f} s")
    prover, sender = Prover(here), Sender(here)
    try:
        for day in season.days:
            one = _day(here, prover, sender, day, seed, told)
            told.days.append(one)
            tell(line_of(one))
            if one.broke_off:
                return
        told.content[season.name] = prover.content()
    finally:
        sender.close()


def _day(here: Stage, prover: Prover, sender: Sender, day: DayPlan, seed: int, told: Told) -> DayTold:
    """One session to the morning after, and what holds then. A day that comes to no end says why."""
    begun = time.monotonic()
    bars = DayOfBars(day, seed)
    told.receipts[day.day.isoformat()] = bars.digest
    try:
        _live(here, sender, bars, day)
        claims = prover.day(day.day, here.cloud.clock.now())
        broke_off = None
    except (AssertionError, TimeoutError, RuntimeError) as error:
        claims, broke_off = (), f"{type(error).__name__}: {error}"
    return DayTold(
        day=day.day, faults=len(day.faults), seconds=round(time.monotonic() - begun, 1), claims=claims, broke_off=broke_off
    )


def _live(here: Stage, sender: Sender, bars: DayOfBars, day: DayPlan) -> None:
    striker = Striker(here, sender, bars)
    quiet: dict[str, Any] = here.control(TWS_CONTROL, "knobs")
    here.gateway.begin(here.cloud, day.day)
    here.has_died = False
    here.switch_jobs(on=True)
    for moment in day.moments:
        if moment.name == NIGHT:
            heal.end_of_faults(here, striker)
        _moment(here, sender, striker, moment, day.at(moment))
        heal.after_moment(here, striker, quiet)
        if moment.name == NIGHT:
            heal.last_look(here)
    here.switch_jobs(on=False)
    heal.end_of_faults(here, striker)
    heal.night(here)


def _moment(here: Stage, sender: Sender, striker: Striker, moment: Moment, faults: Sequence[Fault]) -> None:
    """What is put on, the clock, the receipts with whatever strikes in their middle, and what comes after them."""
    by_phase = {phase: [fault for fault in faults if strike.phase_of(fault) == phase] for phase in (BEFORE, AMID, AFTER)}
    for fault in by_phase[BEFORE]:
        striker.strike(fault, moment)
    here.set_clock(moment.at)
    blows = threading.Thread(target=_blows, args=(striker, by_phase[AMID], moment), name="blows")
    blows.start()
    try:
        is_reversed = any(fault.kind == "sender.reversed" for fault in by_phase[BEFORE])
        sender.minutes(striker.bars, moment.minutes, is_reversed=is_reversed)
    finally:
        blows.join()
    here.rest(REST_SECONDS)
    for fault in by_phase[AFTER]:
        striker.strike(fault, moment)
    here.decide_all()


def _blows(striker: Striker, faults: Sequence[Fault], moment: Moment) -> None:
    """One after the other, each after its own while."""
    for fault in faults:
        time.sleep(fault.given.get("wait_ms", 0) / 1000)
        striker.strike(fault, moment)
