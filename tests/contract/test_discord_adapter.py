"""One suite for whoever speaks Discord: the adapter over HTTP and the fake's rules called directly behave alike.

Then what only the adapter can get wrong: URLs, bounds, sockets, secrets.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from fillbook.notify.answers import Verdict, classify
from fillbook.notify.discord import Discord
from fillbook.notify.model import Failure, Operation, Request, Speaker
from fillbook.notify.webhook import API_BASE, Webhook, parse_webhook
from fillbook.runtime import clock
from fillbook.runtime.clock import FixedClock
from infra.local.discord import DiscordFake
from tests.support.discord_speaker import DirectSpeaker
from tests.support.notify_desk import speaker_for

Answer = Callable[[socket.socket, threading.Event], object]

OPENING = datetime(2026, 2, 3, 14, 30, tzinfo=UTC)
TOKEN = "canary-token-of-a-webhook-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDE"


@pytest.fixture(scope="module")
def served() -> Iterator[DiscordFake]:
    with DiscordFake(clock=FixedClock(OPENING)) as fake:
        yield fake


@pytest.fixture
def fake(served: DiscordFake) -> DiscordFake:
    served.reset()
    served.clock.step(120)
    return served


@pytest.fixture(params=["adapter", "fake"])
def speaker(request: pytest.FixtureRequest, fake: DiscordFake) -> Speaker:
    return speaker_for(fake, total_seconds=20) if request.param == "adapter" else DirectSpeaker(fake)


def embed(footer: str = "subject x") -> dict[str, Any]:
    return {"title": "T", "description": "D", "color": 1, "timestamp": "2026-02-03T15:15:04Z",
            "fields": [{"name": "n", "value": "v", "inline": True}], "footer": {"text": footer}}  # fmt: skip


def create(*embeds: dict[str, Any]) -> Request:
    return Request(operation=Operation.CREATE, channel_id="executions", embeds=embeds or (embed(),))


def on(operation: Operation, message_id: str | None = None, *embeds: dict[str, Any]) -> Request:
    return Request(operation=operation, channel_id="executions", message_id=message_id, embeds=embeds)


def made(speaker: Speaker) -> str:
    judged = classify(create(), speaker.send(create()))
    assert judged.verdict is Verdict.DONE
    assert judged.message_id is not None
    return judged.message_id


def test_a_create_answers_with_the_message_that_carries_our_footer(speaker: Speaker, fake: DiscordFake) -> None:
    message_id = made(speaker)
    (message,) = fake.messages("executions")
    assert message["id"] == message_id
    assert message["embeds"][0]["timestamp"] == "2026-02-03T15:15:04+00:00"


def test_an_edit_replaces_every_embed(speaker: Speaker, fake: DiscordFake) -> None:
    request = on(Operation.EDIT, made(speaker), embed("subject y"), embed("subject z"))
    assert classify(request, speaker.send(request)).verdict is Verdict.DONE
    assert [one["footer"]["text"] for one in fake.messages("executions")[0]["embeds"]] == ["subject y", "subject z"]


def test_a_message_is_read_back_in_full(speaker: Speaker) -> None:
    request = on(Operation.GET, made(speaker))
    judged = classify(request, speaker.send(request))
    assert judged.verdict is Verdict.DONE
    assert judged.document["embeds"][0]["footer"]["text"] == "subject x"


def test_a_deleted_message_is_unknown(speaker: Speaker) -> None:
    message_id = made(speaker)
    assert classify(on(Operation.DELETE, message_id), speaker.send(on(Operation.DELETE, message_id))).verdict is Verdict.DONE
    for operation in (Operation.GET, Operation.DELETE):
        request = on(operation, message_id)
        assert classify(request, speaker.send(request)).verdict is Verdict.MESSAGE_GONE
    edit = on(Operation.EDIT, message_id, embed())
    assert classify(edit, speaker.send(edit)).verdict is Verdict.MESSAGE_GONE


def test_a_webhook_introduces_its_channel(speaker: Speaker, fake: DiscordFake) -> None:
    judged = classify(on(Operation.HOOK), speaker.send(on(Operation.HOOK)))
    assert judged.document["channel_id"] == fake.webhook("executions").channel_id


def test_a_listed_message_shows_its_webhook_and_no_content(speaker: Speaker, fake: DiscordFake) -> None:
    message_id = made(speaker)
    webhook = fake.webhook("executions")
    request = Request(operation=Operation.LIST, channel_id="executions", place=webhook.channel_id, before=int(message_id) + 1)
    (listed,) = classify(request, speaker.send(request)).document
    assert (listed["id"], listed["webhook_id"], listed["embeds"]) == (message_id, webhook.webhook_id, [])


def test_an_invalid_body_is_rejected_with_its_path(speaker: Speaker) -> None:
    request = create({**embed(), "title": "x" * 300})
    answer = speaker.send(request)
    assert classify(request, answer).reason == "rejected_50035"
    assert "title" in answer.excerpt


@pytest.mark.parametrize(("state", "reason"), [("deleted", "discord_10015"), ("token_bad", "discord_50027"),
                                               ("forbidden", "discord_50013"), ("channel_deleted", "discord_10003")])  # fmt: skip
def test_a_broken_webhook_is_gone(speaker: Speaker, fake: DiscordFake, state: str, reason: str) -> None:
    fake.set_state("executions", state)
    judged = classify(create(), speaker.send(create()))
    assert (judged.verdict, judged.reason) == (Verdict.CHANNEL_GONE, reason)


KNOBS = {
    "rate_limit.normal": Verdict.RATE_LIMITED, "rate_limit.header_only": Verdict.RATE_LIMITED,
    "rate_limit.ms_header": Verdict.RATE_LIMITED, "rate_limit.ms_body": Verdict.RATE_LIMITED,
    "rate_limit.ms_both": Verdict.RATE_LIMITED, "rate_limit.shared": Verdict.RATE_LIMITED,
    "rate_limit.global": Verdict.RATE_LIMITED, "rate_limit.remaining_2": Verdict.RATE_LIMITED,
    "rate_limit.old_edits": Verdict.OLD_EDITS_LIMITED, "rate_limit.ban": Verdict.BANNED,
    "server_error.500": Verdict.FAILED, "server_error.502": Verdict.FAILED, "server_error.503": Verdict.FAILED,
    "server_error.504": Verdict.FAILED, "network.hang": Verdict.NO_ANSWER, "network.reset": Verdict.NO_ANSWER,
    "network.reset_after_accept": Verdict.NO_ANSWER, "network.hang_after_accept": Verdict.NO_ANSWER,
    "network.drip": Verdict.CREATED_UNKNOWN, "network.huge": Verdict.CREATED_UNKNOWN,
    "body.invalid_json": Verdict.CREATED_UNKNOWN, "body.empty_200": Verdict.CREATED_UNKNOWN,
    "body.no_content": Verdict.CREATED_UNKNOWN, "body.wrong_id": Verdict.CREATED_UNKNOWN,
    "body.other_embed": Verdict.CREATED_UNKNOWN,
}  # fmt: skip


ENDLESS = ("network.hang", "network.hang_after_accept", "network.drip")


@pytest.mark.parametrize("knob", KNOBS)
def test_every_fault_of_a_create_has_its_verdict(speaker: Speaker, fake: DiscordFake, knob: str) -> None:
    options = {"bytes": 1_000_000} if knob == "network.huge" else {}
    if knob in ENDLESS and isinstance(speaker, Discord):
        speaker = speaker_for(fake, total_seconds=1.5)
    fake.fault(knob, route="create", **options)
    judged = classify(create(), speaker.send(create()))
    assert judged.verdict is KNOBS[knob]
    assert judged.is_global == (knob in ("rate_limit.global", "rate_limit.ban"))


# --- what only the adapter can get wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com"])
@pytest.mark.parametrize("version", ["", "v6/", "v10/"])
def test_a_copied_url_gives_id_and_token_whatever_its_version(host: str, version: str) -> None:
    assert parse_webhook(f"https://{host}/api/{version}webhooks/123456789012345678/{TOKEN}") == ("123456789012345678", TOKEN)


@pytest.mark.parametrize(
    "url",
    [
        f"https://evil.example/api/webhooks/123456789012345678/{TOKEN}",
        f"http://discord.com/api/webhooks/123456789012345678/{TOKEN}",
        f"https://discord.com.evil.example/api/webhooks/123456789012345678/{TOKEN}",
        f"https://discord.com/api/webhooks/1234/{TOKEN}",
        f"https://discord.com/api/webhooks/123456789012345678/{TOKEN}/messages/1",
        f"https://discord.com/api/webhooks/123456789012345678/{TOKEN}?wait=true",
        "https://discord.com/api/webhooks/123456789012345678/short",
        f"https://discord.com@evil.example/api/webhooks/123456789012345678/{TOKEN}",
        "https://[broken",
        "",
    ],
)
def test_what_is_no_webhook_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="is not a Discord webhook URL") as refused:
        parse_webhook(url)
    assert TOKEN not in str(refused.value)


def test_every_request_is_version_ten_with_our_agent_and_no_mentions(fake: DiscordFake) -> None:
    speaker = speaker_for(fake)
    message_id = made(speaker)
    speaker.send(on(Operation.EDIT, message_id, embed()))
    created, edited = fake.requests()[-2:]
    for one in (created, edited):
        assert one["path"].startswith("/api/v10/webhooks/")
        assert one["user_agent"].startswith("DiscordBot (https://")
        assert one["body"]["allowed_mentions"] == {"parse": []}
    assert created["body"]["username"] == "Fillbook"
    assert edited["body"]["content"] == ""


def test_a_thread_is_named_in_every_request_to_it(fake: DiscordFake) -> None:
    thread = fake.add_thread("executions")
    speaker = speaker_for(fake, threads={"executions": thread})
    message_id = made(speaker)
    assert fake.messages("executions")[-1]["channel_id"] == thread
    for request in (on(Operation.GET, message_id), on(Operation.EDIT, message_id, embed()), on(Operation.DELETE, message_id)):
        assert classify(request, speaker.send(request)).verdict is Verdict.DONE


def test_a_dripping_answer_ends_at_the_deadline(fake: DiscordFake) -> None:
    fake.fault("network.drip", route="create", interval=0.02)
    began = clock.monotonic()
    answer = speaker_for(fake, total_seconds=2.0).send(create())
    assert clock.monotonic() - began < 30  # bounded, not measured
    assert (answer.status, answer.failure, answer.error) == (200, Failure.TORN, "deadline")


def test_a_huge_answer_is_cut_at_a_quarter_of_a_mebibyte(fake: DiscordFake) -> None:
    fake.fault("network.huge", route="create", bytes=50 * 1024 * 1024)
    answer = speaker_for(fake, total_seconds=20).send(create())
    assert (answer.failure, answer.error) == (Failure.TORN, "answer_too_large")
    assert len(answer.excerpt) <= 500


def test_a_header_that_drips_ends_at_the_deadline_too() -> None:
    with _Server(_drip_headers) as url:
        answer = _discord(url, total_seconds=0.2).send(create())
    assert answer.error == "deadline"
    verdicts = {Failure.TORN: Verdict.CREATED_UNKNOWN, Failure.NO_ANSWER: Verdict.NO_ANSWER}  # was the status line read?
    assert answer.failure is not None
    assert classify(create(), answer).verdict is verdicts[answer.failure]


def test_each_of_several_requests_at_once_ends_at_its_own_deadline() -> None:
    with ThreadPoolExecutor(3) as pool, _Server(_say_nothing) as url:
        patient, *hasty = [pool.submit(_discord(url, total_seconds=seconds).send, create()) for seconds in (60, 0.2, 0.6)]
        assert [one.result().error for one in hasty] == ["deadline", "deadline"]
        assert not patient.done()
    assert patient.result().error not in (None, "deadline")


def test_a_server_that_never_answers_ends_at_the_deadline() -> None:
    with _Server(_say_nothing) as url:
        answer = _discord(url, total_seconds=0.2).send(create())
    assert (answer.failure, answer.error, answer.status) == (Failure.NO_ANSWER, "deadline", None)


def test_a_redirect_is_not_followed() -> None:
    reply = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with _Server(_say(reply)) as url:
        answer = _discord(url).send(create())
    assert (answer.status, classify(create(), answer).verdict) == (307, Verdict.FAILED)


def test_a_refused_connection_was_not_sent(fake: DiscordFake) -> None:
    speaker = speaker_for(fake)
    fake.refuse()
    try:
        assert speaker.send(create()).failure is Failure.NOT_SENT
    finally:
        fake.accept()


def test_an_unknown_host_and_a_broken_handshake_were_not_sent() -> None:
    assert _discord("http://host.invalid/api/v10").send(create()).failure is Failure.NOT_SENT
    with _Server(_say(b"no TLS here")) as url:
        answer = _discord(url.replace("http://", "https://")).send(create())
    assert answer.failure is Failure.NOT_SENT


def test_no_secret_is_in_a_repr_an_excerpt_or_an_error() -> None:
    reply = f"HTTP/1.1 400 Bad Request\r\nContent-Length: {len(TOKEN) + 4}\r\n\r\n{TOKEN}bot!".encode()
    with _Server(_say(reply)) as url:
        discord = _discord(url)
        answer = discord.send(create())
    told = repr(answer) + repr(discord) + repr(vars(discord)) + str(discord.channels()) + repr(create())
    assert answer.excerpt.startswith("***")
    assert TOKEN not in told
    unreachable = _discord("http://127.0.0.1:9/api/v10").send(create())
    assert TOKEN not in repr(unreachable)


def test_the_api_base_is_version_ten() -> None:
    assert API_BASE == "https://discord.com/api/v10"


def _discord(base: str, *, total_seconds: float = 20.0) -> Discord:
    webhook = Webhook(webhook_id="123456789012345678", token=SecretStr(TOKEN), secret_name="X")
    return Discord({"executions": webhook}, api_base=base, total_seconds=total_seconds)


def _drip_headers(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not over.wait(0.01):
        connection.sendall(b"X-Drip: 1\r\n")


def _say_nothing(_connection: socket.socket, over: threading.Event) -> None:
    over.wait()


def _say(reply: bytes) -> Answer:
    """Answer with these bytes."""
    return lambda connection, _over: connection.sendall(reply)


class _Server:
    """Answers every connection in a thread of its own, as a test wants it to; all are ended with the block."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> str:
        self._threads[0].start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/api/v10"

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._socket.shutdown(socket.SHUT_RDWR)  # wakes the accept
        for thread in self._threads:
            thread.join(timeout=5)
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65_536)
            self._answer(connection, self._over)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.1)
            while connection.recv(65_536):
                continue
