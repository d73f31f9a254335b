"""The function desk_keeper with its own role: books audited, chains anchored and announced, once per session."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fillbook.ledger.model import Book, Fill, Side
from fillbook.ledger.service import book_fills, open_book
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from tests.support.ledger_statements import BrokerDesk, line
from tests.support.publisher import FakePublisher

Query = Callable[..., list[dict[str, Any]]]
EVENING = datetime(2026, 2, 3, 22, 45, tzinfo=UTC)
SCHEDULER = {"X-CloudScheduler-JobName": "desk-keeper", "X-CloudScheduler-ScheduleTime": "2026-02-03T22:45:00Z"}


@pytest.fixture
def keeper(function_app: Any, database_url: str) -> Any:
    """The function's client, with a publisher and a clock of ours, and a caller that is let in."""
    env = {
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=desk_keeper",
        "FILLBOOK_PROJECT": "fillbook-local",
        "FILLBOOK_OIDC_AUDIENCE": "https://desk-keeper.fillbook-local.invalid",
        "FILLBOOK_OIDC_CALLERS": "cloud-scheduler@fillbook-local.iam.gserviceaccount.com",
    }
    client = function_app("desk_keeper", env)
    module = function_app.modules["desk_keeper"]
    publisher = FakePublisher()
    module.publisher = lambda: publisher
    module.clock_for = lambda config: FixedClock(EVENING)
    client.publisher, client.module = publisher, module
    yield client
    module.database().close()


def let_in(client: Any) -> None:
    allowed = type("Allowed", (), {"check": staticmethod(lambda request: "cloud-scheduler")})()
    client.module.verifier = lambda: allowed


def book(db: Database, book_id: str) -> None:
    """One book with one fill."""
    fill = Fill(
        source="signal", account_key="", source_id="r1#1", instrument="AMD", ticker="AMD", contract_name="AMD",
        side=Side.BUY, quantity=Decimal(10), price=Decimal(100), currency="USD", fees=Decimal(1), fees_currency="USD",
        executed_at=EVENING, session_date=EVENING.date(), received_at=EVENING,
    )  # fmt: skip
    with db.transaction() as tx:
        open_book(tx, Book(book_id=book_id), EVENING)
    with db.transaction() as tx:
        book_fills(tx, book_id, [fill], EVENING)


def test_a_caller_without_a_token_is_refused(keeper: Any) -> None:
    assert keeper.post("/").status_code == 401


def test_the_evening_audits_anchors_and_announces_every_book_with_new_rows_once(keeper: Any, db: Database, query: Query) -> None:
    let_in(keeper)
    book(db, "live")
    book(db, "replay:r1")
    answer = keeper.post("/", json={}, headers=SCHEDULER)
    assert answer.status_code == 200
    document = answer.get_json()
    assert document["status"] == "kept"
    assert [(one["book_id"], one["exit"]) for one in document["audits"]] == [("live", 0)]
    assert query("select book_id, exit from ledger.audits") == [{"book_id": "live", "exit": 0}]
    assert len(query("select 1 from ledger.chain_anchors")) == 1
    told = [envelope["event_type"] for envelope in keeper.publisher.envelopes()]
    assert told.count("ledger_anchored") == 1
    assert "audit_failed" not in told
    assert keeper.post("/", json={}, headers=SCHEDULER).get_json() == {"status": "duplicate"}
    tomorrow = {**SCHEDULER, "X-CloudScheduler-ScheduleTime": "2026-02-04T22:45:00Z"}
    assert keeper.post("/", json={}, headers=tomorrow).get_json()["audits"] == []


def test_a_broken_book_is_announced_and_the_others_are_still_kept(keeper: Any, db: Database, query: Query) -> None:
    let_in(keeper)
    book(db, "live")
    book(db, "ibkr:U1")
    query("update ledger.positions set quantity_open = 11, quantity_opened = 11 where book_id = 'ibkr:U1'")
    document = keeper.post("/", json={}, headers=SCHEDULER).get_json()
    assert {one["book_id"]: one["exit"] for one in document["audits"]} == {"live": 0, "ibkr:U1": 21}
    failed = [one for one in keeper.publisher.envelopes() if one["event_type"] == "audit_failed"]
    assert [one["book_id"] for one in failed] == ["ibkr:U1"]


def test_the_evening_tells_a_break_again_that_has_become_two_sessions_old(keeper: Any, db: Database, query: Query) -> None:
    """Found on Thursday 29 January in the session; by Tuesday evening Friday, Monday and Tuesday have passed."""
    let_in(keeper)
    BrokerDesk(db).hears(line("AMD", 9), as_of=EVENING - timedelta(days=5, hours=4))
    document = keeper.post("/", json={}, headers=SCHEDULER).get_json()
    assert document["breaks"] == {"books": 1, "compared": 0, "found": 0, "resolved": 0, "told_again": 1}
    told = [one for one in keeper.publisher.envelopes() if one["event_type"] == "break_found"]
    assert [one["data"]["sessions"] for one in told] == [0, 3]
    again = keeper.post("/", json={}, headers={**SCHEDULER, "X-CloudScheduler-ScheduleTime": "2026-02-04T22:45:00Z"})
    assert again.get_json()["breaks"]["told_again"] == 0
    assert [row["sessions"] for row in query("select sessions from ledger.v_breaks")] == [3]


def test_a_holiday_is_closed(keeper: Any, db: Database, query: Query) -> None:
    let_in(keeper)
    book(db, "live")
    holiday = {**SCHEDULER, "X-CloudScheduler-ScheduleTime": "2026-02-16T22:45:00Z"}
    assert keeper.post("/", json={}, headers=holiday).get_json() == {"status": "closed"}
    assert query("select 1 from ledger.audits") == []
