"""Every fault knob of the fake Discord does what its name says, on the requests it was told, reproducibly."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from fillbook.runtime.clock import FixedClock
from infra.local.discord import DiscordFake
from infra.local.discord_faults import KNOBS, Fault
from infra.local.discord_page import markdown
from tests.support.discord import OPENING, USER_AGENT, Caller
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
LOST = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)


@pytest.fixture
def caller() -> Iterator[Caller]:
    clock = FixedClock(OPENING)
    with DiscordFake(clock=clock) as fake:
        caller = Caller(fake, clock)
        yield caller
        caller.close()


def told(answer: requests.Response) -> tuple[Any, Any, Any]:
    """What a 429 says: header wait, body wait, scope."""
    body = answer.json() if answer.headers["Content-Type"] == "application/json" else {}
    return answer.headers.get("Retry-After"), body.get("retry_after"), answer.headers.get("X-RateLimit-Scope")


@pytest.mark.parametrize(
    ("knob", "expected"),
    [
        ("normal", ("3", 3.0, "user")),
        ("header_only", ("3", None, "user")),
        ("ms_header", ("3000", 3.0, "user")),
        ("ms_body", ("3", 3000, "user")),
        ("ms_both", ("3000", 3000, "user")),
        ("shared", ("3", 3.0, "shared")),
        ("global", ("3", 3.0, "global")),
        ("remaining_2", ("20", 20.0, "user")),
        ("old_edits", ("60", 60.0, "user")),
        ("ban", (None, None, None)),
    ],
)
def test_every_form_of_429_says_its_wait_its_own_way(caller: Caller, knob: str, expected: tuple[Any, Any, Any]) -> None:
    caller.fake.fault(f"rate_limit.{knob}")
    answer = caller.create()
    assert answer.status_code == 429
    assert told(answer) == expected
    assert ("Via" in answer.headers) is (knob != "ban")
    assert caller.fake.messages() == []
    assert caller.fake.violations == 0


def test_a_429_with_remaining_2_holds_the_whole_channel(caller: Caller) -> None:
    caller.fake.fault("rate_limit.remaining_2")
    second = Caller(caller.fake, caller.clock, caller.fake.add_webhook("second@executions").name)
    assert caller.create().headers["X-RateLimit-Remaining"] == "2"
    assert second.create().status_code == 429
    caller.clock.step(20)
    assert second.create().status_code == 200
    second.close()


def test_a_global_429_holds_every_webhook_and_a_ban_answers_html_until_it_ends(caller: Caller) -> None:
    other = Caller(caller.fake, caller.clock, "ops")
    caller.fake.fault("rate_limit.global", retry_after=5)
    caller.create()
    assert other.create().status_code == 429
    caller.clock.step(5)
    caller.fake.fault("rate_limit.ban", retry_after=900)
    caller.create()
    caller.clock.step(899)
    early = other.create()
    assert (early.status_code, early.headers["Content-Type"], "Via" in early.headers) == (429, "text/html", False)
    caller.clock.step(1)
    assert other.create().status_code == 200
    other.close()


def test_old_edits_are_refused_with_their_code_while_creates_go_on(caller: Caller) -> None:
    message_id = caller.create().json()["id"]
    caller.fake.fault("rate_limit.old_edits", route="edit")
    refused = caller.edit(message_id, {"content": "x"})
    assert (refused.status_code, refused.json()["code"]) == (429, 30046)
    assert caller.create().status_code == 200


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_may_come_before_or_after_the_message_was_stored(caller: Caller, status: int) -> None:
    caller.fake.fault(f"server_error.{status}")
    assert caller.create().status_code == status
    assert caller.fake.messages() == []
    caller.fake.fault(f"server_error.{status}", applied=True)
    assert caller.create().status_code == status
    assert len(caller.fake.messages()) == 1


@pytest.mark.parametrize(("knob", "stored"), [("network.reset", 0), ("network.reset_after_accept", 1)])
def test_a_reset_loses_the_answer_and_perhaps_the_message(caller: Caller, knob: str, stored: int) -> None:
    caller.fake.fault(knob)
    with pytest.raises(requests.ConnectionError):
        caller.create()
    assert len(caller.fake.messages()) == stored
    assert caller.create().status_code == 200


@pytest.mark.parametrize(("knob", "stored"), [("network.hang", 0), ("network.hang_after_accept", 1)])
def test_a_hanging_answer_runs_into_the_clients_timeout(caller: Caller, knob: str, stored: int) -> None:
    caller.fake.fault(knob)
    with pytest.raises(requests.Timeout):
        caller.session.post(caller.url, params={"wait": "true"}, json={"content": "x"}, timeout=0.2)
    wait_until(lambda: len(caller.fake.messages()) >= stored)  # a busy fake stores it when nobody waits any more
    assert len(caller.fake.messages()) == stored


def test_a_dripping_answer_comes_byte_by_byte(caller: Caller) -> None:
    caller.fake.fault("network.drip", interval=0.01)
    answer = caller.session.post(caller.url, params={"wait": "true"}, json={"content": "x"}, timeout=5, stream=True)
    first = next(answer.iter_content(1))
    answer.close()
    assert first == b"{"
    assert len(caller.fake.messages()) == 1


def test_a_huge_answer_is_as_long_as_asked_for(caller: Caller) -> None:
    caller.fake.fault("network.huge", bytes=1_000_000)
    answer = caller.create()
    assert len(answer.content) > 1_000_000
    assert answer.json()["id"] == caller.fake.messages()[0]["id"]


def test_a_refused_connection_stores_nothing_and_the_port_opens_again(caller: Caller) -> None:
    caller.create()
    caller.fake.refuse()
    with pytest.raises(LOST):
        caller.create()
    caller.fake.accept()
    assert caller.create().status_code == 200
    assert len(caller.fake.messages()) == 2


def test_bodies_that_cannot_be_used_come_although_the_message_was_stored(caller: Caller) -> None:
    answers = {}
    for kind in ("invalid_json", "empty_200", "no_content", "wrong_id", "other_embed"):
        caller.fake.fault(f"body.{kind}")
        answers[kind] = caller.create()
    with pytest.raises(requests.JSONDecodeError):
        answers["invalid_json"].json()
    assert (answers["empty_200"].status_code, answers["empty_200"].content) == (200, b"")
    assert answers["no_content"].status_code == 204
    assert not str(answers["wrong_id"].json()["id"]).isdigit()
    assert answers["other_embed"].json()["embeds"] != [{"type": "rich", "title": "note"}]
    assert len(caller.fake.messages()) == 5


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [("deleted", 404, 10015), ("token_bad", 401, 50027), ("forbidden", 403, 50013), ("channel_deleted", 404, 10003)],
)
def test_a_broken_webhook_answers_its_code_until_it_is_mended(caller: Caller, state: str, status: int, code: int) -> None:
    caller.fake.set_state("executions", state)
    answers = [caller.create(), caller.session.get(caller.url, timeout=5)]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(status, code)}
    caller.fake.set_state("executions", "ok")
    assert caller.create().status_code == 200
    knob = {"deleted": "webhook_deleted"}.get(state, state)
    caller.fake.fault(f"state.{knob}")
    assert (caller.create().json()["code"], caller.create().status_code) == (code, 200)


def test_somebody_may_delete_edit_or_double_a_message(caller: Caller) -> None:
    for how in ("deleted", "edited", "doubled"):
        caller.fake.fault(f"state.message_{how}")
        caller.create({"embeds": [{"title": how}]})
    titles = [message["embeds"][0]["title"] for message in caller.fake.messages()]
    assert titles == ["edited", "doubled", "doubled"]
    doubled = caller.fake.messages()[1:]
    assert doubled[0]["id"] != doubled[1]["id"]
    assert caller.fake.meddle("deleted", "17") is None
    caller.fake.meddle("edited", doubled[0]["id"], {"embeds": []})
    assert caller.get(doubled[0]["id"]).json()["embeds"] == []


def test_an_unversioned_url_tells_waits_in_milliseconds(caller: Caller) -> None:
    old = caller.url.replace("/api/v10/", "/api/")
    answers = [caller.session.post(old, json={"content": "x"}, timeout=5) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [204] * 5 + [429]
    assert (answers[5].headers["Retry-After"], answers[5].json()["retry_after"]) == ("2000", 2000)


def test_faults_are_chosen_by_route_webhook_count_and_skip(caller: Caller) -> None:
    caller.fake.fault("server_error.500", route="edit", count=1)
    caller.fake.fault("server_error.503", webhook="ops", count=None)
    caller.fake.fault("server_error.502", route="create", skip=1, count=2)
    other = Caller(caller.fake, caller.clock, "ops")
    assert [caller.create().status_code for _ in range(4)] == [200, 502, 502, 200]
    message_id = caller.fake.messages()[0]["id"]
    assert [caller.edit(message_id, {"content": "x"}).status_code for _ in range(2)] == [500, 200]
    assert [other.create().status_code for _ in range(2)] == [503, 503]
    caller.fake.clear_faults()
    assert other.create().status_code == 200
    other.close()


def test_a_seed_reproduces_which_requests_are_struck() -> None:
    def pattern(seed: int) -> list[bool]:
        fault = Fault(knob="server_error.500", count=None, probability=0.3, seed=seed)
        return [fault.hit("create", "ops") for _ in range(200)]

    assert pattern(7) == pattern(7)
    assert pattern(7) != pattern(8)
    assert 30 < sum(pattern(7)) < 90


def test_an_unknown_knob_or_route_is_refused() -> None:
    for wrong in ({"knob": "rate_limit.sometimes"}, {"knob": "server_error.500", "route": "put"}):
        with pytest.raises(ValueError, match="unknown"):
            Fault(**wrong)
    assert all(Fault(knob=knob) for knob in KNOBS)


def test_the_control_api_does_all_of_it_from_outside(caller: Caller) -> None:
    control = f"{caller.fake.base_url}/_control"
    session = caller.session
    assert session.get(f"{control}/webhooks", timeout=5).json() == caller.fake.webhooks()
    assert session.get(f"{control}/read-token", timeout=5).json() == {"token": caller.fake.read_token}
    assert session.post(f"{control}/clock", json={"step_seconds": 3}, timeout=5).json()["now"] == "2026-02-03T14:30:03+00:00"
    session.post(f"{control}/faults", json={"fault": "server_error.500", "route": "create", "count": 1}, timeout=5)
    assert session.get(f"{control}/faults", timeout=5).json()["queued"][0]["fault"] == "server_error.500"
    assert caller.create().status_code == 500
    message = caller.create().json()
    assert session.get(f"{control}/messages?webhook=executions", timeout=5).json() == [message]
    assert len(session.get(f"{control}/requests?after=1", timeout=5).json()) == 1
    session.post(f"{control}/meddle", json={"how": "deleted", "message_id": message["id"]}, timeout=5)
    session.post(f"{control}/state", json={"webhook": "ops", "state": "deleted"}, timeout=5)
    assert session.post(f"{control}/threads", json={"webhook": "ops"}, timeout=5).json()["thread_id"].isdigit()
    assert session.get(f"{control}/stats", timeout=5).json()["messages"] == 0
    assert session.post(f"{control}/faults", json={"fault": "nothing"}, timeout=5).status_code == 400
    assert session.post(f"{control}/state", json={"webhook": "nobody", "state": "ok"}, timeout=5).status_code == 400
    assert session.post(f"{control}/reset", timeout=5).json() == {"ok": True}
    assert caller.fake.requests() == []


def test_the_control_api_answers_no_foreign_host_name(caller: Caller) -> None:
    answer = requests.get(f"{caller.fake.base_url}/_control/read-token", headers={"Host": "evil.example"}, timeout=5)
    assert (answer.status_code, answer.json()) == (403, {"error": "loopback only"})


def test_the_inbox_page_draws_embeds_and_escapes_every_text(caller: Caller) -> None:
    caller.create(
        {
            "content": "<script>alert(1)</script>",
            "embeds": [
                {
                    "title": r"fill\_parked <b>", "color": 0x16A34A, "timestamp": "2026-02-03T15:15:04Z",
                    "fields": [
                        {"name": "price", "value": "~~130.00~~", "inline": True},
                        {"name": "reason", "value": "<img src=x>"},
                    ],
                    "footer": {"text": r"v1 \_"},
                }
            ],
        }
    )  # fmt: skip
    answer = requests.get(caller.fake.base_url, timeout=5)
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    assert "fill_parked &lt;b&gt;" in answer.text
    assert "<s>130.00</s>" in answer.text
    assert r"v1 \_" in answer.text
    assert "border-left-color: #16a34a" in answer.text
    assert "2026-02-03 10:15:04 EST" in answer.text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_markdown_draws_nothing_that_was_escaped() -> None:
    assert markdown(r"\~\~x\~\~ \`c\` \<@1\>") == "~~x~~ `c` &lt;@1&gt;"
    assert markdown("**b** `<i>`") == "<b>b</b> <code>&lt;i&gt;</code>"


@given(st.text(alphabet=st.sampled_from("\\*~`<>&\"'@abc \n\ue03c\ue026"), max_size=60))
def test_no_text_can_open_a_tag_of_its_own(text: str) -> None:
    drawn = markdown(text)
    for tag in ("s", "b", "code"):
        drawn = drawn.replace(f"<{tag}>", "").replace(f"</{tag}>", "")
    assert "<" not in drawn
    assert ">" not in drawn


def test_it_runs_as_a_program_and_keeps_its_state_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infra.local.discord", "--state", str(tmp_path / "d.sqlite"), "--webhook", "ops"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base = process.stdout.readline().split()[3].rstrip("/")
        webhooks = requests.get(f"{base}/_control/webhooks", headers={"User-Agent": USER_AGENT}, timeout=5).json()
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert list(webhooks) == ["ops"]
    with DiscordFake(state=tmp_path / "d.sqlite", webhooks=()) as fake:
        assert fake.webhooks() == webhooks
