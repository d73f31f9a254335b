"""What holds for every route, whichever they are: who is let in, what a stranger is sent, what changes an ETag, what stays out of
logs, and what still works when something else does not. Made from the routes: a new one is held to it without a word here.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

from fillbook.ledger import service
from fillbook.ledger.model import Side
from fillbook.mt5 import ids
from fillbook.runtime.db import Database
from fillbook.tracker.api import ROUTES
from fillbook.tracker.parameter import names
from fillbook.tracker.route import Route, Source
from tests.support import tracker_world as world
from tests.support.ibkr import exec_id, tws
from tests.support.ibkr_world import World
from tests.support.mt5_linked import SERVER, LinkedDesk
from tests.support.signal_live import LiveDesk
from tests.support.tracker_desk import entry, fill, published

Query = Callable[..., list[dict[str, Any]]]
READ, ADMIN, OLD, ELSEWHERE = "canary-read-key-Yt5w", "canary-admin-key-Pq2z", "canary-old-key-Mk8d", "canary-other-key-Vc3n"
MINE = ["live", "ibkr:*", "mt5:*", f"replay:{world.RUN}"]
SECRETS = (READ, ADMIN, OLD, ELSEWHERE)
SHOWN = (world.TICKER, "U1234567", str(world.LOGIN), "Alpha Markets", world.CANARY, str(world.RUN))
"""What the desk holds, as it would be found in an answer."""
BODIES: Mapping[str, Mapping[str, Any]] = {
    "POST /timed/ledger/trades/{trade_id}/notes": {"notes": world.CANARY, "tags": ["a"]},
    "PATCH /timed/ledger/trades/{trade_id}/notes": {"tags": ["b"]},
    "POST /api/v1/trades/{trade_id}/notes": {"notes": world.CANARY},
    "PATCH /api/v1/trades/{trade_id}/notes": {"tags": ["b"]},
}
"""What an admin sends; the orders to other functions are sent as they stand here: empty, and refused."""
NEEDS_NO_DATABASE = {"GET /openapi.json"}
CLOSED = "http://127.0.0.1:9"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> dict[str, str]:
    clock = tmp_path / "clock.json"
    clock.write_text(json.dumps({"desk_at": world.NOW.isoformat(), "real_at": 0, "speed": 1.0, "paused": True}))
    keys = [
        entry("reader", READ, books=MINE),
        entry("admin", ADMIN, books=MINE, scopes=["admin"]),
        entry("old", OLD, books=MINE, expires_at="2026-01-01T00:00:00Z"),
        entry("elsewhere", ELSEWHERE, books=["ibkr:U0000000"]),
    ]
    return {
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=trade_tracker",
        "FILLBOOK_DESK_CLOCK": str(clock),
        "DESK_KEYS": json.dumps(keys),
    }


@pytest.fixture
def client(function_app: Callable[..., FlaskClient], settings: dict[str, str]) -> FlaskClient:
    return function_app("trade_tracker", settings)


@pytest.fixture
def desk(open_database: Any, db: Database, query: Query) -> None:
    world.filled(open_database, db, query)


def ask(client: FlaskClient, route: Route, query: Query | None, holder: str | None, **more: str) -> Any:
    """The route's question as its right reader would put it, with the key of ``holder``."""
    path, wanted = world.addressed(route, query) if query is not None else world.nowhere(route)
    headers = {} if holder is None else {"Authorization": f"Bearer {holder}"}
    headers |= {"If-Match": "1"} if "If-Match" in names(route.headers) else {}
    body = None if route.method == "GET" else json.dumps(BODIES.get(route.operation, {}))
    return client.open(path, method=route.method, query_string=wanted | more, headers=headers, data=body)


@pytest.mark.usefixtures("desk")
def test_each_route_lets_in_whom_it_should_and_tells_nobody_else_a_byte(client: FlaskClient, query: Query) -> None:
    for route in ROUTES:
        for key in (None, "no-key-at-all", OLD):
            refused = ask(client, route, query, key)
            assert (refused.status_code, refused.get_json()["error"]["code"]) == (401, "unauthorized"), route.operation
            assert len(refused.data) < 200, route.operation
        if route.scope == "admin":
            assert ask(client, route, query, READ).status_code == 403, route.operation
        else:
            assert ask(client, route, query, READ).status_code == route.status, route.operation
        elsewhere = ask(client, route, query, ELSEWHERE)
        assert elsewhere.status_code in ({403} if route.scope == "admin" else {200, 404}), route.operation
        assert not [word for word in SHOWN if word in elsewhere.get_data(as_text=True)], (route.operation, elsewhere.data)
        if "books" in names(route.parameters) and route.scope != "admin":
            assert ask(client, route, query, ELSEWHERE, books="live").status_code == 404, route.operation
            assert ask(client, route, query, READ, books=f"replay:{world.OTHER_RUN}").status_code == 404, route.operation


@pytest.mark.usefixtures("desk")
def test_what_admins_may_do_is_done_or_refused_as_announced(client: FlaskClient, query: Query) -> None:
    told = {route.operation: ask(client, route, query, ADMIN).status_code for route in ROUTES if route.scope == "admin"}
    assert {told[operation] for operation in BODIES} == {200, 201}
    assert {status for operation, status in told.items() if operation not in BODIES} <= {400, 502}


@pytest.mark.usefixtures("desk")
def test_no_key_and_no_payload_stands_in_a_log_a_header_or_a_refusal(
    client: FlaskClient, query: Query, capsys: pytest.CaptureFixture[str]
) -> None:
    for route in ROUTES:
        shown = [ask(client, route, query, key) for key in (None, OLD, READ, ADMIN)]
        shown += [ask(client, route, query, key, key=READ, authorization=ADMIN) for key in (None, READ)]
        assert shown[-1].status_code in (400, 403), route.operation
        for answer in shown:
            headers = str(answer.headers)
            assert not [word for word in (*SECRETS, *SHOWN) if word in headers], route.operation
            if answer.status_code >= 400:
                assert not [word for word in (*SECRETS, *SHOWN) if word in answer.get_data(as_text=True)], route.operation
    logged = "".join(capsys.readouterr())
    assert "request_rejected" in logged
    assert not [word for word in (*SECRETS, world.CANARY) if word in logged]


def changes(open_database: Any, db: Database, query: Query, client: FlaskClient) -> dict[Source, Callable[[], object]]:
    """Something that happens in each room."""
    live = LiveDesk(open_database("signal_worker"), query)
    linked = LinkedDesk(open_database("mt5_writer"), open_database("desk_operator"), query)
    linked.runs = 100  # others than those of the desk
    account = ids.account_id("desk", SERVER, world.LOGIN)
    words = next(route for route in ROUTES if route.operation in BODIES)

    def booked() -> None:
        with db.transaction() as tx:
            service.book_fills(tx, "live", [fill("ZZTB", 90, Side.BUY, "1", "50")], world.NOW)

    return {
        Source.LEDGER: booked,
        Source.MARKS: lambda: live.send(minutes=25),
        Source.SIGNAL: lambda: live.send(minutes=30),
        Source.IBKR: lambda: World(db, query).socket(tws(exec_id(2))),
        Source.MT5: lambda: linked.sync(account, world.NOW - timedelta(minutes=1)),
        Source.NOTIFY: lambda: world.requested(query, UUID(int=99)),
        Source.METRICS: lambda: published(query, "2026-02-04"),
        Source.REPLAY: lambda: query("update replay.run_records set rows = 3 returning run_id"),
        Source.OUTBOX: lambda: query("update outbox.events set attempts = 1 returning id"),
        Source.ANNOTATIONS: lambda: ask(client, words, query, ADMIN),
    }


@pytest.mark.usefixtures("desk")
def test_an_answer_is_sent_again_when_a_source_of_it_changed_and_only_then(
    client: FlaskClient, open_database: Any, db: Database, query: Query, settings: dict[str, str]
) -> None:
    tagged = [route for route in ROUTES if route.sources]
    places = {route.operation: world.addressed(route, query) for route in tagged}

    def status(route: Route, tag: str | None, key: str = READ) -> tuple[int, str]:
        path, wanted = places[route.operation]
        known = {} if tag is None else {"If-None-Match": tag}
        answer = client.get(path, query_string=wanted, headers={"Authorization": f"Bearer {key}"} | known)
        assert answer.headers["Cache-Control"] == "private, no-cache", (route.operation, answer.data)
        assert {"Authorization", "Accept-Encoding"} <= set(answer.headers["Vary"].split(", "))
        return answer.status_code, answer.headers["ETag"]

    def tags() -> dict[str, str]:
        return {route.operation: status(route, None)[1] for route in tagged}

    held = tags()
    assert len(set(held.values())) == len(tagged)
    assert all(tag.startswith('W/"') for tag in held.values())
    for route in tagged:
        assert status(route, held[route.operation]) == (304, held[route.operation]), route.operation
        assert status(route, held[route.operation], ADMIN)[0] == 200, "another key sees another answer"
    for source, happens in changes(open_database, db, query, client).items():
        happens()
        for route in tagged:
            is_elsewhere = source is Source.MT5 and "{" in route.path  # an account or trade of IBKR: no linked one changes it
            if source in route.sources and not is_elsewhere:
                assert status(route, held[route.operation])[0] == 200, (source, route.operation)
        held = tags()
    clock = json.loads(Path(settings["FILLBOOK_DESK_CLOCK"]).read_text())
    later = clock | {"desk_at": (world.NOW + timedelta(minutes=1)).isoformat()}
    Path(settings["FILLBOOK_DESK_CLOCK"]).write_text(json.dumps(later))
    for route in tagged:
        assert status(route, held[route.operation])[0] == (200 if Source.MINUTE in route.sources else 304), route.operation


def test_without_a_database_only_what_needs_it_is_away_and_says_when_to_come_back(
    function_app: Callable[..., FlaskClient], settings: dict[str, str]
) -> None:
    client = function_app("trade_tracker", settings | {"FILLBOOK_DATABASE_URL": "postgresql://desk@127.0.0.1:9/desk"})
    for route in ROUTES:
        answer = ask(client, route, None, ADMIN)
        if answer.status_code != 503:
            # refused for what was asked, or answered without the database
            assert answer.status_code in {200, 400, 404}, route.operation
            assert answer.status_code != 200 or route.operation in NEEDS_NO_DATABASE, route.operation
        else:
            assert int(answer.headers["Retry-After"]) > 0
    assert client.get("/robots.txt").status_code == 200


@pytest.mark.usefixtures("desk")
def test_owners_that_are_away_are_named_and_nothing_else_is_touched(
    function_app: Callable[..., FlaskClient], settings: dict[str, str], query: Query
) -> None:
    urls = {f"{owner}_URL": CLOSED for owner in ("ACCOUNT_SYNC", "DISCORD_NOTIFIER", "EXECUTION_SYNC", "REPLAY_WORKER")}
    client = function_app("trade_tracker", settings | urls)
    orders = {
        "/timed/admin/replay-runs": ({"date": world.DAY}, "replay_worker"),
        "/timed/admin/replay-compare": ({"left": str(world.RUN), "right": "live"}, "replay_worker"),
        "/timed/admin/sync": ({"account_id": "1"}, "execution_sync"),
        "/timed/admin/reconciliation": ({"since": "2026-03-01", "until": "2026-03-02", "repair": False}, "discord_notifier"),
    }
    assert {route.path for route in ROUTES if route.asks == "admin"} == set(orders)
    for path, (body, owner) in orders.items():
        answer = client.post(path, json=body, headers={"Authorization": f"Bearer {ADMIN}"})
        assert answer.status_code == 502, (path, answer.data)
        assert owner in answer.get_json()["error"]["message"].replace(" ", "_")
    for route in ROUTES:
        if route.method == "GET":
            assert ask(client, route, query, READ).status_code == 200, route.operation


def test_keys_wait_their_turn_and_addresses_that_guess_are_not_listened_to(
    function_app: Callable[..., FlaskClient], settings: dict[str, str]
) -> None:
    client = function_app("trade_tracker", settings | {"DESK_RATE_FACTOR": "1", "DESK_FAILED_KEYS_MAX": "10"})

    def asked(key: str | None, path: str = "/openapi.json", **headers: str) -> Any:
        return client.get(path, headers=({} if key is None else {"Authorization": f"Bearer {key}"}) | headers)

    told = [asked(READ, "/timed/export/trades.csv?what=1") for _ in range(8)]
    assert [one.status_code for one in told[:6]] == [400] * 6
    assert told[-1].status_code == 429
    assert 0 < int(told[-1].headers["Retry-After"]) <= 10
    assert asked(READ).status_code == 200, "a dear answer is counted by itself"
    assert asked(ADMIN).status_code == 200, "each key has its own"
    assert [asked(None).status_code for _ in range(12)] == [401] * 12, "no key is no guess"
    assert [asked(f"guess-{number}").status_code for number in range(11)] == [401] * 10 + [429]
    blocked = asked(ADMIN)
    assert (blocked.status_code, blocked.get_json()["error"]["code"]) == (429, "too_many_requests")
    assert 0 < int(blocked.headers["Retry-After"]) <= 300
    # the address is what the front wrote down last, whatever a caller claims before it
    elsewhere = {"X-Forwarded-For": "127.0.0.1, 203.0.113.9"}
    assert asked(ADMIN, **elsewhere).status_code == 200
    assert asked(ADMIN, **{"X-Forwarded-For": "203.0.113.9, 127.0.0.1"}).status_code == 429


def test_what_is_asked_wrongly_is_refused_in_this_apis_words(client: FlaskClient) -> None:
    key = {"Authorization": f"Bearer {READ}"}
    wrong = client.delete("/openapi.json", headers=key)
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET")
    assert client.get("/timed/nothing", headers=key).status_code == 404
    assert client.get(f"/openapi.json?{'x' * 3_000}", headers=key).status_code == 414
    assert "Strict-Transport-Security" not in client.get("/openapi.json", headers=key).headers
    away = client.get("/openapi.json", headers=key, base_url="https://desk.example")
    assert away.headers["Strict-Transport-Security"].startswith("max-age=")
    packed = client.get("/openapi.json", headers=key | {"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.data) * 4 < len(away.data)
    assert json.loads(gzip.decompress(packed.data)) == away.get_json()
    assert client.get("/openapi.json", headers=key | {"Accept-Encoding": "gzip;q=0, br"}).data == away.data
