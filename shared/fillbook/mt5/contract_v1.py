"""Contract ``mt5/1``, read strictly: health, snapshot, deals, symbols. The document is infra/docs/mt5-contract.md.

Every answer about an account says who it is about, when it was true and whether it is whole; the two parts of a snapshot
fail each for itself. Ids and milliseconds are decimal texts, integers are tolerated; amounts are numbers or texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from fillbook.mt5 import contract, faults, reading, told
from fillbook.mt5.contract import COUNT_MAX, distinct, health_of, incomplete
from fillbook.mt5.deal_rows import deal_of
from fillbook.mt5.faults import CallFailed, ContractError, Fault
from fillbook.mt5.known import Told
from fillbook.mt5.model import (
    Deal,
    DealPage,
    Head,
    Health,
    Info,
    OpenPosition,
    Snapshot,
    StepFailure,
    SymbolFacts,
)
from fillbook.mt5.reading import (
    MSC_MAX,
    SMALL_MAX,
    Row,
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
    set_or_none,
    text,
    text_or_none,
    whole,
    whole_or_none,
)
from fillbook.mt5.symbols import normalized
from fillbook.mt5.words import ANSWER_BYTES_MAX, CONTRACT, Code, ContractKind, Step

T = TypeVar("T")

_POSITION_FIELDS: Final = frozenset(
    "ticket identifier time time_msc time_update time_update_msc type volume price_open price_current sl tp swap profit symbol"
    " comment magic reason".split()
)


def read_health(body: bytes) -> Health:
    """An instance about itself."""
    root = parse(body)
    _check_contract(root)
    return health_of(root, ContractKind.V1)


def read_snapshot(body: bytes) -> Snapshot:
    """Info and positions of one login, each a value or a failure of its own. Raises when not even the head can be read."""
    root = parse(body)
    head = _head(root)
    return Snapshot(
        head=head,
        info=_of_step(Step.INFO, lambda: _info(root)),
        positions=_of_step(Step.POSITIONS, lambda: _positions(root)),
    )


def read_deals(body: bytes, *, is_first: bool, known: Told | None = None) -> DealPage:
    """One page of deals. ``is_first``: asked without a cursor; a page that is also the last must then hold all there are.

    ``known``: rows that were read before; where they are all there is, they are not read again.
    """
    is_long = told.BYTES_MIN <= len(body) <= ANSWER_BYTES_MAX
    parts = reading.cut(body, "deals") if is_first and is_long else None
    if parts is not None and known is not None and told.rows_hash(parts[1]) == known.rows_hash:
        page = _page_of(parts[0])
        if page.next_cursor is None:
            if page.total != known.count:
                raise incomplete("total")
            return replace(page, told=known, later=lambda: _deals_of({"deals": reading.rows(parts[1])})[0])
    rows = None if parts is None else reading.rows(parts[1])
    root = parse(body) if parts is None or rows is None else {**parts[0], "deals": rows}
    page = _page_of(root)
    deals, count = _deals_of(root)
    if page.next_cursor is not None and not deals:
        raise incomplete("deals")
    if is_first and page.next_cursor is None and page.total not in (len(deals), count):
        raise incomplete("total")
    is_kept = parts is not None and rows is not None and page.next_cursor is None and len(deals) == count > 0
    return replace(page, deals=deals, told=told.told(parts[1], deals) if parts is not None and is_kept else None)


def _page_of(root: Row) -> DealPage:
    """A page but for its rows."""
    head = _head(root)
    _check_complete(root)
    return DealPage(head=head, total=whole(root, "total", most=COUNT_MAX), next_cursor=text_or_none(root, "next_cursor"))


def _deals_of(root: Row) -> tuple[tuple[Deal, ...], int]:
    """The deals of a page, and how many rows told them."""
    rows = objects(root, "deals")
    found = each(rows, "deals", lambda row: deal_of(row, whole(row, "time_msc", most=MSC_MAX)))
    return distinct(found, "deals", lambda deal: deal.deal_ticket), len(rows)


def read_symbols(body: bytes) -> tuple[Head, tuple[SymbolFacts, ...]]:
    """Facts of the symbols asked for; the service leaves out those it does not know."""
    root = parse(body)
    head = _head(root)
    server = text(root, "server")
    return head, each(objects(root, "symbols"), "symbols", lambda row: _symbol(row, server))


def _check_contract(root: Row) -> None:
    """An answer in another contract is not read; one that names a code of ours instead of a contract is that fault."""
    if root.get("contract") == CONTRACT:
        return
    told = faults.of_document(root)
    raise CallFailed(told) if told is not None and told.has_code else ContractError("contract")


def _head(root: Row) -> Head:
    _check_contract(root)
    return Head(
        login=whole(root, "login", least=1),
        server=text(root, "server"),
        server_time_msc=whole(root, "server_time_msc", most=MSC_MAX),
        as_of=instant(root, "as_of"),
        cache_age_ms=whole(root, "cache_age_ms", most=MSC_MAX),
    )


def _check_complete(root: Row) -> None:
    """``complete`` true, or the fault that is stated in its place."""
    if not flag(root, "complete"):
        told = faults.of_part(root.get("error"))
        raise ContractError("complete", Code.INCOMPLETE) if told == Fault(code=Code.INCOMPLETE) else CallFailed(told)


def _of_step(step: Step, read: Callable[[], T]) -> T | StepFailure:
    try:
        return read()
    except CallFailed as error:
        return faults.failure(step, error.fault)


def _info(root: Row) -> Info:
    told = part(root, "info")
    _check_complete(told)
    margin = not_negative(told, "margin")
    return Info(
        balance=amount(told, "balance"),
        equity=amount(told, "equity"),
        margin=margin,
        margin_free=amount(told, "margin_free"),
        margin_level=contract.margin_level_of(told, margin),
        credit=amount(told, "credit"),
        profit=amount(told, "profit"),
        leverage=whole_or_none(told, "leverage", most=COUNT_MAX),
        currency=text(root, "currency"),
        currency_digits=whole(root, "currency_digits", most=contract.DIGITS_MAX),
        margin_mode=choice(root, "margin_mode", contract.MARGIN_MODES),
    )


def _positions(root: Row) -> tuple[OpenPosition, ...]:
    told = part(root, "positions")
    _check_complete(told)
    positions = each(objects(told, "rows"), "positions", _position)
    return distinct(positions, "positions", lambda position: position.position_id)


def _position(row: Row) -> OpenPosition:
    return OpenPosition(
        ticket=whole(row, "ticket", least=1),
        position_id=whole(row, "identifier", least=1),
        time_msc=whole(row, "time_msc", most=MSC_MAX),
        side=choice(row, "type", contract.SIDES),
        volume=contract.volume_of(row),
        price_open=amount(row, "price_open"),
        price_current=set_or_none(row, "price_current"),
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


def _symbol(row: Row, server: str) -> SymbolFacts:
    symbol = text(row, "symbol")
    size = amount_or_none(row, "contract_size")
    return SymbolFacts(
        server=server,
        symbol=symbol,
        symbol_norm=normalized(symbol),
        contract_size=size if size is not None and size > 0 else None,
        digits=whole_or_none(row, "digits", most=contract.DIGITS_MAX * 2),
        currency_profit=text_or_none(row, "currency_profit"),
    )
