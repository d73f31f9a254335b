"""The page of worked examples says what the ledger computes and what was worked by hand: it cannot drift from either."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import pytest

from tests.support import ledger_cases
from tests.support.ledger_examples import PAGE, example, number, page

SHOWN = frozenset(
    {"quantity", "price", "value", "fees", "realized_pnl", "realized_pnl_gross", "cash_effect", "position_quantity_after",
     "position_cost_basis_after", "unrealized_pnl_after", "closings"}
)  # fmt: skip


def test_the_page_is_what_the_ledger_computes() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python -m tests.support.ledger_examples"


def test_the_eleven_examples_are_on_the_page_and_the_ledgers_page_leads_there() -> None:
    headings = re.findall(r"^## E(\d+) · ", PAGE.read_text("utf-8"), re.MULTILINE)
    assert [int(found) for found in dict.fromkeys(headings)] == list(range(1, 12))
    assert len(headings) == len(ledger_cases.names())
    assert "(ledger-examples.md)" in PAGE.with_name("ledger.md").read_text("utf-8")


def figures(value: Any) -> Iterator[Decimal]:
    """Every number worked by hand in a case's expectations, as far as the page shows such a column."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in SHOWN:
                yield from figures(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from figures(inner)
    elif isinstance(value, str):
        try:
            yield Decimal(value)
        except InvalidOperation:
            return


@pytest.mark.parametrize("name", ledger_cases.names())
def test_every_number_worked_by_hand_stands_in_its_section(name: str) -> None:
    case, section = ledger_cases.load(name), example(name)
    told = set(re.findall(r"-?\d+(?:\.\d+)?", section))
    wanted = {number(figure.normalize() + 0) for figure in figures([*case["actions"], *case.get("positions", ())])}
    assert wanted
    assert wanted <= told
