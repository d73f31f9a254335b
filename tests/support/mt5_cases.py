"""Recorded MT5 cases as operations of the fake's broker: so that its deals and its truth can be held against hand-made ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.local.mt5_broker import Book
from infra.local.mt5_model import EPOCH, NETTING, Terms, fixed

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "mt5"
EDGES = SAMPLES / "synthetic_edge_cases.json"
SHAPES = SAMPLES / "documented_contract_shapes.json"
needs_samples = pytest.mark.skipif(not EDGES.exists(), reason="the sample data of room mt5 is not here")
TERMS = Terms(clock=fixed(0))
NETS = replace(TERMS, margin_mode=NETTING)
CASH = {2: "deposit", 3: "credit", 4: "charge"}
Row = Mapping[str, Any]


def samples(path: Path) -> dict[str, Any]:
    """A file of samples, numbers as Decimals; nothing where it is missing."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8"), parse_float=Decimal) if path.exists() else {}
    return found


def booked(deals: Iterable[Row], *, nets: bool = False) -> Book:
    """A book whose operations are those behind the deals; results are left to the broker to work out."""
    return played(Book(NETS if nets else TERMS), deals)


def played(book: Book, deals: Iterable[Row]) -> Book:
    """The same on a book that is there already."""
    rows = list(deals)
    for place, row in enumerate(rows):
        if row["entry"] == 3 and place and rows[place - 1]["entry"] == 3 and rows[place - 1]["order"] == row["order"]:
            continue  # the other half of a close-by
        at = EPOCH + timedelta(milliseconds=row["time_msc"])
        kind, given = _operation(book, row, rows[place + 1 :])
        book.operate(kind, at, ticket=row["ticket"], comment=row["comment"], magic=row["magic"], reason=row["reason"], **given)
    return book


def _operation(book: Book, row: Row, later: list[Row]) -> tuple[str, dict[str, Any]]:
    if row["position_id"] == 0:
        kind = "withdraw" if row["type"] == 2 and row["profit"] < 0 else CASH.get(row["type"], "monthly_commission")
        return kind, {"amount": abs(row["profit"]) if row["type"] == 2 else row["profit"], "type": row["type"]}
    costs = {"commission": row["commission"], "fee": row["fee"]}
    if row["volume"] == 0:
        return "late_cost", {"position": row["position_id"], **costs, "swap": row["swap"]}
    traded = {"volume": row["volume"], "price": row["price"], "order": row["order"], **costs}
    position = {"position": row["position_id"]}
    held = book.positions.get(row["position_id"])
    if held is None:
        side = {"symbol": row["symbol"], "side": "buy" if row["type"] == 0 else "sell"}
        return "open", {**traded, **side, "position_id": row["position_id"]}
    if row["entry"] == 0:
        return "scale_in", {**traded, **position}
    if row["entry"] == 2:
        return "reverse", {**traded, **position}
    if row["entry"] == 3:
        return "close_by", {**position, "by": later[0]["position_id"], "second_ticket": later[0]["ticket"], "order": row["order"]}
    swap = {"swap": row["swap"]} if row["swap"] else {}
    if row["volume"] < held.volume:
        return "partial_close", {**traded, **position, **swap}
    traded.pop("volume")
    return "close", {**traded, **position, **swap}
