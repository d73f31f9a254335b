"""How an account stands to its book: by which mode it is opened, and what stops it being told."""

from __future__ import annotations

import pytest

from fillbook.mt5.model import Account
from fillbook.mt5.standing import fixed, standing
from fillbook.mt5.words import ConnectionStatus, MarginMode
from tests.support.mt5_world import info

NETTING, HEDGING = int(MarginMode.NETTING), int(MarginMode.HEDGING)


def account(margin_mode: int | None = None, currency: str | None = None) -> Account:
    return Account(
        account_id="00000000-0000-4000-8000-000000000000", tenant_id="desk", server="S", login=1, broker_name="B",
        instance_key="default", service_account_id=None, book_id="mt5:S:1", is_active=True, currency=currency, currency_digits=2,
        margin_mode=margin_mode, sync_failure_count=0, connection_status=ConnectionStatus.UNKNOWN, credentials_version=1,
        backfill_target=None, last_sync_at=None, last_successful_sync_at=None,
    )  # fmt: skip


@pytest.mark.parametrize(("told", "is_hedging"), [(None, True), (HEDGING, True), (NETTING, False), (1, False)])
def test_a_book_is_opened_by_the_mode_that_is_told_and_hedging_where_none_is(told: int | None, is_hedging: bool) -> None:
    money = info(margin_mode=told)
    found = standing(account(), money, {})
    assert found.is_opening
    assert found.terms is not None
    assert found.terms.is_hedging is is_hedging
    assert fixed(account(), money).margin_mode == (HEDGING if told is None else told), "what it was opened with is stored"


@pytest.mark.parametrize("told", [None, HEDGING])
def test_an_account_that_was_opened_without_a_mode_goes_on_when_hedging_is_told_later(told: int | None) -> None:
    found = standing(account(HEDGING, "USD"), info(margin_mode=told), {})
    assert (found.has_changed, found.is_opening) == (False, False)
    assert found.terms is not None


@pytest.mark.parametrize(("mode", "told"), [(HEDGING, NETTING), (HEDGING, 1), (NETTING, HEDGING)])
def test_another_mode_than_the_books_stops_it_and_what_it_was_opened_with_stays(mode: int, told: int) -> None:
    money = info(margin_mode=told)
    found = standing(account(mode, "USD"), money, {})
    assert (found.has_changed, found.terms) == (True, None)
    assert fixed(account(mode, "USD"), money).margin_mode == mode


def test_nothing_is_booked_before_the_currency_is_known() -> None:
    assert standing(account(), info(currency=None), {}).terms is None
    assert standing(account(), None, {}).terms is None
