"""Generated states of an account, and every documented answer that says one of them, with what it must be read as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from fillbook.mt5 import contract_v0, contract_v1, server_time
from fillbook.mt5.model import Deal, DealPage, Info, OpenPosition, PairedTrade
from fillbook.mt5.words import ID_MAX, TradeSide
from fillbook.values import frozen
from tests.support.mt5_shapes import (
    ASKED,
    ASKED_UTC,
    EPOCH,
    NOW_MSC,
    RULE,
    deal,
    deals_v1,
    history_v0,
    info,
    infos_v0,
    position,
    positions_v0,
    read_v0_history,
    read_v1_deals,
    snapshot_v1,
)

IDS = st.integers(1, ID_MAX)
AMOUNTS = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places), st.integers(-(10**15 - 1), 10**15 - 1), st.integers(0, 8)
)
SIZES = st.builds(lambda digits, places: Decimal(digits).scaleb(-places), st.integers(1, 10**9), st.integers(0, 8))
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00\x1f"), max_size=12)
# times that both clocks can say: this year's spring and summer, in whole seconds
TIMES = st.integers(0, 30 * 86_400).map(lambda seconds: NOW_MSC - seconds * 1000)


def _position(ticket: int, **drawn: Any) -> OpenPosition:
    return position(1, ticket=ticket, position_id=ticket, **drawn)


INFOS = st.builds(
    lambda margin, level, **drawn: info(margin=margin, margin_level=level if margin else None, **drawn),
    margin=SIZES | st.just(Decimal(0)), level=SIZES,
    balance=AMOUNTS, equity=AMOUNTS, margin_free=AMOUNTS, credit=AMOUNTS, profit=AMOUNTS,
    leverage=st.integers(1, 5000), margin_mode=st.integers(0, 2),
)  # fmt: skip
POSITIONS = st.lists(
    st.builds(
        _position, ticket=IDS, time_msc=TIMES, side=st.sampled_from(TradeSide), volume=SIZES, price_open=AMOUNTS,
        price_current=SIZES | st.none(), stop_loss=SIZES | st.none(), take_profit=SIZES | st.none(), swap=AMOUNTS, profit=AMOUNTS,
        symbol=TEXTS.filter(bool), comment=TEXTS, magic=st.integers(-(2**63), ID_MAX),
    ),
    max_size=3, unique_by=lambda one: one.ticket,
).map(tuple)  # fmt: skip
DEALS = st.lists(
    st.builds(
        lambda **drawn: deal(1, **drawn), deal_ticket=IDS, order_id=st.integers(0, ID_MAX), position_id=st.integers(0, ID_MAX),
        time_msc=TIMES, deal_type=st.integers(0, 40), entry=st.integers(0, 3), symbol=TEXTS, volume=SIZES | st.just(Decimal(0)),
        price=AMOUNTS, profit=AMOUNTS, commission=AMOUNTS, swap=AMOUNTS, fee=AMOUNTS, comment=TEXTS,
    ),
    max_size=3, unique_by=lambda one: one.deal_ticket,
).map(tuple)  # fmt: skip
PAIRS = st.lists(
    st.builds(
        lambda opened, after, **drawn: PairedTrade(open_msc=opened - after * 1000, close_msc=opened, **drawn),
        opened=TIMES, after=st.integers(0, 86_400), ticket=IDS, symbol=TEXTS.filter(bool), side=st.sampled_from(TradeSide),
        volume=SIZES, open_price=AMOUNTS, close_price=AMOUNTS, profit=AMOUNTS, swap=AMOUNTS, commission=AMOUNTS, comment=TEXTS,
        magic=st.integers(-(2**63), ID_MAX),
    ),
    max_size=3, unique_by=lambda one: one.ticket,
).map(tuple)  # fmt: skip


@frozen(kw_only=False)
class Answer:
    """A document, how its bytes are read, the value that must come of it. ``rows``: its list; ``counters``: what counts that."""

    name: str
    document: Mapping[str, Any]
    read: Callable[[bytes], Any]
    truth: Any
    counters: tuple[str, ...] = ()
    rows: str | None = None


Write = Callable[[Decimal], Any]
WRITERS: tuple[Write, ...] = (str, lambda number: number)


def info_answers(money: Info, write: Write) -> list[Answer]:
    """Every documented shape of an account's money."""
    told = [Answer("v1 info", snapshot_v1(money, (), write), lambda body: contract_v1.read_snapshot(body).info, money)]
    for number, document in enumerate(infos_v0(money, 0)):
        told.append(Answer(f"v0 info {number}", document, lambda body: contract_v0.read_info(body, ASKED).info, money))
    return told


def position_answers(positions: tuple[OpenPosition, ...], write: Write) -> list[Answer]:
    """Every documented shape of the open positions."""
    snapshot = snapshot_v1(info(), positions, write)
    told = [Answer("v1 positions", snapshot, lambda body: contract_v1.read_snapshot(body).positions, positions)]
    for number, (document, asked) in enumerate(positions_v0(positions)):
        counters = tuple(name for name in ("total_positions", "positions_count") if name in document)
        told.append(Answer(f"v0 positions {number}", document, _positions_reader(asked), positions, counters, "positions"))
    return told


def deal_answers(deals: tuple[Deal, ...], write: Write) -> list[Answer]:
    """Every documented shape of a history of deals."""
    told = [Answer("v1 deals", deals_v1(deals, write), lambda body: _whole(read_v1_deals(body)), deals, ("total",), "deals")]
    for number, (document, asked) in enumerate(history_v0(deals)):
        counters = tuple(name for name in ("total", "total_deals") if name in document)
        told.append(Answer(f"v0 deals {number}", document, _history_reader(asked), deals, counters, "deals"))
    return told


def pair_answers(pairs: tuple[PairedTrade, ...], _: Write) -> list[Answer]:
    """Every documented shape of a history of paired trades."""
    told = []
    for number, (document, asked) in enumerate(trades_v0(pairs)):
        counters = tuple(name for name in ("total", "total_trades") if name in document)
        told.append(Answer(f"v0 trades {number}", document, _history_reader(asked), pairs, counters, "trades"))
    return told


def trades_v0(pairs: tuple[PairedTrade, ...]) -> list[tuple[dict[str, Any], Any]]:
    """Paired trades with times as instants, as epochs of the server clock, and of UTC."""
    iso, server, utc = [], [], []
    for one in pairs:
        same = {
            "ticket": one.ticket, "symbol": one.symbol, "volume": one.volume, "open_price": one.open_price,
            "close_price": one.close_price, "profit": one.profit, "swap": one.swap, "commission": one.commission,
            "comment": one.comment, "magic": one.magic,
        }  # fmt: skip
        times = {"open_time": one.open_msc, "close_time": one.close_msc}
        instants = {name: server_time.to_utc(RULE, msc) for name, msc in times.items()}
        side = 0 if one.side is TradeSide.BUY else 1
        iso.append({**same, "type": one.side.value, **{name: f"{at:%Y-%m-%dT%H:%M:%SZ}" for name, at in instants.items()}})
        server.append({**same, "type": side, **{name: msc // 1000 for name, msc in times.items()}})
        seconds = {name: int((at - EPOCH).total_seconds()) for name, at in instants.items()}
        utc.append({**same, "type_str": one.side.value.upper(), **seconds})
    return [
        ({"success": True, "trades": iso, "total_trades": len(pairs), "total_profit": Decimal("1.5")}, ASKED),
        ({"trades": server, "total": len(pairs)}, ASKED),
        ({"success": True, "trades": utc, "total_trades": len(pairs)}, ASKED_UTC),
    ]


def _positions_reader(asked: Any) -> Callable[[bytes], Any]:
    return lambda body: contract_v0.read_positions(body, asked).positions


def _history_reader(asked: Any) -> Callable[[bytes], Any]:
    return lambda body: _whole(read_v0_history(body, asked))


def _whole(page: DealPage) -> tuple[Deal, ...] | tuple[PairedTrade, ...] | None:
    """What a history holds; None: the page says that another follows, which is then asked for."""
    if page.next_cursor is not None:
        return None
    return page.paired if page.is_paired else page.deals


_GROUPS: tuple[tuple[Any, Any], ...] = (
    (INFOS, info_answers), (POSITIONS, position_answers), (DEALS, deal_answers), (PAIRS, pair_answers),
)  # fmt: skip
STATES_OF = [st.builds(made, states, st.sampled_from(WRITERS)) for states, made in _GROUPS]
STATES = st.one_of(STATES_OF)
"""All shapes of one state."""
ANSWERS = STATES.flatmap(st.sampled_from)
"""One of them."""
COUNTED = st.one_of(STATES_OF[1:]).map(lambda told: [one for one in told if one.counters]).flatmap(st.sampled_from)
"""One whose list is counted."""
LISTED = st.one_of(STATES_OF[1:]).filter(lambda told: bool(told[0].truth)).flatmap(st.sampled_from)
"""One whose list has rows."""
