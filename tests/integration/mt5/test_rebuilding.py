"""A rebuild looks before it touches anything: what is as the deals say stays unlocked, whatever is not is found and mended."""

from __future__ import annotations

from typing import Any

import pytest

from fillbook.ledger import service as ledger
from fillbook.mt5 import looking, store
from fillbook.mt5.rebuilding import rebuild
from fillbook.runtime.sql import statement
from tests.support.mt5_syncing import Syncing

POSITIONS = 4
DOUBLED = """
insert into mt5.trades
select (jsonb_populate_record(t, jsonb_build_object('episode', 2, 'id', gen_random_uuid()))).*
  from mt5.trades t where position_id = :one"""


@pytest.fixture
def account(syncing: Syncing) -> str:
    """An account with closed trades, an open one, and a book."""
    account = syncing.account()
    syncing.does("a", "deposit", amount="10000.00")
    for number in range(POSITIONS):
        syncing.does("a", "open", symbol="EURUSD", side="buy", volume="0.10", price="1.10000", ref=f"p{number}")
        if number:
            syncing.does("a", "close", position=f"p{number}", price=f"1.1001{number}")
    syncing.good(account)
    return account


def differing(syncing: Syncing, account: str) -> list[int]:
    with syncing.db.transaction(read_only=True, isolation="repeatable read") as tx:
        held = store.account(tx, account)
        assert held is not None
        return looking.differing(tx, held)


def test_nothing_differs_and_nothing_is_touched(syncing: Syncing, account: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = syncing.versions(account)
    assert differing(syncing, account) == []
    monkeypatch.setattr(looking, "RANGE_POSITIONS", 1)
    assert differing(syncing, account) == []
    outcome = rebuild(syncing.db, account, syncing.now)
    assert (outcome.trades_changed, outcome.cash_changed, outcome.sums_were_wrong) == (0, 0, False)
    assert syncing.versions(account) == before


@pytest.mark.parametrize(
    "change",
    [
        "update mt5.trades set net_pnl = net_pnl + 1 where position_id = :one",
        "update mt5.trades set ledger_state = 'none' where position_id = :one",
        "update mt5.trades set close_time = close_time + interval '1 hour' where position_id = :one",
        DOUBLED,
        "delete from mt5.trades where position_id = :one",
    ],
)
def test_a_trade_that_is_not_as_its_deals_say_is_made_again(syncing: Syncing, db: Any, account: str, change: str) -> None:
    trades = [row["position_id"] for row in syncing.trades(account) if row["status"] == "closed"]
    with db.transaction() as tx:
        tx.execute(statement(change), one=trades[0])
    assert differing(syncing, account) == [trades[0]]
    assert rebuild(syncing.db, account, syncing.now).trades_changed == 1
    assert differing(syncing, account) == []
    syncing.check_truth(account, "a")


def test_a_deal_of_several_revisions_is_left_to_the_batches(syncing: Syncing, account: str) -> None:
    (last,) = syncing.query("select deal_ticket, position_id from mt5.deals order by deal_ticket desc limit 1")
    syncing.does("a", "edit_deal", deal=last["deal_ticket"], price="1.10099", profit="99.00")
    syncing.good(account)
    assert differing(syncing, account) == [last["position_id"]]
    outcome = rebuild(syncing.db, account, syncing.now)
    assert (outcome.trades_changed, outcome.partitions) == (0, ())


def test_what_the_book_lacks_or_holds_besides_is_found_by_its_hash(syncing: Syncing, account: str) -> None:
    fills = syncing.query("select f.fill_id::text as id, f.meta->>'position_id' as position from ledger.fills f order by f.seq")
    with syncing.db.transaction(read_only=True) as tx:
        held = ledger.held(tx, syncing.row(account)["book_id"], [one["id"] for one in fills], "position_id")
    assert {one: known.word for one, known in held.items()} == {one["id"]: one["position"] for one in fills}
    assert not any(known.is_bust for known in held.values())
    other = syncing.account("b")
    syncing.does("b", "deposit", amount="10.00")
    syncing.good(other)
    syncing.query("update mt5.trading_accounts set login_number = login_number + 7 where id = :id::uuid returning 1", id=account)
    closed = {row["position_id"] for row in syncing.trades(account)}
    assert differing(syncing, account) == sorted(closed), "facts of another name: the book holds none of them"
