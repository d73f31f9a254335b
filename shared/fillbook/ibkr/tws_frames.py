"""The socket's raw frames by name: which text stands where, at which server version. Names become values in ``intake``.

A frame whose number of fields is not that of its version is not guessed at: it is kept as it came, refused as ``bad_frame``.
Source: ibkr.md 9, 14.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from fillbook.ibkr import fields, intake, tws_row
from fillbook.ibkr.allowlist import AllowList
from fillbook.ibkr.fields import Refused
from fillbook.ibkr.model import PositionRow, RawRow, Refusal, Row, Texts
from fillbook.ibkr.words import PayloadKind, Reason, Source
from fillbook.money import CONTEXT, PRICE_STEP, NumberError, quantize

EXECUTION: Final = 11
MANAGED_ACCOUNTS: Final = 15
COMMISSION: Final = 59
POSITION: Final = 61
POSITION_END: Final = 62

POSITION_FIELDS: Final = (
    "acctNumber",
    "conId",
    "symbol",
    "secType",
    "expiry",
    "strike",
    "right",
    "multiplier",
    "exchange",
    "currency",
    "localSymbol",
    "tradingClass",
    "position",
    "avgCost",
)
"""A position frame after the message id and its version."""
PRICE_REVISION_FROM: Final = 178
"""The server version from which an execDetails frame ends with ``pendingPriceRevision``."""

_EXEC_ID_AT: Final = {EXECUTION: 14, COMMISSION: 2}
_WITHOUT_CONTRACT_SIZE: Final = frozenset({"STK", "CASH"})


def execution_fields(server_version: int) -> tuple[str, ...]:
    """The names of an execDetails frame after the message id and the request id."""
    extra = ("pendingPriceRevision",) if server_version >= PRICE_REVISION_FROM else ()
    return (*tws_row.EXECUTION_FIELDS, *extra)


def exec_id_of(message: int, frame: Sequence[str]) -> str | None:
    """The execution a frame of either kind speaks of, as far as it can be told."""
    at = _EXEC_ID_AT[message]
    return frame[at] if len(frame) > at else None


def execution(
    frame: Sequence[str], observed_at: datetime, allow_list: AllowList, *, server_version: int, bare_zone: str | None
) -> Row | Refusal:
    """Read an execDetails frame; raises nothing. The request id is no part of what is kept: it differs from run to run."""
    names = execution_fields(server_version)
    if len(frame) != len(names) + 2:
        return _bad_frame([*frame[:1], *frame[2:]], len(names) + 2)
    raw = dict(zip(names, frame[2:], strict=True))
    if bare_zone is not None:
        raw[tws_row.BARE_TIME_ZONE] = bare_zone
    return intake.read(RawRow(source=Source.TWS, raw=raw, observed_at=observed_at), allow_list)


def commission(frame: Sequence[str], observed_at: datetime, allow_list: AllowList) -> Row | Refusal:
    """Read a commission frame; raises nothing."""
    names = tws_row.COMMISSION_FIELDS
    if len(frame) != len(names) + 2:
        return _bad_frame(frame, len(names) + 2)
    raw = dict(zip(names, frame[2:], strict=True))
    row = RawRow(source=Source.TWS, kind=PayloadKind.COMMISSION, raw=raw, observed_at=observed_at)
    return intake.read(row, allow_list)


def position(frame: Sequence[str], allow_list: AllowList) -> PositionRow | Refusal:
    """Read a position frame; raises nothing. The average cost is made a price: the socket's contains the contract size."""
    if len(frame) != len(POSITION_FIELDS) + 2:
        return _bad_frame(frame, len(POSITION_FIELDS) + 2)
    raw = dict(zip(POSITION_FIELDS, frame[2:], strict=True))
    account = allow_list.find(raw["acctNumber"])
    try:
        if not all(fields.is_storable(text) for text in raw.values()):
            raise Refused(Reason.BAD_TEXT, "a character that cannot be stored")
        if account is None:
            raise Refused(Reason.ACCOUNT_NOT_ALLOWED, "account")
        return _position(raw, account.account_id)
    except Refused as refused:
        return intake.refusal(Source.TWS.value, raw["acctNumber"].strip()[:64], refused.reason, refused.detail, raw)


def _position(raw: Texts, account_id: int) -> PositionRow:
    sec_type = fields.required(raw, "secType")
    multiplier = fields.positive_or_none(raw, "multiplier")
    return PositionRow(
        account_id=account_id,
        conid=fields.conid_of(raw, "conId"),
        symbol=tws_row.symbol_of(raw, sec_type),
        sec_type=sec_type,
        currency=fields.currency_of(raw),
        quantity=fields.number(raw, "position"),
        average_cost=_average_cost(fields.optional_number(raw, "avgCost"), multiplier, sec_type),
        multiplier=multiplier,
        raw=raw,
    )


def _average_cost(cost: Decimal | None, multiplier: Decimal | None, sec_type: str) -> Decimal | None:
    size = multiplier if multiplier is not None or sec_type not in _WITHOUT_CONTRACT_SIZE else Decimal(1)
    if cost is None or size is None:
        return None
    try:
        return quantize(CONTEXT.divide(cost, size), PRICE_STEP)
    except NumberError as error:
        raise Refused(Reason.BAD_NUMBER, "avgCost") from error


def _bad_frame(frame: Sequence[str], expected: int) -> Refusal:
    detail = f"a frame of another length than the {expected} fields of its version"
    return intake.refusal(Source.TWS.value, "", Reason.BAD_FRAME, detail, list(frame))
