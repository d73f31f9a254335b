"""The MT5 adapter over HTTP: what it asks in each language, of whom, and what it never lets out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from fillbook.mt5.model import Info, Instance, ServiceFailure, Target, Window
from fillbook.mt5.mt5_calls import Hooks
from fillbook.mt5.mt5_service import Keys, Mt5Service
from fillbook.mt5.sources import ReadsAccount, ReadsHealth, ReadsSymbols
from fillbook.mt5.words import Code, ContractKind, HealthStatus, Step
from fillbook.runtime.clock import FixedClock
from tests.support.mt5_scripted import (
    DEALS,
    HEALTHY_V1,
    HISTORY,
    INFO,
    KEY,
    POSITIONS,
    SNAPSHOT,
    SYMBOLS,
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
    NOW,
    NOW_MSC,
    SERVER,
    deal,
    deals_v1,
    head_v1,
    history_v0,
    info,
    infos_v0,
    position,
    positions_v0,
)


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedService]:
    with scripted_service() as service:
        yield service


@pytest.fixture
def service(running: ScriptedService) -> ScriptedService:
    running.forget()
    return running


# --- what it asks -----------------------------------------------------------------------------------------------------


def test_the_adapter_fills_the_ports_of_the_room() -> None:
    adapter = Watched().service
    reads: tuple[ReadsAccount, ReadsHealth, ReadsSymbols] = (adapter, adapter, adapter)
    assert all(reads)


def test_a_snapshot_of_v1_is_one_call_with_key_scope_and_number(service: ScriptedService) -> None:
    service.tell(SNAPSHOT, WHOLE)
    watched = Watched()
    snapshot = watched.service.snapshot(v1(service), deadline=soon())
    assert (snapshot.info, snapshot.positions, snapshot.attempts) == (info(), (position(1), position(2)), 1)
    (call,) = service.calls
    assert (call.path, call.query) == (SNAPSHOT, {})
    assert (call.headers["x-api-key"], call.headers["x-account-scope"]) == (KEY, "svc-7")
    assert len(call.headers["x-request-id"]) == 32
    assert "authorization" not in call.headers
    assert watched.before == ["default"]


def test_every_call_has_a_number_of_its_own_and_shares_the_connection(service: ScriptedService) -> None:
    service.tell(SNAPSHOT, WHOLE)
    adapter = Watched().service
    for _ in range(3):
        adapter.snapshot(v1(service), deadline=soon())
    assert len({call.headers["x-request-id"] for call in service.calls}) == 3
    assert len({call.port for call in service.calls}) == 1


def test_an_instance_may_have_a_key_of_its_own_and_ask_for_our_identity(service: ScriptedService) -> None:
    service.tell(SNAPSHOT, WHOLE)
    keys = Keys(api_key=SecretStr(KEY), by_instance={"second": SecretStr("other-key")})
    adapter = Watched(keys=keys, bearer=lambda: {"Authorization": "Bearer t"}).service
    adapter.snapshot(v1(service), deadline=soon())
    second = replace(v1(service), instance=replace(v1(service).instance, instance_key="second"))
    adapter.snapshot(second, deadline=soon())
    assert [call.headers["x-api-key"] for call in service.calls] == [KEY, "other-key"]
    assert [call.headers["authorization"] for call in service.calls] == ["Bearer t", "Bearer t"]


def test_deals_of_v1_are_asked_for_by_window_and_by_position(service: ScriptedService) -> None:
    other = deal(2, time_msc=WINDOW.to_msc)
    service.tell(DEALS, deals_v1((deal(1), other), total=5, next_cursor="c1"))
    adapter = Watched().service
    page = adapter.deals(v1(service), WINDOW, deadline=soon())
    assert (page.deals, page.total, page.next_cursor, page.attempts) == ((deal(1),), 5, "c1", 1)
    assert adapter.deals(v1(service), other.position_id, cursor="c1", limit=5000, deadline=soon()).deals == (other,)
    first, second = (call.query for call in service.calls)
    assert first == {"from_msc": str(WINDOW.from_msc), "to_msc": str(WINDOW.to_msc), "limit": "1000"}
    assert second == {"position_id": str(other.position_id), "cursor": "c1", "limit": "1000"}


def test_the_other_service_is_asked_in_utc_dates_with_a_day_to_spare(service: ScriptedService) -> None:
    tell_v0(service)
    adapter = Watched().service
    page = adapter.deals(v0(service), Window(from_msc=deal(2).time_msc, to_msc=deal(2).time_msc + 1), deadline=soon())
    assert (page.deals, page.total, page.next_cursor) == ((deal(2),), None, None)
    (call,) = service.calls
    assert call.query == {"from_date": "2026-05-05", "to_date": "2026-05-08", "limit": "1000", "offset": "0"}


def test_the_last_hours_of_a_server_ahead_of_utc_are_within_the_dates(service: ScriptedService) -> None:
    tell_v0(service)
    late = Window(from_msc=NOW_MSC, to_msc=NOW_MSC + 14 * 3_600_000)  # the server's clock is in tomorrow already
    Watched().service.deals(v0(service), late, deadline=soon())
    assert service.calls[0].query["to_date"] == "2026-05-09"


def test_pages_of_the_other_service_follow_by_offset_and_are_held_to_their_counter(service: ScriptedService) -> None:
    rows = history_v0(tuple(deal(number) for number in range(1, 6)))[0][0]["deals"]

    def page(first: int, last: int, total: int = 5) -> dict[str, Any]:
        return {"deals": rows[first:last], "total": total, "pagination": {"limit": 2, "offset": first, "has_more": last < 5}}

    service.tell(HISTORY, page(0, 2), page(2, 4), page(4, 5, total=6))
    adapter = Watched().service
    first = adapter.deals(v0(service), WINDOW, limit=2, deadline=soon())
    second = adapter.deals(v0(service), WINDOW, limit=2, cursor=first.next_cursor, deadline=soon())
    drift = refused(lambda: adapter.deals(v0(service), WINDOW, limit=2, cursor=second.next_cursor, deadline=soon()))
    assert [call.query["offset"] for call in service.calls] == ["0", "2", "4"]
    assert (len(first.deals), len(second.deals), drift.code, drift.step) == (2, 2, Code.PAGE_DRIFT, Step.HISTORY)


def test_one_position_of_the_other_service_is_looked_for_in_its_whole_history(service: ScriptedService) -> None:
    tell_v0(service)
    page = Watched().service.deals(v0(service), deal(2).position_id, deadline=soon())
    assert page.deals == (deal(2),)
    assert (service.calls[0].query["from_date"], service.calls[0].query["to_date"]) == ("2014-12-31", "2026-05-10")


def test_a_snapshot_of_the_other_service_is_info_then_positions(service: ScriptedService) -> None:
    tell_v0(service, position(1))
    snapshot = Watched().service.snapshot(v0(service), deadline=soon())
    assert (snapshot.info, snapshot.positions) == (info(), (position(1),))
    assert service.paths() == [INFO, POSITIONS]
    assert snapshot.head is not None
    assert (snapshot.head.as_of, snapshot.head.server_time_msc) == (NOW, NOW_MSC)


def test_a_snapshot_of_two_answers_is_as_old_as_the_older(service: ScriptedService) -> None:
    tell_v0(service, position(1))
    service.tell(POSITIONS, {**positions_v0((position(1),))[0][0], "cached": True, "cache_age_seconds": 40})
    snapshot = Watched().service.snapshot(v0(service), deadline=soon())
    assert snapshot.head is not None
    assert snapshot.head.cache_age_ms == 40_000


def test_positions_that_info_counts_and_the_list_lacks_are_incomplete(service: ScriptedService) -> None:
    tell_v0(service, position(1))
    service.tell(POSITIONS, {"success": True, "positions": []})
    snapshot = Watched().service.snapshot(v0(service), deadline=soon())
    assert snapshot.info == info()
    assert failed(snapshot.positions).code is Code.INCOMPLETE


def test_symbols_are_asked_for_by_name_and_not_of_the_other_service(service: ScriptedService) -> None:
    rows = [{"symbol": "EURGBP", "contract_size": 100_000}, {"symbol": "NEVER", "contract_size": 1}]
    service.tell(SYMBOLS, {**head_v1(), "symbols": rows})
    adapter = Watched().service
    (fact,) = adapter.symbols(v1(service), ["EURGBP", "X&Y"], deadline=soon())
    assert (fact.symbol, fact.contract_size) == ("EURGBP", Decimal(100_000))
    assert service.calls[0].query == {"names": "EURGBP,X&Y"}
    assert adapter.symbols(v0(service), ["EURGBP"], deadline=soon()) == ()
    assert adapter.symbols(v1(service), [], deadline=soon()) == ()
    with pytest.raises(ValueError, match="more than 50"):
        adapter.symbols(v1(service), ["x"] * 51, deadline=soon())
    assert len(service.calls) == 1


# --- which language, how well -----------------------------------------------------------------------------------------


def auto(service: ScriptedService) -> Instance:
    return Instance(instance_key="default", base_url=service.base_url)


def test_a_service_that_answers_on_v1_is_asked_in_v1(service: ScriptedService) -> None:
    service.tell("/v1/health", HEALTHY_V1)
    service.tell(SNAPSHOT, WHOLE)
    adapter = Watched().service
    health = adapter.health(auto(service), deadline=soon())
    assert (health.contract, health.requests_per_minute, health.sessions) == (ContractKind.V1, 600, 20)
    adapter.snapshot(replace(v1(service), instance=auto(service)), deadline=soon())
    assert service.paths() == ["/v1/health", SNAPSHOT]
    assert "x-account-scope" not in service.calls[0].headers


def test_a_service_without_v1_is_the_other_one(service: ScriptedService) -> None:
    service.tell("/health", {"status": "healthy"})
    tell_v0(service, position(1))
    adapter = Watched().service
    ours = replace(v0(service), instance=auto(service))
    assert adapter.snapshot(ours, deadline=soon()).positions == (position(1),)
    assert adapter.deals(ours, WINDOW, deadline=soon()).deals == (deal(1), deal(2))
    assert service.paths() == ["/v1/health", "/health", INFO, POSITIONS, HISTORY]


def test_many_threads_settle_a_language_with_one_question(service: ScriptedService) -> None:
    service.tell("/v1/health", HEALTHY_V1)
    service.tell(SNAPSHOT, WHOLE)
    adapter = Watched().service
    ours = replace(v1(service), instance=auto(service))
    with ThreadPoolExecutor(20) as pool:
        snapshots = list(pool.map(lambda _: adapter.snapshot(ours, deadline=soon()), range(60)))
    assert all(isinstance(one.info, Info) for one in snapshots)
    assert service.paths().count("/v1/health") == 1
    assert len({call.headers["x-request-id"] for call in service.calls}) == 61


def test_an_unknown_language_fails_both_steps_and_the_history(service: ScriptedService) -> None:
    service.tell("/v1/health", Reply(status=500, body=b"oops"))
    adapter = Watched().service
    ours = replace(v1(service), instance=auto(service))
    snapshot = adapter.snapshot(ours, deadline=soon())
    assert (failed(snapshot.info).step, failed(snapshot.positions).step) == (Step.INFO, Step.POSITIONS)
    assert failed(snapshot.info).code is Code.SERVICE_ERROR
    history = refused(lambda: adapter.deals(ours, WINDOW, deadline=soon()))
    assert (history.step, history.code) == (Step.HISTORY, Code.SERVICE_ERROR)


@pytest.mark.parametrize("kind", [ContractKind.V1, ContractKind.V0])
def test_a_503_that_says_unhealthy_is_an_answer_and_another_is_not(service: ScriptedService, kind: ContractKind) -> None:
    instance = replace(auto(service), contract=kind)
    path = "/v1/health" if kind is ContractKind.V1 else "/health"
    service.tell(path, Reply(status=503, body={"contract": "mt5/1", "status": "unhealthy"}))
    adapter = Watched().service
    assert adapter.health(instance, deadline=soon()).status is HealthStatus.UNHEALTHY
    service.tell(path, Reply(status=503, body={"message": "Service unavailable"}))
    failure = refused(lambda: adapter.health(instance, deadline=soon()))
    assert (failure.code, failure.attempts) == (Code.SERVICE_UNAVAILABLE, 2)


def test_health_without_a_known_status_is_refused(service: ScriptedService) -> None:
    service.tell("/v1/health", {"contract": "mt5/1", "status": "great"})
    assert refused(lambda: Watched().service.health(auto(service), deadline=soon())).code is Code.CONTRACT_ERROR


# --- another account --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [INFO, POSITIONS, HISTORY])
def test_another_account_in_any_one_answer_is_a_mismatch(service: ScriptedService, path: str) -> None:
    tell_v0(service, position(1))
    documents = {
        INFO: infos_v0(info(), 1)[0],
        POSITIONS: positions_v0((position(1),))[0][0],
        HISTORY: history_v0((deal(1),))[0][0],
    }
    service.tell(path, {**documents[path], "login": LOGIN + 1})
    adapter = Watched().service
    read = adapter.snapshot if path != HISTORY else lambda target, deadline: adapter.deals(target, WINDOW, deadline=deadline)
    failure = refused(lambda: read(v0(service), deadline=soon()))
    assert (failure.code, failure.attempts) == (Code.IDENTITY_MISMATCH, 1)
    assert str(LOGIN) not in failure.text


# --- sharing and secrets ----------------------------------------------------------------------------------------------


def test_a_hundred_threads_share_one_adapter_and_none_gets_anothers_answer(service: ScriptedService) -> None:
    accounts = [replace(v1(service), service_account_id=f"svc-{number}", login=number) for number in range(1, 101)]
    for account in accounts:
        service.tell(f"/v1/accounts/{account.service_account_id}/snapshot", {**WHOLE, "login": str(account.login)})
    adapter = Watched().service
    barrier = threading.Barrier(100)

    def read(account: Target) -> int | None:
        barrier.wait(60)
        snapshots = [adapter.snapshot(account, deadline=soon()) for _ in range(2)]
        assert all(one.head is not None and one.head.server == SERVER for one in snapshots)
        return snapshots[0].head.login if snapshots[0].head else None

    with ThreadPoolExecutor(100) as pool:
        assert list(pool.map(read, accounts)) == [account.login for account in accounts]


def test_no_key_and_no_word_of_the_service_is_in_an_error_or_a_log(
    service: ScriptedService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told = {"error": {"code": "BROKER_TIMEOUT", "message": f"canary-words {KEY}"}}
    replies = (
        Reply(status=503, body=told),
        Reply(status=401, body=told),
        Reply(body={**WHOLE, "server": KEY}),
        Reply(how="reset"),
    )
    watched = Watched(keys=Keys(api_key=SecretStr(KEY)))
    said = repr(watched.service) + repr(vars(watched.service))
    for reply in replies:
        service.tell(DEALS, reply)
        with pytest.raises(ServiceFailure) as raised:
            watched.service.deals(v1(service), WINDOW, deadline=soon())
        chained = (raised.value, raised.value.__cause__, raised.value.__context__)
        said += "".join(f"{one!r} {one}" for one in chained if one is not None) + repr(raised.value.failure)
    said += caplog.text
    assert KEY not in said
    assert "canary-words" not in said


def test_a_key_that_is_no_header_fails_without_being_told(service: ScriptedService) -> None:
    watched = Watched(keys=Keys(api_key=SecretStr(f"{KEY}\r\nX: y")))
    snapshot = watched.service.snapshot(v1(service), deadline=soon())
    assert failed(snapshot.info).code is Code.CONNECTION
    assert KEY not in repr(snapshot)
    assert service.calls == []


def test_the_jitter_is_between_a_fifth_of_a_second_and_a_second() -> None:
    drawn = [Hooks().jitter() for _ in range(200)]
    assert min(drawn) >= 0.2
    assert max(drawn) <= 1.0
    assert len(set(drawn)) > 100


def test_an_adapter_without_hooks_works_alone(service: ScriptedService) -> None:
    service.tell(SNAPSHOT, WHOLE)
    adapter = Mt5Service(Keys(api_key=SecretStr(KEY)), now=FixedClock(NOW))
    assert adapter.snapshot(v1(service), deadline=soon()).info == info()
