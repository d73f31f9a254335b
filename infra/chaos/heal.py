"""What ends with a moment or a day: knobs are taken off and counted, the dead come back, what they held is over, channels go on.

Nothing is healed that the desk must heal by itself: no row is written here but the leases of the dead, which run on real time,
and what a person does is done as the operator's verbs do it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from infra.chaos import person
from infra.chaos.stage import Stage, asked
from infra.chaos.strike import GATEWAY_RUNS, Striker
from infra.local import leases, walking
from infra.local.control import ControlError
from infra.local.desk import POSTGRES
from infra.local.fakes import FLEX, TWS_CONTROL

REST_SECONDS: Final = 12.0
"""A bound: whatever is under way ends sooner, unless it waits for something that is away."""
_RULES: Final = {"discord": ("faults", "fault"), "mt5": ("faults", "fault"), "d1": ("/_fault", "kind")}
"""Of a stand-in: where its rules are, and what names their kind."""
DISABLED: Final = "select channel_id, status_reason from notify.v_channels where status = 'disabled'"
DEAD: Final = "select count(*) as n from notify.v_messages where state = 'dead'"
WAITING: Final = """
select (select count(*) from notify.v_messages where state in ('pending', 'sending', 'ambiguous'))
     + (select coalesce(sum(due), 0) from outbox.v_backlog) as n"""
WAITING_MESSAGES: Final = """
select channel_id, subject_key, state from notify.v_messages where state in ('pending', 'sending', 'ambiguous') limit 20"""
UNSYNCED: Final = """
select count(*) as n from mt5.v_account_states
 where is_active and (last_successful_sync_at is null or last_successful_sync_at < :since)"""
FLEX_FAILED: Final = (
    "select count(*) as n from ibkr.anomalies where kind = 'sync_failed' and subject = 'flex' and closed_at is null"
)
DOUBTED: Final = """
select (select count(*) from mt5.trades where status = 'close_pending')
     + (select count(*) from ledger.v_breaks where resolved_at is null and cause = 'close_pending') as n"""
"""Trades that an account's last look did not list, and nothing told closed. The next look says which it was; books are compared
again with the next hour's."""
JOBS_OPEN: Final = "select count(*) as n from ibkr.jobs where state in ('queued', 'running')"
CUT_SHORT: Final = """
select count(*) as n
  from (select state from ibkr.sync_runs
         where source = 'tws' and kind = 'executions' order by started_at desc, finished_at desc limit 1) as r
 where state <> 'complete'"""
"""Whether the last look at the gateway's executions saw no end. The job is done then; the next schedule asks again."""
LAST_LOOKS_MAX: Final = 7
"""Minutes from the night's look at the gateway until it forgets the day; the lease of one that died is over within six."""
QUIET_STEPS: Final = (1, 1, 1, 1, 2, 2, 3, 5, 5, 10, 10, 15, 15, 15, 20, 20)
"""Minutes of desk time between two looks at an evening that does not end."""


def after_moment(stage: Stage, striker: Striker, quiet: Mapping[str, Any]) -> None:
    """The moment's knobs are off, whoever died is up and holds nothing, channels that were stopped go on."""
    _wire(stage, striker)
    turned = striker.standing.pop("tws", [])
    if turned:
        stage.control(TWS_CONTROL, "knobs", quiet)
        if stage.number(GATEWAY_RUNS) > striker.runs_before:
            stage.seen.update(turned)
    _revive(stage)
    enable_channels(stage)


def last_look(stage: Stage) -> None:
    """The gateway tells a day until midnight: whoever failed at the last look, or was cut short, looks again before it."""
    for _ in range(LAST_LOOKS_MAX):
        stage.rest(REST_SECONDS)
        if stage.number(JOBS_OPEN) + stage.number(CUT_SHORT) == 0:
            return
        end_leases(stage)
        stage.tick(60)


def _wire(stage: Stage, striker: Striker) -> None:
    """Knobs of the wire: whether they were used up, or used at all, is how they were seen."""
    standing = striker.standing.pop("wire", [])
    if not standing:
        return
    try:
        stage.cloud.control.no_faults()
    except ControlError:
        return  # they went with the process that had them
    stage.seen.update(standing)


def _revive(stage: Stage) -> None:
    """Everything that was killed in this moment."""
    killed, stage.killed = list(dict.fromkeys(stage.killed)), []
    if not killed:
        return
    stage.has_died = True
    for name in killed:
        if name != POSTGRES and stage.cloud.pid(name) is None and stage.cloud.keeper.get(name).again_at is None:
            stage.cloud.revive(name)  # it was to stay down; whatever else is dead is being started again
    stage.wait_until_up([name for name in killed if name != POSTGRES])
    stage.rest(REST_SECONDS)
    for name in killed:
        leases.end_of(stage.cloud.database, name)
        stage.healed[f"{name} came back"] += 1
    stage.gateway.tell(stage.cloud, stage.cloud.clock.now())
    stage.statements.tell(stage.cloud)


def enable_channels(stage: Stage) -> None:
    """A channel that Discord refused is switched on again by a person, once it is no longer refused."""
    for row in stage.rows(DISABLED):
        if person.enable(stage.cloud, row["channel_id"]):
            stage.healed[f"channel enabled after {row['status_reason']}"] += 1


def end_of_faults(stage: Stage, striker: Striker) -> None:
    """Every rule that still waits is taken off; those that are gone have struck."""
    _revive(stage)
    for name, (path, key) in _RULES.items():
        given = striker.standing.pop(name, [])
        if given:
            ask = {"discord": stage.discord, "mt5": stage.broker, "d1": stage.d1}[name]
            _count(stage, name, given, (ask(path) or {}).get("queued", []), key)
            ask(path, method="DELETE")
    given = striker.standing.pop("flex", [])
    if given:
        _count(stage, "flex", given, stage.control(FLEX, "faults").get("queued", []), "fault")
        _delete_flex(stage)


def _count(stage: Stage, family: str, given: Sequence[str], queued: Sequence[Mapping[str, Any]], key: str) -> None:
    left = Counter(str(rule[key]) for rule in queued if not rule["hits"])
    for knob, number in Counter(given).items():
        stage.seen[f"{family}.{knob}"] += max(number - left[knob], 0)


def _delete_flex(stage: Stage) -> None:
    port = stage.cloud.home.read_run()["ports"][FLEX]
    asked(f"http://127.0.0.1:{port}/_control/faults", method="DELETE")


def night(stage: Stage) -> None:
    """Until nothing is open: no job, no message, no ladder; dead letters are sent again, and the dead hold nothing any more.

    Whoever failed last is asked again, as the next schedule would: accounts when they are due, also one that said something
    doubtful, statements by a person.
    """
    stage.rest(REST_SECONDS)
    since = stage.cloud.clock.now()
    stage.run_job("mt5-sync")
    if stage.gateway.late:  # told after the evening's comparison, which found it missing; only the next one can say that it came
        stage.run_job("ibkr-positions")
    for minutes in QUIET_STEPS:
        stage.rest(REST_SECONDS)
        send_dead_letters(stage)
        unsynced = stage.number(UNSYNCED, since=since) + stage.number(DOUBTED) > 0
        has_failed = stage.number(FLEX_FAILED) > 0
        if stage.number(walking.OPEN_ENDS) + stage.number(WAITING) == 0 and not unsynced and not has_failed:
            return
        end_leases(stage)
        stage.tick(60 * minutes)
        enable_channels(stage)
        if unsynced:
            stage.run_job("mt5-sync")
        if has_failed:
            stage.run_job("ibkr-statement")
    waiting = [f"  message: {row['channel_id']} {row['subject_key']} {row['state']}" for row in stage.rows(WAITING_MESSAGES)]
    told = "\n".join([walking.what_is_open(stage.cloud), *waiting])
    raise walking.NeverSo(f"the day does not end at {stage.cloud.clock.now()}:\n{told}")


def end_leases(stage: Stage) -> None:
    """What the dead of this day held is over, whoever it was; on a day on which nobody died there is nothing to end.

    While somebody is at something, not everybody who holds a lease is dead: then they are left until the next look.
    """
    if stage.has_died and not walking.works(stage.cloud):
        leases.end(stage.cloud.database, *leases.EVERYWHERE)


def send_dead_letters(stage: Stage) -> None:
    """A ladder that ended in a dead letter is begun anew by a person."""
    if stage.number(DEAD):
        stage.healed["dead letters sent again"] += person.send_dead_letters(stage.cloud)
