"""Execution -> Fill: what the ledger is told about the canonical rows of a book, and about those that no longer count.

One fill per (base, correction group), so that revisions and rebooks of one execution stay one fact with one action and one
message. Told is only what changed since the last telling (``Booked.booked_hash``); amounts are rounded to the ledger's
columns and never converted. A combo's summary is never told: its legs are. Source: ibkr.md 13.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from fillbook.ibkr.allowlist import Account
from fillbook.ibkr.execid import venue_order
from fillbook.ibkr.model import Execution
from fillbook.ibkr.words import MatchKind, Role
from fillbook.ledger.ids import fill_id
from fillbook.ledger.model import Fill, Side
from fillbook.money import ONE, QUANTITY_STEP, RATE_STEP, plain, quantize, to_money, to_price, to_quantity
from fillbook.values import frozen

SOURCE: Final = "ibkr"
HISTORY_AFTER: Final = timedelta(days=3)
_MARGIN_TYPES: Final = frozenset({"FUT", "CFD", "CASH"})
_UNIT_TYPES: Final = frozenset({"STK", "CASH"})
_FEES: Final = frozenset({"fees", "fees_currency", "fees_rate"})
_DEAL: Final = ("side", "quantity", "price", "instrument")
_TICKER_MAX: Final = 64
_ECONOMIC: Final = (
    "instrument",
    "ticker",
    "contract_name",
    "side",
    "quantity",
    "price",
    "multiplier",
    "currency",
    "fx_rate",
    "fees",
    "fees_currency",
    "fees_rate",
    "position_effect",
    "cash_style",
    "executed_at",
    "venue_order",
    "session_date",
)

Slot = tuple[str, int]


@frozen
class Booked:
    """What the ledger was last told of a slot; ``source_revision`` counts what it was told of it."""

    exec_id_base: str
    correction_group: int
    ib_exec_id: str
    source_revision: int
    is_bust: bool
    booked_hash: bytes

    @property
    def slot(self) -> Slot:
        """(exec_id_base, correction_group)."""
        return (self.exec_id_base, self.correction_group)


@frozen(kw_only=False)
class Telling:
    """Fills in booking order, and what is then the last told of each slot."""

    fills: tuple[Fill, ...]
    booked: tuple[Booked, ...]


def is_told(execution: Execution) -> bool:
    """Whether a row is a fill of the book."""
    return execution.is_canonical and execution.exec_role is not Role.COMBO_SUMMARY


def told(
    account: Account,
    before: Sequence[Execution],
    after: Sequence[Execution],
    booked: Mapping[Slot, Booked],
    match_kinds: Mapping[str, MatchKind],
    now: datetime,
) -> Telling:
    """What to tell of some rows. ``before``: the same rows as they stood; ``booked``: of every slot they were or are in."""
    former = {row.slot: row for row in before if is_told(row)}
    current = {row.slot: row for row in after if is_told(row)}
    heirs = _heirs(account, after, current, booked)
    fills: list[Fill] = []
    last: list[Booked] = []
    for slot in sorted(former.keys() | current.keys() | booked.keys()):
        known, row = booked.get(slot), current.get(slot)
        if row is not None:
            fill = _changed(account, row, known, former.get(slot), match_kinds, now, heirs.get(slot))
        elif known is not None and not known.is_bust:
            gone = former.get(slot) or _stood_for(slot, known, before) or _stood_for(slot, known, after)
            fill = None if gone is None else _bust(account, gone, known, after, match_kinds, now)
        else:
            fill = None
        if fill is not None:
            fills.append(fill)
            speaks = row.ib_exec_id if row is not None else known.ib_exec_id if known is not None else slot[0]
            last.append(_booked(slot, speaks, fill))
    fills.sort(key=lambda fill: (fill.executed_at, fill.venue_order, fill.source_id))
    return Telling(tuple(fills), tuple(last))


def fill_of(
    account: Account,
    row: Execution,
    *,
    match_kind: MatchKind | None,
    now: datetime,
    revision: int = 1,
    cause: str = "first",
    is_bust: bool = False,
    replaces: str | None = None,
) -> Fill:
    """The fill of one row."""
    facts = row.facts
    fees, fees_currency = _fees(row)
    fx_rate = _fx_rate(account, row)
    return Fill(
        source=SOURCE,
        account_key=account.code,
        source_id=source_id(row.slot),
        source_revision=revision,
        is_bust=is_bust,
        instrument=f"ibkr:{facts.conid}",
        ticker=(facts.underlying_symbol or facts.symbol)[:_TICKER_MAX],
        contract_name=facts.symbol,
        side=Side(facts.side.value),
        quantity=to_quantity(facts.quantity),
        price=to_price(facts.price),
        multiplier=_multiplier(row),
        currency=facts.currency,
        fx_rate=fx_rate,
        fees=fees,
        fees_currency=fees_currency,
        fees_rate=_fees_rate(account, row, fees_currency, fx_rate),
        position_effect="close" if facts.open_close == "C" else "auto",
        cash_style="margin" if facts.sec_type in _MARGIN_TYPES else "full",
        executed_at=facts.executed_at,
        venue_order=venue_order(row.identity.exec_id_base),
        session_date=facts.trade_day,
        reason="broker_execution",
        meta=_meta(row, match_kind),
        origin="history" if now - facts.executed_at > HISTORY_AFTER else "live",
        cause=cause,
        replaces_fill_id=replaces,
        received_at=row.observed_at,
    )


def source_id(slot: Slot) -> str:
    """The identity of the fact: stable over revisions and rebooks."""
    return f"{slot[0]}#{slot[1]}"


def content_hash(fill: Fill) -> bytes:
    """Hash of what the ledger would book; meta, origin, cause and arrival leave it alone."""
    values = [_text(getattr(fill, name)) for name in _ECONOMIC]
    return hashlib.sha256(json.dumps(values, separators=(",", ":")).encode()).digest()


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return plain(value) if isinstance(value, Decimal) else str(value)


def _changed(
    account: Account,
    row: Execution,
    known: Booked | None,
    former: Execution | None,
    match_kinds: Mapping[str, MatchKind],
    now: datetime,
    replaces: str | None,
) -> Fill | None:
    match_kind = match_kinds.get(row.trade_id)
    if known is None:
        cause = "first" if replaces is None else "settled"
        return fill_of(account, row, match_kind=match_kind, now=now, cause=cause, replaces=replaces)
    fill = fill_of(account, row, match_kind=match_kind, now=now, revision=known.source_revision + 1)
    if not known.is_bust and content_hash(fill) == known.booked_hash:
        return None
    cause = _cause(account, row, known, former, fill, now)
    return fill_of(account, row, match_kind=match_kind, now=now, revision=known.source_revision + 1, cause=cause)


def _cause(account: Account, row: Execution, known: Booked, former: Execution | None, fill: Fill, now: datetime) -> str:
    if known.ib_exec_id != row.ib_exec_id:
        return "revision"
    if known.is_bust or former is None:
        return "rebook"
    transactions = (former.facts.transaction_id, row.facts.transaction_id)
    if None not in transactions and transactions[0] != transactions[1]:
        return "rebook"
    old = fill_of(account, former, match_kind=None, now=now)
    differing = {name for name in _ECONOMIC if getattr(old, name) != getattr(fill, name)}
    if differing <= _FEES:
        return "commission"
    settles = any(source.is_flex for source in row.sources) and not any(source.is_flex for source in former.sources)
    return "settled" if settles and differing.isdisjoint(_DEAL) else "restatement"


def _bust(
    account: Account,
    gone: Execution,
    known: Booked,
    after: Sequence[Execution],
    match_kinds: Mapping[str, MatchKind],
    now: datetime,
) -> Fill:
    is_settled = any(
        row.identity.settled_key == gone.identity.settled_key and not row.identity.has_fifth_part and row.is_canonical
        for row in after
    )
    cause = "settled" if gone.identity.has_fifth_part and is_settled else "bust"
    match_kind = match_kinds.get(gone.trade_id)
    return fill_of(account, gone, match_kind=match_kind, now=now, revision=known.source_revision, cause=cause, is_bust=True)


def _stood_for(slot: Slot, known: Booked, rows: Sequence[Execution]) -> Execution | None:
    """The row the ledger was told of, whatever has become of it."""
    return next((row for row in rows if row.slot == slot and row.ib_exec_id == known.ib_exec_id), None)


def _heirs(
    account: Account, after: Sequence[Execution], current: Mapping[Slot, Execution], booked: Mapping[Slot, Booked]
) -> dict[Slot, str]:
    """New slot -> the fill it takes the place of: the first inner piece that was told and gives way to its statement row."""
    pieces: dict[str, Slot] = {}
    for row in sorted(after, key=lambda row: row.slot):
        known = booked.get(row.slot)
        if row.identity.has_fifth_part and row.slot not in current and known is not None and not known.is_bust:
            pieces.setdefault(row.identity.settled_key, row.slot)
    heirs: dict[Slot, str] = {}
    for slot, row in sorted(current.items()):
        if not row.identity.has_fifth_part and slot not in booked and row.identity.settled_key in pieces:
            heirs[slot] = fill_id(SOURCE, account.code, source_id(pieces.pop(row.identity.settled_key)))
    return heirs


def _booked(slot: Slot, ib_exec_id: str, fill: Fill) -> Booked:
    return Booked(
        exec_id_base=slot[0],
        correction_group=slot[1],
        ib_exec_id=ib_exec_id,
        source_revision=fill.source_revision,
        is_bust=fill.is_bust,
        booked_hash=content_hash(fill),
    )


def _multiplier(row: Execution) -> Decimal | None:
    facts = row.facts
    if facts.sec_type == "BOND":
        return None
    if facts.multiplier is None:
        return ONE if facts.sec_type in _UNIT_TYPES else None
    return quantize(facts.multiplier, QUANTITY_STEP)


def _fees(row: Execution) -> tuple[Decimal | None, str | None]:
    """Commission and taxes together; unknown while the commission is, or when the two are of different currencies."""
    facts = row.facts
    if facts.commission is None or (facts.taxes and facts.commission_currency != facts.currency):
        return None, None
    return to_money(facts.commission + (facts.taxes or 0)), facts.commission_currency


def _fx_rate(account: Account, row: Execution) -> Decimal | None:
    if row.facts.currency == account.base_currency:
        return ONE
    rate = row.facts.fx_rate_to_base
    return None if rate is None else quantize(rate, RATE_STEP) or None


def _fees_rate(account: Account, row: Execution, fees_currency: str | None, fx_rate: Decimal | None) -> Decimal | None:
    if fees_currency is None:
        return None
    if fees_currency == account.base_currency:
        return ONE
    return fx_rate if fees_currency == row.facts.currency else None


def _meta(row: Execution, match_kind: MatchKind | None) -> dict[str, Any]:
    return {
        "ib_exec_id": row.ib_exec_id,
        "trade_id": row.trade_id,
        "role": row.exec_role.value,
        "order_ref": row.facts.order_ref,
        "match_kind": None if match_kind is None else match_kind.value,
        "notes": list(row.facts.notes),
    }
