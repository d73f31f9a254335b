"""Events as values: the vocabulary, the envelope, derived ids, and what a writer is refused."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest

from fillbook.outbox.model import EVENT_TYPES, NAMESPACE, PAYLOAD_BYTES_MAX, derived_id, event_id, partition_of
from fillbook.outbox.relay import message_of
from fillbook.outbox.service import event_rows, partitions_of
from fillbook.outbox.store import Row
from fillbook.runtime.errors import Rejected
from infra.manifest import load
from tests.support.outbox import NOON, event

ROOT = Path(__file__).parents[3]
MIGRATION = (ROOT / "infra/database/migrations/0002_outbox.sql").read_text(encoding="utf-8")


def test_the_vocabulary_equals_the_manifest() -> None:
    manifest = {name: (tuple(entry.rooms), entry.topic) for name, entry in load().events.items()}
    assert {name: (kind.rooms, kind.topic) for name, kind in EVENT_TYPES.items()} == manifest


def test_the_namespace_and_a_derived_id_are_those_of_the_ledger_specification() -> None:
    assert uuid5(NAMESPACE_URL, "https://fillbook/ids/1") == NAMESPACE
    action = derived_id("action", "3b2e", 1)
    assert action == uuid5(NAMESPACE, '["action","3b2e",1]')
    assert event_id("live", "execution_booked", action, 2) == uuid5(
        NAMESPACE, f'["event","live","execution_booked","{action}",2]'
    )
    assert event_id(None, "message_dead", "Å", 1) == uuid5(NAMESPACE, '["event",null,"message_dead","Å",1]')


def test_the_envelope_has_the_keys_of_schema_version_1_in_order() -> None:
    assert list(event("live/AMD", 7).envelope()) == [
        "event_id", "event_type", "schema_version", "book_id", "aggregate_key", "aggregate_version", "occurred_at",
        "recorded_at", "traceparent", "data",
    ]  # fmt: skip


def test_a_row_carries_the_envelope_as_it_will_go_out() -> None:
    (row,) = event_rows([event("live/AMD", 7, data={"price": Decimal("130.00"), "lots": [{"quantity": Decimal(10)}]})])
    payload = json.loads(row["payload"])
    assert payload["data"] == {"price": "130.00", "lots": [{"quantity": "10"}]}
    assert payload["recorded_at"] == "2026-02-03T17:00:00.000000+00:00"
    assert row["partition_no"] == partition_of("live/AMD")
    assert row["topic"] == "events"


def test_partitions_are_spread_over_all_sixty_four() -> None:
    assert {partition_of(f"live/T{number}") for number in range(2000)} == set(range(64))


def test_a_request_relays_each_of_its_partitions_once() -> None:
    events = [event("live/AMD", 1), event("live/AMD", 2), event("live/NVDA", 1)]
    assert partitions_of(events) == tuple(sorted({partition_of("live/AMD"), partition_of("live/NVDA")}))


def test_a_payload_of_64_kib_passes_and_one_more_byte_is_refused() -> None:
    bare = len(event_rows([event("k", 1, data={"text": ""})])[0]["payload"])
    room = PAYLOAD_BYTES_MAX - bare
    assert event_rows([event("k", 1, data={"text": "x" * room})])
    for text in ("x" * (room + 1), "é" * (room // 2 + 1)):
        with pytest.raises(Rejected, match="event_too_large"):
            event_rows([event("k", 1, data={"text": text})])


def test_a_replay_book_and_an_unknown_type_are_refused() -> None:
    with pytest.raises(Rejected, match="event_of_replay_book"):
        event_rows([event("k", 1, book_id="replay:r1")])
    with pytest.raises(Rejected, match="event_type_unknown"):
        event_rows([event("k", 1, event_type="execution_guessed")])


@pytest.mark.parametrize("text", ["\x00", "\ud800"])
def test_text_that_the_database_cannot_store_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="text_invalid"):
        event_rows([event("k", 1, data={"ticker": text})])


def test_a_float_never_enters_an_event() -> None:
    with pytest.raises(TypeError):
        event_rows([event("k", 1, data={"price": 1.5})])


def test_the_message_carries_the_attributes_of_the_wire() -> None:
    row = Row(
        id=1, event_id=str(UUID(int=5)), event_type="execution_booked", schema_version=1, aggregate_key="live/AMD",
        aggregate_version="7", partition_no=3, topic="events", payload='{"a":"Å"}', traceparent=None, attempts=0,
    )  # fmt: skip
    message = message_of(row)
    assert message.data == '{"a":"Å"}'.encode()
    assert message.ordering_key == "live/AMD"
    assert message.attributes == {
        "event_id": str(UUID(int=5)), "event_type": "execution_booked", "schema_version": "1", "aggregate_version": "7",
    }  # fmt: skip


def recordset(function: str) -> list[list[str]]:
    """The column names of each recordset in a database function of the migration."""
    body = re.search(rf"create function outbox\.{function}\(.*?\$\$(.*?)\$\$", MIGRATION, re.DOTALL)
    assert body is not None
    found = re.findall(r"jsonb_to_recordset\([^)]*\) as (?:\w+)?\s?\(([^)]*)\)", body[1])
    return [[column.split()[0] for column in columns.split(",")] for columns in found]


def test_the_recordsets_of_the_database_functions_equal_the_rows_we_send() -> None:
    (sent,) = event_rows([event("k", 1)])
    assert recordset("enqueue") == [list(sent)]
    assert recordset("finish") == [["id", "message_id"], ["id", "error"], ["id", "error"]]


def test_the_rows_that_the_relay_reads_equal_its_fields() -> None:
    body = re.search(r"create function outbox\.due_rows\(.*?jsonb_build_object\((.*?)\) order by", MIGRATION, re.DOTALL)
    assert body is not None
    assert sorted(re.findall(r"'(\w+)', d\.", body[1])) == sorted(field.name for field in fields(Row))


def test_times_are_aware() -> None:
    naive: Any = NOON.replace(tzinfo=None)
    with pytest.raises(TypeError):
        event_rows([event("k", 1, recorded_at=naive)])
