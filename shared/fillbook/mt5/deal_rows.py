"""A deal in the terminal's field names, which both languages of a service tell alike: the row that comes by the thousand.

Problem. A busy account tells the same hundreds of deals every five minutes, and reading one field at a time by its name costs
more than everything else done with an answer. Observations. Nearly all rows are written in one way: every field there, ids as
integers or plain texts, remarks in ASCII. What is wrong must still be refused with the field's name.
Choice. A row is first read as usual, all fields at once; whatever is not as usual (wrong, missing, merely written otherwise) is
read again field by field (``checked``), which alone decides. A law holds both to the same values. Source: mt5 specification, 3.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Final

from fillbook.mt5.faults import ContractError
from fillbook.mt5.model import Deal
from fillbook.mt5.reading import (
    MAGIC_LEAST,
    SMALL_MAX,
    TEXT_MAX,
    Row,
    amount,
    amount_of,
    extra,
    not_negative,
    remark,
    text,
    whole,
    whole_or_none,
)
from fillbook.mt5.words import ID_MAX, Entry

ENTRIES: Final = frozenset(int(entry) for entry in Entry)
_FIELDS: Final = frozenset(
    "ticket order position_id time time_msc type entry reason volume price commission swap fee profit symbol comment magic"
    " external_id".split()
)
_USUAL: Final = itemgetter(
    "ticket", "order", "position_id", "type", "entry", "reason", "symbol", "magic", "comment", "external_id",
    "volume", "price", "profit", "commission", "swap", "fee",
)  # fmt: skip


def deal_of(row: Row, time_msc: int) -> Deal:
    """The deal of a row; raises ``ContractError`` with the field's name."""
    try:
        return _as_usual(row, time_msc)
    except (KeyError, ValueError):
        return checked(row, time_msc)


def checked(row: Row, time_msc: int) -> Deal:
    """The deal, field by field. Unknown types are kept (they become ``other``), an unknown entry is refused."""
    entry = whole(row, "entry", most=SMALL_MAX)
    if entry not in ENTRIES:
        raise ContractError("entry")
    return Deal(
        deal_ticket=whole(row, "ticket", least=1),
        order_id=whole(row, "order"),
        position_id=whole(row, "position_id"),
        time_msc=time_msc,
        deal_type=whole(row, "type", most=SMALL_MAX),
        entry=entry,
        reason=whole_or_none(row, "reason", most=SMALL_MAX),
        symbol=text(row, "symbol", least=0),
        volume=not_negative(row, "volume"),
        price=amount(row, "price"),
        profit=amount(row, "profit"),
        commission=amount(row, "commission"),
        swap=amount(row, "swap"),
        fee=amount(row, "fee"),
        magic=whole_or_none(row, "magic", least=MAGIC_LEAST),
        comment=remark(row, "comment"),
        external_id=remark(row, "external_id"),
        extra=extra(row, _FIELDS),
    )


def _as_usual(row: Row, time_msc: int) -> Deal:
    """The deal of a row that is written as usual; raises ``KeyError`` or ``ValueError`` where it is not."""
    ticket, order, position, kind, entry, reason, symbol, magic, comment, external, *amounts = _USUAL(row)
    volume, price, profit, commission, swap, fee = map(amount_of, amounts)
    is_usual = (
        type(kind) is int
        and 0 <= kind <= SMALL_MAX
        and type(entry) is int
        and entry in ENTRIES
        and (reason is None or (type(reason) is int and 0 <= reason <= SMALL_MAX))
        and type(symbol) is str
        and _is_plain(symbol)
        and (comment is None or (type(comment) is str and _is_plain(comment)))
        and (external is None or (type(external) is str and _is_plain(external)))
        and not volume < 0
        and row.keys() <= _FIELDS
    )
    deal_ticket = _id(ticket)
    if not is_usual or not deal_ticket:
        raise ValueError("not as usual")
    return Deal(
        deal_ticket=deal_ticket,
        order_id=_id(order),
        position_id=_id(position),
        time_msc=time_msc,
        deal_type=kind,
        entry=entry,
        reason=reason,
        symbol=symbol,
        volume=volume,
        price=price,
        profit=profit,
        commission=commission,
        swap=swap,
        fee=fee,
        magic=None if magic is None else _id(magic),
        comment=comment,
        external_id=external,
        extra={},
    )


def _id(value: Any) -> int:
    """An id as an integer or its plain text; a text is plain if it is what the number is written as."""
    number = int(value) if type(value) is str and len(value) <= TEXT_MAX else value
    if type(number) is not int or not 0 <= number <= ID_MAX or (number is not value and str(number) != value):
        raise ValueError("not as usual")
    return number


def _is_plain(value: str) -> bool:
    return len(value) <= TEXT_MAX and value.isascii() and "\x00" not in value
