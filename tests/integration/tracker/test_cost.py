"""A counted day as the page is told it, and plainly unknown where nobody counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.runtime.db import Database
from fillbook.runtime.sql import encode, statement
from infra.cost.kept import KEEP, priced
from tests.support.tracker_desk import get

Query = Callable[..., list[dict[str, Any]]]
CALLS = {"requests": 30.0, "seconds": 0.9, "billed_seconds": 0.6, "bytes_in": 90.0, "bytes_out": 60.0, "failed": 1.0}
COUNTS = {
    "function signal_worker": {"starts": 1.0, "processor_seconds": 1.25, "log_bytes": 4_000.0, "peak_bytes": 6e7},
    "calls signal_worker push": CALLS,
    "calls outbox_relay schedule:outbox-relay": CALLS,
    "topic signals": {"messages": 30.0, "bytes": 93_000.0},
}
DATABASE = {"rows_written": 7.0, "rows_read": 9.0, "transactions": 3.0, "size_bytes": 1e6, "log_ahead_bytes": 4e6}


def keep(db: Database, day: date, counts: dict[str, Any]) -> None:
    """As the local desk's meter does it."""
    kept = {"day": day.isoformat(), "is_simulated": True, "counted_until": "2026-02-03T22:45:30+00:00", "counts": counts}
    with db.transaction() as tx:
        tx.execute(statement("set local role desk_operator"))
        tx.execute(KEEP, day=day, document=encode(priced(kept)))


@pytest.mark.usefixtures("booked")
def test_where_nobody_counted_every_figure_is_unknown_and_none_is_nought(client: FlaskClient) -> None:
    status, answer = get(client, "/timed/cost")
    assert (status, answer["days"], answer["day"]) == (200, [], None)
    figures = ("source", "functions", "database", "message_bytes", "lines", "month", "idle_month", "prices", "counted_until_at")
    assert {name: answer[name] for name in figures} == dict.fromkeys(figures)
    assert get(client, "/timed/cost?day=2026-02-02")[1]["day"] == "2026-02-02"
    assert get(client, "/timed/cost?day=yesterday")[0] == 400


@pytest.mark.usefixtures("booked")
def test_a_counted_day_is_told_with_its_price_and_the_newest_without_being_named(client: FlaskClient, db: Database) -> None:
    keep(db, date(2026, 2, 2), COUNTS)
    keep(db, date(2026, 2, 3), {})
    keep(db, date(2026, 2, 3), COUNTS | {"database": DATABASE})  # counted on: in place of what was known
    answer = get(client, "/timed/cost")[1]
    assert (answer["day"], answer["days"], answer["source"]) == ("2026-02-03", ["2026-02-03", "2026-02-02"], "local meter")
    assert answer["counted_until_at"] == "2026-02-03T22:45:30.000Z"
    assert answer["database"] == {name: int(value) for name, value in DATABASE.items()} | {"processor_seconds": None}
    worker, relay = ({one["function"]: one for one in answer["functions"]}[name] for name in ("signal_worker", "outbox_relay"))
    assert (worker["requests"], worker["failed"], worker["billed_seconds"], worker["processor_seconds"]) == (30, 1, "0.6", "1.25")
    assert (relay["peak_bytes"], relay["log_bytes"], relay["processor_seconds"]) == (None, None, None)
    nets = sum(Decimal(line["net"]) for line in answer["lines"])
    assert abs(nets - Decimal(answer["month"])) < Decimal("0.01")
    assert "mt5-sync" in answer["not_measured"]
    earlier = get(client, "/timed/cost?day=2026-02-02")[1]
    assert (earlier["day"], earlier["database"]) == ("2026-02-02", None)
