"""What the receiver sends and the document holds has the columns that the database reads: a misspelt one would become NULL."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from fillbook.snapshot import document, store
from fillbook.snapshot.model import EXTREME_NUMBERS, Asset, Extreme, Kind, Kpi, Side
from fillbook.snapshot.store import Change

SQL = (Path(__file__).resolve().parents[2] / "infra/database/migrations/0025_snapshot_store.sql").read_text("utf-8")


def columns(source: str) -> list[str]:
    """The columns of the record set that is made of ``source``."""
    found = re.search(
        rf"jsonb_to_record(?:set)?\({re.escape(source)}\) as \w\(\s*([^;]*?)\)[;,]?\s*(?:where|;|\n *\),|,\n|$)",
        SQL,
        re.MULTILINE,
    )
    assert found is not None, source
    return [part.split()[0] for part in re.sub(r"\([^)]*\)", "", found[1]).replace(")", "").split(",")]


def test_a_figure_is_read_by_the_names_of_the_document() -> None:
    row = Kpi(kpi="a", value="1", value_num=Decimal(1), kind=Kind.NUMBER, unit="x", sort_order=1, missing_reason="y")
    assert set(columns("said->'rows'")) == set(document._row(row))


def test_an_extreme_is_read_by_the_names_of_the_document_but_for_its_place() -> None:
    item = document.extreme_item(Extreme(kpi="a", side=Side.HI, rank=1, trade_id=1, symbol="A", contract_name="A"))
    assert set(columns("i.value")) == set(item) - {"kpi", "side"}
    assert set(EXTREME_NUMBERS) <= set(columns("i.value"))


def test_a_position_is_read_by_the_names_of_the_document() -> None:
    assert set(columns("overlay->'portfolioAssets'")) == set(document._asset(Asset(trade_id=1, symbol="A", contract_name="A")))


def test_a_change_is_read_by_the_names_it_is_sent_with() -> None:
    assert columns("given->'changes'") == list(store.change_row(Change(subject="kpi", name="a")))


def test_a_replacement_has_every_part_that_is_read() -> None:
    sent: dict[str, str] = {}

    class Sent:
        """A transaction that keeps what it is told."""

        def query(self, _statement: object, **given: str) -> list[object]:
            sent.update(given)
            return []

    replacement = store.Replacement(
        version=1,
        received_at=datetime(2026, 2, 11, tzinfo=UTC),
        request_id="r",
        counts=store.Counts(),
        forced=(),
        changes=(),
        document="{}",
    )
    store.replace_day(Sent(), replacement)  # type: ignore[arg-type]
    body = SQL.partition("create function metrics.replace_day")[2]
    read = set(re.findall(r"given->>?'(\w+)'", body))
    assert read == {name for name in read if f'"{name}":' in sent["document"]}
    assert len(read) == 7
