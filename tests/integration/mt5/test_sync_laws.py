"""Laws of a synced account, against whatever a broker may do: any split into polls, repetition, rebuild, the money, the lots.

Each example is two new accounts of a new server beside all the others, in one database. Every day ten of them are enough,
since the same laws are tried without a database a hundred times as often; a campaign takes ``FILLBOOK_EXAMPLES``.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillbook.mt5.rebuilding import rebuild
from fillbook.mt5.words import SyncStatus
from fillbook.runtime.sql import statement
from infra.local import mt5_fleet
from infra.local.mt5_broker import Book
from infra.local.mt5_model import Terms
from infra.local.mt5_world import MODES
from tests.support.examples import rows
from tests.support.mt5_syncing import Syncing
from tests.support.tracker_words import ROLE, Words

BEGINS = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)  # the New York clock changes two days later
FAULTS = ("none", "none", "positions", "page", "stale", "late", "history")
RUNS_TO_ANCHOR = 4
"""A first answer that was late leaves a wrong opening balance: the gap is found, read again over 7 days, 30 days and everything
stored, and in that third reading the history is anchored anew. Whatever else went wrong is mended by the first good run."""
few = rows(10)
worlds = given(
    seed=st.integers(0, 2**32),
    mode=st.sampled_from(sorted(MODES)),
    steps=st.integers(2, 30),
    polls=st.lists(st.tuples(st.integers(1, 40), st.sampled_from(FAULTS)), max_size=6),
)
_COLUMNS = (
    "position_id, episode, symbol, type, volume, open_volume, open_price, close_price, open_time, close_time, profit, swap, "
    "commission, fee, realized_profit, realized_swap, net_pnl, status, close_reason, entry_complete, identity_quality, "
    "last_deal_msc, ledger_state"
)
"""All but what a snapshot alone can say: the terminal's number, stops, when it was seen."""


@pytest.fixture
def words(open_database: Any, query: Any) -> Words:
    """A user who speaks of trades as soon as they are shown."""
    return Words(open_database(ROLE), query)


def wandered(syncing: Syncing, seed: int, mode: str, steps: int) -> tuple[str, str, str, str]:
    """Two accounts of a new server that do the same at random; their names and ids."""
    syncing.fake.clock.set(BEGINS)
    number = len(syncing.fake.world.accounts)
    server = f"Server-{number}"
    syncing.fake.add_server(server)
    names = (f"once{number}", f"often{number}")
    chance = random.Random(seed)
    operations = mt5_fleet.wander(Book(Terms(margin_mode=MODES[mode])), BEGINS, steps, chance)
    accounts = [syncing.account(name, server=server, mode=mode, commission_per_lot="3.5") for name in names]
    for name in names:
        syncing.fake.operate_all(name, operations)
    return (*names, *accounts)


def strike(syncing: Syncing, fault: str, name: str) -> None:
    """Make the next run of an account go wrong in some way."""
    scope: dict[str, Any] = {"account": name}
    match fault:
        case "positions":
            syncing.fake.fault("incomplete", part="positions", **scope)
        case "page":
            syncing.fake.fault("page_fails", n=1, code=500, **scope)
        case "stale":
            syncing.fake.fault("stale", endpoint="snapshot", age=7_000, **scope)
        case "late":
            syncing.fake.fault("late_history", seconds=3_000, **scope)
        case "history":
            syncing.fake.fault("status", endpoint="deals", code=500, **scope)


def told(syncing: Syncing, account: str) -> dict[str, Any]:
    """What may not depend on how the deals came: trades, cash, and what the book made of them."""
    by_book = (
        "select a.meta->>'position_id' as position_id, a.meta->>'episode' as episode, a.action_type, a.direction, a.quantity, "
        "a.price, a.fees, a.realized_pnl, a.realized_pnl_base, a.executed_at from ledger.v_actions a "
        "join mt5.trading_accounts t on t.book_id = a.book_id where t.id = :id::uuid order by a.executed_at, a.venue_order"
    )
    return {
        "trades": syncing.query(f"select {_COLUMNS} from mt5.trades where account_id = :id::uuid order by 1, 2", id=account),
        "cash": syncing.query(
            "select deal_ticket, kind, amount, occurred_at from mt5.cash_operations where account_id = :id::uuid order by 1",
            id=account,
        ),
        "book": syncing.query(by_book, id=account),
    }


def named(syncing: Syncing, account: str) -> dict[str, tuple[int, int]]:
    """The trades by the id under which a user's words are kept."""
    return {str(one["id"]): (one["position_id"], one["episode"]) for one in syncing.trades(account)}


def settle(syncing: Syncing, name: str, account: str) -> None:
    """Run until nothing is open any more, hold everything against the truth, and see that the same again changes no row."""
    syncing.fake.clear_faults()
    for _ in range(RUNS_TO_ANCHOR):
        (worked,) = syncing.run(account)
        assert worked.status is SyncStatus.SUCCESS, (worked.error_message, syncing.crashes)
        if not syncing.gaps(account, is_open=True):
            break
    assert syncing.gaps(account, is_open=True) == []
    syncing.check_truth(account, name)
    syncing.check_money(account)
    before = syncing.versions(account)
    for is_forgotten in (False, True):
        if is_forgotten:
            syncing.query(
                "update mt5.account_sync_state set state_digest = null where account_id = :id::uuid returning 1", id=account
            )
        (worked,) = syncing.run(account)
        assert (worked.status, worked.trades_synced) == (SyncStatus.SUCCESS, 0)
        assert syncing.versions(account) == before


def follow(
    syncing: Syncing, name: str, account: str, polls: list[tuple[int, str]], end: datetime, words: Words | None = None
) -> dict[str, tuple[int, int]]:
    """Poll an account at some of 40 moments between the begin and the end; law 8: its watermark never falls.

    Returns every trade that was ever shown, by its id; of each a user spoke at once, if there is one.
    """
    span, reached = (end - BEGINS) / 40, -1
    shown: dict[str, tuple[int, int]] = {}
    for place, fault in sorted(polls):
        at = BEGINS + span * place
        if at <= syncing.now:
            continue
        syncing.fake.clock.set(at)
        strike(syncing, fault, name)
        syncing.run(account, minutes=0)
        syncing.fake.clear_faults()
        before, reached = reached, syncing.row(account)["history_until_msc"] or reached
        assert reached >= before
        now_shown = named(syncing, account)
        for trade_id in now_shown.keys() - shown.keys() if words is not None else ():
            words.about(trade_id)
        shown |= now_shown
    syncing.fake.clock.set(max(end, syncing.now) + timedelta(hours=1))
    return shown


@worlds
@few
def test_laws_1_2_4_8_15_17_any_split_into_polls_ends_in_the_truth(
    syncing: Syncing, words: Words, seed: int, mode: str, steps: int, polls: list[tuple[int, str]]
) -> None:
    once, often, first, second = wandered(syncing, seed, mode, steps)
    end = syncing.fake.world.account(once).book.changes[-1].at  # type: ignore[union-attr]
    shown = follow(syncing, often, second, polls, end, words)
    said = words.kept()
    settle(syncing, often, second)
    rebuild(syncing.db, second, syncing.now)
    # law 17: whatever was annotated is still there under its id, and what was said of it is the same to the byte
    assert shown.items() <= named(syncing, second).items()
    assert shown.keys() <= said.keys()
    assert words.kept() == said
    settle(syncing, once, first)
    assert told(syncing, second) == told(syncing, first)
    if mode == "hedging":
        syncing.check_lots(second)


@worlds
@few
def test_law_5_a_rebuild_from_deals_is_what_polls_left(
    syncing: Syncing, db: Any, seed: int, mode: str, steps: int, polls: list[tuple[int, str]]
) -> None:
    _, name, _, account = wandered(syncing, seed, mode, steps)
    end = syncing.fake.world.account(name).book.changes[-1].at  # type: ignore[union-attr]
    follow(syncing, name, account, [(place, "none") for place, _ in polls], end)
    settle(syncing, name, account)
    before, found = syncing.versions(account), told(syncing, account)
    outcome = rebuild(syncing.db, account, syncing.now)
    assert (outcome.trades_changed, outcome.cash_changed) == (0, 0)
    assert syncing.versions(account) == before
    with db.transaction() as tx:
        tx.execute(statement("delete from mt5.trades where account_id = :id::uuid"), id=account)
        tx.execute(statement("delete from mt5.cash_operations where account_id = :id::uuid"), id=account)
    rebuild(syncing.db, account, syncing.now)
    syncing.good(account)  # what only a snapshot says of the open ones
    assert told(syncing, account) == found
    syncing.check_truth(account, name)


def test_law_17_a_worker_of_this_room_can_touch_no_users_words(syncing: Syncing, query: Any) -> None:
    """Annotations live in room tracker, under a trade's id: no history can reach them without a right to."""
    assert query("select to_regclass('tracker.annotations')::text as name") == [{"name": "tracker.annotations"}]
    found = query(
        "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = 'tracker' and c.relkind in ('r', 'p', 'v', 'm') and ("
        "  has_table_privilege('mt5_test_worker', c.oid, 'insert, update, delete, truncate') "
        "  or has_any_column_privilege('mt5_test_worker', c.oid, 'insert, update'))"
    )
    assert found == []
