"""The MT5 adapter over HTTP when things go wrong: when it asks again, how long it waits, what it refuses to do at all."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from fillbook.mt5.faults import Retries
from fillbook.mt5.words import ANSWER_BYTES_MAX, Code, ContractKind, Step
from fillbook.runtime import clock
from fillbook.runtime.errors import Unavailable
from tests.support.mt5_scripted import (
    DEALS,
    HISTORY,
    INFO,
    KEY,
    POSITIONS,
    SNAPSHOT,
    WHOLE,
    WINDOW,
    Reply,
    ScriptedService,
    Watched,
    failed,
    refused,
    scripted_service,
    soon,
    tell_v0,
    v0,
    v1,
)
from tests.support.mt5_shapes import (
    LOGIN,
    deal,
    deals_v1,
    history_v0,
    info,
    position,
    positions_v0,
    target,
)
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedService]:
    with scripted_service() as service:
        yield service


@pytest.fixture
def service(running: ScriptedService) -> ScriptedService:
    running.forget()
    return running


# --- asking again -----------------------------------------------------------------------------------------------------

BUSY = Reply(status=503, body={"error": {"code": "SERVICE_OVERLOADED", "message": "m"}})


@pytest.mark.parametrize(
    ("reply", "code", "calls"),
    [
        (BUSY, "service_unavailable", 2), (Reply(how="reset"), "connection", 2), (Reply(body=WHOLE, how="cut"), "connection", 2),
        (Reply(status=502, body=b"<html>"), "service_unavailable", 2), (Reply(status=504, body=b""), "service_unavailable", 2),
        (Reply(status=500, body={"error": {"code": "BROKER_TIMEOUT"}}), "broker_unavailable", 2),
        (Reply(status=429, body={"error": "slow down", "retry_after": 2}), "rate_limited", 2),
        (Reply(status=500, body={"detail": "x"}), "service_error", 1), (Reply(status=401, body={}), "service_unauthorized", 1),
        (Reply(status=401, body={"error_code": "AUTH_FAILED"}), "auth_failed", 1), (Reply(status=403), "forbidden", 1),
        (Reply(status=404), "not_found", 1), (Reply(status=400), "invalid_request", 1),
        (Reply(status=302, headers={"Location": "/v1/health"}), "contract_error", 1),
        (Reply(body=b"<html>"), "contract_error", 1),
        (Reply(body={**WHOLE, "server": "Meadow-Demo"}), "identity_mismatch", 1),
    ],
)  # fmt: skip
def test_a_failure_is_tried_again_once_or_never(service: ScriptedService, reply: Reply, code: str, calls: int) -> None:
    service.tell(SNAPSHOT, reply)
    service.tell(DEALS, reply if code != "identity_mismatch" else {**deals_v1((deal(1),)), "login": str(LOGIN + 1)})
    watched = Watched()
    failure = refused(lambda: watched.service.deals(v1(service), WINDOW, deadline=soon()))
    assert (failure.step, failure.code, failure.attempts, len(service.calls)) == (Step.HISTORY, Code(code), calls, calls)
    assert len(watched.pauses) == calls - 1
    if code == "identity_mismatch":
        assert refused(lambda: watched.service.snapshot(v1(service), deadline=soon())).code is Code.IDENTITY_MISMATCH
        return
    snapshot = watched.service.snapshot(v1(service), deadline=soon())
    assert snapshot.head is None
    for part, step in ((snapshot.info, Step.INFO), (snapshot.positions, Step.POSITIONS)):
        assert failed(part) == replace(failure, step=step)


def test_a_second_try_that_succeeds_is_a_success_of_two_attempts(service: ScriptedService) -> None:
    service.tell(SNAPSHOT, BUSY, WHOLE)
    service.tell(DEALS, Reply(how="reset"), deals_v1((deal(1),)))
    watched = Watched()
    snapshot = watched.service.snapshot(v1(service), deadline=soon())
    assert (snapshot.info, snapshot.attempts, watched.pauses) == (info(), 2, [0.5])
    assert watched.service.deals(v1(service), WINDOW, deadline=soon()).attempts == 2
    assert watched.before == ["default"] * 4


def test_a_timeout_is_tried_again_once_in_an_accounts_run(service: ScriptedService) -> None:
    for path in (INFO, POSITIONS, HISTORY):
        service.tell(path, Reply(how="hang"))
    watched, left = Watched(request_seconds=0.3), Retries()
    snapshot = watched.service.snapshot(v0(service), deadline=soon(), retries=left)
    history = refused(lambda: watched.service.deals(v0(service), WINDOW, deadline=soon(), retries=left))
    assert {failed(snapshot.info).code, failed(snapshot.positions).code, history.code} == {Code.TIMEOUT}
    wait_until(lambda: len(service.calls) == 4)  # a busy service reads a request when nobody waits any more
    assert service.paths() == [INFO, INFO, POSITIONS, HISTORY]
    assert failed(snapshot.info).text == "Connection timeout"


def test_each_step_of_a_run_has_one_more_try_whatever_its_pages(service: ScriptedService) -> None:
    tell_v0(service, position(1))
    service.tell(POSITIONS, BUSY, positions_v0((position(1),))[0][0])
    service.tell(HISTORY, BUSY, history_v0((deal(1),))[0][0], BUSY)
    adapter, left = Watched().service, Retries()
    assert adapter.snapshot(v0(service), deadline=soon(), retries=left).positions == (position(1),)
    assert adapter.deals(v0(service), WINDOW, deadline=soon(), retries=left).attempts == 2
    assert refused(lambda: adapter.deals(v0(service), WINDOW, deadline=soon(), retries=left)).attempts == 1


def test_the_pause_is_as_long_as_the_service_asks_and_told_to_the_bucket(service: ScriptedService) -> None:
    limited = Reply(status=429, headers={"Retry-After": "2"}, body={"error": "rate limit exceeded", "retry_after": 1})
    service.tell(SNAPSHOT, limited, WHOLE)
    watched = Watched()
    assert watched.service.snapshot(v1(service), deadline=soon()).info == info()
    assert (watched.pauses, watched.limited) == ([2.0], [("default", 2.0)])


def test_a_pause_that_is_too_long_or_past_the_deadline_is_left_to_another_run(service: ScriptedService) -> None:
    watched = Watched()
    for seconds, deadline in (("31", 600.0), ("20", 10.0)):
        service.tell(DEALS, Reply(status=429, headers={"Retry-After": seconds}))
        failure = refused(lambda deadline=deadline: watched.service.deals(v1(service), WINDOW, deadline=soon(deadline)))
        assert (failure.code, failure.attempts, failure.retry_after_seconds) == (Code.RATE_LIMITED, 1, int(seconds))
    assert (watched.pauses, watched.limited) == ([], [("default", 31.0), ("default", 20.0)])


def test_a_429_without_a_pause_empties_the_bucket_and_a_brokers_limit_does_not(service: ScriptedService) -> None:
    watched = Watched()
    service.tell(DEALS, Reply(status=429))
    refused(lambda: watched.service.deals(v1(service), WINDOW, deadline=soon()))
    assert watched.limited == [("default", 5.0)] * 2
    service.tell(DEALS, Reply(status=429, body={"error": {"code": "BROKER_RATE_LIMIT"}}))
    assert refused(lambda: watched.service.deals(v1(service), WINDOW, deadline=soon())).is_broker
    assert len(watched.limited) == 2


@pytest.mark.parametrize(
    "reply", [Reply(status=401), Reply(status=401, body={"error_code": "MT5_LOGIN_FAILED"}), Reply(status=429)]
)
def test_a_refused_login_key_or_rate_is_not_asked_for_the_next_step(service: ScriptedService, reply: Reply) -> None:
    tell_v0(service)
    service.tell(INFO, reply)
    snapshot = Watched().service.snapshot(v0(service), deadline=soon())
    assert POSITIONS not in service.paths()
    assert failed(snapshot.positions) == replace(failed(snapshot.info), step=Step.POSITIONS)


def test_a_part_that_failed_at_the_broker_is_asked_again_with_the_whole_snapshot(service: ScriptedService) -> None:
    broken = {**WHOLE, "positions": {"complete": False, "error": {"code": "BROKER_TIMEOUT", "retry_after_seconds": 3}}}
    service.tell(SNAPSHOT, broken, WHOLE)
    watched = Watched()
    snapshot = watched.service.snapshot(v1(service), deadline=soon())
    assert (snapshot.positions, snapshot.attempts, watched.pauses) == ((position(1), position(2)), 2, [3.0])


def test_a_second_snapshot_that_fails_leaves_what_the_first_brought(service: ScriptedService) -> None:
    broken = {**WHOLE, "positions": {"complete": False, "error": {"code": "BROKER_TIMEOUT"}}}
    service.tell(SNAPSHOT, broken, BUSY)
    snapshot = Watched().service.snapshot(v1(service), deadline=soon())
    assert (snapshot.info, snapshot.attempts, len(service.calls)) == (info(), 2, 2)
    assert (failed(snapshot.positions).code, failed(snapshot.positions).attempts) == (Code.BROKER_UNAVAILABLE, 2)
    service.tell(SNAPSHOT, broken, {**WHOLE, "login": "1"})
    assert refused(lambda: Watched().service.snapshot(v1(service), deadline=soon())).code is Code.IDENTITY_MISMATCH


def test_a_part_that_is_merely_incomplete_is_not_asked_again(service: ScriptedService) -> None:
    service.tell(SNAPSHOT, {**WHOLE, "positions": {"complete": False}})
    snapshot = Watched().service.snapshot(v1(service), deadline=soon())
    assert (failed(snapshot.positions).code, snapshot.attempts, len(service.calls)) == (Code.INCOMPLETE, 1, 1)


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["hang", "drip", "drip_header"])
def test_a_call_ends_at_its_total_however_the_answer_drips(service: ScriptedService, how: str) -> None:
    service.tell(SNAPSHOT, Reply(body=WHOLE, how=how))
    began = clock.monotonic()
    snapshot = Watched(request_seconds=0.2, retries_max=0).service.snapshot(v1(service), deadline=soon())
    assert failed(snapshot.info).code is Code.TIMEOUT
    assert clock.monotonic() - began < 30  # bounded, not measured


def test_a_call_is_cut_to_the_accounts_deadline(service: ScriptedService) -> None:
    service.tell(SNAPSHOT, Reply(how="hang"))
    began = clock.monotonic()
    snapshot = Watched().service.snapshot(v1(service), deadline=soon(0.2))
    assert (failed(snapshot.info).code, failed(snapshot.info).attempts) == (Code.TIMEOUT, 1)
    assert clock.monotonic() - began < 30  # bounded, not measured
    assert failed(Watched().service.snapshot(v1(service), deadline=soon(-1)).info).code is Code.TIMEOUT
    wait_until(lambda: len(service.calls) == 1)


def test_an_answer_of_more_than_eight_mebibytes_is_broken_off(service: ScriptedService) -> None:
    service.tell(SNAPSHOT, Reply(body=b'{"contract": "' + b"x" * ANSWER_BYTES_MAX + b'"}'))
    snapshot = Watched().service.snapshot(v1(service), deadline=soon())
    assert (failed(snapshot.info).code, failed(snapshot.info).text) == (
        Code.CONTRACT_ERROR,
        "Answer not understood (body too large)",
    )


def test_a_redirect_is_not_followed_and_a_cookie_not_kept(service: ScriptedService) -> None:
    service.tell(SNAPSHOT, Reply(status=307, headers={"Location": f"{service.base_url}/elsewhere", "Set-Cookie": "who=other"}))
    adapter = Watched().service
    adapter.snapshot(v1(service), deadline=soon())
    adapter.snapshot(v1(service), deadline=soon())
    assert service.paths() == [SNAPSHOT, SNAPSHOT]
    assert all("cookie" not in call.headers for call in service.calls)


def test_a_service_that_is_not_there_is_no_connection() -> None:
    watched = Watched()
    assert failed(watched.service.snapshot(target("http://127.0.0.1:9"), deadline=soon()).info).code is Code.CONNECTION
    assert len(watched.pauses) == 1


@pytest.mark.parametrize(
    "base_url",
    ["http://mt5.example", "http://10.0.0.8:8000", "ftp://localhost", "https://user:pw@mt5.example", "https://", "", "https://h/?a=1",
     "http://localhost.example", "https://[broken"],
)  # fmt: skip
def test_an_address_without_tls_beyond_this_machine_is_never_called(base_url: str) -> None:
    watched = Watched()
    failure = failed(watched.service.snapshot(target(base_url), deadline=soon()).info)
    assert (failure.code, failure.attempts, watched.before) == (Code.INVALID_REQUEST, 1, [])


@pytest.mark.parametrize(
    "base_url",
    ["https://10.0.0.8", "https://169.254.169.254/", "https://192.168.1.1:8443/mt5", "https://[fd00::1]", "https://[::ffff:10.0.0.8]",
     "https://167772168", "https://0x0a.8", "https://0", "http://169.254.169.254"],
)  # fmt: skip
def test_check_28_an_address_of_a_row_that_is_a_neighbours_number_is_never_called(base_url: str) -> None:
    watched = Watched()
    failure = failed(watched.service.snapshot(target(base_url), deadline=soon()).info)
    assert (failure.code, failure.attempts, watched.before) == (Code.INVALID_REQUEST, 1, [])


@pytest.mark.parametrize("account", ["..", ".", "", "a/b", "a?b", "a b", "a\r\nX: y", "ä", "x" * 129])
def test_an_account_id_that_could_leave_its_path_is_never_sent(service: ScriptedService, account: str) -> None:
    ours = replace(v1(service), service_account_id=account)
    assert failed(Watched().service.snapshot(ours, deadline=soon()).info).code is Code.INVALID_REQUEST
    assert service.calls == []


def test_without_our_identity_nothing_is_sent(service: ScriptedService) -> None:
    def no_identity() -> dict[str, str]:
        raise Unavailable("identity_unavailable", KEY)

    snapshot = Watched(bearer=no_identity).service.snapshot(v1(service), deadline=soon())
    assert failed(snapshot.info).code is Code.CONNECTION
    assert service.calls == []


def test_a_thread_that_waits_for_a_language_keeps_its_own_deadline(service: ScriptedService) -> None:
    service.tell("/v1/health", Reply(how="hang"))
    ours = replace(v1(service), instance=replace(v1(service).instance, contract=ContractKind.AUTO))
    adapter = Watched(request_seconds=3.0, retries_max=0).service
    with ThreadPoolExecutor(2) as pool:
        asking = pool.submit(adapter.snapshot, ours, deadline=soon())
        while not service.calls:
            clock.sleep(0.01)
        waiting = adapter.snapshot(ours, deadline=soon(0.1))
        assert not asking.done()
        assert (failed(waiting.info).code, failed(asking.result().info).code) == (Code.TIMEOUT, Code.TIMEOUT)
    assert service.paths() == ["/v1/health"]
