"""The fake Discord keeps the documented contract: paths, shapes, normalized embeds, length limits, rate limits, ids."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from fillbook.runtime.clock import FixedClock
from infra.local.discord import DiscordFake, desk_speed
from infra.local.discord_limits import INVALID_LIMIT, Limits
from tests.support.discord import OPENING, Caller


@pytest.fixture
def caller() -> Iterator[Caller]:
    clock = FixedClock(OPENING)
    with DiscordFake(clock=clock) as fake:
        caller = Caller(fake, clock)
        yield caller
        caller.close()


def errors_of(answer: requests.Response) -> Any:
    assert answer.status_code == 400
    document = answer.json()
    assert (document["code"], document["message"]) == (50035, "Invalid Form Body")
    return document["errors"]


def test_a_created_message_is_answered_whole_when_waited_for(caller: Caller) -> None:
    answer = caller.create()
    message = answer.json()
    assert answer.status_code == 200
    assert message["webhook_id"] == caller.webhook.webhook_id
    assert message["channel_id"] == caller.webhook.channel_id
    assert message["timestamp"] == "2026-02-03T14:30:00.000000+00:00"
    assert message["author"]["bot"] is True
    assert caller.get(message["id"]).json() == message


def test_without_wait_nothing_is_answered_and_a_refused_message_is_lost_silently(caller: Caller) -> None:
    assert caller.create(wait=False).status_code == 204
    assert caller.create({"embeds": [{"title": "x" * 257}]}, wait=False).status_code == 204
    assert len(caller.fake.messages()) == 1


def test_an_id_is_a_snowflake_of_the_desk_clock_and_ids_only_grow_within_an_instant(caller: Caller) -> None:
    ids = [int(caller.create().json()["id"]) for _ in range(3)]
    made_at = (ids[0] >> 22) + 1420070400000
    assert made_at == int(OPENING.timestamp() * 1000)
    assert ids == sorted(set(ids))


def test_a_clock_set_back_still_gives_new_ids(caller: Caller) -> None:
    first = caller.create().json()["id"]
    caller.clock.step(10)
    second = caller.create().json()["id"]
    caller.clock.step(-10)
    assert caller.create().json()["id"] not in (first, second)


def test_embeds_come_back_as_discord_normalizes_them(caller: Caller) -> None:
    sent = {
        "title": "  Trimmed AMD  ", "color": "16096779", "timestamp": "2026-02-03T15:15:04.1239Z", "ignored": 1,
        "fields": [{"name": " price ", "value": "130.00\n"}, {"name": "quantity", "value": "24", "inline": True}],
        "footer": {"text": "v1 ", "icon": 3},
    }  # fmt: skip
    assert caller.create({"embeds": [sent]}).json()["embeds"] == [
        {
            "type": "rich", "title": "Trimmed AMD", "color": 16096779, "timestamp": "2026-02-03T15:15:04.123000+00:00",
            "fields": [
                {"name": "price", "value": "130.00", "inline": False},
                {"name": "quantity", "value": "24", "inline": True},
            ],
            "footer": {"text": "v1"},
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "path", "code"),
    [
        ({"content": "x" * 2001}, "content", "BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"title": "x"}] * 11}, "embeds", "BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"title": "x" * 257}]}, "embeds.0.title", "BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"description": "x" * 4097}]}, "embeds.0.description", "BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"fields": [{"name": "n", "value": "v"}] * 26}]}, "embeds.0.fields", "BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"fields": [{"name": "n" * 257, "value": "v"}]}]}, "embeds.0.fields.0.name", "BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"fields": [{"name": "n", "value": "v" * 1025}]}]}, "embeds.0.fields.0.value", "BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"fields": [{"name": "n", "value": "  "}]}]}, "embeds.0.fields.0.value", "BASE_TYPE_REQUIRED"),
        ({"embeds": [{"title": "t", "footer": {"text": "x" * 2049}}]}, "embeds.0.footer.text", "BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"title": "t"}, {"color": 3}]}, "embeds.1", "BASE_TYPE_REQUIRED"),
        ({"embeds": [{"title": "t", "color": 0x1000000}]}, "embeds.0.color", "NUMBER_TYPE_MAX"),
        ({"embeds": [{"title": "t", "timestamp": "noon"}]}, "embeds.0.timestamp", "DATE_TIME_TYPE_PARSE"),
        ({"embeds": [{"title": "t"}], "allowed_mentions": {"parse": ["all"]}}, "allowed_mentions.parse.0", "BASE_TYPE_CHOICES"),
        ({"embeds": [{"title": "t"}], "username": "a Discord bot"}, "username", "USERNAME_INVALID_CONTAINS"),
        ({"embeds": "t"}, "embeds", "LIST_TYPE_CONVERT"),
    ],
)  # fmt: skip
def test_every_limit_is_refused_with_the_path_of_the_offender(caller: Caller, body: dict[str, Any], path: str, code: str) -> None:
    node = errors_of(caller.create(body))
    for step in path.split("."):
        node = node[step]
    assert code in [error["code"] for error in node["_errors"]]
    assert caller.fake.messages() == []


def test_lengths_at_the_limit_are_accepted(caller: Caller) -> None:
    fields = [{"name": "n" * 256, "value": "v" * 768}] + [{"name": "n", "value": "v"}] * 24
    embed = {"title": "t" * 256, "description": "d" * 4096, "fields": fields, "footer": {"text": "f" * 576}}
    assert caller.create({"content": "c" * 2000, "embeds": [embed]}).status_code == 200


def test_six_thousand_are_counted_over_all_embeds(caller: Caller) -> None:
    embeds = [{"description": "d" * 3000}, {"description": "d" * 2999, "footer": {"text": "ff"}}]
    errors = errors_of(caller.create({"embeds": embeds}))
    assert errors["embeds"]["1"]["_errors"][0]["code"] == "MAX_EMBED_SIZE_EXCEEDED"


@pytest.mark.parametrize("body", [{}, {"content": "   "}, {"embeds": []}])
def test_an_empty_message_has_its_own_code(caller: Caller, body: dict[str, Any]) -> None:
    answer = caller.create(body)
    assert (answer.status_code, answer.json()["code"]) == (400, 50006)


def test_a_body_that_is_no_json_object_is_refused(caller: Caller) -> None:
    headers = {"Content-Type": "application/json"}
    torn = caller.session.post(caller.url + "?wait=1", data=b'{"content":', headers=headers, timeout=5)
    assert (torn.status_code, torn.json()["code"]) == (400, 50109)
    listed = caller.session.post(caller.url + "?wait=1", data=b"[]", headers=headers, timeout=5)
    assert (listed.status_code, listed.json()["code"]) == (400, 50035)


def test_an_edit_replaces_all_embeds_and_keeps_what_it_does_not_name(caller: Caller) -> None:
    message = caller.create({"content": "c", "embeds": [{"title": "one"}, {"title": "two"}]}).json()
    caller.clock.step(3)
    edited = caller.edit(message["id"], {"embeds": [{"title": "three"}]}).json()
    assert [embed["title"] for embed in edited["embeds"]] == ["three"]
    assert edited["content"] == "c"
    assert edited["timestamp"] == message["timestamp"]
    assert edited["edited_timestamp"] == "2026-02-03T14:30:03.000000+00:00"


def test_a_deleted_message_is_unknown_for_every_verb(caller: Caller) -> None:
    message_id = caller.create().json()["id"]
    assert caller.delete(message_id).status_code == 204
    for answer in (caller.get(message_id), caller.edit(message_id, {"content": "x"}), caller.delete(message_id)):
        assert (answer.status_code, answer.json()["code"]) == (404, 10008)


def test_a_message_belongs_to_its_webhook_and_its_thread(caller: Caller) -> None:
    thread = caller.fake.add_thread("executions")
    inside = caller.create(thread_id=thread).json()["id"]
    assert caller.get(inside).json()["code"] == 10008
    assert caller.get(inside, thread_id=thread).status_code == 200
    other = Caller(caller.fake, caller.clock, "ops")
    assert other.get(caller.create().json()["id"]).json()["code"] == 10008
    assert caller.create(thread_id="1").json()["code"] == 10003
    other.close()


def test_a_forum_channel_takes_posts_in_threads_only(caller: Caller) -> None:
    thread = caller.fake.add_thread("executions")
    caller.fake.make_forum("executions")
    assert (caller.create().status_code, caller.create().json()["code"]) == (400, 220001)
    assert caller.create(thread_id=thread).status_code == 200


def test_a_webhook_answers_for_itself_and_a_wrong_token_or_id_does_not(caller: Caller) -> None:
    own = caller.session.get(caller.url, timeout=5).json()
    assert (own["id"], own["channel_id"], own["type"]) == (caller.webhook.webhook_id, caller.webhook.channel_id, 1)
    wrong = caller.session.get(caller.url[:-1] + "~", timeout=5)
    assert (wrong.status_code, wrong.json()["code"]) == (401, 50027)
    missing = caller.session.get(f"{caller.fake.api_base}/webhooks/12345678901234567/{'t' * 68}", timeout=5)
    assert (missing.status_code, missing.json()["code"]) == (404, 10015)


def test_a_url_as_copied_has_an_id_and_a_token_of_the_real_form(caller: Caller) -> None:
    assert caller.webhook.url == f"https://discord.com/api/webhooks/{caller.webhook.webhook_id}/{caller.webhook.token}"
    assert 17 <= len(caller.webhook.webhook_id) <= 20
    assert 60 <= len(caller.webhook.token) <= 90


def test_a_client_without_the_required_user_agent_is_blocked(caller: Caller) -> None:
    answer = requests.get(caller.url, headers={"User-Agent": "python-requests/2"}, timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (403, 40333)


def test_the_read_bot_lists_ids_with_blank_embeds(caller: Caller) -> None:
    ids = [caller.create().json()["id"] for _ in range(4)]
    listed = caller.list().json()
    assert [one["id"] for one in listed] == ids[::-1]
    assert {str(one["embeds"]) for one in listed} == {"[]"}
    assert [one["id"] for one in caller.list(after=ids[0], limit=2).json()] == [ids[2], ids[1]]
    assert [one["id"] for one in caller.list(before=ids[2]).json()] == [ids[1], ids[0]]
    assert caller.list(limit=101).json()["code"] == 50035
    assert caller.list("wrong").status_code == 401


def test_five_writes_fit_into_two_seconds_and_the_headers_tell_the_truth(caller: Caller) -> None:
    remaining = []
    for _ in range(5):
        answer = caller.create()
        remaining.append((answer.headers["X-RateLimit-Remaining"], answer.headers["X-RateLimit-Reset-After"]))
        caller.clock.step(0.1)
    assert remaining == [("4", "2.000"), ("3", "1.900"), ("2", "1.800"), ("1", "1.700"), ("0", "1.600")]
    refused = caller.create()
    assert refused.status_code == 429
    assert refused.json()["retry_after"] == 1.5
    assert (refused.headers["Retry-After"], refused.headers["X-RateLimit-Scope"]) == ("2", "user")
    assert "Via" in refused.headers
    caller.clock.step(1.5)
    assert caller.create().status_code == 200
    assert caller.fake.violations == 1


def test_the_thirty_messages_of_a_channel_are_shared_by_its_webhooks_and_in_no_header(caller: Caller) -> None:
    second = Caller(caller.fake, caller.clock, caller.fake.add_webhook("second@executions").name)
    for index in range(30):
        assert (caller if index % 2 else second).create().status_code == 200
        caller.clock.step(1)
    refused = second.create()
    assert refused.status_code == 429
    assert int(refused.headers["X-RateLimit-Remaining"]) > 0
    assert refused.json()["retry_after"] == 30
    second.close()


def test_reads_have_a_bucket_of_their_own(caller: Caller) -> None:
    message_id, *_ = [caller.create().json()["id"] for _ in range(5)]
    reads = [caller.get(message_id) for _ in range(6)]
    assert [answer.status_code for answer in reads] == [200] * 5 + [429]
    assert reads[0].headers["X-RateLimit-Bucket"] != caller.create().headers["X-RateLimit-Bucket"]


def test_fifty_requests_a_second_of_one_address_are_the_global_limit(caller: Caller) -> None:
    names = [caller.fake.add_webhook(f"hook{index}").name for index in range(11)]
    others = [Caller(caller.fake, caller.clock, name) for name in names]
    for other in others[:10]:
        for _ in range(5):
            assert other.create().status_code == 200
    refused = others[10].create()
    assert refused.json()["global"] is True
    assert (refused.headers["X-RateLimit-Scope"], refused.headers["X-RateLimit-Global"]) == ("global", "true")
    for other in others:
        other.close()


def test_who_comes_before_the_wait_is_over_is_refused_again_and_noted(caller: Caller) -> None:
    caller.fake.fault("rate_limit.normal", retry_after=7.5)
    assert caller.create().json()["retry_after"] == 7.5
    caller.clock.step(7)
    assert caller.create().json()["retry_after"] == 0.5
    caller.clock.step(0.5)
    assert caller.create().status_code == 200
    assert [one["early_by"] for one in caller.fake.requests()] == [0, 0.5, 0]


def test_mentions_are_noted_when_they_would_have_pinged(caller: Caller) -> None:
    caller.create({"content": "@everyone and <@12>"})
    caller.create({"content": "@everyone and <@12>", "allowed_mentions": {"parse": []}})
    caller.create({"content": "<@12> <@&7>", "allowed_mentions": {"users": ["12"]}})
    caller.create({"embeds": [{"title": r"\@everyone \<@12> @here"}], "allowed_mentions": {"parse": []}})
    found = [(one["text"], one["place"], one["would_ping"]) for one in caller.fake.pings()]
    assert found == [
        ("@everyone", "content", True), ("<@12>", "content", True), ("@everyone", "content", False), ("<@12>", "content", False),
        ("<@12>", "content", True), ("<@&7>", "content", False), ("@here", "embed", False),
    ]  # fmt: skip


def test_requests_are_logged_with_desk_time_and_without_the_token(caller: Caller) -> None:
    message_id = caller.create().json()["id"]
    caller.clock.step(2)
    caller.edit(message_id, {"embeds": [{"title": "x"}], "allowed_mentions": {"parse": []}})
    first, second = caller.fake.requests()
    assert (first["operation"], first["status"], first["message_id"]) == ("create", 200, message_id)
    assert datetime.fromisoformat(second["at"]) - datetime.fromisoformat(first["at"]) == timedelta(seconds=2)
    assert second["body"]["allowed_mentions"] == {"parse": []}
    assert caller.webhook.token not in str(first) + str(second)


def test_a_restart_keeps_messages_webhooks_and_tokens(tmp_path: Path) -> None:
    clock = FixedClock(OPENING)
    state = tmp_path / "discord.sqlite"
    with DiscordFake(clock=clock, state=state) as fake:
        caller = Caller(fake, clock)
        message = caller.create().json()
        known = fake.webhooks(), fake.read_token
        caller.close()
    with DiscordFake(clock=clock, state=state) as again:
        assert (again.webhooks(), again.read_token) == known
        assert again.messages() == [message]


def test_ten_thousand_invalid_answers_in_ten_minutes_ban_the_address() -> None:
    limits = Limits()
    for _ in range(INVALID_LIMIT):
        limits.count_invalid("127.0.0.1", OPENING)
    banned = limits.take("write:1", "2", "127.0.0.1", ["global"], OPENING)
    assert banned is not None
    assert banned.is_ban
    assert limits.take("write:1", "2", "127.0.0.2", ["global"], OPENING) is None
    assert limits.take("write:1", "2", "127.0.0.1", ["global"], OPENING + timedelta(minutes=10)) is None


def test_a_fast_desk_clock_forgives_what_a_request_spends_on_its_way(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    assert desk_speed(path) == 1
    path.write_text('{"desk_at": "2026-02-03T14:30:00+00:00", "real_at": 0, "speed": 21.0, "paused": false}')
    clock = FixedClock(OPENING)
    with DiscordFake(clock=clock, speed=lambda: desk_speed(path)) as fake:
        caller = Caller(fake, clock)
        statuses = []
        for _ in range(10):
            statuses.append(caller.create().status_code)
            clock.step(0.21)
        caller.close()
    assert statuses == [200] * 10
    path.write_text('{"desk_at": "2026-02-03T14:30:00+00:00", "real_at": 0, "speed": 300, "paused": true}')
    assert desk_speed(path) == 1
