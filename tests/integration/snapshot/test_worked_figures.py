"""Every KPI by hand: cases with their numbers, texts and reasons, booked by the ledger and computed by the views."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from fillbook.snapshot.model import MISSING, Missing
from tests.support.snapshot_desk import SnapshotDesk, cases

CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_the_figures_of_a_worked_case_are_exactly_those(desk: SnapshotDesk, name: str) -> None:
    told = CASES[name]
    read = desk.case(name[:60], told)
    assert read.values is not None
    assert read.watermark is not None
    found, shown = {}, {row["kpi_name"]: row["display_value"] for row in read.kpis}
    for kpi in told["expected"]:
        row = read.values[kpi]
        found[kpi] = [row["missing_reason"] or row["value_num"], shown[kpi]]
    assert found == {kpi: [_known(given), text] for kpi, (given, text) in told["expected"].items()}
    assert read.watermark.excluded == told.get("excluded", {})
    if "points" in told:
        assert (len(read.series), len(read.portfolio)) == (told["points"], told["assets"])
    _is_whole(read.kpis, read.values)


def _known(given: str) -> Decimal | str:
    return given if given in set(Missing) else Decimal(given)


def _is_whole(kpis: tuple[Mapping[str, Any], ...], values: Mapping[str, Mapping[str, Any]]) -> None:
    """All 25 rows, in order; a number and a text, or neither and a reason."""
    assert [row["sort_order"] for row in kpis] == list(range(10, 260, 10))
    for row in kpis:
        value = values[row["kpi_name"]]
        assert (value["value_num"] is None) == (row["display_value"] == MISSING) == (value["missing_reason"] is not None)
        assert value["missing_reason"] is None or value["missing_reason"] in set(Missing)
        assert value["kpi_version"] == 1


def test_every_kpi_is_worked_by_hand_with_a_number_and_every_reason_occurs() -> None:
    expected = [(kpi, given) for told in CASES.values() for kpi, (given, _) in told["expected"].items()]
    reasons = set(Missing)
    assert len({kpi for kpi, given in expected if given not in reasons}) == 25
    assert {given for _, given in expected if given in reasons} == reasons
