"""Positions of an account made again from their stored deals, a batch at a time: derived, told to the ledger, written.

One transaction a batch, under the account's lease; what would not change stays unwritten, and the ledger is told differences
alone, so that a batch may be done again at any time. Used by a rebuild, and by a run that learns something of more positions
than one transaction should hold. Source: mt5 specification, 6, 10, 15.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from fillbook.mt5 import booking, closing, store
from fillbook.mt5.cash import cash_operation
from fillbook.mt5.clocks import ServerClock
from fillbook.mt5.deals import Stored, standing
from fillbook.mt5.model import CashOperation, Info, SymbolFacts, Trade
from fillbook.mt5.records import AccountUpdate, AccountWork, Applied, Claimed, Loaded, Wanted
from fillbook.mt5.trades import Derived, derive
from fillbook.mt5.words import Code
from fillbook.runtime.db import Tx
from fillbook.values import frozen

BATCH_POSITIONS: Final = 1_000


@frozen
class Remaking:
    """What is known besides what is stored: ``info``, what the account says of itself now, and ``facts`` of symbols, by name."""

    claimed: Claimed
    run_id: str
    now: datetime
    info: Info | None = None
    facts: Mapping[str, SymbolFacts] | None = None

    def batch(self, tx: Tx, positions: Sequence[int], tickets: Sequence[int] = ()) -> tuple[Applied, tuple[int, ...]]:
        """Positions, and movements of cash by their tickets; returns what was written and partitions of the outbox."""
        loaded = self._loaded(tx, positions, tickets)
        clock = ServerClock(loaded.rule, loaded.clocks)
        stored = standing(loaded.deals)
        account = loaded.account
        deals: dict[int, list[Stored]] = {}
        for one in stored.values():
            deals.setdefault(one.deal.position_id, []).append(one)
        rows: dict[int, list[Trade]] = {}
        for row in loaded.trades:
            rows.setdefault(row.position_id, []).append(row)
        derived = [
            derive(account.account_id, one, deals.get(one, ()), rows.get(one, ()), None, clock, account.currency_digits)
            for one in positions
        ]
        operations = [
            (ticket, cash_operation(account.account_id, stored[ticket], clock)) for ticket in tickets if ticket in stored
        ]
        trades, partitions = booking.retell(tx, loaded, stored.values(), derived, self.now, self.info)
        return self._write(tx, loaded, derived, operations, closing.changed(loaded.trades, trades)), partitions

    def _loaded(self, tx: Tx, positions: Sequence[int], tickets: Sequence[int]) -> Loaded:
        """The batch, and of repeated hours that it touches every ticket."""
        key = (self.claimed.account_id, self.claimed.lease_token)
        wanted = Wanted(position_ids=positions, tickets=tickets)
        loaded = store.load_account(tx, *key, wanted)
        spans = ServerClock(loaded.rule).repeated_spans(one.deal.time_msc for one in loaded.deals)
        if spans:
            loaded = store.load_account(tx, *key, replace(wanted, spans=spans))
        return replace(loaded, symbols={**loaded.symbols, **(self.facts or {})})

    def _write(
        self,
        tx: Tx,
        loaded: Loaded,
        derived: Sequence[Derived],
        operations: Sequence[tuple[int, CashOperation | None]],
        trades: Sequence[Trade],
    ) -> Applied:
        account = loaded.account
        (error,) = tx.query(booking.QUERIES["last_error"], account_id=UUID(account.account_id))
        code = error["last_error_code"]
        work = AccountWork(
            account_id=account.account_id,
            lease_token=self.claimed.lease_token,
            run_id=self.run_id,
            account=AccountUpdate(
                info=None,
                info_at=None,
                positions_at=None,
                last_sync_at=None,
                last_successful_sync_at=None,
                sync_failure_count=account.sync_failure_count,
                last_error_code=None if code is None else Code(code),
                last_connection_error=error["last_connection_error"],
                connection_status=account.connection_status,
            ),
            state=replace(loaded.state, state_digest=None),
            trades=trades,
            trades_removed=[(one.position_id, episode) for one in derived for episode in one.gone],
            cash_operations=[one for _, one in operations if one is not None],
            cash_removed=[ticket for ticket, one in operations if one is None],
        )
        return store.apply_account(tx, work, self.now)


def cut(values: Iterable[int]) -> Iterator[Sequence[int]]:
    """In batches, in order."""
    left = sorted(values)
    for start in range(0, len(left), BATCH_POSITIONS):
        yield left[start : start + BATCH_POSITIONS]
