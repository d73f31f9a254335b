"""Windows whose pages cannot be completed, and a past that cannot be read although the money says that there is one."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from fillbook.mt5 import deskstore
from fillbook.mt5.faults import TEXTS
from fillbook.mt5.model import DealPage, ServiceFailure, StepFailure, Target, Window
from fillbook.mt5.words import Code, Step, SyncStatus
from tests.support.mt5_syncing import SERVER, Syncing, with_pages

EPOCH = date(1970, 1, 1)


def history(syncing: Syncing, count: int) -> None:
    """A deposit and ``count`` further deals in pairs, a second apart."""
    syncing.does("a", "deposit", amount="100000.00")
    for number in range(count // 2):
        syncing.later(seconds=1)
        syncing.does("a", "open", symbol="EURUSD", side="buy", volume="0.01", price="1.10000", ref=f"p{number}")
        syncing.does("a", "close", position=f"p{number}", price="1.10010")


def days(syncing: Syncing, state: str = "gap") -> list[tuple[date, str | None]]:
    """Covered days of a state, with their cause."""
    rows = syncing.query("select day, cause from mt5.coverage_days where state = :state order by day", state=state)
    return [(row["day"], row["cause"]) for row in rows]


def test_pages_that_shift_under_every_reading_open_a_gap_that_the_first_whole_one_closes(syncing: Syncing) -> None:
    account = syncing.account()
    history(syncing, 8)
    syncing.good(account)
    until = syncing.row(account)["history_until_msc"]
    syncing.limits = with_pages(syncing.limits, 5)
    syncing.fake.fault("page_drift", endpoint="deals")
    for _ in range(2):
        (worked,) = syncing.run(account)
        assert (worked.status, worked.error_code) == (SyncStatus.PARTIAL, "page_drift")
        assert syncing.gaps(account) == ["pages"]
        assert syncing.row(account)["history_until_msc"] == until
    told = syncing.logs(account)[-1]["steps"]["history"]
    assert (told["covered_to_msc"], told["until_before_msc"], told["until_msc"]) == (None, until, until)
    today = syncing.now.date()
    assert days(syncing)[-1] == (today, "pages")
    assert {cause for _, cause in days(syncing)} == {"pages"}
    syncing.fake.clear_faults()
    syncing.good(account)
    assert (syncing.gaps(account, is_open=True), days(syncing)) == ([], [])
    assert syncing.row(account)["history_until_msc"] > until
    told = syncing.logs(account)[-1]["steps"]["history"]
    assert told["until_before_msc"] == until
    assert told["from_msc"] == (until // 3_600_000 - 48) * 3_600_000
    assert until < told["until_msc"] == told["covered_to_msc"] < told["to_msc"]
    assert [kind for kind in syncing.events() if "gap" in kind] == ["history_gap_found", "history_gap_closed"]
    syncing.check_truth(account, "a")


def test_cursors_that_do_not_last_until_the_next_run_open_a_gap(syncing: Syncing) -> None:
    account = syncing.account()
    history(syncing, 70)
    syncing.limits = with_pages(syncing.limits, 5, pages_max=6)
    syncing.good(account)
    assert syncing.gaps(account) == [], "a large window that goes on in the next run is none"
    syncing.fake.expire_cursors()
    syncing.good(account)
    assert syncing.gaps(account) == ["pages"]
    assert days(syncing)[-1] == (syncing.now.date(), "pages")
    syncing.limits = with_pages(syncing.limits, 5)
    syncing.good(account)
    assert (syncing.gaps(account, is_open=True), days(syncing)) == ([], [])
    syncing.check_truth(account, "a")


def test_a_window_of_which_every_run_begins_anew_is_a_gap(syncing: Syncing) -> None:
    account = syncing.account()
    history(syncing, 20)
    syncing.limits = with_pages(syncing.limits, 5, pages_max=3)
    for _ in range(2):
        syncing.good(account)
        assert syncing.gaps(account) == ["pages"]


def past(syncing: Syncing, begin: datetime, count: int, apart: timedelta, target: date = EPOCH) -> str:
    """An account of which everything but a deposit of today lies 40 days back; read to its inception, or to a day."""
    syncing.fake.add_account(id="a", server=SERVER)
    syncing.does("a", "deposit", begin, amount="100000.00")
    for number in range(count // 2):
        at = begin + timedelta(hours=1) + apart * number
        syncing.does("a", "open", at, symbol="EURUSD", side="buy", volume="0.01", price="1.10000", ref=f"p{number}")
        syncing.does("a", "close", at, position=f"p{number}", price="1.10010")
    syncing.does("a", "deposit", amount="1.00")
    return syncing.linked(10_000_001, "a", backfill_target=target)


def test_a_past_with_more_rows_than_a_run_may_read_is_read_in_narrower_parts(syncing: Syncing) -> None:
    account = past(syncing, syncing.now - timedelta(days=40), 60, timedelta(hours=3))
    syncing.limits = with_pages(syncing.limits, 5, pages_max=8)
    for _ in range(12):
        syncing.good(account)
        if syncing.row(account)["backfill_state"] == "done":
            break
    row = syncing.row(account)
    assert (row["backfill_state"], row["opening_proven"], syncing.gaps(account)) == ("done", True, [])
    syncing.check_truth(account, "a")
    syncing.check_money(account)


def test_a_moment_with_more_rows_than_a_run_may_read_is_a_gap_until_it_may(syncing: Syncing) -> None:
    begin = syncing.now - timedelta(days=40)
    account = past(syncing, begin, 60, timedelta(0))
    syncing.limits = with_pages(syncing.limits, 5, pages_max=5)
    for _ in range(12):
        syncing.good(account)
        if syncing.gaps(account):
            break
    assert syncing.gaps(account) == ["pages"]
    assert ((begin + timedelta(hours=8)).date(), "pages") in days(syncing)
    until = syncing.row(account)["history_until_msc"]
    syncing.good(account)
    assert syncing.row(account)["history_until_msc"] > until, "the present does not wait for the past"
    syncing.limits = with_pages(syncing.limits, 20)
    for _ in range(12):
        syncing.good(account)
    assert (syncing.gaps(account, is_open=True), days(syncing)) == ([], [])
    syncing.check_truth(account, "a")


class Archived:
    """A service whose history begins somewhere: what is older is refused with a code, or (None) as if it had never been."""

    def __init__(self, inner: Any, begins_msc: int, code: Code | None) -> None:
        self._inner, self.begins_msc, self._code = inner, begins_msc, code

    def deals(self, target: Target, wanted: Window | int, **options: Any) -> DealPage:
        """A page of what is left."""
        if isinstance(wanted, Window) and wanted.from_msc < self.begins_msc and self._code is not None:
            raise ServiceFailure(StepFailure(step=Step.HISTORY, code=self._code, text=TEXTS[self._code]))
        page: DealPage = self._inner.deals(target, wanted, **options)
        return replace(page, deals=tuple(deal for deal in page.deals if deal.time_msc >= self.begins_msc))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def archived(syncing: Syncing, code: Code | None) -> tuple[str, Archived]:
    """An account of 40 days; its service has forgotten the first of them."""
    account = past(syncing, syncing.now - timedelta(days=40), 4, timedelta(hours=1))
    begins = int((syncing.now - timedelta(days=35)).timestamp() * 1000)
    service = Archived(syncing.service, begins, code)
    syncing.service = service  # type: ignore[assignment]
    return account, service


@pytest.mark.parametrize("code", [None, Code.INVALID_REQUEST])
def test_a_past_that_is_gone_is_a_gap_below_the_floor_because_the_money_says_so(syncing: Syncing, code: Code | None) -> None:
    account, service = archived(syncing, code)
    syncing.good(account)
    runs = 0
    while syncing.row(account)["backfill_state"] in ("pending", "running"):
        syncing.good(account)
        runs += 1
        assert runs < 12
    row = syncing.row(account)
    assert row["backfill_state"] == ("done" if code is None else "blocked")
    assert (row["opening_proven"], row["opening_balance"] > 100_000) == (False, True)
    assert syncing.gaps(account) == ["floor"]
    assert days(syncing)[0] == (date(2015, 1, 1), "floor")
    until = row["history_until_msc"]
    syncing.good(account, 2)
    assert syncing.good(account).is_unchanged, "nothing in the present waits for it"
    told = syncing.logs(account)[-1]["steps"]["history"]
    assert told["until_before_msc"] < told["until_msc"] == syncing.row(account)["history_until_msc"]
    assert syncing.row(account)["history_until_msc"] > until
    service.begins_msc = 0
    if code is None:  # an operator tells how far back is enough; what is refused is asked for again once an hour
        with syncing.desk.transaction() as tx:
            deskstore.set_backfill_target(tx, account, (syncing.now - timedelta(days=30)).date(), syncing.now)
    for _ in range(4):
        syncing.good(account, minutes=61)
    assert (syncing.gaps(account, is_open=True), days(syncing)) == ([], [])
    if code is not None:
        assert syncing.row(account)["opening_proven"]
        syncing.check_truth(account, "a")


def test_a_past_that_nobody_asked_for_is_no_gap(syncing: Syncing) -> None:
    account = past(
        syncing, syncing.now - timedelta(days=40), 4, timedelta(hours=1), target=syncing.now.date() - timedelta(days=30)
    )
    syncing.good(account, 3)
    row = syncing.row(account)
    assert (row["backfill_state"], row["opening_proven"], syncing.gaps(account)) == ("done", False, [])
