"""A broker's account for the journeys through a position: the gateway's stand-in tells executions, syncs bring them.

The account begins before its first execution of the day, so that everything on it was told by the broker. Each width in which a
journey may run has two tickers of its own, because a correction comes once: one of two lots with a trim, one half sold.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from fillbook.ledger import service
from fillbook.ledger.model import Mark
from infra.local import tws_book, walking
from infra.local.desk import TWS_CONTROL
from infra.local.plan import TWS_ACCOUNT
from infra.local.tws_knobs import Frame
from tests.support.browser import Desk
from tests.support.tracker_journeys import next_minute

BOOK = f"ibkr:{TWS_ACCOUNT}"
LOTS = {1440: "ZZLT", 360: "ZZLU"}
SOLD = {1440: "ZZIB", 360: "ZZIC"}
CONIDS = {name: str(990_000 + number) for number, name in enumerate((*LOTS.values(), *SOLD.values()))}
HELD = tws_book.position(TWS_ACCOUNT, "756733", "SPY", "200", "598.40")
TRADED_MINUTES = 15


class Broker:
    """The account as its broker tells it; ``prices`` are those of executions that were corrected, by what they are."""

    def __init__(self, desk: Desk) -> None:
        """Open the account, have the day's executions told and synced, and see prices."""
        self.desk = desk
        self._prices: dict[tuple[str, str], str] = {}
        self._began: datetime | None = None
        self._told()
        for job in ("ibkr-positions", "ibkr-trades", "ibkr-positions"):
            self.synced(job)
        self._began = next_minute(desk)
        self._told()
        desk.step(TRADED_MINUTES * 60)
        self.synced("ibkr-trades")
        self._seen(self._began)

    def _told(self) -> None:
        frames = [] if self._began is None else [frame for name in CONIDS for frame in self._executed(name, self._began)]
        plan: Mapping[str, Any] = {"executions": frames, "positions": [HELD, *([] if self._began is None else self._held())]}
        walking.ask(self.desk.cloud, TWS_CONTROL, "plan", plan)

    def _executed(self, name: str, began: datetime) -> list[Frame]:
        if name in LOTS.values():
            deals = [("l1", 1, "BOT", "10", "100"), ("l2", 5, "BOT", "10", "110"), ("l3", 12, "SLD", "5", "120")]
        else:
            deals = [("i1", 3, "BOT", "100", "20.00"), ("i2", 14, "SLD", "40", "21.00")]
        found: list[Frame] = []
        for deal, minute, side, shares, price in deals:
            corrected = self._prices.get((name, deal))
            number = f"{int(CONIDS[name]) * 16 + int(deal[1]):08x}"
            exec_id = f"0000fb77.{number}.01.{'01' if corrected is None else '02'}"
            texts = {"symbol": name, "conid": CONIDS[name], "perm_id": str(int(number, 16))}
            at = began + timedelta(minutes=minute)
            found.append(tws_book.execution(exec_id, TWS_ACCOUNT, at, side, shares, corrected or price, **texts))
            found.append(tws_book.commission(exec_id, "0"))
        return found

    def _held(self) -> list[Frame]:
        lots = [tws_book.position(TWS_ACCOUNT, CONIDS[name], name, "15", "106.66666667") for name in LOTS.values()]
        return lots + [tws_book.position(TWS_ACCOUNT, CONIDS[name], name, "60", "20.00000000") for name in SOLD.values()]

    def _seen(self, began: datetime) -> None:
        """Prices of the lots' tickers between and after their executions."""
        prices = [("101.10", 2), ("108.75", 4), ("112.00", 8), ("119.90", 11), ("117.30", 13), ("115.00", TRADED_MINUTES)]
        marks = [
            Mark(
                instrument=f"ibkr:{CONIDS[name]}",
                price=Decimal(price),
                bid=None,
                ask=None,
                marked_at=began + timedelta(minutes=minute),
                source="ibkr",
            )
            for name in LOTS.values()
            for price, minute in prices
        ]
        with self.desk.cloud.database.transaction() as tx:
            service.mark(tx, BOOK, marks, self.desk.now)

    def synced(self, job: str = "ibkr-trades") -> None:
        """Let a sync of the account begin, and wait for its end and until what it brought is told."""
        assert self.desk.cloud.control.run_job(job) in (200, 202)
        walking.settle(self.desk.cloud, self.desk.now)

    def corrects(self, name: str, deal: str, price: str) -> None:
        """The broker tells an execution again at another price; the next sync brings it."""
        self._prices[name, deal] = price
        self._told()
        self.synced()
