"""Writing events, the inbox, the quarantine and the grants, on a real database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from fillbook.outbox import store
from fillbook.outbox.model import partition_of
from fillbook.outbox.service import enqueue, event_rows, quarantine, receive
from fillbook.runtime.db import Call, ConstraintViolated, Database, DatabaseFailed
from fillbook.runtime.sql import encode, statement
from tests.support.outbox import NOON, commit, event, state

Query = Callable[..., list[dict[str, Any]]]

WRITERS = ("ledger_writer", "signal_writer", "ibkr_writer", "mt5_writer", "snapshot_writer", "notify_writer", "outbox_writer")

OTHERS = ("replay_writer", "tracker_writer", "ledger_reader", "outbox_reader", "tracker_reader")


def test_events_are_stored_in_the_order_given_and_keep_every_column(db: Database, query: Query) -> None:
    events = [event(f"live/T{number % 3}", number, traceparent="00-1") for number in range(50, 0, -1)]
    commit(db, events)
    rows = query("select * from outbox.events order by id")
    assert [row["aggregate_version"] for row in rows] == list(range(50, 0, -1))
    for row, sent in zip(rows, event_rows(events), strict=True):
        assert encode({name: row[name] for name in sent}) == encode(sent)
        assert row["available_at"] == row["recorded_at"]
        assert None not in [row[name] for name in sent]


def test_the_database_computes_the_same_partition(query: Query) -> None:
    keys = ["live/AMD", "ibkr:U1/ibkr:265598", "mt5:Å-Server:1/€", ""]
    for key in keys:
        (row,) = query("select get_byte(sha256(convert_to(:key::text, 'UTF8')), 0) % 64 as partition_no", key=key)
        assert row["partition_no"] == partition_of(key)


def test_an_event_commits_with_its_cause_or_not_at_all(db: Database) -> None:
    def fail_after_sending() -> None:
        with db.transaction() as tx:
            enqueue(tx, [event("live/AMD", 1)])
            tx.call(Call("outbox.enqueue", []))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_sending()
    assert state(db) == []


def test_the_same_event_twice_is_refused_by_name(db: Database) -> None:
    commit(db, [event("live/AMD", 1)])
    with pytest.raises(ConstraintViolated) as refusal:
        commit(db, [event("live/AMD", 1)])
    assert refusal.value.constraint == "events_event_id_key"


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"book_id": "replay:r1"}, "events_no_replay"),
        ({"partition_no": 1 + partition_of("live/AMD") % 63}, "events_partition_of_key"),
        ({"payload": '"' + "x" * 65_535 + '"'}, "events_payload_size"),
    ],
)
def test_what_slips_past_the_model_is_refused_by_a_constraint(db: Database, change: dict[str, Any], constraint: str) -> None:
    (row,) = event_rows([event("live/AMD", 1)])
    with pytest.raises(ConstraintViolated) as refusal:
        db.call(Call("outbox.enqueue", [{**row, **change}]))
    assert refusal.value.constraint == constraint


def test_nothing_to_enqueue_is_no_error(db: Database) -> None:
    assert db.call(Call("outbox.enqueue", [])) == (0,)
    with db.transaction() as tx:
        assert tx.query(statement("select outbox.enqueue(null) as stored")) == [{"stored": 0}]


@pytest.mark.parametrize("role", WRITERS)
def test_every_writer_may_add_events(open_database: Any, db: Database, role: str) -> None:
    commit(open_database(role), [event("live/AMD", 1)])
    assert len(state(db)) == 1


@pytest.mark.parametrize("role", OTHERS)
def test_nobody_else_may_add_events(open_database: Any, db: Database, role: str) -> None:
    with pytest.raises(DatabaseFailed, match="42501"):
        commit(open_database(role), [event("live/AMD", 1)])
    assert state(db) == []


@pytest.mark.parametrize("role", [*WRITERS[:-1], *OTHERS])
def test_a_writer_can_neither_read_nor_change_nor_publish_events(open_database: Any, db: Database, role: str) -> None:
    commit(db, [event("live/AMD", 1)])
    own = open_database(role)
    for text in ("select 1 from outbox.events", "update outbox.events set published_at = now()", "delete from outbox.events"):
        with pytest.raises(DatabaseFailed, match="42501"), own.transaction() as tx:
            tx.execute(statement(text))
    with pytest.raises(DatabaseFailed, match="42501"):
        store.claim(own, uuid4(), NOON, partitions=None)


@pytest.mark.parametrize(
    "text",
    [
        "delete from outbox.events", "update outbox.events set payload = '{}'", "update outbox.events set book_id = 'live'",
        "delete from outbox.inbox", "update outbox.inbox set outcome = 'x'", "delete from outbox.partitions",
        "insert into outbox.events (event_id) values (gen_random_uuid())", "delete from outbox.quarantine",
    ],
)  # fmt: skip
def test_the_relay_role_can_not_rewrite_or_delete_history(open_database: Any, text: str) -> None:
    with pytest.raises(DatabaseFailed, match="42501"), open_database("outbox_writer").transaction() as tx:
        tx.execute(statement(text))


def test_readers_see_the_views_only(open_database: Any, db: Database) -> None:
    commit(db, [event("live/AMD", 1)])
    with open_database("outbox_reader").transaction() as tx:
        assert tx.query(statement("select topic, due, parked from outbox.v_backlog")) == [
            {"topic": "events", "due": 1, "parked": 0}
        ]
        assert tx.query(statement("select aggregate_version from outbox.v_events")) == [{"aggregate_version": 1}]
        assert tx.query(statement("select * from outbox.v_quarantined")) == []


def test_an_event_is_new_to_a_consumer_once(open_database: Any) -> None:
    consumer = open_database("outbox_writer")
    identity = uuid4()

    def take(name: str) -> bool:
        with consumer.transaction() as tx:
            return receive(tx, name, identity, NOON)

    assert [take("a"), take("a"), take("b"), take("a")] == [True, False, True, False]


def test_an_event_whose_effect_failed_is_new_again(db: Database) -> None:
    identity = uuid4()

    def fail_after_receiving() -> None:
        with db.transaction() as tx:
            assert receive(tx, "a", identity, NOON)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_receiving()
    with db.transaction() as tx:
        assert receive(tx, "a", identity, NOON)


def test_one_of_many_simultaneous_deliveries_takes_effect(open_database: Any, query: Query) -> None:
    database = open_database("outbox_writer", pool_size=8)
    identity = uuid4()
    taken: list[bool] = []

    def deliver() -> None:
        with database.transaction() as tx:
            taken.append(receive(tx, "a", identity, NOON))

    threads = [threading.Thread(target=deliver) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [False] * 31 + [True]
    assert len(query("select 1 from outbox.inbox")) == 1


def test_a_refused_body_is_kept_once_and_counted(open_database: Any, query: Query) -> None:
    database = open_database("outbox_writer")
    body = b'{"event_type": "unheard_of"}\x00\xff' + b"x" * 70_000
    for step in range(3):
        with database.transaction() as tx:
            quarantine(tx, "discord_notifier", reason="event_type_unknown", body=body, now=NOON + timedelta(seconds=step))
    (row,) = query("select *, octet_length(body) as kept from outbox.quarantine")
    assert (row["count"], row["kept"], row["body_bytes"]) == (3, 65_536, len(body))
    assert (row["first_seen_at"], row["last_seen_at"]) == (NOON, NOON + timedelta(seconds=2))
    (seen,) = query("select * from outbox.v_quarantined")
    assert seen["body_excerpt"].startswith('{"event_type": "unheard_of"}\\000\\377xx')


def test_a_resolved_body_that_comes_again_is_open_again(db: Database, query: Query) -> None:
    with db.transaction() as tx:
        quarantine(tx, "c", reason="r", body=b"x", now=NOON)
    with db.transaction() as tx:
        (row,) = store.quarantined(tx)
        assert store.resolve(tx, NOON, consumer="c", body_hash=row["body_hash"])
        assert not store.resolve(tx, NOON, consumer="c", body_hash=row["body_hash"])
    with db.transaction() as tx:
        assert store.quarantined(tx) == []
        assert len(store.quarantined(tx, with_resolved=True)) == 1
        quarantine(tx, "c", reason="r", body=b"x", now=NOON)
        assert len(store.quarantined(tx, consumer="c")) == 1
