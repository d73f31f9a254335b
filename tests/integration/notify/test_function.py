"""The function as it is served: who may call, what is acknowledged, what is kept, and the operator's verbs beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from fillbook.notify import __main__ as verbs
from fillbook.runtime.clock import DeskClock, real_epoch_seconds
from infra.local.discord import DiscordFake
from tests.support.functions import FunctionApps, _environment
from tests.support.notify_desk import START, action_id, envelope, executed
from tests.support.signer import Signer
from tests.support.topics import Topics, topics
from tests.support.topics import envelope as pushed

Query = Callable[..., list[dict[str, Any]]]
AUDIENCE = "https://discord-notifier.test"
CALLER = "pubsub-push@desk.example"
SIGNER = Signer()


@pytest.fixture
def published() -> Iterator[Topics]:
    with topics() as kept:
        kept.certificates = SIGNER.certificates()
        yield kept


def set_clock(path: Path, *, speed: int = 1, paused: bool = True) -> None:
    """Let the desk stand at START, or run from there."""
    clock = {"desk_at": START.isoformat(), "real_at": real_epoch_seconds(), "speed": speed, "paused": paused}
    (path / "clock.json").write_text(json.dumps(clock))


@pytest.fixture
def discord(tmp_path: Path) -> Iterator[DiscordFake]:
    set_clock(tmp_path)
    with DiscordFake(clock=DeskClock(tmp_path / "clock.json")) as fake:
        yield fake


@pytest.fixture
def env(published: Topics, discord: DiscordFake, database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "FILLBOOK_ENV": "local",
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=discord_notifier",
        "FILLBOOK_LOCAL_URL": published.url,
        "FILLBOOK_DESK_CLOCK": str(tmp_path / "clock.json"),
        "FILLBOOK_OIDC_AUDIENCE": AUDIENCE,
        "FILLBOOK_OIDC_CALLERS": CALLER,
        "DISCORD_EXECUTIONS_WEBHOOK": discord.webhook("executions").url,
        "DISCORD_OPS_WEBHOOK": discord.webhook("ops").url,
        "DISCORD_READ_TOKEN": discord.read_token,
        "DISCORD_API_BASE": discord.api_base,
    }


@pytest.fixture
def app(function_app: FunctionApps, env: dict[str, str]) -> FlaskClient:
    return function_app("discord_notifier", env)


def token(**claims: Any) -> dict[str, str]:
    claims = {"audience": AUDIENCE, "issued": real_epoch_seconds(), "email": CALLER} | claims
    return {"Authorization": f"Bearer {SIGNER.sign(**claims)}"}


def push(app: FlaskClient, data: bytes, path: str = "/") -> int:
    return app.post(path, json=pushed(data), headers=token()).status_code


def quarantined(query: Query) -> list[str]:
    rows = query("select reason from outbox.quarantine where consumer = 'discord_notifier' order by reason")
    return [row["reason"] for row in rows]


def test_a_pushed_execution_is_acknowledged_and_stands_on_discord(app: FlaskClient, discord: DiscordFake) -> None:
    assert push(app, executed()) == 204
    (message,) = discord.messages("executions")
    assert message["embeds"][0]["title"] == "Entered AMD LONG"
    assert message["author"]["username"] == "Fillbook"


def test_every_message_delivered_five_times_is_told_once(app: FlaskClient, discord: DiscordFake) -> None:
    bodies = [executed(f"n{number}", position=f"n{number}") for number in range(3)]
    assert {push(app, body) for body in bodies * 5} == {204}
    assert len(discord.messages("executions")) == 3


def test_discords_mood_never_decides_the_acknowledgement(app: FlaskClient, discord: DiscordFake, query: Query) -> None:
    discord.fault("rate_limit.ban", route="create")
    assert push(app, executed()) == 204
    discord.set_state("executions", "deleted")
    assert push(app, executed("b", position="q")) == 204
    assert query("select count(*)::int as n from notify.messages where state = 'pending'") == [{"n": 2}]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"not json", "envelope_invalid"),
        (b"[]", "envelope_invalid"),
        (envelope("never_heard_of", {}), "event_type_unknown"),
        (envelope("sync_requested", {}), "event_type_unknown"),
        (executed(schema_version=2), "schema_version_unknown"),
        (executed(book="replay:r1"), "replay_book_refused"),
        (executed(book="elsewhere"), "event_invalid"),
        (executed(ticker=b"A\\u0000".decode("unicode_escape")), "text_invalid"),
        (executed(price="NaN"), "event_invalid"),
        (executed(executed_at="2026-02-03T10:00:00"), "event_invalid"),
    ],
)
def test_what_can_never_be_told_is_quarantined_and_acknowledged(app: FlaskClient, query: Query, data: bytes, reason: str) -> None:
    if reason == "schema_version_unknown":
        data = json.dumps({**json.loads(executed()), "schema_version": 2}).encode()
    assert push(app, data) == 204
    assert quarantined(query) == [reason]
    assert query("select 1 from notify.messages") == []


def test_a_given_up_event_is_kept(app: FlaskClient, query: Query) -> None:
    assert push(app, executed(), path="/dead") == 204
    assert quarantined(query) == ["dead_letter"]


@pytest.mark.parametrize("path", ["/", "/dead", "/tick", "/reconcile"])
def test_nobody_unknown_may_call(app: FlaskClient, query: Query, path: str) -> None:
    assert app.post(path, json=pushed(executed())).status_code == 401
    assert app.post(path, json=pushed(executed()), headers=token(email="x@y.example")).status_code == 403
    assert app.post(path, json=pushed(executed()), headers=token(audience="https://other.test")).status_code == 401
    assert query("select 1 from notify.messages") == []
    assert query("select 1 from outbox.quarantine") == []


def test_a_tick_drains_what_a_push_left(app: FlaskClient, discord: DiscordFake) -> None:
    discord.fault("rate_limit.normal", route="create", retry_after=5)
    assert push(app, executed()) == 204
    assert discord.messages("executions") == []
    answer = app.post("/tick", json={"task": "drain"}, headers=token())
    assert (answer.status_code, answer.json["channels"]) == (200, {"executions": "waiting", "ops": "idle"})


def test_a_tick_of_an_unknown_task_is_refused(app: FlaskClient) -> None:
    assert app.post("/tick", json={"task": "dance"}, headers=token()).status_code == 400
    assert app.post("/tick", json={"task": "reconcile", "hours": 0}, headers=token()).status_code == 400


def test_a_scheduled_proof_is_queued_once_per_slot(app: FlaskClient, query: Query) -> None:
    headers = {**token(), "X-CloudScheduler-ScheduleTime": "2026-02-03T15:05:00Z", "X-CloudScheduler-JobName": "x"}
    for _ in range(2):
        answer = app.post("/tick", json={"task": "reconcile", "hours": 2}, headers=headers)
        assert answer.status_code == 200
    (run,) = query("select status, since, until, requested_by from notify.v_reconcile_runs")
    assert (run["status"], run["requested_by"]) == ("proven", "schedule")
    assert (run["until"] - run["since"]).total_seconds() == 7200


def test_a_proof_asked_for_by_the_page_is_queued_and_worked_by_the_tick(app: FlaskClient, query: Query) -> None:
    body = {"since": "2026-02-03T00:00:00Z", "until": "2026-02-04T00:00:00Z", "repair": False}
    answer = app.post("/reconcile", json=body, headers=token())
    assert answer.status_code == 202
    assert query("select run_id::text as run_id, status from notify.v_reconcile_runs") == [
        {"run_id": answer.json["run_id"], "status": "queued"}
    ]
    assert app.post("/tick", json={"task": "drain"}, headers=token()).json["proof"] == "proven"


@pytest.mark.parametrize("body", [{}, {"since": "x", "until": "y"}, {"since": "2026-02-03T00:00:00", "until": "2026-02-04"},
                                  {"since": "2026-01-01T00:00:00Z", "until": "2026-03-01T00:00:00Z"}])  # fmt: skip
def test_a_proof_over_a_bad_range_is_refused(app: FlaskClient, body: dict[str, Any]) -> None:
    assert app.post("/reconcile", json=body, headers=token()).status_code == 400


# --- verbs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def op(env: dict[str, str], database_url: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run an operator's verb as ``desk_operator``; its exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        with _environment({**env, "FILLBOOK_DATABASE_URL": f"{database_url}?role=desk_operator"}):
            code = verbs.main(arguments)
        printed = capsys.readouterr()
        told = [line for line in printed.err.splitlines() if not line.startswith("{")]  # warnings are logged there
        return code, "\n".join([*printed.out.splitlines(), *told])

    return run


def test_the_verbs_tell_dead_letters_replay_them_and_switch_channels(
    app: FlaskClient, discord: DiscordFake, op: Callable[..., tuple[int, str]], query: Query
) -> None:
    assert op("dead", "--list") == (0, "no dead letters")
    push(app, executed(ticker="T" * 2000))
    code, printed = op("dead", "--list")
    assert code == 0
    assert printed.startswith("executions too_large: 1")
    assert op("replay") == (2, "say which: --reason, --subject or --since")
    assert op("replay", "--reason", "too_large", "--dry-run")[1].endswith("1 would be pending again")
    assert op("pause", "--channel", "ops") == (0, "ops is paused until enable")
    assert op("enable", "--channel", "ops")[1].startswith("ops is active")
    assert op("test-send", "--channel", "ops")[0] == 0
    assert discord.messages("ops")[0]["embeds"][0]["title"] == "Test"
    assert op("adopt", "--link", "https://example.com/")[1].startswith("refused: link_invalid")
    discord.set_state("ops", "deleted")
    assert op("enable", "--channel", "ops")[0] == 1
    assert query("select status from notify.channels where channel_id = 'ops'") == [{"status": "disabled"}]


def test_told_says_when_as_which_message_and_what_discord_said(
    app: FlaskClient, discord: DiscordFake, op: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    set_clock(tmp_path, speed=200, paused=False)
    discord.fault("server_error.503", route="create")
    discord.fault("rate_limit.normal", route="create", retry_after=7)
    push(app, executed("a"))
    push(app, executed("h", origin="history", position="h"))
    (message,) = discord.messages("executions")
    code, printed = op("told", str(action_id("a")))
    head, *requests = printed.splitlines()
    first, second, third = (line for line in requests if " create: " in line)
    assert code == 0
    assert head.startswith(f"executions live/{action_id('a')}: posted, version 1 of 1; https://discord.com/channels/")
    assert f"/{message['channel_id']}/{message['id']} since 2026-02-03T15:" in head
    assert all(line.endswith(" get: 200") for line in requests if " create: " not in line)  # looking for a copy
    assert first.endswith("create: 503, status_503")
    assert second.endswith("create: 429, wait 7.000 s, rate_limited")
    assert third.endswith(f"create: 200, message {message['id']}")
    code, printed = op("told", str(action_id("a")), "--json", "--book", "live")
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [row["http_status"] for row in rows if row["operation"] == "create"] == [503, 429, 200]
    assert rows[-1]["answered_message_id"] == rows[-1]["message_id"] == message["id"]
    assert op("told", str(action_id("a")), "--book", "ibkr:U1")[0] == 1
    code, printed = op("told", str(action_id("h")))
    assert (code, printed) == (1, f"executions live/{action_id('h')}: suppressed, version None of 1")
    assert op("told", str(action_id("nobody"))) == (1, "not told: no channel has heard of this action")


def test_the_exit_of_a_proof_says_how_it_ended(
    app: FlaskClient, discord: DiscordFake, op: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    set_clock(tmp_path, speed=200, paused=False)
    assert op("reconcile")[0] == 0
    push(app, executed(executed_at=(START - timedelta(minutes=1)).isoformat()))
    code, printed = op("reconcile", "--report")
    assert code == 4
    assert "orphan" in printed
    assert op("reconcile")[0] == 1
    assert op("reconcile", "--since", "2026-02-03T00:00:00Z", "--until", "2026-02-04T00:00:00Z", "--json")[0] == 0
    assert discord.messages("executions") == []
    assert op("reconcile", "--since", "2026-02-04T00:00:00Z", "--until", "2026-02-03T00:00:00Z")[0] == 1


def test_missing_settings_are_named_together_and_never_shown(capsys: pytest.CaptureFixture[str], env: dict[str, str]) -> None:
    broken = {**env, "DISCORD_EXECUTIONS_WEBHOOK": "https://evil.example/api/webhooks/1/canary-canary", "DISCORD_OPS_WEBHOOK": ""}
    with _environment(broken):
        assert verbs.main(["dead", "--list"]) == 2
    told = capsys.readouterr().err
    assert "DISCORD_EXECUTIONS_WEBHOOK" in told
    assert "DISCORD_OPS_WEBHOOK" in told
    assert "canary" not in told
