"""Checks 25 and 26 on every route: whatever a body holds and however long it is, 4xx or quarantine, never 500, never memory."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import tracemalloc
from typing import Any

from fillbook.runtime.pubsub import PUSH_BYTES_MAX
from fillbook.tracker.api import ROUTES
from tests.integration.reliability.conftest import Query
from tests.support.campaigns import small_or_full
from tests.support.every_function import MANIFEST, Desk, Door, doors, right_headers, slug_of
from tests.support.topics import Topics, envelope

SHARES = 3
"""Into so many the values are divided: each parameter is asked with a share, the next one with the next."""
POSTS = [door for door in doors() if door.route.method == "POST"]
PUSHED = {(one.function, one.path) for one in MANIFEST.subscriptions}
MEMORY_MAX = 3 * PUSH_BYTES_MAX  # a push may carry 10 MB as base64; what is read in pieces lives beside the whole

HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a word": b"hello",
    "bytes that are no text": b"\xff\xfe\x00\x01",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "cut in the middle": b'{"message":{"data":"e30',
    "NaN": b'{"ticker":"A","ts":NaN,"price":NaN,"data":NaN}',
    "infinity": b'{"ticker":"A","ts":1770131700000,"price":-Infinity,"task":Infinity}',
    "1e400": b'{"ticker":"A","ts":1770131700000,"price":1e400,"hours":1e400}',
    "a number of ten thousand digits": b'{"ticker":"A","ts":' + b"9" * 10_000 + b"}",
    "NUL": b'{"ticker":"A\\u0000","task":"\\u0000","message":"\\u0000"}',
    "a lone surrogate": b'{"ticker":"\\ud800","task":"\\ud800","message":"\\udfff"}',
    "a negative price": b'{"ticker":"A","ts":1770131700000,"price":-1}',
    "wrong types": b'{"ticker":1,"ts":"x","price":[],"task":{},"message":7,"since":[],"until":{},"repair":"x"}',
    "five thousand levels": b"[" * 5_000 + b"]" * 5_000,
    "five thousand objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "duplicate keys": b'{"ticker":"A","ticker":"B","task":"drain","task":"reconcile","message":{},"message":1}',
    "a hundred thousand items": b"[" + b"{}," * 99_999 + b"{}]",
    "a hundred thousand keys": b"{" + b",".join(b'"k%d":0' % n for n in range(100_000)) + b"}",
    "prototype": b'{"__proto__":{"admin":true},"constructor":{"prototype":{}},"__class__":"x"}',
    "SQL": b'{"ticker":"A\'; drop table ledger.fills; --","task":"\'; select 1; --","since":"\'"}',
}
# the shapes of a refusal that contracts ask for
TOLD = (
    {"ok", "reason", "field"},
    {"success", "error"},
    {"ok", "run_id", "status", "results", "problems"},
)
INSIDE: dict[str, bytes] = {
    **HOSTILE,
    "an event of an unknown kind": json.dumps({"event_type": "unheard_of", "schema_version": 1}).encode(),
    "an event of a later schema": json.dumps({"event_type": "execution_booked", "schema_version": 2}).encode(),
    "an event without data": json.dumps(
        {
            "event_id": "bb8ce33e-3b8f-5e82-9c3f-f6ea91c91fa7",
            "event_type": "execution_booked",
            "schema_version": 1,
            "book_id": "live",
            "aggregate_key": "live/A",
            "aggregate_version": 1,
            "occurred_at": "2026-02-03T15:16:00+00:00",
            "recorded_at": "2026-02-03T15:16:00+00:00",
            "data": {},
        }
    ).encode(),
}


def expected(door: Door) -> set[int]:
    """What a hostile body may be answered with: a push is kept and acknowledged, anything else is refused or ignored.

    What a path names is not there, which may be said before or after what the body is worth.
    """
    if (door.function.name, door.route.path) in PUSHED:
        return {204, 400, 413}
    return {200, 202, 400, 401, 413, 422} | ({404} if "{" in door.route.path else set())


def booked(query: Query) -> list[dict[str, Any]]:
    return query("select (select count(*) from signal.receipts) + (select count(*) from ledger.fills) as n")


def test_check_25_a_hostile_body_is_refused_by_name_on_every_route(every: Desk, query: Query) -> None:
    for what, door in itertools.product(HOSTILE, POSTS):
        answer = every.call(door, headers=right_headers(door), data=HOSTILE[what])
        assert answer.status_code in expected(door), (what, str(door), answer.status_code, answer.get_data()[:200])
        if 400 <= answer.status_code < 500:
            told = answer.get_json()
            assert str(slug_of(told)).replace("_", "").isalnum(), (what, told)
            assert any(set(told) <= names for names in TOLD), (what, "a word, not a text")
    assert booked(query) == [{"n": 0}]


def test_check_25_a_hostile_message_is_quarantined_once_and_acknowledged(every: Desk, query: Query) -> None:
    pushed = [door for door in POSTS if (door.function.name, door.route.path) in PUSHED]
    before = 0
    for what in INSIDE:
        sent = json.dumps(envelope(INSIDE[what])).encode()
        for door in pushed:
            statuses = [every.call(door, headers=right_headers(door), data=sent).status_code for _ in range(2)]
            assert statuses == [204, 204], (what, str(door))
        (kept,) = query("select (select count(*) from signal.quarantine) + (select count(*) from outbox.quarantine) as n")
        assert kept["n"] >= before + 4, f"{what}: signal's three ways and the notifier's"
        before = kept["n"]
    assert booked(query) == [{"n": 0}]


def test_check_25_hostile_parameters_of_the_reading_routes_are_refused_by_name(every: Desk) -> None:
    values = (
        "",
        "\x00",
        "'; drop table ledger.fills; --",
        "9" * 5_000,
        "NaN",
        "%",
        "\ud7ff\u202e",
        "1e400",
        "-1",
        "[]",
        "live,,live",
    )
    own = {route.operation: [one.name for one in route.parameters] for route in ROUTES}
    for door in (door for door in doors("desk_key") if door.route.method == "GET"):
        for number, name in enumerate([*own[f"GET {door.route.path}"], "__class__"]):
            for value in small_or_full(values[number % SHARES :: SHARES], values):
                answer = every.call(door, headers=right_headers(door), query_string={name: value})
                assert answer.status_code in (200, 400, 404, 414), (str(door), name, value, answer.get_data()[:200])
        assert every.call(door, headers=right_headers(door), query_string="limit=1&limit=2").status_code == 400


class Endless(io.RawIOBase):
    """A body of 100 MB that notes how much of it was asked for."""

    def __init__(self) -> None:
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), 100_000_000 - self.given)
        buffer[:size] = b"1" * size
        self.given += size
        return size


def test_check_26_a_body_of_a_hundred_megabytes_is_cut_off_and_costs_no_memory(every: Desk) -> None:
    for door in POSTS:
        every.call(door, headers=right_headers(door), data=b"{}")  # what a first call loads is not the body's cost
        endless = Endless()
        stream = {"wsgi.input": endless, "wsgi.input_terminated": True}
        tracemalloc.start()
        answer = every.call(door, headers=right_headers(door), environ_overrides=stream)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answer.status_code == 413, (str(door), answer.status_code)
        assert endless.given <= PUSH_BYTES_MAX + 1, f"{door} read {endless.given} bytes"
        assert peak < MEMORY_MAX, f"{door} took {peak} bytes"
        lying = {"CONTENT_LENGTH": "100000000"}
        assert every.call(door, headers=right_headers(door), data=b"{}", environ_overrides=lying).status_code == 413, str(door)


def test_check_26_a_gzip_bomb_is_never_unpacked(every: Desk, published: Topics) -> None:
    bomb = gzip.compress(b"[" + b"0," * 10_000_000 + b"0]")
    for door in POSTS:
        every.call(door, headers=right_headers(door), data=b"{}")
        tracemalloc.start()
        answer = every.call(door, headers={**right_headers(door), "Content-Encoding": "gzip"}, data=bomb)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answer.status_code in expected(door) | {415}, (str(door), answer.status_code)
        assert peak < 4 * 1024 * 1024, f"{door} unpacked {peak} bytes"
