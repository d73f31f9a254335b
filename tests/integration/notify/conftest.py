"""The notifier's desk as a fixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conftest import OpenDatabase
from tests.support.notify_desk import NotifyDesk, open_desk


@pytest.fixture
def make_desk(open_database: OpenDatabase) -> Iterator[Callable[..., NotifyDesk]]:
    """Make a desk with options of its own (``token=False``: no read token; ``settings``)."""
    with ExitStack() as stack:

        def make(**options: Any) -> NotifyDesk:
            return stack.enter_context(open_desk(open_database("discord_notifier"), open_database(), **options))

        yield make


@pytest.fixture
def desk(make_desk: Callable[..., NotifyDesk]) -> NotifyDesk:
    """A desk with a read token and every channel on."""
    return make_desk()
