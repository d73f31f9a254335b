"""Movements of money and the check that nothing is missing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fillbook.mt5.cash import Sums, cash_operation, check, lowered, reanchored, sums
from fillbook.mt5.deals import is_odd
from fillbook.mt5.words import CashBucket, CashKind, CashResult
from tests.support.mt5_deals import ACCOUNT, at, cash, deal, stored, utc

DEPOSIT = cash(1, 2, "1000.00", 0)
BALANCE, CREDIT = CashBucket.BALANCE, CashBucket.CREDIT


@pytest.mark.parametrize(
    ("kind", "amount", "expected"),
    [
        (2, 10, "deposit"),
        (2, -10, "withdrawal"),
        (3, 10, "credit"),
        (4, -1, "charge"),
        (5, 1, "correction"),
        (6, 5, "bonus"),
        (7, -1, "commission"),
        (8, -1, "commission"),
        (9, -1, "commission"),
        (10, 1, "commission"),
        (11, 1, "commission"),
        (12, 1, "interest"),
        (15, 1, "dividend"),
        (16, 1, "dividend"),
        (17, -1, "tax"),
        (99, 3, "other"),
    ],
)
def test_each_type_without_a_position_is_its_kind_of_movement(kind, amount, expected):
    [one] = stored(cash(1, kind, amount, 5, comment="x"))
    found = cash_operation(ACCOUNT, one, utc)
    assert found is not None
    assert (found.kind, found.amount, found.occurred_at, found.comment) == (CashKind(expected), amount, utc(at(5)), "x")


def test_all_money_of_a_movement_counts_and_a_withdrawn_one_is_none():
    [one] = stored(cash(1, 2, 10, commission="-0.5"))
    found = cash_operation(ACCOUNT, one, utc)
    assert found is not None
    assert found.amount == Decimal("9.5")
    [gone] = stored(cash(1, 2, 10), withdrawn=True)
    assert cash_operation(ACCOUNT, gone, utc) is None


def test_deals_of_trades_are_no_movements_and_strange_ones_are_reported():
    assert cash_operation(ACCOUNT, stored(deal(1, 5, 7, "in", 0, 0, commission=-1))[0], utc) is None
    assert [is_odd(one) for one in (cash(1, 99, 1), deal(1, 0, "buy", "in", 1, 1), DEPOSIT, deal(1, 5, "buy", "in", 1, 1))] == [
        True,
        True,
        False,
        False,
    ]
    trade_without_position = cash_operation(ACCOUNT, stored(deal(1, 0, "buy", "out", 1, 1, profit=7))[0], utc)
    assert trade_without_position is not None
    assert (trade_without_position.kind, trade_without_position.amount) == ("other", 7)


# --- sums -------------------------------------------------------------------------------------------------------------


def test_sums_count_from_the_floor_to_the_snapshot_and_keep_the_last_second_apart():
    deals = stored(
        cash(1, 2, 1, 0),
        cash(2, 2, 20, 10),
        cash(3, 3, 300, 11),
        cash(4, 2, 4000, 19, time_msc=at(20) - 999),
        cash(5, 2, 50_000, 21),
        cash(6, 2, 600_000, 21, time_msc=at(21) + 1),
    )
    found = sums(deals, at(20), at(10), BALANCE)
    assert (found.settled, found.near, found.credit, found.begins_with_deposit) == (20, (4000, 50_000), 300, True)
    assert sums(deals, at(20), None, BALANCE).settled == 21


def test_a_bonus_is_money_or_credit_as_the_server_books_it():
    deals = stored(DEPOSIT, cash(2, 6, 50, 1))
    assert (sums(deals, at(60), None, BALANCE).settled, sums(deals, at(60), None, BALANCE).credit) == (1050, 0)
    assert (sums(deals, at(60), None, CREDIT).settled, sums(deals, at(60), None, CREDIT).credit) == (1000, 50)
    assert lowered(Decimal(2000), deals, BALANCE) == 950
    assert lowered(Decimal(2000), deals, CREDIT) == 1000


def test_withdrawn_deals_count_nowhere():
    assert sums(stored(DEPOSIT, withdrawn=True), at(60), None, BALANCE) == Sums()
    assert lowered(Decimal(5), stored(DEPOSIT, withdrawn=True), BALANCE) == 5


# --- the check --------------------------------------------------------------------------------------------------------


def checked(balance: str, settled: str, *near: str, opening: str | None = "0", credit: str = "0", **given):
    found = Sums(
        settled=Decimal(settled),
        near=tuple(Decimal(amount) for amount in near),
        credit=Decimal(given.pop("counted", "0")),
        begins_with_deposit=given.pop("deposit", False),
    )
    options = {"currency_digits": 2, **given}
    return check(
        Decimal(balance), Decimal(credit), found, opening_balance=None if opening is None else Decimal(opening), **options
    )


def test_the_first_check_sets_the_opening_balance_and_proves_nothing():
    found = checked("900", "-100", "5", opening=None)
    assert (found.result, found.opening_balance, found.opening_proven) == (CashResult.OK, 995, False)


def test_money_that_adds_up_passes_to_one_last_digit():
    assert checked("1000.01", "1000").result is CashResult.OK
    assert checked("1000.02", "1000").result is CashResult.GAP
    assert checked("1001", "1000", currency_digits=0).result is CashResult.OK


def test_a_gap_says_how_much_is_missing():
    found = checked("1250", "1000", opening="100")
    assert (found.result, found.gap, found.expected, found.opening_balance) == (CashResult.GAP, 150, 1100, 100)


@pytest.mark.parametrize("balance", ["1000", "1010", "1005"])
def test_deals_of_the_last_second_may_be_in_or_out_but_only_in_their_order(balance):
    assert checked(balance, "1000", "10", "-5").result is CashResult.OK
    assert checked("995", "1000", "10", "-5").result is CashResult.GAP


def test_inception_is_an_opening_of_zero_at_a_deposit_and_proves_the_beginning():
    assert checked("1000", "1000", deposit=True).opening_proven is True
    assert checked("1000", "1000", deposit=False).opening_proven is False
    assert checked("1000", "900", opening="100", deposit=True).opening_proven is False
    first = checked("1000", "900", "100", "-3", opening=None, deposit=True)
    assert (first.opening_balance, first.opening_proven) == (0, True)


def test_at_inception_the_credit_must_be_its_movements():
    assert checked("1000", "1000", deposit=True, credit="50", counted="50").result is CashResult.OK
    found = checked("1000", "1000", deposit=True, credit="50", counted="20")
    assert (found.result, found.gap, found.opening_proven) == (CashResult.GAP, 30, True)


def test_an_account_is_anchored_anew_where_it_stands():
    gap = checked("1250", "1000", "7", opening="100")
    found = reanchored(Decimal(1250), Decimal(0), Sums(settled=Decimal(1000), near=(Decimal(7),)), gap, currency_digits=2)
    assert (found.result, found.gap, found.opening_balance, found.opening_proven) == (CashResult.REANCHORED, 143, 243, False)


@pytest.mark.parametrize(("credit", "is_proven"), [(50, True), (40, False)])
def test_anchored_anew_an_account_that_reaches_its_first_deposit_is_proven_where_its_credit_is_right(credit, is_proven):
    gap = checked("1000", "1000", opening="1000")
    reached = Sums(settled=Decimal(1000), credit=Decimal(50), begins_with_deposit=True)
    found = reanchored(Decimal(1000), Decimal(credit), reached, gap, currency_digits=2)
    assert (found.result, found.gap, found.expected) == (CashResult.REANCHORED, -1000, 2000)
    assert (found.opening_balance, found.opening_proven) == (0, is_proven)
