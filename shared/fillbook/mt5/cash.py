"""Money of an account: its movements without a trade, and the check that nothing is missing.

The check is what makes a history provable: what the account began with and everything stored since must be its balance, to
one last digit of the currency. Which deals of the last second the broker had counted is not known, so each cut between them
is a possible one. Credit is no money of the trader's and stands apart, with bonuses where a broker books them so.
Source: mt5 specification, 5 and 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Final

from fillbook.money import CONTEXT, ZERO
from fillbook.mt5.deals import Effect, Stored, effect_of, money_of
from fillbook.mt5.episodes import ToUtc
from fillbook.mt5.model import CashOperation, Deal
from fillbook.mt5.words import CashBucket, CashKind, CashResult, DealType
from fillbook.values import frozen

NEAR_MSC: Final = 1_000
_KINDS: Final[Mapping[int, CashKind]] = {
    DealType.CREDIT: CashKind.CREDIT,
    DealType.CHARGE: CashKind.CHARGE,
    DealType.CORRECTION: CashKind.CORRECTION,
    DealType.BONUS: CashKind.BONUS,
    DealType.COMMISSION: CashKind.COMMISSION,
    DealType.COMMISSION_DAILY: CashKind.COMMISSION,
    DealType.COMMISSION_MONTHLY: CashKind.COMMISSION,
    DealType.COMMISSION_AGENT_DAILY: CashKind.COMMISSION,
    DealType.COMMISSION_AGENT_MONTHLY: CashKind.COMMISSION,
    DealType.INTEREST: CashKind.INTEREST,
    DealType.DIVIDEND: CashKind.DIVIDEND,
    DealType.DIVIDEND_FRANKED: CashKind.DIVIDEND,
    DealType.TAX: CashKind.TAX,
}


# --- movements --------------------------------------------------------------------------------------------------------


def cash_operation(account_id: str, one: Stored, to_utc: ToUtc) -> CashOperation | None:
    """The movement of money that a stored deal is; None of a trade's deal, and of one that was withdrawn."""
    deal = one.deal
    if one.withdrawn or effect_of(deal) is not Effect.CASH:
        return None
    return CashOperation(
        account_id=account_id,
        deal_ticket=deal.deal_ticket,
        kind=_kind(deal),
        amount=money_of(deal),
        occurred_at=to_utc(deal.time_msc, deal.deal_ticket),
        comment=deal.comment,
    )


def _kind(deal: Deal) -> CashKind:
    if deal.deal_type == DealType.BALANCE:
        return CashKind.WITHDRAWAL if money_of(deal) < 0 else CashKind.DEPOSIT
    return _KINDS.get(deal.deal_type, CashKind.OTHER)


def is_credit(deal: Deal, bonus_bucket: CashBucket) -> bool:
    """Whether a deal moves the credit and not the balance."""
    if deal.deal_type == DealType.BONUS:
        return bonus_bucket is CashBucket.CREDIT
    return deal.deal_type == DealType.CREDIT


# --- the check --------------------------------------------------------------------------------------------------------


@frozen
class Sums:
    """Stored deals since the floor as a check needs them, amounts in account currency.

    ``settled``: Σ of those a second and more before the snapshot; ``near``: the amounts within a second of it, in order of
    time and ticket. ``credit``: Σ of all that moves credit. ``begins_with_deposit``: so does the first of them; an account's
    inception is where it does and the opening balance is 0.
    """

    settled: Decimal = ZERO
    near: tuple[Decimal, ...] = ()
    credit: Decimal = ZERO
    begins_with_deposit: bool = False


@frozen
class CashCheck:
    """Outcome of a check, with what is to be stored; ``gap`` = balance − expected (of the nearest cut), 0 when it passes."""

    result: CashResult
    expected: Decimal | None = None
    gap: Decimal | None = None
    opening_balance: Decimal | None = None
    opening_proven: bool = False


def sums(deals: Iterable[Stored], at_msc: int, floor_msc: int | None, bonus_bucket: CashBucket) -> Sums:
    """The sums of deals in memory, from the floor up to the snapshot's moment ``at_msc`` (server clock)."""
    settled = credit = ZERO
    near: list[tuple[int, int, Decimal]] = []
    first: tuple[int, int, Deal] | None = None
    with localcontext(CONTEXT):
        for one in deals:
            deal = one.deal
            if one.withdrawn or deal.time_msc > at_msc + NEAR_MSC or (floor_msc is not None and deal.time_msc < floor_msc):
                continue
            key = (deal.time_msc, deal.deal_ticket)
            if first is None or key < first[:2]:
                first = (*key, deal)
            if is_credit(deal, bonus_bucket):
                credit += money_of(deal)
            elif deal.time_msc <= at_msc - NEAR_MSC:
                settled += money_of(deal)
            else:
                near.append((*key, money_of(deal)))
    near.sort()
    is_deposit = first is not None and first[2].deal_type == DealType.BALANCE and money_of(first[2]) > 0
    return Sums(settled=settled, near=tuple(amount for _, _, amount in near), credit=credit, begins_with_deposit=is_deposit)


def check(
    balance: Decimal,
    credit: Decimal,
    found: Sums,
    *,
    opening_balance: Decimal | None,
    opening_proven: bool = False,
    currency_digits: int,
) -> CashCheck:
    """Whether balance = opening balance + Σ. The first check sets the opening balance and proves nothing by itself.

    At inception the opening balance is 0, which proves it for good, and Σ credit must be the account's credit.
    """
    tolerance = Decimal(1).scaleb(-currency_digits)
    with localcontext(CONTEXT):
        cuts = _cuts(found.settled, found.near)
        opening = _anchor(balance, cuts, found.begins_with_deposit, tolerance) if opening_balance is None else opening_balance
        expected = min((opening + cut for cut in cuts), key=lambda one: abs(balance - one))
        gap = balance - expected
        if abs(gap) <= tolerance:
            gap = ZERO
            if found.begins_with_deposit and abs(opening) <= tolerance:
                gap, opening, opening_proven = _credit_gap(credit, found.credit, tolerance), ZERO, True
        result = CashResult.GAP if gap else CashResult.OK
    return CashCheck(
        result=result,
        expected=expected,
        gap=gap,
        opening_balance=opening,
        opening_proven=opening_proven,
    )


def reanchored(balance: Decimal, credit: Decimal, found: Sums, checked: CashCheck, *, currency_digits: int) -> CashCheck:
    """A gap that everything read again did not close, in a history whose beginning nothing proves: begin from here.

    Where the stored deals turn out to reach down to the inception after all, their beginning is proven with it.
    """
    anew = check(balance, credit, found, opening_balance=None, currency_digits=currency_digits)
    is_proven = anew.opening_proven and anew.result is CashResult.OK
    return replace(checked, result=CashResult.REANCHORED, opening_balance=anew.opening_balance, opening_proven=is_proven)


def lowered(opening_balance: Decimal, older: Iterable[Stored], bonus_bucket: CashBucket) -> Decimal:
    """The opening balance of a floor moved down over ``older`` deals: all that are stored between the new floor and the old."""
    with localcontext(CONTEXT):
        return opening_balance - sum(
            (money_of(one.deal) for one in older if not one.withdrawn and not is_credit(one.deal, bonus_bucket)), ZERO
        )


def _cuts(settled: Decimal, near: Sequence[Decimal]) -> list[Decimal]:
    """Σ after none, the first, … all of the deals within a second of the snapshot."""
    cuts = [settled]
    for amount in near:
        cuts.append(cuts[-1] + amount)
    return cuts


def _anchor(balance: Decimal, cuts: Sequence[Decimal], begins_with_deposit: bool, tolerance: Decimal) -> Decimal:
    """What the account must have begun with; at its inception nothing, if any cut allows that."""
    if begins_with_deposit and any(abs(balance - cut) <= tolerance for cut in cuts):
        return ZERO
    return balance - cuts[-1]


def _credit_gap(stated: Decimal, counted: Decimal, tolerance: Decimal) -> Decimal:
    return stated - counted if abs(stated - counted) > tolerance else ZERO
