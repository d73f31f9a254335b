"""The sample answers beside the repository: one truth in every documented shape, what must be refused, what terminals print."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any

import pytest

from fillbook.mt5 import contract_v0, contract_v1, faults, server_time
from fillbook.mt5.contract import Asked
from fillbook.mt5.faults import CallFailed
from fillbook.mt5.model import Deal, Info, OpenPosition, ServerRule
from fillbook.mt5.words import Code
from tests.support.mt5_shapes import DATA, wire

pytestmark = [
    pytest.mark.local_data,
    pytest.mark.skipif(not DATA.exists(), reason="the sample data beside the repository is absent"),
]
RULE = ServerRule(server="Broker-Server", zone_name="America/New_York", shift_minutes=420)
ASKED = Asked(at=datetime(2025, 11, 12, 10, 30, tzinfo=UTC), rule=RULE)


def sample(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text("utf-8"), parse_float=Decimal)


def shapes(name: str) -> Any:
    return sample("documented_contract_shapes")[name]


def msc(text: str) -> int:
    return server_time.to_server(RULE, datetime.fromisoformat(text))


def history(body: bytes) -> Any:
    return contract_v0.read_history(body, ASKED, limit=1000, offset=0)


def check_info(read: Info) -> None:
    truth = shapes("truth")
    named = {"balance": "balance", "equity": "equity", "margin": "margin", "margin_free": "free_margin",
             "margin_level": "margin_level", "credit": "credit", "profit": "floating_profit"}  # fmt: skip
    assert {name: getattr(read, name) for name in named} == {name: Decimal(truth[theirs]) for name, theirs in named.items()}
    assert (read.currency, read.leverage) == (truth["currency"], truth["leverage"])


def check_positions(read: tuple[OpenPosition, ...]) -> None:
    said = [
        {
            "position_id": str(one.position_id), "symbol": one.symbol, "type": one.side.value, "volume": one.volume,
            "open_price": one.price_open, "current_price": one.price_current, "stop_loss": one.stop_loss,
            "take_profit": one.take_profit, "profit": one.profit, "swap": one.swap, "open_time": one.time_msc,
        }
        for one in read
    ]  # fmt: skip
    texts = {"position_id", "symbol", "type", "open_time"}
    truth = [
        {name: value if name in texts or value is None else Decimal(value) for name, value in one.items()}
        | {"open_time": msc(one["open_time"])}
        for one in shapes("truth")["open"]
    ]
    assert said == truth


@pytest.mark.parametrize("name", ["info_data_root", "info_account_info_root"])
def test_every_shape_of_info_is_the_truth(name: str) -> None:
    check_info(contract_v0.read_info(wire(shapes(name)), ASKED).info)


@pytest.mark.parametrize("name", ["positions_iso", "positions_epoch", "positions_mixed"])
def test_every_shape_of_the_positions_is_the_truth(name: str) -> None:
    check_positions(contract_v0.read_positions(wire(shapes(name)), ASKED).positions)


def test_the_snapshot_is_the_truth() -> None:
    read = contract_v1.read_snapshot(wire(shapes("v1_snapshot")))
    assert isinstance(read.info, Info)
    assert isinstance(read.positions, tuple)
    check_info(read.info)
    check_positions(read.positions)
    assert read.head is not None
    assert (str(read.head.login), read.head.server) == (shapes("truth")["login"], shapes("truth")["server"])
    assert server_time.measured("Broker-Server", read.head.server_time_msc or 0, read.head.as_of) == RULE


def test_deals_of_both_languages_are_one_and_add_up_to_the_truth() -> None:
    first = contract_v1.read_deals(wire(shapes("v1_deals")), is_first=True).deals
    assert first == history(wire(shapes("history_deals_root"))).deals
    (truth,) = shapes("truth")["closed"]
    closed = [one for one in first if str(one.position_id) == truth["position_id"]]
    assert sum(one.profit + one.commission + one.swap + one.fee for one in closed) == Decimal(truth["net"])
    assert [one.time_msc for one in closed] == [msc(truth["open_time"]), msc(truth["close_time"])]


def test_the_paired_trade_is_the_truth() -> None:
    page = history(wire(shapes("history_trades_root")))
    (read,), (truth,) = page.paired, shapes("truth")["closed"]
    for name in ("volume", "open_price", "close_price", "profit", "swap", "commission"):
        assert getattr(read, name) == Decimal(truth[name])
    assert (str(read.ticket), read.side.value, read.open_msc, read.close_msc) == (
        truth["position_id"], truth["type"], msc(truth["open_time"]), msc(truth["close_time"]))  # fmt: skip


def test_what_must_be_refused_is_refused_by_every_reader() -> None:
    readers = {"account": contract_v0.read_info, "positions": contract_v0.read_positions, "deals": lambda body, _: history(body)}
    cases = shapes("must_be_refused")
    assert len(cases) == 7
    for case in cases:
        own = next((read for root, read in readers.items() if root in case["body"]), contract_v0.read_positions)
        for read in {own, *readers.values()}:
            with pytest.raises(CallFailed) as refused:
                read(wire(case["body"]), ASKED)
            if read is own:
                assert refused.value.fault.code is Code(case["outcome"]), case["why"]


@pytest.mark.parametrize(
    ("shape", "status", "code"),
    [("object", 504, "broker_unavailable"), ("flat", 401, "auth_failed"), ("detail_text", 404, "not_found"),
     ("detail_list", 422, "invalid_request"), ("message_only", 503, "service_unavailable"),
     ("rate_limited", 429, "rate_limited")],
)  # fmt: skip
def test_every_error_body_has_its_code(shape: str, status: int, code: str) -> None:
    body = shapes("errors")[shape]
    fault = faults.of_answer(status, body, now=ASKED.at)
    pauses = {"object": 5, "rate_limited": 2}
    assert (fault.code, fault.retry_after_seconds) == (Code(code), pauses.get(shape))


def test_no_error_body_is_an_answer() -> None:
    for body in shapes("errors").values():
        for read in (contract_v0.read_info, contract_v0.read_positions, lambda body, _: history(body)):
            with pytest.raises(CallFailed):
                read(wire(body), ASKED)


def test_rows_that_terminals_print_are_read_field_by_field() -> None:
    lists = sample("python_package_deals")
    read: dict[str, tuple[Deal, ...]] = {name: history(wire({"deals": rows})).deals for name, rows in lists.items()}
    for name, rows in lists.items():
        assert [(one.deal_ticket, one.time_msc, one.deal_type, one.price) for one in read[name]] == [
            (row["ticket"], row["time_msc"], row["type"], Decimal(row["price"])) for row in rows
        ]
        assert not any(one.extra for one in read[name])
    sums = [sum(one.profit + one.commission + one.swap + one.fee for one in deals) for deals in read.values()]
    assert sums[:2] == [Decimal("10004.76"), Decimal("99947.31")]


def test_positions_and_accounts_that_terminals_print_are_read() -> None:
    lists = sample("python_package_positions_orders_account")
    positions = contract_v0.read_positions(wire({"positions": lists["positions"]}), ASKED).positions
    assert [one.ticket for one in positions] == [row["ticket"] for row in lists["positions"]]
    assert [one.stop_loss for one in positions] == [row["sl"] or None for row in lists["positions"]]
    answers = [contract_v0.read_info(wire({"account_info": row}), ASKED) for row in lists["account_info"]]
    assert [one.head.login for one in answers] == [row["login"] for row in lists["account_info"]]
    levels = [Context(prec=15).plus(row["margin_level"]) or None for row in lists["account_info"]]
    assert [one.info.margin_level for one in answers] == levels
    assert (levels[0], levels[2]) == (Decimal("101398.675901406"), None)
    assert {one.info.margin_mode for one in answers} == {2}


def test_pending_orders_are_neither_positions_nor_deals() -> None:
    orders = sample("python_package_positions_orders_account")["orders_pending_and_cancelled"]
    with pytest.raises(CallFailed):
        contract_v0.read_positions(wire({"positions": orders}), ASKED)
    with pytest.raises(CallFailed):
        history(wire({"deals": orders}))


def test_the_recorded_change_weeks_are_read_by_american_dates() -> None:
    rows = sample("synthetic_edge_cases")["dst_new_york_plus_7"]["rows"]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    eu = ServerRule(server="x", zone_name=server_time.EU[0], shift_minutes=server_time.EU[1])
    wrong = 0
    for row in rows:
        clock = int((datetime.fromisoformat(row["server"]).replace(tzinfo=UTC) - epoch).total_seconds()) * 1000
        utc = datetime.fromisoformat(row["utc"])
        assert server_time.to_utc(RULE, clock) == utc
        assert server_time.to_server(RULE, utc) == clock
        wrong += server_time.to_utc(eu, clock) != utc
    assert (len(rows), wrong) == (4, 2)
