"""The bridge to the ledger: fills of one account's book, told in the transaction of the rows they come from.

Calls carry fewer fills than the ledger takes: everything a call reads and writes is held in memory at once, and 1,000 fills
cost half the memory of 5,000 and no more time. When there is more than one call, the locks of all instruments are taken
first, so that two workers never wait for each other in turn. Source: ibkr.md 13.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from fillbook.ibkr.allowlist import Account
from fillbook.ibkr.fills import Booked, Slot, Telling, told
from fillbook.ibkr.model import Execution
from fillbook.ibkr.words import MatchKind
from fillbook.ledger import service as ledger
from fillbook.ledger.model import Fill
from fillbook.ledger.words import INSTRUMENTS_MAX
from fillbook.runtime.db import Tx

CALL_FILLS: Final = 1_000


def tell(
    tx: Tx,
    account: Account,
    before: Sequence[Execution],
    after: Sequence[Execution],
    booked: Mapping[Slot, Booked],
    match_kinds: Mapping[str, MatchKind],
    now: datetime,
) -> tuple[Telling, tuple[int, ...]]:
    """Book what changed and return what was told, and the outbox partitions to relay after the commit."""
    telling = told(account, before, after, booked, match_kinds, now)
    return telling, book(tx, account, telling.fills, now)


def book(tx: Tx, account: Account, fills: Sequence[Fill], now: datetime) -> tuple[int, ...]:
    """Hand fills, in booking order, to the ledger; return outbox partitions."""
    calls = list(batches(fills))
    if len(calls) > 1:
        ledger.lock(tx, account.book_id, sorted({fill.instrument for fill in fills}))
    partitions: set[int] = set()
    for batch in calls:
        for outcome in ledger.book_fills(tx, account.book_id, batch, now):
            partitions.update(outcome.partitions)
    return tuple(sorted(partitions))


def batches(fills: Sequence[Fill], fills_max: int = CALL_FILLS, instruments_max: int = INSTRUMENTS_MAX) -> Iterator[list[Fill]]:
    """Cut into calls without changing the order."""
    batch: list[Fill] = []
    instruments: set[str] = set()
    for fill in fills:
        if len(batch) == fills_max or (fill.instrument not in instruments and len(instruments) == instruments_max):
            yield batch
            batch, instruments = [], set()
        batch.append(fill)
        instruments.add(fill.instrument)
    if batch:
        yield batch
