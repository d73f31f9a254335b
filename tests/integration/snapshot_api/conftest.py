"""The function ``snapshot_api`` on the test's own database, with the grants of its login role alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fillbook.runtime.db import Database
from tests.support.functions import FunctionApps
from tests.support.snapshot_api import OUR_ROLE, Api, set_clock, settings

NewApi = Callable[..., Api]


@pytest.fixture
def new_api(database_url: str, function_app: FunctionApps, tmp_path: Path) -> NewApi:
    """Makes the function with other settings than the usual ones."""

    def make(**changes: str) -> Api:
        client = function_app("snapshot_api", settings(database_url, tmp_path, **changes))
        return Api(client, at=lambda now: set_clock(tmp_path, now))

    return make


@pytest.fixture
def api(new_api: NewApi) -> Api:
    """The function as it is usually configured."""
    return new_api()


@pytest.fixture
def receiver(open_database: Any) -> Database:
    """The function's way to the database, for its use cases without their shell."""
    opened: Database = open_database(OUR_ROLE, pool_size=4)
    return opened
