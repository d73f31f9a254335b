"""Check 29, the parts that concern messages: a poison message is redelivered to the limit, kept once, and stops nobody.

Pushes of the real local Pub/Sub reach the real function of the notifier. The snapshot's part of this check (an old signed
snapshot again, with a changed time too) belongs to the room that publishes it; identities have their tests in check 27.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fillbook.notify import telling
from fillbook.notify.envelope import Envelope
from fillbook.runtime.clock import real_epoch_seconds
from infra.local.deskclock import DeskClockFile
from infra.local.discord import DiscordFake
from infra.local.ports import free_port
from infra.local.wiring import Wiring
from tests.integration.reliability.conftest import Query
from tests.support.every_function import MANIFEST, Desk, identity
from tests.support.local_cloud import MessageProcess, Push, Receiver
from tests.support.notify_desk import executed
from tests.support.topics import envelope

NOTIFIER = MANIFEST.functions["discord_notifier"]
(EVENTS,) = (one for one in MANIFEST.subscriptions if one.topic == "events")
BUG = "a bug that no retry mends"


class Wired:
    """The notifier behind the local Pub/Sub: every push is answered by the function; ``statuses`` in order of arrival."""

    def __init__(self, every: Desk, discord: DiscordFake, folder: Path) -> None:
        own = every.with_settings(
            DISCORD_EXECUTIONS_WEBHOOK=discord.webhook("executions").url,
            DISCORD_OPS_WEBHOOK=discord.webhook("ops").url,
            DISCORD_API_BASE=discord.api_base,
        )
        self.client = own.client(NOTIFIER)
        self.discord = discord
        self.answers: list[tuple[str, str, int]] = []
        self.receiver = Receiver(self._answer)
        port = free_port()
        live = self.receiver.subscription(
            name=EVENTS.name, topic="events", attempts_max=EVENTS.attempts_max, dead_letter_topic=EVENTS.dead_letter_topic,
            retry_min_seconds=1, retry_max_seconds=1,
        )  # fmt: skip
        dead = self.receiver.subscription(
            name="dead", topic=EVENTS.dead_letter_topic, url=f"{self.receiver.url}/dead", dead_letter_topic=None
        )
        topics = ("events", str(EVENTS.dead_letter_topic))
        wiring = Wiring(project="p", topics=topics, subscriptions=(live, dead), retry_floor_seconds=0.0)
        DeskClockFile(folder / "clock.json").apply({"desk_at": datetime(2026, 2, 3, 15, tzinfo=UTC).isoformat(), "paused": True})
        self.messages = MessageProcess(folder, wiring, port)
        self.messages.start()

    def _answer(self, push: Push) -> int:
        client = self.client.application.test_client()
        status = client.post(
            push.path, data=push.body, headers=identity(NOTIFIER.name), content_type="application/json"
        ).status_code
        self.answers.append((push.path, push.text, status))
        return status

    def publish(self, body: bytes, key: str) -> None:
        self.messages.publish(body.decode(), key=key, topic="events")

    def exhaust(self, attempts: int) -> None:
        """Let the desk seconds pass after which what failed comes again, until it is given up."""
        for attempt in range(1, attempts):
            self.messages.wait_until(lambda attempt=attempt: self.messages.figures(EVENTS.name)["failed"] >= attempt)
            self.messages.clock.step(1)
        assert self.messages.control.wait_idle()

    def close(self) -> None:
        self.messages.kill()
        self.receiver.close()


@pytest.fixture
def wired(every: Desk, tmp_path: Path) -> Iterator[Wired]:
    home = tmp_path / "messages"
    home.mkdir()
    with DiscordFake() as discord:
        one = Wired(every, discord, home)
        yield one
        one.close()


def quarantined(query: Query) -> list[dict[str, Any]]:
    return query("select reason, count from outbox.quarantine where consumer = 'discord_notifier'")


@pytest.mark.slow
def test_check_29_a_poison_message_is_redelivered_to_the_limit_kept_once_and_others_flow(
    wired: Wired, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = executed("poison", ticker="AMD")
    plain = telling.parse_envelope

    def parse_envelope(body: bytes) -> Envelope:
        if body == poison:
            raise RuntimeError(BUG)
        return plain(body)

    monkeypatch.setattr(telling, "parse_envelope", parse_envelope)
    wired.publish(poison, "live/AMD")
    wired.publish(executed("behind", ticker="AMD", position="b"), "live/AMD")
    wired.publish(executed("beside", ticker="NVDA", position="c"), "live/NVDA")
    wired.messages.wait_until(lambda: len(wired.discord.messages("executions")) == 1)
    assert wired.discord.messages("executions")[0]["embeds"][0]["title"] == "Entered NVDA LONG", "others flow meanwhile"
    wired.exhaust(EVENTS.attempts_max or 0)
    of_poison = [(path, status) for path, text, status in wired.answers if text == poison.decode()]
    assert of_poison == [("/", 500)] * (EVENTS.attempts_max or 0) + [("/dead", 204)]
    assert quarantined(query) == [{"reason": "dead_letter", "count": 1}]
    assert sorted(one["embeds"][0]["title"] for one in wired.discord.messages("executions")) == [
        "Entered AMD LONG", "Entered NVDA LONG",
    ]  # fmt: skip
    again = wired.client.post("/dead", json=envelope(poison), headers=identity(NOTIFIER.name))
    assert (again.status_code, quarantined(query)) == (204, [{"reason": "dead_letter", "count": 2}]), "one row, counted"


def test_check_29_what_can_never_be_understood_is_kept_at_once_and_never_comes_again(wired: Wired, query: Query) -> None:
    broken = json.dumps({**json.loads(executed("x")), "schema_version": 9})
    for _ in range(3):
        wired.publish(broken.encode(), "live/AMD")
    wired.publish(executed("after"), "live/AMD")
    assert wired.messages.control.wait_idle()
    assert [status for _, _, status in wired.answers] == [204] * 4
    assert quarantined(query) == [{"reason": "schema_version_unknown", "count": 3}]
    assert len(wired.discord.messages("executions")) == 1


WRONG: dict[str, Callable[[], dict[str, str]]] = {
    "expired": lambda: identity(NOTIFIER.name, issued=real_epoch_seconds() - 7200),
    "altered": lambda: {"Authorization": _altered(identity(NOTIFIER.name)["Authorization"])},
}


def _altered(header: str) -> str:
    """The same token with another e-mail's payload under the genuine signature."""
    head, payload, signature = header.split(".")
    return f"{head}.{payload[:-4]}{'AAAA' if payload[-4:] != 'AAAA' else 'BBBB'}.{signature}"


@pytest.mark.parametrize("wrong", WRONG)
def test_check_29_an_expired_or_altered_identity_is_401_and_has_no_effect(wired: Wired, query: Query, wrong: str) -> None:
    for path in ("/", "/dead"):
        answer = wired.client.post(path, json=envelope(executed()), headers=WRONG[wrong]())
        assert answer.status_code == 401
    assert quarantined(query) == []
    assert query("select 1 from notify.messages") == []
    assert wired.discord.messages("executions") == []
