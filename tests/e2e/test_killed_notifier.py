"""Check 3 with a real kill: Discord has stored the message and says nothing, the notifier dies waiting for its answer."""

from __future__ import annotations

import json
import time
import urllib.request

import pytest

from fillbook.runtime.sql import statement
from infra.local.desk import LocalCloud
from tests.e2e.conftest import WAIT_SECONDS, NewDesk, booked, inbox, prove, told_on_discord
from tests.e2e.test_one_signal import CLOSE, post
from tests.support import leases
from tests.support.receipts import body

pytestmark = [pytest.mark.bundles, pytest.mark.slow]


def fault(desk: LocalCloud, knob: str) -> None:
    """The fake Discord does this to the next message."""
    rule = json.dumps({"fault": knob, "route": "create", "count": 1}).encode()
    request = urllib.request.Request(f"{desk.place.discord_url}/_control/faults", rule, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_a_notifier_killed_while_discord_has_already_accepted_leaves_one_message(new_desk: NewDesk) -> None:
    desk = new_desk()
    desk.clock.set(CLOSE)
    fault(desk, "network.hang_after_accept")
    assert post(desk, body("R"))[0] == 202
    end = time.monotonic() + WAIT_SECONDS
    while not inbox(desk):
        assert time.monotonic() < end, desk.logs("discord_notifier")
        time.sleep(0.02)
    desk.kill("discord_notifier")
    desk.wait_until_up("discord_notifier")
    leases.end_of(desk.database, "discord_notifier")
    while not posted(desk):
        assert time.monotonic() < end, desk.logs("discord_notifier")[-3000:]
        desk.clock.step(20)
        desk.control.run_job("discord-drain")
    (execution,) = booked(desk)
    assert told_on_discord(desk) == {execution: 1}


def test_a_message_that_stands_twice_is_removed_by_the_evenings_proof(new_desk: NewDesk) -> None:
    desk = new_desk()
    desk.clock.set(CLOSE)
    fault(desk, "state.message_doubled")
    assert post(desk, body("R"))[0] == 202
    end = time.monotonic() + WAIT_SECONDS
    while len(inbox(desk)) < 2 or not posted(desk):
        assert time.monotonic() < end, desk.logs("discord_notifier")[-3000:]
        time.sleep(0.02)
    prove(desk)
    assert told_on_discord(desk) == {booked(desk)[0]: 1}


def posted(desk: LocalCloud) -> bool:
    """Whether the desk knows its message."""
    with desk.database.transaction(read_only=True) as tx:
        return bool(
            tx.query(statement("select 1 as one from notify.v_messages where state = 'posted' and message_id is not null"))
        )
