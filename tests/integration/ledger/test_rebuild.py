"""Reliability 11 and laws P2-P4 on Postgres: the journal alone gives every row, number and hash again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fillbook.ledger import audit, bookstore, rebuild, stored
from fillbook.ledger.columns import ACTIONS, ADJUSTMENTS, FILLS, LOTS, POSITIONS, closing_rows
from fillbook.runtime.db import Database, DatabaseFailed
from fillbook.runtime.errors import Rejected
from tests.conftest import OpenDatabase
from tests.support.ledger import MemoryWorld, StoredWorld, at, make_book, make_fill
from tests.support.ledger_histories import METHODS, batches, broker_book, deliveries

Query = Callable[..., list[dict[str, Any]]]
TABLES = ("fills", "adjustments", "execution_actions", "closings", "positions", "lots", "parked_fills", "books")


def export(query: Query) -> dict[str, list[dict[str, Any]]]:
    """Every table of the room, ordered: "same state" is equality of these."""
    return {name: query(f"select to_json(t)::text as row from ledger.{name} t order by 1") for name in TABLES}


@pytest.fixture
def busy(db: Database) -> StoredWorld:
    """A book with corrections, busts, late fills, a split, parked facts."""
    world = StoredWorld(db, make_book("ibkr:U1"))
    rng = random.Random(7)
    for number in range(60):
        fill = make_fill(
            f"f{rng.randrange(40)}",
            "BUY" if rng.random() < 0.55 else "SELL",
            rng.randint(1, 9),
            rng.randint(90, 110),
            rng.randint(0, 120),
            source="ibkr",
            instrument=rng.choice(["AMD", "NVDA"]),
            source_revision=rng.choice([1, 1, 2, 3]),
            is_bust=rng.random() < 0.1,
            position_effect=rng.choice(["auto", "auto", "close"]),
            fees=rng.choice([Decimal("0.35"), None]),
        )
        world.deliver([fill], at(number))
        if number == 30:
            world.split((4, 1), 60)
    return world


def test_a_check_finds_what_is_stored_equal(busy: StoredWorld) -> None:
    result = rebuild.check(busy.db, "ibkr:U1")
    assert (result.is_equal, result.differences) == (True, ())
    assert (result.state_hash, result.chain_head) == (busy.state_hash, busy.chain_head)


def test_a_lot_that_changed_in_a_position_whose_row_did_not_is_what_the_next_fill_meets(db: Database) -> None:
    """Two fees unknown, one of them found: the position's sums stay unknown, so its row stays, but its lot does not."""
    stored, memory = StoredWorld(db, make_book("ibkr:U1")), MemoryWorld(make_book("ibkr:U1"))
    first, second = (make_fill(name, "SELL", 7, 100, minute, source="ibkr", fees=None) for minute, name in enumerate("ab"))
    found = replace(first, source_revision=2, fees=Decimal("0.70"), cause="commission")
    for world in (stored, memory):
        for fill in (first, second, found, make_fill("c", "BUY", 5, 92, 4, source="ibkr", fees="0.35")):
            world.deliver([fill])
    assert stored.actions[-1].action.realized_pnl == Decimal("39.15")
    assert (memory.state_hash, memory.chain_head) == (stored.state_hash, stored.chain_head)
    assert rebuild.check(db, "ibkr:U1").differences == ()


def test_writing_a_rebuild_gives_every_row_again(busy: StoredWorld, open_database: OpenDatabase, query: Query) -> None:
    before = export(query)
    result = rebuild.write(open_database("ledger_maintenance"), "ibkr:U1")
    assert result.is_equal
    assert export(query) == before


def test_restoring_only_the_journal_is_enough(busy: StoredWorld, open_database: OpenDatabase, query: Query, db: Database) -> None:
    before = export(query)
    hashes = (busy.state_hash, busy.chain_head)
    wipe = "delete from ledger.closings; delete from ledger.execution_actions; delete from ledger.lots; "
    query(wipe.split(";")[0])
    for text in wipe.split(";")[1:3]:
        query(text)
    query("delete from ledger.positions")
    query("delete from ledger.parked_fills")
    assert not rebuild.check(db, "ibkr:U1").is_equal
    with pytest.raises(Rejected, match="rebuild_differs"):
        rebuild.write(open_database("ledger_maintenance"), "ibkr:U1")
    result = rebuild.write(open_database("ledger_maintenance"), "ibkr:U1", accept=True)
    assert (result.state_hash, result.chain_head) == hashes
    assert export(query) == before
    assert audit.audit(db, "ibkr:U1", at(60)).exit == 0


def test_rows_read_straight_have_the_canonical_values_of_their_nouns(busy: StoredWorld, db: Database) -> None:
    with db.transaction(read_only=True) as tx:
        actions = list(bookstore.action_versions(tx, "ibkr:U1"))
        rows = [(row, closings) for _, row, closings in bookstore.raw_actions(tx, "ibkr:U1")]
        assert [stored.read_action(row) for row, _ in rows] == [ACTIONS.values("ibkr:U1", version) for version in actions]
        straight = [stored.read_closings(closings) for row, closings in rows if row["state"] == "BOOKED"]
        assert straight == [closing_rows("ibkr:U1", version) for version in actions if version.state == "BOOKED"]
        told = {"fills": FILLS, "adjustments": ADJUSTMENTS}
        for (table, row, _), version in zip(bookstore.raw_journal(tx, "ibkr:U1"), bookstore.journal(tx, "ibkr:U1"), strict=True):
            assert stored.CHAINED[table](row) == told[table].values("ibkr:U1", version)
        lots, positions = bookstore.lots(tx, "ibkr:U1"), bookstore.positions(tx, "ibkr:U1")
        assert [*map(stored.read_lot, bookstore.raw_lots(tx, "ibkr:U1"))] == [LOTS.values("ibkr:U1", lot) for lot in lots]
        assert [*map(stored.read_position, bookstore.raw_positions(tx, "ibkr:U1"))] == [
            POSITIONS.values("ibkr:U1", position) for position, _ in positions
        ]


def test_a_difference_names_the_row_and_the_columns(busy: StoredWorld, db: Database, query: Query) -> None:
    (position,) = query("select position_id from ledger.positions where status = 'OPEN' order by 1 limit 1")
    query("update ledger.positions set realized_pnl = 42 where position_id = :id", id=position["position_id"])
    result = rebuild.check(db, "ibkr:U1")
    assert [(d.table, d.row, d.columns) for d in result.differences] == [
        ("positions", str(position["position_id"]), ("realized_pnl",))
    ]


def test_only_the_maintenance_role_may_write_a_rebuild(busy: StoredWorld, open_database: OpenDatabase) -> None:
    with pytest.raises(DatabaseFailed, match="42501"):
        rebuild.write(open_database("ledger_writer"), "ibkr:U1")


def test_a_rebuild_that_comes_out_differently_is_not_committed(
    busy: StoredWorld, open_database: OpenDatabase, query: Query
) -> None:
    query("update ledger.fills set quantity = quantity + 1 where seq = (select min(seq) from ledger.fills)")
    before = export(query)
    with pytest.raises(Rejected, match="rebuild_differs"):
        rebuild.write(open_database("ledger_maintenance"), "ibkr:U1")
    assert export(query) == before


@settings(max_examples=8)
@given(data=st.data(), method=st.sampled_from(METHODS))
def test_p2_p3_p4_hold_on_postgres_as_in_memory(data: st.DataObject, method: str, db: Database) -> None:
    number = data.draw(st.integers(0, 10**12))
    history = data.draw(deliveries(7))
    book = replace(broker_book(method), book_id=f"ibkr:U{number}")
    stored, memory = StoredWorld(db, book), MemoryWorld(book)
    for batch in data.draw(batches(history)):
        assert [o.status for o in stored.deliver(batch)] == [o.status for o in memory.deliver(batch)]
    assert stored.state_hash == memory.state_hash
    assert stored.chain_head == memory.chain_head
    before = (stored.chain_head, len(stored.told))
    stored.deliver(history)
    assert (stored.chain_head, len(stored.told)) == before
    assert rebuild.check(db, book.book_id).is_equal
    assert audit.audit(db, book.book_id, at(60)).exit == 0
