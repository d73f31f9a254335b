"""The shortest way: a message that is alone in its channel is stored and claimed at once, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from fillbook.notify import drain as draining
from fillbook.notify import service
from fillbook.notify.model import Answer, Operation, Request
from fillbook.notify.store import Lease, lease_call, release_call, rest_call, turn_call
from fillbook.notify.talk import Desk
from fillbook.notify.telling import tell
from fillbook.runtime.db import Database
from fillbook.runtime.sql import statement
from tests.support.notify_desk import NotifyDesk, Stepping, action_id, executed
from tests.support.proxy import Proxy
from tests.support.servers import database_config

FREE = [{"n": 0}]


def say(desk: NotifyDesk, body: bytes, *, allowance: float = 0, at: Desk | None = None) -> service.Stored:
    """What the function does with a push."""
    return tell(at or desk.desk, body, Stepping(desk.clock, allowance))


def leases(desk: NotifyDesk) -> list[dict[str, Any]]:
    return desk.rows("select count(*)::int as n from notify.channels where lease_token is not null")


class Watching:
    """A speaker that does something while a create is on its way."""

    def __init__(self, desk: NotifyDesk, meanwhile: Callable[[], None]) -> None:
        self.inner, self.meanwhile = desk.speaker, meanwhile

    @property
    def can_read(self) -> bool:
        return self.inner.can_read

    def send(self, request: Request) -> Answer:
        answer = self.inner.send(request)
        if request.operation is Operation.CREATE:
            self.meanwhile()
        return answer


@pytest.fixture
def warm(desk: NotifyDesk) -> NotifyDesk:
    """A desk whose channel knows where it posts."""
    desk.tell(executed("warm", position="warm"))
    desk.clock.step(60)
    return desk


def test_an_idle_channel_costs_three_messages_and_two_transactions(postgres: Any, warm: NotifyDesk, database_url: str) -> None:
    with Proxy("127.0.0.1", postgres.port) as proxy:
        url = proxy.url(f"{database_url}?role=discord_notifier")
        through = Database.open(database_config(url), application_name="through")
        at = replace(warm.desk, db=through)
        say(warm, executed("first"), at=at)
        proxy.reset()
        say(warm, executed("second", position="q"), at=at)
        trips = proxy.trips
        through.close()
    assert trips == 3
    assert warm.states() == {"posted": 3}
    assert leases(warm) == FREE


def test_the_request_leaves_after_message_claim_and_log_are_committed(warm: NotifyDesk) -> None:
    seen: list[dict[str, Any]] = []
    text = (
        "select m.state, m.claimed_at = a.started_at as claimed, a.finished_at, i.outcome, d.outcome as delivery"
        " from notify.messages m join notify.attempt_subjects s on s.subject_key = m.subject_key"
        " join notify.attempts a on a.attempt_id = s.attempt_id join notify.deliveries d on d.subject_key = m.subject_key"
        " join outbox.inbox i on i.event_id = d.event_id where m.subject_key = :key"
    )
    key = f"live/{action_id('a')}"
    warm.speaker = Watching(warm, lambda: seen.extend(warm.rows(text, key=key)))  # type: ignore[assignment]
    say(warm, executed("a"))
    (row,) = seen
    assert row == {"state": "sending", "claimed": True, "finished_at": None, "outcome": "applied", "delivery": "created"}
    assert warm.message()["state"] == "posted"


def test_what_comes_while_a_message_is_on_its_way_is_sent_by_the_same_drainer(warm: NotifyDesk) -> None:
    late = [executed("late", position="late")]
    others: list[str] = []

    def meanwhile() -> None:
        if late:
            warm.push(late.pop())
            others.append(draining.drain(replace(warm.desk, speaker=warm.speaker), "executions", Stepping(warm.clock, 0)).reason)

    warm.speaker = Watching(warm, meanwhile)  # type: ignore[assignment]
    say(warm, executed("a"))
    assert others == ["busy"]
    assert warm.states() == {"posted": 3}
    assert leases(warm) == FREE


def test_a_channel_that_another_drainer_holds_is_left_to_it(warm: NotifyDesk) -> None:
    lease = Lease(channel_id="executions", token=uuid4())
    warm.db.call(lease_call(lease, warm.clock.now()))
    assert say(warm, executed("a")).is_new
    assert warm.message()["state"] == "pending"
    warm.db.call(release_call(lease, warm.clock.now()))
    warm.drain()
    assert warm.states() == {"posted": 2}


def test_what_waits_already_goes_first(warm: NotifyDesk) -> None:
    warm.push(executed("entry", position="p"))
    say(warm, executed("exit", position="p", kind="EXIT"))
    titles = [embed["title"].split()[0] for embed in warm.embeds()]
    assert titles == ["Entered", "Entered", "Closed"]


def test_a_duplicate_leaves_the_channel_free_and_sends_nothing(warm: NotifyDesk) -> None:
    body = executed("a")
    assert [say(warm, body).is_new, say(warm, body).is_new] == [True, False]
    assert len(warm.posts()) == 2
    assert leases(warm) == FREE


def test_a_correction_edits_the_message(warm: NotifyDesk) -> None:
    say(warm, executed("a"))
    say(warm, executed("a", event="execution_corrected", version=2, cause="revision", price="131"))
    assert [one["operation"] for one in warm.requests()][-1] == "edit"
    assert warm.message()["posted_version"] == 2
    assert leases(warm) == FREE


def test_a_channel_without_allowance_stores_and_waits(warm: NotifyDesk) -> None:
    for number in range(6):
        say(warm, executed(f"n{number}", position=f"n{number}"))
    assert warm.states() == {"posted": 6, "pending": 1}
    assert leases(warm) == FREE
    warm.drain(allowance=10)
    assert warm.states() == {"posted": 7}
    assert warm.discord.violations == 0


def test_a_paused_channel_stores_and_sends_nothing(warm: NotifyDesk) -> None:
    warm.rows("update notify.channels set status = 'paused', status_reason = 'by hand' returning 1 as n")
    say(warm, executed("a"))
    assert warm.message()["state"] == "pending"
    assert leases(warm) == FREE


def test_a_bug_in_sending_keeps_no_event_from_being_stored(warm: NotifyDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(draining, "plan", broken)
        assert say(warm, executed("a")).is_new
    assert warm.message()["state"] == "pending"
    assert leases(warm) == FREE
    warm.drain()
    assert warm.message()["state"] == "posted"


def test_a_kill_between_the_commit_and_the_request_tells_once(warm: NotifyDesk) -> None:
    class Killed(BaseException):
        pass

    class Dead(Watching):
        def send(self, request: Request) -> Answer:
            raise Killed

    living = warm.speaker
    warm.speaker = Dead(warm, lambda: None)  # type: ignore[assignment]
    with pytest.raises(Killed):
        say(warm, executed("a"))
    warm.speaker = living
    assert warm.message()["state"] == "sending"
    warm.lose_lease()
    warm.drain(allowance=60)
    assert warm.states() == {"posted": 2}
    assert len(warm.posts()) == 2


def test_pushes_at_once_are_all_told_and_none_twice(warm: NotifyDesk) -> None:
    bodies = [executed(f"n{number}", position=f"n{number}") for number in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda body: say(warm, body), bodies * 4))
    assert warm.states() == {"posted": 5}
    assert len(warm.posts()) == 5
    assert leases(warm) == FREE


def test_a_rest_is_refused_without_the_lease_and_while_something_waits(warm: NotifyDesk) -> None:
    lease, other = (Lease(channel_id="executions", token=uuid4()) for _ in range(2))
    now = warm.clock.now()
    warm.db.call(lease_call(lease, now))
    assert warm.db.call(rest_call(other, now)) == ({"rested": False},)
    warm.push(executed("a"))
    assert warm.db.call(rest_call(lease, now)) == ({"rested": False},)
    warm.rows("update notify.messages set state = 'muted' where state = 'pending' returning 1 as n")
    assert warm.db.call(rest_call(lease, now)) == ({"rested": True},)
    assert leases(warm) == FREE


def test_a_turn_reads_what_waits_and_no_row_that_was_posted(warm: NotifyDesk) -> None:
    warm.rows(
        "insert into notify.messages select (jsonb_populate_record(m, jsonb_build_object("
        " 'subject_key', 'live/x' || n, 'message_id', (10 ^ 15 + n)::bigint::text))).*"
        " from notify.messages m, generate_series(1, 3000) n returning 1 as n"
    )
    warm.rows("analyze notify.messages")
    warm.push(executed("a"))
    lease, now = Lease(channel_id="executions", token=uuid4()), warm.clock.now()
    fetched = statement("select idx_tup_fetch + seq_tup_read as n from pg_stat_xact_user_tables where relname = 'messages'")
    with warm.db.transaction() as tx:
        (before,) = tx.query(fetched)  # what the session read earlier counts until it was told
        _, turn = tx.call(lease_call(lease, now), turn_call(lease, now))
        (after,) = tx.query(fetched)
    assert len(turn["rows"]) == 1
    assert after["n"] - before["n"] < 30
