"""Whoever finds no place at a door is told to come back, in the door's own words, and nothing of his request is kept."""

from __future__ import annotations

from typing import Any

import pytest

from fillbook.runtime.places import Overloaded, Places
from tests.integration.reliability.conftest import Query
from tests.support.every_function import Desk, doors, right_headers, slug_of, usual_body
from tests.support.topics import Topics

BOUNDED = [door for door in doors() if door.function.waiting]
KEPT = ("signal.receipts", "signal.quarantine", "outbox.inbox", "outbox.quarantine", "notify.messages")


def test_every_door_with_places_refuses_with_503_and_keeps_nothing(
    every: Desk, published: Topics, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_places: Places, _waited: float) -> Any:
        raise Overloaded

    monkeypatch.setattr(Places, "take", full)
    assert {door.function.name for door in BOUNDED} >= {"signal_ingest", "signal_worker", "discord_notifier", "trade_tracker"}
    for door in BOUNDED:
        answer = every.call(door, headers=right_headers(door), data=usual_body(door))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5"), str(door)
        assert slug_of(answer.get_json()) == "overloaded", str(door)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert query("select " + " + ".join(f"(select count(*) from {table})" for table in KEPT) + " as n") == [{"n": 0}]
    assert published.messages == {}
