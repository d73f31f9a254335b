"""A fleet of MT5 accounts at a fake broker, linked on the test's own database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from infra.local.mt5 import Mt5Fake
from tests.support.mt5_runs import NOW, Fleet, Query


@pytest.fixture
def fleet(db: Database, query: Query, open_database: Any) -> Iterator[Fleet]:
    """A fake broker at 15 January 2026 without accounts, and runs over it with the grants of ``account_sync`` alone."""
    clock = FixedClock(NOW)
    with Mt5Fake(clock=clock) as fake:
        yield Fleet(db, query, fake, clock, worker=open_database("account_sync", pool_size=2))
