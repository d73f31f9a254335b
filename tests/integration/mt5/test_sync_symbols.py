"""What a lot of a symbol is: asked before its deals are booked; what was booked without it is told again once it is known."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from fillbook.mt5 import remaking, settling, store
from fillbook.mt5.records import Loaded
from fillbook.mt5.remaking import Remaking
from fillbook.mt5.words import SyncStatus
from fillbook.runtime.db import Tx
from tests.support.mt5_syncing import Syncing, history, traded, with_pages


def booked(syncing: Syncing, account_id: str) -> list[Decimal | None]:
    """Results in account currency of the account's closes."""
    rows = syncing.query(
        "select x.realized_pnl_base as realized from ledger.v_actions x join mt5.trading_accounts a on a.book_id = x.book_id "
        "where a.id = :id::uuid and x.action_type in ('TRIM', 'EXIT')",
        id=account_id,
    )
    return [row["realized"] for row in rows]


def versions_of_fills(syncing: Syncing, account_id: str) -> dict[int, int]:
    """How many rows of the book's journal there are of each version."""
    rows = syncing.query(
        "select f.version, count(*) as n from ledger.fills f join mt5.trading_accounts a on a.book_id = f.book_id "
        "where a.id = :id::uuid group by 1",
        id=account_id,
    )
    return {row["version"]: row["n"] for row in rows}


def test_a_symbol_is_asked_about_also_where_the_positions_did_not_come(syncing: Syncing) -> None:
    account = syncing.account()
    traded(syncing)
    syncing.fake.fault("incomplete", part="positions", account="a")
    syncing.run(account)
    assert booked(syncing, account) == [Decimal(100)]


def test_what_was_booked_while_nobody_told_of_its_symbol_is_told_again(syncing: Syncing) -> None:
    account = syncing.account()
    traded(syncing)
    syncing.fake.fault("status", endpoint="symbols", code=500)
    syncing.good(account)
    assert booked(syncing, account) == [None]
    syncing.fake.clear_faults()
    syncing.good(account)
    assert booked(syncing, account) == [Decimal(100)]
    assert syncing.good(account, times=2).is_unchanged


def test_the_symbols_of_a_large_window_are_asked_before_its_first_pages_are_told(syncing: Syncing) -> None:
    account = syncing.account()
    history(syncing, 70)
    syncing.limits = with_pages(syncing.limits, 5)
    syncing.good(account)
    assert [call.endpoint for call in syncing.fake.calls()].count("symbols") == 1
    assert versions_of_fills(syncing, account) == {1: 70}


def test_the_next_runs_of_a_large_window_do_not_look_at_what_was_told_with_its_money(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = syncing.account()
    history(syncing, 70)
    syncing.limits = with_pages(syncing.limits, 5, pages_max=6)
    loads: list[int] = []
    plain = store.load_account

    def load(*given: Any) -> Loaded:
        loaded = plain(*given)
        loads.append(len(loaded.deals))
        return loaded

    monkeypatch.setattr(store, "load_account", load)
    syncing.good(account, times=3)
    assert syncing.row(account)["history_until_msc"] is not None
    assert max(loads) < 10


def test_what_another_account_of_the_server_learned_is_told_again_too(syncing: Syncing) -> None:
    first, second = syncing.account("a"), syncing.account("b")
    for name in ("a", "b"):
        traded(syncing, name)
    syncing.fake.fault("status", endpoint="symbols", account="a", code=500)
    syncing.good(first)
    syncing.good(second)
    syncing.fake.clear_faults()
    assert (booked(syncing, first), booked(syncing, second)) == ([None], [Decimal(100)])
    syncing.good(first)
    assert booked(syncing, first) == [Decimal(100)]
    assert syncing.good(first, times=2).is_unchanged


def test_a_book_that_is_opened_late_is_told_everything_closed_trades_too(syncing: Syncing) -> None:
    account = syncing.account()
    traded(syncing)
    syncing.fake.fault("incomplete", part="info", account="a")
    syncing.run(account)
    syncing.fake.clear_faults()
    assert (booked(syncing, account), len(syncing.trades(account))) == ([], 2)
    syncing.later(days=3)  # the deals are behind the window by then
    syncing.good(account)
    assert booked(syncing, account) == [Decimal(100)]
    assert [row["ledger_state"] for row in syncing.trades(account)] == ["booked", "booked"]


def unvalued(syncing: Syncing, count: int) -> str:
    """An account whose history was booked while nobody said what a lot is."""
    account = syncing.account()
    history(syncing, count)
    syncing.fake.fault("status", endpoint="symbols", code=500)
    syncing.good(account)
    syncing.fake.clear_faults()
    assert set(booked(syncing, account)) == {None}
    return account


def test_many_positions_are_told_again_in_transactions_of_a_bounded_size(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = unvalued(syncing, 20)
    sizes = in_batches_of(monkeypatch, 3)
    worked = syncing.good(account)
    assert (sizes, len(worked.partitions) > 0) == ([3, 3, 3, 1], True)
    assert versions_of_fills(syncing, account) == {1: 20, 2: 20}
    assert set(booked(syncing, account)) == {Decimal("0.10")}
    syncing.check_book(account)
    assert syncing.good(account, times=2).is_unchanged
    assert sizes == [3, 3, 3, 1]


def test_a_run_that_breaks_while_positions_are_told_again_leaves_them_to_the_next(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = unvalued(syncing, 20)
    sizes = in_batches_of(monkeypatch, 3, breaks_at=3)
    (broken,) = syncing.run(account)
    assert (broken.status, len(sizes)) == (SyncStatus.FAILED, 3)
    assert booked(syncing, account).count(None) == 4
    syncing.good(account)
    assert versions_of_fills(syncing, account) == {1: 20, 2: 20}
    assert None not in booked(syncing, account)


def test_a_long_history_of_a_book_that_is_opened_late_is_told_in_batches_too(
    syncing: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = syncing.account()
    history(syncing, 20)
    syncing.fake.fault("incomplete", part="info", account="a")
    syncing.run(account)
    syncing.fake.clear_faults()
    sizes = in_batches_of(monkeypatch, 4)
    syncing.later(days=3)
    syncing.good(account)
    assert sizes == [4, 4, 2]
    assert booked(syncing, account) == [Decimal("0.10")] * 10
    assert {row["ledger_state"] for row in syncing.trades(account)} == {"booked"}


def in_batches_of(monkeypatch: pytest.MonkeyPatch, size: int, breaks_at: int | None = None) -> list[int]:
    """Small batches; their sizes as they come. The one that ``breaks_at`` raises."""
    sizes: list[int] = []
    plain = Remaking.batch

    def batch(self: Remaking, tx: Tx, positions: Sequence[int], tickets: Sequence[int] = ()) -> Any:
        sizes.append(len(positions))
        if len(sizes) == breaks_at:
            raise RuntimeError("broken")
        return plain(self, tx, positions, tickets)

    for module in (remaking, settling):
        monkeypatch.setattr(module, "BATCH_POSITIONS", size)
    monkeypatch.setattr(Remaking, "batch", batch)
    return sizes
