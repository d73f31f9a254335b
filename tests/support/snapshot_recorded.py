"""The recorded requests to a lenient receiver, as bodies; the data stay where they are (../shared/data/snapshot)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(__file__).resolve().parents[3] / "shared" / "data" / "snapshot" / "real_receiver_cases.jsonl"
OUTCOMES: Final = Path(__file__).parents[1] / "cases" / "snapshot" / "recorded_outcomes.jsonl"
AT: Final = datetime(2026, 2, 11, tzinfo=UTC)
HEAD: Final = {"date": "2026-02-11", "updated_at": "2026-02-11T21:30:00.000Z", "headline": "new", "summary": "s"}


def recorded() -> dict[str, dict[str, Any]]:
    """The recorded cases by name; none where the data are absent."""
    if not DATA.is_file():
        return {}
    return {case["case"]: case for case in map(json.loads, DATA.read_text("utf-8").splitlines())}


def outcomes() -> dict[str, dict[str, Any]]:
    """What our API answers to each case: status, code, problems as (path, code), counts, dropped.

    ``door`` marks what is decided before a body is read: method, token, content type.
    """
    return {case["case"]: case for case in map(json.loads, OUTCOMES.read_text("utf-8").splitlines())}


def body_of(request: dict[str, Any]) -> bytes:
    """The bytes of a recorded request; a generated body is made again from its description."""
    if "body_raw" in request:
        return bytes(request["body_raw"].encode())
    if "body" in request:
        return json.dumps(request["body"]).encode()
    return json.dumps(_GENERATED[request["body_generated"]]()).encode()


def _minutes(count: int) -> list[dict[str, Any]]:
    return [{"t": f"{AT + timedelta(minutes=at):%Y-%m-%dT%H:%M:00.000Z}", "v": at} for at in range(count)]


def _late_failure() -> dict[str, Any]:
    rows = [{"kpi": f"K{number}", "value": str(number)} for number in range(10)]
    held = [{"trade_id": 1, "symbol": "A", "contract_name": "C"}] * 2
    return {**HEAD, "rows": rows, "overlay": {"seriesByKpi": {"a": _minutes(450)}, "portfolioAssets": held}}


def _full_day() -> dict[str, Any]:
    rows = [{"kpi": f"KPI {number}", "value": f"${number}.50"} for number in range(25)]
    items = [
        {"trade_id": number, "symbol": f"S{number}", "contract_name": f"C {number}", "metric_raw": number}
        for number in range(1, 11)
    ]
    sides = {f"KPI {number}": {"hi": items, "lo": items[::-1]} for number in range(20)}
    held = [{"trade_id": number, "symbol": "S", "contract_name": f"C {number}"} for number in range(1, 201)]
    series = {f"KPI {number}": _minutes(400) for number in range(15)}
    return {**HEAD, "rows": rows, "overlay": {"seriesByKpi": series, "extremes": {"byKpi": sides}, "portfolioAssets": held}}


def _long_series() -> dict[str, Any]:
    return {**HEAD, "rows": [{"kpi": "K", "value": "1"}], "overlay": {"seriesByKpi": {"K": _minutes(2_500)}}}


_GENERATED: Final = {
    "rows: K1..K10; series a: 450 distinct minutes; portfolio: trade 1/C twice": _late_failure,
    "25 KPIs, 15x400 series points, 20 KPIs x 10 hi + 10 lo full items, 200 assets": _full_day,
    "1 KPI x 2500 series points": _long_series,
}
