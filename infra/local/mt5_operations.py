"""The operations of the fake's broker: what each does to positions, which deals it writes, what it truly did.

Every operation takes ``at`` and may take ``dated_at`` (the time its deals carry) and ``appears_at`` (from when on history shows
them), ``ticket``, ``order``, ``comment``, ``magic``, ``reason``, ``external_id``, ``profit``, ``commission``, ``swap``, ``fee``.
What is not given is worked out: numbers in sequence, commission by lot, profit from the average entry price. A position is named
by its id or by the ``ref`` it was opened with. Numbers may be text, integers or Decimals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from infra.local import mt5_model as model
from infra.local.mt5_draft import Draft, number_of
from infra.local.mt5_model import BUY, HEDGING, INOUT, MONEY_FIELDS, OUT, OUT_BY, SELL, ZERO, Deal, Fact, Move, Position
from infra.local.mt5_truth import cash_kind

ANSWERING: Final = {BUY: SELL, SELL: BUY}


def settled(moves: Iterable[Move]) -> tuple[Decimal, Decimal]:
    """Return volume and running average price of a position.

    Raises ``ValueError`` where more went out than was in, or where nothing was left before the last move: what came then would
    have been another position.
    """
    volume = average = ZERO
    for number, (_, size, price) in enumerate(moves):
        if number and not volume:
            raise ValueError("other deals depend on it")
        if size > 0:
            average = (average * volume + price * size) / (volume + size)
        volume += size
        if volume < 0:
            raise ValueError("other deals depend on it")
    return volume, average


def _moved(position: Position, moves: tuple[Move, ...], draft: Draft, **values: Any) -> Position:
    volume, average = settled(moves)
    update_msc = draft.terms.clock.msc(draft.at)
    return replace(position, moves=moves, volume=volume, price_open=average, update_msc=update_msc, **values)


# --- positions --------------------------------------------------------------------------------------------------------


def _open(draft: Draft) -> int:
    given, symbol = draft.given, str(draft.given.get("symbol", ""))
    if symbol not in draft.terms.symbols:
        raise ValueError(f"unknown symbol {symbol!r}")
    if draft.terms.margin_mode != HEDGING and any(one.symbol == symbol for one in draft.book.positions.values()):
        raise ValueError(f"{symbol} is open already, and this account nets: scale_in, partial_close or reverse it")
    side, volume, price, order = given.side(), given.volume(), draft.price(symbol), draft.take_order()
    position_id = given.whole("position_id", order)
    if position_id in draft.book.positions or position_id in draft.book.ended:
        raise ValueError(f"position {position_id} exists")
    deal = draft.deal(
        order=order, position_id=position_id, type=side, symbol=symbol, volume=volume, price=price, **draft.costs(volume)
    )
    stops = {"stop_loss": given.number("sl", ZERO), "take_profit": given.number("tp", ZERO)}
    position = Position(
        position_id=position_id, ticket=position_id, symbol=symbol, side=side, at=deal.at, time_msc=deal.time_msc,
        update_msc=deal.time_msc, moves=((deal.ticket, volume, price),), volume=volume, price_open=price,
        commission=deal.commission, magic=deal.magic, comment=deal.comment, reason=deal.reason, **stops,
    )  # fmt: skip
    draft.put(position)
    if given.get("ref") is not None:
        draft.refs[str(given.get("ref"))] = position_id
    draft.fact("opened", deal, side=side, position_ticket=position_id)
    return position_id


def _scale_in(draft: Draft) -> int:
    position = draft.position()
    if draft.terms.margin_mode == HEDGING:
        raise ValueError("a hedging account opens a position of its own instead")
    volume, price = draft.given.volume(), draft.price(position.symbol)
    deal = draft.deal(
        order=draft.take_order(), position_id=position.position_id, type=position.side, symbol=position.symbol, volume=volume,
        price=price, **draft.costs(volume),
    )  # fmt: skip
    paid = position.commission + deal.commission
    draft.put(_moved(position, (*position.moves, (deal.ticket, volume, price)), draft, commission=paid))
    draft.fact("added", deal, side=position.side, position_ticket=position.ticket)
    return position.position_id


def _result(draft: Draft, position: Position, volume: Decimal, price: Decimal) -> dict[str, Decimal]:
    """What closing a part of a position brings: the profit against the average, and its share of the swap."""
    symbol = draft.terms.symbols[position.symbol]
    difference = price - position.price_open if position.side == BUY else position.price_open - price
    profit = difference * volume * symbol.contract_size * draft.terms.rate(symbol.currency_profit)
    share = position.swap if volume == position.volume else draft.terms.rounded(position.swap * volume / position.volume)
    return {"profit": draft.terms.rounded(profit), "swap": share}


def _reduce(draft: Draft, position: Position, volume: Decimal) -> int:
    price = draft.price(position.symbol)
    usual = _result(draft, position, volume, price)
    told = {name: draft.given.number(name, amount) for name, amount in usual.items()}
    deal = draft.deal(
        order=draft.take_order(), position_id=position.position_id, type=ANSWERING[position.side], entry=OUT,
        symbol=position.symbol, volume=volume, price=price, **told, **draft.costs(volume),
    )  # fmt: skip
    draft.put(_moved(position, (*position.moves, (deal.ticket, -volume, price)), draft, swap=position.swap - usual["swap"]))
    draft.fact("reduced", deal, side=position.side)
    return position.position_id


def _partial_close(draft: Draft) -> int:
    position, volume = draft.position(), draft.given.volume()
    if volume >= position.volume:
        raise ValueError("a partial close leaves something open")
    return _reduce(draft, position, volume)


def _close(draft: Draft) -> int:
    position = draft.position()
    return _reduce(draft, position, position.volume)


def _reverse(draft: Draft) -> int:
    position, volume = draft.position(), draft.given.volume()
    if draft.terms.margin_mode == HEDGING:
        raise ValueError("a hedging account never reverses a position")
    if volume <= position.volume:
        raise ValueError("a reversal takes more than is open")
    price, order = draft.price(position.symbol), draft.take_order()
    side, rest = ANSWERING[position.side], volume - position.volume
    told = {name: draft.given.number(name, one) for name, one in _result(draft, position, position.volume, price).items()}
    deal = draft.deal(
        order=order, position_id=position.position_id, type=side, entry=INOUT, symbol=position.symbol, volume=volume,
        price=price, **told, **draft.costs(volume),
    )  # fmt: skip
    turned = replace(position, ticket=order, side=side, at=deal.at, time_msc=deal.time_msc, swap=ZERO, commission=ZERO)
    draft.put(_moved(turned, ((deal.ticket, rest, price),), draft))
    draft.fact("reversed", deal, side=side, closes=position.volume, position_ticket=order)
    return position.position_id


def _close_by(draft: Draft) -> int:
    """Two deals under one order at the opposite's entry price; the whole result sits on the first, unless told otherwise."""
    position, other = draft.position(), draft.position("by")
    if position.symbol != other.symbol or position.side == other.side:
        raise ValueError("a position is closed by an opposite one of the same symbol")
    volume = draft.given.volume(default=min(position.volume, other.volume))
    if volume > min(position.volume, other.volume):
        raise ValueError("more than is open")
    price, order = draft.given.number("price", other.price_open), draft.take_order()
    bears = draft.given.get("result_on", "position")
    if bears not in ("position", "by"):
        raise ValueError("result_on is position or by")
    profit = draft.given.number("profit", _result(draft, position, volume, other.price_open)["profit"])
    for name, one in (("position", position), ("by", other)):
        swap = _result(draft, one, volume, price)["swap"]
        deal = draft.deal(
            order=order, position_id=one.position_id, type=ANSWERING[one.side], entry=OUT_BY, symbol=one.symbol, volume=volume,
            price=price, profit=profit if name == bears else ZERO, swap=swap,
        )  # fmt: skip
        draft.put(_moved(one, (*one.moves, (deal.ticket, -volume, price)), draft, swap=one.swap - swap))
        draft.fact("reduced", deal, side=one.side)
    return position.position_id


def _swap_reopen(draft: Draft) -> int:
    """The terminal's number of the position changes, its identifier does not; no deal is written."""
    position, ticket = draft.position(), draft.take_order()
    draft.put(_moved(position, position.moves, draft, ticket=ticket, swap=position.swap + draft.given.number("swap", ZERO)))
    fact = Fact(kind="renumbered", ticket=ticket, at=draft.at, position_id=position.position_id, position_ticket=ticket)
    draft.facts.append(fact)
    return position.position_id


def _modify(draft: Draft) -> int:
    """Set the stops of a position; no deal is written."""
    position = draft.position()
    stops = {
        "stop_loss": draft.given.number("sl", position.stop_loss),
        "take_profit": draft.given.number("tp", position.take_profit),
    }
    draft.put(_moved(position, position.moves, draft, **stops))
    return position.position_id


# --- cash and costs ---------------------------------------------------------------------------------------------------


def _cash(deal_type: int | None, sign: int = 0) -> Callable[[Draft], int]:
    def cash(draft: Draft) -> int:
        amount = draft.given.number("amount")
        if sign:
            amount = sign * draft.given.volume("amount")
        kind = draft.given.whole("type", -1) if deal_type is None else draft.given.whole("type", deal_type)
        if kind in (-1, BUY, SELL, model.BUY_CANCELED, model.SELL_CANCELED):
            raise ValueError("type is the number of a movement of money")
        draft.fact("cash", draft.deal(type=kind, profit=amount), cash_kind=cash_kind(kind, amount))
        return 0

    return cash


def _late_cost(draft: Draft) -> int:
    """A record without volume that names a position, open or closed."""
    wanted = draft.given.get("position")
    held = {**draft.book.ended, **draft.book.positions}
    position = held.get(draft.book.refs.get(str(wanted), -1)) or held.get(number_of(wanted))
    if position is None or not position.moves:
        raise ValueError(f"no position {wanted!r}")
    money = {name: draft.given.number(name, ZERO) for name in MONEY_FIELDS}
    side = ANSWERING[position.side]
    deal = draft.deal(position_id=position.position_id, type=side, symbol=position.symbol, **money)
    draft.fact("cost", deal, side=position.side)
    return position.position_id


# --- corrections ------------------------------------------------------------------------------------------------------


def _known(draft: Draft) -> Deal:
    ticket = draft.given.whole("deal", 0)
    if ticket not in draft.book.deals:
        raise ValueError(f"no deal {ticket}")
    if draft.book.deals[ticket].type in (model.BUY_CANCELED, model.SELL_CANCELED):
        raise ValueError(f"deal {ticket} is cancelled")
    return draft.book.deals[ticket]


def _holder(draft: Draft, deal: Deal) -> Position | None:
    """The position whose present life the deal is a move of."""
    position = draft.book.positions.get(deal.position_id) or draft.book.ended.get(deal.position_id)
    return position if position is not None and any(move[0] == deal.ticket for move in position.moves) else None


def _remade(draft: Draft, position: Position, moves: tuple[Move, ...]) -> None:
    made = _moved(position, moves, draft)
    others = (one for one in draft.book.positions.values() if one.position_id != position.position_id)
    if made.volume and draft.terms.margin_mode != HEDGING and any(one.symbol == made.symbol for one in others):
        raise ValueError(f"another position of {made.symbol} is open")
    draft.put(made)


def _edit_deal(draft: Draft) -> int:
    """Change figures of a deal; positions and balance follow, results of later deals do not."""
    deal = _known(draft)
    names = [name for name in (*MONEY_FIELDS, "price", "volume") if draft.given.get(name) is not None]
    changed: dict[str, Any] = {name: draft.given.number(name) for name in names}
    if draft.given.get("comment") is not None:
        changed["comment"] = str(draft.given.get("comment"))
    if not changed:
        raise ValueError("nothing to change")
    position = _holder(draft, deal)
    if "volume" in changed and (position is None or deal.entry == INOUT or changed["volume"] <= 0):
        raise ValueError("the volume of this deal cannot be changed")
    made = replace(deal, **changed)
    if position is not None:
        moves = tuple(
            (ticket, (size if deal.entry == INOUT else made.volume if size > 0 else -made.volume), made.price)
            if ticket == deal.ticket
            else (ticket, size, price)
            for ticket, size, price in position.moves
        )
        _remade(draft, position, moves)
    draft.deals.append(made)
    draft.facts.append(Fact(kind="edited", ticket=deal.ticket, at=draft.at, changed=changed))
    return deal.position_id


def _without(draft: Draft, deal: Deal) -> None:
    """Take the deal's volume out of its position, as if it had never been."""
    if deal.position_id and deal.volume:
        position = _holder(draft, deal)
        if position is None or deal.entry == INOUT:
            raise ValueError("other deals depend on it")
        moves = tuple(move for move in position.moves if move[0] != deal.ticket)
        named = [one for one in draft.book.deals.values() if one.position_id == deal.position_id and one is not deal]
        if not moves and named:
            raise ValueError("other deals depend on it")
        _remade(draft, position, moves)
    draft.facts.append(Fact(kind="deleted", ticket=deal.ticket, at=draft.at))


def _delete_deal(draft: Draft) -> int:
    deal = _known(draft)
    _without(draft, deal)
    draft.removed.append(deal.ticket)
    return deal.position_id


def _cancel_deal(draft: Draft) -> int:
    """The deal stays, with another type and no money."""
    deal = _known(draft)
    cancelled = {BUY: model.BUY_CANCELED, SELL: model.SELL_CANCELED}
    if deal.type not in cancelled:
        raise ValueError("only a purchase or a sale can be cancelled")
    _without(draft, deal)
    draft.deals.append(replace(deal, type=cancelled[deal.type], profit=ZERO, commission=ZERO, swap=ZERO, fee=ZERO))
    return deal.position_id


OPERATIONS: Final[Mapping[str, Callable[[Draft], int]]] = {
    "open": _open,
    "scale_in": _scale_in,
    "partial_close": _partial_close,
    "close": _close,
    "reverse": _reverse,
    "close_by": _close_by,
    "swap_reopen": _swap_reopen,
    "modify": _modify,
    "deposit": _cash(model.BALANCE, 1),
    "withdraw": _cash(model.BALANCE, -1),
    "credit": _cash(model.CREDIT),
    "charge": _cash(model.CHARGE),
    "monthly_commission": _cash(model.COMMISSION_MONTHLY),
    "cash": _cash(None),
    "late_cost": _late_cost,
    "edit_deal": _edit_deal,
    "delete_deal": _delete_deal,
    "cancel_deal": _cancel_deal,
}
