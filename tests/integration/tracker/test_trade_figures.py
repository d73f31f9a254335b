"""On generated books each figure of a trade equals a second computation from the ledger's actions; answers of a moment stay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from fillbook.ledger import service
from fillbook.ledger.model import Fill, Mark
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.sql import encode, statement
from fillbook.tracker import trade_detail, trades
from infra.local.postgres import PostgresServer
from tests.support.campaigns import chance, small_or_full
from tests.support.ledger import StoredWorld, at, make_book
from tests.support.ledger_histories import deliveries
from tests.support.servers import TEMPLATE, database_config
from tests.support.tracker_fold import NotTold, folded, summed, written

BOOKS = small_or_full(12, 1_000)
SEED = chance(20_260_203).getrandbits(32)
UNSHRUNK = (Phase.generate,)
"""An example is a book in the database: to look for a smaller one takes minutes."""
NOW = at(60)
DESK = DeskKey(id="desk", sha256="0" * 64, scopes=frozenset({"read"}), tenant_id="desk", books=("*",), expires_at=None)
ACTIONS = statement("select * from ledger.v_actions where book_id = :book_id order by executed_at, venue_order, fill_id, leg")
MARKS = {"AMD": Decimal("123.45"), "NVDA": None}


@pytest.fixture(scope="module")
def desk(postgres: PostgresServer) -> Iterator[Database]:
    """A database of this module alone: a book for each example."""
    name = "trade_figures"
    postgres.run("psql", "-qc", f"create database {name} template {TEMPLATE}")
    db = Database.open(database_config(postgres.url(database=name)), application_name="tests")
    yield db
    db.close()
    postgres.run("psql", "-qc", f"drop database {name} with (force)")


def world_of(db: Database, facts: list[Fill], *, known: float = 0) -> StoredWorld:
    """A new book in which the facts were booked one after the other, with a mark for one of two instruments."""
    with db.transaction() as tx:
        (row,) = tx.query(statement("select count(*) as number from ledger.v_books"))
    world = StoredWorld(db, make_book(f"ibkr:N{row['number']}"))
    for number, fact in enumerate(facts):
        world.deliver([fact], at(known + number / 60))
    seen = [Mark(instrument=name, price=price, marked_at=at(20), source="ibkr") for name, price in MARKS.items() if price]
    service.run(db, lambda tx: service.mark(tx, world.book.book_id, seen, at(20)))
    return world


def listed(world: StoredWorld, now: datetime = NOW, **given: str) -> dict[str, Any]:
    """The list of a book's trades."""
    asked = {"books": world.book.book_id, "include": "lots,actions", "limit": "1000", **given}
    return dict(trades.trades(world.db, DESK, {name: [text] for name, text in asked.items()}, now))


def actions_of(world: StoredWorld) -> dict[str, list[dict[str, Any]]]:
    """The book's actions in booking order, by position."""
    with world.db.transaction(read_only=True) as tx:
        rows = tx.query(ACTIONS, book_id=world.book.book_id)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(str(row["position_id"]), []).append(row)
    return found


@seed(SEED)
@settings(max_examples=BOOKS, phases=UNSHRUNK)
@given(facts=deliveries())
def test_every_figure_of_a_trade_equals_a_second_computation_from_the_actions(desk: Database, facts: list[Fill]) -> None:
    world = world_of(desk, facts)
    actions, shown = actions_of(world), listed(world)["trades"]
    assert {trade["position_id"] for trade in shown} == set(actions)
    order = [(trade["first_entry_at"], trade["position_id"]) for trade in shown]
    assert order == sorted(order, reverse=True)
    for trade in shown:
        own = actions[trade["position_id"]]
        try:
            wanted = folded(own, MARKS[own[0]["instrument_id"]])
        except NotTold:
            continue
        assert {name: trade[name] for name in wanted} == wanted
        lots = trade["lots"]
        assert written(summed(Decimal(lot["remaining_qty"]) for lot in lots)) == trade["total_qty"]
        assert written(summed(Decimal(lot["qty"]) for lot in lots)) == trade["opened_qty"]
        if trade["unrealized_pnl"] is not None:
            gains = [Decimal(lot["unrealized_pnl"]) for lot in lots if lot["unrealized_pnl"] is not None]
            assert abs(sum(gains) - Decimal(trade["unrealized_pnl"])) <= len(gains) * Decimal("1e-8")
        told = [(one["action_id"], one["action_type"], one["qty"], one["pnl_realized"]) for one in trade["execution_actions"]]
        assert sorted(told, key=str) == sorted(
            [(str(row["action_id"]), row["action_type"], written(row["quantity"]), written(row["realized_pnl"])) for row in own],
            key=str,
        )
        for one in trade["execution_actions"]:
            if one["lots"]:
                assert written(summed(Decimal(lot["qty"]) for lot in one["lots"])) == one["qty"]
        assert trade["is_corrected"] == any(row["version"] > 1 for row in _ever(world, trade["position_id"]))


def _ever(world: StoredWorld, position_id: str) -> list[dict[str, Any]]:
    asked = statement("select version from ledger.v_action_history where book_id = :book_id and position_id = cast(:id as uuid)")
    with world.db.transaction(read_only=True) as tx:
        return tx.query(asked, book_id=world.book.book_id, id=position_id)


@seed(SEED)
@settings(max_examples=small_or_full(4, 200), phases=UNSHRUNK)
@given(facts=deliveries(size=6), more=deliveries(size=6), sizes=st.integers(1, 3))
def test_an_answer_of_a_moment_is_the_same_to_the_byte_whatever_is_booked_later(
    desk: Database, facts: list[Fill], more: list[Fill], sizes: int
) -> None:
    world = world_of(desk, facts)
    known = {"known_as_of": listed(world)["known_as_of_at"], "as_of": NOW.isoformat()}
    paged = pages(world, limit=str(sizes), **known)
    before = encode(listed(world, **known))
    details = [encode(detail(world, trade["position_id"], **known)) for page in paged for trade in page["trades"]]
    world.deliver(more, at(30))
    assert encode(listed(world, **known)) == before
    assert [encode(page) for page in pages(world, limit=str(sizes), **known)] == [encode(page) for page in paged]
    ids = [trade["position_id"] for page in paged for trade in page["trades"]]
    assert [encode(detail(world, one, **known)) for one in ids] == details
    assert listed(world, now=NOW + timedelta(seconds=1), **known)["trades"] == [
        trade for page in paged for trade in page["trades"]
    ]


def detail(world: StoredWorld, position_id: str, **given: str) -> dict[str, Any]:
    asked = {"books": world.book.book_id, "include": "history,evidence", **given}
    return dict(trade_detail.trade(world.db, DESK, {name: [text] for name, text in asked.items()}, NOW, trade_id=position_id))


def pages(world: StoredWorld, **given: str) -> list[dict[str, Any]]:
    """All pages of a list."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = listed(world, NOW, **given, **cursor)
        found.append(page)
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}
