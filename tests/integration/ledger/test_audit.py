"""Each of the sixteen invariants can fail on its own: one planted violation, its number, its exit code, its ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fillbook.ledger import audit, bookstore
from fillbook.ledger.chain import genesis, row_hash
from fillbook.ledger.verification import chain_row, verify
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from tests.support.ledger import StoredWorld, at, make_fill

Query = Callable[..., list[dict[str, Any]]]
Plant = Callable[..., None]

OPEN = "(select position_id from ledger.positions where status = 'OPEN' order by instrument limit 1)"
CLOSED = "(select position_id from ledger.positions where status = 'CLOSED' limit 1)"
TRIM = "(select action_id from ledger.execution_actions where action_type = 'TRIM' and superseded_at is null limit 1)"
ENTRY = f"(select action_id from ledger.execution_actions where action_type = 'ENTRY' and position_id = {CLOSED})"

SET_POSITION = "update ledger.positions set"
PLANTED: dict[int, list[str]] = {
    1: [f"{SET_POSITION} quantity_open = quantity_open + 1, quantity_opened = quantity_opened + 1 where position_id = {OPEN}"],
    2: [
        "alter table ledger.lots drop constraint lots_closed_is_empty",
        f"update ledger.lots set quantity_open = quantity_adjusted where position_id = {CLOSED}",
    ],
    3: [f"update ledger.closings set quantity = quantity + 1 where action_id = {TRIM}"],
    4: [f"update ledger.lots set quantity = quantity + 1 where position_id = {OPEN}"],
    5: [f"update ledger.execution_actions set realized_pnl = realized_pnl + 0.01 where action_id = {TRIM}"],
    6: [f"update ledger.positions set realized_pnl = realized_pnl + 0.01 where position_id = {CLOSED}"],
    7: [
        "drop index ledger.positions_one_open", "drop index ledger.positions_one_open_net",
        "update ledger.positions set instrument = 'AMD' where status = 'OPEN'",
    ],
    8: ["delete from ledger.parked_fills"],
    9: [f"update ledger.lots set opened_at = opened_at + interval '1 hour' where position_id = {CLOSED}"],
    10: [f"update ledger.execution_actions set cash_effect = cash_effect + 0.01 where action_id = {TRIM}"],
    11: [
        f"update ledger.execution_actions set fees = fees + 1, cash_effect = cash_effect - 1 where action_id = {ENTRY}",
        f"update ledger.positions set fees_total = fees_total + 1 where position_id = {CLOSED}",
    ],
    12: [f"update ledger.execution_actions set currency = 'EUR' where action_id = {TRIM}"],
    13: ["update ledger.fills set reason = 'sl_breached' where version = 1 and seq = 1"],
    15: ["delete from outbox.events where event_type = 'execution_booked' and aggregate_version = 2"],
    16: ["update ledger.parked_fills set reason = 'close_exceeds_open'"],
}  # fmt: skip


@pytest.fixture
def world(db: Database) -> StoredWorld:
    """A book with a closed position, two open ones of which one was trimmed, and a parked fact."""
    stored = StoredWorld(db)
    facts = {"source": "operator", "account_key": "ann"}
    for fill in [
        make_fill("a", "BUY", 10, 100, 0, fees="1"),
        make_fill("b", "SELL", 10, 110, 1, fees="1"),
        make_fill("c", "BUY", 10, 100, 2, fees="1"),
        make_fill("d", "SELL", 4, 110, 3, fees="1"),
        make_fill("e", "BUY", 5, 20, 4, instrument="NVDA"),
        make_fill("f", "SELL", 1, 20, 5, instrument="TSLA", position_effect="close", **facts),
    ]:
        stored.deliver([fill])
    return stored


@pytest.fixture
def plant(db: Database) -> Plant:
    """Tamper with a book as only a superuser can: no trigger, no foreign key looks."""

    def run(*statements: str) -> None:
        with db.transaction() as tx:
            tx.execute(statement("set local session_replication_role = replica"))
            for text in statements:
                tx.execute(statement(text))

    return run


def test_a_book_as_it_was_booked_is_clean(world: StoredWorld) -> None:
    result = audit.audit(world.db, "live", at(60))
    assert (result.exit, result.findings) == (0, ())
    assert result.seq == 11


@pytest.mark.parametrize("invariant", sorted(PLANTED))
def test_a_planted_violation_fails_its_own_invariant(world: StoredWorld, plant: Plant, invariant: int) -> None:
    plant(*PLANTED[invariant])
    result = audit.audit(world.db, "live", at(60))
    assert result.exit == 20 + invariant, result.findings
    first = result.findings[0]
    assert first.invariant == invariant
    assert first.ids
    assert first.detail


def test_a_fill_rewritten_with_its_whole_chain_still_fails_its_content(world: StoredWorld, db: Database) -> None:
    rewrite_chain(db, "update ledger.fills set price = 100.5 where seq = 1")
    result = audit.audit(db, "live", at(60))
    assert result.exit == 34
    assert {finding.invariant for finding in result.findings} == {14, 16}


def rewrite_chain(db: Database, *statements: str) -> None:
    """Alter rows and recompute every hash to the end, as an attacker with the database's password would."""
    with db.transaction() as tx:
        tx.execute(statement("set local session_replication_role = replica"))
        for text in statements:
            tx.execute(statement(text))
        previous = genesis("live")
        for table, row, closings in list(bookstore.raw_rows(tx, "live")):
            own = row_hash(previous, chain_row(table, row, closings).hashed)
            tx.execute(
                statement(f"update ledger.{table} set prev_hash = :prev, row_hash = :own where seq = :seq"),
                prev=previous,
                own=own,
                seq=row["seq"],
            )
            previous = own
        tx.execute(statement("update ledger.books set chain_head = :head where book_id = 'live'"), head=previous)


def test_scenario_42_an_altered_cent_names_row_and_columns(world: StoredWorld, plant: Plant) -> None:
    plant(f"update ledger.execution_actions set fees = fees + 0.01 where action_id = {TRIM}")
    (finding,) = verify(world.db, "live")
    (trim,) = [version for version in world.actions if version.action.action_type == "TRIM"]
    assert (finding.kind, finding.table, finding.row) == ("altered", "execution_actions", f"{trim.action.action_id} v1")
    assert (finding.seq, finding.columns) == (trim.seq, ("fees",))


def test_scenario_42_an_altered_closing_names_its_action(world: StoredWorld, plant: Plant) -> None:
    plant("update ledger.closings set realized_pnl = realized_pnl + 0.01 where ordinal = 1")
    findings = verify(world.db, "live")
    assert {(finding.kind, finding.columns) for finding in findings} == {("altered", ("closings",))}
    assert len(findings) == 2


def test_scenario_42_an_altered_fill_is_named(world: StoredWorld, plant: Plant) -> None:
    plant("update ledger.fills set price = price + 0.01 where seq = 3")
    assert [(finding.kind, finding.seq) for finding in verify(world.db, "live")] == [("altered", 3), ("content", 3)]


def test_scenario_42_a_deleted_row_is_a_missing_seq(world: StoredWorld, plant: Plant) -> None:
    plant("delete from ledger.fills where seq = 3")
    finding = verify(world.db, "live")[0]
    assert (finding.kind, finding.seq, finding.row) == ("missing", 3, "seq 3")


def test_scenario_42_hashes_rewritten_to_the_end_are_caught_by_the_anchor(world: StoredWorld, db: Database) -> None:
    assert audit.anchor(db, "live", at(60)) is True
    assert audit.anchor(db, "live", at(61)) is False
    world.deliver([make_fill("g", "BUY", 1, 20, 9, instrument="NVDA")])
    assert verify(db, "live") == []
    rewrite_chain(db, "update ledger.fills set reason = 'sl_breached' where seq = 1")
    (finding,) = verify(db, "live")
    assert (finding.kind, finding.row) == ("relinked", "seq 1 to 11, anchor of 2026-02-03")


def test_a_superseded_time_that_was_moved_is_named(world: StoredWorld, plant: Plant) -> None:
    plant(f"update ledger.execution_actions set superseded_at = recorded_at where action_id = {TRIM}")
    assert [(finding.kind, finding.columns) for finding in verify(world.db, "live")] == [("altered", ("superseded_at",))]


def test_due_audits_are_stored_announced_and_anchored_once(world: StoredWorld, plant: Plant, db: Database, query: Query) -> None:
    assert [(row["book_id"], row["exit"]) for row in audit.audit_due(db, at(60))] == [("live", 0)]
    assert audit.audit_due(db, at(61)) == []
    world.deliver([make_fill("g", "BUY", 1, 20, 9, instrument="NVDA")])
    plant(*PLANTED[5])
    (document,) = audit.audit_due(db, at(62))
    json.dumps(document)
    assert document["exit"] == 25
    stored = query("select exit, seq, findings from ledger.v_audits order by ran_at")
    assert [(row["exit"], row["seq"]) for row in stored] == [(0, 11), (25, 13)]
    assert stored[1]["findings"]["findings"][0]["name"] == "realized = Σ closings"
    told = query("select event_type, payload from outbox.events where aggregate_key = 'live/audit' order by id")
    assert [row["event_type"] for row in told] == ["ledger_anchored", "audit_failed"]
    anchors = query("select seq, chain_head from ledger.v_chain_anchors")
    assert [row["seq"] for row in anchors] == [11]
    assert json.loads(told[0]["payload"])["data"]["chain_head"] == anchors[0]["chain_head"]


def test_what_waits_too_long_is_a_warning_and_no_violation(world: StoredWorld, db: Database) -> None:
    world.deliver([make_fill("g", "BUY", 1, 20, 9, instrument="MSFT", fees=None)])
    week = at(7 * 24 * 60)
    result = audit.audit(db, "live", week)
    assert result.exit == 0
    assert sorted({kind for kind, _, _ in result.warnings}) == ["fees_unknown", "parked", "unmarked"]
