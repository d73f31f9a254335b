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
from infra.local.desk import FLEX, TWS_CONTROL, LocalCloud
from infra.local.plan import FLEX_ACCOUNT, TWS_ACCOUNT

DESK = ("execution_sync", "discord_notifier", "outbox_relay")
DAY = date(2026, 2, 3)
MORNING = datetime(2026, 2, 3, 13, 1, tzinfo=UTC)  # 08:01 in New York: nothing of the day is executed yet
FIRST, LAST = datetime(2026, 2, 3, 14, 20, tzinfo=UTC), datetime(2026, 2, 3, 22, 30, tzinfo=UTC)
NEXT_MORNING = datetime(2026, 2, 4, 11, 16, tzinfo=UTC)  # 06:16: the statement of the day has been asked for
STEP = timedelta(minutes=20)
STEPS = int((LAST - FIRST) / STEP)
DEADLINE = {"execution_sync": {"IBKR_RUN_DEADLINE_SECONDS": "2"}}
"""A gateway that hangs holds a run for this long instead of four minutes."""
LOOK_SECONDS, STEP_LOOKS, QUIET_STEPS = 0.03, 100, 120

JOBS = "ibkr-jobs-execution_sync"  # a message of a job that is not due yet comes again until it is: the queue is what counts
BUSY = "select count(*) as n from ibkr.jobs where state = 'running' or (state = 'queued' and not_before <= :now)"
OPEN_ENDS = """
select (select count(*) from ibkr.jobs where state in ('queued', 'running'))
     + (select count(*) from ledger.v_actions a where a.origin = 'live' and not exists (
         select from notify.v_messages m where m.book_id = a.book_id and m.action_id = a.action_id and m.state = 'posted')) as n
"""

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


def walk_to(cloud: LocalCloud, at: datetime) -> None:
    """Move the clock and give the desk a moment: until nothing is due, or a few seconds."""
    set_clock(cloud, at)
    for _ in range(STEP_LOOKS):
        try:
            depths = {name: int(one["depth"]) for name, one in cloud.control.pubsub()["subscriptions"].items()}
            waiting = sum(depth for name, depth in depths.items() if name != JOBS)
        except ControlError:
            waiting = 1
        if waiting == 0 and number(cloud, BUSY, now=at) == 0:
            return
        time.sleep(LOOK_SECONDS)


def settle(cloud: LocalCloud, at: datetime) -> datetime:
    """Walk on, a minute at a time, until no job waits and every execution is told."""
    for _ in range(QUIET_STEPS):
        if number(cloud, OPEN_ENDS) == 0:
            return at
        at += timedelta(minutes=1)
        walk_to(cloud, at)
    raise AssertionError(f"the day does not end: {cloud.logs('execution_sync')[-3000:]}")


def open_accounts(cloud: LocalCloud) -> None:
    """Both accounts begin: positions, executions that reach them, the statement of the days before."""
    at = MORNING
    for name in ("ibkr-positions", "ibkr-trades", "ibkr-positions", "ibkr-statement"):
        assert cloud.control.run_job(name) in (200, 202)
        at = settle(cloud, at + timedelta(minutes=1))
        walk_to(cloud, at)
    assert number(cloud, "select count(*) as n from ibkr.accounts where opened_at is not null") == 2


def live(cloud: LocalCloud, disturb: Callable[[int], None] = lambda _step: None) -> None:
    """The day: ``disturb(step)`` is called before each step of the clock; the evening and the next morning are left alone."""
    for step in range(STEPS):
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


def expire_leases(cloud: LocalCloud) -> None:
    """The 330 s of real time that the lease of a dead one would last."""
    with cloud.database.transaction() as tx:
        tx.execute(statement("update ibkr.jobs set lease_expires_at = clock_timestamp() where state = 'running'"))


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
