"""Scenario 26 with a real kill: the bundle dies halfway through a day; readers see the old one, and the repeat is stored."""

from __future__ import annotations

import gzip
import json
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from fillbook.runtime.sql import statement
from infra.local.desk import LocalCloud
from tests.e2e.conftest import WAIT_SECONDS, NewDesk, counted
from tests.support.snapshot_api import DAY, PATH, day_document, signature

pytestmark = [pytest.mark.bundles, pytest.mark.slow]
HALFWAY = """select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'snapshot_api'"""


def call(desk: LocalCloud, path: str, data: bytes | None = None, **headers: str) -> tuple[int, Any]:
    """Status and document of one request."""
    request = urllib.request.Request(desk.url("snapshot_api") + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            raw = answer.read()
            return answer.status, json.loads(gzip.decompress(raw) if answer.headers.get("Content-Encoding") else raw)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def post(desk: LocalCloud, document: dict[str, Any]) -> tuple[int, Any]:
    """Send a day as the publisher does."""
    raw, secrets = json.dumps(document).encode(), desk.place.secrets
    headers = {"X-Internal-Token": secrets["internal_token"], "X-Signature": signature(raw, secrets["signing_secret"])}
    return call(desk, PATH, raw, **headers, **{"Content-Type": "application/json"})


def latest(desk: LocalCloud) -> dict[str, Any]:
    """The day as a reader sees it."""
    key = {"Authorization": f"Bearer {desk.place.secrets['metrics_key']}", "Accept-Encoding": "gzip"}
    status, found = call(desk, f"/v1/trades/latest?date={DAY}", **key)
    assert status == 200, found
    document: dict[str, Any] = found
    return document


def test_a_killed_bundle_leaves_the_old_day_and_the_repeat_is_stored_once(new_desk: NewDesk) -> None:
    desk = new_desk(functions=["snapshot_api"], desk_start=datetime(2026, 2, 11, 21, 45, tzinfo=UTC))
    first, second = day_document(number=1), day_document(number=2, updated_at="2026-02-11T21:10:00.000Z")
    assert post(desk, first)[1]["version"] == 1
    before = latest(desk)
    with desk.database.transaction() as tx:
        tx.execute(statement("lock table metrics.metrics_portfolio_assets in access exclusive mode"))

        def send() -> None:
            with suppress(OSError, ValueError):
                post(desk, second)

        sender = threading.Thread(target=send)
        sender.start()
        end = time.monotonic() + WAIT_SECONDS
        while counted(desk.database, HALFWAY) == 0:
            assert time.monotonic() < end, desk.logs("snapshot_api")
            time.sleep(0.01)
        desk.kill("snapshot_api")
        sender.join()
    desk.wait_until_up("snapshot_api")
    assert latest(desk) == before
    status, answer = post(desk, second)
    assert (status, answer["version"], answer["unchanged"]) == (200, 2, False)
    assert post(desk, second)[1]["unchanged"] is True
    assert latest(desk)["rows"][0]["value_num"] == 2
    assert counted(desk.database, "select count(*) from metrics.snapshot_versions") == 2
    secrets = [desk.place.secrets[name] for name in ("internal_token", "signing_secret", "metrics_key")]
    assert [name for name in secrets if name in desk.logs("snapshot_api")] == []
