"""The page in Chromium in front of a book with a thousand open positions: how soon it shows something, and what keeps it busy.

Each figure is of a tab of its own, with an empty cache, in front of a warm function. Times are the browser's own, from the start
of the navigation. Tasks and scripts of a crowded page are told in processor time of the page's own thread, as the browser's
tracer and profiler count it, because a machine that others use as well makes any task long; nothing of ours looks into the page
while it is counted. A refresh is the server's own answer: unchanged (304), told again word by word, or with five results changed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, CDPSession, Page, Route, sync_playwright

from infra.door import page as built
from tests.bench.api_place import LEFT_OPEN, Place, place
from tests.bench.report import Stage, publish

POSITIONS: Final = 3_000
ROUNDS: Final = 3
FIRST_ROW_MS, FORM_MS, TASK_MS, SCRIPT_MS = 1000.0, 500.0, 200.0, 50.0
CHANGED: Final = 5
REFRESHES: Final = ("nothing new", "an equal answer", "5 changes")
SETTLED_MS: Final = 3_000
"""A figure that changed wears its outline for two seconds."""
WATCHED_MS: Final = 25_000
"""Two polls and twenty ticks of every age on the screen."""
TRACED: Final = ("toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline")
WAIT_MS: Final = 120_000
FIRST_ROWS: Final = {
    "Today": ("today", ".account-equity .num"),
    "Open positions": ("positions", ".position-card"),
    "History": ("history", ".table tbody tr"),
}
WATCH: Final = """
window.firstAt = {};
const look = () => { for (const one of %s) if (!(one in window.firstAt) && document.querySelector(one))
    window.firstAt[one] = performance.now(); };
new MutationObserver(look).observe(document, {childList: true, subtree: true});
"""
KEPT: Final = "sessionStorage.setItem('fillbook.key', JSON.stringify({key: %s, used: Date.now()}));"


def run(_: list[str]) -> int:
    """``bench page``."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    stage = Stage(name="page")
    if chromium is None:
        stage.note("there is no Chromium on this machine")
        publish(stage)
        return 0
    built.build(Path(__file__).resolve().parents[2])
    with place(POSITIONS) as where, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        first_rows(stage, browser, where)
        crowded(stage, browser, where)
        browser.close()
    stage.note(f"{LEFT_OPEN:,} open positions of {POSITIONS:,}; {ROUNDS} tabs each; 1,440 × 900 px")
    publish(stage)
    return 0


@contextmanager
def tab(browser: Browser, where: Place, *selectors: str, has_key: bool = True) -> Iterator[Page]:
    """A tab of its own that notes when it first shows something, if that is asked for."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    if selectors:
        context.add_init_script(WATCH % json.dumps(selectors))
    if has_key:
        context.add_init_script(KEPT % json.dumps(next(where.keys)))
    page = context.new_page()
    yield page
    page.unroute_all(behavior="ignoreErrors")
    context.close()


def first_at(page: Page, url: str, selector: str) -> float:
    """Milliseconds from the start of a navigation until the page holds something."""
    page.goto(url)
    page.wait_for_selector(selector, state="attached", timeout=WAIT_MS)
    return float(page.evaluate("one => window.firstAt[one]", selector))


def first_rows(stage: Stage, browser: Browser, where: Place) -> None:
    """How soon the log-in stands, and the first row of data of a view."""
    samples: dict[str, list[float]] = {name: [] for name in ("the log-in", *FIRST_ROWS)}
    for number in range(-1, ROUNDS):
        with tab(browser, where, "#key", has_key=False) as page:
            found = {"the log-in": first_at(page, where.url, "#key")}
        for name, (view, selector) in FIRST_ROWS.items():
            with tab(browser, where, selector) as page:
                found[name] = first_at(page, f"{where.url}/app/{view}", selector)
        for name, took in found.items():
            if number >= 0:
                samples[name].append(took)
    stage.at_most("navigation to the log-in form", samples.pop("the log-in"), FORM_MS, "ms")
    for name, taken in samples.items():
        stage.at_most(f"navigation to the first row of data: {name}", taken, FIRST_ROW_MS, "ms")


def crowded(stage: Stage, browser: Browser, where: Place) -> None:
    """A thousand cards: what drawing them takes, what keeps the page busy afterwards, what a refresh costs."""
    loading, after = [], []
    scripts: dict[str, list[float]] = {what: [] for what in REFRESHES}
    tasks: dict[str, list[float]] = {what: [] for what in REFRESHES}
    for _ in range(ROUNDS):
        with tab(browser, where) as page:
            answers = Answers()
            page.route("**/timed/trades?*", answers)
            loading.append(longest(browser, page, partial(crowd, page, where)))
            profiler = page.context.new_cdp_session(page)
            profiler.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.get_by_role("button", name="Pause").click()  # what is asked for is asked for by us
            for what in REFRESHES:
                answers.what = what
                spent = refreshed(page, profiler)
                scripts[what].append(spent["ScriptDuration"])
                tasks[what].append(spent["TaskDuration"])
            page.get_by_role("button", name="Resume").click()
            after.append(longest(browser, page, partial(watched, page)))
    cards = f"{LEFT_OPEN:,} cards"
    stage.at_most(f"{cards}: longest task after load, scrolled through (processor)", after, TASK_MS, "ms")
    for what in REFRESHES:
        stage.at_most(f"{cards}: script of a refresh with {what} (processor)", scripts[what], SCRIPT_MS, "ms")
        stage.add(f"{cards}: all tasks of that refresh (processor)", tasks[what], "ms")
    stage.add(f"{cards}: longest task while loading (processor)", loading, "ms")


def crowd(page: Page, where: Place) -> None:
    """Open the cards and wait until all of them stand."""
    page.goto(f"{where.url}/app/positions")
    page.wait_for_selector(f".position-grid > li:nth-child({LEFT_OPEN})", state="attached", timeout=WAIT_MS)
    page.wait_for_timeout(SETTLED_MS)


class Answers:
    """What the page is told of its positions: the server's own answer, once it is held 304, told again, or with changes."""

    def __init__(self) -> None:
        """At first as the server answers."""
        self.what = REFRESHES[0]
        self._told = 0

    def __call__(self, route: Route) -> None:
        """Answer one request."""
        if self.what == REFRESHES[0]:
            route.continue_()
            return
        self._told += 1
        told = route.fetch(headers={name: value for name, value in route.request.headers.items() if name != "if-none-match"})
        document = told.json()
        for trade in document["trades"][: CHANGED if self.what == REFRESHES[2] else 0]:
            trade["unrealized_pnl"] = f"{self._told}.25"
        route.fulfill(status=told.status, headers={"Content-Type": "application/json"}, body=json.dumps(document))


def refreshed(page: Page, profiler: CDPSession) -> dict[str, float]:
    """What the browser's profiler counts from a refresh until its outlines have gone again, in ms of processor.

    The ages of all cards go on meanwhile; a stretch as long in which nothing is asked for is taken off.
    """
    page.wait_for_timeout(SETTLED_MS)
    quiet = counted(profiler)
    page.wait_for_timeout(SETTLED_MS)
    before = counted(profiler)
    with page.expect_response("**/timed/trades?*"):
        page.keyboard.press("r")
    page.wait_for_timeout(SETTLED_MS)
    spent = counted(profiler)
    names = ("ScriptDuration", "TaskDuration")
    return {name: max(0.0, (spent[name] - before[name]) - (before[name] - quiet[name])) * 1000 for name in names}


def counted(profiler: CDPSession) -> dict[str, float]:
    """The profiler's sums so far, in seconds."""
    return {one["name"]: one["value"] for one in profiler.send("Performance.getMetrics")["metrics"]}


def watched(page: Page) -> None:
    """Scroll through all cards while the page polls and its ages go on."""
    page.mouse.move(700, 450)
    for _ in range(20):
        page.mouse.wheel(0, 3_000)
        page.wait_for_timeout(WATCHED_MS / 20)


def longest(browser: Browser, page: Page, happens: Callable[[], None]) -> float:
    """The longest task of the page's own thread while something happens, in ms of processor."""
    tracer = browser.new_browser_cdp_session()
    events: list[dict[str, Any]] = []
    ended: list[bool] = []
    tracer.on("Tracing.dataCollected", lambda told: events.extend(told["value"]))
    tracer.on("Tracing.tracingComplete", lambda _: ended.append(True))
    config = {"includedCategories": list(TRACED)}
    tracer.send("Tracing.start", {"transferMode": "ReportEvents", "traceConfig": config})
    happens()
    tracer.send("Tracing.end")
    while not ended:
        page.wait_for_timeout(50)
    tracer.detach()
    threads = {(one["pid"], one["tid"]) for one in events if one.get("args", {}).get("name") == "CrRendererMain"}
    tasks = (one for one in events if one["name"] == "RunTask" and (one["pid"], one["tid"]) in threads)
    return max((float(one["tdur"]) / 1000 for one in tasks if "tdur" in one), default=0.0)
