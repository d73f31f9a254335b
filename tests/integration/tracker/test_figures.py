"""smoke"""
from __future__ import annotations
import json
import pytest
from flask.testing import FlaskClient
from tests.support.tracker_desk import get

@pytest.mark.usefixtures("booked")
def test_all(client: FlaskClient) -> None:
    for path in ("/timed/ledger/summary", "/timed/ledger/summary?group_by=ticker","/timed/ledger/summary?group_by=day","/timed/ledger/summary?group_by=weekday","/timed/ledger/summary?group_by=reason","/timed/ledger/summary?group_by=trigger_reason","/timed/ledger/summary?group_by=score_band&since=2026-02-03T15:03:00Z","/timed/ledger/summary?known_as_of=2026-02-03T15:10:00Z&since=2026-02-03T15:03:00Z", "/timed/calendar", "/timed/portfolio","/timed/portfolio?range=30d","/timed/portfolio?range=all","/timed/activity","/timed/activity?limit=2","/timed/marks/ZZTA","/timed/session","/timed/audit","/timed/health","/timed/snapshot","/timed/snapshot/dates","/timed/snapshot/restatements"):
        status, answer = get(client, path)
        text = json.dumps(answer)
        print(path, status, text if len(text) < 1800 else text[:1800])
        assert status == 200
    act = get(client, "/timed/activity?kinds=execution&limit=1")[1]["items"][0]["action_id"]
    print(json.dumps(get(client, f"/timed/why/{act}")[1]))
    assert 0
