"""A broker day of the local cloud: the desk clock walks from the morning to the next one, and everything outside may fail.

The clock is moved in steps, and after each step the desk is given a moment: schedules, pushes and jobs run as they would. The
accounts are opened before anything is disturbed, since an opening balance is what the broker held at that instant.
"""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from fillbook.runtime.errors import FillbookError
from fillbook.runtime.sql import statement
from infra.local import flex_book, tws_book
from infra.local.control import ControlError
from infra.local.desk import LocalCloud
from infra.local.fakes import FLEX, TWS_CONTROL
from infra.local.plan import FLEX_ACCOUNT, TWS_ACCOUNT
from tests.support import leases

DESK = ("execution_sync", "discord_notifier", "outbox_relay")
DAY = date(2026, 2, 3)
MORNING = datetime(2026, 2, 3, 13, 1, tzinfo=UTC)  # 08:01 in New York: nothing of the day is executed yet
FIRST, LAST = datetime(2026, 2, 3, 14, 20, tzinfo=UTC), datetime(2026, 2, 3, 22, 30, tzinfo=UTC)
NEXT_MORNING = datetime(2026, 2, 4, 11, 16, tzinfo=UTC)  # 06:16: the statement of the day has been asked for
STEP = timedelta(minutes=20)
STEPS = int((LAST - FIRST) / STEP)
DEADLINE = {"execution_sync": {"IBKR_RUN_DEADLINE_SECONDS": "2"}}
"""A gateway that hangs holds a run for this long instead of four minutes."""
LOOK_SECONDS, STEP_LOOKS, QUIET_STEPS, RESTING_STEPS = 0.06, 50, 120, 5

JOBS = "ibkr-jobs-execution_sync"  # a message of a job that is not due yet comes again until it is: the queue is what counts
DUE = """select count(*) as n from ibkr.jobs j where j.state = 'queued' and j.not_before <= :now
            and not exists (select from ibkr.jobs r where r.state = 'running' and r.dedupe_key = j.dedupe_key)"""
"""Jobs that somebody could begin; one that runs is waited for as long as the push or the schedule that brought it."""
OPEN_ENDS = """
select (select count(*) from ibkr.jobs where state in ('queued', 'running'))
     + (select count(*) from ledger.v_actions a where a.origin = 'live' and not exists (
         select from notify.v_messages m where m.book_id = a.book_id and m.action_id = a.action_id and m.state = 'posted')) as n
"""
OPEN = {
    "job": """select job_type, state, attempts, deferrals, not_before, last_error, lease_expires_at - clock_timestamp() as lease
                from ibkr.jobs where state in ('queued', 'running') order by created_at limit 20""",
    "untold": """select a.book_id, a.action_id, a.action_type::text, m.state
                   from ledger.v_actions a
                   left join notify.v_messages m on m.book_id = a.book_id and m.action_id = a.action_id
                  where a.origin = 'live' and m.state is distinct from 'posted' order by a.executed_at limit 20""",
    "channel": """select channel_id, lease_until - clock_timestamp() as lease from notify.channels
                   where lease_token is not null""",
    "partition": """select partition_no, lease_until - clock_timestamp() as lease from outbox.partitions
                     where lease_token is not null""",
    "unpublished": """select event_type, count(*), min(attempts), max(attempts) from outbox.events
                       where published_at is null group by event_type""",
}
"""What may be open when a day does not end, for the one who reads the failure."""

# the books, and what they are made of, without what depends on when and how often it was told or written: a commission
# that arrives by itself is one version more
PARTS = {
    "actions": """select book_id, action_id, position_id, action_type::text, ticker, direction::text, executed_at, quantity,
                         price, value, fees, realized_pnl, position_quantity_after, position_vwap_after, reason, origin
                    from ledger.v_actions where book_id like 'ibkr:%' order by book_id, action_id""",
    "closings": """select book_id, action_id, lot_id, quantity, lot_price, realized_pnl
                     from ledger.v_closings where book_id like 'ibkr:%' order by book_id, action_id, lot_id""",
    "lots": """select book_id, lot_id, position_id, quantity, quantity_open, price, cost_basis, status::text
                 from ledger.v_lots where book_id like 'ibkr:%' order by book_id, lot_id""",
    "positions": """select book_id, position_id, symbol, direction::text, status::text, quantity_open, quantity_opened,
                           cost_basis, realized_pnl
                      from ledger.v_positions where book_id like 'ibkr:%' order by book_id, position_id""",
    "executions": """select account_id, ib_exec_id, trade_id, state, exec_revision, exec_role, executed_at, side, quantity,
                            price, commission, commission_currency, sources
                       from ibkr.trade_executions order by account_id, ib_exec_id""",
    "trades": """select account_id, id, status, match_kind, is_combo, total_quantity, avg_price, commission, execution_count,
                        canonical_count, merged_into, first_executed_at, last_executed_at
                   from ibkr.trades order by account_id, id""",
    "told": """select account_id, exec_id_base, correction_group, ib_exec_id, is_bust
                 from ibkr.booked_fills order by account_id, exec_id_base, correction_group""",
    "cursors": "select account_id, source from ibkr.sync_cursors order by account_id, source",
    "anomalies": """select account_id, kind, subject from ibkr.anomalies
                     where closed_at is null order by account_id, kind, subject""",
    "quarantine": "select source, reason from ibkr.quarantine where state = 'open' order by source, reason",
    "breaks": "select book_id, kind, instrument from ledger.v_breaks where resolved_at is null order by book_id, instrument",
    "messages": """select subject_key, state from notify.v_messages
                    where subject_kind = 'execution' order by subject_key""",
}


def ask(cloud: LocalCloud, port: str, path: str, document: Mapping[str, Any] | None = None) -> Any:
    """The control API of one of the broker's fakes, asked again while it is being started again."""
    found = json.loads((cloud.home.path / "run.json").read_text())["ports"][port]
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{found}/_control/{path}", body, {"Content-Type": "application/json"})
    for _ in range(100):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except ConnectionError:
            time.sleep(0.05)
        except OSError as error:
            if "refused" not in str(error):
                raise
            time.sleep(0.05)
    raise AssertionError(f"{port} does not answer")


def gateway(cloud: LocalCloud, **knobs: Any) -> None:
    """Turn the fake gateway's knobs."""
    ask(cloud, TWS_CONTROL, "knobs", knobs)


def flex_fault(cloud: LocalCloud, fault: str, **rule: Any) -> None:
    """Queue a fault of the fake Flex web service."""
    ask(cloud, FLEX, "faults", {"fault": fault, **rule})


def number(cloud: LocalCloud, text: str, **values: Any) -> int:
    """The one number a statement returns; asked again while the database is being started again."""
    for _ in range(200):
        try:
            with cloud.database.transaction(read_only=True) as tx:
                return int(tx.query(statement(text), **values)[0]["n"])
        except FillbookError:
            time.sleep(0.05)
    raise AssertionError("the database does not come back")


def wait_for(cloud: LocalCloud, text: str, wanted: int) -> None:
    """Wait until a statement returns this number."""
    for _ in range(1000):
        if number(cloud, text) == wanted:
            return
        time.sleep(0.01)
    raise AssertionError(f"never {wanted}: {text}")


def set_clock(cloud: LocalCloud, at: datetime) -> None:
    """Move the clock; its process may be starting again."""
    for _ in range(100):
        try:
            return cloud.clock.set(at)
        except ControlError:
            time.sleep(0.05)
    raise AssertionError("the clock does not answer")


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
    """Whether nothing is under way: no message waits or is being delivered, no schedule is being called."""
    try:
        subscriptions = cloud.control.pubsub()["subscriptions"]
        is_calling = cloud.control.get("/_control/scheduler")["busy"] > 0
    except ControlError:
        return False
    waiting = (one["in_flight"] if name == JOBS else one["depth"] for name, one in subscriptions.items())
    return not is_calling and not any(waiting)


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
    raise AssertionError(f"the day does not end at {at}:\n{what_is_open(cloud)}")


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


def open_accounts(cloud: LocalCloud) -> None:
    """Both accounts begin: positions, executions that reach them, the statement of the days before."""
    at = MORNING
    for name in ("ibkr-positions", "ibkr-trades", "ibkr-positions", "ibkr-statement"):
        assert cloud.control.run_job(name) in (200, 202)
        at = settle(cloud, at + timedelta(minutes=1))
        walk_to(cloud, at)
    assert number(cloud, "select count(*) as n from ibkr.accounts where opened_at is not null") == 2


def live(cloud: LocalCloud, disturb: Callable[[int], None] = lambda _step: None, *, stride: int = 1) -> None:
    """The day: ``disturb(step)`` is called before each step of the clock; the evening and the next morning are left alone.

    ``stride``: only every so many-th step is walked, for a day whose books are compared and whose course is not.
    """
    for step in range(0, STEPS, stride):
        disturb(step)
        walk_to(cloud, FIRST + step * STEP)
    disturb(STEPS)
    at = settle(cloud, LAST)
    for name in ("ibkr-trades", "ibkr-confirmations", "ibkr-positions"):
        assert cloud.control.run_job(name) in (200, 202)
        at = settle(cloud, at + timedelta(minutes=1))
    walk_to(cloud, NEXT_MORNING)
    assert cloud.control.run_job("ibkr-statement") in (200, 202)
    settle(cloud, NEXT_MORNING + timedelta(minutes=1))


def served() -> Counter[str]:
    """Every execution that the broker has told of by the end of the day, by account and execution id."""
    frames = tws_book.demo((TWS_ACCOUNT,), LAST).executions
    found = Counter(f"{TWS_ACCOUNT} {frame[14]}" for frame in frames if frame[0] == "11")
    text = flex_book.statement((FLEX_ACCOUNT,), (DAY - timedelta(days=2), DAY), LAST).decode()
    return found + Counter(f"{FLEX_ACCOUNT} {one}" for one in re.findall(r'ibExecID="([^"]+)"', text))


def in_the_books(cloud: LocalCloud) -> Counter[str]:
    """How often each execution stands in the books, by account and execution id; openings are no executions."""
    text = """select substr(a.book_id, 6) || ' ' || (a.meta ->> 'ib_exec_id') as name from ledger.v_actions a
               where a.book_id like 'ibkr:%' and a.reason = 'broker_execution'"""
    with cloud.database.transaction(read_only=True) as tx:
        return Counter(row["name"] for row in tx.query(statement(text)))
