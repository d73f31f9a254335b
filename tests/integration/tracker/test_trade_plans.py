"""Pages of positions and executions walk an index whatever the size: nothing more is put in order than a page shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fillbook.ledger import asof
from fillbook.runtime.db import Database
from fillbook.runtime.sql import Statement, statement
from fillbook.tracker import executions, present
from infra.local.postgres import PostgresServer
from tests.support.campaigns import small_or_full
from tests.support.ledger import StoredWorld, make_book
from tests.support.ledger_crowd import crowd
from tests.support.servers import TEMPLATE, database_config

POSITIONS = small_or_full(6_000, 100_000)
LIMIT = 51
BOOK = "ibkr:U1"
BEGIN = datetime(2026, 1, 2, 15, tzinfo=UTC)
MIDDLE = {
    "after_at": BEGIN + timedelta(minutes=POSITIONS // 2),
    "after_id": "80000000-0000-0000-0000-000000000000",
    "after_book": BOOK,
}
FIRST: dict[str, object] = dict.fromkeys(("after_at", "after_id", "after_book"))
TRADES: dict[str, object] = {
    **dict.fromkeys("ticker direction outcome reason min_pnl max_pnl lane within_books within_positions since until".split()),
    **FIRST,
    "books": [BOOK],
    "status": "all",
    "marked_before": BEGIN,
    "marked_before_then": BEGIN,
    "limit": LIMIT,
}
ACTIONS: dict[str, object] = {
    **dict.fromkeys("ticker action_type position_id since until".split()),
    **FIRST,
    "books": [BOOK],
    "as_of": BEGIN + timedelta(days=400),
    "known_as_of": BEGIN + timedelta(days=400),
    "limit": LIMIT,
}
RANGE = {"since": BEGIN + timedelta(minutes=2_000), "until": BEGIN + timedelta(minutes=2_100)}


@pytest.fixture(scope="module")
def reader(postgres: PostgresServer) -> Iterator[Database]:
    """A book of thousands of positions as the read API sees it, every hundredth corrected once, with statistics."""
    name = "trade_plans"
    postgres.run("psql", "-qc", f"create database {name} template {TEMPLATE}")
    url = postgres.url(database=name)
    owner = Database.open(database_config(url), application_name="tests", statement_timeout_seconds=120)
    crowd(StoredWorld(owner, make_book(BOOK)).db, BOOK, POSITIONS)
    db = Database.open(database_config(f"{url}?role=tracker_reader"), application_name="tests", statement_timeout_seconds=120)
    yield db
    db.close()
    owner.close()
    postgres.run("psql", "-qc", f"drop database {name} with (force)")


def nodes(db: Database, name: str | Statement, **params: object) -> list[dict[str, Any]]:
    """The plan of a statement with what it really did, each node before its children."""
    asked = present.QUERIES[name] if isinstance(name, str) else name
    text = "explain (analyze, format json, costs off, timing off) " + asked.text
    with db.transaction(read_only=True, tenant_id="desk") as tx:
        (row,) = tx.query(statement(text), **params)
    found: list[dict[str, Any]] = []

    def walk(node: dict[str, Any]) -> None:
        found.append(node)
        for child in node.get("Plans", ()):
            walk(child)

    walk(next(iter(row.values()))[0]["Plan"])
    return found


def put_in_order(plan: list[dict[str, Any]]) -> float:
    """How many rows the largest sort was given."""
    return max((float(node["Plans"][0]["Actual Rows"]) for node in plan if node["Node Type"] == "Sort"), default=0.0)


def read(plan: list[dict[str, Any]], *tables: str) -> float:
    """How many rows of some tables the scans gave or threw away."""
    scans = [node for node in plan if node.get("Relation Name") in tables]
    return sum(float(node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * float(node["Actual Loops"]) for node in scans)


def walked(plan: list[dict[str, Any]]) -> set[str]:
    """The indexes that were used; whole tables of a book's rows never are."""
    whole = [node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan"]
    assert not {"execution_actions", "fills", "positions", "lots", "marks"} & set(whole)
    return {node["Index Name"] for node in plan if "Index Name" in node}


@pytest.mark.parametrize(
    ("which", "index", "most"),
    [
        ({}, "positions_by_opened", LIMIT),
        (MIDDLE, "positions_by_opened", LIMIT + 1),
        ({"status": "closed"}, "positions_by_opened", LIMIT + 250),
        ({"status": "open"}, "positions_open_by_opened", LIMIT),
        ({"ticker": "T77"}, "positions_by_ticker", LIMIT),
        ({"ticker": "T77", **MIDDLE}, "positions_by_ticker", LIMIT + 1),
        ({"direction": "LONG", "outcome": "flat", "min_pnl": 0, **MIDDLE}, "positions_by_opened", LIMIT + 1),
        ({"until": RANGE["until"]}, "positions_by_opened", LIMIT),
        ({"within_books": [BOOK], "within_positions": ["00000000-0000-0000-0000-000000000000"]}, "positions_pk", 1),
    ],
    ids=str,
)
def test_a_page_of_positions_walks_its_index_and_reads_little_more_than_it_shows(
    reader: Database, which: dict[str, object], index: str, most: int
) -> None:
    plan = nodes(reader, "positions", **(TRADES | which))
    assert index in walked(plan)
    assert put_in_order(plan) <= LIMIT
    assert read(plan, "positions") <= most


@pytest.mark.parametrize("which", [RANGE, {"since": RANGE["since"]}, {"reason": "tp_hit"}, {"outcome": "win"}], ids=str)
def test_what_no_index_tells_is_looked_for_in_the_order_of_the_page(reader: Database, which: dict[str, object]) -> None:
    plan = nodes(reader, "positions", **(TRADES | which))
    assert "positions_by_opened" in walked(plan)
    assert put_in_order(plan) <= LIMIT
    assert read(plan, "positions") <= POSITIONS


@pytest.mark.parametrize(
    "which",
    [
        {},
        MIDDLE,
        {"since": RANGE["since"], "until": RANGE["until"]},
        {"action_type": "TRIM"},
        {"known_as_of": BEGIN + timedelta(minutes=POSITIONS // 2)},
        {"as_of": BEGIN + timedelta(minutes=POSITIONS // 2), **MIDDLE},
    ],
    ids=str,
)
def test_a_page_of_executions_walks_by_time_and_reads_little_more_than_it_shows(
    reader: Database, which: dict[str, object]
) -> None:
    plan = nodes(reader, "executions", **(ACTIONS | which))
    assert {"execution_actions_by_time", "execution_actions_replaced_by_time"} <= walked(plan)
    assert put_in_order(plan) <= 2 * LIMIT
    if "known_as_of" not in which:
        assert read(plan, "execution_actions") <= 8 * LIMIT


def test_executions_of_a_position_come_by_its_index(reader: Database) -> None:
    with reader.transaction(read_only=True) as tx:
        (row,) = tx.query(statement("select position_id from ledger.v_positions limit 1"))
    plan = nodes(reader, "executions", **(ACTIONS | {"position_id": row["position_id"]}))
    assert read(plan, "execution_actions") <= 10


def test_files_are_counted_by_the_choice_of_their_pages(reader: Database) -> None:
    with reader.transaction(read_only=True, tenant_id="desk") as tx:
        asked = {name: value for name, value in TRADES.items() if not name.startswith("marked_")} | {"limit": 1_000}
        assert tx.query(present.COUNTED, **asked) == [{"count": 1_000}]
        assert tx.query(executions.COUNTED, **(ACTIONS | {"limit": 1_000})) == [{"count": 1_000}]


def test_lots_of_another_moment_are_counted_by_the_index_of_their_positions(reader: Database) -> None:
    asked = dict.fromkeys(asof.LOTS_COUNTED.parameters)
    given = {"books": [BOOK], "status": "all", "is_plain": True, "rows_max": 1_000}
    clocks = {"as_of": BEGIN + timedelta(days=400), "known_as_of": BEGIN + timedelta(minutes=POSITIONS // 2)}
    plan = nodes(reader, asof.LOTS_COUNTED, **(asked | given | clocks))
    assert "execution_actions_by_position" in {node.get("Index Name") for node in plan}
    assert read(plan, "execution_actions") <= 8 * 1_000 + 4 * POSITIONS  # its entries may be chosen among all, once


def test_the_parts_of_a_page_come_by_the_indexes_of_its_positions(reader: Database) -> None:
    with reader.transaction(read_only=True) as tx:
        rows = tx.query(statement("select position_id from ledger.v_positions order by opened_at limit 20"))
    ids = [row["position_id"] for row in rows]
    plan = nodes(reader, "actions", books=[BOOK], positions=ids)
    assert "execution_actions_by_position" in walked(plan)
    assert read(plan, "execution_actions") <= 4 * len(ids)
    # nothing is looked for behind an entry
    assert max(node["Actual Loops"] for node in plan if node.get("Relation Name") == "closings") == 2 * len(ids)


def test_every_statement_about_trades_is_valid_sql(reader: Database) -> None:
    for name, asked in present.QUERIES.items():
        with reader.transaction() as tx:
            tx.execute(statement(f"prepare checked_{name} as {asked.numbered}"))
