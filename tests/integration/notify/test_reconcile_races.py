"""What happens in a channel while a proof is at it: sent, adopted or told twice between a look and what is done about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fillbook.notify import copies, proving, reconcile
from fillbook.notify.drain import drain
from fillbook.notify.judging import QUEUED_MAX, Subject
from fillbook.notify.looking import unknown_ids
from fillbook.notify.model import Row, State
from fillbook.notify.reconcile import Prover
from fillbook.runtime.sql import statement
from tests.integration.notify.test_failures import killed_while_sending
from tests.support.notify_desk import NotifyDesk
from tests.support.notify_proof import book, findings, prove, trades


def test_an_embed_that_stands_in_a_second_message_leaves_the_digest_it_is_not_on_record_in(desk: NotifyDesk) -> None:
    book(desk, *trades(12))
    desk.drain(allowance=60)
    with desk.admin.transaction() as tx:  # as if it had never been sent
        tx.execute(
            statement(
                """update notify.messages set state = 'pending', message_id = null, embed_index = null, posted_hash = null,
                          posted_version = null, next_attempt_at = created_at, pending_since = created_at
                    where embed_index = 2"""
            )
        )
    desk.drain(allowance=60)
    doubled = len(desk.embeds()) - 12
    assert doubled > 0
    run = prove(desk)
    assert (run["wrong"], run["repaired"], run["status"]) == (doubled, doubled, "repaired")
    assert {one["differences"][0]["field"] for one in findings(desk, run)} == {"embeds"}
    assert len(desk.embeds()) == 12
    assert prove(desk)["status"] == "proven"


def test_a_message_that_is_made_while_a_proof_waits_for_the_channel_is_told_once_and_not_missing(
    desk: NotifyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    book(desk, *trades(12))
    desk.drain(allowance=60)

    def while_sending(*given: Any) -> list[Subject]:
        return [replace(one, row=_unsent(one.row)) for one in proving.next_subjects(*given)]

    monkeypatch.setattr(reconcile, "next_subjects", while_sending)
    run = prove(desk)
    assert (run["status"], run["missing"], run["messages"]) == ("proven", 0, 12)
    assert len(desk.embeds()) == 12


def _unsent(row: Row | None) -> Row | None:
    return None if row is None else replace(row, state=State.SENDING, message_id=None, embed_index=None, posted_hash=None)


def test_what_a_proof_missed_and_is_told_before_it_mends_is_told_once(desk: NotifyDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    book(desk, *trades(3))
    desk.clock.step(QUEUED_MAX.total_seconds())
    monkeypatch.setattr(Prover, "let_go", lambda _prover: None)
    monkeypatch.setattr(copies, "settle", lambda _prover: desk.drain(allowance=60))
    run = prove(desk)
    assert (run["missing"], run["repaired"], run["status"]) == (3, 3, "repaired")
    desk.drain(allowance=60)
    assert len(desk.posts()) == 3


def test_a_message_that_is_adopted_while_copies_are_deleted_is_no_copy(desk: NotifyDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    *known, lost = trades(4)
    book(desk, *known)
    desk.drain(allowance=60)
    book(desk, lost)
    killed_while_sending(desk)
    desk.clock.step(QUEUED_MAX.total_seconds())
    desk.discord.meddle("doubled", desk.posts()[0]["id"])
    before = {post["id"] for post in desk.posts()}
    has_listed: list[bool] = []

    def page(*given: Any) -> list[str]:
        has_listed.append(True)
        return unknown_ids(*given)

    def once_listed(*given: Any) -> Any:
        return drain(*given) if has_listed else None

    monkeypatch.setattr(copies, "unknown_ids", page)
    monkeypatch.setattr(reconcile, "drain", once_listed)
    run = prove(desk)
    assert (run["double"], run["missing"]) == (1, 1)
    assert run["status"] == "repaired"
    left = [post["id"] for post in desk.posts()]
    assert len(left) == 4
    assert set(left) < before
    assert len(desk.requests("create")) == 4
