"""Asking the fake MT5 service: windows and pages, headers and limits, and what it remembers of its callers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from fillbook.runtime.clock import FixedClock
from infra.local import mt5_fleet
from infra.local.mt5 import Mt5Fake
from tests.support.mt5_wire import NOW, SERVER, Caller, busy, without


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def fake(clock: FixedClock) -> Iterator[Mt5Fake]:
    with Mt5Fake(clock=clock) as served:
        served.add_server(SERVER)
        yield served


@pytest.fixture
def caller(fake: Mt5Fake) -> Iterator[Caller]:
    with Caller(fake) as made:
        yield made


# --- paging -----------------------------------------------------------------------------------------------------------


def crowded(fake: Mt5Fake, deals: int = 2_350) -> None:
    account = fake.add_account(id="svc-1", server=SERVER)
    mt5_fleet.churn(account.book, NOW - timedelta(days=10), deals)  # type: ignore[arg-type]


def test_2350_deals_come_in_three_pages_each_once_in_order(fake: Mt5Fake, caller: Caller) -> None:
    crowded(fake)
    pages = list(caller.pages("from_msc=0&to_msc=9999999999999&limit=1000"))
    assert [len(page["deals"]) for page in pages] == [1000, 1000, 350]
    assert {(page["total"], page["complete"]) for page in pages} == {(2350, True)}
    assert [page["next_cursor"] is None for page in pages] == [False, False, True]
    keys = [(int(row["time_msc"]), int(row["ticket"])) for page in pages for row in page["deals"]]
    assert keys == sorted(set(keys))
    again = list(caller.pages("from_msc=0&to_msc=9999999999999&limit=1000"))
    assert without(again, {"as_of"}) == without(pages, {"as_of"})


def test_the_three_endpoint_service_pages_by_offset(fake: Mt5Fake, caller: Caller) -> None:
    crowded(fake)
    query = "from_date=2025-10-01&to_date=2025-11-12&limit=1000&offset="
    pages = [caller.get("history", f"{query}{offset}") for offset in (0, 1000, 2000)]
    assert [(len(page["deals"]), page["pagination"]["has_more"]) for page in pages] == [(1000, True), (1000, True), (350, False)]
    assert len({row["ticket"] for page in pages for row in page["deals"]}) == 2350 == pages[0]["total"]


def test_a_window_includes_its_start_and_excludes_its_end(fake: Mt5Fake, caller: Caller) -> None:
    crowded(fake, 3)
    rows = caller.get("deals", "from_msc=0&to_msc=9999999999999")["deals"]
    begins, ends = rows[1]["time_msc"], rows[2]["time_msc"]
    inside = caller.get("deals", f"from_msc={begins}&to_msc={ends}")["deals"]
    assert [row["ticket"] for row in inside] == [rows[1]["ticket"]]


def test_a_position_has_its_whole_life_whatever_the_dates(fake: Mt5Fake, caller: Caller) -> None:
    busy(fake)
    told = caller.get("deals", "position_id=610000")
    assert ([row["ticket"] for row in told["deals"]], told["total"], told["next_cursor"]) == (["810001", "810002"], 2, None)
    assert "from_msc" not in told


def test_a_deal_that_comes_between_two_pages_moves_no_row_and_changes_the_total(fake: Mt5Fake, caller: Caller) -> None:
    crowded(fake, 5)
    query = "from_msc=0&to_msc=9999999999999&limit=3"
    first = caller.get("deals", query)
    fake.operate("svc-1", "charge", amount=-1, dated_at=NOW - timedelta(days=20))
    second = caller.get("deals", f"{query}&cursor={first['next_cursor']}")
    tickets = [row["ticket"] for row in [*first["deals"], *second["deals"]]]
    assert (len(set(tickets)), len(tickets)) == (5, 5)
    assert (first["total"], second["total"]) == (5, 6)


REFUSED = [
    ("deals", "from_msc=0", "INVALID_WINDOW"),
    ("deals", "from_msc=2&to_msc=1", "INVALID_WINDOW"),
    ("deals", "from_msc=x&to_msc=1", "INVALID_WINDOW"),
    ("deals", "from_msc=0&to_msc=1&limit=1001", "INVALID_LIMIT"),
    ("deals", "from_msc=0&to_msc=1&limit=0", "INVALID_LIMIT"),
    ("deals", "from_msc=0&to_msc=1&cursor=abc", "INVALID_CURSOR"),
    ("deals", "position_id=x", "INVALID_POSITION"),
    ("symbols", "", "INVALID_NAMES"),
    ("history", "from_date=2026-01-01", "INVALID_DATE"),
    ("history", "from_date=2026-01-01T00:00:00&to_date=2026-01-02", "INVALID_DATE"),
    ("history", "from_date=2026-01-02&to_date=2026-01-01T00:00:00Z", "INVALID_WINDOW"),
    ("history", "from_date=2026-01-01&to_date=2026-01-02&limit=1001", "INVALID_LIMIT"),
    ("history", "from_date=2026-01-01&to_date=2026-01-02&offset=-1", "INVALID_WINDOW"),
]


@pytest.mark.parametrize(("endpoint", "query", "code"), REFUSED)
def test_arguments_nobody_documented_are_refused(fake: Mt5Fake, caller: Caller, endpoint: str, query: str, code: str) -> None:
    busy(fake)
    answer = caller.ask(endpoint, query)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_a_cursor_is_good_for_its_window_until_all_expire(fake: Mt5Fake, caller: Caller) -> None:
    crowded(fake, 5)
    query = "from_msc=0&to_msc=9999999999999&limit=3"
    cursor = caller.get("deals", query)["next_cursor"]
    assert caller.ask("deals", f"from_msc=1&to_msc=9999999999999&limit=3&cursor={cursor}").status_code == 400
    assert len(caller.get("deals", f"{query}&cursor={cursor}")["deals"]) == 2
    fake.expire_cursors()
    answer = caller.ask("deals", f"{query}&cursor={cursor}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_CURSOR")


# --- what it asks of a caller -----------------------------------------------------------------------------------------

HEADERS: list[tuple[Mapping[str, str | None], int]] = [
    ({"X-API-Key": None}, 401),
    ({"X-API-Key": "another"}, 401),
    ({"X-Account-Scope": None}, 403),
    ({"X-Account-Scope": "svc-2"}, 403),
    ({"X-Request-Id": None}, 400),
    ({"X-Request-Id": "x" * 129}, 400),
]


@pytest.mark.parametrize(("headers", "status"), HEADERS)
def test_a_call_without_its_headers_is_refused(
    fake: Mt5Fake, caller: Caller, headers: Mapping[str, str | None], status: int
) -> None:
    busy(fake)
    for endpoint in ("snapshot", "info"):
        assert caller.ask(endpoint, headers=headers).status_code == status


def test_a_wrong_key_is_refused_without_a_code(fake: Mt5Fake, caller: Caller) -> None:
    assert caller.ask("health", headers={"X-API-Key": "no"}).json() == {"detail": "missing or wrong API key"}


def test_an_account_is_known_at_its_instance_alone(fake: Mt5Fake, caller: Caller) -> None:
    busy(fake)
    other = fake.add_instance("second", api_key="another key")
    fake.add_account(id="elsewhere", server=SERVER, instance="second")
    assert caller.ask("snapshot", account="elsewhere").status_code == 404
    assert caller.ask("snapshot", account="nobody").status_code == 404
    key = {"X-API-Key": "another key"}
    assert caller.ask("snapshot", account="elsewhere", base_url=other, headers=key).status_code == 200
    assert caller.ask("snapshot", account="elsewhere", base_url=other).status_code == 401


@pytest.mark.parametrize(("contract", "statuses"), [("both", [200, 200]), ("v1", [200, 404]), ("v0", [404, 200])])
def test_an_instance_speaks_the_contracts_it_is_told_to(
    fake: Mt5Fake, caller: Caller, contract: str, statuses: list[int]
) -> None:
    busy(fake)
    fake.add_instance("default", contract=contract)
    assert [caller.ask(one).status_code for one in ("health", "health_v0")] == statuses
    assert [caller.ask(one).status_code for one in ("snapshot", "positions")] == statuses


def test_an_identity_token_is_asked_for_where_an_audience_is_set(fake: Mt5Fake, caller: Caller) -> None:
    busy(fake)
    fake.add_instance("default", audience="https://mt5.example")
    token = {"Authorization": "Bearer e30.eyJhdWQiOiJodHRwczovL210NS5leGFtcGxlIn0.x"}
    other = {"Authorization": "Bearer e30.eyJhdWQiOiJodHRwczovL290aGVyIn0.x"}
    assert [caller.ask("snapshot", headers=one).status_code for one in ({}, other, token)] == [401, 401, 200]


def test_published_limits_are_kept(clock: FixedClock) -> None:
    seconds = [0.0]
    with Mt5Fake(clock=clock, real=lambda: seconds[0]) as fake, Caller(fake) as caller:
        fake.add_instance("default", requests_per_minute=3, sessions=7)
        assert caller.get("health")["limits"] == {"requests_per_minute": 3, "sessions": 7}
        assert [caller.ask("health").status_code for _ in range(3)] == [200, 200, 429]
        seconds[0] = 59.9
        refused = caller.ask("health_v0")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        seconds[0] = 60.0
        assert caller.ask("health").status_code == 200
        assert fake.world.calls.most_in(60) == 5


def test_more_accounts_than_sessions_are_turned_away(fake: Mt5Fake, caller: Caller) -> None:
    for number in range(3):
        fake.add_account(id=f"a{number}", server=SERVER)
    fake.add_instance("default", sessions=2)
    fake.fault("latency", ms=400)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda number: Caller.once(fake, "snapshot", account=f"a{number}"), range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 503]
    assert fake.summary()["in_flight_max"] == 3


def test_a_connection_is_kept_and_takes_requests_one_after_another(fake: Mt5Fake, caller: Caller) -> None:
    busy(fake)
    raw = "".join(
        f"GET /v1/accounts/svc-1/{what} HTTP/1.1\r\nHost: x\r\nX-API-Key: {fake.api_key}\r\nX-Account-Scope: svc-1\r\n"
        "X-Request-Id: 1\r\n\r\n"
        for what in ("snapshot", "symbols?names=TEST")
    ).encode()
    told = caller.raw(raw, until=2)
    assert told.count(b"HTTP/1.1 200 OK") == 2
    assert told.index(b'"positions"') < told.index(b'"contract_size"')


def test_what_is_no_request_ends_the_connection(fake: Mt5Fake, caller: Caller) -> None:
    assert caller.raw(b"nonsense\r\n\r\n", until=1) == b""
    assert caller.raw(b"GET /health HTTP/1.1\r\nContent-Length: many\r\n\r\n", until=1) == b""
    assert caller.ask("health").status_code == 200


# --- who called -------------------------------------------------------------------------------------------------------


def test_calls_are_counted_by_account_and_endpoint_with_header_names_and_without_keys(fake: Mt5Fake, caller: Caller) -> None:
    busy(fake)
    for endpoint in ("health", "snapshot", "snapshot", "info"):
        caller.ask(endpoint)
    told = fake.summary()
    assert told["accounts"] == {"": {"health": 1}, "svc-1": {"snapshot": 2, "info": 1}}
    assert (told["total"], told["in_flight"], told["in_flight_max"], told["statuses"]) == (4, 0, 1, {"200": 4})
    assert {"x-api-key", "x-account-scope", "x-request-id"} <= set(told["header_names"])
    one = fake.calls()[1]
    assert (one.account, one.server, one.endpoint, one.status, one.instance) == ("svc-1", SERVER, "snapshot", 200, "default")
    assert one.ended_at is not None
    assert one.ended_at >= one.at
    assert fake.api_key not in json.dumps([entry.document() for entry in fake.calls()])
    fake.forget_calls()
    assert (fake.calls(), fake.summary()["total"]) == ([], 0)
