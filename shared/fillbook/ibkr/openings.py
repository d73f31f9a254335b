"""The opening balance: an account is told to the ledger only from a known state on.

What the broker holds at ``as_of``, less the executions of ours up to then, was held before our history began; it is booked
as fills at the broker's average cost, and then everything stored is told. Until that has happened executions are stored and
shown, but neither booked nor told. What turns up afterwards and was executed up to ``as_of`` is in the opening balance already
(``taking.py``). No opening is invented for what the broker does not list. Source: ibkr.md 13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from fillbook.ibkr import columns, store
from fillbook.ibkr.allowlist import Account
from fillbook.ibkr.booking import book, tell
from fillbook.ibkr.fills import SOURCE, is_told
from fillbook.ibkr.model import Execution, PositionRow
from fillbook.ibkr.store import News
from fillbook.ibkr.words import MatchKind
from fillbook.ledger import service as ledger
from fillbook.ledger.model import Fill, Side
from fillbook.money import ONE, ZERO, to_price, to_quantity
from fillbook.runtime.db import Call, Database, Tx
from fillbook.runtime.errors import Rejected

_MARGIN_TYPES = frozenset({"FUT", "CFD", "CASH"})
_UNIT_TYPES = frozenset({"STK", "CASH"})
_BEFORE = timedelta(microseconds=1)
_NOTHING = News(payloads=(), returned=(), cancels=(), unpaid=frozenset(), is_opened=True)


def book_opening_once(
    db: Database, account: Account, positions: Sequence[PositionRow], *, as_of: datetime, run_id: str | None, now: datetime
) -> tuple[int, ...]:
    """Book the opening balance of an account and then all that is stored of it; nothing when that was done before.

    ``positions``: all of the account's at ``as_of``, from a complete answer; ``run_id``: the positions run it came from
    (None: declared by a person). Returns outbox partitions to relay. Raises ``Rejected('opening_cost_unknown')``.
    """

    def work(tx: Tx) -> tuple[int, ...]:
        (row,) = tx.query(store.QUERIES["lock_account"], account_id=account.account_id)
        if row["opened_at"] is not None:
            return ()
        stored = tx.query(store.QUERIES["canonical_executions"], account_id=account.account_id)
        executions = [columns.execution_of(one["execution"]) for one in stored]
        match_kinds = {one["execution"]["trade_id"]: MatchKind(one["match_kind"]) for one in stored}
        opening = opening_fills(account, positions, executions, as_of=as_of, now=now)
        partitions = set(book(tx, account, opening, now))
        telling, told = tell(tx, account, [], executions, {}, match_kinds, now)
        document = store.apply_document(account, run_id, now, _NOTHING)
        document |= {"booked": [columns.booked_row(one) for one in telling.booked]}
        tx.send(Call("ibkr.apply", document))
        tx.execute(store.QUERIES["mark_opened"], account_id=account.account_id, run_id=run_id, now=now, begins_at=as_of)
        return tuple(sorted(partitions | set(told)))

    return ledger.run(db, work)


def opening_fills(
    account: Account, positions: Sequence[PositionRow], executions: Sequence[Execution], *, as_of: datetime, now: datetime
) -> list[Fill]:
    """What was held before the first execution: each position less what was executed since, where anything is left."""
    since: dict[int, Decimal] = {}
    for row in executions:
        if is_told(row) and row.facts.executed_at <= as_of:
            since[row.facts.conid] = since.get(row.facts.conid, ZERO) + row.facts.signed_quantity
    at = min([row.facts.executed_at for row in executions] + [as_of]) - _BEFORE
    known: Mapping[int, Execution] = {row.facts.conid: row for row in executions}
    fills = []
    for position in sorted(positions, key=lambda one: one.conid):
        held = position.quantity - since.get(position.conid, ZERO)
        if held and position.account_id == account.account_id:
            fills.append(_opening(account, position, held, known.get(position.conid), at, now))
    return fills


def _opening(
    account: Account, position: PositionRow, held: Decimal, known: Execution | None, at: datetime, now: datetime
) -> Fill:
    if position.average_cost is None:
        raise Rejected("opening_cost_unknown", f"conid {position.conid}")
    multiplier = position.multiplier or (None if known is None else known.facts.multiplier)
    if multiplier is None and position.sec_type in _UNIT_TYPES:
        multiplier = ONE
    underlying = None if known is None else known.facts.underlying_symbol
    return Fill(
        source=SOURCE,
        account_key=account.code,
        source_id=f"opening:{position.conid}",
        instrument=f"ibkr:{position.conid}",
        ticker=(underlying or position.symbol)[:64],
        contract_name=position.symbol,
        side=Side.BUY if held > 0 else Side.SELL,
        quantity=to_quantity(abs(held)),
        price=to_price(position.average_cost),
        multiplier=None if position.sec_type == "BOND" else multiplier,
        currency=position.currency,
        fees=ZERO,  # the broker's average cost contains them
        fees_currency=position.currency,
        cash_style="margin" if position.sec_type in _MARGIN_TYPES else "full",
        executed_at=at,
        session_date=at.date(),
        reason="opening_balance",
        origin="history",
        received_at=now,
    )
