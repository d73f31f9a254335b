"""All functions over one database of the test's own, a worker of the live book, and a wire between them that can be cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.every_function import SIGNER, Desk, known
from tests.support.functions import FunctionApps
from tests.support.proxy import Proxy
from tests.support.signal_live import LiveDesk
from tests.support.topics import Topics, topics

Query = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def published() -> Iterator[Topics]:
    with topics() as kept:
        kept.certificates = SIGNER.certificates()
        yield kept


@pytest.fixture
def every(function_app: FunctionApps, database_url: str, published: Topics, tmp_path: Path) -> Desk:
    return Desk(function_app, known(database_url, published, tmp_path))


@pytest.fixture
def proxy(postgres: Any) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", postgres.port) as between:
        yield between


@pytest.fixture
def desk(open_database: Any, query: Query) -> LiveDesk:
    return LiveDesk(open_database("signal_worker", pool_size=8), query)
