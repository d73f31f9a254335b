"""What the executions of one trade come to: quantity, value, price, fees, status, and the role each row plays.

A plain order is the sum of its canonical rows. A combo counts either by its summary row or by its legs, never by both: the
legs carry the money, the summary the number of combos; without one that number is what divides every leg. Amounts of
different currencies are never added, a missing commission makes the sum unknown, and executions alone never prove an order
complete. Source: ibkr.md 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal, localcontext
from math import gcd
from typing import Any, Final

from fillbook.ibkr.model import Anomaly, Execution, Trade
from fillbook.ibkr.words import AnomalyKind, Confidence, MatchKind, Role, TradeStatus
from fillbook.money import CONTEXT, ZERO
from fillbook.values import frozen

PRICE_STEP: Final = Decimal("1e-12")
_CONFIDENCE: Final = {
    MatchKind.PERM_ID: Confidence.HIGH,
    MatchKind.FLEX_ORDER_ID: Confidence.HIGH,
    MatchKind.COMBO: Confidence.MEDIUM,
    MatchKind.ORDER_REF: Confidence.MEDIUM,
    MatchKind.COMPOSITE: Confidence.MEDIUM,
    MatchKind.SINGLE: Confidence.LOW,
}
_BOOK_NOTES: Final = {"Ep": TradeStatus.EXPIRED, "A": TradeStatus.ASSIGNED, "Ex": TradeStatus.EXERCISED}
_COMMON: Final = ("conid", "symbol", "sec_type", "side", "exchange", "currency", "client_id", "order_ref", "ib_order_id")
_BAG: Final = "BAG"


@frozen(kw_only=False)
class Summary:
    """A trade, the role of each of its rows by ib_exec_id, and what about it needs a person."""

    trade: Trade
    roles: Mapping[str, Role]
    anomalies: tuple[Anomaly, ...]


@frozen(kw_only=False)
class _Totals:
    quantity: Decimal
    value: Decimal | None
    price: Decimal | None
    differs: str | None = None


def summarize(
    account_id: int,
    trade_id: str,
    match_kind: MatchKind,
    keys: Sequence[str],
    rows: Sequence[Execution],
    order_sizes: Mapping[int, Decimal],
) -> Summary:
    """Compute a trade from all its rows; only canonical ones count, the others are listed."""
    canonical = [row for row in rows if row.is_canonical]
    roles = _roles(rows, canonical or rows)
    summaries = [row for row in canonical if roles[row.ib_exec_id] is Role.COMBO_SUMMARY]
    others = [row for row in canonical if roles[row.ib_exec_id] is not Role.COMBO_SUMMARY]
    is_combo = any(role is not Role.STANDALONE for role in roles.values())
    with localcontext(CONTEXT):
        totals = _combo(summaries, others) if is_combo else _plain(canonical)
        fees = _fees(others)
    size = _order_size(rows, order_sizes)
    status, is_over = _status(canonical, totals.quantity, size)
    shown = summaries or canonical or list(rows)
    times = [row.facts.executed_at for row in canonical]
    trade = Trade(
        trade_id=trade_id,
        account_id=account_id,
        match_kind=match_kind,
        confidence=_confidence(match_kind, rows),
        keys=tuple(keys),
        ib_perm_id=min((row.facts.ib_perm_id for row in rows if row.facts.ib_perm_id), default=None),
        flex_order_id=min((row.facts.flex_order_id for row in rows if row.facts.flex_order_id), default=None),
        trade_day=min(row.facts.trade_day for row in canonical or rows),
        is_combo=is_combo,
        status=status,
        order_quantity=size,
        total_quantity=totals.quantity,
        total_value=totals.value,
        avg_price=totals.price,
        **fees,
        execution_count=len(rows),
        canonical_count=len(canonical),
        first_executed_at=min(times, default=None),
        last_executed_at=max(times, default=None),
        **{name: _common([getattr(row.facts, name) for row in shown]) for name in _COMMON},
    )
    anomalies = []
    if totals.differs is not None:
        anomalies.append(_anomaly(trade, AnomalyKind.COMBO_QUANTITY_DIFFERS, {"told": totals.differs}))
    if is_over:
        anomalies.append(_anomaly(trade, AnomalyKind.OVERFILLED, {"ordered": f"{size:f}", "executed": f"{totals.quantity:f}"}))
    return Summary(trade, roles, tuple(anomalies))


def _roles(rows: Sequence[Execution], counting: Sequence[Execution]) -> dict[str, Role]:
    has_bag = any(row.facts.sec_type == _BAG for row in rows)
    others = Role.LEG if has_bag or len({row.facts.conid for row in counting}) > 1 else Role.STANDALONE
    return {row.ib_exec_id: Role.COMBO_SUMMARY if row.facts.sec_type == _BAG else others for row in rows}


def _plain(canonical: Sequence[Execution]) -> _Totals:
    quantity = sum((row.facts.quantity for row in canonical), ZERO)
    if not canonical:
        return _Totals(ZERO, None, None)
    value = sum((row.facts.price * row.facts.quantity for row in canonical), ZERO)
    return _Totals(quantity, value, _price(value, quantity))


def _combo(summaries: Sequence[Execution], legs: Sequence[Execution]) -> _Totals:
    by_legs = _by_legs(legs)
    if not summaries:
        return by_legs
    by_summary = _plain(summaries)
    is_settled = bool(legs) and all(any(source.is_flex for source in leg.sources) for leg in legs)
    if is_settled and by_legs.quantity != by_summary.quantity:
        differs = f"summary {by_summary.quantity:f}, legs {by_legs.quantity:f}"
        return _Totals(by_legs.quantity, by_legs.value, by_legs.price, differs)
    return by_summary


def _by_legs(legs: Sequence[Execution]) -> _Totals:
    nets: dict[int, Decimal] = {}
    for leg in legs:
        nets[leg.facts.conid] = nets.get(leg.facts.conid, ZERO) + leg.facts.signed_quantity
    quantity = _common_divisor([net for net in nets.values() if net])
    if len({leg.facts.multiplier for leg in legs}) != 1:
        return _Totals(quantity, None, None)
    value = sum((leg.facts.signed_quantity * leg.facts.price for leg in legs), ZERO)
    return _Totals(quantity, value, _price(value, quantity))


def _common_divisor(amounts: Sequence[Decimal]) -> Decimal:
    """The greatest amount that divides all of them; zero of none."""
    if not amounts:
        return ZERO
    places = max(0, *(-int(amount.as_tuple().exponent) for amount in amounts))
    divisor = gcd(*(int(amount.scaleb(places)) for amount in amounts))
    return Decimal(divisor).scaleb(-places)


def _price(value: Decimal, quantity: Decimal) -> Decimal | None:
    """Rounded as the database rounds (half away from zero), so that a recomputation there agrees."""
    return (value / quantity).quantize(PRICE_STEP, rounding=ROUND_HALF_UP) if quantity else None


def _fees(rows: Sequence[Execution]) -> dict[str, Any]:
    missing = sum(row.facts.commission is None for row in rows)
    paid = [row.facts.commission for row in rows if row.facts.commission is not None]
    currencies = {row.facts.commission_currency for row in rows if row.facts.commission is not None}
    currency = min(currencies, key=str) if len(currencies) == 1 else None
    is_known = bool(rows) and not missing and currency is not None
    return {
        "commission": sum(paid, ZERO) if is_known else None,
        "commission_currency": currency,
        "missing_commission_count": missing,
    }


def _order_size(rows: Sequence[Execution], order_sizes: Mapping[int, Decimal]) -> Decimal | None:
    perm_ids = {row.facts.ib_perm_id for row in rows if row.facts.ib_perm_id is not None}
    sizes = {order_sizes[perm_id] for perm_id in perm_ids if perm_id in order_sizes}
    return min(sizes) if len(sizes) == 1 else None


def _status(canonical: Sequence[Execution], quantity: Decimal, size: Decimal | None) -> tuple[TradeStatus, bool]:
    if not canonical:
        return TradeStatus.CANCELLED, False
    for row in canonical:
        if row.facts.transaction_type == "BookTrade":
            told = next((_BOOK_NOTES[note] for note in row.facts.notes if note in _BOOK_NOTES), None)
            if told is not None:
                return told, False
    if size is None:
        return TradeStatus.UNKNOWN, False
    return TradeStatus.PARTIAL if quantity < size else TradeStatus.FILLED, quantity > size


def _confidence(match_kind: MatchKind, rows: Sequence[Execution]) -> Confidence:
    if match_kind is MatchKind.SINGLE and rows[0].facts.transaction_type in ("BookTrade", "FracShare"):
        return Confidence.HIGH
    return _CONFIDENCE[match_kind]


def _common(values: Sequence[Any]) -> Any:
    """The value all of them share; None where they differ."""
    known = {value for value in values if value is not None}
    return next(iter(known)) if len(known) == 1 else None


def _anomaly(trade: Trade, kind: AnomalyKind, details: Mapping[str, str | int | None]) -> Anomaly:
    return Anomaly(account_id=trade.account_id, kind=kind, subject=trade.keys[0], details=details)
