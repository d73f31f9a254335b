"""The one look behind an ETag sees every change, of a row however old, and is cheap at size: no table that grows is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any
from uuid import UUID

import pytest

from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from fillbook.tracker import stamps

ROWS = 3_000
BIG = {
    *("attempts", "messages", "sync_runs", "trades", "run_records", "comparisons", "events", "inbox"),
    *("audits", "reconciliations", "chain_anchors", "publications"),
}
EVERYTHING = dict.fromkeys(stamps.ROOMS, True)
ASKED = {"tenant_id": "desk", "books": ["live"], "replays": False, "account_id": None, "trade_id": None} | EVERYTHING
FILL = """
insert into ledger.audits select 'live', now() + n * interval '1 s', 0, '[]', n, 'c' from generate_series(1, :rows) n;
insert into ledger.chain_anchors
select 'live', date '2000-01-01' + n, n, '\\x00', now() + n * interval '1 s' from generate_series(1, :rows) n;
insert into notify.channels (channel_id, kind, secret_name, status_at) values ('executions', 'executions', 'H', now());
insert into notify.attempts (attempt_id, channel_id, subject_keys, operation, started_at, request_hash)
select gen_random_uuid(), 'executions', '{}', 'get', now() + n * interval '1 s', 'h' from generate_series(1, :rows) n;
insert into notify.messages (channel_id, subject_key, subject_kind, group_key, priority, order_at, order_seq, wanted_version,
                             wanted_seq, wanted, wanted_hash, state, pending_since, attempts, maybe_created, is_created_unknown,
                             suspects, blind_resends, is_solo, notes, deaths, created_at)
select 'executions', n::text, 'ops', 'g', 0, now(), n, 1, 1, '{}', 'h', 'pending', now() + n * interval '1 s', 0, false, false,
       '[]', 0, false, '[]', 0, now() from generate_series(1, :rows) n;
insert into outbox.inbox (consumer, event_id, outcome, received_at)
select 'c', gen_random_uuid(), 'done', now() + n * interval '1 s' from generate_series(1, :rows) n;
insert into metrics.publications (run_id, report_date, trigger, started_at, finished_at, status, actor)
select gen_random_uuid(), date '2026-01-01', 'cron', now(), now(), 'unchanged', 'a' from generate_series(1, :rows) n;
insert into replay.comparisons
select gen_random_uuid(), n::text, 'live', true, '{}', '{}', 0, 0, now() + n * interval '1 s' from generate_series(1, :rows) n;
insert into ibkr.sync_runs (id, source, kind, is_backfill, state, requested_from, requested_to, started_at, finished_at,
                            parser_version)
select gen_random_uuid(), 'tws', 'executions', false, 'complete', now(), now() + interval '1 h', now() + n * interval '1 s',
       now(), 1 from generate_series(1, :rows) n
"""


@pytest.fixture
def full(db: Database, open_database: Callable[..., Database]) -> Database:
    """Three thousand rows of each table that grows and can be filled by a line."""
    with db.transaction() as tx:
        for text in FILL.split(";"):
            tx.execute(statement(text), **({"rows": ROWS} if ":rows" in text else {}))
    with db.transaction() as tx:
        tx.execute(statement("analyze"))
    return open_database("trade_tracker")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def test_the_look_reads_a_handful_of_rows_of_each_table_through_an_index(full: Database) -> None:
    look = stamps.QUERIES["stamps"]
    with full.transaction(read_only=True, tenant_id="desk") as tx:
        (row,) = tx.query(statement(f"explain (analyze, format json) {look.text}"), **ASKED)
    ((told,),) = row.values()
    found = [node for node in nodes(told["Plan"]) if "Relation Name" in node]
    read = {node["Relation Name"]: (node["Node Type"], node["Actual Rows"] * node["Actual Loops"]) for node in found}
    assert {"changes", "inbox", "events"} <= set(read)
    assert set(read) & BIG == {"inbox", "events"}
    for table in BIG & set(read):
        kind, rows = read[table]
        assert rows <= 100 * 1.01, (table, kind, rows)
        assert kind != "Seq Scan" or rows <= 50, (table, kind, rows)
    assert sum(node["Node Type"] == "Sort" and node["Actual Rows"] > 1_000 for node in nodes(told["Plan"])) == 0


def stamps_of(db: Database) -> dict[str, Any]:
    """What each room says of itself."""
    with db.transaction(read_only=True, tenant_id="desk") as tx:
        (row,) = tx.query(stamps.QUERIES["stamps"], **ASKED)
    return row


OLD_ROWS = {
    "ledger": "update ledger.audits set exit = 1 where ran_at = (select min(ran_at) from ledger.audits)",
    "notify": "update notify.messages set state = 'removed' where subject_key = '1'",
    "metrics": "update metrics.publications set actor = 'b' where seq = (select min(seq) from metrics.publications)",
    "replay": "update replay.comparisons set tickers = 1 where a = '1'",
    "ibkr": "update ibkr.sync_runs set state = 'failed' where started_at = (select min(started_at) from ibkr.sync_runs)",
}
"""A change in place of the oldest row of three thousand."""


def test_a_change_in_place_of_the_oldest_row_changes_the_stamp_of_its_room_alone(full: Database, db: Database) -> None:
    for room, text in OLD_ROWS.items():
        before = stamps_of(full)
        with db.transaction() as tx:
            assert tx.execute(statement(text)) == 1, room
        after = stamps_of(full)
        assert {name for name in before if before[name] != after[name]} == {room}


def test_writers_at_once_wait_for_nobody_and_each_is_seen_when_it_commits(
    open_database: Callable[..., Database], db: Database
) -> None:
    """The one that began first commits last; and nothing is seen of what is taken back."""
    reader, others = open_database("trade_tracker"), [open_database() for _ in range(9)]  # one more than a board begins with
    insert = statement("insert into replay.comparisons select gen_random_uuid(), :name, 'live', true, '{}', '{}', 0, 0, now()")
    seen = [stamps_of(reader)["replay"]]
    with ExitStack() as stack:
        open_ones = [stack.enter_context(other.transaction()) for other in others]
        for number, tx in enumerate(open_ones):
            tx.execute(insert, name=str(number))
        with db.transaction() as tx:
            tx.execute(insert, name="in between")
        seen.append(stamps_of(reader)["replay"])
    seen.append(stamps_of(reader)["replay"])
    with suppress(ZeroDivisionError), db.transaction() as tx:
        tx.execute(insert, name="taken back")
        raise ZeroDivisionError
    assert len(set(seen)) == 3
    assert stamps_of(reader)["replay"] == seen[-1]
    with db.transaction(read_only=True) as tx:
        assert tx.query(statement("select count(*) as n from replay.changes"))[0]["n"] in (10, 11)


def test_a_room_that_is_not_asked_for_is_not_looked_at(full: Database) -> None:
    with full.transaction(read_only=True, tenant_id="desk") as tx:
        (row,) = tx.query(stamps.QUERIES["stamps"], **ASKED | dict.fromkeys(stamps.ROOMS, False) | {"notify": True})
    assert {name for name, value in row.items() if value is not None} == {"notify"}


def test_an_account_of_the_path_alone_is_looked_at(full: Database) -> None:
    with full.transaction(read_only=True, tenant_id="desk") as tx:
        (row,) = tx.query(stamps.QUERIES["stamps"], **ASKED | {"account_id": UUID(int=1)})
    assert row["mt5"] == [0, None]
