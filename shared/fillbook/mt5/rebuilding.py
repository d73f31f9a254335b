"""Trades, cash and book of an account made again from its stored deals, for operators: a rebuild, a corrected clock, a new size.

Deals are the journal, everything else follows from them, so what comes out is what incremental work left (law 5) unless the clock
rule, a contract size or the code has changed since. First ``looking`` finds what differs; that is made again in batches of
positions, each one transaction under one lease; what a batch would not change stays unwritten, and the ledger is told
differences alone. Source: mt5 specification, 6, 10, 15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Final, TypeVar
from uuid import UUID, uuid4

from fillbook.ledger import service as ledger
from fillbook.ledger.rebuild import uncollected
from fillbook.mt5 import booking, store
from fillbook.mt5.looking import differing
from fillbook.mt5.records import Claimed
from fillbook.mt5.remaking import Remaking, cut
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Conflict
from fillbook.values import frozen

LEASE_SECONDS: Final = 600
SERVER_PAGE: Final = 500
T = TypeVar("T")


@frozen
class Rebuilt:
    """What a rebuild changed; ``partitions`` of the outbox are to be relayed.

    ``sums_were_wrong``: the kept sums of its deals were not what the deals add up to. They are forgotten then, and taken anew.
    """

    account_id: str
    trades_changed: int = 0
    cash_changed: int = 0
    partitions: tuple[int, ...] = ()
    sums_were_wrong: bool = False


@frozen
class Rederived:
    """What became of a server's accounts. ``busy``: held by a run, or inactive: to be done again. ``after``: time was over,
    and what is left begins behind this account; None: it was the last.
    """

    rebuilt: tuple[Rebuilt, ...]
    busy: tuple[str, ...] = ()
    after: str | None = None


def always() -> bool:
    """No limit of time."""
    return True


def rebuild(db: Database, account_id: str, now: datetime, *, symbols: Sequence[str] | None = None) -> Rebuilt:
    """Derive an account again from all its deals; with ``symbols``, only positions in these.

    Raises ``Conflict('account_leased')`` while a run holds it, ``Conflict('account_inactive')`` when it is not active.
    """
    run_id = str(uuid4())
    claims = store.claim(db, run_id, [account_id], lease_seconds=LEASE_SECONDS)
    if not claims.claimed:
        reason = claims.unclaimed[0].reason if claims.unclaimed else "inactive"
        raise Conflict(f"account_{reason}", f"account {account_id}")
    (claimed,) = claims.claimed
    try:
        return _Rebuild(db, claimed, run_id, now).run(symbols)
    finally:
        store.hand_back(db, [claimed])


def rebuild_server(
    db: Database,
    server: str,
    now: datetime,
    *,
    symbol: str | None = None,
    after: str | None = None,
    may_go_on: Callable[[], bool] = always,
) -> Rederived:
    """Make the accounts of a server again by id: after an operator corrected its clock rule, or, of one ``symbol``, its size.

    ``may_go_on`` is asked before each account but the first; what is left is asked for with ``after``.
    """
    rebuilt: list[Rebuilt] = []
    busy: list[str] = []
    for account_id in _accounts(db, server, after):
        if (rebuilt or busy) and not may_go_on():
            return Rederived(rebuilt=tuple(rebuilt), busy=tuple(busy), after=after)
        try:
            rebuilt.append(rebuild(db, account_id, now, symbols=None if symbol is None else [symbol]))
        except Conflict:
            busy.append(account_id)
        after = account_id
    return Rederived(rebuilt=tuple(rebuilt), busy=tuple(busy))


def _accounts(db: Database, server: str, after: str | None) -> Iterator[str]:
    while True:
        with db.transaction(read_only=True) as tx:
            page = store.accounts_of_server(tx, server, after, SERVER_PAGE)
        yield from page
        if len(page) < SERVER_PAGE:
            return
        after = page[-1]


class _Rebuild:
    """One account being derived again, under its lease."""

    def __init__(self, db: Database, claimed: Claimed, run_id: str, now: datetime) -> None:
        self._db, self._claimed, self._run_id, self._now = db, claimed, run_id, now
        self._id = UUID(claimed.account_id)

    def run(self, symbols: Sequence[str] | None) -> Rebuilt:
        """All batches; movements of cash with the first."""
        with uncollected():
            positions, tickets = self._asked(symbols)
        trades = cash = 0
        partitions: set[int] = set()
        remaking = Remaking(claimed=self._claimed, run_id=self._run_id, now=self._now)
        batches: list[tuple[Sequence[int], Sequence[int]]] = [(batch, ()) for batch in cut(positions)]
        batches += [((), batch) for batch in cut(tickets)]
        with uncollected():
            for ids, cash_tickets in batches:
                applied, told = ledger.run(self._db, partial(remaking.batch, positions=ids, tickets=cash_tickets))
                trades += applied.trades_changed
                cash += applied.cash_changed
                partitions.update(told)
        are_right = store.check_sums(self._db, self._claimed.account_id, self._claimed.lease_token)
        return Rebuilt(
            account_id=self._claimed.account_id,
            trades_changed=trades,
            cash_changed=cash,
            partitions=tuple(sorted(partitions)),
            sums_were_wrong=are_right is False,
        )

    def _asked(self, symbols: Sequence[str] | None) -> tuple[list[int], list[int]]:
        """The positions to derive in batches, of all of them those that differ, and the deals that may be movements of cash."""
        with self._db.transaction(read_only=True, isolation="repeatable read") as tx:
            if symbols is not None:
                rows = tx.query(booking.QUERIES["positions_of_symbols"], account_id=self._id, symbols=sorted(symbols))
                return [row["position_id"] for row in rows], []
            claimed = store.account(tx, self._claimed.account_id)
            assert claimed is not None
            positions = differing(tx, claimed)
            tickets = [row["deal_ticket"] for row in tx.query(booking.QUERIES["cash_tickets"], account_id=self._id)]
        return positions, tickets
