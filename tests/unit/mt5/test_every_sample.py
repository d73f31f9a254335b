"""Every file of the sample data and every case in it: none is overlooked, and each list of deals adds up to its trades.

What each case must give is held where its rule is (``WHERE``); here a case that nobody looks at fails. The lists of
deals, wherever they stand, are read as the adapter reads them and folded a second time in fractions, by code that knows
nothing of episodes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from fillbook.mt5 import contract_v0
from fillbook.mt5.faults import CallFailed
from fillbook.mt5.words import CashKind, IdentityQuality, TradeStatus
from tests.support.mt5_deals import DATA, Desk, facts, terms, view
from tests.support.mt5_shapes import ASKED, read_v0_history, wire

pytestmark = [
    pytest.mark.local_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="the sample data of room mt5 is not here (../shared/data/mt5)"),
]

RECORDED, SHAPED, HERE = "test_recorded_deals.py", "test_documented_shapes.py", "test_every_sample.py"
WHERE = {
    "synthetic_edge_cases.json": {
        **dict.fromkeys(
            "partial_close_hedging netting_scale_in_then_reversal close_by cash_operations exit_only_in_window"
            " key_space_collision ticket_renumbered_by_swap_reopen disappeared_but_history_late identical_looking_fills"
            " cost_record_after_close edited_deal netting_fifo_versus_average".split(),
            RECORDED,
        ),
        "dst_new_york_plus_7": SHAPED,
    },
    "documented_contract_shapes.json": dict.fromkeys(
        "about truth info_data_root info_account_info_root positions_iso positions_epoch positions_mixed history_trades_root"
        " history_deals_root v1_snapshot v1_deals errors must_be_refused".split(),
        SHAPED,
    ),
    "python_package_deals.json": {
        "mql5_book_history_deals": RECORDED,
        "mql5_docs_history_deals_get": RECORDED,
        "mql5_article_entry_commission": RECORDED,
        "mt5_httpapi_readme_deal": HERE,
    },
    "python_package_positions_orders_account.json": dict.fromkeys(
        ("positions", "orders_pending_and_cancelled", "account_info"), SHAPED
    ),
    "metaapi_samples.json": dict.fromkeys(
        (
            "mt4_account_deals_same_id_for_in_and_out",
            "mt5_positions_ids_above_int32",
            "docs_deal",
            "docs_account_information",
        ),
        HERE,
    ),
}


def sample(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / name).read_text("utf-8"), parse_float=Decimal)
    return loaded


def test_every_file_and_every_case_is_looked_at() -> None:
    assert {path.name for path in DATA.glob("*.json")} == WHERE.keys()
    for name, cases in WHERE.items():
        assert sample(name).keys() == cases.keys(), name


def lists_of_deals() -> Iterator[Any]:
    """Every list of the terminal's deals in any file, with where it stands."""
    for name in ("synthetic_edge_cases.json", "python_package_deals.json") if DATA.is_dir() else ():
        for where, rows in _within(sample(name), name):
            yield pytest.param(rows, id=where.removesuffix(".json"))


def _within(document: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(document, dict):
        for name, inner in document.items():
            yield from _within(inner, f"{where}/{name}")
    elif isinstance(document, list) and document and all(isinstance(row, dict) and "entry" in row for row in document):
        yield where, document


@pytest.mark.parametrize("rows", list(lists_of_deals()))
def test_the_trades_of_every_list_of_deals_add_up_to_it(rows: Any) -> None:
    deals = read_v0_history(wire({"deals": rows})).deals
    is_netting = any(row["entry"] == 2 for row in rows)
    desk = Desk(terms(*(facts(symbol) for symbol in {row["symbol"] for row in rows} - {""}), hedging=not is_netting))
    desk.poll(deals)
    found: dict[int, list[Any]] = {}
    for trade in desk.trades:
        found.setdefault(trade.position_id, []).append(trade)
    assert found.keys() == {row["position_id"] for row in rows} - {0}
    for position, lives in found.items():
        told = [row for row in rows if row["position_id"] == position]
        money = sum(Fraction(row[name]) for row in told for name in ("profit", "commission", "swap", "fee"))
        assert sum(Fraction(one.net_pnl) for one in lives) == money
        held = sum(Fraction(row["volume"]) * (1 if row["type"] == 0 else -1) for row in told)
        is_known = all(one.entry_complete for one in lives)
        assert is_known == any(row["entry"] != 1 for row in told)
        assert not is_known or held == sum(Fraction(one.open_volume) * (1 if one.side == "buy" else -1) for one in lives)
        assert [one.status is TradeStatus.CLOSED for one in lives] == [True] * (len(lives) - 1) + [not is_known or not held]
    cash = {row["ticket"]: Fraction(row["profit"] + row["commission"] + row["swap"] + row["fee"])
            for row in rows if row["position_id"] == 0}  # fmt: skip
    assert {ticket: Fraction(one.amount) for ticket, one in desk.operations.items()} == cash
    assert all(one.kind is not CashKind.OTHER for one in desk.operations.values())


def test_open_positions_without_deals_are_rows_of_the_snapshot() -> None:
    rows = sample("python_package_positions_orders_account.json")["positions"]
    told = contract_v0.read_positions(wire({"positions": rows}), ASKED).positions
    desk = Desk(terms(*(facts(row["symbol"]) for row in rows)))
    desk.poll((), view(0, *told))
    assert [(one.position_id, one.ticket, one.side.value, one.volume, one.open_price) for one in desk.trades] == sorted(
        (row["identifier"], row["ticket"], ("buy", "sell")[row["type"]], row["volume"], row["price_open"]) for row in rows
    )
    assert {(one.status.value, one.identity_quality) for one in desk.trades} == {("open", IdentityQuality.SNAPSHOT)}


# --- another vendor's words: nothing of them is taken for ours ------------------------------------------------------------


def test_another_vendors_documents_are_refused_by_every_reader() -> None:
    for told in sample("metaapi_samples.json").values():
        rows = told if isinstance(told, list) else [told]
        for root in ("deals", "trades"):
            with pytest.raises(CallFailed):
                read_v0_history(wire({root: rows}))
        with pytest.raises(CallFailed):
            contract_v0.read_positions(wire({"positions": rows}), ASKED)
        with pytest.raises(CallFailed):
            contract_v0.read_info(wire({"data": rows[0]}), ASKED)


def test_an_entry_and_an_exit_that_share_one_id_are_refused_as_deals() -> None:
    sides, entries = {"DEAL_TYPE_BUY": 0, "DEAL_TYPE_SELL": 1}, {"DEAL_ENTRY_IN": 0, "DEAL_ENTRY_OUT": 1}
    rows = [
        {
            "ticket": one["id"], "order": one["orderId"], "position_id": one["positionId"], "time": one["time"], "reason": 3,
            "type": sides[one["type"]], "entry": entries[one["entryType"]], "symbol": one["symbol"], "magic": one["magic"],
            **{name: one[name] for name in ("volume", "price", "profit", "commission", "swap")}, "fee": 0,
        }
        for one in sample("metaapi_samples.json")["mt4_account_deals_same_id_for_in_and_out"]
        if one["type"] in sides
    ]  # fmt: skip
    assert len(read_v0_history(wire({"deals": rows[:1]})).deals) == 1
    with pytest.raises(CallFailed, match="two rows of one key differ"):
        read_v0_history(wire({"deals": rows}))


def test_ids_above_32_bits_sent_as_text_are_exact() -> None:
    rows = sample("metaapi_samples.json")["mt5_positions_ids_above_int32"]
    told = [
        {
            "ticket": one["id"], "time": one["time"], "type": "buy", "volume": one["volume"], "open_price": one["openPrice"],
            "current_price": one["currentPrice"], "sl": 0, "tp": 0, "swap": one["swap"], "profit": one["profit"],
            "symbol": one["symbol"],
        }
        for one in rows
    ]  # fmt: skip
    read = contract_v0.read_positions(wire({"positions": told}), ASKED).positions
    assert [str(one.position_id) for one in read] == [one["id"] for one in rows]
