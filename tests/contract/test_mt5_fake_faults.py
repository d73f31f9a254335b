"""Every fault of the fake MT5 service does what it says, for whom it says, as often as it says."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from fillbook.runtime.clock import FixedClock
from infra.local.mt5 import Mt5Fake
from infra.local.mt5_faults import KNOBS, Call, Faults
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


# --- scope and limits -------------------------------------------------------------------------------------------------


def call(**given: Any) -> Call:
    return Call(**{"instance": "default", "server": "One", "account": "svc-1", "endpoint": "info", "at": NOW, **given})


def queue() -> Faults:
    return Faults(lambda: NOW, lambda: 0.0)


@pytest.mark.parametrize(
    ("scope", "elsewhere"),
    [
        ({"instance": "default"}, {"instance": "second"}),
        ({"server": "One"}, {"server": "Two"}),
        ({"account": ["svc-1", "svc-9"]}, {"account": "svc-2"}),
        ({"endpoint": ["info", "positions"]}, {"endpoint": "history"}),
        ({"seconds_long": 60}, {"at": NOW + timedelta(seconds=60)}),
    ],
)
def test_a_fault_strikes_its_scope_alone(scope: dict[str, Any], elsewhere: dict[str, Any]) -> None:
    faults = queue()
    faults.add("hang", **scope)
    assert faults.strike(call(**elsewhere)) == (None, ())
    assert faults.strike(call())[0] is faults.rules[0]


def test_a_fault_strikes_as_often_as_its_count_after_what_it_skips() -> None:
    faults = queue()
    fault = faults.add("hang", count=2, skip=1)
    assert [faults.strike(call())[0] is fault for _ in range(5)] == [False, True, True, False, False]
    assert (faults.rules, fault.hits) == ([], 2)


def test_a_seeded_probability_strikes_the_same_requests_again() -> None:
    struck = []
    for seed in (5, 5, 6):
        faults = queue()
        faults.add("hang", probability=0.3, seed=seed)
        struck.append([faults.strike(call())[0] is not None for _ in range(200)])
    assert struck[0] == struck[1] != struck[2]
    assert 30 < sum(struck[0]) < 90


def test_what_shapes_adds_up_and_of_what_replaces_the_first_wins() -> None:
    faults = queue()
    for knob in ("latency", "hang", "stale", "reset"):
        faults.add(knob)
    replacing, shaping = faults.strike(call())
    assert (replacing and replacing.knob, [one.knob for one in shaping]) == ("hang", ["latency", "stale"])
    assert [one.hits for one in faults.rules] == [1, 1, 1, 0]


def test_an_unknown_name_or_option_is_refused(fake: Mt5Fake) -> None:
    for knob, rule in (("fire", {}), ("hang", {"ms": 1}), ("hang", {"endpoint": "x"}), ("incomplete", {"part": "x"})):
        with pytest.raises(ValueError, match=r"known|knows|one of"):
            fake.fault(knob, **rule)


def test_every_fault_of_the_specification_is_there() -> None:
    wanted = (
        "latency hang drip reset status rate_limit auth_failed wrong_login page_fails page_drift duplicate_rows incomplete stale "
        "error_as_empty late_history shape garbage clock_offset health one_terminal"
    )
    assert set(KNOBS) == set(wanted.split())


# --- the connection ---------------------------------------------------------------------------------------------------


def test_latency_is_waited_for_side_by_side(fake: Mt5Fake) -> None:
    fake.fault("latency", ms=600, jitter=50, seed=1)
    begun = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: Caller.once(fake, "snapshot").status_code, range(8)))
    assert answers == [200] * 8
    assert time.monotonic() - begun >= 0.55
    assert fake.summary()["in_flight_max"] >= 4, "on a busy machine some may be late for the others"
    assert all((one.ended_at or 0) - one.at >= 0.55 for one in fake.calls())


def test_a_hanging_call_is_never_answered_and_is_over_when_the_caller_goes(fake: Mt5Fake) -> None:
    fake.fault("hang", account="svc-1", count=1)
    with pytest.raises(requests.ReadTimeout):
        Caller.once(fake, "snapshot", timeout=0.3)
    assert Caller.once(fake, "snapshot").status_code == 200
    while fake.summary()["in_flight"]:
        threading.Event().wait(0.01)
    assert [(one.status, one.fault) for one in fake.calls()] == [(0, "hang"), (200, None)]


def test_a_dripping_answer_is_whole_and_slow(fake: Mt5Fake, caller: Caller) -> None:
    fake.fault("drip", endpoint="health", interval=0.005)
    assert ask(caller, "health").json()["status"] == "healthy"
    fake.clear_faults()
    fake.fault("drip", endpoint="snapshot", interval=0.2)
    with pytest.raises(requests.RequestException, match="timed out"):
        caller.session.get(
            f"{fake.base_url}/v1/accounts/svc-1/snapshot",
            headers={"X-API-Key": fake.api_key, "X-Account-Scope": "svc-1", "X-Request-Id": "1"},
            timeout=0.1,
        )


def test_a_reset_connection_ends_without_an_answer(fake: Mt5Fake, caller: Caller) -> None:
    fake.fault("reset", count=1)
    with socket.create_connection(("127.0.0.1", fake.world.instances["default"].port), 5) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert ask(caller, "health").status_code == 200


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_status_has_the_body_and_the_pause_it_is_given(fake: Mt5Fake, caller: Caller) -> None:
    fake.fault("status", code=503, count=1)
    fake.fault("status", code=502, body="<html>", count=1)
    fake.fault("status", code=500, body={"a": 1}, count=1)
    fake.fault("status", code=503, error_code="BROKER_TIMEOUT", retry_after=2, count=1)
    answers = [ask(caller, "snapshot") for _ in range(4)]
    assert [(one.status_code, one.text) for one in answers[:3]] == [
        (503, '{"detail":"failed on demand"}'),
        (502, "<html>"),
        (500, '{"a": 1}'),
    ]
    error = {"code": "BROKER_TIMEOUT", "message": "failed on demand", "retry_after_seconds": 2}
    assert (answers[3].json(), answers[3].headers["Retry-After"]) == ({"contract": "mt5/1", "error": error}, "2")


def test_a_rate_limit_refuses_what_is_beyond_it_in_its_scope(clock: FixedClock) -> None:
    seconds = [100.0]
    with Mt5Fake(clock=clock, real=lambda: seconds[0]) as fake, Caller(fake) as caller:
        fake.fault("rate_limit", per_minute=2, endpoint="health")
        assert [ask(caller, "health").status_code for _ in range(3)] == [200, 200, 429]
        seconds[0] += 60
        assert ask(caller, "health").status_code == 200
        refused = [ask(caller, "health_v0") for _ in range(2)][1]
        assert (refused.status_code, "Retry-After" in refused.headers) == (429, True)


def test_a_refused_login_has_a_code(fake: Mt5Fake, caller: Caller) -> None:
    fake.fault("auth_failed", account="svc-1", code="MT5_LOGIN_FAILED")
    for endpoint in ("snapshot", "deals", "info", "positions", "history"):
        answer = ask(caller, endpoint)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "MT5_LOGIN_FAILED")
    assert ask(caller, "snapshot", account="svc-2").status_code == 200
    assert ask(caller, "health").status_code == 200


def test_a_refused_login_may_be_told_inside_the_answer(fake: Mt5Fake, caller: Caller) -> None:
    fake.fault("auth_failed", inline=True)
    told = caller.get("snapshot")
    assert [told[part]["complete"] for part in ("info", "positions")] == [False, False]
    assert told["info"]["error"]["code"] == told["positions"]["error"]["code"] == "AUTH_FAILED"
    deals = caller.get("deals", ALL)
    assert (deals["complete"], deals["deals"], deals["error"]["code"]) == (False, [], "AUTH_FAILED")
    assert caller.get("info") == {"success": False, "error": {**deals["error"]}}


def test_one_page_of_a_window_fails(fake: Mt5Fake, caller: Caller) -> None:
    fake.fault("page_fails", n=2, count=1)
    first = caller.get("deals", f"{ALL}&limit=3")
    second = f"{ALL}&limit=3&cursor={first['next_cursor']}"
    assert [caller.ask("deals", second).status_code for _ in range(2)] == [503, 200]
    fake.fault("page_fails", n=2, code=502)
    assert [caller.ask("history", f"{DATES}&limit=3&offset={at}").status_code for at in (0, 3)] == [200, 502]


GARBAGE = ["html", "truncated", "oversize", "nan", "empty"]


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("endpoint", ["snapshot", "deals", "info", "positions", "history"])
def test_garbage_is_200_without_an_answer(fake: Mt5Fake, caller: Caller, kind: str, endpoint: str) -> None:
    fake.change_account("svc-1", shape={"numbers": "number"})
    fake.fault("garbage", kind=kind)
    answer = ask(caller, endpoint)
    assert answer.status_code == 200
    if kind == "oversize":
        assert len(answer.content) > 8 * 1024 * 1024
    elif kind == "nan":
        seen: list[str] = []
        json.loads(answer.text, parse_constant=seen.append)
        assert seen == ["NaN"]
    else:
        with pytest.raises(ValueError, match=r".*"):
            json.loads(answer.text)
