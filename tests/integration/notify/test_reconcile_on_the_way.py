"""What is booked, corrected or busted while a proof runs is on its way to the channel: no finding, and the next proof's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fillbook.ledger import service as ledger
from fillbook.ledger.model import Fill
from fillbook.notify import proving, reconcile
from fillbook.notify.judging import QUEUED_MAX, UNDER_WAY, Subject
from tests.support.ledger import make_fill
from tests.support.notify_desk import NotifyDesk
from tests.support.notify_proof import book, prove, prove_now, trades

LATE = make_fill("AMD2", "SELL", "12", "103", minute=2, fees="0.5")
CORRECTED = make_fill("AMD1", "BUY", "5", "99", minute=1, fees="0.5", source_revision=2, cause="revision")
BUSTED = make_fill("AMD1", "BUY", "5", "101", minute=1, fees="0.5", is_bust=True, cause="bust")
ON_ITS_WAY = pytest.mark.parametrize("fill", [LATE, CORRECTED, BUSTED], ids=["booked", "corrected", "busted"])


def booked_unheard(desk: NotifyDesk, fill: Fill) -> None:
    """The ledger has it, and its event waits to be sent."""
    with desk.admin.transaction() as tx:
        ledger.book_fills(tx, "live", [fill], desk.clock.now())


def told_and_an_hour_later(desk: NotifyDesk, fill: Fill) -> None:
    """Two executions are told; an hour later the ledger has another fill, unheard."""
    book(desk, *trades(2))
    desk.drain(allowance=60)
    desk.clock.step(3600)
    booked_unheard(desk, fill)


def hourly(desk: NotifyDesk) -> dict[str, Any]:
    """A proof as the schedule asks for it."""
    until = desk.clock.now() - UNDER_WAY
    return prove_now(desk, since=until - timedelta(hours=2), until=until)


@ON_ITS_WAY
def test_what_was_executed_before_and_booked_since_the_window_ended_is_the_next_proofs(desk: NotifyDesk, fill: Fill) -> None:
    told_and_an_hour_later(desk, fill)
    run = hourly(desk)
    assert (run["status"], run["missing"], run["wrong"], run["orphan"]) == ("proven", 0, 0, 0)
    assert desk.events("reconcile_finished") == []
    desk.relay()
    desk.drain(allowance=60)
    desk.clock.step(3600)
    begun = desk.clock.now()
    assert hourly(desk)["status"] == "proven"
    (newest,) = desk.rows("select proven_at, last_finding from notify.messages order by wanted_seq desc limit 1")
    assert newest["proven_at"] >= begun
    assert newest["last_finding"] is None


@ON_ITS_WAY
def test_what_was_booked_a_minute_before_a_proof_and_never_told_is_found(desk: NotifyDesk, fill: Fill) -> None:
    told_and_an_hour_later(desk, fill)
    desk.clock.step(61)
    run = hourly(desk)
    assert (run["missing"] + run["wrong"] + run["orphan"], run["repaired"], run["status"]) == (1, 1, "repaired")


def test_what_waits_its_turn_in_the_channel_is_no_finding_for_an_hour(desk: NotifyDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of executions at once take Discord's limits the better part of an hour."""
    monkeypatch.setattr(reconcile, "drain", lambda *_given: None)
    book(desk, *trades(4))
    desk.clock.step(QUEUED_MAX.total_seconds() - 1)
    run = hourly(desk)
    assert (run["status"], run["actions"], run["missing"]) == ("proven", 0, 0)
    assert desk.events("reconcile_finished") == []
    desk.clock.step(2)
    run = prove_now(desk, repair=False, since=desk.clock.now() - timedelta(hours=2), until=desk.clock.now())
    assert (run["status"], run["missing"]) == ("open", 4)


@pytest.mark.parametrize("how", ["deleted", "edited"])
def test_what_was_told_and_meddled_with_in_the_same_minute_is_found(desk: NotifyDesk, how: str) -> None:
    book(desk, *trades(2))
    desk.drain(allowance=30)
    desk.discord.meddle(how, desk.posts()[0]["id"])
    run = prove_now(desk)
    assert (run["missing"] + run["wrong"], run["repaired"], run["status"]) == (1, 1, "repaired")


@pytest.fixture
def once_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Have something happen between the reading of a proof's first page and its judging."""

    def happens(what: Callable[[], Any]) -> None:
        has_happened: list[bool] = []

        def page(*given: Any) -> list[Subject]:
            found = proving.next_subjects(*given)
            if not has_happened:
                has_happened.append(True)
                what()
            return found

        monkeypatch.setattr(reconcile, "next_subjects", page)

    return happens


@ON_ITS_WAY
def test_what_is_told_after_a_page_of_a_proof_was_read_is_judged_as_it_is_then(
    desk: NotifyDesk, fill: Fill, once_read: Callable[[Callable[[], Any]], None]
) -> None:
    book(desk, *trades(2))
    desk.drain(allowance=60)
    once_read(lambda: (book(desk, fill), desk.drain(allowance=60)))
    run = prove(desk)
    assert (run["status"], run["missing"], run["wrong"], run["orphan"]) == ("proven", 0, 0, 0)
    assert run["messages"] >= 2


@pytest.mark.parametrize("fill", [CORRECTED, BUSTED], ids=["corrected", "busted"])
def test_what_is_booked_after_a_page_was_read_and_not_told_yet_is_the_next_proofs(
    desk: NotifyDesk, fill: Fill, once_read: Callable[[Callable[[], Any]], None]
) -> None:
    book(desk, *trades(2))
    desk.drain(allowance=60)
    once_read(lambda: booked_unheard(desk, fill))
    run = prove(desk)
    assert (run["status"], run["equal"]) == ("proven", 2)  # what was read stood as it was told
    run = prove(desk)
    assert (run["wrong"] + run["orphan"], run["status"]) == (1, "repaired")


def test_what_changes_twice_after_a_page_was_read_and_is_told_once_is_the_next_proofs(
    desk: NotifyDesk, once_read: Callable[[Callable[[], Any]], None]
) -> None:
    book(desk, *trades(2))
    desk.drain(allowance=60)
    once_read(lambda: (book(desk, CORRECTED), desk.drain(allowance=60), booked_unheard(desk, replace(BUSTED, source_revision=3))))
    run = prove(desk)
    assert (run["status"], run["equal"]) == ("proven", 1)
    desk.relay()
    desk.drain(allowance=60)
    run = prove(desk)
    assert (run["status"], run["equal"]) == ("proven", 2)
