"""A bill worked out by hand, line by line."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.cost.model import Measure
from infra.cost.prices import Price, PriceList, load
from infra.cost.pricing import billed

CASE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "cases" / "cost" / "month.yaml").read_text("utf-8"))
CENT = Decimal("0.0001")


def own_list(lines: dict[str, Any]) -> PriceList:
    """The project's list with these prices; everything else is free."""
    whole = load()
    nothing = {"per": 1, "usd": "0", "free": 0}
    told = [Price.model_validate({**price.model_dump(), **lines.get(price.measure.value, nothing)}) for price in whole.prices]
    return whole.model_copy(update={"prices": tuple(told)})


def test_a_month_worked_out_by_hand_is_what_the_bill_says_line_by_line() -> None:
    usage = {(owner, Measure(measure)): Decimal(quantity) for owner, measure, quantity in CASE["usage"]}
    bill = billed(usage, own_list(CASE["prices"]))
    assert [[line.owner, line.measure.value, str(line.net.quantize(CENT))] for line in bill.lines] == CASE["lines"]
    assert (str(bill.net.quantize(CENT)), str(bill.gross.quantize(CENT))) == (CASE["net"], CASE["gross"])
    assert bill.by_owner()["signal_worker"].quantize(CENT) == Decimal("1.2333")
    assert next(iter(bill.by_service())) == "Cloud SQL"


def test_a_count_below_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="less than nothing"):
        billed({("signal_worker", Measure.REQUESTS): Decimal(-1)}, load())
