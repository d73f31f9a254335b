"""What the database refuses by name, what is too much for a request, what an audit says of a journal beyond folding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fillbook.ledger import audit, rebuild, service, store
from fillbook.ledger.comparison import compare_methods
from fillbook.ledger.verification import verify
from fillbook.runtime.db import Call, ConstraintViolated, Database, Tx
from fillbook.runtime.errors import Conflict, Rejected, Unavailable
from fillbook.runtime.sql import statement
from tests.support.ledger import DAY, StoredWorld, at, make_book, make_fill

Query = Callable[..., list[dict[str, Any]]]


def test_more_to_fold_again_than_a_request_may_is_unavailable_and_nothing_is_stored(stored: StoredWorld) -> None:
    stored.deliver([make_fill(f"f{n}", "BUY", 1, 100, n + 10, source="operator") for n in range(20)])
    before = stored.chain_head
    late = make_fill("late", "BUY", 1, 99, 1, source="operator")
    with pytest.raises(Unavailable, match="rebook_too_large"):
        service.run(stored.db, lambda tx: service.book_fills(tx, "live", [late], DAY, fills_max=19))
    assert stored.chain_head == before
    assert service.run(stored.db, lambda tx: service.book_fills(tx, "live", [late], DAY, fills_max=20))[0].status == "booked"


def test_a_batch_of_many_positions_is_one_read_and_one_write(stored: StoredWorld) -> None:
    fills = [
        make_fill(f"f{n}", "BUY" if n % 3 else "SELL", 1 + n % 5, 100 + n % 7, n, instrument=f"I{n % 40}") for n in range(400)
    ]
    assert {outcome.status for outcome in stored.deliver(fills)} == {"booked"}
    assert len(stored.positions) >= 40


def test_a_book_that_was_never_opened_is_unknown(db: Database) -> None:
    with pytest.raises(Rejected, match="book_unknown"):
        service.run(db, lambda tx: service.book_fills(tx, "ibkr:none", [make_fill("a", "BUY", 1, 1)], DAY))


def test_a_state_of_another_book_is_a_bug(db: Database) -> None:
    one = StoredWorld(db)
    StoredWorld(db, make_book("ibkr:U1"))
    fill = make_fill("a", "BUY", 1, 1)
    with db.transaction() as tx:
        state = service.lock(tx, "ibkr:U1", ["AMD"], book_row=True, fill_keys=[fill.fill_id])
        with pytest.raises(ValueError, match="another book"):
            service.book_fills(tx, one.book.book_id, [fill], DAY, state=state)


def test_nothing_is_sent_for_no_marks(stored: StoredWorld) -> None:
    service.run(stored.db, lambda tx: service.mark(tx, "live", [], DAY))


def broken(stored: StoredWorld, monkeypatch: pytest.MonkeyPatch, table: str, **changed: object) -> Callable[[], object]:
    """Deliver with a document whose first row of ``table`` is not what Python checked."""
    plain = Tx.send

    def send(tx: Tx, *calls: Call) -> None:
        for call in calls:
            if call.function == "ledger.apply":
                call.document[table][0].update(changed)  # type: ignore[call-overload]
        plain(tx, *calls)

    monkeypatch.setattr(Tx, "send", send)
    return lambda: stored.deliver([make_fill("b", "BUY", 1, 100, 1)])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"quantity": "0"}, "quantity_not_positive"),
        ({"price": "-1"}, "price_not_positive"),
        ({"price": "NaN"}, "number_invalid"),
        ({"multiplier": "0"}, "multiplier_not_positive"),
        ({"currency": "usd"}, "currency_invalid"),
        ({"fx_rate": "0"}, "fx_rate_not_positive"),
        ({"source": "mail"}, "source_invalid"),
        ({"source_revision": 0}, "source_revision_invalid"),
        ({"position_effect": "maybe"}, "position_effect_invalid"),
        ({"cash_style": "credit"}, "cash_style_invalid"),
        ({"origin": "dream"}, "origin_invalid"),
        ({"cause": "luck"}, "cause_invalid"),
        ({"meta": {"text": "x" * 40_000}}, "meta_too_large"),
    ],
)
def test_what_slips_past_the_door_meets_a_named_constraint(
    stored: StoredWorld, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], reason: str
) -> None:
    deliver = broken(stored, monkeypatch, "fills", **changed)
    with pytest.raises(Rejected) as refused:
        deliver()
    assert refused.value.reason == reason


def test_a_hedging_book_refuses_a_fill_without_direction_in_the_database_too(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = StoredWorld(db, make_book("mt5:s:1", netting="hedge"))
    plain = Tx.send

    def send(tx: Tx, *calls: Call) -> None:
        for call in calls:
            call.document["fills"][0]["direction"] = None  # type: ignore[call-overload]
        plain(tx, *calls)

    monkeypatch.setattr(Tx, "send", send)
    with pytest.raises(Rejected, match="direction_required"):
        world.deliver([make_fill("a", "BUY", 1, 1, source="mt5", direction="LONG")])


@pytest.mark.parametrize(
    ("table", "changed"),
    [
        ("actions", {"value": "1"}),
        ("actions", {"realized_pnl": "1"}),
        ("actions", {"leg": 3}),
        ("positions", {"quantity_open": "5"}),
        ("positions", {"status": "CLOSED"}),
        ("lots", {"quantity_open": "500"}),
    ],
)
def test_a_wrong_figure_of_ours_is_a_bug_and_says_which_constraint(
    stored: StoredWorld, monkeypatch: pytest.MonkeyPatch, table: str, changed: dict[str, Any]
) -> None:
    deliver = broken(stored, monkeypatch, table, **changed)
    with pytest.raises(ConstraintViolated):
        deliver()
    assert stored.actions == []


def test_names_of_lost_races_and_of_conflicts_have_their_meaning() -> None:
    assert isinstance(store.domain_error(ConstraintViolated("fills_pk", "23505")), Conflict)
    unknown = ConstraintViolated("of_somebody_else", "23514")
    assert store.domain_error(unknown) is unknown
    assert set(store.RETRY_CONSTRAINTS) == {"positions_one_open", "positions_one_open_net", "fills_pk"}


def test_a_journal_beyond_folding_fails_its_audit_and_is_still_named(stored: StoredWorld, query: Query) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100), make_fill("b", "SELL", 5, 101, 1)])
    with stored.db.transaction() as tx:
        tx.execute(statement("set local session_replication_role = replica"))
        tx.execute(statement("update ledger.fills set price = 99999999999999999 where seq = 1"))
        tx.execute(statement("update ledger.fills set side = 'SELL', position_effect = 'close' where seq = 2"))
        tx.execute(statement("update ledger.execution_actions set fees = 1 where seq = 3"))
    result = audit.audit(stored.db, "live", at(60))
    assert {13, 14, 16} <= {finding.invariant for finding in result.findings}
    kinds = {(finding.kind, finding.seq) for finding in verify(stored.db, "live")}
    assert {("altered", 1), ("altered", 2), ("altered", 3), ("content", 1)} <= kinds


def test_a_book_cut_off_at_its_end_is_missing_its_last_rows(stored: StoredWorld) -> None:
    stored.deliver([make_fill("a", "BUY", 10, 100)])
    with stored.db.transaction() as tx:
        tx.execute(statement("set local session_replication_role = replica"))
        tx.execute(statement("delete from ledger.execution_actions"))
    (finding,) = verify(stored.db, "live")
    assert str(finding) == "missing seq 2: books seq 2"
    assert [difference.table for difference in rebuild.check(stored.db, "live").differences] == ["execution_actions"]


def test_methods_compare_facts_with_picks_and_leave_out_what_cannot_be_told(db: Database) -> None:
    world = StoredWorld(db, make_book("ibkr:U1", "SPECIFIC"))
    facts = {"source": "ibkr", "lot_ref": "x"}
    world.deliver([make_fill("a", "BUY", 10, 100, **facts), make_fill("b", "SELL", 4, 110, 1, lot_picks=[("x", "4")], **facts)])
    results = compare_methods(db, "ibkr:U1")
    assert [None if result is None else dict(result.realized) for result in results.values()] == [{"USD": 40}] * 5
    live = StoredWorld(db)
    live.deliver([make_fill("a", "BUY", 10, 100, lot_picks=[("x", "1")]), make_fill("b", "SELL", 4, 110, 1)])
    assert compare_methods(db, "live")[list(results)[4]] is None
    live.deliver([make_fill("c", "BUY", 1, 100, 2, instrument="NVDA", fees=None)])
    live.deliver([make_fill("d", "SELL", 1, 100, 3, instrument="NVDA")])
    assert [dict(result.realized) for result in compare_methods(db, "live").values() if result] == [{"USD": None}] * 4
