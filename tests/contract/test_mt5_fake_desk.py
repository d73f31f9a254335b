"""The fake MT5 service beside a desk: its admin API, fleets of one seed, the demo, its process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from fillbook.runtime.clock import FixedClock
from infra.local import mt5_demo
from infra.local.mt5 import Mt5Fake
from infra.local.mt5_faults import KNOBS
from infra.local.mt5_service import Request
from infra.local.mt5_world import World
from tests.support.mt5_wire import NOW, SERVER, Caller, busy


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
    busy(fake)
    headers = {"x-api-key": fake.api_key, "x-account-scope": "svc-1", "x-request-id": "1"}
    reply = fake._service.reply(Request(instance="default", method="GET", target="/v1/accounts/svc-1/snapshot", headers=headers))
    assert json.loads(reply.body)["login"] == "40000017"
