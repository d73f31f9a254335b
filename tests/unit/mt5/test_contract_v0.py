"""The three-endpoint service: its known spellings say the same, counters prove the list, everything else is refused."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.mt5 import contract, contract_v0
from fillbook.mt5.contract import Asked
from fillbook.mt5.faults import CallFailed
from fillbook.mt5.model import PairedTrade, Window
from fillbook.mt5.words import Code, ContractKind, HealthStatus, TradeSide
from tests.support.mt5_shapes import (
    ASKED,
    ASKED_UTC,
    LOGIN,
    NOW,
    NOW_MSC,
    SERVER,
    deal,
    history_v0,
    info,
    infos_v0,
    position,
    positions_v0,
    read_v0_history,
    wire,
)

POSITIONS = (position(1), position(2, side=TradeSide.SELL, stop_loss=None, take_profit=Decimal("1.2")))
DEALS = (deal(1), deal(2, deal_type=1, entry=1, profit=Decimal("-3.5")))
PAIR = {"ticket": 41, "symbol": "EURGBP", "type": "buy", "volume": Decimal("0.4"), "open_price": Decimal("1.1"),
        "close_price": Decimal("1.2"), "open_time": "2026-05-06T10:00:00Z", "close_time": "2026-05-06T11:00:00Z",
        "profit": 80, "swap": Decimal("-0.5"), "commission": Decimal("-2.8"), "net_profit": Decimal("76.7")}  # fmt: skip


def refusal(read: Any, document: Any, *more: Any) -> Code:
    with pytest.raises(CallFailed) as refused:
        read(wire(document), *(more or (ASKED,)))
    return refused.value.fault.code


@pytest.mark.parametrize("number", [0, 1])
def test_both_roots_of_info_say_the_same(number: int) -> None:
    read = contract_v0.read_info(wire(infos_v0(info(), 2)[number]), ASKED)
    assert read.info == info()
    assert read.positions_count == (2, None)[number]
    assert (read.head.login, read.head.server) == ((None, None), (LOGIN, SERVER))[number]
    assert (read.head.as_of, read.head.server_time_msc, read.head.cache_age_ms) == (NOW, NOW_MSC, 0)


@pytest.mark.parametrize("number", range(4))
def test_every_spelling_of_the_positions_says_the_same(number: int) -> None:
    document, asked = positions_v0(POSITIONS)[number]
    assert contract_v0.read_positions(wire(document), asked).positions == POSITIONS


@pytest.mark.parametrize("number", range(3))
def test_every_spelling_of_the_deals_says_the_same(number: int) -> None:
    document, asked = history_v0(DEALS)[number]
    page = read_v0_history(wire(document), asked)
    assert (page.deals, page.is_paired, page.next_cursor, page.total) == (DEALS, False, None, None)


def test_a_paired_trade_stays_a_pair_on_the_server_clock() -> None:
    page = read_v0_history(wire({"success": True, "trades": [PAIR], "total_trades": 1}))
    (trade,) = page.paired
    assert page.is_paired
    assert not page.deals
    assert trade == PairedTrade(
        ticket=41, symbol="EURGBP", side=TradeSide.BUY, volume=Decimal("0.4"), open_price=Decimal("1.1"),
        close_price=Decimal("1.2"), open_msc=NOW_MSC - 4 * 3_600_000 - 1_800_000, close_msc=NOW_MSC - 3 * 3_600_000 - 1_800_000,
        profit=Decimal(80), swap=Decimal("-0.5"), commission=Decimal("-2.8"),
    )  # fmt: skip
    assert contract.only(page, Window(from_msc=trade.close_msc, to_msc=trade.close_msc + 1)).paired == (trade,)
    assert contract.only(page, Window(from_msc=trade.open_msc, to_msc=trade.close_msc)).paired == ()
    assert contract.only(page, 41).paired == (trade,)


def test_a_pair_that_closes_before_it_opens_is_refused() -> None:
    assert refusal(read_v0_history, {"trades": [{**PAIR, "close_time": "2026-05-06T09:00:00Z"}]}) is Code.CONTRACT_ERROR


def test_deals_count_more_than_the_pairs_beside_them() -> None:
    document, asked = history_v0(DEALS)[0]
    page = read_v0_history(wire({**document, "trades": [PAIR], "total_trades": 1}), asked)
    assert (page.deals, page.paired) == (DEALS, ())


@pytest.mark.parametrize(
    "told",
    [{"type": "long"}, {"type": 2}, {"type": True}, {"type": None}, {"type_str": "SELL"}, {"type": "BUY"},
     {"open_time": "2026-05-06T14:29:00"}, {"open_time": None}, {"time": "2026-05-06T14:28:00Z"}, {"time_msc": NOW_MSC},
     {"open_time": NOW_MSC}, {"open_time": "1778077800"},
     {"price_open": Decimal(2)}, {"open_price": None}, {"sl": None}, {"volume": 0}, {"ticket": None}, {"swap": "-"}],
)  # fmt: skip
def test_a_position_in_other_words_is_refused(told: dict[str, Any]) -> None:
    document, _ = positions_v0((position(1),))[0]
    document["positions"][0] |= told
    assert refusal(contract_v0.read_positions, document) is Code.CONTRACT_ERROR


@pytest.mark.parametrize("root", [{}, {"positions": None}, {"positions": {}}, {"positions": [1]}, {"account": {}}, {"data": []}])
def test_success_without_a_known_root_is_not_an_empty_list(root: dict[str, Any]) -> None:
    document = {"success": True, **root}
    assert refusal(contract_v0.read_positions, document) is Code.CONTRACT_ERROR
    assert refusal(contract_v0.read_info, document) is Code.CONTRACT_ERROR
    assert refusal(read_v0_history, document) is Code.CONTRACT_ERROR


def test_info_in_both_roots_at_once_is_refused() -> None:
    first, second = infos_v0(info(), 0)
    assert refusal(contract_v0.read_info, {**first, **second}) is Code.CONTRACT_ERROR


def test_free_margin_is_read_in_both_spellings_if_they_agree() -> None:
    document = infos_v0(info(), 0)[0]
    document["data"]["margin_free"] = info().margin_free
    assert contract_v0.read_info(wire(document), ASKED).info == info()
    document["data"]["margin_free"] = Decimal(1)
    assert refusal(contract_v0.read_info, document) is Code.CONTRACT_ERROR


@pytest.mark.parametrize("counter", ["total_positions", "positions_count", "total"])
def test_a_counter_that_is_not_the_lists_length_is_incomplete(counter: str) -> None:
    assert refusal(contract_v0.read_positions, {"success": True, "positions": [], counter: 2}) is Code.INCOMPLETE
    document, asked = positions_v0(POSITIONS)[0]
    assert refusal(contract_v0.read_positions, {**document, counter: 1}, asked) is Code.INCOMPLETE
    assert contract_v0.read_positions(wire({**document, counter: 2}), asked).positions == POSITIONS


def test_a_failure_at_status_200_is_its_code_or_incomplete() -> None:
    told = {"success": False, "error_code": "MT5_LOGIN_FAILED", "positions": [], "deals": [], "data": {}}
    for read in (contract_v0.read_positions, contract_v0.read_info, read_v0_history):
        assert refusal(read, told) is Code.AUTH_FAILED
        assert refusal(read, {**told, "error_code": "WHO_KNOWS"}) is Code.INCOMPLETE
        assert refusal(read, {"error": {"code": "BROKER_TIMEOUT"}}) is Code.BROKER_UNAVAILABLE
        assert refusal(read, {**told, "success": "no"}) is Code.CONTRACT_ERROR


@pytest.mark.parametrize(
    ("told", "age_ms"),
    [({}, 0), ({"cached": False}, 0), ({"cached": True}, 300_000), ({"cached": True, "cache_age_seconds": 12}, 12_000),
     ({"cache_age_seconds": Decimal("1.5004")}, 1_501)],
)  # fmt: skip
def test_what_is_cached_is_as_old_as_it_says_or_as_it_may_be(told: dict[str, Any], age_ms: int) -> None:
    assert contract_v0.read_positions(wire({"positions": [], **told}), ASKED).head.cache_age_ms == age_ms


def test_without_a_timestamp_an_answer_is_as_old_as_its_question() -> None:
    asked = Asked(at=NOW - timedelta(seconds=3), rule=ASKED.rule)
    assert contract_v0.read_positions(wire({"positions": []}), asked).head.as_of == NOW - timedelta(seconds=3)
    told = {"positions": [], "timestamp": "2026-05-06T14:30:00"}
    assert refusal(contract_v0.read_positions, told) is Code.CONTRACT_ERROR


def test_an_answer_that_names_two_accounts_is_about_another() -> None:
    document = {**infos_v0(info(), 0)[1], "login": LOGIN + 1}
    assert refusal(contract_v0.read_info, document) is Code.IDENTITY_MISMATCH


@pytest.mark.parametrize(
    ("count", "listed", "age", "is_whole"),
    [(2, 2, 0, True), (None, 1, 0, True), (2, 0, 0, False), (2, 0, 60, False), (1, 2, 0, False), (1, 2, 60, True)],
)
def test_info_counts_the_positions_as_well(count: int | None, listed: int, age: int, is_whole: bool) -> None:
    told = infos_v0(info(), 0)[0]
    told["data"]["positions_count"], told["cache_age_seconds"] = count, age
    money = contract_v0.read_info(wire(told), ASKED)
    document, asked = positions_v0(POSITIONS[:listed])[0]
    answer = contract_v0.read_positions(wire(document), asked)
    if is_whole:
        contract_v0.check_count(money, answer)
    else:
        with pytest.raises(CallFailed) as refused:
            contract_v0.check_count(money, answer)
        assert refused.value.fault.code is Code.INCOMPLETE


def test_pages_follow_each_other_by_offset_and_are_held_to_their_counter() -> None:
    rows = history_v0(tuple(deal(number) for number in range(1, 6)))[0][0]["deals"]

    def page(first: int, last: int, cursor: str | None, total: int = 5, **told: Any) -> Any:
        offset, before = contract_v0.place_of(cursor)
        pages = {"limit": 2, "offset": offset, "has_more": last < 5, **told}
        body = wire({"deals": rows[first:last], "total": total, "pagination": pages})
        return contract_v0.read_history(body, ASKED, limit=2, offset=offset, total_before=before)

    first = page(0, 2, None)
    second = page(2, 4, first.next_cursor)
    third = page(4, 5, second.next_cursor)
    assert [len(one.deals) for one in (first, second, third)] == [2, 2, 1]
    assert third.next_cursor is None
    for broken, code in (
        (lambda: page(2, 4, first.next_cursor, total=6), Code.PAGE_DRIFT),
        (lambda: page(2, 4, first.next_cursor, offset=0), Code.CONTRACT_ERROR),
        (lambda: page(2, 4, first.next_cursor, has_more=False), Code.INCOMPLETE),
        (lambda: page(4, 5, second.next_cursor, has_more=True), Code.INCOMPLETE),
        (lambda: page(2, 2, first.next_cursor), Code.INCOMPLETE),
        (lambda: page(0, 2, None, has_more=None), Code.CONTRACT_ERROR),
    ):
        with pytest.raises(CallFailed) as refused:
            broken()
        assert refused.value.fault.code is code


def test_without_paging_a_full_page_is_not_the_last() -> None:
    rows = history_v0(DEALS)[0][0]["deals"]
    full = read_v0_history(wire({"deals": rows}), limit=2)
    assert contract_v0.place_of(full.next_cursor) == (2, None)
    assert read_v0_history(wire({"deals": []}), limit=2, offset=2).next_cursor is None
    assert read_v0_history(wire({"deals": rows, "total": 2}), limit=2).next_cursor is None


def test_a_row_that_comes_twice_counts_once_on_a_page_of_its_own_and_is_drift_on_others() -> None:
    rows = history_v0(DEALS)[0][0]["deals"]
    twice = [rows[0], *rows]
    assert read_v0_history(wire({"deals": twice, "total": 2})).deals == DEALS
    assert read_v0_history(wire({"deals": twice, "total": 3})).deals == DEALS
    ended = {"pagination": {"has_more": False}}
    assert refusal(read_v0_history, {"deals": twice, "total": 4, **ended}) is Code.INCOMPLETE
    more = {"deals": twice, "total": 9, "pagination": {"limit": 3, "offset": 0, "has_more": True}}
    assert refusal(read_v0_history, more) is Code.PAGE_DRIFT


@pytest.mark.parametrize("cursor", ["", "x", "1", "-1/2", "1/x", "01/2"])
def test_a_cursor_that_is_not_ours_is_refused(cursor: str) -> None:
    if cursor == "1":
        assert contract_v0.place_of(cursor) == (1, None)
    else:
        with pytest.raises(CallFailed):
            contract_v0.place_of(cursor)


def test_times_in_utc_cannot_be_read_without_the_servers_rule() -> None:
    document, _ = positions_v0(POSITIONS)[0]
    assert refusal(contract_v0.read_positions, document, Asked(at=NOW)) is Code.CONTRACT_ERROR
    document, _ = positions_v0(POSITIONS)[1]
    read = contract_v0.read_positions(wire(document), Asked(at=NOW))
    assert (read.positions, read.head.server_time_msc) == (POSITIONS, None)
    assert contract_v0.read_positions(wire(document), ASKED_UTC).positions != POSITIONS


def test_health_is_read_with_its_limits() -> None:
    health = contract_v0.read_health(b'{"status": "healthy", "limits": {"requests_per_minute": 100}}')
    assert (health.status, health.contract, health.requests_per_minute) == (HealthStatus.HEALTHY, ContractKind.V0, 100)
    assert refusal(lambda body, _: contract_v0.read_health(body), {"status": "ok"}) is Code.CONTRACT_ERROR
