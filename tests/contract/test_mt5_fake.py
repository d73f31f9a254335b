"""The fake MT5 service on the wire: both contracts in every shape, paging, what it asks of a caller, its admin API."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import requests

from fillbook.runtime.clock import FixedClock
from infra.local import mt5_demo, mt5_fleet
from infra.local.mt5 import Mt5Fake
from infra.local.mt5_faults import KNOBS
from infra.local.mt5_service import Request
from infra.local.mt5_shapes import CHOICES
from infra.local.mt5_world import World
from tests.support.mt5_cases import SHAPES, needs_samples, samples
from tests.support.mt5_wire import Caller

NOW = datetime(2025, 11, 12, 10, 30, tzinfo=UTC)
TOLD = samples(SHAPES)
SERVER = "Broker-Server"
V0_SHAPES = [
    dict(zip(("info", "positions", "history", "epoch"), one, strict=True))
    for one in product(*(CHOICES[name] for name in ("info", "positions", "history", "epoch")))
]


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


def documented(fake: Mt5Fake, account: str = "svc-1", **given: Any) -> None:
    """The account that the file of shapes describes, by what happened on it."""
    fake.add_account(
        id=account, login=10_000_001, server=SERVER,
        overrides={"margin": "200.00", "margin_free": "9850.00", "margin_level": "5025.00"}, **given,
    )  # fmt: skip
    fake.set_prices(SERVER, EURUSD="1.15830")
    fake.operate(account, "deposit", datetime(2025, 9, 1, tzinfo=UTC), amount="9928.55")
    bought = {"symbol": "EURUSD", "side": "buy", "commission": "-1.40", "volume": "0.40", "price": "1.15500"}
    fake.operate(account, "open", "2025-11-11T10:00:00Z", **bought, ticket=990001, order=699000)
    closed = {"commission": "-1.40", "swap": "-0.50", "price": "1.15700"}
    fake.operate(account, "close", "2025-11-11T12:00:00Z", position=699000, **closed, ticket=990002, order=699001)
    held = {"symbol": "EURUSD", "side": "buy", "commission": "-3.50", "volume": "1.00", "price": "1.15800", "sl": "1.15000"}
    fake.operate(account, "open", "2025-11-12T05:00:00Z", **held, ticket=990003, order=700001)
    held = {"symbol": "EURUSD", "side": "sell", "commission": "-1.75", "volume": "0.50", "price": "1.15870"}
    fake.operate(account, "open", "2025-11-12T06:00:00Z", **held, ticket=990004, order=700002)


def same(told: Any, wanted: Any, at: str = "") -> None:
    """Everything that is wanted is there, equal as a number, an instant or text; more may be."""
    if isinstance(wanted, dict):
        assert isinstance(told, dict), at
        for name, one in wanted.items():
            assert name in told, f"{at}.{name}"
            same(told[name], one, f"{at}.{name}")
    elif isinstance(wanted, list):
        assert len(told) == len(wanted), at
        for place, one in enumerate(wanted):
            same(told[place], one, f"{at}[{place}]")
    elif isinstance(wanted, Decimal | int) and not isinstance(wanted, bool):
        assert Decimal(told) == wanted, at
    elif isinstance(wanted, str) and wanted[:4] == "2025":
        assert datetime.fromisoformat(told) == datetime.fromisoformat(wanted), at
    else:
        assert type(told) is type(wanted), at
        assert told == wanted, at


# --- both contracts ---------------------------------------------------------------------------------------------------

IGNORED = {"name", "company", "period", "REDACTED"}
DOCUMENTED: list[tuple[str, str, str, dict[str, str]]] = [
    ("v1_snapshot", "snapshot", "", {}),
    ("v1_deals", "deals", "from_msc=1760358600000&to_msc=1763037000000&limit=1000", {}),
    ("info_data_root", "info", "", {"info": "data"}),
    ("info_account_info_root", "info", "", {"info": "account_info"}),
    ("positions_iso", "positions", "", {"positions": "iso"}),
    ("positions_epoch", "positions", "", {"positions": "epoch"}),
    ("positions_mixed", "positions", "", {"positions": "mixed"}),
    ("history_trades_root", "history", "from_date=2025-11-09&to_date=2025-11-12&limit=1000&offset=0", {"history": "trades"}),
    ("history_deals_root", "history", "from_date=2025-11-09&to_date=2025-11-12&limit=1000&offset=0", {"history": "deals"}),
]


def without(document: Any, names: set[str]) -> Any:
    if isinstance(document, dict):
        return {name: without(one, names) for name, one in document.items() if name not in names}
    return [without(one, names) for one in document] if isinstance(document, list) else document


@needs_samples
@pytest.mark.parametrize(("name", "endpoint", "query", "shape"), DOCUMENTED, ids=[one[0] for one in DOCUMENTED])
def test_one_state_is_told_in_the_shapes_that_are_documented(
    fake: Mt5Fake, caller: Caller, name: str, endpoint: str, query: str, shape: dict[str, str]
) -> None:
    documented(fake, shape=shape)
    wanted = without(TOLD[name], {*IGNORED, "account_id"} if not name.startswith("v1") else IGNORED)
    same(caller.get(endpoint, query), wanted)


@needs_samples
def test_every_documented_answer_is_told_here() -> None:
    assert {one[0] for one in DOCUMENTED} | {"about", "truth", "errors", "must_be_refused"} == set(TOLD)


@needs_samples
def test_errors_have_the_documented_bodies(fake: Mt5Fake, caller: Caller) -> None:
    for kind, body in TOLD["errors"].items():
        fake.reset()
        fake.add_server(SERVER)
        fake.add_account(id="svc-1", server=SERVER, shape={"errors": kind})
        fake.fault("status", code=503, error_code="BROKER_TIMEOUT")
        answer = caller.ask("info")
        assert answer.status_code == 503
        assert answer.json().keys() == body.keys(), kind
        assert (answer.json().get("error_code") or str(answer.json().get("error"))) or kind.startswith(("detail", "message"))


def test_money_and_positions_are_the_truth_in_every_shape(fake: Mt5Fake, caller: Caller) -> None:
    for number, shape in enumerate(V0_SHAPES):
        documented(fake, f"a{number}", shape=shape)
        truth = fake.truth(f"a{number}")
        info = caller.get("info", account=f"a{number}")[shape["info"]]
        assert (Decimal(info["balance"]), Decimal(info["equity"])) == (Decimal(truth["balance"]), Decimal(truth["equity"]))
        rows = caller.get("positions", account=f"a{number}")["positions"]
        open_trades = [one for one in truth["trades"] if one["status"] == "open"]
        assert [one["ticket"] for one in rows] == [one["position_id"] for one in open_trades]
        history = caller.get("history", "from_date=2025-09-01&to_date=2025-11-13", account=f"a{number}")
        if shape["history"] == "trades":
            closed = [one for one in truth["trades"] if one["status"] == "closed"]
            assert [(one["ticket"], one["net_profit"]) for one in history["trades"]] == [
                (one["position_id"], Decimal(one["net"])) for one in closed
            ]
        else:
            amounts = [one["profit"] + one["commission"] + one["swap"] + one["fee"] for one in history["deals"]]
            assert sum(amounts) == Decimal(truth["balance"])


def test_an_epoch_counts_the_server_clock_or_utc(fake: Mt5Fake, caller: Caller) -> None:
    told = {}
    for epoch in CHOICES["epoch"]:
        documented(fake, epoch, shape={"positions": "epoch", "epoch": epoch})
        told[epoch] = caller.get("positions", account=epoch)["positions"][0]["time_msc"]
        query = "from_date=2025-11-12&to_date=2025-11-12"
        assert caller.get("history", query, account=epoch)["deals"][0]["time_msc"] == told[epoch]
    assert told["server"] - told["utc"] == 2 * 3_600_000


def test_ids_are_text_or_numbers_and_numbers_may_be_noisy(fake: Mt5Fake, caller: Caller) -> None:
    documented(fake, "numbers", shape={"ids": "number", "numbers": "number"})
    told = caller.get("snapshot", account="numbers")
    assert (told["login"], told["info"]["balance"], told["positions"]["rows"][0]["ticket"]) == (10_000_001, 10_000, 700_001)
    documented(fake, "noisy", shape={"numbers": "noisy"})
    text = caller.ask("positions", account="noisy").text
    assert '"open_price":1.1579999999999999' in text
    assert json.loads(text)["positions"][0]["open_price"] == 1.158


def test_numbers_at_the_edge_survive(fake: Mt5Fake, caller: Caller) -> None:
    fake.add_account(id="edge", server=SERVER, login=2**63 - 1, overrides={"margin_level": "101398.67590140559"})
    made = fake.operate("edge", "open", symbol="SHIBUSD", side="buy", volume="1", price="0.00001234", order=2**53 + 1)
    fake.operate("edge", "close", position=made.position_id, price="0.00001235", ticket=2**63 - 1)
    told = caller.get("deals", "from_msc=0&to_msc=9999999999999", account="edge")
    assert (told["login"], told["deals"][1]["ticket"]) == (str(2**63 - 1), str(2**63 - 1))
    assert (told["deals"][0]["position_id"], told["deals"][0]["price"]) == (str(2**53 + 1), Decimal("0.00001234"))
    assert caller.get("snapshot", account="edge")["info"]["margin_level"] == "101398.67590140559"
    assert caller.get("info", account="edge")["data"]["margin_level"] == Decimal("101398.67590140559")


def test_symbols_tell_contract_sizes_and_leave_out_what_is_unknown(fake: Mt5Fake, caller: Caller) -> None:
    documented(fake)
    fake.world.add_symbol(SERVER, "BTCUSD.x", Decimal(1), 2)
    rows = caller.get("symbols", "names=USDJPY,BTCUSD.x,NOPE")["symbols"]
    assert [(one["symbol"], one["contract_size"], one["digits"], one["currency_profit"]) for one in rows] == [
        ("USDJPY", 100_000, 3, "JPY"),
        ("BTCUSD.x", 1, 2, "USD"),
    ]
    assert caller.ask("symbols", "names=" + ",".join(["A"] * 51)).status_code == 400


def test_an_answer_without_news_is_the_same_but_for_its_head(fake: Mt5Fake, caller: Caller, clock: FixedClock) -> None:
    documented(fake)
    first = caller.get("snapshot")
    clock.step(300)
    second = caller.get("snapshot")
    assert second["as_of"] == "2025-11-12T10:35:00.000Z"
    assert without(first, {"as_of", "server_time_msc"}) == without(second, {"as_of", "server_time_msc"})
    fake.set_prices(SERVER, EURUSD="1.15900")
    assert caller.get("snapshot")["info"]["profit"] == "85.00"
    fake.operate("svc-1", "close", position=700_001)
    told = caller.get("snapshot")
    assert (told["info"]["balance"], [one["ticket"] for one in told["positions"]["rows"]]) == ("10100.00", ["700002"])
    assert caller.get("deals", "from_msc=0&to_msc=9999999999999")["total"] == 6


def test_an_operation_to_come_is_told_when_its_time_has_come(fake: Mt5Fake, caller: Caller, clock: FixedClock) -> None:
    documented(fake)
    fake.operate("svc-1", "close", NOW + timedelta(minutes=10), position=700_001, price="1.16000")
    assert len(caller.get("snapshot")["positions"]["rows"]) == 2
    clock.step(600)
    assert len(caller.get("snapshot")["positions"]["rows"]) == 1
    assert fake.truth("svc-1")["balance"] == "10200.00"


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
    documented(fake)
    told = caller.get("deals", "position_id=699000")
    assert ([row["ticket"] for row in told["deals"]], told["total"], told["next_cursor"]) == (["990001", "990002"], 2, None)
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
    documented(fake)
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
    documented(fake)
    for endpoint in ("snapshot", "info"):
        assert caller.ask(endpoint, headers=headers).status_code == status


def test_a_wrong_key_is_refused_without_a_code(fake: Mt5Fake, caller: Caller) -> None:
    assert caller.ask("health", headers={"X-API-Key": "no"}).json() == {"detail": "missing or wrong API key"}


def test_an_account_is_known_at_its_instance_alone(fake: Mt5Fake, caller: Caller) -> None:
    documented(fake)
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
    documented(fake)
    fake.add_instance("default", contract=contract)
    assert [caller.ask(one).status_code for one in ("health", "health_v0")] == statuses
    assert [caller.ask(one).status_code for one in ("snapshot", "positions")] == statuses


def test_an_identity_token_is_asked_for_where_an_audience_is_set(fake: Mt5Fake, caller: Caller) -> None:
    documented(fake)
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
    documented(fake)
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
    documented(fake)
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


# --- the admin API ----------------------------------------------------------------------------------------------------


def test_everything_can_be_done_from_outside(fake: Mt5Fake, caller: Caller) -> None:
    post, get = caller.post, caller.look
    post("servers", name="Other", zone_name="UTC", shift_minutes=180)
    post("symbols", server="Other", name="OIL", contract_size="1000", digits=2)
    post("prices", server="Other", prices={"OIL": 60.25})
    made = post("accounts", accounts=[{"id": "x", "server": "Other", "mode": "netting", "login": 5}])
    assert made == [{"id": "x", "login": 5, "server": "Other", "instance": "default", "name": "Account 5"}]
    opened = {"kind": "open", "symbol": "OIL", "side": "buy", "volume": 0.5, "price": 60.0, "ref": "p"}
    done = post("accounts/x/operations", operations=[{"kind": "deposit", "amount": 1000}, opened])
    assert [one["position_id"] for one in done] == [0, 5_000_001]
    assert caller.get("snapshot", account="x")["info"]["profit"] == "125.00"
    assert [one["open_volume"] for one in get("truth/x")["trades"]] == ["0.5"]
    assert post("accounts/x", shape={"info": "account_info"})["id"] == "x"
    assert "account_info" in caller.get("info", account="x")
    assert post("faults", fault="status", count=1, code=500)["options"]["code"] == 500
    assert set(get("faults")["knobs"]) == set(KNOBS)
    assert caller.ask("info", account="x").status_code == 500
    assert get("calls")["accounts"]["x"] == {"snapshot": 1, "info": 2}
    assert [one["status"] for one in get("calls?after=1")] == [200, 500]
    assert post("clock", step_seconds=60) == {"now": "2025-11-12T10:31:00+00:00"}
    assert post("clock", now="2026-01-05T09:00:00Z") == get("clock") == {"now": "2026-01-05T09:00:00+00:00"}
    url = post("instances", name="second", contract="v0", sessions=4)["base_url"]
    assert caller.ask("health_v0", base_url=url).json()["limits"] == {"sessions": 4}
    assert post("fleet", count=4, steps=3) == {"accounts": 4}
    assert post("fleet/trade", accounts=["fleet-000002"], positions=2) == {"deals": 4}
    assert len(get("accounts")) == 5
    assert post("cursors") == post("reset") == {"ok": True}
    assert get("accounts") == []
    assert caller.ask("health_v0", base_url=url).status_code == 200, "an instance keeps its port"


def test_what_the_admin_api_does_not_understand_is_told(fake: Mt5Fake, caller: Caller) -> None:
    for what, body, text in (
        ("nothing", {}, "missing or unknown: nothing"),
        ("accounts", {"server": "no"}, "unknown server 'no'"),
        ("accounts", {"server": SERVER, "colour": 1}, "unknown field: colour"),
        ("accounts", {"server": SERVER, "overrides": {"balance": 1}}, "only equity"),
        ("faults", {"fault": "fire"}, "unknown fault 'fire'"),
        ("faults", {"fault": "latency", "seconds": 1}, "latency knows ms, jitter"),
        ("faults", {"fault": "shape", "variant": "odd"}, "variant is"),
        ("faults", {"fault": "hang", "endpoint": "orders"}, "unknown endpoint orders"),
        ("accounts/nobody/operations", {"operations": [{"kind": "open"}]}, "unknown account 'nobody'"),
        ("servers", {"name": "x", "zone_name": "Mars/Base"}, "Mars/Base"),
    ):
        answer = caller.session.post(f"{fake.base_url}/_fake/{what}", json=body, timeout=10)
        assert answer.status_code == 400
        assert text in answer.json()["error"]
    assert fake.faults.rules == []


def test_the_admin_api_answers_nobody_but_loopback(fake: Mt5Fake) -> None:
    for path in ("accounts", "truth/x", "calls"):
        answer = requests.get(f"{fake.base_url}/_fake/{path}", headers={"Host": "evil.example"}, timeout=5)
        assert answer.status_code == 403
    told = fake._answer("default", "GET", "/_fake/accounts", {"host": "127.0.0.1"}, b"", "10.0.0.7")
    assert (told.status, told.body) == (403, b'{"error": "loopback only"}')


# --- fleets and the demo ----------------------------------------------------------------------------------------------


def test_a_fleet_is_the_same_from_the_same_seed(clock: FixedClock) -> None:
    told = []
    for seed in (3, 3, 4):
        with Mt5Fake(clock=clock) as fake:
            assert fake.fleet.grow(seed=seed, count=6) == 6
            told.append([fake.truth(f"fleet-{number:06d}") for number in range(1, 7)])
    assert told[0] == told[1] != told[2]
    assert {one["server"]: one["margin_mode"] for one in told[0]} == {"Fleet-1": 2, "Fleet-2": 0}
    assert len({one["login"] for one in told[0]}) == 6


def test_a_share_of_a_fleet_trades_on(fake: Mt5Fake) -> None:
    fake.fleet.grow(count=10)
    before = {one: len(account.book.told(NOW)) for one, account in fake.world.accounts.items()}
    deals = fake.fleet.trade(share="0.5", positions=5)
    after = {one: len(account.book.told(NOW)) for one, account in fake.world.accounts.items()}
    assert sum(after.values()) - sum(before.values()) == deals
    assert 0 < sum(after[one] > before[one] for one in after) < 10


def demo_at(at: datetime, path: str, account: str) -> dict[str, Any]:
    with Mt5Fake(clock=FixedClock(at)) as fake, Caller(fake) as caller:
        mt5_demo.furnish(fake.world)
        answer: dict[str, Any] = caller.get(path, "from_msc=0&to_msc=9999999999999" if path == "deals" else "", account=account)
        return answer


DEMO = datetime(2026, 1, 15, 13, 30, tzinfo=UTC)


@pytest.mark.parametrize("account", ["demo-01", "demo-25"])
def test_the_demo_tells_the_same_after_a_restart_and_whatever_was_asked_before(account: str) -> None:
    with Mt5Fake(clock=FixedClock(DEMO - timedelta(days=40))) as fake, Caller(fake) as caller:
        mt5_demo.furnish(fake.world)
        caller.get("snapshot", account=account)
        fake.clock.set(DEMO + timedelta(hours=3))
        caller.get("snapshot", account=account)
        fake.clock.set(DEMO)
        assert caller.get("snapshot", account=account) == demo_at(DEMO, "snapshot", account)


def test_the_demo_has_25_accounts_on_two_servers_in_all_three_modes() -> None:
    world = World(lambda: DEMO)
    mt5_demo.furnish(world)
    modes = {one.id: (one.server, one.terms.margin_mode) for one in world.accounts.values()}
    assert list(modes) == [identity for identity, _, _ in mt5_demo.ACCOUNTS]
    assert len(modes) == 25
    assert set(modes.values()) == {(mt5_demo.FX_SERVER, 2), (mt5_demo.EXCHANGE_SERVER, 0), (mt5_demo.EXCHANGE_SERVER, 1)}
    assert len({login for _, login, _ in mt5_demo.ACCOUNTS}) == 25


def months(account: str, begins: datetime, ends: datetime) -> tuple[Decimal, Decimal, list[dict[str, Any]]]:
    """Balances before and after, and the deals between."""
    world = World(lambda: ends)
    mt5_demo.furnish(world)
    book, msc = world.accounts[account].book, world.accounts[account].terms.clock.msc
    before = book.state(begins).balance
    rows = book.between(msc(begins) + 1, msc(ends) + 1, ends)
    return before, book.state(ends).balance, [{"amount": one.amount, "ticket": one.ticket, "at": one.at} for one in rows]


@pytest.mark.parametrize("account", ["demo-02", "demo-13", "demo-14", "demo-15"])
def test_the_demo_adds_up_over_months_and_both_clock_changes(account: str) -> None:
    begins = datetime(2026, 2, 20, 23, 0, tzinfo=UTC)
    before, after, rows = months(account, begins, datetime(2026, 4, 17, 23, 0, tzinfo=UTC))
    assert before + sum(one["amount"] for one in rows) == after
    assert len({one["ticket"] for one in rows}) == len(rows) > 200
    assert len({one["at"].date() for one in rows}) == 40, "every weekday"


def test_the_demo_begins_with_a_deposit() -> None:
    before, after, rows = months("demo-01", datetime(2019, 12, 1, tzinfo=UTC), datetime(2020, 1, 2, 23, tzinfo=UTC))
    assert (before, rows[0]["amount"]) == (0, 10_000)
    assert after == sum(one["amount"] for one in rows)


def test_a_demo_day_grows_with_the_clock_and_ends_flat_with_the_month() -> None:
    close = datetime(2026, 1, 30, 22, 0, tzinfo=UTC)
    sizes = []
    for hours in (16, 8, 0):
        world = World(lambda: close)
        mt5_demo.furnish(world)
        book = world.accounts["demo-03"].book
        sizes.append(len(book.state(close - timedelta(hours=hours)).rows))
    assert sizes == sorted(set(sizes))
    assert (dict(book.state(close).positions), book.state(close).balance) == ({}, 10_000)


def test_a_demo_position_has_its_whole_life_and_truth_knows_it() -> None:
    with Mt5Fake(clock=FixedClock(DEMO)) as fake, Caller(fake) as caller:
        mt5_demo.furnish(fake.world)
        closed = next(one for one in fake.truth("demo-14")["trades"] if one["episode"] == 2 and one["status"] == "closed")
        life = caller.get("deals", f"position_id={closed['position_id']}", account="demo-14")["deals"]
        assert [row["entry"] for row in life] == [0, 0, 1, 2, 1]
        assert life[-1]["price"] == Decimal(closed["close_price"])
        assert caller.get("deals", "position_id=1", account="demo-14")["deals"] == []


# --- as a process -----------------------------------------------------------------------------------------------------


def started(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "infra.local.mt5", "--port", "0", *arguments]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().split("service: ")[1].split()[0]


def test_a_killed_process_tells_the_same_when_it_is_started_again(tmp_path: Path) -> None:
    file = tmp_path / "clock.json"
    file.write_text(json.dumps({"desk_at": DEMO.isoformat(), "real_at": 0, "speed": 1.0, "paused": True}), encoding="utf-8")
    told = []
    for ending in (signal.SIGKILL, signal.SIGTERM):
        process, url = started("--clock", str(file), "--api-key", "another")
        try:
            headers = {"X-API-Key": "another", "X-Account-Scope": "demo-07", "X-Request-Id": "1"}
            told.append(requests.get(f"{url}/v1/accounts/demo-07/snapshot", headers=headers, timeout=20).json())
        finally:
            process.send_signal(ending)
            process.communicate(timeout=20)
    assert told[0] == told[1]
    assert (told[0]["login"], process.returncode) == ("50000007", 0)


def test_a_process_without_the_demo_is_empty() -> None:
    process, url = started("--empty")
    try:
        assert requests.get(f"{url}/_fake/accounts", timeout=20).json() == []
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_stopping_leaves_no_thread_and_no_hanging_call() -> None:
    fake = Mt5Fake()
    fake.start()
    fake.add_server(SERVER)
    fake.add_account(id="svc-1", server=SERVER)
    fake.fault("hang")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(Caller.once, fake, "snapshot")
        while not fake.calls():
            threading.Event().wait(0.01)
        fake.stop()
        with pytest.raises(requests.ConnectionError):
            waiting.result(timeout=10)
    assert "mt5" not in {thread.name for thread in threading.enumerate()}


def test_a_request_can_be_answered_without_a_socket(fake: Mt5Fake) -> None:
    documented(fake)
    headers = {"x-api-key": fake.api_key, "x-account-scope": "svc-1", "x-request-id": "1"}
    reply = fake._service.reply(Request(instance="default", method="GET", target="/v1/accounts/svc-1/snapshot", headers=headers))
    assert json.loads(reply.body)["login"] == "10000001"
