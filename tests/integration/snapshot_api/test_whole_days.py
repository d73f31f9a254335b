"""Scenario 26: a day is the old one or the new one, for every reader at every moment and wherever the server is killed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fillbook.runtime.db import Database
from fillbook.runtime.errors import Unavailable
from fillbook.snapshot import filters, read
from tests.support.snapshot_api import DAY, NOW, day_document, put

Query = Callable[..., list[dict[str, Any]]]
FULL = os.environ.get("FILLBOOK_FULL") == "1"
REPLACES = 200 if FULL else 20
READS = 2_000 if FULL else 200

# every statement of a replacement, by the table and what it does there; the points are taken away, moved and added in one
STATEMENTS = (
    ("metrics.snapshot_versions", "insert"),
    ("metrics.metrics_daily", "update"),
    ("metrics.metrics_kpi_values", "delete"),
    ("metrics.metrics_kpi_values", "insert"),
    ("metrics.metrics_series_points", "delete"),
    ("metrics.metrics_series_points", "update"),
    ("metrics.metrics_series_points", "insert"),
    ("metrics.metrics_extremes_items", "delete"),
    ("metrics.metrics_extremes_items", "insert"),
    ("metrics.metrics_portfolio_assets", "delete"),
    ("metrics.metrics_portfolio_assets", "insert"),
    ("metrics.restatements", "insert"),
    ("outbox.events", "insert"),
)
KILL = """
create function public.killed() returns trigger language plpgsql security definer as $$
begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$;
"""


def at_second(number: int) -> str:
    return (datetime(2026, 2, 11, 21, tzinfo=UTC) + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def numbers_of(answers: dict[str, Any]) -> set[int]:
    """Every number that the answers about a day hold, whichever part says it."""
    latest, kpis, series, assets = answers["latest"], answers["kpis"], answers["series"], answers["assets"]
    found = {row["value_num"] for row in (*latest["rows"], *kpis["items"]) if row["value_num"] is not None}
    overlay = latest["overlay"]
    found |= {point["v"] for points in overlay["seriesByKpi"].values() for point in points}
    found |= {item["qty"] for sides in overlay["extremes"]["byKpi"].values() for side in sides.values() for item in side}
    found |= {int(asset["contract_name"].split()[1]) for asset in overlay["portfolioAssets"] if " " in asset["contract_name"]}
    found |= {point["v"] for point in series["points"]}
    return found | {int(item["contract_name"].split()[1]) for item in assets["items"] if " " in item["contract_name"]}


def seen(db: Database, route: str, **given: str) -> dict[str, Any]:
    """The document of an answer."""
    from fillbook.runtime.rows import document

    ask = filters.understood(route, {name: [value] for name, value in given.items()})
    found: dict[str, Any] = document(read.read(db, ask, NOW, holds=lambda _: False).body)
    return found


def everything(db: Database) -> dict[str, Any]:
    """The day as four routes show it."""
    return {
        "latest": seen(db, filters.LATEST, date=DAY),
        "kpis": seen(db, filters.KPIS, date=DAY),
        "series": seen(db, filters.SERIES, date=DAY, kpi="Daily PnL"),
        "assets": seen(db, filters.ASSETS, date=DAY),
    }


def test_a_server_killed_at_any_statement_leaves_the_old_day_and_takes_the_new_one_later(
    receiver: Database, query: Query
) -> None:
    query(KILL)
    put(receiver, day_document(number=1, points=5))
    for version, (table, event) in enumerate(STATEMENTS, start=1):
        moved = day_document(number=version + 1, points=5 + version % 2 * 2, updated_at=at_second(60 * version))
        del moved["overlay"]["seriesByKpi"]["Daily PnL"][version % 3]
        query(f"create trigger killed after {event} on {table} for each row execute function public.killed()")
        before = everything(receiver)
        with pytest.raises(Unavailable):
            put(receiver, moved)
        assert everything(receiver) == before, (event, table)
        assert query("select count(*) as n from metrics.snapshot_versions") == [{"n": version}], (event, table)
        assert query("select count(*) as n from outbox.events") == [{"n": version - 1}], (event, table)
        query(f"drop trigger killed on {table}")
        assert put(receiver, moved)["version"] == version + 1
        assert numbers_of(everything(receiver)) == {version + 1}


def test_a_server_killed_as_it_commits_leaves_the_old_day(receiver: Database, query: Query) -> None:
    put(receiver, day_document(number=1))
    query(KILL)
    query(
        "create constraint trigger killed after insert on metrics.snapshot_versions deferrable initially deferred"
        " for each row execute function public.killed()"
    )
    before = everything(receiver)
    with pytest.raises(Unavailable):
        put(receiver, day_document(number=2, updated_at=at_second(60)))
    assert everything(receiver) == before


def test_readers_see_one_version_in_full_while_the_day_is_replaced_again_and_again(
    receiver: Database, open_database: Any
) -> None:
    put(receiver, day_document(number=1, updated_at=at_second(1)))
    writer = open_database("snapshot_api", pool_size=1)
    ended = threading.Event()

    def replace() -> None:
        try:
            for number in range(2, REPLACES + 2):
                put(writer, day_document(number=number, points=3 + number % 4, updated_at=at_second(number)))
        finally:
            ended.set()

    thread = threading.Thread(target=replace)
    thread.start()
    versions: set[int] = set()
    reads = 0
    while reads < READS or not ended.is_set():
        latest = seen(receiver, filters.LATEST)
        parts = {"latest": latest, "kpis": {"items": latest["rows"]}, "series": {"points": []}, "assets": {"items": []}}
        assert numbers_of(parts) == {latest["version"]}, "one answer, one version"
        for route, part in ((filters.KPIS, "items"), (filters.SERIES, "points"), (filters.ASSETS, "items")):
            given = {"kpi": "Daily PnL"} if route == filters.SERIES else {}
            told = seen(receiver, route, **given)
            shown = [item.get("value_num", item.get("v")) for item in told[part]]
            shown += [int(item["contract_name"].split()[1]) for item in told[part] if " " in item.get("contract_name", "")]
            assert {number for number in shown if number is not None} == {told["version"]}, route
            if route == filters.SERIES:
                assert len(told["points"]) == (3 if told["version"] == 1 else 3 + told["version"] % 4)
        versions.add(latest["version"])
        reads += 4
    thread.join()
    assert max(versions | {seen(receiver, filters.LATEST)["version"]}) == REPLACES + 1


def test_a_backend_that_dies_under_a_reader_costs_one_answer_and_no_more(receiver: Database, query: Query) -> None:
    put(receiver, day_document(number=1))
    everything(receiver)
    query("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()")
    with suppress(Unavailable):
        everything(receiver)
    assert numbers_of(everything(receiver)) == {1}
