"""Faults that shape an answer of the fake MT5 service: what is told is twisted as the fault says, and the truth is left alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import requests

from fillbook.runtime.clock import FixedClock
from infra.local.mt5 import Mt5Fake
from infra.local.mt5_faults import KNOBS
from infra.local.mt5_shapes import MUTATIONS
from tests.support.mt5_cases import SHAPES, needs_samples, samples
from tests.support.mt5_wire import Caller, furnished

NOW = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
ALL = "from_msc=0&to_msc=9999999999999"
DATES = "from_date=2026-01-01&to_date=2026-01-15"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def fake(clock: FixedClock) -> Iterator[Mt5Fake]:
    with Mt5Fake(clock=clock) as served:
        furnished(served, NOW)
        yield served


@pytest.fixture
def caller(fake: Mt5Fake) -> Iterator[Caller]:
    with Caller(fake) as made:
        yield made


def query(endpoint: str) -> str:
    return {"deals": ALL, "history": DATES, "symbols": "names=TEST"}.get(endpoint, "")


def ask(caller: Caller, endpoint: str, **given: Any) -> requests.Response:
    return caller.ask(endpoint, query(endpoint), **given)


# --- what is told -----------------------------------------------------------------------------------------------------


def test_another_login_or_server_is_named_wherever_it_can_be(fake: Mt5Fake, caller: Caller) -> None:
    fake.fault("wrong_login", login=99)
    for endpoint in ("snapshot", "deals", "symbols"):
        told = caller.get(endpoint, query(endpoint))
        assert (told["login"], told["server"]) == ("99", "One")
    for endpoint in ("info", "positions", "history"):
        assert caller.get(endpoint, query(endpoint))["login"] == 99
    fake.change_account("svc-1", shape={"info": "account_info"})
    assert caller.get("info")["account_info"]["login"] == 99
    fake.clear_faults()
    fake.fault("wrong_login", named_server="Elsewhere", endpoint="deals")
    assert caller.get("deals", ALL)["server"] == "Elsewhere"
    assert caller.get("snapshot")["server"] == "One"


def test_pages_drift_by_a_deal_in_front_or_by_their_order(fake: Mt5Fake, caller: Caller) -> None:
    plain = [caller.get("history", f"{DATES}&limit=3&offset={at}") for at in (0, 3)]
    fake.fault("page_drift")
    first, second = (caller.get("history", f"{DATES}&limit=3&offset={at}") for at in (0, 3))
    assert (first["total"], second["total"]) == (6, 7)
    assert (first["deals"], second["deals"][0]) == (plain[0]["deals"], plain[0]["deals"][-1])
    fake.clear_faults()
    fake.fault("page_drift", how="order")
    told = caller.get("deals", f"{ALL}&limit=3")
    drifted = caller.get("deals", f"{ALL}&limit=3&cursor={told['next_cursor']}")
    assert [int(row["ticket"]) for row in drifted["deals"]] == [row["ticket"] for row in plain[1]["deals"]][::-1]
    assert drifted["total"] == 6


def test_rows_come_twice_and_counters_know_or_do_not(fake: Mt5Fake, caller: Caller) -> None:
    fault = fake.fault("duplicate_rows")
    told = caller.get("snapshot")["positions"]["rows"]
    assert [row["ticket"] for row in told] == ["5000002", "5000002", "5000003"]
    positions = caller.get("positions")
    assert (len(positions["positions"]), positions["total_positions"]) == (3, 3)
    pages = list(caller.pages(f"{ALL}&limit=3"))
    assert [(len(page["deals"]), page["total"]) for page in pages] == [(4, 8), (4, 8)]
    fake.faults.rules.remove(fault)
    fake.fault("duplicate_rows", counted=False)
    history = caller.get("history", DATES)
    assert (len(history["deals"]), history["total"]) == (7, 6)


def test_an_incomplete_answer_says_so(fake: Mt5Fake, caller: Caller) -> None:
    fake.fault("incomplete")
    told = caller.get("snapshot")
    assert (told["info"].keys(), told["info"]["complete"]) == ({"complete", "error"}, False)
    assert (told["positions"]["complete"], len(told["positions"]["rows"])) == (False, 1)
    deals = caller.get("deals", ALL)
    assert (deals["complete"], len(deals["deals"]), deals["total"], deals["next_cursor"]) == (False, 3, 6, None)
    assert caller.get("info")["success"] is False
    positions = caller.get("positions")
    assert (len(positions["positions"]), positions["total_positions"]) == (1, 2)
    bare = caller.get("positions", account="paired")
    assert (len(bare["positions"]), bare["total_positions"]) == (1, 2)
    paired = caller.get("history", DATES, account="paired")
    assert (paired["trades"], paired["total_trades"]) == ([], 1)
    assert caller.get("positions", account="svc-2")["success"] is False


def test_one_part_alone_is_incomplete(fake: Mt5Fake, caller: Caller) -> None:
    fake.fault("incomplete", part="positions")
    told = caller.get("snapshot")
    assert (told["info"]["complete"], told["positions"]["complete"]) == (True, False)
    assert caller.get("deals", ALL)["complete"] is True
    assert caller.get("info")["success"] is True


def test_a_stale_answer_shows_the_past_and_says_so_or_not(fake: Mt5Fake, caller: Caller) -> None:
    fresh = caller.get("snapshot")
    fault = fake.fault("stale", age=3600)
    told = caller.get("snapshot")
    assert (told["cache_age_ms"], told["server_time_msc"], told["as_of"]) == (3_600_000, fresh["server_time_msc"], fresh["as_of"])
    assert (len(told["positions"]["rows"]), told["info"]["balance"]) == (3, "1000.00")
    assert caller.get("deals", ALL)["total"] == 4
    info = caller.get("info")
    assert (info["cached"], info["cache_age_seconds"], info["timestamp"]) == (True, 3600, "2026-01-15T11:00:00.000Z")
    fake.faults.rules.remove(fault)
    fake.fault("stale", age=3600, declared=False)
    told = caller.get("snapshot")
    assert (told["cache_age_ms"], len(told["positions"]["rows"])) == (0, 3)
    fake.clear_faults()
    assert caller.get("snapshot") == fresh


def test_an_error_is_told_as_an_empty_list_while_the_rest_knows_better(fake: Mt5Fake, caller: Caller) -> None:
    fake.fault("error_as_empty")
    told = caller.get("snapshot")
    assert (told["positions"]["rows"], told["positions"]["complete"], told["info"]["complete"]) == ([], False, True)
    for account in ("svc-1", "paired"):
        positions = caller.get("positions", account=account)
        assert (positions["positions"], positions["total_positions"], positions["success"]) == ([], 2, True)
    assert caller.get("history", DATES)["total"] == 6
    fake.clear_faults()
    fake.fault("error_as_empty", what="history")
    assert (caller.get("history", DATES)["deals"], caller.get("history", DATES)["total"]) == ([], 6)
    deals = caller.get("deals", ALL)
    assert (deals["deals"], deals["complete"], deals["total"], deals["next_cursor"]) == ([], False, 6, None)


def test_an_error_told_as_an_empty_list_may_lie_throughout(fake: Mt5Fake, caller: Caller) -> None:
    fake.fault("error_as_empty", lies=True)
    fake.fault("error_as_empty", what="history", lies=True)
    told = caller.get("snapshot")["positions"]
    assert (told["rows"], told["complete"]) == ([], True)
    assert caller.get("positions")["total_positions"] == 0
    assert "total_positions" not in caller.get("positions", account="paired")
    deals = caller.get("deals", ALL)
    assert (deals["deals"], deals["total"], deals["complete"]) == ([], 0, True)
    assert caller.get("history", DATES)["total"] == 0


def test_history_may_be_late_while_balance_and_positions_are_not(fake: Mt5Fake, caller: Caller, clock: FixedClock) -> None:
    fake.fault("late_history", seconds=25 * 60)
    told = caller.get("snapshot")
    assert (told["info"]["balance"], len(told["positions"]["rows"])) == ("1008.75", 2)
    assert caller.get("deals", ALL)["total"] == caller.get("history", DATES)["total"] == 5
    clock.step(5 * 60)
    assert caller.get("deals", ALL)["total"] == 6
    fake.clear_faults()
    fake.fault("late_history", seconds=2 * 3600)
    assert caller.get("history", DATES, account="paired")["total_trades"] == 0
    assert [row["entry"] for row in caller.get("deals", "position_id=5000001")["deals"]] == [0]


def test_heads_tell_a_server_clock_that_is_off(fake: Mt5Fake, caller: Caller) -> None:
    fresh = caller.get("snapshot")
    fake.fault("clock_offset", minutes=-60)
    told = caller.get("snapshot")
    assert int(fresh["server_time_msc"]) - int(told["server_time_msc"]) == 3_600_000
    assert (told["as_of"], told["positions"]) == (fresh["as_of"], fresh["positions"])


def test_health_is_degraded_or_unhealthy(fake: Mt5Fake, caller: Caller) -> None:
    fake.fault("health", status="degraded", count=2)
    assert [ask(caller, one).json()["status"] for one in ("health", "health_v0")] == ["degraded"] * 2
    fake.fault("health")
    answer = ask(caller, "health")
    assert (answer.status_code, answer.json()["status"], answer.json()["contract"]) == (503, "unhealthy", "mt5/1")
    assert ask(caller, "snapshot").status_code == 200


def test_one_terminal_serves_one_login_at_a_time_and_takes_its_time_to_change(fake: Mt5Fake) -> None:
    fake.fault("one_terminal", switch_ms=150)
    accounts = ["svc-1", "svc-2", "svc-1", "svc-1"]
    begun = time.monotonic()
    for account in accounts:
        assert Caller.once(fake, "snapshot", account=account).status_code == 200
    assert time.monotonic() - begun >= 0.44
    begun = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda account: Caller.once(fake, "snapshot", account=account), ["svc-2", "paired"]))
    assert time.monotonic() - begun >= 0.29


# --- shapes nobody documented -----------------------------------------------------------------------------------------


def test_another_documented_shape_can_be_forced(fake: Mt5Fake, caller: Caller) -> None:
    fake.fault("shape", variant={"info": "account_info", "positions": "mixed"}, count=2)
    assert "account_info" in caller.get("info")
    assert caller.get("positions")["positions"][0]["type_str"] == "BUY"
    assert "data" in caller.get("info")


SEEN = {
    "unknown_root": lambda told: "payload" in told and "positions" not in told,
    "missing_list": lambda told: "positions" not in told,
    "null_list": lambda told: told["positions"] is None,
    "wrong_type": lambda told: told["positions"] == "none",
    "unknown_enum": lambda told: {row["type"] for row in told["positions"]} == {"long"},
    "naive_time": lambda told: all(
        datetime.fromisoformat(row.get("open_time", row.get("time"))).tzinfo is None for row in told["positions"]
    ),
    "no_entry": lambda told: all("entry" not in row for row in told["positions"]),
    "deep": lambda told: json.dumps(told["extra"]).count("{") > 20,
    "extra_field": lambda told: told["something_new"] and all(row["something_new"] == 1 for row in told["positions"]),
}


@pytest.mark.parametrize("variant", MUTATIONS)
@pytest.mark.parametrize("account", ["svc-1", "paired"])
def test_a_shape_nobody_documented_is_what_its_name_says(fake: Mt5Fake, caller: Caller, variant: str, account: str) -> None:
    fake.fault("shape", variant=variant)
    assert SEEN[variant](caller.get("positions", account=account))


@pytest.mark.parametrize("variant", MUTATIONS)
def test_contract_v1_is_twisted_too(fake: Mt5Fake, caller: Caller, variant: str) -> None:
    plain = {one: caller.get(one, query(one)) for one in ("snapshot", "deals")}
    fake.fault("shape", variant=variant)
    told = {one: caller.get(one, query(one)) for one in ("snapshot", "deals")}
    assert told["deals"] != plain["deals"]
    assert told["snapshot"] != plain["snapshot"] or variant == "no_entry"


REFUSALS = {
    "no known root": ("info", {"knob": "shape", "variant": "unknown_root"}),
    "success without a list is not an empty list": ("positions", {"knob": "shape", "variant": "missing_list"}),
    "null is not an empty list": ("positions", {"knob": "shape", "variant": "null_list"}),
    "the list claims to be empty, the counter says two": ("positions", {"knob": "error_as_empty"}),
    "a side nobody documented": ("positions", {"knob": "shape", "variant": "unknown_enum"}),
    "a time without zone": ("positions", {"knob": "shape", "variant": "naive_time"}),
    "a deal without entry cannot be placed": ("history", {"knob": "shape", "variant": "no_entry"}),
}


@needs_samples
def test_every_body_that_must_be_refused_can_be_had(fake: Mt5Fake, caller: Caller) -> None:
    wanted = samples(SHAPES)["must_be_refused"]
    assert {one["why"] for one in wanted} == set(REFUSALS)
    for one in wanted:
        endpoint, rule = REFUSALS[one["why"]]
        fake.clear_faults()
        fake.fault(**rule)
        told = caller.get(endpoint, query(endpoint))
        lists = {name: row for name, row in one["body"].items() if isinstance(row, list)}
        for name, rows in lists.items():
            assert bool(told[name]) == bool(rows), one["why"]
        if "total_positions" in one["body"]:
            assert told["total_positions"] == one["body"]["total_positions"]
        elif not lists:
            assert all(told.get(name) is None for name in ("data", "account_info", "positions") if name not in one["body"])


def test_faults_leave_the_truth_alone(fake: Mt5Fake) -> None:
    before = fake.truth("svc-1")
    for knob in KNOBS:
        fake.fault(knob)
    assert fake.truth("svc-1") == before
    assert Decimal(before["balance"]) == Decimal("1008.75")
