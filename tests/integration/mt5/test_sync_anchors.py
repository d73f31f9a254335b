"""A history that began with a wrong opening balance: read again three times, then anchored anew, and that said once."""

from __future__ import annotations

from decimal import Decimal

from tests.support.mt5_syncing import Syncing


def checks(syncing: Syncing, account_id: str) -> list[tuple[str, Decimal, Decimal]]:
    """Result, balance and what was expected, oldest first."""
    rows = syncing.query(
        "select result, balance, expected from mt5.cash_checks where account_id = :id::uuid order by checked_at", id=account_id
    )
    return [(row["result"], row["balance"], row["expected"]) for row in rows]


def first_read_late(syncing: Syncing) -> str:
    """An account whose first answer shows the balance of a deposit and not yet the deposit."""
    account = syncing.account()
    syncing.does("a", "deposit", amount="10000.00")
    syncing.fake.fault("late_history", account="a", seconds=3_000)
    syncing.good(account)
    syncing.fake.clear_faults()
    syncing.later(hours=1)
    return account


def test_a_late_first_answer_is_anchored_anew_after_three_rereads_and_the_same_answer_again_changes_no_row(
    syncing: Syncing,
) -> None:
    account = first_read_late(syncing)
    syncing.good(account, times=4)
    twice = (Decimal(10_000), Decimal(20_000))
    told = [("ok", Decimal(10_000), Decimal(10_000)), *[("gap", *twice)] * 3, ("reanchored", *twice)]
    assert checks(syncing, account) == told
    assert syncing.gaps(account, is_open=True) == []
    before = syncing.versions()
    syncing.query("update mt5.account_sync_state set state_digest = null returning 1")
    assert not syncing.good(account).is_unchanged
    assert syncing.versions() == before
    syncing.does("a", "deposit", amount="5.00")
    syncing.good(account)
    assert checks(syncing, account)[5:] == [("ok", Decimal(10_005), Decimal(10_005))]


def test_anchored_anew_at_its_inception_an_account_is_proven_from_there(syncing: Syncing) -> None:
    account = first_read_late(syncing)
    syncing.good(account, times=4)
    state = syncing.row(account)
    assert (state["opening_balance"], state["opening_proven"], state["backfill_state"]) == (Decimal(0), True, "done")
