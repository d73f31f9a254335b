"""Operations: one message per subject, counted, edited, resolved, faded (scenario 30 and section 4)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fillbook.notify import service
from fillbook.notify.ops import OPS_RULES
from infra.manifest import load
from tests.support.notify_desk import START, NotifyDesk, envelope


def failed(account: str = "U1", error: str = "timeout", **changes: Any) -> bytes:
    return envelope("sync_failed", {"account": account, "error_class": error, "failures": 3}, **changes)


def recovered(account: str = "U1", **changes: Any) -> bytes:
    return envelope("sync_recovered", {"account": account}, **changes)


def fields(embed: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in embed["fields"]}


def later(minutes: float) -> Any:
    return START + timedelta(minutes=minutes)


def test_30_fifty_failures_are_one_message_with_a_count_and_recovery_edits_it(desk: NotifyDesk) -> None:
    for number in range(50):
        desk.push(failed(at=later(number / 60)))
    desk.drain("ops")
    (embed,) = desk.embeds("ops")
    assert embed["title"] == "Sync failed: U1"
    assert embed["color"] == 0xEF4444
    assert fields(embed)["count"] == "50"
    assert fields(embed)["error\\_class"] == "timeout"
    desk.push(recovered(at=later(5)))
    desk.drain("ops")
    (embed,) = desk.embeds("ops")
    assert embed["title"] == "Sync failed: U1 (resolved)"
    assert embed["color"] == 0x3B82F6


def test_30_another_error_class_is_another_message_and_one_recovery_resolves_both(desk: NotifyDesk) -> None:
    desk.push(failed(), failed(error="login"), failed(account="U2"))
    desk.drain("ops")
    assert len(desk.posts("ops")) == 3
    desk.push(recovered(at=later(1)))
    desk.drain("ops")
    assert [embed["title"] for embed in desk.embeds("ops")] == [
        "Sync failed: U1 (resolved)", "Sync failed: U1 (resolved)", "Sync failed: U2",
    ]  # fmt: skip


def test_30_a_failure_is_posted_anew_after_an_hour_at_the_earliest(desk: NotifyDesk) -> None:
    desk.push(failed())
    desk.drain("ops")
    desk.clock.step(3540)
    desk.push(failed(at=desk.clock.now()))
    desk.drain("ops")
    assert len(desk.posts("ops")) == 1
    desk.clock.step(120)
    desk.push(failed(at=desk.clock.now()))
    desk.drain("ops")
    assert len(desk.posts("ops")) == 2
    assert fields(desk.embeds("ops")[1])["count"] == "3"


def test_30_a_day_of_silence_is_no_longer_reported(desk: NotifyDesk) -> None:
    desk.push(failed())
    desk.drain("ops")
    desk.clock.step(86_399)
    assert service.fade(desk.db, desk.clock.now()) == 0
    desk.clock.step(2)
    assert service.fade(desk.db, desk.clock.now()) == 1
    desk.drain("ops")
    assert desk.embeds("ops")[0]["title"] == "Sync failed: U1 (no longer reported)"
    assert service.fade(desk.db, desk.clock.now()) == 0


def test_a_recovery_that_overtakes_its_failure_leaves_it_resolved(desk: NotifyDesk) -> None:
    desk.push(recovered(at=later(5)), failed(at=later(1)))
    desk.drain("ops")
    titles = sorted(embed["title"] for embed in desk.embeds("ops"))
    assert titles == ["Sync failed: U1 (resolved)", "Sync recovered: U1"]
    desk.push(failed(at=later(9)))
    desk.drain("ops")
    assert "Sync failed: U1" in [embed["title"] for embed in desk.embeds("ops")]


def test_a_break_and_its_resolution_share_one_message(desk: NotifyDesk) -> None:
    data = {"break_id": "b1", "kind": "position_quantity", "expected": "10", "actual": "-9.5", "cause": "unexplained"}
    desk.push(envelope("break_found", data, book="ibkr:U1"))
    desk.drain("ops")
    assert fields(desk.embeds("ops")[0])["actual"] == "-9.5"
    desk.push(envelope("break_resolved", data, book="ibkr:U1", at=later(9)))
    desk.drain("ops")
    (embed,) = desk.embeds("ops")
    assert embed["title"] == "Break resolved: ibkr\\:U1"


def test_an_overdue_snapshot_is_edited_when_it_is_published_and_versions_edit_one_message(desk: NotifyDesk) -> None:
    desk.push(envelope("snapshot_overdue", {"date": "2026-02-03"}, book=None))
    desk.drain("ops")
    published = {"date": "2026-02-03", "version": 1, "content_hash": "ab12", "kpis": {"equity": "100123.45", "trades": 3}}
    desk.push(envelope("snapshot_published", published, book=None, at=later(1)))
    desk.push(envelope("snapshot_published", {**published, "version": 2}, book=None, at=later(2)))
    desk.drain("ops")
    overdue, told = desk.embeds("ops")
    assert overdue["title"] == "Snapshot overdue: 2026\\-02\\-03 (resolved)"
    assert told["title"] == "Snapshot published: 2026\\-02\\-03"
    assert fields(told)["version"] == "2"
    assert fields(told)["kpis"] == "equity 100123.45\ntrades 3"


def test_every_event_type_of_operations_is_told(desk: NotifyDesk) -> None:
    entries = load().events
    assert {name for name, entry in entries.items() if entry.channel == "ops"} == set(OPS_RULES)
    for event_type in OPS_RULES:
        desk.push(envelope(event_type, {"reason": "why", "note": "@everyone [x](http://y)"}, book=None))
    for _ in range(6):
        desk.drain("ops", allowance=120)
    assert len(desk.embeds("ops")) >= len(OPS_RULES) - 6
    assert desk.states().get("dead") is None
    assert not any(ping["would_ping"] for ping in desk.discord.pings())


def test_an_event_with_many_and_long_facts_fits(desk: NotifyDesk) -> None:
    data = {f"key_{number}": "x" * 900 for number in range(40)}
    desk.push(envelope("audit_failed", {"findings": [{"check": n, "ids": ["a"] * 50} for n in range(30)], **data}))
    desk.drain("ops")
    (embed,) = desk.embeds("ops")
    assert sum(len(part["name"]) + len(part["value"]) for part in embed["fields"]) < 5800
