"""The worked example of ``infra/docs/ledger.md``, "Two clocks": told as the document tells it, answered as it answers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from fillbook.ledger import standing
from fillbook.ledger.model import Fill
from fillbook.ledger.moment import moment
from tests.support.ledger import StoredWorld, make_fill

DOCUMENT = Path(standing.__file__).parents[3] / "infra" / "docs" / "ledger.md"
NOW = datetime(2026, 2, 4, tzinfo=UTC)
TOLD = re.compile(r"(?P<side>BUY|SELL) (?P<quantity>\d+) AMD @ (?P<price>\d+)(?P<rest>.*)")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-02-03T{text}:00Z")


def tables() -> list[list[list[str]]]:
    """The rows of both tables of the section, without their heads."""
    section = DOCUMENT.read_text("utf-8").split("## Two clocks\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]] for table in found]


def fills(rows: list[list[str]]) -> list[tuple[datetime, Fill]]:
    known: dict[tuple[str, str], int] = {}
    result = []
    for recorded, executed, told in rows:
        match = TOLD.fullmatch(told)
        assert match is not None, told
        revision = known[executed, match["side"]] = known.get((executed, match["side"]), 0) + 1
        assert (revision > 1) is ("correction" in match["rest"])
        fact = make_fill(
            f"{match['side']} {executed}",
            match["side"],
            match["quantity"],
            match["price"],
            source="operator",
            account_key="ann",
            executed_at=instant(executed),
            source_revision=revision,
            cause="revision" if revision > 1 else "first",
        )
        result.append((instant(recorded), fact))
    return result


def test_the_worked_example_is_answered_as_it_is_written(stored: StoredWorld) -> None:
    told, answers = tables()
    for recorded, fact in fills(told):
        stored.deliver([fact], recorded)
    assert len(answers) == 8
    for as_of, known_as_of, *figures in answers:
        (one,) = standing.book_as_of(stored.db, "live", moment(instant(as_of), instant(known_as_of), NOW)).positions
        held = one.held
        found = [held.quantity_open, held.vwap, held.cost_basis, held.realized_pnl]
        assert found == [Decimal(figure) for figure in figures], (as_of, known_as_of)
