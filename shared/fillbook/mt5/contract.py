"""What both languages of a service have in common: who an answer is about, which moment it describes, when it is whole.

``contract_v1`` reads contract ``mt5/1``, ``contract_v0`` the documented three-endpoint service; both make the nouns of
``model.py`` of bytes, or raise ``ContractError``. Everything that is not written in the specification (3.1, 3.2) is refused:
an answer that is not understood must never be taken for *nothing there*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from fillbook.mt5.faults import ContractError
from fillbook.mt5.model import Deal, DealPage, Head, Health, PairedTrade, ServerRule, Target, Window
from fillbook.mt5.reading import (
    MAGIC_LEAST,
    Row,
    amount,
    amount_or_none,
    choice,
    part,
    whole_or_none,
)
from fillbook.mt5.words import Code, ContractKind, EpochClock, HealthStatus, MarginMode, TradeSide
from fillbook.values import frozen

T = TypeVar("T")

SIDES = {0: TradeSide.BUY, 1: TradeSide.SELL}
MARGIN_MODES = {int(mode): int(mode) for mode in MarginMode}
DIGITS_MAX = 8
"""Decimal places of an account's currency."""
COUNT_MAX = 10_000_000
STATUSES = {str(status): status for status in HealthStatus}


@frozen
class Asked:
    """What the asker knew: when it asked, how the server's clock is read, what an epoch counts (three-endpoint service)."""

    at: datetime
    rule: ServerRule | None = None
    epoch_clock: EpochClock = EpochClock.SERVER


def check_identity(head: Head, target: Target) -> None:
    """Raise ``ContractError('identity_mismatch')`` unless the answer is about the target, as far as it says who it is about."""
    if head.login is not None and head.login != target.login:
        raise ContractError("login", Code.IDENTITY_MISMATCH)
    if head.server is not None and head.server != target.server:
        raise ContractError("server", Code.IDENTITY_MISMATCH)


def only(page: DealPage, wanted: Window | int) -> DealPage:
    """The page without what was not asked for: rows outside the window, or of other positions."""
    if isinstance(wanted, int):
        return replace(
            page,
            deals=tuple(deal for deal in page.deals if deal.position_id == wanted),
            paired=tuple(trade for trade in page.paired if trade.ticket == wanted),
            told=None,
        )
    deals = _within(page.deals, wanted)
    told = page.told if len(deals) == len(page.deals) else None
    return replace(page, deals=deals, paired=_closed_within(page.paired, wanted), told=told)


def distinct(rows: Sequence[T], name: str, key: Callable[[T], int]) -> tuple[T, ...]:
    """The rows without repetitions; two that differ under one key are refused, since either may be wrong."""
    found: dict[int, T] = {}
    for row in rows:
        known = found.setdefault(key(row), row)
        if known is not row and known != row:
            raise ContractError(f"{name}: two rows of one key differ")
    return tuple(found.values())


def incomplete(where: str) -> ContractError:
    """An answer that does not prove itself whole."""
    return ContractError(where, Code.INCOMPLETE)


def health_of(root: Row, kind: ContractKind) -> Health:
    """The fields of a health answer, which both languages tell alike."""
    limits = part(root, "limits") if root.get("limits") is not None else {}
    return Health(
        status=choice(root, "status", STATUSES),
        contract=kind,
        requests_per_minute=whole_or_none(limits, "requests_per_minute", least=1, most=COUNT_MAX),
        sessions=whole_or_none(limits, "sessions", least=1, most=COUNT_MAX),
    )


# --- rows that both languages tell alike ------------------------------------------------------------------------------


def magic_of(row: Row) -> int | None:
    """The number an expert adviser signs with, negative ones included."""
    return whole_or_none(row, "magic", least=MAGIC_LEAST)


def volume_of(row: Row) -> Decimal:
    """The volume of something that is open or was traded: more than nothing."""
    volume = amount(row, "volume")
    if volume <= 0:
        raise ContractError("volume")
    return volume


def margin_level_of(row: Row, margin: Decimal) -> Decimal | None:
    """The margin level in percent, None when there is no margin: the terminal then writes 0."""
    level = amount_or_none(row, "margin_level")
    if not margin:
        return None
    if level is None:
        raise ContractError("margin_level")
    return level


def _within(deals: Sequence[Deal], wanted: Window) -> tuple[Deal, ...]:
    return tuple(deal for deal in deals if wanted.from_msc <= deal.time_msc < wanted.to_msc)


def _closed_within(trades: Sequence[PairedTrade], wanted: Window) -> tuple[PairedTrade, ...]:
    return tuple(trade for trade in trades if wanted.from_msc <= trade.close_msc < wanted.to_msc)
