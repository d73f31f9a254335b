"""How an account stands to its book: whether it may be told, and the mode and currency that are fixed when it is opened. Pure.

A book's method cannot change. An account that says something else of itself later is not booked any more until a person has
looked at it. Source: mt5 specification, 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fillbook.mt5.fills import Terms
from fillbook.mt5.model import Account, Info, SymbolFacts
from fillbook.mt5.words import MarginMode
from fillbook.values import frozen


@frozen
class Standing:
    """How an account stands to its book. ``terms`` None: margin mode or currency are not known, or are not what the book was
    opened with (``has_changed``): nothing is booked. ``is_opening``: the book is opened now.
    """

    terms: Terms | None
    is_opening: bool = False
    has_changed: bool = False


def standing(account: Account, info: Info | None, symbols: Mapping[str, SymbolFacts]) -> Standing:
    """Whether the account's book may be told, by what is stored of it and what it says of itself now."""
    mode, currency = account.margin_mode, account.currency
    told_mode, told_currency = (None, None) if info is None else (info.margin_mode, info.currency)
    was_open = mode is not None and currency is not None
    if was_open and (
        (told_mode is not None and (told_mode == MarginMode.HEDGING) != (mode == MarginMode.HEDGING))
        or (told_currency is not None and told_currency != currency)
    ):
        return Standing(terms=None, has_changed=True)
    mode, currency = _mode(mode, info), (told_currency if currency is None else currency)
    if mode is None or currency is None:
        return Standing(terms=None)
    terms = Terms(
        server=account.server,
        login=account.login,
        currency=currency,
        is_hedging=mode == MarginMode.HEDGING,
        symbols=symbols,
    )
    return Standing(terms=terms, is_opening=not was_open)


def _mode(known: int | None, info: Info | None) -> int | None:
    """The margin mode: as it is known, as it is told, else hedging.

    The three-endpoint service does not tell it. A book whose lots are named by positions is right for netting too, where a symbol
    has one position at a time; the other way round it would be wrong for good.
    """
    if known is not None or info is None:
        return known
    return MarginMode.HEDGING if info.margin_mode is None else info.margin_mode


def fixed(account: Account, info: Info) -> Info:
    """An account's figures with the mode and the currency that its book was or is opened with; others are told, not stored."""
    stands = standing(account, info, {})
    if stands.has_changed:
        return replace(info, margin_mode=account.margin_mode, currency=account.currency)
    return info if stands.terms is None else replace(info, margin_mode=_mode(account.margin_mode, info))
