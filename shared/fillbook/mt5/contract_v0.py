"""The documented three-endpoint service, read tolerantly in its known spellings and in no other. Source: section 3.2.

One meaning may be spelled in several ways; where two spellings stand side by side they must agree. Times with a zone are
instants, epochs count the server clock or UTC by the instance's setting; all become server time. Counters beside a list, and
the last page, prove that it is whole. What the service tells in pairs (entry and exit in one row) stays a pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, Final

from fillbook.mt5 import contract, faults, server_time
from fillbook.mt5.contract import COUNT_MAX, Asked, distinct, health_of, incomplete
from fillbook.mt5.deal_rows import deal_of
from fillbook.mt5.faults import CallFailed, ContractError
from fillbook.mt5.model import Deal, DealPage, Head, Health, Info, OpenPosition, PairedTrade
from fillbook.mt5.reading import (
    MSC_MAX,
    SMALL_MAX,
    Row,
    agreed,
    amount,
    amount_or_none,
    choice,
    each,
    extra,
    flag,
    instant,
    not_negative,
    objects,
    parse,
    part,
    remark,
    required,
    set_or_none,
    text,
    text_or_none,
    whole,
    whole_or_none,
)
from fillbook.mt5.words import Code, ContractKind, EpochClock, TradeSide
from fillbook.values import frozen

CACHE_SECONDS_UNSAID: Final = 300
"""The age of what is *cached* without saying for how long: the most the service documents."""
CACHE_SECONDS_MAX: Final = 100 * 365 * 86_400
_SIDES: Final[Mapping[str, Mapping[Any, TradeSide]]] = {
    "type": {**contract.SIDES, **{side.value: side for side in TradeSide}},
    "type_str": {spelling: side for side in TradeSide for spelling in (side.value, side.value.upper())},
}
_SECOND_MS: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_POSITION_COUNTERS: Final = ("total_positions", "positions_count", "total")
_DEAL_COUNTERS: Final = ("total", "total_deals")
_TRADE_COUNTERS: Final = ("total_trades", "total")
_POSITION_FIELDS: Final = frozenset(
    "ticket identifier open_time time time_msc time_update time_update_msc type type_str volume open_price price_open"
    " current_price price_current sl tp swap profit symbol comment magic reason".split()
)


@frozen
class InfoAnswer:
    """An account's money, and how many positions the service counts beside it (None: it does not say)."""

    head: Head
    info: Info
    positions_count: int | None


@frozen
class PositionsAnswer:
    """The open positions."""

    head: Head
    positions: tuple[OpenPosition, ...]


def read_health(body: bytes) -> Health:
    """An instance about itself."""
    root = parse(body)
    _check_success(root)
    return health_of(root, ContractKind.V0)


def read_info(body: bytes, asked: Asked) -> InfoAnswer:
    """``{"data": {…}}`` or ``{"account_info": {…}}``."""
    root = parse(body)
    _check_success(root)
    names = [name for name in ("data", "account_info") if name in root]
    if len(names) != 1:
        raise _unknown(root)
    told = part(root, names[0])
    margin = not_negative(told, "margin")
    info = Info(
        balance=amount(told, "balance"),
        equity=amount(told, "equity"),
        margin=margin,
        margin_free=required("free_margin", _either(told, "free_margin", "margin_free")),
        margin_level=contract.margin_level_of(told, margin),
        credit=amount(told, "credit"),
        profit=amount(told, "profit"),
        leverage=whole_or_none(told, "leverage", most=COUNT_MAX),
        currency=text_or_none(told, "currency"),
        currency_digits=whole_or_none(told, "currency_digits", most=contract.DIGITS_MAX),
        margin_mode=None if told.get("margin_mode") is None else choice(told, "margin_mode", contract.MARGIN_MODES),
    )
    count = whole_or_none(told, "positions_count", most=COUNT_MAX)
    return InfoAnswer(head=_head(root, asked, told), info=info, positions_count=count)


def read_positions(body: bytes, asked: Asked) -> PositionsAnswer:
    """``{"positions": […]}``, whole by its counters."""
    root = parse(body)
    _check_success(root)
    if "positions" not in root:
        raise _unknown(root)
    told = each(objects(root, "positions"), "positions", lambda row: _position(row, asked))
    positions = distinct(told, "positions", lambda position: position.position_id)
    for name in _POSITION_COUNTERS:
        if root.get(name) is not None and whole(root, name, most=COUNT_MAX) not in (len(positions), len(told)):
            raise incomplete(name)
    return PositionsAnswer(head=_head(root, asked), positions=positions)


def check_count(info: InfoAnswer, answer: PositionsAnswer) -> None:
    """Raise ``incomplete`` where info counts other positions than the list holds.

    Of different moments (one of them cached) only a list that is shorter objects: what is missing must not look closed.
    """
    if info.positions_count is None:
        return
    is_one_moment = not info.head.cache_age_ms and not answer.head.cache_age_ms
    found = len(answer.positions)
    if found < info.positions_count or (is_one_moment and found != info.positions_count):
        raise incomplete("positions_count")


def read_history(body: bytes, asked: Asked, *, limit: int, offset: int, total_before: int | None = None) -> DealPage:
    """One page of ``deals`` (as they are) or ``trades`` (pairs); ``next_cursor`` is for ``place_of``.

    ``total_before``: the counter of the pages before; another one now is ``page_drift``.
    """
    root = parse(body)
    _check_success(root)
    name = "deals" if "deals" in root else "trades"
    if name not in root:
        raise _unknown(root)
    rows = objects(root, name)
    deals: tuple[Deal, ...] = ()
    paired: tuple[PairedTrade, ...] = ()
    if name == "deals":
        told = each(rows, name, lambda row: deal_of(row, _moment(row, ("time",), "time_msc", asked)))
        deals = distinct(told, name, lambda deal: deal.deal_ticket)
    else:
        pairs = each(rows, name, lambda row: _pair(row, asked))
        paired = distinct(pairs, name, lambda trade: trade.ticket)
    total = _total(root, _DEAL_COUNTERS if name == "deals" else _TRADE_COUNTERS)
    found, raw = len(deals) + len(paired), len(rows)
    if total_before is not None and total != total_before:
        raise ContractError("total", Code.PAGE_DRIFT)
    is_last = _is_last(root, limit=limit, offset=offset, raw=raw, total=total)
    if found != raw and not (offset == 0 and is_last):
        raise ContractError(name, Code.PAGE_DRIFT)
    if is_last and total not in (None, offset + found, offset + raw):
        raise incomplete("total")
    cursor = None if is_last else f"{offset + raw}/{'' if total is None else total}"
    return DealPage(head=_head(root, asked), deals=deals, paired=paired, is_paired=name == "trades", next_cursor=cursor)


def place_of(cursor: str | None) -> tuple[int, int | None]:
    """Offset and counter of a cursor that ``read_history`` made; raises ``ContractError`` for another text."""
    if cursor is None:
        return 0, None
    offset, _, total = cursor.partition("/")
    named = {"cursor": offset, "total": total or None}
    return whole(named, "cursor", most=COUNT_MAX), whole_or_none(named, "total", most=COUNT_MAX)


# --- the frame of an answer -------------------------------------------------------------------------------------------


def _check_success(root: Row) -> None:
    if root.get("success") is None or flag(root, "success"):
        return
    told = faults.of_document(root)
    raise CallFailed(told) if told is not None and told.has_code else incomplete("success")


def _unknown(root: Row) -> CallFailed:
    """No root that we know: an error body with a code of ours, else a contract error."""
    told = faults.of_document(root)
    return CallFailed(told) if told is not None and told.has_code else ContractError("no known root")


def _head(root: Row, asked: Asked, inner: Row | None = None) -> Head:
    """Who and when. Without ``timestamp`` the answer is taken to be as old as the question."""
    places: Sequence[Row] = (root,) if inner is None else (root, inner)
    at = asked.at if root.get("timestamp") is None else instant(root, "timestamp")
    logins = {whole(place, "login", least=1) for place in places if place.get("login") is not None}
    servers = {text(place, "server") for place in places if place.get("server") is not None}
    if len(logins) > 1 or len(servers) > 1:
        raise ContractError("login", Code.IDENTITY_MISMATCH)
    return Head(
        login=next(iter(logins), None),
        server=next(iter(servers), None),
        server_time_msc=None if asked.rule is None else server_time.to_server(asked.rule, at),
        as_of=at,
        cache_age_ms=_cache_age_ms(root),
    )


def _cache_age_ms(root: Row) -> int:
    is_cached = root.get("cached") is not None and flag(root, "cached")
    age = amount_or_none(root, "cache_age_seconds")
    if age is None:
        return CACHE_SECONDS_UNSAID * _SECOND_MS if is_cached else 0
    if not 0 <= age <= CACHE_SECONDS_MAX:
        raise ContractError("cache_age_seconds")
    return ceil(age * _SECOND_MS)


def _total(root: Row, names: Sequence[str]) -> int | None:
    return agreed("total", *(whole_or_none(root, name, most=COUNT_MAX) for name in names))


def _is_last(root: Row, *, limit: int, offset: int, raw: int, total: int | None) -> bool:
    """Whether no page follows; raises when the service contradicts itself, or answers another page than was asked."""
    read = offset + raw
    if root.get("pagination") is None:
        is_last = raw < limit if total is None else read >= total
    else:
        pages = part(root, "pagination")
        if whole_or_none(pages, "offset", most=COUNT_MAX) not in (None, offset):
            raise ContractError("pagination.offset")
        whole_or_none(pages, "limit", most=COUNT_MAX)
        is_last = not flag(pages, "has_more")
    if not is_last and (raw == 0 or (total is not None and read >= total)):
        raise incomplete("pagination")
    return is_last


# --- rows -------------------------------------------------------------------------------------------------------------


def _position(row: Row, asked: Asked) -> OpenPosition:
    ticket = whole(row, "ticket", least=1)
    identifier = whole_or_none(row, "identifier", least=1)
    return OpenPosition(
        ticket=ticket,
        position_id=ticket if identifier is None else identifier,
        time_msc=_moment(row, ("open_time", "time"), "time_msc", asked),
        side=_side(row),
        volume=contract.volume_of(row),
        price_open=required("open_price", _either(row, "open_price", "price_open")),
        price_current=required("current_price", _either(row, "current_price", "price_current")) or None,
        stop_loss=set_or_none(row, "sl"),
        take_profit=set_or_none(row, "tp"),
        swap=amount(row, "swap"),
        profit=amount(row, "profit"),
        symbol=text(row, "symbol"),
        comment=remark(row, "comment"),
        magic=contract.magic_of(row),
        reason=whole_or_none(row, "reason", most=SMALL_MAX),
        extra=extra(row, _POSITION_FIELDS),
    )


def _pair(row: Row, asked: Asked) -> PairedTrade:
    opened, closed = _moment(row, ("open_time",), None, asked), _moment(row, ("close_time",), None, asked)
    if closed < opened:
        raise ContractError("close_time")
    return PairedTrade(
        ticket=whole(row, "ticket", least=1),
        symbol=text(row, "symbol"),
        side=_side(row),
        volume=contract.volume_of(row),
        open_price=amount(row, "open_price"),
        close_price=amount(row, "close_price"),
        open_msc=opened,
        close_msc=closed,
        profit=amount(row, "profit"),
        swap=amount(row, "swap"),
        commission=amount(row, "commission"),
        comment=remark(row, "comment"),
        magic=contract.magic_of(row),
    )


def _side(row: Row) -> TradeSide:
    found = [choice(row, name, table) for name, table in _SIDES.items() if row.get(name) is not None]
    return required("type", agreed("type", *found))


def _either(row: Row, first: str, second: str) -> Any:
    return agreed(first, amount_or_none(row, first), amount_or_none(row, second))


def _moment(row: Row, names: Sequence[str], name_msc: str | None, asked: Asked) -> int:
    """A server time in one of its spellings, milliseconds first. Others beside it must name the same second."""
    found = []
    if name_msc is not None and row.get(name_msc) is not None:
        found.append(_on_server(whole(row, name_msc, most=MSC_MAX), asked))
    for name in names:
        value = row.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            found.append(_on_server(whole(row, name, most=MSC_MAX // _SECOND_MS) * _SECOND_MS, asked))
        elif value is not None:
            found.append(_server_time(instant(row, name), asked))
    agreed(names[0], *(msc // _SECOND_MS for msc in found))
    return required(names[0], found[0] if found else None)


def _on_server(epoch_msc: int, asked: Asked) -> int:
    """An epoch of the service, on the server clock."""
    if asked.epoch_clock is EpochClock.SERVER:
        return epoch_msc
    return _server_time(_EPOCH + epoch_msc * _MILLISECOND, asked)


def _server_time(at: datetime, asked: Asked) -> int:
    if asked.rule is None:
        raise ContractError("the server's clock rule is not known")
    return server_time.to_server(asked.rule, at)
