"""What is read of an account depends on what is asked for: on tables never analysed, by plans made while they were empty."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from fillbook.ledger import service as ledger
from fillbook.ledger import store as ledger_store
from fillbook.ledger.model import Book
from fillbook.ledger.words import LotMethod, Netting
from fillbook.mt5 import booking, store
from fillbook.mt5.model import Window
from fillbook.mt5.records import CashAsked, Wanted
from fillbook.mt5.revisions import content_hash
from fillbook.runtime.sql import Statement, encode, statement
from tests.support.mt5_deals import deal
from tests.support.mt5_world import NOW, World, version
from tests.support.plans import blocks_read

DEALS = 3_000
KEYS = 200
BLOCKS_OF_A_DEAL = 12
LOAD = statement("select mt5.load_account(:document::jsonb)")
# no trade of these deals is stored: what is measured are the deals
FILL = f"""
insert into mt5.deals (account_id, deal_ticket, position_id, order_id, time_server_msc, deal_type, entry, symbol, volume, price,
                       profit, commission, swap, fee, content_hash, first_seen_run)
select a.id, t, t - t % 2, t, t * 60000, t % 2, t % 2, 'EURUSD', 1, 1, 0, 0, 0, 0, sha256(t::text::bytea), gen_random_uuid()
  from mt5.trading_accounts a cross join generate_series(2, {DEALS} + 1) t"""
ONE = deal(4, 4, "buy", "in", 1, "1.10", comment="mine")


def asked(account: str, token: int, **wanted: Any) -> dict[str, str]:
    return {"document": encode(store.asked_document(account, token, Wanted(**wanted)))}


@pytest.fixture
def young(world: World) -> tuple[World, str, int]:
    """A connection that read an account while it had nothing, and then thousands of deals that nobody counted."""
    account = world.link().account_id
    (held,) = world.claim(account)
    world.query("alter table mt5.deals set (autovacuum_enabled = false)")
    with world.db.transaction() as tx:
        store.load_account(tx, account, held.lease_token, Wanted(tickets=[1], position_ids=[1], cash=CashAsked(at_msc=1)))
    world.query(FILL)
    return world, account, held.lease_token


ASKED: dict[str, dict[str, Any]] = {
    "positions": {"position_ids": range(500, 500 + 2 * KEYS, 2)},
    "tickets": {"tickets": range(501, 501 + 2 * KEYS, 2)},
    "deals told as they are not stored": {"told": {ticket: (ticket, b"") for ticket in range(500, 500 + 2 * KEYS, 2)}},
    "a window": {"windows": [Window(from_msc=500 * 60_000, to_msc=(500 + 2 * KEYS) * 60_000)]},
    "a repeated hour": {"spans": [Window(from_msc=500 * 60_000, to_msc=(500 + 2 * KEYS) * 60_000)]},
    "money": {"cash": CashAsked(floor_msc=(DEALS - 2 * KEYS) * 60_000, at_msc=DEALS * 60_000)},
}


@pytest.mark.parametrize("name", ASKED)
def test_an_account_is_read_by_keys_where_nothing_was_ever_counted(young: tuple[World, str, int], name: str) -> None:
    world, account, token = young
    with world.db.transaction() as tx:
        read = blocks_read(tx, LOAD, **asked(account, token, **ASKED[name]))
    assert 2 * KEYS < read <= 2 * KEYS * BLOCKS_OF_A_DEAL  # each of 400 deals is one block at least


def test_the_cash_of_a_statement_looks_each_deal_up_once(young: tuple[World, str, int]) -> None:
    world, account, _ = young
    query: Statement = booking.QUERIES["book_cash"]
    values = {"account_id": UUID(account), "floor_msc": 0, "until_msc": DEALS * 60_000, "credit_types": [3]}
    with world.db.transaction() as tx:
        assert blocks_read(tx, query, **values) <= DEALS * BLOCKS_OF_A_DEAL


# --- a look at all of it ----------------------------------------------------------------------------------------------

FILLS = f"""
insert into ledger.fills (book_id, fill_id, version, source, account_key, source_id, source_revision, is_bust, instrument, ticker,
                          contract_name, side, quantity, price, currency, position_effect, cash_style, executed_at, venue_order,
                          session_date, meta, origin, cause, received_at, recorded_at, content_hash, seq, booking_seq, prev_hash,
                          row_hash, direction)
select a.book_id, gen_random_uuid(), 1, 'mt5', 'a', t::text, 1, false, 'i', 'i', 'i', 'BUY', 1, 1, 'USD', 'open', 'margin', now(),
       t::text, current_date, '{{"episode": 1}}', 'live', 'first', now(), now(), sha256('a'), t, t, sha256('a'), sha256('a'),
       'LONG'
  from mt5.trading_accounts a cross join generate_series(1, {DEALS}) t"""


def test_facts_of_a_book_are_held_by_their_ids(young: tuple[World, str, int]) -> None:
    world, _, _ = young
    (linked,) = world.query("select book_id from mt5.trading_accounts")
    book = Book(
        book_id=linked["book_id"], lot_method=LotMethod.SPECIFIC, netting=Netting.HEDGE, base_currency="USD", tenant_id="desk"
    )
    with world.db.transaction() as tx:
        ledger.open_book(tx, book, NOW)
    world.query("alter table ledger.fills set (autovacuum_enabled = false)")
    world.query(FILLS)
    ids = [str(row["fill_id"]) for row in world.query(f"select fill_id from ledger.fills limit {KEYS}")]
    with world.db.transaction() as tx:
        query = ledger_store.QUERIES["fills_held"]
        assert KEYS < blocks_read(tx, query, book_id=book.book_id, fill_ids=ids, word="episode") <= KEYS * BLOCKS_OF_A_DEAL
        held = ledger.held(tx, book.book_id, ids, "episode")
    assert {(one.word, one.is_bust) for one in held.values()} == {("1", False)}
    assert held.keys() == set(ids)


@pytest.mark.parametrize("name", ["deals_of_range", "trades_of_range"])
def test_a_look_reads_a_range_of_positions(young: tuple[World, str, int], name: str) -> None:
    world, account, _ = young
    with world.db.transaction() as tx:
        read = blocks_read(tx, booking.QUERIES[name], account_id=UUID(account), least=500, most=498 + 2 * KEYS)
    assert (2 * KEYS if name == "deals_of_range" else 0) < read <= 2 * KEYS * BLOCKS_OF_A_DEAL


# --- what is written --------------------------------------------------------------------------------------------------

ROWS = f"""
with cash as (
    insert into mt5.cash_operations (account_id, deal_ticket, kind, amount, occurred_at)
    select a.id, t, 'other', 1, now() from mt5.trading_accounts a cross join generate_series(1, {DEALS}) t returning 1)
insert into mt5.trades (account_id, position_id, id, ticket, symbol, symbol_norm, type, volume, open_volume, status, close_time,
                        entry_complete, identity_quality)
select a.id, t, gen_random_uuid(), t, 'EURUSD', 'EURUSD', 'buy', 1, 0, 'closed', now(), false, 'deals'
  from mt5.trading_accounts a cross join generate_series(1, {DEALS}) t"""


def test_what_is_taken_away_is_found_by_its_key(world: World) -> None:
    account = world.link().account_id
    (held,) = world.claim(account)
    world.query("alter table mt5.trades set (autovacuum_enabled = false)")
    world.query("alter table mt5.cash_operations set (autovacuum_enabled = false)")
    taken = {"trades_removed": [(7, 1), (8, 1), (9, 2)], "cash_removed": [7, 8], "outcome": None}
    world.apply(world.work(held, **taken))  # plans are made while there is nothing
    world.query(ROWS)
    document = encode(store.apply_document(world.work(held, **taken), NOW))
    with world.db.transaction() as tx:
        read = blocks_read(tx, statement("select mt5.apply_account(:document::jsonb)"), document=document)
    (left,) = world.query(
        "select (select count(*) from mt5.trades) as trades, (select count(*) from mt5.cash_operations) as cash"
    )
    assert (left["trades"], left["cash"]) == (DEALS - 2, DEALS - 2)
    assert read < DEALS // 10


# --- deals told as they are stored ------------------------------------------------------------------------------------


def test_a_deal_that_is_told_as_it_is_stored_is_not_read(world: World) -> None:
    account = world.link().account_id
    (held,) = world.claim(account)
    changed = replace(ONE, deal_ticket=5, position_id=6)
    gone = replace(ONE, deal_ticket=7, position_id=8)
    versions = [version(one) for one in (ONE, changed, gone, replace(ONE, deal_ticket=9, position_id=6))]
    versions += [version(replace(changed, profit=Decimal(1)), 2), version(gone, 2, withdrawn=True)]
    world.apply(world.work(held, deals=versions, outcome=None))
    told = {one.deal_ticket: (one.position_id, content_hash(one)) for one in (ONE, changed, gone, replace(ONE, deal_ticket=11))}
    with world.db.transaction() as tx:
        loaded = store.load_account(tx, account, held.lease_token, Wanted(told=told))
    assert loaded.same == {4}
    found = sorted((one.deal.deal_ticket, one.revision) for one in loaded.deals)
    assert found == [(4, 1), (5, 1), (5, 2), (7, 1), (7, 2), (9, 1)], "4 only for its position, which 11 names"


def test_a_window_that_holds_what_was_told_misses_nothing_else(world: World) -> None:
    account = world.link().account_id
    (held,) = world.claim(account)
    others = [replace(ONE, deal_ticket=ticket) for ticket in (5, 6)]
    world.apply(world.work(held, deals=[version(one) for one in (ONE, *others)], outcome=None))
    told = {4: (4, content_hash(ONE)), 5: (4, b"other")}
    window = Window(from_msc=ONE.time_msc, to_msc=ONE.time_msc + 1)
    with world.db.transaction() as tx:
        assert store.load_account(tx, account, held.lease_token, Wanted(told=told, windows=[window])).missing == (6,)
