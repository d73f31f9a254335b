"""Episodes -> Fills: what the ledger is told of each deal, and of what it was told before that no longer holds.

One fill per deal; a reversing deal gives two, ``<ticket>`` (the close) and ``<ticket>#2`` (the open), and so does a paired
trade. A cost without volume belongs to the last fill before it. The broker said what opens and what closes, so no fill is
``auto``; a reversal whose running volume is not fully known is held back, because it cannot be split.

A revision is the deal's plus one for each cost record attached. That alone is not enough: late deals move a cost to another
fill, split a reversal anew, change an average. So ``telling`` compares with what the ledger holds and counts on from there;
equal content is never told again, and any order of arrival ends in the same book. Source: mt5 specification, 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from operator import attrgetter
from typing import Any, Final

from fillbook.ledger.ids import fill_id
from fillbook.ledger.model import Direction, Fill, LotPick, Side
from fillbook.ledger.words import UNKNOWN_CURRENCY
from fillbook.money import CONTEXT, ONE, RATE_STEP, ZERO, NumberError, quantize, to_money, to_price, to_quantity
from fillbook.mt5.deals import Effect, Stored, side_of
from fillbook.mt5.episodes import Episode, Leg, ToUtc
from fillbook.mt5.model import PairedTrade, SymbolFacts
from fillbook.mt5.symbols import normalized
from fillbook.mt5.windows import day_of
from fillbook.mt5.words import Entry, TradeSide
from fillbook.values import frozen

SOURCE: Final = "mt5"
REASON: Final = "broker_execution"
HISTORY_AFTER: Final = timedelta(days=3)
_TICKET_DIGITS: Final = 20
_TICKER_MAX: Final = 64
_FEES: Final = frozenset({"fees", "fees_currency", "fees_rate"})
_MAY_BECOME_KNOWN: Final = frozenset({"multiplier", "currency", "fx_rate", *_FEES})
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
    "direction",
    "lot_ref",
    "lot_picks",
    "cash_style",
    "executed_at",
    "venue_order",
    "session_date",
)
_ECONOMY: Final = attrgetter(*_ECONOMIC)


@frozen
class Terms:
    """What of an account every fill needs. ``symbols``: what is known, by raw name; ``currency``: the account's."""

    server: str
    login: int
    currency: str
    is_hedging: bool
    symbols: Mapping[str, SymbolFacts]

    @property
    def account_key(self) -> str:
        """The ledger's name of the account."""
        return f"{self.server}:{self.login}"


@frozen(kw_only=False)
class Wanted:
    """The fills of one position as they should stand in the book, and the episodes a part of which is held back."""

    fills: tuple[Fill, ...]
    held: frozenset[int] = frozenset()


def wanted(terms: Terms, lives: Iterable[Episode]) -> Wanted:
    """What the book should hold of a position. A fill's revision counts its deal's and those of its cost records."""
    fills: list[Fill] = []
    held: set[int] = set()
    with localcontext(CONTEXT):
        for life in lives:
            for leg, costs in _moving(life):
                if leg.is_certain:
                    fills.append(_fill(terms, life, leg, costs))
                else:
                    held.add(life.number)
    return Wanted(tuple(fills), frozenset(held))


def wanted_of_pair(terms: Terms, pair: PairedTrade, to_utc: ToUtc, first_read_at: datetime) -> Wanted:
    """The two fills of a paired trade: the open at its opening, the close with all its costs."""
    with localcontext(CONTEXT):
        opened = _of_pair(terms, pair, to_utc(pair.open_msc, pair.ticket), first_read_at, closes=False)
        closed = _of_pair(terms, pair, to_utc(pair.close_msc, pair.ticket), first_read_at, closes=True)
    return Wanted((opened, closed))


def fill_ids(terms: Terms, tickets: Iterable[int], parts: Sequence[int] = (1, 2)) -> tuple[str, ...]:
    """The ids under which the ledger may hold fills of these tickets, whatever they once were."""
    key = terms.account_key
    return tuple(fill_id(SOURCE, key, source_id(ticket, part)) for ticket in tickets for part in parts)


def ids_of(terms: Terms, deals: Iterable[Stored]) -> tuple[str, ...]:
    """The ids under which the ledger may hold fills of deals: a second one only where a deal has or may have had two parts.

    Those are reversals, deals that were something else before, and tickets that a paired trade may have had for its key.
    """
    ids: list[str] = []
    for one in deals:
        deal = one.deal
        has_two = deal.entry == Entry.INOUT or one.revision > 1 or deal.deal_ticket == deal.position_id
        ids += fill_ids(terms, (deal.deal_ticket,), (1, 2) if has_two else (1,))
    return tuple(ids)


def source_id(ticket: int, part: int) -> str:
    """The identity of a fact: ``part`` 2 is the opening half of a reversal or of a pair."""
    return str(ticket) if part == 1 else f"{ticket}#2"


def telling(fills: Sequence[Fill], known: Mapping[str, Fill], revisions: Mapping[str, int] | None = None) -> tuple[Fill, ...]:
    """What to hand to the ledger, in booking order.

    ``known``: the ledger's current fill under each id of ``fill_ids`` for all deals of the positions told, withdrawn and
    cancelled ones too. One that is no longer wanted is busted. ``revisions``: deal revision by ``source_id``, for busts.
    """
    told = [fill for fill in (_told(fill, known.get(fill.fill_id)) for fill in fills) if fill is not None]
    kept = {fill.fill_id for fill in fills}
    for identity, fill in known.items():
        if identity not in kept and not fill.is_bust:
            revision = max(fill.source_revision, (revisions or {}).get(fill.source_id, 1))
            told.append(replace(fill, source_revision=revision, is_bust=True, cause="bust"))
    return tuple(sorted(told, key=lambda fill: (fill.executed_at, fill.venue_order, fill.source_id)))


def _told(fill: Fill, known: Fill | None) -> Fill | None:
    """The fill with the revision and cause under which the ledger takes it; None when it holds the same."""
    if known is None:
        return fill
    now, before = _ECONOMY(fill), _ECONOMY(known)
    changed = set() if now == before else {name for name, new, old in zip(_ECONOMIC, now, before, strict=True) if new != old}
    if known.is_bust:
        return replace(fill, source_revision=max(fill.source_revision, known.source_revision + 1), cause="revision")
    if not changed and fill.meta.get("episode") == known.meta.get("episode"):
        return None
    if changed and changed <= _MAY_BECOME_KNOWN and all(_was_unknown(known, name) for name in changed):
        return replace(fill, source_revision=known.source_revision, cause=known.cause)
    cause = "commission" if changed and changed <= _FEES else "revision"
    return replace(fill, source_revision=max(fill.source_revision, known.source_revision + 1), cause=cause)


def _was_unknown(known: Fill, name: str) -> bool:
    value = getattr(known, name)
    return value == UNKNOWN_CURRENCY if name == "currency" else value is None


def _moving(life: Episode) -> Iterator[tuple[Leg, list[Leg]]]:
    """Each leg that moves volume, with the costs attached to it: those after it, the first one's also before."""
    current: Leg | None = None
    costs: list[Leg] = []
    for leg in life.legs:
        if leg.effect is Effect.COSTS:
            costs.append(leg)
            continue
        if current is not None:
            yield current, costs
            costs = []
        current = leg
    if current is not None:
        yield current, costs


def _fill(terms: Terms, life: Episode, leg: Leg, costs: Sequence[Leg]) -> Fill:
    deal, opens = leg.deal, leg.effect is Effect.OPENS
    amount = leg.commission + leg.swap + leg.fee + (leg.profit if opens else ZERO) + sum((cost.net for cost in costs), ZERO)
    attached = sum(cost.stored.revision for cost in costs)
    revision = leg.stored.revision + attached
    return Fill(
        source_id=source_id(deal.deal_ticket, leg.part),
        source_revision=revision,
        side=_SIDES[side_of(deal)],
        price=to_price(deal.price),
        fx_rate=_fx_rate(terms, life, leg),
        fees=to_money(-amount),
        executed_at=leg.at,
        venue_order=_venue_order(deal.deal_ticket, leg.part),
        session_date=day_of(deal.time_msc),
        meta={
            "position_id": str(life.position_id),
            "episode": life.number,
            "order": str(deal.order_id),
            "magic": None if deal.magic is None else str(deal.magic),
            "reason": deal.reason,
        },
        origin=_origin(leg.at, leg.stored.first_read_at),
        cause="commission" if attached else "revision" if revision > 1 else "first",
        received_at=leg.stored.first_read_at,
        **_common(terms, deal.symbol, life.side, life.position_id, to_quantity(leg.volume), opens=opens),
    )


def _of_pair(terms: Terms, pair: PairedTrade, at: datetime, first_read_at: datetime, *, closes: bool) -> Fill:
    side = _SIDES[pair.side]
    costs = pair.commission + pair.swap if closes else ZERO
    return Fill(
        source_id=source_id(pair.ticket, 1 if closes else 2),
        side=side if not closes else Side.SELL if side is Side.BUY else Side.BUY,
        price=to_price(pair.close_price if closes else pair.open_price),
        fx_rate=_implied(terms, pair.symbol, pair.side, pair.profit, pair.open_price, pair.close_price, pair.volume)
        if closes
        else _same_currency(terms, pair.symbol),
        fees=to_money(-costs),
        executed_at=at,
        venue_order=_venue_order(pair.ticket, 2 if closes else 1),
        session_date=day_of(pair.close_msc if closes else pair.open_msc),
        meta={"position_id": str(pair.ticket), "episode": 1, "magic": None if pair.magic is None else str(pair.magic)},
        origin=_origin(at, first_read_at),
        received_at=first_read_at,
        **_common(terms, pair.symbol, pair.side, pair.ticket, to_quantity(pair.volume), opens=not closes),
    )


def _common(terms: Terms, symbol: str, side: TradeSide, position_id: int, quantity: Decimal, *, opens: bool) -> dict[str, Any]:
    """The columns that any fill of the room has in the same way; money is unknown while the contract size is."""
    facts = terms.symbols.get(symbol)
    is_known = facts is not None and facts.contract_size is not None and facts.currency_profit is not None
    lot = str(position_id)
    return {
        "source": SOURCE,
        "account_key": terms.account_key,
        "instrument": instrument_of(terms.server, symbol),
        "ticker": normalized(symbol)[:_TICKER_MAX],
        "contract_name": symbol,
        "quantity": quantity,
        "multiplier": facts.contract_size if facts is not None and is_known else None,
        "currency": facts.currency_profit if facts is not None and is_known else UNKNOWN_CURRENCY,
        "fees_currency": terms.currency,
        "fees_rate": ONE,
        "position_effect": "open" if opens else "close",
        "direction": Direction.LONG if side is TradeSide.BUY else Direction.SHORT,
        "lot_ref": lot if terms.is_hedging and opens else None,
        "lot_picks": (LotPick(lot=lot, quantity=quantity),) if terms.is_hedging and not opens else None,
        "cash_style": "margin",
        "reason": REASON,
    }


def instrument_of(server: str, symbol: str) -> str:
    """The ledger's key of a server's symbol, raw: two brokers' contracts of one name may differ."""
    return f"mt5:{server}:{symbol}"


def _fx_rate(terms: Terms, life: Episode, leg: Leg) -> Decimal | None:
    deal = leg.deal
    if leg.effect is Effect.OPENS or leg.average is None:
        return _same_currency(terms, deal.symbol)
    return _implied(terms, deal.symbol, life.side, leg.profit, leg.average, deal.price, leg.volume)


def _same_currency(terms: Terms, symbol: str) -> Decimal | None:
    facts = terms.symbols.get(symbol)
    return ONE if facts is not None and facts.currency_profit == terms.currency else None


def _implied(
    terms: Terms, symbol: str, side: TradeSide, profit: Decimal, entry: Decimal, exit_price: Decimal, volume: Decimal
) -> Decimal | None:
    """Account currency per profit currency as the broker's own result implies it; None where the price did not move."""
    facts = terms.symbols.get(symbol)
    if facts is None or facts.contract_size is None or facts.currency_profit is None:
        return None
    if facts.currency_profit == terms.currency:
        return ONE
    gain = (exit_price - entry if side is TradeSide.BUY else entry - exit_price) * volume * facts.contract_size
    try:
        rate = quantize(profit / gain, RATE_STEP) if gain else ZERO
    except NumberError:
        return None
    return rate if rate > 0 else None


def _venue_order(ticket: int, part: int) -> str:
    return f"{ticket:0{_TICKET_DIGITS}d}.{part}"


def _origin(executed_at: datetime, first_read_at: datetime) -> str:
    return "history" if first_read_at - executed_at > HISTORY_AFTER else "live"


def revisions_of(deals: Iterable[Stored]) -> dict[str, int]:
    """Deal revision by ``source_id``, of both parts."""
    return {source_id(one.deal.deal_ticket, part): one.revision for one in deals for part in (1, 2)}


_SIDES: Final[Mapping[TradeSide, Side]] = {TradeSide.BUY: Side.BUY, TradeSide.SELL: Side.SELL}
