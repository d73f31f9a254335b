"""A replay desk on the test's own database, acting with the grants of the function's login role only.

The database is a guarded one: a replay that touched anything but its own book would fail its test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.replay_desk import ReplayDesk
from tests.support.replay_guard import guarded_template


@pytest.fixture
def template(postgres: Any, _superuser: Callable[[str], None]) -> str:
    return guarded_template(postgres, _superuser)


@pytest.fixture
def desk(open_database: Any, query: Callable[..., list[dict[str, Any]]], db: Any) -> ReplayDesk:
    return ReplayDesk(open_database("replay_worker", pool_size=8), query, db)
