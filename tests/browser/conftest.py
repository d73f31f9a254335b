"""One local desk and one Chromium for all journeys; each journey has a tab of its own, in which nothing may go wrong.

``desk`` the shared desk, an hour into an invented day · ``browser`` Chromium · ``width`` of this journey's tabs: 1,440 px, with
``FILLBOOK_FULL=1`` once more 360 px · ``tab`` a reader's tab, logged in with a key that may do everything ·
``new_tab(key=…)`` another one · ``sized_tab(width=…)`` one of a journey that knows its width. Helpers are in
``tests/support/browser.py``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from infra.local.desk import LocalCloud
from infra.manifest import load
from tests.e2e.conftest import bundles, cluster, desks, minutes_of_the_day
from tests.support.browser import Desk, Tab, desk_keys, opened
from tests.support.browser_broker import Broker
from tests.support.browser_scenes import BEFORE_THE_GAP, followed, given_up, held_since_yesterday
from tests.support.campaigns import small_or_full

__all__ = ["bundles", "cluster"]  # fixtures of whole desks, shared with the end-to-end tests

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TICKERS = 8
PLAYED_MINUTES = 60
DAY_MINUTES = 390
WIDTHS: tuple[int, ...] = small_or_full((1440,), (1440, 360))
NewTab = Callable[..., Tab]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every journey drives a browser, starts bundles and takes its time."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            for mark in (pytest.mark.browser, pytest.mark.bundles, pytest.mark.slow):
                item.add_marker(mark)


@pytest.fixture(scope="package")
def desk(tmp_path_factory: pytest.TempPathFactory, bundles: Path, cluster: Path) -> Iterator[Desk]:
    """The desk of all journeys: days ago it read accounts of brokers and failed to tell something, yesterday it bought, today the
    first part of its day is played.
    """
    options = {"function_overrides": {"trade_tracker": {"DESK_KEYS": desk_keys(), "DESK_RATE_FACTOR": "100"}}}
    with desks(tmp_path_factory.mktemp("browser"), bundles, cluster) as start:
        cloud: LocalCloud = start(functions=list(load().functions), desk_start=BEFORE_THE_GAP, **options)
        found = Desk(cloud, minutes_of_the_day(DAY_MINUTES, tickers=TICKERS))
        followed(found)
        given_up(found)
        held_since_yesterday(found)
        found.play(PLAYED_MINUTES)
        yield found


@pytest.fixture(scope="package")
def broker(desk: Desk) -> Broker:
    """An account with a day of executions."""
    return Broker(desk)


@pytest.fixture(scope="package")  # its driver holds this thread's event loop, which tests of other packages need
def browser() -> Iterator[Browser]:
    """Chromium without a window. A missing one fails where CI runs and skips with a reason elsewhere."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on this machine")
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(params=WIDTHS, ids=str)
def width(request: pytest.FixtureRequest) -> int:
    """How wide this journey's tabs are, in px."""
    found: int = request.param
    return found


@pytest.fixture
def sized_tab(browser: Browser, desk: Desk) -> Iterator[NewTab]:
    """Tabs of a journey that says itself how wide they are: ``sized_tab(width=360, key=READ_KEY)``."""
    with ExitStack() as stack:
        make: Callable[..., AbstractContextManager[Tab]] = partial(opened, browser, desk)
        yield lambda **options: stack.enter_context(make(**options))


@pytest.fixture
def new_tab(sized_tab: NewTab, width: int) -> NewTab:
    """Tabs of this journey: ``new_tab(key=READ_KEY)``; key None stands at the log-in."""
    return lambda **options: sized_tab(**{"width": width, **options})


@pytest.fixture
def tab(new_tab: NewTab) -> Tab:
    """A tab, logged in with a key that may do everything."""
    return new_tab()
