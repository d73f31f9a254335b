"""E1-E11 once more through the database: the same hand-worked numbers in tables and views, and an audit that is clean."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ledger import audit, rebuild
from fillbook.runtime.db import Database
from tests.support import ledger_cases
from tests.support.ledger import StoredWorld, at

Query = Callable[..., list[dict[str, Any]]]


@pytest.mark.parametrize("name", ledger_cases.names())
def test_a_worked_example_is_stored_to_the_last_digit(db: Database, query: Query, name: str) -> None:
    case = ledger_cases.load(name)
    world = StoredWorld(db, ledger_cases.book_of(case))
    sources = ledger_cases.play(case, world)
    ledger_cases.compare_actions(world.actions, case["actions"])
    assert {fill_id: reason for fill_id, (_, reason) in world.parked.items()} == ledger_cases.parked_of(case, sources)
    viewed = query("select * from ledger.v_actions order by executed_at, venue_order, fill_id, leg")
    for row, figures in zip(viewed, case["actions"], strict=True):
        for figure, expected in figures.items():
            if figure != "closings":
                ledger_cases.assert_equal(row[figure], expected, figure)
    totals = query("select currency, realized_pnl from ledger.v_book_totals")
    for position in case.get("positions", ()):
        if position.get("realized_pnl") is None and "realized_pnl" in position:
            assert any(row["realized_pnl"] is None for row in totals)
    stated = [Decimal(one["cash"]) for one in case.get("positions", ()) if "cash" in one]
    if stated and len(stated) == len(case["positions"]):
        assert sum(row["cash"] for row in query("select cash from ledger.v_book_totals")) == sum(stated)
    assert audit.audit(db, "live", at(60)).exit == 0
    assert rebuild.check(db, "live").is_equal
