"""A broker day of the local cloud: the desk clock walks from the morning to the next one, and everything outside may fail.

The clock is moved in steps, and after each step the desk is given a moment: schedules, pushes and jobs run as they would. The
accounts are opened before anything is disturbed, since an opening balance is what the broker held at that instant.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from fillbook.runtime.sql import statement
from infra.local import flex_book, tws_book
from infra.local.desk import LocalCloud
from infra.local.plan import FLEX_ACCOUNT, TWS_ACCOUNT
from infra.local.walking import number, settle, walk_to

DESK = ("execution_sync", "discord_notifier", "outbox_relay")
DAY = date(2026, 2, 3)
MORNING = datetime(2026, 2, 3, 13, 1, tzinfo=UTC)  # 08:01 in New York: nothing of the day is executed yet
FIRST, LAST = datetime(2026, 2, 3, 14, 20, tzinfo=UTC), datetime(2026, 2, 3, 22, 30, tzinfo=UTC)
NEXT_MORNING = datetime(2026, 2, 4, 11, 16, tzinfo=UTC)  # 06:16: the statement of the day has been asked for
STEP = timedelta(minutes=20)
STEPS = int((LAST - FIRST) / STEP)
DEADLINE = {"execution_sync": {"IBKR_RUN_DEADLINE_SECONDS": "2"}}
"""A gateway that hangs holds a run for this long instead of four minutes."""
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
