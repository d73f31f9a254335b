"""The local cloud starts the fake D1 and the lenient receiver for a publisher: two processes that show one database."""

from __future__ import annotations

import time
from pathlib import Path

import requests
from pydantic import SecretStr

from fillbook.snapshot import document
from fillbook.snapshot.d1 import D1
from fillbook.snapshot.sources import FallbackKind
from infra.local import snapshot_targets
from infra.local.desk import LocalCloud
from infra.local.fakes import DISCORD, PUBLISHER
from infra.local.processes import Keeper
from infra.local.readiness import wait_until_ready
from infra.local.snapshot_targets import D1 as D1_NAME
from infra.local.snapshot_targets import LENIENT, TARGETS
from tests.support.snapshot_shapes import snapshot


def test_they_are_started_for_a_publisher_and_for_nobody_else(tmp_path: Path) -> None:
    assert set(TARGETS) <= set(LocalCloud(tmp_path, functions=(PUBLISHER,))._broker_ports())
    assert not set(TARGETS) & set(LocalCloud(tmp_path, functions=("outbox_relay",))._broker_ports())
    assert set(snapshot_targets.settings("", {}).values()) == {""}


def test_what_is_written_past_the_api_shows_in_the_receivers_readers_also_after_a_kill(tmp_path: Path) -> None:
    cloud = LocalCloud(tmp_path, functions=(PUBLISHER,))
    cloud.secrets = cloud.home.secrets()
    cloud._ports = cloud.home.ports([DISCORD, *cloud._broker_ports()], {})
    urls = {name: f"http://127.0.0.1:{cloud._ports[name]}" for name in TARGETS}
    told = snapshot_targets.settings(urls[D1_NAME], cloud.secrets)
    d1 = D1(
        SecretStr(told["CLOUDFLARE_API_TOKEN"]),
        account_id=told["CF_ACCOUNT_ID"],
        database_id=told["CF_D1_DATABASE_ID"],
        api_base=told["D1_API_BASE"],
        is_local=True,
    )
    day = snapshot()
    reader = f"{urls[LENIENT]}/v1/metrics/portfolio-assets"
    key = {"Authorization": f"Bearer {cloud.secrets['lenient_key']}"}
    keeper = Keeper()
    try:
        for name, command, given in cloud._fakes():
            if name in TARGETS:
                keeper.start(cloud._program(name, command, given))
        ready = {name: (keeper.get(name), cloud._probe(name)) for name in TARGETS}
        wait_until_ready(ready, 60, lambda _name, _where: None)
        assert d1.write(document.encoded(day), day, deadline=time.monotonic() + 30).kind is FallbackKind.STORED
        assert len(requests.get(reader, headers=key, timeout=20).json()["items"]) == len(day.assets)
        for name in TARGETS:
            keeper.kill(name)
        wait_until_ready(ready, 60, lambda _name, _where: None, deaths_allowed=True)
        assert len(requests.get(reader, headers=key, timeout=20).json()["items"]) == len(day.assets)
        logs = "".join((cloud.home.logs / f"{name}.log").read_text("utf-8") for name in TARGETS)
        assert not any(secret in logs for secret in cloud.secrets.values())
    finally:
        keeper.close()
