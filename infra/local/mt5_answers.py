"""What the fake answers about an account, in contract ``mt5/1`` and as the three-endpoint service, from one state.

An answer is a head (identity and times, different at every call) and a rest (the same until the account changes), so that the
rest can be kept as bytes. Sources: the two contracts of section 3 of the room's specification.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Protocol

from infra.local.mt5_broker import Reading, margin, worth
from infra.local.mt5_model import BUY, ZERO, Change, Deal, Position, Terms, iso, utc_msc
from infra.local.mt5_shapes import Document, Shape
from infra.local.mt5_truth import TrueTrade, average

CONTRACT = "mt5/1"


class Told(Protocol):
    """A book, or a diary of books."""

    def state(self, at: datetime) -> Reading: ...  # noqa: D102
    def version(self, at: datetime) -> tuple[int, ...]: ...  # noqa: D102
    def between(self, from_msc: int, to_msc: int, at: datetime) -> list[Deal]: ...  # noqa: D102
    def life(self, position_id: int, at: datetime) -> list[Deal]: ...  # noqa: D102
    def told(self, at: datetime) -> Sequence[Change]: ...  # noqa: D102
    def price(self, symbol: str, at: datetime) -> Decimal: ...  # noqa: D102


@dataclass(slots=True, kw_only=True)
class Account:
    """An account of the service. ``overrides``: fields of info that are told otherwise, balance and credit excepted."""

    id: str
    login: int
    server: str
    instance: str
    name: str
    terms: Terms
    book: Told
    shape: Shape = field(default_factory=Shape)
    overrides: Mapping[str, Decimal] = field(default_factory=dict)
    kept: dict[str, tuple[Any, bytes]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """From where an account is looked at. ``at``: the instant the answer describes; ``as_of``: when it is given.

    ``age_ms``: what the answer says of the difference. ``login``, ``server``: who it says it is about; faults change them.
    """

    account: Account
    shape: Shape
    at: datetime
    as_of: datetime
    age_ms: int = 0
    offset_ms: int = 0
    login: int
    server: str

    @property
    def is_foreign(self) -> bool:
        """Whether the answer names somebody else."""
        return (self.login, self.server) != (self.account.login, self.account.server)


def money(view: View) -> dict[str, Decimal]:
    """Return balance, credit, floating profit, equity, margins; ``margin_level`` is 0 when no margin is bound."""
    account, terms = view.account, view.account.terms
    state = account.book.state(view.at)
    profit = sum((worth(one, account.book.price(one.symbol, view.at), terms) for one in state.positions.values()), ZERO)
    profit += sum((one.swap for one in state.positions.values()), ZERO)
    held, zero = margin(state.positions, terms), terms.rounded(ZERO)
    equity = state.balance + state.credit + profit
    level = (equity / held * 100).quantize(Decimal("0.01")) if held else zero
    told = {
        "balance": state.balance + zero, "equity": equity + zero, "margin": held, "margin_free": equity - held + zero,
        "margin_level": level, "credit": state.credit + zero, "profit": profit + zero,
    }  # fmt: skip
    return told | dict(account.overrides)


def _positions(view: View) -> list[Position]:
    return [one for _, one in sorted(view.account.book.state(view.at).positions.items())]


# --- contract v1 ------------------------------------------------------------------------------------------------------


def head_v1(view: View) -> Document:
    """Return what every answer about an account begins with."""
    msc = view.account.terms.clock.msc(view.as_of) + view.offset_ms
    return {
        "contract": CONTRACT, "account_id": view.account.id, "login": view.shape.number(view.login), "server": view.server,
        "server_time_msc": view.shape.number(msc), "as_of": iso(view.as_of), "cache_age_ms": view.age_ms,
    }  # fmt: skip


def snapshot_v1(view: View) -> Document:
    """Return info and positions."""
    terms, shape = view.account.terms, view.shape
    info = {name: shape.money(amount) for name, amount in money(view).items()}
    return {
        "margin_mode": terms.margin_mode, "currency": terms.currency, "currency_digits": terms.digits,
        "info": {"complete": True, **info, "leverage": terms.leverage},
        "positions": {"complete": True, "rows": [_position_v1(one, view) for one in _positions(view)]},
    }  # fmt: skip


def _position_v1(one: Position, view: View) -> Document:
    shape, account = view.shape, view.account
    price = account.book.price(one.symbol, view.at)
    return {
        "ticket": shape.number(one.ticket), "identifier": shape.number(one.position_id), "time": one.time_msc // 1000,
        "time_msc": shape.number(one.time_msc), "time_update_msc": shape.number(one.update_msc), "type": one.side,
        "volume": shape.money(one.volume), "price_open": shape.money(_entry(one, account.terms)),
        "price_current": shape.money(price), "sl": one.stop_loss, "tp": one.take_profit,
        "swap": shape.money(account.terms.rounded(one.swap)),
        "profit": shape.money(worth(one, price, account.terms)), "symbol": one.symbol, "comment": one.comment,
        "magic": one.magic, "reason": one.reason,
    }  # fmt: skip


def _entry(one: Position, terms: Terms) -> Decimal:
    """The average as a terminal shows it: to the last digit of a price where it fits, else a few digits more."""
    exact = one.price_open.quantize(Decimal(1).scaleb(-terms.symbols[one.symbol].digits))
    return exact if exact == one.price_open else one.price_open.quantize(Decimal(1).scaleb(-10))


def deal_row(deal: Deal, shape: Shape, *, is_v1: bool) -> Document:
    """Return a deal in the terminal's field names."""
    msc = deal.time_msc if is_v1 or shape.epoch == "server" else utc_msc(deal.at)
    number = shape.number if is_v1 else int
    return {
        "ticket": number(deal.ticket), "order": number(deal.order), "time": msc // 1000, "time_msc": number(msc),
        "type": deal.type, "entry": deal.entry, "magic": deal.magic, "position_id": number(deal.position_id),
        "reason": deal.reason, "volume": deal.volume, "price": deal.price, "commission": deal.commission, "swap": deal.swap,
        "profit": deal.profit, "fee": deal.fee, "symbol": deal.symbol, "comment": deal.comment,
        "external_id": deal.external_id,
    }  # fmt: skip


def symbols_v1(view: View, names: Sequence[str]) -> Document:
    """Return what is known of the names; unknown ones are left out."""
    known = view.account.terms.symbols
    rows = [
        {"symbol": one.name, "contract_size": one.contract_size, "digits": one.digits, "currency_profit": one.currency_profit}
        for one in (known[name] for name in names if name in known)
    ]
    return {"symbols": rows}


# --- the three-endpoint service ---------------------------------------------------------------------------------------


def head_v0(view: View) -> Document:
    """Return what answers begin with; who it is about only where somebody else is meant, since most shapes do not say."""
    said = {"login": view.login, "server": view.server} if view.is_foreign else {}
    age = {"cached": True, "cache_age_seconds": view.age_ms // 1000} if view.age_ms else {"cached": False, "cache_age_seconds": 0}
    at = iso(view.as_of - timedelta(milliseconds=view.age_ms))
    return {"success": True, "account_id": view.account.id, "timestamp": at, **age, **said}


def info_v0(view: View) -> Document:
    """Return the account's money under the root the shape wants."""
    terms, told = view.account.terms, money(view)
    common = {"currency": terms.currency, "leverage": terms.leverage}
    if view.shape.info == "data":
        free = told.pop("margin_free")
        count = len(view.account.book.state(view.at).positions)
        return {"data": {**told, "free_margin": free, **common, "positions_count": count}}
    who = {"login": view.login, "name": view.account.name, "server": view.server, "company": "Fake Broker"}
    return {"account_info": {**who, **told, **common, "trade_mode": "DEMO"}}


def positions_v0(view: View) -> Document:
    """Return the open positions in the spelling the shape wants."""
    rows = [_position_v0(one, view) for one in _positions(view)]
    if view.shape.positions != "iso":
        return {"positions": rows}
    total = sum((row["profit"] + row["swap"] + row["commission"] for row in rows), ZERO)
    return {"positions": rows, "total_positions": len(rows), "total_profit": total}


def _position_v0(one: Position, view: View) -> Document:
    account, shape = view.account, view.shape
    price, entry = account.book.price(one.symbol, view.at), _entry(one, account.terms)
    common = {"ticket": one.ticket, "symbol": one.symbol, "volume": one.volume}
    if shape.positions == "epoch" or one.ticket != one.position_id:  # the others name it only where it is news
        common["identifier"] = one.position_id
    rest = {
        "sl": one.stop_loss, "tp": one.take_profit, "profit": worth(one, price, account.terms), "swap": one.swap,
        "magic": one.magic, "comment": one.comment,
    }  # fmt: skip
    word = "buy" if one.side == BUY else "sell"
    if shape.positions == "iso":
        zone = timezone(timedelta(milliseconds=one.time_msc - utc_msc(one.at)))
        times = {"open_time": iso(one.at), "open_time_broker": one.at.astimezone(zone).isoformat()}
        prices = {"open_price": entry, "current_price": price, "commission": one.commission}
        return {**common, "type": word, **prices, **rest, **times}
    prices = {"price_open": entry, "price_current": price}
    if shape.positions == "mixed":
        return {**common, "time": iso(one.at), "type": one.side, "type_str": word.upper(), **prices, **rest}
    msc = one.time_msc if shape.epoch == "server" else utc_msc(one.at)
    return {**common, "time": msc // 1000, "time_msc": msc, "type": one.side, **prices, **rest}


def page_v0(rows: Sequence[Document], root: str, total: int, limit: int, offset: int) -> Document:
    """Return a page of history."""
    paging = {"limit": limit, "offset": offset, "has_more": offset + limit < total}
    return {root: list(rows), "total" if root == "deals" else "total_trades": total, "pagination": paging}


def trade_row(trade: TrueTrade, terms: Terms) -> Document:
    """Return a closed trade as the ``trades`` list tells it: one row for entry and exit, the fee within the commission."""
    begun, ended = average(trade.opened), average(trade.closed)
    assert trade.close_time is not None and begun is not None and ended is not None  # noqa: PT018 - it is closed
    difference = ended - begun if trade.side == "buy" else begun - ended
    pips = round(difference.scaleb(terms.symbols[trade.symbol].digits - 1), 1)
    hours = Decimal((trade.close_time - trade.open_time).total_seconds()) / 3600
    return {
        "ticket": trade.position_id if trade.episode == 1 else trade.ticket, "symbol": trade.symbol,
        "type": trade.side, "volume": trade.volume,
        "open_price": begun, "close_price": ended, "open_time": iso(trade.open_time),
        "close_time": iso(trade.close_time), "profit": trade.profit, "swap": trade.swap,
        "commission": trade.commission + trade.fee, "net_profit": trade.net, "duration_hours": round(hours, 2), "pips": pips,
        "comment": trade.comment,
    }  # fmt: skip
