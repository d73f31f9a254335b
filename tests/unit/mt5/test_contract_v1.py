"""Contract mt5/1: what is whole and ours is read exactly, everything else is one named failure."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from fillbook.mt5 import contract, contract_v1
from fillbook.mt5.faults import CallFailed, ContractError
from fillbook.mt5.model import Head, Info, Snapshot, StepFailure, Window
from fillbook.mt5.words import Code, HealthStatus, Step
from tests.support.mt5_shapes import (
    LOGIN,
    NOW,
    NOW_MSC,
    SERVER,
    at_path,
    deal,
    deals_v1,
    head_v1,
    info,
    position,
    read_v1_deals,
    snapshot_v1,
    target,
    wire,
)

POSITIONS = (position(1), position(2, stop_loss=None, take_profit=Decimal("1.2"), comment="grid", magic=-5))
DEALS = (deal(1), deal(2, deal_type=1, entry=1, profit=Decimal("-3.5")))


def snapshot(document: dict[str, Any]) -> Snapshot:
    return contract_v1.read_snapshot(wire(document))


def changed(document: dict[str, Any], *path: str | int, to: Any) -> dict[str, Any]:
    at_path(document, path[:-1])[path[-1]] = to
    return document


def code_of(part: object) -> Code:
    assert isinstance(part, StepFailure)
    return part.code


def test_a_snapshot_tells_both_parts_and_the_moment_it_describes() -> None:
    read = snapshot(snapshot_v1(info(), POSITIONS))
    assert (read.info, read.positions) == (info(), POSITIONS)
    assert read.head == Head(login=LOGIN, server=SERVER, server_time_msc=NOW_MSC, as_of=NOW, cache_age_ms=0)


def test_amounts_may_be_numbers_and_ids_integers() -> None:
    document = snapshot_v1(info(), POSITIONS, number=lambda number: number)
    document = changed(changed(document, "login", to=LOGIN), "positions", "rows", 0, "ticket", to=POSITIONS[0].ticket)
    assert snapshot(document) == snapshot(snapshot_v1(info(), POSITIONS))


def test_a_part_that_is_not_complete_fails_alone() -> None:
    told = {"complete": False, "error": {"code": "BROKER_TIMEOUT", "message": "m", "retry_after_seconds": 5}}
    read = snapshot(changed(snapshot_v1(info(), POSITIONS), "positions", to=told))
    assert read.info == info()
    failed = read.positions
    assert isinstance(failed, StepFailure)
    assert (failed.step, failed.code, failed.retry_after_seconds) == (Step.POSITIONS, Code.BROKER_UNAVAILABLE, 5)
    assert (failed.is_broker, failed.has_code) == (True, True)


@pytest.mark.parametrize("told", [{"complete": False}, {"complete": False, "error": None, "rows": []}])
def test_an_empty_list_that_is_not_complete_is_not_empty(told: Any) -> None:
    assert code_of(snapshot(changed(snapshot_v1(info(), ()), "positions", to=told)).positions) is Code.INCOMPLETE


@pytest.mark.parametrize(
    "told",
    [None, [], {"rows": []}, {"complete": True}, {"complete": True, "rows": None}, {"complete": 1, "rows": []},
     {"complete": "true", "rows": []}, {"complete": True, "rows": [None]}],
)  # fmt: skip
def test_positions_that_are_no_list_fail_and_leave_info_standing(told: Any) -> None:
    read = snapshot(changed(snapshot_v1(info(), ()), "positions", to=told))
    assert read.info == info()
    assert code_of(read.positions) is Code.CONTRACT_ERROR


@pytest.mark.parametrize(
    ("name", "value"), [("currency", None), ("currency_digits", "x"), ("margin_mode", 3), ("margin_mode", True)]
)
def test_a_frame_of_the_account_that_is_wrong_fails_info_alone(name: str, value: Any) -> None:
    read = snapshot(changed(snapshot_v1(info(), POSITIONS), name, to=value))
    assert code_of(read.info) is Code.CONTRACT_ERROR
    assert read.positions == POSITIONS


@pytest.mark.parametrize(
    ("name", "value"),
    [("contract", "mt5/2"), ("contract", None), ("login", None), ("login", "0"), ("server", ""), ("server_time_msc", None),
     ("server_time_msc", "1778077800000000"), ("as_of", "2026-05-06T14:30:00"), ("as_of", None),
     ("cache_age_ms", None), ("cache_age_ms", -1)],
)  # fmt: skip
def test_an_answer_without_a_sound_head_is_refused_as_a_whole(name: str, value: Any) -> None:
    for document, read in ((snapshot_v1(info(), ()), contract_v1.read_snapshot), (deals_v1(DEALS), read_v1_deals)):
        with pytest.raises(ContractError) as refused:
            read(wire(changed(document, name, to=value)))
        assert refused.value.fault.code is Code.CONTRACT_ERROR


@pytest.mark.parametrize(
    ("name", "value"),
    [("type", 2), ("type", "buy"), ("type", True), ("volume", "0"), ("volume", "-1"), ("ticket", "0"), ("identifier", None),
     ("time_msc", None), ("sl", None), ("tp", None), ("profit", None), ("swap", None), ("symbol", ""),
     ("price_open", "x"), ("magic", "x")],
)  # fmt: skip
def test_a_position_that_is_not_understood_fails_the_whole_list(name: str, value: Any) -> None:
    read = snapshot(changed(snapshot_v1(info(), POSITIONS), "positions", "rows", 1, name, to=value))
    failed = read.positions
    assert isinstance(failed, StepFailure)
    assert (failed.code, failed.text) == (Code.CONTRACT_ERROR, f"Answer not understood (positions[1].{name})")


def test_the_margin_level_is_unknown_without_margin() -> None:
    none = info(margin=Decimal(0), margin_level=None)
    assert snapshot(snapshot_v1(none, ())).info == none
    document = changed(snapshot_v1(info(), ()), "info", "margin_level", to=None)
    assert code_of(snapshot(document).info) is Code.CONTRACT_ERROR


def test_a_quote_of_zero_is_no_price() -> None:
    assert snapshot(snapshot_v1(info(), (position(price_current=None),))).positions == (position(price_current=None),)


def test_a_row_that_comes_twice_counts_once_and_two_of_one_key_are_refused() -> None:
    assert snapshot(snapshot_v1(info(), (position(), position()))).positions == (position(),)
    assert code_of(snapshot(snapshot_v1(info(), (position(), position(profit=Decimal(1))))).positions) is Code.CONTRACT_ERROR
    twice = deals_v1((DEALS[0], *DEALS), total=2)
    assert read_v1_deals(wire(twice)).deals == DEALS
    assert read_v1_deals(wire({**twice, "total": 3})).deals == DEALS
    with pytest.raises(ContractError):
        read_v1_deals(wire(deals_v1((deal(1), deal(1, fee=Decimal(-1))), total=1)))


def test_fields_we_do_not_know_are_kept() -> None:
    document = deals_v1(DEALS)
    document["deals"][0] |= {"volume_closed": Decimal("0.1"), "gateway": {"id": "x"}}
    document["news"] = [1]
    kept = {"volume_closed": Decimal("0.1"), "gateway": {"id": "x"}}
    assert read_v1_deals(wire(document)).deals[0] == replace(DEALS[0], extra=kept)


def test_a_page_of_deals_says_how_many_there_are_and_where_the_next_begins() -> None:
    page = read_v1_deals(wire(deals_v1(DEALS, total=7, next_cursor="c1")))
    assert (page.deals, page.total, page.next_cursor, page.is_paired) == (DEALS, 7, "c1", False)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"complete": False}, "incomplete"), ({"complete": None}, "contract_error"), ({"deals": None}, "contract_error"),
        ({"total": None}, "contract_error"), ({"total": 3}, "incomplete"), ({"total": 1}, "incomplete"),
        ({"deals": [], "total": 4, "next_cursor": "c1"}, "incomplete"), ({"next_cursor": 5}, "contract_error"),
        ({"complete": False, "error": {"code": "MT5_LOGIN_FAILED"}}, "auth_failed"),
    ],
)  # fmt: skip
def test_a_page_that_does_not_prove_itself_whole_is_refused(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(CallFailed) as refused:
        read_v1_deals(wire({**deals_v1(DEALS), **changes}))
    assert refused.value.fault.code is Code(code)


@pytest.mark.parametrize(
    "name", "ticket order position_id time_msc type entry volume price commission swap fee profit symbol".split()
)
def test_a_deal_needs_every_field_that_money_depends_on(name: str) -> None:
    document = deals_v1(DEALS)
    del document["deals"][1][name]
    with pytest.raises(ContractError) as refused:
        read_v1_deals(wire(document))
    assert refused.value.where == f"deals[1].{name}"


def test_a_type_of_deal_that_nobody_knows_is_kept_and_an_entry_refused() -> None:
    odd = deal(1, deal_type=99, position_id=0, symbol="", volume=Decimal(0), price=Decimal(0))
    assert read_v1_deals(wire(deals_v1((odd,)))).deals == (odd,)
    with pytest.raises(ContractError):
        read_v1_deals(wire(deals_v1((deal(1, entry=4),))))


def test_symbols_are_read_with_what_the_service_knows_of_them() -> None:
    known = {"symbol": "EURGBP.x", "contract_size": "100000", "digits": 5, "currency_profit": "GBP"}
    document = {**head_v1(), "symbols": [known, {"symbol": "ODD", "contract_size": 0}]}
    _, (first, second) = contract_v1.read_symbols(wire(document))
    assert (first.symbol, first.symbol_norm, first.contract_size, first.digits, first.currency_profit) == (
        "EURGBP.x", "EURGBP", Decimal(100_000), 5, "GBP")  # fmt: skip
    assert (second.contract_size, second.digits, second.currency_profit) == (None, None, None)


def test_health_tells_status_and_limits() -> None:
    told = {"contract": "mt5/1", "status": "degraded", "limits": {"requests_per_minute": 600, "sessions": None}}
    health = contract_v1.read_health(wire(told))
    assert (health.status, health.requests_per_minute, health.sessions) == (HealthStatus.DEGRADED, 600, None)
    for wrong in ({**told, "status": "fine"}, {**told, "limits": []}, {**told, "contract": "mt5/0"}, {}):
        with pytest.raises(ContractError):
            contract_v1.read_health(wire(wrong))


@pytest.mark.parametrize(("login", "server"), [(LOGIN + 1, SERVER), (LOGIN, "Meadow-Demo"), (None, "meadow-live"), (1, None)])
def test_an_answer_about_another_account_is_told_apart(login: int | None, server: str | None) -> None:
    head = Head(login=login, server=server, server_time_msc=NOW_MSC, as_of=NOW)
    with pytest.raises(ContractError) as refused:
        contract.check_identity(head, target())
    assert refused.value.fault.code is Code.IDENTITY_MISMATCH
    assert str(login) not in str(refused.value)


def test_what_says_nothing_of_an_account_is_taken_to_be_ours() -> None:
    contract.check_identity(Head(login=None, server=None, server_time_msc=None, as_of=NOW), target())


def test_a_page_keeps_what_was_asked_for() -> None:
    page = read_v1_deals(wire(deals_v1(DEALS)))
    first, second = (one.time_msc for one in DEALS)
    assert contract.only(page, Window(from_msc=first, to_msc=second)).deals == DEALS[:1]
    assert contract.only(page, Window(from_msc=second, to_msc=second + 1)).deals == DEALS[1:]
    assert contract.only(page, DEALS[1].position_id).deals == DEALS[1:]


def test_info_is_money_and_nothing_is_guessed() -> None:
    for name in "balance equity margin margin_free credit profit".split():
        document = snapshot_v1(info(), ())
        del document["info"][name]
        assert code_of(snapshot(document).info) is Code.CONTRACT_ERROR
    assert isinstance(snapshot(snapshot_v1(info(leverage=None), ())).info, Info)
