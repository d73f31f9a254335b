"""A desk that is walked through a day: its clock moved in steps, its stand-ins told what to do, and looked at until it rests.

Whatever is asked may be starting again at that moment, so everything here is patient, within a bound. It knows no day and no
fault of its own.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from fillbook.runtime.errors import FillbookError
from fillbook.runtime.sql import statement
from infra.local import leases
from infra.local.control import ControlError
from infra.local.desk import LocalCloud
from infra.local.fakes import FLEX, TWS_CONTROL

PATIENT_LOOKS = 1_200
"""How often something that is being started again is asked, twenty times a second."""
LOOK_SECONDS, STEP_LOOKS, QUIET_STEPS, RESTING_STEPS = 0.06, 50, 120, 5

JOBS = "ibkr-jobs-execution_sync"  # a message of a job that is not due yet comes again until it is: the queue is what counts
DUE = """select count(*) as n from ibkr.jobs j where j.state = 'queued' and j.not_before <= :now
            and not exists (select from ibkr.jobs r where r.state = 'running' and r.dedupe_key = j.dedupe_key)"""
"""Jobs that somebody could begin; one that runs is waited for as long as the push or the schedule that brought it."""
OPEN_ENDS = """
select (select count(*) from ibkr.jobs where state in ('queued', 'running'))
     + (select count(*) from ledger.v_actions a where a.origin = 'live' and a.book_id not like 'replay:%' and not exists (
         select from notify.v_messages m where m.book_id = a.book_id and m.action_id = a.action_id and m.state = 'posted')) as n
"""
OPEN = {
    "job": """select job_type, state, attempts, deferrals, not_before, last_error, lease_expires_at - clock_timestamp() as lease
                from ibkr.jobs where state in ('queued', 'running') order by created_at limit 20""",
    "untold": """select a.book_id, a.action_id, a.action_type::text, m.state
                   from ledger.v_actions a
                   left join notify.v_messages m on m.book_id = a.book_id and m.action_id = a.action_id
                  where a.origin = 'live' and a.book_id not like 'replay:%' and m.state is distinct from 'posted'
                  order by a.executed_at limit 20""",
    "channel": """select channel_id, lease_until - clock_timestamp() as lease from notify.channels
                   where lease_token is not null""",
    "partition": """select partition_no, lease_until - clock_timestamp() as lease from outbox.partitions
                     where lease_token is not null""",
    "unpublished": """select event_type, count(*), min(attempts), max(attempts) from outbox.events
                       where published_at is null group by event_type""",
}
"""What may be open when a day does not end, for the one who reads the failure."""


class NeverSo(AssertionError):
    """What was waited for did not come within its bound; the text says what is still open."""


def ask(cloud: LocalCloud, port: str, path: str, document: Mapping[str, Any] | None = None) -> Any:
    """The control API of one of the broker's fakes, asked again while it is being started again."""
    found = json.loads((cloud.home.path / "run.json").read_text())["ports"][port]
    body = None if document is None else json.dumps(document).encode()
    address = f"http://127.0.0.1:{found}/_control/{path}"
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    for _ in range(PATIENT_LOOKS):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own loopback address
                return json.load(answer)
        except ConnectionError:
            time.sleep(0.05)
        except OSError as error:
            if "refused" not in str(error):
                raise
            time.sleep(0.05)
    raise NeverSo(f"{port} does not answer")


def gateway(cloud: LocalCloud, **knobs: Any) -> None:
    """Turn the fake gateway's knobs."""
    ask(cloud, TWS_CONTROL, "knobs", knobs)


def flex_fault(cloud: LocalCloud, fault: str, **rule: Any) -> None:
    """Queue a fault of the fake Flex web service."""
    ask(cloud, FLEX, "faults", {"fault": fault, **rule})


def number(cloud: LocalCloud, text: str, **values: Any) -> int:
    """The one number a statement returns; asked again while the database is being started again."""
    for _ in range(PATIENT_LOOKS):
        try:
            with cloud.database.transaction(read_only=True) as tx:
                return int(tx.query(statement(text), **values)[0]["n"])
        except FillbookError:
            time.sleep(0.05)
    raise NeverSo("the database does not come back")


def wait_for(cloud: LocalCloud, text: str, wanted: int) -> None:
    """Wait until a statement returns this number."""
    for _ in range(PATIENT_LOOKS):
        if number(cloud, text) == wanted:
            return
        time.sleep(0.05)
    raise NeverSo(f"never {wanted}: {text}")


def set_clock(cloud: LocalCloud, at: datetime) -> None:
    """Move the clock; its process may be starting again."""
    for _ in range(PATIENT_LOOKS):
        try:
            return cloud.clock.set(at)
        except ControlError:
            time.sleep(0.05)
    raise NeverSo("the clock does not answer")


def walk_to(cloud: LocalCloud, at: datetime) -> bool:
    """Move the clock and give the desk a moment: until nothing is due, or a few seconds. Returns whether it rests then."""
    set_clock(cloud, at)
    is_resting = False
    for _ in range(STEP_LOOKS):
        is_resting = rests(cloud)
        if is_resting and number(cloud, DUE, now=at) == 0:
            break
        time.sleep(LOOK_SECONDS)
    return is_resting


def rests(cloud: LocalCloud) -> bool:
    """Whether nothing is under way: no message waits or is delivered, no schedule is called; not where none can say."""
    found = _under_way(cloud)
    return found is not None and not any(found)


def works(cloud: LocalCloud) -> bool:
    """Whether somebody is at something, a message or a schedule; also where none can say."""
    found = _under_way(cloud)
    return found is None or found[0] > 0


def _under_way(cloud: LocalCloud) -> tuple[int, int] | None:
    """Deliveries and calls that somebody is at, and messages that wait for one; None: who counts them is away."""
    try:
        subscriptions = cloud.control.pubsub()["subscriptions"]
        calls: int = cloud.control.get("/_control/scheduler")["busy"]
    except ControlError:
        return None
    waiting = sum(one["depth"] for name, one in subscriptions.items() if name != JOBS)
    return calls + sum(one["in_flight"] for one in subscriptions.values()), waiting


def settle(cloud: LocalCloud, at: datetime) -> datetime:
    """Walk on, a minute at a time, until no job waits and every execution is told.

    A process that was killed keeps its leases for a while of real time, and a day of hundreds of steps is over before: where
    the desk rests for some steps and something is open all the same, a dead one holds it, and its lease is ended. On a desk
    on which nobody died there is no such excuse.
    """
    resting_steps = 0
    for _ in range(QUIET_STEPS):
        if number(cloud, OPEN_ENDS) == 0:
            return at
        at += timedelta(minutes=1)
        resting_steps = resting_steps + 1 if walk_to(cloud, at) else 0
        if resting_steps == RESTING_STEPS and any(one["restarts"] for one in cloud.figures().values()):
            leases.end(cloud.database, *leases.ALL)
    raise NeverSo(f"the day does not end at {at}:\n{what_is_open(cloud)}")


def what_is_open(cloud: LocalCloud) -> str:
    """Jobs that wait or run, executions untold, leases and messages that are held: a line each."""
    lines: list[str] = []
    with cloud.database.transaction(read_only=True) as tx:
        for name, text in OPEN.items():
            lines += (
                f"  {name}: " + ", ".join(f"{key} {value}" for key, value in row.items()) for row in tx.query(statement(text))
            )
    queues = cloud.control.pubsub()["subscriptions"].items()
    lines += (f"  queue {name}: {one}" for name, one in queues if one["depth"])
    return "\n".join(lines)
