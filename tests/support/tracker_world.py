"""A small desk that holds a bit of everything the read API shows, made by the rooms' own writers where they are cheap to start.

``CANARY`` stands in what a reader without rights to a book, or without an admin key, must never be sent: names of tickers and
accounts, a note, the broker's own text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from fillbook.runtime.db import Database
from fillbook.tracker.route import Route
from tests.support.ibkr import exec_id, tws
from tests.support.ibkr_world import World
from tests.support.mt5_linked import LinkedDesk, closed, trade
from tests.support.signal_live import LiveDesk
from tests.support.tracker_desk import published

Query = Callable[..., list[dict[str, Any]]]
NOW = datetime(2026, 3, 4, 15, 16, tzinfo=UTC)
TICKER, DAY, LOGIN = "ZZTA", "2026-02-03", 50123456
RUN, OTHER_RUN, COMPARISON = (UUID(int=number) for number in (11, 12, 13))
CHECK = UUID(int=14)
CANARY = "canary-in-a-payload"
TOTALS = {"decided": 2, "entries": 1, "adds": 0, "trims": 0, "exits": 1, "realized_pnl": "-3.5"}


def filled(open_database: Callable[..., Database], db: Database, query: Query) -> None:
    """Fill the desk."""
    live = LiveDesk(open_database("signal_worker"), query)
    live.send("R")
    live.send(minutes=20, price=Decimal("97.00"))
    World(db, query).socket(tws(exec_id(1), orderRef=CANARY))
    linked = LinkedDesk(open_database("mt5_writer"), open_database("desk_operator"), query)
    account = linked.link(LOGIN)
    linked.sync(account, trades=[trade(account, 1), closed(trade(account, 2))])
    published(query, DAY)
    _told(query)
    _replayed(query)


def _told(query: Query) -> None:
    """A channel, a message of the first execution, a request for it, a dead one, and a check that found something."""
    query(
        "insert into notify.channels (channel_id, kind, secret_name, status_at)"
        " values ('executions', 'executions', 'HOOK', :now) on conflict do nothing returning channel_id",
        now=NOW,
    )
    actions = query("select action_id, executed_at from ledger.v_actions where book_id = 'live' order by seq")
    for number, (row, state) in enumerate(zip(actions, ("posted", "dead"), strict=False), start=1):
        query(
            "insert into notify.messages (channel_id, subject_key, subject_kind, book_id, action_id, group_key, priority,"
            " order_at, order_seq, wanted_version, wanted_seq, wanted, wanted_hash, state, message_id, posted_version, posted_at,"
            " attempts, maybe_created, is_created_unknown, suspects, blind_resends, is_solo, notes, deaths, created_at,"
            " dead_reason) values ('executions', :key, 'execution', 'live', :action_id, 'g', 0, :at, :number, 1, 1,"
            " '{\"title\": \"told\"}', 'h', :state, :message, 1, :at, 1, false, false, '[]', 0, false, '[]', 0, :at, :reason)"
            " returning subject_key",
            key=str(row["action_id"]),
            action_id=row["action_id"],
            at=row["executed_at"],
            number=number,
            state=state,
            message="77" if state == "posted" else None,
            reason="unknown_webhook" if state == "dead" else None,
        )
    requested(query, CHECK)
    query(
        "insert into notify.reconcile_runs (run_id, channel_id, since, until, is_repairing, requested_by, status, queued_at,"
        " started_at, finished_at) values (:id, 'executions', :now::timestamptz - interval '1 day', :now, false, 'desk', 'open',"
        " :now, :now, :now) returning run_id",
        id=CHECK,
        now=NOW,
    )
    query(
        "insert into notify.findings (run_id, ordinal, kind, channel_id, subject_key, book_id, action_id, message_id, field,"
        " expected, found, found_at) values (:id, 1, 'wrong', 'executions', :key, 'live', :action_id, '77', 'price', '1', '2',"
        " :now) returning run_id",
        id=CHECK,
        key=str(actions[0]["action_id"]),
        action_id=actions[0]["action_id"],
        now=NOW,
    )


def requested(query: Query, attempt_id: UUID) -> None:
    """A request to Discord that was answered."""
    query(
        "insert into notify.attempts (attempt_id, channel_id, subject_keys, operation, started_at, finished_at, http_status,"
        " message_id, request_hash) select :id, 'executions', array_agg(m.subject_key), 'create', :now, :now, 200, '77', 'h'"
        " from notify.messages m where m.state = 'posted' returning attempt_id",
        id=attempt_id,
        now=NOW,
    )


def _replayed(query: Query) -> None:
    """Two runs of the day with a bucket each, and the comparison of the first with the live book."""
    for run in (RUN, OTHER_RUN):
        query(
            "insert into ledger.books (book_id, kind, netting, base_currency, chain_head, last_recorded_at, created_at)"
            " values (:book, 'replay', 'net', 'USD', :head, :now, :now) returning book_id",
            book=f"replay:{run}",
            head=bytes(32),
            now=NOW,
        )
        query(
            "insert into replay.run_records (run_id, kind, book_id, date_from, date_to, script_version, session, inputs,"
            " start_from, facts, profile, config, config_digest, code_version, status, created_by, created_at, started_at,"
            " finished_at, rows) values (:run, 'day', :book, :day::date, :day::date, '1', 'regular', 'all', 'empty', 'own', 'p',"
            " '{}', 'd', 'c', 'done', 'desk', :now, :now, :now, 2) returning run_id",
            run=run,
            book=f"replay:{run}",
            day=DAY,
            now=NOW,
        )
        query(
            "insert into replay.checkpoints (run_id, bucket, rows, conflicts, actions, input_digest, bucket_hash, state_digest,"
            " result_hash, states, recorded_at) values (:run, 1770131700000, 2, 0, 1, 'i', 'b', 's', 'r', :states, :now)"
            " returning run_id",
            run=run,
            states=b"{}",
            now=NOW,
        )
    query(
        "insert into replay.comparisons (comparison_id, a, b, identical, totals, positions, tickers, divergent, recorded_at)"
        " values (:id, :run, 'live', false, :totals::jsonb, :positions::jsonb, 1, 1, :now) returning comparison_id",
        id=COMPARISON,
        run=str(RUN),
        totals=json.dumps({"a": TOTALS, "b": TOTALS}),
        positions=json.dumps({"equal": 0, "left_only": 0, "right_only": 1, "different": 0}),
        now=NOW,
    )
    query(
        "insert into replay.divergences (comparison_id, ticker, ts, field, value_a, value_b, cause, rule, later_count)"
        " values (:id, :ticker, :now, 'lane', '\"hold\"', '\"exit\"', 'code', 'stop', 0) returning ticker",
        id=COMPARISON,
        ticker=TICKER,
        now=NOW,
    )


def addressed(route: Route, query: Query) -> tuple[str, dict[str, str]]:
    """A path of the route that leads to something on the desk, and the parameters it cannot do without."""
    names = {
        "action_id": lambda: query("select action_id from ledger.v_actions where book_id = 'live' order by seq limit 1"),
        "trade_id": lambda: query(
            "select trade_id from ibkr.v_trades limit 1"
            if route.path.startswith("/api/v1/")
            else "select position_id from ledger.v_positions where book_id = 'live' limit 1"
        ),
        "instrument": lambda: [{"name": TICKER}],
        "account": lambda: [{"id": 1}],
        "run": lambda: [{"id": RUN}],
    }
    path = re.sub(r"\{(\w+)\}", lambda found: str(next(iter(names[found[1]]()[0].values()))), route.path)
    return path, dict(WANTED.get(route.path, {}))


WANTED: Mapping[str, Mapping[str, str]] = {
    "/timed/replay/compare": {"left": str(RUN), "right": "live"},
    "/timed/calendar": {"month": "2026-02"},
    "/timed/snapshot/series": {"date": DAY, "kpi": "Equity"},
    "/timed/snapshot/extremes": {"date": DAY, "kpi": "Equity"},
}
"""What a route cannot be asked without."""


def nowhere(route: Route) -> tuple[str, dict[str, str]]:
    """A path of the route that leads to nothing."""
    return re.sub(r"\{\w+\}", str(UUID(int=1)), route.path), dict(WANTED.get(route.path, {}))
