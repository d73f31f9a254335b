"""Laws of the room's rows, against a real database: one commit per lease token, tenants apart, numbers that survive.

Every day few examples are enough, since they differ in numbers and interleavings alone; a campaign takes ``FILLBOOK_EXAMPLES``.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fillbook.mt5 import store
from fillbook.mt5.records import Claimed, Unchanged
from fillbook.mt5.words import ID_MAX
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from tests.support.examples import rows
from tests.support.mt5_world import LEASE_SECONDS, NOW, World, deal, info, run_id, trade, version

TENANTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=("Cs",)), min_size=1, max_size=8)
IDS = st.integers(1, ID_MAX)
AMOUNTS = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places), st.integers(-(10**15 - 1), 10**15 - 1), st.integers(0, 12)
)
SIZES = st.builds(lambda digits, places: Decimal(digits).scaleb(-places), st.integers(1, 10**15 - 1), st.integers(0, 12))


# --- law 9 ------------------------------------------------------------------------------------------------------------


class Worker:
    """One of two that may get the same account's message; it knows nothing of the other."""

    def __init__(self, world: World, account_id: str, number: int) -> None:
        self.world, self.account_id, self.number = world, account_id, number
        self.held: Claimed | None = None
        self.run = 0
        self.commits: list[int] = []

    def claim(self, run: int) -> None:
        found = store.claim(self.world.db, run_id(run), [self.account_id], lease_seconds=LEASE_SECONDS)
        if found.claimed:
            (self.held,), self.run = found.claimed, run

    def write(self, _: int) -> None:
        """What an account's transaction does."""
        if self.held is not None:
            try:
                self.world.apply(self.world.work(self.held, self.run, deals=[version(deal(1 + self.number))]))
            except store.StaleLease:
                return
            self.commits.append(self.held.lease_token)

    def note(self, _: int) -> None:
        """What an unchanged account costs."""
        if self.held is not None:
            row = Unchanged(
                account_id=self.account_id,
                lease_token=self.held.lease_token,
                next_due_at=NOW,
                outcome=self.world.outcome(self.account_id, self.run),
                history_until_msc=None,
            )
            if store.flush_unchanged(self.world.db, run_id(self.run), [row], NOW):
                self.commits.append(self.held.lease_token)

    def give_back(self, _: int) -> None:
        if self.held is not None:
            store.hand_back(self.world.db, [self.held])

    def rest(self, _: int) -> None:
        """Do nothing."""


DEEDS = st.sampled_from(["claim", "claim", "write", "write", "note", "give_back", "rest"])
MOMENTS = st.lists(st.tuples(DEEDS, DEEDS, st.integers(0, 1), st.booleans()), min_size=2, max_size=10)


@rows(20)
@given(moments=MOMENTS)
def test_law_9_whatever_two_workers_do_at_once_one_commit_carries_a_token(
    world: World, moments: list[tuple[str, str, int, bool]]
) -> None:
    world.runs += 1
    account = world.link(world.runs).account_id
    both = Worker(world, account, 0), Worker(world, account, 1)
    tokens, run = [0], 1
    with ThreadPoolExecutor(2) as pool:
        for one, other, later, runs_out in moments:
            run += later  # the next run's message, or the same one's again
            if runs_out:
                world.query(
                    "update mt5.account_sync_state set lease_until = '-infinity' where account_id = :id returning 1", id=account
                )
            start = threading.Barrier(2)
            for done in [pool.submit(_at_once, start, *deed, run) for deed in zip(both, (one, other), strict=True)]:
                done.result(30)
            (row,) = world.query("select lease_token from mt5.account_sync_state where account_id = :id", id=account)
            tokens.append(row["lease_token"])
    assert tokens == sorted(tokens)
    commits = Counter(token for worker in both for token in worker.commits)
    assert max(commits.values(), default=1) == 1
    assert set(commits) <= set(range(1, tokens[-1] + 1))
    (counted,) = world.query(
        "select (select count(*) from mt5.sync_logs where account_id = :id::uuid) as logs, "
        "(select coalesce(sum(runs), 0) from mt5.sync_hours where account_id = :id::uuid) as runs",
        id=account,
    )
    assert counted == {"logs": commits.total(), "runs": commits.total()}


def _at_once(start: threading.Barrier, worker: Worker, deed: str, run: int) -> None:
    start.wait(30)
    act: Callable[[int], None] = getattr(worker, deed)
    act(run)


# --- law 10 -----------------------------------------------------------------------------------------------------------


def relations(world: World) -> list[str]:
    """Every table and view of the room that names a tenant, partitions apart: nobody may read those."""
    found = world.query(
        "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' "
        "where n.nspname = 'mt5' and c.relkind in ('r', 'v', 'p') and not c.relispartition order by 1"
    )
    return [row["relname"] for row in found]


def seen_by(database: Database, names: list[str], tenant_id: str | None) -> Counter[tuple[str, str]]:
    """How many rows of which tenant somebody sees in each."""
    text = " union all ".join(f"select '{name}' as name, tenant_id, count(*) as n from mt5.{name} group by 2" for name in names)
    with database.transaction(tenant_id=tenant_id, read_only=True) as tx:
        tx.execute(statement(f"set local fillbook.now = '{NOW.isoformat()}'"))
        return Counter({(row["name"], row["tenant_id"]): row["n"] for row in tx.query(statement(text))})


@rows(6)
@given(
    tenants=st.lists(TENANTS, min_size=2, max_size=3, unique=True),
    linked=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 2)), min_size=1, max_size=5, unique=True),
)
def test_law_10_a_tenant_sees_its_own_rows_and_no_other(
    world: World, db: Database, reader: Database, tenants: list[str], linked: list[tuple[int, int]]
) -> None:
    """The same logins and tickets under whatever tenants are called: blanks, quotes, wildcards, another's name and a letter."""
    with db.transaction() as tx:
        tx.execute(statement("truncate mt5.trading_accounts cascade"))
    world.runs += 1
    accounts = {(tenants[place % len(tenants)], login) for place, login in linked}
    for tenant, login in sorted(accounts):
        world.fill(world.link(login, tenant).account_id)
    names = relations(world)
    assert len(names) >= 24
    everything = seen_by(db, names, None)
    assert {tenant for _, tenant in everything} == {tenant for tenant, _ in accounts}
    assert {name for name, _ in everything} == set(names) - {"account_removals"}
    for tenant in tenants:
        own = Counter({key: count for key, count in everything.items() if key[1] == tenant})
        assert seen_by(reader, names, tenant) == own
    assert seen_by(reader, names, None) == Counter()


# --- law 16 -----------------------------------------------------------------------------------------------------------

DEALS = st.lists(
    st.builds(
        deal,
        IDS,
        IDS,
        order_id=st.integers(0, ID_MAX),
        time_msc=st.integers(0, 2**45),
        volume=SIZES,
        price=AMOUNTS,
        profit=AMOUNTS,
        commission=AMOUNTS,
        swap=AMOUNTS,
        fee=AMOUNTS,
        magic=st.integers(-ID_MAX - 1, ID_MAX) | st.none(),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda one: one.deal_ticket,
)


@rows(15)
@given(deals=DEALS, login=IDS, position=IDS, ticket=IDS, amounts=st.tuples(SIZES, SIZES, AMOUNTS, AMOUNTS))
def test_law_16_ids_and_decimals_survive_database_and_json(
    world: World, db: Database, deals: list[Any], login: int, position: int, ticket: int, amounts: tuple[Decimal, ...]
) -> None:
    with db.transaction() as tx:
        tx.execute(statement("truncate mt5.trading_accounts cascade"))
    world.runs += 1
    account = world.link(login).account_id
    volume, price, profit, swap = amounts
    row = trade(
        account,
        position,
        ticket=ticket,
        volume=volume,
        open_volume=volume,
        open_price=price,
        profit=profit,
        swap=swap,
        magic=-ticket,
    )
    money = info(str(profit), margin=volume, margin_level=price)
    world.sync(account, deals=[version(one) for one in deals], trades=[row], account=world.update(info=money))
    (held,) = world.claim(account, run=2)
    loaded = world.load(held, tickets=[one.deal_ticket for one in deals], position_ids=[position])
    assert sorted(loaded.trades, key=lambda one: one.position_id) == [row]
    of_deals = {one.deal.deal_ticket: one.deal for one in loaded.deals}
    assert of_deals == {one.deal_ticket: one for one in deals}
    assert [str(of_deals[one.deal_ticket].price.normalize()) for one in deals] == [str(one.price.normalize()) for one in deals]
    assert (loaded.account.login, loaded.account.account_id) == (login, account)
    shown = world.query("select login_number, position_id, ticket, open_price, profit from mt5.account_trades")
    assert shown == [{"login_number": login, "position_id": position, "ticket": ticket, "open_price": price, "profit": profit}]
