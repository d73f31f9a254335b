"""Statements use their index whatever the size: plans of the hot load and of every statement of ``queries.sql``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fillbook.ledger import store, words
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from infra.local.postgres import PostgresServer
from tests.support.ledger import StoredWorld, at, make_book, make_fill
from tests.support.ledger_crowd import crowd
from tests.support.plans import rows_read
from tests.support.servers import TEMPLATE, database_config

Query = Callable[..., list[dict[str, Any]]]
SCHEMA = Path(words.__file__).parents[3] / "infra" / "database" / "schema.sql"
NOBODY = "'00000000-0000-0000-0000-000000000000'"

HOT = {
    "fills of one id": (
        f"select * from ledger.fills f where f.book_id = 'live' and f.fill_id = {NOBODY} order by f.version offset 0",
        "fills_pk",
    ),
    "open positions": (
        """select * from ledger.positions p where p.book_id = 'live' and p.instrument = 'AMD' and p.status = 'OPEN'
           order by p.direction offset 0""",
        "positions_one_open",
    ),
    "last booked key": (
        """select a.executed_at, a.venue_order, a.fill_id from ledger.execution_actions a
            where a.book_id = 'live' and a.instrument = 'AMD' and a.superseded_at is null and a.state = 'BOOKED'
            order by a.executed_at desc, a.venue_order desc, a.fill_id desc, a.leg desc limit 1""",
        "execution_actions_by_instrument",
    ),
    "last split": (
        "select max(j.effective_at) from ledger.adjustments j where j.book_id = 'live' and j.instrument = 'AMD'",
        "adjustments_by_instrument",
    ),
    "parked": (
        "select count(*) from ledger.parked_fills k where k.book_id = 'live' and k.instrument = 'AMD'",
        "parked_fills_by_instrument",
    ),
}


@pytest.fixture
def full(db: Database) -> Database:
    """A book of some size with statistics, as a desk has it after its first minutes."""
    world = StoredWorld(db)
    names = [f"T{number:02}" for number in range(40)]
    world.deliver([make_fill(f"{name}-{turn}", "BUY", 1, 100, turn, instrument=name) for name in names for turn in range(8)])
    with db.transaction() as tx:
        for table in ("fills", "execution_actions", "positions", "lots", "books", "marks"):
            tx.execute(statement(f"analyze ledger.{table}"))
    return db


def plan(db: Database, text: str, **params: object) -> str:
    """The plan of a statement when nothing may be scanned from end to end."""
    with db.transaction() as tx:
        tx.execute(statement("set local enable_seqscan = off"))
        rows = tx.query(statement("explain (costs off) " + text), **params)
    return "\n".join(str(value) for row in rows for value in row.values())


@pytest.mark.parametrize("name", HOT)
def test_a_look_up_of_the_hot_load_names_its_index(db: Database, name: str) -> None:
    text, index = HOT[name]
    assert index in plan(db, text)


def test_the_open_lots_of_a_position_come_by_an_index_of_the_position(db: Database) -> None:
    text = (
        f"select * from ledger.lots l where l.book_id = 'live' and l.position_id = {NOBODY} and l.quantity_open > 0 "
        "order by l.opened_at, l.venue_order, l.fill_id offset 0"
    )
    assert re.search(r"lots_(open|by_position)", plan(db, text))


def test_load_and_apply_never_scan_a_table_and_keep_one_plan() -> None:
    text = SCHEMA.read_text("utf-8")
    for name in ("load", "apply"):
        head = text[text.rindex(f"function ledger.{name}(document jsonb)") :].split("$$", 1)[0]
        assert "set plan_cache_mode = force_generic_plan" in head
        assert "set enable_seqscan = off" in head


REFERRED_TO = ("fills_seq_key", "positions_pk", "lots_pk", "execution_actions_pk")


def test_a_foreign_key_reads_the_row_it_names_and_not_the_book_also_before_the_first_analyze(db: Database) -> None:
    world = StoredWorld(db)
    names = [f"T{number:02}" for number in range(20)]
    for turn, (side, quantity) in enumerate((("BUY", 10), ("BUY", 5), ("SELL", 12))):
        for place, name in enumerate(names):
            world.deliver([make_fill(f"{name}-{turn}", side, quantity, 100, turn * 20 + place, instrument=name)])
    with db.transaction() as tx:
        tx.execute(statement("select pg_stat_force_next_flush()"))
    with db.transaction() as tx:
        rows = tx.query(
            statement(
                "select indexrelname::text as name, idx_scan, idx_tup_read from pg_stat_user_indexes where schemaname = 'ledger'"
            )
        )
    read = {row["name"]: (row["idx_scan"], row["idx_tup_read"]) for row in rows}
    bookings = len(names) * 3
    for name in REFERRED_TO:
        scans, tuples = read[name]
        assert scans >= bookings / 3, name
        assert tuples <= 2 * scans, name
    for name in ("fills_by_recorded", "execution_actions_by_recorded", "positions_by_opened"):
        assert read[name] == (0, 0), name


PAGED = {
    "book_head": "books_pk",
    "fills_page": "fills_seq_key",
    "actions_page": "execution_actions_seq_key",
    "positions_page": "positions_pk",
    "lots_page": "lots_pk",
    "current_fill": "fills_pk",
    "walk_fills_page": "fills_by_order",
    "export_fills_page": "fills_seq_key",
    "export_actions_page": "execution_actions_seq_key",
    "current_actions_page": "execution_actions_(one_current|pk)",
    "export_anchors": "chain_anchors_pk",
    "export_reconciliations": "reconciliations_by_book",
    "export_breaks": "breaks_",
    "adjustment_versions": "adjustments_pk",
    "anchors": "chain_anchors_pk",
    "parked": "parked_fills",
    "last_marks": "marks_pk",
}
VALUES: dict[str, object] = {
    "book_id": "live",
    "after": 0,
    "rows_max": 10,
    "fill_id": "00000000-0000-0000-0000-000000000000",
    "adjustment_id": "00000000-0000-0000-0000-000000000000",
    "instrument": "AMD",
    "as_of": "infinity",
    "known_as_of": "infinity",
    "after_at": "-infinity",
    "after_order": "",
    "after_id": "00000000-0000-0000-0000-000000000000",
}


@pytest.mark.parametrize("name", PAGED)
def test_a_statement_that_reads_a_book_in_pages_uses_its_index(full: Database, name: str) -> None:
    asked = store.QUERIES[name]
    values = {key: VALUES[key] for key in asked.parameters}
    if name in ("positions_page", "lots_page", "current_actions_page"):
        values["after"] = VALUES["fill_id"]
    assert re.search(PAGED[name], plan(full, asked.text, **values))


AS_OF = {"as_of": at(10_000), "known_as_of": at(20_000)}
_FILTERS = "ticker instrument direction since until outcome reason min_pnl max_pnl within_books within_positions"
_FROM = "after_at after_id after_book"
WHICH: dict[str, object] = dict.fromkeys(f"{_FILTERS} {_FROM}".split()) | {"is_plain": True}


@pytest.fixture(scope="module")
def crowded(postgres: PostgresServer) -> Iterator[Database]:
    """A book of 6,000 positions, every hundredth corrected once, with a database of its own for this module."""
    name = "crowded_plans"
    postgres.run("psql", "-qc", f"create database {name} template {TEMPLATE}")
    db = Database.open(database_config(postgres.url(database=name)), application_name="tests", statement_timeout_seconds=120)
    crowd(StoredWorld(db, make_book("ibkr:U1")).db, "ibkr:U1", 6_000)
    yield db
    db.close()
    postgres.run("psql", "-qc", f"drop database {name} with (force)")


def natural_plan(db: Database, name: str, **params: object) -> str:
    """The plan of a statement as it is chosen, sequential scans allowed, without those of branches that are not asked for."""
    with db.transaction(read_only=True) as tx:
        rows = tx.query(statement("explain (costs off) " + store.QUERIES[name].text), **params)
    text = "\n".join(str(value) for row in rows for value in row.values())
    return re.sub(r"(One-Time Filter: false)\n\s+->  Seq Scan on \w+ \w+(?=\n)", r"\1", text)


@pytest.mark.parametrize("which", [{}, {"status": "closed"}, {"since": at(500)}, {"ticker": "T77"}, {"direction": "SHORT"}])
def test_the_newest_positions_of_a_moment_come_in_the_order_of_an_index(crowded: Database, which: dict[str, object]) -> None:
    asked = WHICH | {"status": "all", "rows_max": 201} | which
    text = natural_plan(crowded, "positions_as_of", books=["ibkr:U1"], **asked, **AS_OF)
    assert not re.search(r"Seq Scan on (execution_actions|fills|positions)", text)
    assert re.search(r"Merge Append\n\s+Sort Key: [^\n]*executed_at DESC, [^\n]*position_id DESC", text)
    newest = "(entries|by_ticker)" if "ticker" in which else "entries"
    for index in (newest, "replaced_by_time", "by_position", "replaced_by_position"):
        assert re.search(f"using execution_actions_{index} ", text)
    assert "Index Scan using fills_seq_key" in text
    for name in ("ticker", "direction"):
        if name in which:
            assert re.search(rf"using execution_actions_{newest} [^\n]*\n\s+Index Cond: [^\n]*\b{name} = ", text)


def crowded_at(minutes: int) -> datetime:
    """So many minutes after the first position of the crowd, one being opened each minute."""
    return datetime(2026, 1, 2, 15, tzinfo=UTC) + timedelta(minutes=minutes)


def page_reads(db: Database, which: dict[str, object], as_of: object) -> int:
    """How many rows are read to find one page."""
    asked = WHICH | {"status": "all", "rows_max": 11, "as_of": as_of, "known_as_of": AS_OF["known_as_of"]} | which
    with db.transaction(read_only=True) as tx:
        return rows_read(tx, store.QUERIES["positions_as_of"], books=["ibkr:U1"], **asked)


@pytest.mark.parametrize(
    "which",
    [
        {},
        {"status": "closed"},
        {"ticker": "T77"},
        {"direction": "SHORT"},
        {"since": crowded_at(200), "until": crowded_at(230)},
        {"since": crowded_at(5_000), "until": crowded_at(5_030), "status": "closed"},
        {"since": crowded_at(200), "until": crowded_at(230), "direction": "LONG"},
        {"since": crowded_at(200), "until": crowded_at(205), "ticker": "T202"},
        {"since": crowded_at(9_000)},
    ],
)
def test_a_page_of_the_past_reads_what_it_shows_and_not_the_book(crowded: Database, which: dict[str, object]) -> None:
    assert page_reads(crowded, which, AS_OF["as_of"]) < 1_000


def test_what_was_open_is_found_among_what_is_open_or_closed_since(crowded: Database) -> None:
    assert page_reads(crowded, {"status": "open"}, AS_OF["as_of"]) < 3_000
    assert page_reads(crowded, {"status": "open"}, crowded_at(5_700)) < 3_000
    text = natural_plan(crowded, "positions_as_of", books=["ibkr:U1"], **WHICH | {"status": "open", "rows_max": 11}, **AS_OF)
    for index in ("positions_by_closed", "execution_actions_by_recorded", "execution_actions_replaced_by_time"):
        assert index in text


def test_the_actions_of_positions_at_a_moment_come_by_the_indexes_of_their_position(crowded: Database, query: Query) -> None:
    with crowded.transaction(read_only=True) as tx:
        rows = tx.query(statement("select position_id from ledger.v_positions where book_id = 'ibkr:U1' limit 200"))
    wanted = {"books": ["ibkr:U1"] * len(rows), "positions": [row["position_id"] for row in rows]}
    text = natural_plan(crowded, "actions_as_of", **wanted, **AS_OF, rows_max=20_001)
    assert not re.search(r"Seq Scan on (execution_actions|fills)", text)
    assert "using execution_actions_by_position " in text
    assert "using execution_actions_replaced_by_position " in text


def test_the_end_of_a_books_chain_at_k_comes_by_when_it_was_recorded(crowded: Database) -> None:
    text = natural_plan(crowded, "books_as_of", books=["ibkr:U1"], known_as_of=AS_OF["known_as_of"])
    assert "Backward using fills_by_recorded " in text
    assert "Backward using execution_actions_by_recorded " in text


def test_the_last_mark_of_t_comes_by_the_key_of_marks(full: Database) -> None:
    text = plan(full, store.QUERIES["marks_as_of"].text, books=["live"], instruments=["T01"], at=at(10))
    assert "marks_pk" in text


def test_a_reader_that_asks_for_no_column_of_the_fill_or_the_book_does_not_read_them(crowded: Database) -> None:
    text = "select action_id, known_from from ledger.v_action_history where book_id = 'ibkr:U1' and position_id is not null"
    assert not re.search(r"on (fills|books)", plan(crowded, text))


def test_every_statement_of_the_room_is_valid_sql(db: Database) -> None:
    for name, asked in store.QUERIES.items():
        if asked.text.lstrip().startswith(("insert", "select ledger.clear")):
            continue
        numbered = asked.numbered
        with db.transaction() as tx:
            tx.execute(statement(f"prepare checked_{name} as {numbered}"))
