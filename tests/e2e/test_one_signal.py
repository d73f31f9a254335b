"""One signal from the webhook to Discord, through every process of the desk."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fillbook.runtime.sql import statement
from infra.local.desk import LocalCloud
from infra.local.sender import encode_receipt
from tests.e2e.conftest import WAIT_SECONDS, counted, desks, inbox
from tests.support.receipts import body
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.bundles, pytest.mark.slow]

CLOSE = datetime(2026, 2, 3, 15, 16, 1, tzinfo=UTC)
PUSHED = "signals-signal_worker"
COPIES = 12
FUNCTIONS = ["signal_ingest", "signal_worker", "outbox_relay", "discord_notifier"]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, bundles: Path, cluster: Path) -> Iterator[LocalCloud]:
    """One desk for all tests, each with tickers of its own."""
    with desks(tmp_path_factory.mktemp("signal"), bundles, cluster) as start:
        desk = start(functions=FUNCTIONS)
        desk.clock.set(CLOSE)
        yield desk


def post(cloud: LocalCloud, document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(
        cloud.url("signal_ingest") + "/timed/ingest",
        data=encode_receipt(document | {"token": cloud.secrets["ingest_token"]}),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
        return answer.status, json.load(answer)


def messages_when_told(cloud: LocalCloud, ticker: str) -> list[dict[str, Any]]:
    end = time.monotonic() + WAIT_SECONDS
    while not (found := [message for message in inbox(cloud) if ticker in json.dumps(message)]):
        assert time.monotonic() < end, cloud.logs("discord_notifier")
        time.sleep(0.05)
    return found


def test_a_posted_signal_becomes_an_entry_and_one_message_with_its_figures(cloud: LocalCloud) -> None:
    status, answer = post(cloud, body("R"))
    assert (status, answer["ok"], answer["ticker"]) == (202, True, "ZZTA")
    (message,) = messages_when_told(cloud, "ZZTA")
    fields = {field["name"]: field["value"] for field in message["embeds"][0]["fields"]}
    assert {name: fields[name] for name in ("action_type", "quantity", "price", "value")} == {
        "action_type": "ENTRY",
        "quantity": "37.6374",
        "price": "100.40",
        "value": "3778.79496 USD",
    }
    assert cloud.control.wait_idle()
    assert counted(cloud.database, "select count(*) from ledger.v_actions where ticker = 'ZZTA'") == 1


def test_the_same_signal_five_times_and_thirty_two_times_at_once_is_one_entry_and_one_message(
    cloud: LocalCloud,
) -> None:
    same = body("R", ticker="ZZTB")
    for _ in range(5):
        assert post(cloud, same)[0] == 202
    with ThreadPoolExecutor(32) as pool:
        statuses = list(pool.map(lambda _: post(cloud, same)[0], range(32)))
    assert statuses == [202] * 32
    messages_when_told(cloud, "ZZTB")
    assert cloud.control.wait_idle()
    cloud.clock.step(120)
    assert cloud.control.wait_idle()
    assert counted(cloud.database, "select count(*) from signal.v_receipts where ticker = 'ZZTB'") == 1
    actions = "from ledger.v_actions where ticker = 'ZZTB'"
    assert counted(cloud.database, f"select count(*) {actions}") == 1
    assert counted(cloud.database, f"select sum(quantity) {actions}") == int(Decimal("37.6374"))
    assert len(messages_when_told(cloud, "ZZTB")) == 1


def test_pushes_beyond_the_places_come_again_and_all_of_them_are_decided_once(cloud: LocalCloud) -> None:
    def pushed(what: str) -> int:
        return int(cloud.control.pubsub()["subscriptions"][PUSHED][what])

    refused, given_up = pushed("failed"), pushed("dead")
    cloud.control.faults(PUSHED, duplicate=COPIES, at_once=1, count=COPIES)  # eight messages at once are 96 pushes at once
    with cloud.database.transaction() as tx:
        tx.execute(statement("lock table signal.receipts in share mode"))  # nobody can store: all places are held
        for number in range(COPIES):
            assert post(cloud, body("R", ticker=f"ZZO{number}"))[0] == 202
        wait_until(lambda: pushed("failed") > refused, lambda: cloud.control.pubsub()["subscriptions"][PUSHED])
    cloud.control.no_faults()
    assert '"requests_refused"' in cloud.logs("signal_worker")
    wait_until(lambda: cloud.clock.step(30) is None and cloud.control.wait_idle(1))
    assert counted(cloud.database, "select count(*) from signal.v_receipts where ticker like 'ZZO%'") == COPIES
    assert counted(cloud.database, "select count(*) from signal.v_decisions where ticker like 'ZZO%'") == COPIES
    assert counted(cloud.database, "select count(*) from outbox.quarantine") == 0
    assert pushed("dead") == given_up
