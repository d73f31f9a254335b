"""What our API makes of the 45 requests that were sent to a lenient receiver, each outcome written down beforehand.

Compared with what that receiver did, ours is never looser: whatever it lost, bent or half wrote is refused or resolved by a rule.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fillbook.runtime.errors import Rejected
from fillbook.snapshot import document, normalizer
from fillbook.snapshot.model import BadSnapshot
from tests.support.snapshot_days import NOW
from tests.support.snapshot_recorded import body_of, outcomes, recorded

CASES = recorded()
OUTCOMES = outcomes()
RECEIVED_AT = NOW + timedelta(minutes=30)
IN_THE_BODY = [name for name, outcome in OUTCOMES.items() if not outcome.get("door")]

needs_data = pytest.mark.skipif(not CASES, reason="the recorded cases are not on this machine (../shared/data/snapshot)")


def outcome_of(raw: bytes) -> dict[str, Any]:
    try:
        taken = normalizer.normalized(normalizer.parsed(raw), now=RECEIVED_AT)
    except BadSnapshot as refusal:
        problems = [[one.path, one.code] for one in refusal.problems]
        return {"status": refusal.status, "code": refusal.reason, "problems": problems}
    except Rejected as refusal:
        return {"status": refusal.status, "code": refusal.reason}
    if document.is_empty(taken.snapshot):
        return {"status": 422, "code": "empty_snapshot"}
    held = document.counts(taken.snapshot)
    dropped = [taken.dropped.duplicates, taken.dropped.null_points]
    return {"status": 200, "counts": [held.kpis, held.series, held.extremes, held.assets], "dropped": dropped}


@needs_data
def test_every_recorded_case_has_its_outcome() -> None:
    assert (list(OUTCOMES), len(OUTCOMES)) == (list(CASES), 45)


@needs_data
@pytest.mark.parametrize("name", IN_THE_BODY)
def test_a_recorded_body_ends_as_it_is_written_down(name: str) -> None:
    assert {"case": name, **outcome_of(body_of(CASES[name]["request"]))} == OUTCOMES[name]


@needs_data
@pytest.mark.parametrize("name", [name for name in IN_THE_BODY if OUTCOMES[name]["status"] == 200])
def test_what_we_take_the_lenient_receiver_stores_no_fuller(name: str) -> None:
    """It never holds a row that ours does not: where it is short of ours it left half a day."""
    kept = CASES[name]["observed"]["counts"]
    tables = ("metrics_kpi_values", "metrics_series_points", "metrics_extremes_items", "metrics_portfolio_assets")
    duplicates = OUTCOMES[name]["dropped"][0]
    assert all(kept[table] <= ours + duplicates for table, ours in zip(tables, OUTCOMES[name]["counts"], strict=True))
