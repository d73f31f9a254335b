"""Scenarios 18, 21 and 22 in the local cloud: the API is down, D1 takes the day, then breaks, then all is well again."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from contextlib import closing
from typing import Any

import pytest

from fillbook.runtime.sql import statement
from fillbook.snapshot import __main__ as operator
from infra.local.desk import LocalCloud
from infra.local.snapshot_targets import STATE_FILE
from tests.e2e.conftest import NewDesk
from tests.support.ledger import make_fill
from tests.support.snapshot_publishing import DAY, EVENING, PublishDesk, new_york

pytestmark = [pytest.mark.bundles, pytest.mark.slow]


def publications(cloud: LocalCloud) -> list[tuple[str, str, int | None]]:
    """Status, target and version of the day's publications, oldest first."""
    text = "select status, target, version from metrics.v_publications where report_date = '2026-02-11' order by seq"
    with cloud.database.transaction(read_only=True) as tx:
        return [(row["status"], row["target"], row["version"]) for row in tx.query(statement(text))]


def in_d1(cloud: LocalCloud) -> list[tuple[str, int]]:
    """The days that D1 holds, with their points."""
    text = "select d.date, count(p.t) from metrics_daily d left join metrics_series_points p using (date) group by d.date"
    with closing(sqlite3.connect(cloud.home.path / STATE_FILE)) as file:
        return file.execute(text).fetchall()


def break_d1(cloud: LocalCloud, **rule: Any) -> None:
    """Have D1 fail from now on; without a rule it is well again."""
    method, data = ("POST", json.dumps(rule).encode()) if rule else ("DELETE", None)
    base = cloud.place.d1_url
    urllib.request.urlopen(urllib.request.Request(f"{base}/_fault", data, method=method), timeout=10).close()


def test_a_day_goes_past_a_dead_api_is_kept_when_nobody_takes_it_and_reaches_the_api_in_the_end(
    new_desk: NewDesk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud = new_desk(functions=["snapshot_publisher", "snapshot_api"], desk_start=EVENING)
    for name, value in cloud.operator_environment.items():
        monkeypatch.setenv(name, value)
    world = PublishDesk(lambda *_, **__: cloud.database, cloud.database, None)
    world.w1()
    cloud.kill("snapshot_api", stay_down=True)
    assert cloud.control.run_job("snapshot-postmarket") == 200
    assert publications(cloud) == [("published_fallback", "d1", None)]
    assert in_d1(cloud) == [("2026-02-11", 5666)]

    break_d1(cloud, kind="status", status=500, count=None)
    late = make_fill(
        "late",
        "SELL",
        5,
        "121",
        instrument="AAPL",
        direction="LONG",
        fees="1",
        executed_at=new_york("15:00"),
        session_date=DAY,
        received_at=EVENING,
    )
    world.trade([late], at=EVENING)
    assert operator.main(["publish"]) == 6
    assert publications(cloud)[1:] == [("kept", "none", None)]

    break_d1(cloud)
    cloud.revive("snapshot_api")
    assert operator.main(["publish"]) == 0
    assert publications(cloud)[2:] == [("published", "api", 1)]
    assert operator.main(["publish"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("unchanged (run ")
    logs = cloud.logs("snapshot_publisher")
    assert not [name for name in ("internal_token", "signing_secret", "d1_token") if cloud.secrets[name] in logs]
