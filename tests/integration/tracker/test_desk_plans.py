"""Pages of notes, messages, runs and moves read about what they show, whatever the size of what they are cut from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fillbook.ledger import service
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from fillbook.tracker import activity, annotated, lanes, messages, replays
from infra.local.postgres import PostgresServer
from tests.support.campaigns import small_or_full
from tests.support.ledger import make_book
from tests.support.plans import rows_read
from tests.support.servers import TEMPLATE, database_config

ROWS = small_or_full(4_000, 100_000)
LIMIT = 51
BEGIN = datetime(2026, 2, 2, 15, tzinfo=UTC)
NOBODY = "80000000-0000-0000-0000-000000000000"
MIDDLE = BEGIN + timedelta(seconds=ROWS // 2)
FILL = f"""
insert into tracker.annotations (tenant_id, kind, subject_id, tags, updated_at, updated_by)
select 'desk', 'mt5_trade', md5(n::text)::uuid, array['t' || n % 10], :begin::timestamptz + n * interval '1 second', 'x'
  from generate_series(1, {ROWS}) n;
insert into notify.channels (channel_id, kind, webhook_id, secret_name, status, status_at, digest)
values ('executions', 'executions', '1', 's', 'active', :begin::timestamptz, false);
insert into notify.messages (channel_id, subject_key, subject_kind, book_id, action_id, group_key, priority, order_at, order_seq,
                             wanted_version, wanted_seq, wanted, wanted_hash, state, attempts, maybe_created, is_created_unknown,
                             suspects, blind_resends, is_solo, notes, deaths, created_at, message_id, posted_at, embed_index)
select 'executions', 'live/' || n, 'execution', 'live', md5(n::text)::uuid, 'g', 1, :begin::timestamptz + n * interval '1 second',
       n, 1, n, '{{}}', 'h', 'posted', 1, false, false, '[]', 0, false, '[]', 0, now(), n::text,
       :begin::timestamptz + n * interval '1 second', 0
  from generate_series(1, {ROWS}) n;
insert into notify.attempts (attempt_id, channel_id, subject_keys, operation, started_at, request_hash)
select md5(n::text)::uuid, 'executions', array['live/' || n], 'create', :begin::timestamptz + n * interval '1 second', 'h'
  from generate_series(1, {ROWS}) n;
insert into notify.attempt_subjects (channel_id, subject_key, attempt_id)
select m.channel_id, m.subject_key, m.action_id from notify.messages m where m.posted_at > :begin::timestamptz;
insert into signal.lane_history (book_id, ticker, seq, lane, rule, reason, badges, blocks, price, entered_at, receipt_id,
                                 action_ids)
select 'live', 'T' || n % 100, n, 'watch', 'D8', 'watch', '{{}}', '[]', 1, :begin::timestamptz + n * interval '1 second',
       md5(n::text)::uuid, '{{}}'
  from generate_series(1, {ROWS}) n;
insert into replay.run_records (run_id, name, kind, book_id, date_from, date_to, script_version, session, inputs, start_from,
                                facts, profile, config, config_digest, code_version, status, created_by, created_at)
select md5(n::text)::uuid, 'n' || n, 'day', 'replay:' || md5(n::text)::uuid, '2026-02-02', '2026-02-02', '*', 'regular', 'all',
       'empty', 'own', 'p', '{{}}', 'd', 'c', 'done', 'x', :begin::timestamptz + n * interval '1 second'
  from generate_series(1, {ROWS}) n"""
FILLED = (
    "tracker.annotations",
    "notify.messages",
    "notify.attempts",
    "notify.attempt_subjects",
    "signal.lane_history",
    "replay.run_records",
    "ledger.books",
)
WHEN: dict[str, Any] = {"since": None, "until": None}
TOLD: dict[str, Any] = {**WHEN, "books": ["live"], "action_id": None, "position_id": None, "limit": LIMIT}


@pytest.fixture(scope="module")
def reader(postgres: PostgresServer) -> Iterator[Database]:
    """Thousands of everything that is listed, with statistics, as the read API sees it."""
    name = "desk_plans"
    postgres.run("psql", "-qc", f"create database {name} template {TEMPLATE}")
    url = postgres.url(database=name)
    owner = Database.open(database_config(url), application_name="tests", statement_timeout_seconds=120)
    with owner.transaction() as tx:
        service.open_book(tx, make_book("live"), BEGIN)
        for text in FILL.split(";\n"):
            tx.execute(statement(text), begin=BEGIN)
        for table in FILLED:
            tx.execute(statement(f"analyze {table}"))
    db = Database.open(database_config(f"{url}?role=tracker_reader"), application_name="tests", statement_timeout_seconds=120)
    yield db
    db.close()
    owner.close()
    postgres.run("psql", "-qc", f"drop database {name} with (force)")


def read(db: Database, found: Any, **params: object) -> int:
    with db.transaction(read_only=True, tenant_id="desk") as tx:
        return rows_read(tx, found, **params)


@pytest.mark.parametrize("after", [None, MIDDLE])
def test_a_page_of_notes_reads_its_own_rows(reader: Database, after: datetime | None) -> None:
    asked = {
        **dict.fromkeys(("kind", "tag", "is_detached", "books")), "tenant_id": "desk", "patterns": ["^.*$"], "after_at": after,
        "after_id": None if after is None else NOBODY, "limit": LIMIT,
    }  # fmt: skip
    assert read(reader, annotated.QUERIES["notes"], **asked) <= 3 * LIMIT
    assert read(reader, annotated.QUERIES["notes"], **asked | {"tag": "t3"}) <= 12 * LIMIT


@pytest.mark.parametrize("after", [None, MIDDLE])
def test_a_page_of_messages_and_of_the_log_reads_its_own_rows(reader: Database, after: datetime | None) -> None:
    place = {"after_at": after, "after_key": None if after is None else "live/1", "after_channel": None if after is None else "x"}
    asked = {**TOLD, **place, "channels": list(messages.CHANNELS), "state": None, "kind": None}
    assert read(reader, messages.QUERIES["messages"], **asked) <= 4 * LIMIT
    log = {**TOLD, **place, "after_id": None if after is None else NOBODY, "channel": None, "operation": None}
    first = log | dict.fromkeys(place) | {"after_id": None, "subject": None, "channels": list(messages.CHANNELS)}
    about = first | {"action_id": "c4ca4238-a0b9-2382-0dcc-509a6f75849b"}
    by_time = {name: value for name, value in log.items() if name not in ("action_id", "position_id")}
    assert read(reader, messages.QUERIES["deliveries"], **by_time) <= 8 * LIMIT
    assert read(reader, messages.QUERIES["deliveries_about"], **about) <= 40
    assert read(reader, messages.QUERIES["deliveries_about"], **first | {"subject": "live/7"}) <= 40
    assert read(reader, messages.QUERIES["dead_groups"], books=["live"]) <= 10


@pytest.mark.parametrize("after", [None, MIDDLE])
def test_a_page_of_moves_and_of_runs_reads_its_own_rows(reader: Database, after: datetime | None) -> None:
    place = {"after_at": after, "after_id": None if after is None else NOBODY}
    moves = {**WHEN, **place, "after_book": None if after is None else "live", "books": ["live"], "ticker": None, "limit": LIMIT}
    assert read(reader, lanes.QUERIES["moves"], **moves) <= 4 * LIMIT
    runs = {**place, "tenant_id": "desk", "patterns": ["^replay:.*$"], "run": None, "status": None, "date": None, "limit": LIMIT}
    assert read(reader, replays.QUERIES["runs"], **runs) <= 8 * LIMIT


@pytest.mark.parametrize("after", [None, MIDDLE])
def test_what_happened_is_cut_from_each_kind_where_the_page_begins(reader: Database, after: datetime | None) -> None:
    """Executions and corrections stand in ``test_figure_plans``."""
    later = BEGIN + timedelta(days=400)
    given = {
        "books": ["live"], "since": BEGIN - timedelta(days=1), "until": later, "known_as_of": later, "ticker": None,
        "after_at": after or later, "after_id": NOBODY, "limit": LIMIT,
    }  # fmt: skip
    for kind in ("lane_move", "message", "snapshot", "sync"):
        asked = activity.QUERIES[kind]
        assert read(reader, asked, **{name: given[name] for name in asked.parameters}) <= 8 * LIMIT, kind


def test_words_beside_a_page_are_looked_up(reader: Database) -> None:
    with reader.transaction(read_only=True, tenant_id="desk") as tx:
        ids = [row["id"] for row in tx.query(statement(f"select md5(n::text)::uuid as id from generate_series(1, {LIMIT}) n"))]
    assert read(reader, annotated.QUERIES["linked_words"], tenant_id="desk", ids=ids) <= 2 * LIMIT
    assert read(reader, annotated.QUERIES["trade_words"], tenant_id="desk", ids=ids) <= 4 * LIMIT
