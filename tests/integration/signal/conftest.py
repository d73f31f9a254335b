"""A desk on the test's own database, acting with the grants of the worker's login role only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.signal_live import LiveDesk


@pytest.fixture
def desk(open_database: Any, query: Callable[..., list[dict[str, Any]]]) -> LiveDesk:
    return LiveDesk(open_database("signal_worker", pool_size=8), query)
