"""A publishing desk on the test's own database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.snapshot_desk import PublishDesk


@pytest.fixture
def desk(open_database: Any, db: Any, query: Callable[..., list[dict[str, Any]]]) -> PublishDesk:
    """Nothing is booked yet."""
    return PublishDesk(open_database, db, query)
