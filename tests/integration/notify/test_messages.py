"""Executions become messages: what stands in the channel equals what is stored (scenarios 1 to 9 of the specification)."""

from __future__ import annotations

from tests.support.notify_desk import NotifyDesk, executed


def test_four_executions_of_a_position_become_four_messages(desk: NotifyDesk) -> None:
    desk.push(
        executed("e", kind="ENTRY"),
        executed("d", kind="ADD_ENTRY"),
        executed("t", kind="TRIM"),
        executed("x", kind="EXIT"),
    )
    report = desk.drain()
    assert report.reason == "idle"
    assert desk.states() == {"posted": 4}
    titles = [embed["title"] for embed in desk.embeds()]
    assert titles == ["Entered AMD LONG", "Added to AMD LONG", "Trimmed AMD LONG: gain", "Closed AMD LONG: WIN"]
    print(desk.embeds()[2])
