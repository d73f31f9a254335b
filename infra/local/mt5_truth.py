"""The true trades of a fake account, told from what its operations did, not from deal types and entries.

A parser of deals has to find out what belongs together; here the operation says so. Nothing of the room's code is used, so the
two can be held against each other. Prices are exact averages; times are UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from infra.local.mt5_model import BUY, MONEY_FIELDS, ZERO, Change, Fact, iso

KINDS = ("opened", "added", "reduced", "reversed", "cost", "cash", "renumbered", "edited", "deleted")
CASH_KINDS = {
    3: "credit",
    4: "charge",
    5: "correction",
    6: "bonus",
    **dict.fromkeys(range(7, 12), "commission"),
    12: "interest",
    15: "dividend",
    16: "dividend",
    17: "tax",
}
"""What a movement of money is called; deposits and withdrawals go by their sign, whatever else is ``other``."""


@dataclass(slots=True, kw_only=True)
class TrueTrade:
    """One life of a position on one side. Prices None: nothing of that kind yet; ``last_time``: of its latest deal."""

    position_id: int
    episode: int
    ticket: int
    symbol: str
    side: str
    opened: list[tuple[Decimal, Decimal]]
    closed: list[tuple[Decimal, Decimal]]
    open_time: datetime
    last_time: datetime
    close_time: datetime | None = None
    profit: Decimal = ZERO
    commission: Decimal = ZERO
    swap: Decimal = ZERO
    fee: Decimal = ZERO
    deals: int = 0
    comment: str = ""

    @property
    def volume(self) -> Decimal:
        """Everything that went in."""
        return sum((volume for volume, _ in self.opened), ZERO)

    @property
    def open_volume(self) -> Decimal:
        """What is still in."""
        return self.volume - sum((volume for volume, _ in self.closed), ZERO)

    @property
    def status(self) -> str:
        """``open`` or ``closed``."""
        return "closed" if self.open_volume == 0 else "open"

    @property
    def net(self) -> Decimal:
        """Result and all costs."""
        return self.profit + self.commission + self.swap + self.fee

    def document(self) -> dict[str, object]:
        """Return it as the admin API shows it: numbers as text, instants as ISO in UTC."""
        is_closed = self.status == "closed"
        return {
            "position_id": self.position_id, "episode": self.episode, "ticket": self.ticket, "symbol": self.symbol,
            "side": self.side, "status": self.status, "volume": str(self.volume), "open_volume": str(self.open_volume),
            "open_price": _text(average(self.opened)), "close_price": _text(average(self.closed)),
            "open_time": iso(self.open_time), "last_time": iso(self.last_time),
            "close_time": iso(self.close_time) if is_closed and self.close_time is not None else None,
            "profit": str(self.profit), "commission": str(self.commission), "swap": str(self.swap), "fee": str(self.fee),
            "net": str(self.net), "deals": self.deals, "comment": self.comment,
        }  # fmt: skip


def average(parts: Iterable[tuple[Decimal, Decimal]]) -> Decimal | None:
    """Return the price averaged over volumes; None without any."""
    told = list(parts)
    volume = sum((size for size, _ in told), ZERO)
    return sum((size * price for size, price in told), ZERO) / volume if volume else None


def facts(changes: Iterable[Change]) -> list[Fact]:
    """Return what stands after all corrections, in the order of the operations."""
    standing: dict[int, Fact] = {}
    for change in changes:
        for fact in change.facts:
            if fact.kind == "deleted":
                standing.pop(fact.ticket, None)
            elif fact.kind == "edited":
                standing[fact.ticket] = replace(standing[fact.ticket], **fact.changed)
            else:
                standing[-fact.ticket if fact.kind == "renumbered" else fact.ticket] = fact
    return list(standing.values())


def trades(changes: Iterable[Change], digits: int = 2) -> list[TrueTrade]:
    """Return every trade, open and closed, in the order in which they began."""
    lives: dict[int, list[TrueTrade]] = {}
    for fact in facts(changes):
        if fact.kind == "cash":
            continue
        life = lives.setdefault(fact.position_id, [])
        if fact.kind == "renumbered":
            for trade in life[-1:]:
                trade.ticket = fact.position_ticket
        elif fact.kind == "reversed":
            _reverse(life, fact, digits)
        elif fact.kind == "opened" or not life:  # the first of several entries may have been taken back
            life.append(_begun(fact, len(life) + 1))
        else:
            _continue(life[-1], fact)
    return [one for life in lives.values() for one in life]


def cash(changes: Iterable[Change]) -> list[dict[str, object]]:
    """Return every movement of money without a position: ticket, kind, amount (text), at, comment."""
    return [
        {"ticket": one.ticket, "kind": _kind(one), "amount": str(_sum(one)), "at": iso(one.at), "comment": one.comment}
        for one in facts(changes)
        if one.kind == "cash"
    ]


def cash_kind(deal_type: int, amount: Decimal) -> str:
    """Return what a movement of this type is called."""
    if deal_type == 2:
        return "withdrawal" if amount < 0 else "deposit"
    return CASH_KINDS.get(deal_type, "other")


def _kind(fact: Fact) -> str:
    """What the movement is called; a deposit that was edited to take money is a withdrawal."""
    return cash_kind(2, _sum(fact)) if fact.cash_kind in ("deposit", "withdrawal") else fact.cash_kind


def _begun(fact: Fact, episode: int) -> TrueTrade:
    return TrueTrade(
        position_id=fact.position_id, episode=episode, ticket=fact.position_ticket, symbol=fact.symbol,
        side="buy" if fact.side == BUY else "sell", opened=[(fact.volume, fact.price)], closed=[], open_time=fact.at,
        last_time=fact.at,
        profit=fact.profit, commission=fact.commission, swap=fact.swap, fee=fact.fee, deals=1, comment=fact.comment,
    )  # fmt: skip


def _continue(trade: TrueTrade, fact: Fact) -> None:
    if fact.kind == "added":
        trade.opened.append((fact.volume, fact.price))
    elif fact.kind == "reduced":
        trade.closed.append((fact.volume, fact.price))
        trade.close_time = fact.at
    for name in MONEY_FIELDS:
        setattr(trade, name, getattr(trade, name) + getattr(fact, name))
    trade.last_time = max(trade.last_time, fact.at)
    trade.deals += 1


def _reverse(life: list[TrueTrade], fact: Fact, digits: int) -> None:
    """The result belongs to what was closed; what it cost is shared by volume, the odd cent going to what was opened."""
    cent = Decimal(1).scaleb(-digits)
    # Multiplied first: a share of a third, rounded to 28 digits, would turn half a cent into a little more or less.
    exact = {name: getattr(fact, name) * fact.closes / fact.volume for name in ("commission", "fee")}
    paid = {name: amount.quantize(cent, ROUND_HALF_EVEN) for name, amount in exact.items()}
    _continue(life[-1], replace(fact, kind="reduced", volume=fact.closes, **paid))
    rest = {name: getattr(fact, name) - amount for name, amount in paid.items()}
    opened = replace(fact, volume=fact.volume - fact.closes, profit=ZERO, swap=ZERO, **rest)
    life.append(_begun(opened, len(life) + 1))


def _sum(fact: Fact) -> Decimal:
    return fact.profit + fact.commission + fact.swap + fact.fee


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


def same_trade(found: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    """Whether a row is the true trade; averages to ten decimals, the floating figures of an open one apart."""
    return not differences(found, told)


def differences(found: Mapping[str, Any], told: Mapping[str, Any]) -> list[str]:
    """What a row says otherwise than the true trade, a line each."""
    exact: dict[str, tuple[Any, Any]] = {
        "status": (found["status"], told["status"]),
        "type": (found["type"], told["side"]),
        "symbol": (found["symbol"], told["symbol"]),
        **{name: (found[name], Decimal(told[name])) for name in ("volume", "open_volume", "commission", "fee")},
        "realized_profit": (found["realized_profit"], Decimal(told["profit"])),
        "realized_swap": (found["realized_swap"], Decimal(told["swap"])),
    }
    if told["status"] == "closed":
        exact["close_time"] = (found["close_time"], datetime.fromisoformat(told["close_time"]))
    lines = [f"{name} {ours} instead of {theirs}" for name, (ours, theirs) in exact.items() if ours != theirs]
    near = [name for name in ("open_price", "close_price") if not _near(found[name], told[name])]
    return [*lines, *(f"{name} {found[name]} instead of {told[name]}" for name in near)]


def _near(found: Decimal | None, told: str | None) -> bool:
    if found is None or told is None:
        return found is None and told is None
    return abs(found - Decimal(told)) <= Decimal("0.0000000001")
