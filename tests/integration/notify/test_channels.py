"""Channels that refuse, routes that mute, secrets that stay secret (scenarios 10, 11, 20, 21, 29, 36, 38)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fillbook.notify import operator, service
from fillbook.notify.model import Priority
from fillbook.notify.routing import Settings
from fillbook.runtime.db import ConstraintViolated, DatabaseFailed
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.runtime.sql import statement
from tests.support.notify_desk import NotifyDesk, envelope, executed

MakeDesk = Callable[..., NotifyDesk]


def test_10_an_event_of_a_replay_book_is_refused_by_the_router(desk: NotifyDesk) -> None:
    with pytest.raises(Rejected) as refused:
        desk.push(executed(book="replay:r1"))
    assert refused.value.reason == "replay_book_refused"
    assert desk.rows("select 1 from notify.deliveries") == []


def test_10_a_replay_row_is_refused_by_the_constraint_and_by_the_policy(desk: NotifyDesk) -> None:
    desk.push(executed())
    forged = statement("update notify.messages set book_id = 'replay:r1'")
    with pytest.raises(ConstraintViolated) as violated, desk.admin.transaction() as tx:
        tx.execute(forged)
    assert violated.value.constraint == "messages_no_replay"
    with pytest.raises((ConstraintViolated, DatabaseFailed)), desk.db.transaction() as tx:
        tx.execute(forged)


def test_11_history_is_counted_and_not_told(desk: NotifyDesk) -> None:
    desk.push(*(executed(f"h{number}", origin="history", book="ibkr:U1", position=f"h{number}") for number in range(50)))
    assert desk.states() == {"suppressed": 50, "pending": 1}
    desk.drain()
    desk.drain("ops", allowance=4000)
    assert desk.posts() == []
    (line,) = desk.embeds("ops")
    assert line["description"].startswith("backfill: 50 executions, first 2026-02-03T15:15:04Z")
    assert [one["outcome"] for one in desk.rows("select distinct outcome from notify.deliveries")] == ["suppressed"]


def test_11_a_steady_backfill_posts_one_line_an_hour(desk: NotifyDesk) -> None:
    for number in range(120):
        desk.push(executed(f"h{number}", origin="history", position=f"h{number}"))
        desk.drain("ops")
        desk.clock.step(45)
    desk.drain("ops", allowance=4000)
    assert len(desk.requests("create", webhook="ops")) == 2
    assert sum(int(embed["description"].split()[1]) for embed in desk.embeds("ops")) == 120


def test_11_a_posted_message_is_corrected_even_when_the_correction_is_history(desk: NotifyDesk) -> None:
    desk.tell(executed())
    desk.tell(executed(event="execution_corrected", version=2, origin="history", cause="revision", price="99"))
    assert desk.message()["posted_version"] == 2


def test_a_book_that_no_pattern_names_is_muted_and_the_first_match_wins(make_desk: MakeDesk) -> None:
    desk = make_desk(settings=Settings(books=("!ibkr:U2", "ibkr:*", "live")))
    desk.tell(executed("a", book="ibkr:U1"), executed("b", book="ibkr:U2"), executed("c", book="mt5:srv:1"), executed("d"))
    assert len(desk.posts()) == 2
    assert desk.message("b", book="ibkr:U2")["state"] == "muted"
    outcomes = desk.rows("select outcome from notify.deliveries order by received_at, event_id")
    assert sorted(row["outcome"] for row in outcomes) == ["created", "created", "muted", "muted"]


@pytest.mark.parametrize(("state", "reason"), [("deleted", "discord_10015"), ("token_bad", "discord_50027"),
                                               ("forbidden", "discord_50013"), ("channel_deleted", "discord_10003")])  # fmt: skip
def test_20_a_channel_that_refuses_is_disabled_after_one_request(desk: NotifyDesk, state: str, reason: str) -> None:
    desk.discord.set_state("executions", state)
    desk.push(*(executed(f"n{number}", position=f"n{number}") for number in range(12)))
    for _ in range(3):
        desk.drain(allowance=100)
    assert len([one for one in desk.discord.requests() if one["webhook"] == "executions"]) == 1
    (channel,) = desk.rows("select status, status_reason, pending from notify.v_channels where channel_id = 'executions'")
    assert channel == {"status": "disabled", "status_reason": reason, "pending": 12}
    (event,) = desk.events("channel_disabled")
    assert event["data"]["reason"] == reason
    desk.relay()
    desk.drain("ops")
    assert desk.embeds("ops")[0]["title"] == "Discord channel disabled: executions"
    with pytest.raises(Rejected):
        operator.enable(desk.desk, "executions")
    desk.clock.step(3 * 86400)
    desk.discord.set_state("executions", "ok")
    operator.enable(desk.desk, "executions")
    desk.drain(allowance=60)
    assert desk.states()["posted"] == 13
    assert len(desk.posts()) <= 5


@pytest.mark.parametrize("knob", ["webhook_deleted", "token_bad", "forbidden", "channel_deleted"])
def test_20_a_refusal_of_a_known_channel_disables_it_after_one_post(desk: NotifyDesk, knob: str) -> None:
    desk.tell(executed("first"))
    desk.discord.fault(f"state.{knob}", route="create", count=None)
    desk.tell(executed("a"), executed("b", position="q"), allowance=100)
    assert len(desk.requests("create")) == 2
    assert desk.states() == {"posted": 1, "pending": 2}


def test_21_a_deleted_ops_webhook_tells_nobody_and_does_not_loop(desk: NotifyDesk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.discord.set_state("ops", "deleted")
    desk.push(envelope("fill_parked", {"fill_id": "f1", "instrument": "AMD", "reason": "nothing_to_close"}))
    for _ in range(3):
        desk.drain("ops", allowance=100)
    assert desk.events("channel_disabled") == []
    assert len([one for one in desk.discord.requests() if one["webhook"] == "ops"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (error,) = [line for line in lines if line["severity"] == "ERROR"]
    assert (error["message"], error["channel"], error["reason"]) == ("discord_channel_disabled", "ops", "discord_10015")
    shown = desk.rows("select status, status_reason, pending from notify.v_channels where channel_id = 'ops'")
    assert shown == [{"status": "disabled", "status_reason": "discord_10015", "pending": 1}]


def test_21_a_dead_letter_of_ops_is_not_told_on_ops(desk: NotifyDesk) -> None:
    desk.discord.fault("server_error.500", route="create", count=None)
    desk.push(envelope("fill_parked", {"fill_id": "f1", "instrument": "AMD"}))
    desk.drain("ops", allowance=40_000)
    assert desk.states() == {"dead": 1}
    assert desk.events("message_dead") == []


def test_a_paused_channel_sends_nothing_until_it_is_enabled(desk: NotifyDesk) -> None:
    operator.pause(desk.db, "executions", desk.clock.now())
    assert desk.tell(executed(), allowance=100).reason == "paused"
    assert desk.discord.requests() == []
    operator.enable(desk.desk, "executions")
    desk.drain()
    assert len(desk.posts()) == 1


def test_enabling_asks_with_a_row_in_the_log_and_not_before_a_ban_is_over(desk: NotifyDesk) -> None:
    desk.discord.set_state("executions", "deleted")
    desk.tell(executed())
    desk.discord.set_state("executions", "ok")
    desk.discord.fault("rate_limit.ban", route="create")
    desk.push(envelope("fill_parked", {"fill_id": "f1", "instrument": "AMD"}))
    desk.drain("ops")
    asked = len(desk.discord.requests())
    with pytest.raises(Unavailable, match="discord_unavailable"):
        operator.enable(desk.desk, "executions")
    assert len(desk.discord.requests()) == asked
    desk.clock.step(901)
    operator.enable(desk.desk, "executions")
    assert len(desk.rows("select 1 from notify.attempts")) == len(desk.discord.requests()) == asked + 1


def lane(lane: str = "trim", badges: tuple[str, ...] = (), **changes: Any) -> bytes:
    data = {"ticker": "AMD", "from_lane": "hold", "lane": lane, "reason": "tp_hit", "price": "101.5", "badges": list(badges)}
    return envelope("lane_changed", {**data, **changes.pop("data", {})}, **changes)


def test_29_lanes_are_off_by_default(make_desk: MakeDesk) -> None:
    desk = make_desk(settings=Settings())
    desk.push(lane())
    assert [row["outcome"] for row in desk.rows("select outcome from notify.deliveries")] == ["muted"]
    assert desk.rows("select 1 from notify.messages") == []
    assert service.all_channels(desk.settings.has_lanes) == ("executions", "ops")


def test_29_a_lane_is_told_once_in_a_quarter_of_an_hour(desk: NotifyDesk) -> None:
    start = desk.clock.now()
    desk.push(lane(at=start), lane(at=start.replace(minute=29)), lane(at=start.replace(minute=31)), lane("hold", at=start))
    desk.drain("lanes")
    assert len(desk.posts("lanes")) == 3
    embed = desk.embeds("lanes")[0]
    assert embed["title"] == "AMD: hold → trim"
    assert "no execution" in embed["description"]


def test_29_a_pending_exit_says_that_the_position_is_still_open(desk: NotifyDesk) -> None:
    desk.push(lane("hold", badges=("exit_pending",)))
    desk.drain("lanes")
    assert "exit pending, position still open" in desk.embeds("lanes")[0]["description"]


def test_36_every_request_goes_to_version_ten_of_the_api(desk: NotifyDesk) -> None:
    desk.tell(executed(), executed(event="execution_corrected", version=2, cause="revision"))
    assert desk.discord.requests()
    assert all(one["path"].startswith("/api/v10/") for one in desk.discord.requests())


def test_a_new_webhook_makes_the_channel_active_and_leaves_old_messages_alone(desk: NotifyDesk) -> None:
    desk.tell(executed())
    desk.discord.set_state("executions", "deleted")
    desk.tell(executed("b", position="q"))
    changed = [{**one, "webhook_id": "999999999999999999"} if one["channel_id"] == "executions" else one
               for one in desk.speaker.channels()]  # fmt: skip
    service.configure(desk.db, changed, desk.clock.now())
    (channel,) = desk.rows("select * from notify.channels where channel_id = 'executions'")
    assert (channel["status"], channel["discord_channel_id"], channel["guild_id"]) == ("active", None, None)
    assert desk.message()["webhook_id"] != "999999999999999999"


def test_38_no_secret_stands_in_a_table_an_event_or_a_log(desk: NotifyDesk, capsys: pytest.CaptureFixture[str]) -> None:
    canaries = [desk.discord.webhook(name).token for name in ("executions", "ops", "lanes")] + [desk.discord.read_token]
    for knob in ("server_error.500", "rate_limit.normal", "network.reset", "body.invalid_json", "state.token_bad"):
        desk.discord.fault(knob, route="create")
    desk.push(executed(), executed("x", kind="EXIT", position="q"))
    for _ in range(3):
        desk.drain(allowance=3000)
        desk.clock.step(3000)
        operator.enable(desk.desk, "executions")
    desk.relay()
    desk.drain("ops", allowance=100)
    tables = desk.rows("select schemaname || '.' || tablename as name from pg_tables where schemaname in ('notify', 'outbox')")
    dump = "".join(json.dumps(desk.rows(f"select to_jsonb(t)::text as row from {one['name']} t")) for one in tables)
    told = capsys.readouterr()
    assert "discord_request" in told.out
    for canary in canaries:
        assert canary not in dump + told.out + told.err
        assert canary not in repr(desk.speaker.__dict__)


def test_the_delivery_log_answers_with_one_query(desk: NotifyDesk) -> None:
    desk.discord.fault("server_error.503", route="create")
    desk.tell(executed(), allowance=10)
    log = desk.rows(
        "select operation, http_status, error, answered_message_id, message_id, posted_version from notify.v_delivery_log "
        "where book_id = 'live' and action_id = :action and operation = 'create' order by started_at, attempt_id",
        action=desk.message()["action_id"],
    )
    assert [row["http_status"] for row in log] == [503, 200]
    assert log[0]["error"] == "status_503"
    assert log[1]["answered_message_id"] == log[1]["message_id"] == desk.posts()[0]["id"]


def test_old_requests_are_forgotten_after_ninety_days(desk: NotifyDesk) -> None:
    desk.tell(executed())
    assert service.purge(desk.db, desk.clock.now()) == 0
    assert service.purge(desk.db, desk.clock.now() + timedelta(days=91)) == 2
    assert desk.rows("select 1 from notify.attempt_subjects") == []


def test_a_finished_attempt_does_not_change(desk: NotifyDesk) -> None:
    desk.tell(executed())
    with pytest.raises(ConstraintViolated) as violated, desk.admin.transaction() as tx:
        tx.execute(statement("update notify.attempts set http_status = 500"))
    assert violated.value.constraint == "attempts_append_only"


def test_settings_of_a_test_can_be_replaced(desk: NotifyDesk) -> None:
    assert replace(desk.settings, digest_threshold=3).digest_threshold == 3
    assert Priority.EXIT < Priority.TRIM < Priority.NORMAL
