"""Check 3 with a real kill: Discord has stored the message and says nothing, the notifier dies waiting for its answer."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local import leases
from infra.local.desk import LocalCloud
from tests.e2e.conftest import WAIT_SECONDS, booked, counted, desks, inbox, prove, told_on_discord
from tests.e2e.test_one_signal import CLOSE, FUNCTIONS, post
from tests.support.receipts import body

pytestmark = [pytest.mark.bundles, pytest.mark.slow]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, bundles: Path, cluster: Path) -> Iterator[LocalCloud]:
    """One desk for both tests, each with a message of its own."""
    with desks(tmp_path_factory.mktemp("notifier"), bundles, cluster) as start:
        cloud = start(functions=FUNCTIONS)
        cloud.clock.set(CLOSE)
        yield cloud


def fault(desk: LocalCloud, knob: str) -> None:
    """The fake Discord does this to the next message."""
    rule = json.dumps({"fault": knob, "route": "create", "count": 1}).encode()
    request = urllib.request.Request(f"{desk.place.discord_url}/_control/faults", rule, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
        assert answer.status == 200


def test_a_notifier_killed_while_discord_has_already_accepted_leaves_one_message(desk: LocalCloud) -> None:
    known = posted(desk)
    fault(desk, "network.hang_after_accept")
    assert post(desk, body("R"))[0] == 202
    end = time.monotonic() + WAIT_SECONDS
    while len(inbox(desk)) == known:
        assert time.monotonic() < end, desk.logs("discord_notifier")
        time.sleep(0.02)
    desk.kill("discord_notifier")
    desk.wait_until_up("discord_notifier")
    leases.end_of(desk.database, "discord_notifier")
    while posted(desk) == known:
        assert time.monotonic() < end, desk.logs("discord_notifier")[-3000:]
        desk.clock.step(20)
        desk.control.run_job("discord-drain")
    assert len(booked(desk)) == known + 1
    assert told_on_discord(desk) == dict.fromkeys(booked(desk), 1)


def test_a_message_that_stands_twice_is_removed_by_the_evenings_proof(desk: LocalCloud) -> None:
    known = posted(desk)
    fault(desk, "state.message_doubled")
    assert post(desk, body("R", ticker="ZZTB"))[0] == 202
    end = time.monotonic() + WAIT_SECONDS
    while len(inbox(desk)) < known + 2 or posted(desk) == known:
        assert time.monotonic() < end, desk.logs("discord_notifier")[-3000:]
        time.sleep(0.02)
    prove(desk)
    assert len(booked(desk)) == known + 1
    assert told_on_discord(desk) == dict.fromkeys(booked(desk), 1)


def posted(desk: LocalCloud) -> int:
    """How many messages the desk knows to stand there."""
    known = "select count(*) from notify.v_messages where state = 'posted' and message_id is not null"
    return counted(desk.database, known)
