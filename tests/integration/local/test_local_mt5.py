"""The local cloud starts the fake MT5 service for those who speak to it, on the desk's clock, and again when it is killed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.local.desk import LocalCloud
from infra.local.deskclock import DeskClockFile
from infra.local.fakes import BROKER, DISCORD, FLEX, MT5, MT5_SPEAKERS, TWS
from infra.local.processes import Keeper
from infra.local.readiness import wait_until_ready

DESK = datetime(2026, 1, 15, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("functions", "fakes"),
    [((), ()), ((BROKER,), (TWS, FLEX)), (("account_sync",), (MT5,)), ((BROKER, *MT5_SPEAKERS), (TWS, FLEX, MT5))],
)
def test_a_fake_is_started_for_those_who_speak_to_it(tmp_path: Path, functions: tuple[str, ...], fakes: tuple[str, ...]) -> None:
    cloud = LocalCloud(tmp_path, functions=functions)
    assert cloud._broker() == fakes
    assert (MT5 in cloud._broker_ports()) is (MT5 in fakes)


def snapshot(url: str, key: str) -> Any:
    headers = {"X-API-Key": key, "X-Account-Scope": "demo-20", "X-Request-Id": "1"}
    answer = requests.get(f"{url}/v1/accounts/demo-20/snapshot", headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_it_keeps_the_desks_time_and_tells_the_same_after_a_kill(tmp_path: Path) -> None:
    cloud = LocalCloud(tmp_path, functions=("account_sync",))
    cloud.secrets = cloud.home.secrets()
    cloud._ports = cloud.home.ports([DISCORD, *cloud._broker_ports()], {})
    clock = DeskClockFile(cloud.home.clock)
    clock.apply({"desk_at": DESK.isoformat(), "paused": True})
    keeper = Keeper()
    try:
        ((name, command, given),) = (one for one in cloud._fakes() if one[0] == MT5)
        keeper.start(cloud._program(name, command, given))
        ready = {MT5: (keeper.get(MT5), cloud._probe(MT5))}
        wait_until_ready(ready, 60, lambda _name, _where: None)
        url = f"http://127.0.0.1:{cloud._ports[MT5]}"
        first = snapshot(url, cloud.secrets["mt5_key"])
        assert first["as_of"] == "2026-01-15T15:00:00.000Z"
        keeper.kill(MT5)
        wait_until_ready(ready, 60, lambda _name, _where: None, deaths_allowed=True)
        assert snapshot(url, cloud.secrets["mt5_key"]) == first
        assert cloud.secrets["mt5_key"] not in (cloud.home.logs / "mt5.log").read_text("utf-8")
        clock.apply({"step_seconds": 3600})
        assert snapshot(url, cloud.secrets["mt5_key"])["as_of"] == "2026-01-15T16:00:00.000Z"
    finally:
        keeper.close()
