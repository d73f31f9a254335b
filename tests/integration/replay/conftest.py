"""A replay desk on the test's own database, acting with the grants of the function's login role only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.replay_desk import ReplayDesk


@pytest.fixture
def desk(open_database: Any, query: Callable[..., list[dict[str, Any]]], db: Any) -> ReplayDesk:
    return ReplayDesk(open_database("replay_worker", pool_size=8), query, db)
