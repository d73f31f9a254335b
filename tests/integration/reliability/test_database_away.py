"""Check 12 on every function: database unreachable, read-only, pool exhausted – 5xx, nothing acknowledged, recovers alone."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from fillbook.signal.receipt import parse
from tests.integration.reliability.conftest import Query
from tests.support.campaigns import small_or_full
from tests.support.every_function import MANIFEST, NOW, Desk, Door, doors, right_headers, slug_of, usual_body
from tests.support.notify_desk import executed
from tests.support.proxy import Proxy
from tests.support.receipts import text_of
from tests.support.topics import envelope

HANDED_ON = ("trade_tracker POST /timed/admin/", "trade_tracker GET /openapi.json")
"""What is given to its owner, or is made of the code: it asks no database (tests of every route hold what becomes of it)."""
STORING = [
    door for door in doors("oidc", "desk_key", "admin") if door.function.database_roles and not str(door).startswith(HANDED_ON)
]
AWAY_SECONDS, PAUSE_SECONDS = small_or_full((0, 0), (60, 15))
"""For two rounds of all routes at least; between rounds there is time, so that no reader asks too often."""
WRITING = [door for door in STORING if door.route.method == "POST"]


def body_of(door: Door) -> bytes | None:
    """A body that makes the route use the database: a receipt, an event, a schedule."""
    topics = {(one.function, one.path): one.topic for one in MANIFEST.subscriptions}
    match topics.get((door.function.name, door.route.path)):
        case "signals":
            accepted = parse(text_of("R").encode(), now=NOW)
            return json.dumps(envelope(accepted.canonical, received_at=NOW.isoformat())).encode()
        case "events":
            return json.dumps(envelope(executed())).encode()
        case None if door.route.path == "/reconcile":
            return b'{"since":"2026-02-03T00:00:00Z","until":"2026-02-04T00:00:00Z","repair":false}'
        case _:
            return usual_body(door)


def ask(every: Desk, door: Door) -> Any:
    return every.call(door, headers=right_headers(door), data=body_of(door))


def kept(query: Query) -> list[dict[str, Any]]:
    tables = ("signal.receipts", "signal.quarantine", "ledger.fills", "outbox.inbox", "outbox.quarantine", "notify.messages")
    return query("select " + " + ".join(f"(select count(*) from {table})" for table in tables) + " as n")


def test_check_12_an_unreachable_database_acknowledges_nothing_and_the_functions_recover_alone(
    every: Desk, proxy: Proxy, query: Query
) -> None:
    far = every.with_settings(FILLBOOK_DATABASE_URL=proxy.url(every.values["FILLBOOK_DATABASE_URL"]))
    proxy.refuse = True
    begun, rounds = time.monotonic(), 0
    while rounds < 2 or time.monotonic() - begun < AWAY_SECONDS:
        time.sleep(PAUSE_SECONDS if rounds else 0)
        rounds += 1
        for door in STORING:
            answer = ask(far, door)
            assert answer.status_code in (500, 503), (str(door), answer.status_code)
            assert answer.get_data(as_text=True).count("Traceback") == 0
            if answer.status_code == 503:
                assert int(answer.headers["Retry-After"]) >= 1, str(door)
    assert kept(query) == [{"n": 0}]
    proxy.refuse = False
    for door in STORING:
        assert ask(far, door).status_code < 500, str(door)
    assert kept(query)[0]["n"] >= 4


def test_check_12_connections_that_are_cut_under_a_function_are_replaced(every: Desk, proxy: Proxy) -> None:
    far = every.with_settings(FILLBOOK_DATABASE_URL=proxy.url(every.values["FILLBOOK_DATABASE_URL"]))
    for door in STORING:
        assert ask(far, door).status_code < 500, str(door)
        proxy.kill()
        assert ask(far, door).status_code < 500, str(door)


def test_check_12_a_read_only_database_acknowledges_no_write(every: Desk, query: Query, database_url: str) -> None:
    name = database_url.rpartition("/")[2]
    query(f"do $$ begin execute 'alter database {name} set default_transaction_read_only = on'; end $$")
    for door in WRITING:
        answer = ask(every, door)
        if (door.function.name, door.route.path) in {(one.function, one.path) for one in MANIFEST.subscriptions}:
            assert answer.status_code == 503, (str(door), answer.status_code)
        else:
            # a sweep that finds nothing to do has nothing to write, nor has what is asked of a run or trade that is not there
            unknown = answer.status_code == 404 and slug_of(answer.get_json()) in ("run_unknown", "trade_unknown")
            assert unknown or answer.status_code in (200, 500, 503), str(door)
    assert kept(query) == [{"n": 0}]


@pytest.mark.parametrize("door", WRITING, ids=str)
def test_check_12_an_exhausted_pool_says_come_back(every: Desk, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    from fillbook.runtime.errors import Unavailable
    from fillbook.runtime.pool import Pool

    def exhausted(*_: Any, **__: Any) -> Any:
        raise Unavailable("database_busy")

    monkeypatch.setattr(Pool, "borrow", exhausted)
    assert ask(every, door).status_code in (500, 503)
