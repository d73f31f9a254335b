"""Sums of old deals are kept: a check of the money reads what came since, and is what all deals add up to."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from fillbook.mt5 import store
from fillbook.mt5.model import Deal, DealVersion
from fillbook.mt5.records import CashAsked, CashFound, Claimed, Wanted
from fillbook.runtime.sql import encode, statement
from tests.support.mt5_world import NOW, World, deal, msc, version
from tests.support.plans import blocks_read

HOUR = 3_600_000
AT = msc(NOW)
OLD = AT - 30 * HOUR
LOAD = statement("select mt5.load_account(:document::jsonb)")
DEALS = 2_000
FILL = f"""
insert into mt5.deals (account_id, deal_ticket, position_id, order_id, time_server_msc, deal_type, entry, symbol, volume, price,
                       profit, commission, swap, fee, content_hash, first_seen_run)
select a.id, t, t - t % 2, t, {OLD} + t * 1000, t % 2, t % 2, 'EURUSD', 1, 1, t, -1, 0, 0, sha256(t::text::bytea),
       gen_random_uuid()
  from mt5.trading_accounts a cross join generate_series(2, {DEALS} + 1) t"""
KEPT = "select sums_floor_msc, sums_until_msc, sums_amount, sums_bonus, sums_credit from mt5.account_sync_state"


def of_old(ticket: int, amount: str = "100.00", **more: Any) -> Deal:
    return deal(ticket, time_msc=OLD, profit=Decimal(amount), **more)


def found(world: World, held: Claimed, at_msc: int = AT, floor_msc: int | None = None) -> CashFound:
    loaded = world.load(held, cash=CashAsked(at_msc=at_msc, floor_msc=floor_msc))
    assert loaded.cash is not None
    return loaded.cash


def kept(world: World) -> dict[str, Any]:
    (row,) = world.query(KEPT)
    return row


def write(world: World, held: Claimed, *deals: DealVersion) -> None:
    world.apply(world.work(held, deals=deals, outcome=None))


@pytest.fixture
def held(world: World) -> Claimed:
    """An account with a deposit, a credit, a bonus and a trade long ago, and sums of them."""
    (held,) = world.claim(world.link().account_id)
    trade = deal(4, 77, time_msc=OLD + 1, commission=Decimal("-0.35"))
    deals = (of_old(1), of_old(2, "7", deal_type=3), of_old(3, "5", deal_type=6), trade)
    write(world, held, *map(version, deals))
    found(world, held)
    return held


def test_sums_of_what_is_older_than_two_hours_are_kept(world: World, held: Claimed) -> None:
    until = (AT - 1_000) // HOUR * HOUR - 2 * HOUR
    assert kept(world) == {
        "sums_floor_msc": 0,
        "sums_until_msc": until,
        "sums_amount": Decimal("99.65"),
        "sums_bonus": Decimal(5),
        "sums_credit": Decimal(7),
    }
    new = deal(5, time_msc=AT - HOUR, profit=Decimal(11)), deal(6, time_msc=AT - 10, profit=Decimal(13))
    write(world, held, *map(version, new))
    one = found(world, held)
    assert (one.amount, one.bonus, one.credit) == (Decimal("110.65"), Decimal(5), Decimal(7))
    assert [(near.deal_ticket, near.amount) for near in one.near] == [(6, Decimal(13))]
    assert one.first is not None
    assert one.first.deal_ticket == 1
    assert kept(world)["sums_until_msc"] == until
    later = found(world, held, AT + 3 * HOUR)
    assert (later.amount, kept(world)["sums_amount"]) == (Decimal("123.65"), Decimal("123.65"))
    assert found(world, held).amount == Decimal("110.65"), "an older answer than the sums reach"


@pytest.mark.parametrize(
    ("come", "amount"),
    [
        pytest.param(version(of_old(9, "50")), "149.65", id="a late deal"),
        pytest.param(version(of_old(1, "90"), 2), "89.65", id="another content"),
        pytest.param(version(of_old(1), 2, withdrawn=True), "-0.35", id="withdrawn"),
        pytest.param(version(replace(of_old(1), time_msc=AT - HOUR), 2), "99.65", id="another time"),
        pytest.param(version(replace(of_old(1), time_msc=AT + HOUR), 2), "-0.35", id="a time that is not yet"),
        pytest.param(version(of_old(1, deal_type=6), 2), "-0.35", id="a bonus now"),
    ],
)
def test_a_deal_that_comes_for_old_times_takes_the_sums_away(world: World, held: Claimed, come: DealVersion, amount: str) -> None:
    write(world, held, come)
    assert set(kept(world).values()) == {None}
    assert found(world, held).amount == Decimal(amount)
    assert store.check_sums(world.db, held.account_id, held.lease_token) is True


def test_what_comes_for_the_present_leaves_them(world: World, held: Claimed) -> None:
    before, new = kept(world), deal(5, time_msc=AT - HOUR)
    write(world, held, version(new), version(replace(new, profit=Decimal(3)), 2))
    assert kept(world) == before
    assert found(world, held).amount == Decimal("102.65")


def test_another_floor_has_sums_of_its_own(world: World, held: Claimed) -> None:
    assert found(world, held, floor_msc=OLD + 1).amount == Decimal("-0.35")
    assert kept(world)["sums_floor_msc"] == OLD + 1
    assert found(world, held).amount == Decimal("99.65")


def test_sums_that_are_wrong_are_found_and_forgotten(world: World, held: Claimed) -> None:
    key = (held.account_id, held.lease_token)
    assert store.check_sums(world.db, *key) is True
    world.query("update mt5.account_sync_state set sums_amount = sums_amount + 0.01 returning 1")
    assert store.check_sums(world.db, held.account_id, held.lease_token + 1) is None, "another's"
    assert store.check_sums(world.db, *key) is False
    assert store.check_sums(world.db, *key) is None
    assert found(world, held).amount == Decimal("99.65")


def test_a_check_reads_what_came_since_and_not_the_history(world: World) -> None:
    account = world.link().account_id
    (held,) = world.claim(account)
    world.query("alter table mt5.deals set (autovacuum_enabled = false)")
    world.load(held, cash=CashAsked(at_msc=1))  # plans are made while there is nothing
    world.query(FILL)
    asked = encode(store.asked_document(account, held.lease_token, Wanted(cash=CashAsked(at_msc=AT))))
    with world.db.transaction() as tx:
        whole = blocks_read(tx, LOAD, document=asked)
        again = blocks_read(tx, LOAD, document=asked)
    assert whole > 2 * DEALS
    assert again < 100
    assert kept(world)["sums_amount"] == sum(range(2, DEALS + 2)) - DEALS
