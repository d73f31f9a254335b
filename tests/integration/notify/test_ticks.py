"""What a tick does of what no push has finished."""

from __future__ import annotations

import pytest

from fillbook.notify.model import Operation, Request
from fillbook.notify.notifier import Notifier
from tests.integration.notify.test_failures import killed_while_sending
from tests.support.notify_desk import NotifyDesk, Stepping, executed


@pytest.mark.parametrize("strangers", [2, 12])
def test_17_a_tick_finishes_a_search_however_many_messages_it_has_to_read(desk: NotifyDesk, strangers: int) -> None:
    """A search of more reads than the allowance of a moment goes on in its tick: one begun anew each time would never end."""
    desk.push(executed())
    for number in range(strangers):
        embed = {"title": f"somebody else's {number}"}
        desk.speaker.send(Request(operation=Operation.CREATE, channel_id="executions", embeds=(embed,)))
        desk.clock.step(0.5)
    killed_while_sending(desk)
    desk.push(executed("second", position="q"))
    before = len(desk.requests("list") + desk.requests("get"))
    told = Notifier(desk.db, desk.speaker, desk.clock, desk.settings).drain_round(Stepping(desk.clock, 50))
    assert told["executions"] == "idle"
    assert desk.states() == {"posted": 2}
    assert len(desk.posts()) == strangers + 2
    assert len(desk.requests("list") + desk.requests("get")) - before <= strangers + 3
