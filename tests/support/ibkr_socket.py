"""A desk that asks a fake TWS through the real client library, and the plans of frames kept beside the repository.

``LIBRARY`` names the client library under test: ``FILLBOOK_TWS_LIBRARY``, so that the same tests run in an environment that
holds the other one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from fillbook.ibkr.accounts import configure_accounts
from fillbook.ibkr.allowlist import Account, AccountConfig, AllowList
from fillbook.ibkr.model import SyncMetrics, Window
from fillbook.ibkr.runs import sync_trades_once
from fillbook.ibkr.sources import Target
from fillbook.ibkr.tws import Tws
from fillbook.ibkr.tws_rules import TwsTarget, Waits
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from infra.local.tws import TwsFake
from tests.support.ibkr import CONFIGS
from tests.support.ibkr_world import NOW, Query, World

LIBRARY = os.environ.get("FILLBOOK_TWS_LIBRARY", "ib_insync")
PLANS = Path(__file__).parents[2].parent / "shared" / "data" / "ibkr" / "synthetic_tws_frames_sv176.jsonl"
PAPER = AccountConfig(account=Account(account_id=11, code="DU1234567"))
PAPER_TOO = AccountConfig(account=Account(account_id=12, code="DU7654321"))
ALL = (*CONFIGS, PAPER, PAPER_TOO)
ALLOWED = AllowList.of(ALL)
QUICK = Waits(end=1.0, commissions=0.4, connectivity=1.0, run=20.0)
"""Waits for faults that never end by themselves; an answer that comes is not kept waiting by them."""
REACH_DAYS = 6


@cache
def plans() -> dict[str, list[list[str]]]:
    """The frames of each plan by its name."""
    found = (json.loads(line) for line in PLANS.read_text(encoding="utf-8").splitlines())
    return {plan["name"]: plan["frames"] for plan in found}


def socket_of(fake: TwsFake, clock: FixedClock, *, client_ids: tuple[int, ...] = (11, 12, 13), **options: Any) -> Tws:
    """The adapter, allowed to dial the fake; ``options``: waits, and settings of the target."""
    waits = options.pop("waits", QUICK)
    place = TwsTarget(**({"host": fake.host, "port": fake.port, "reach_days": REACH_DAYS} | options))
    return Tws(targets=[place], client_ids=client_ids, clock=clock, library=LIBRARY, waits=waits)


def target_of(fake: TwsFake, **options: Any) -> Target:
    """What a run dials."""
    given: dict[str, Any] = {"client_id": 11, "connect_timeout_seconds": 2, "allow_list": ALLOWED}
    return Target(host=fake.host, port=fake.port, **(given | options))


def window_of(clock: FixedClock, days: float = 2) -> Window:
    """The days before now."""
    return Window(from_at=clock.now() - timedelta(days=days), to_at=clock.now())


class SocketWorld(World):
    """Four accounts; ``told`` loads frames and runs against them, by default twice, the second time changing nothing."""

    def __init__(self, db: Database, query: Query) -> None:
        super().__init__(db, query)
        configure_accounts(db, ALL, NOW)
        query("update ibkr.accounts set opened_at = :now where opened_at is null", now=NOW)
        self.clock = FixedClock(NOW)
        self.fake = TwsFake(clock=self.clock, reach_days=REACH_DAYS)

    def told(self, frames: list[list[str]], *, again: bool = True, **options: Any) -> SyncMetrics:
        """Answer with these frames."""
        self.fake.load(frames)
        run: Callable[[], SyncMetrics] = lambda: self.asked(**options)  # noqa: E731 -- one run, said once or twice
        return self._twice(run) if again else run()

    def asked(self, *, lookback_days: int = 2, connect_timeout_seconds: int = 3, **options: Any) -> SyncMetrics:
        """One run; raises what it raises."""
        self.clock.step(60)
        self.now = self.clock.now()
        metrics = sync_trades_once(
            self.db,
            socket_of(self.fake, self.clock, **options),
            host=self.fake.host,
            port=self.fake.port,
            client_id=11,
            connect_timeout_seconds=connect_timeout_seconds,
            lookback_days=lookback_days,
            now=self.now,
        )
        assert metrics.adds_up, metrics
        return metrics

    def cursors(self) -> int:
        """How many accounts have been covered completely by the socket."""
        return int(self.query("select count(*) as n from ibkr.sync_cursors where source = 'tws'")[0]["n"])

    def quarantined(self) -> list[str]:
        """Reasons of open quarantine rows."""
        return [row["reason"] for row in self.query("select reason from ibkr.v_quarantine order by reason")]
