"""The page in Chromium in front of a book with a thousand open positions: how soon it shows something, and what keeps it busy.

Each figure is of a tab of its own, with an empty cache, in front of a warm function. Times are the browser's own, from the start
of the navigation; tasks are those it calls long (50 ms or more); script is what its profiler counts. A refresh with five changes
is the server's own answer with five results changed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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
SETTLED_MS: Final = 3_000
WATCHED_MS: Final = 25_000
"""Two polls and twenty ticks of every age on the screen."""
WAIT_MS: Final = 120_000
FIRST_ROWS: Final = {
    "Today": ("today", ".account-equity .num"),
    "Open positions": ("positions", ".position-card"),
    "History": ("history", ".table tbody tr"),
}
WATCH: Final = """
window.firstAt = {}; window.tasks = [];
new PerformanceObserver(list => list.getEntries().forEach(one => window.tasks.push([one.startTime, one.duration])))
    .observe({type: "longtask", buffered: true});
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
    """A tab of its own that notes when it first shows something, and its long tasks."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
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
    loading, after, scripts, tasks = [], [], [], []
    for _ in range(ROUNDS):
        with tab(browser, where) as page:
            page.route("**/timed/trades?*", changing())
            page.goto(f"{where.url}/app/positions")
            page.wait_for_selector(f".position-grid > li:nth-child({LEFT_OPEN})", state="attached", timeout=WAIT_MS)
            page.wait_for_timeout(SETTLED_MS)
            loading.append(longest(page))
            spent = refreshed(page, page.context.new_cdp_session(page))
            scripts.append(spent["ScriptDuration"])
            tasks.append(spent["TaskDuration"])
            page.evaluate("window.tasks.length = 0")
            watched(page)
            after.append(longest(page))
    stage.at_most(f"{LEFT_OPEN:,} cards: longest task after load, scrolled through", after, TASK_MS, "ms")
    stage.at_most(f"{LEFT_OPEN:,} cards: script of a refresh with {CHANGED} changes", scripts, SCRIPT_MS, "ms")
    stage.add(f"{LEFT_OPEN:,} cards: all tasks of that refresh", tasks, "ms")
    stage.add(f"{LEFT_OPEN:,} cards: longest task while loading", loading, "ms")


def changing() -> Any:
    """A route that changes some results from the second answer on."""
    answers = 0

    def answer(route: Route) -> None:
        nonlocal answers
        answers += 1
        headers = {name: value for name, value in route.request.headers.items() if name != "if-none-match"}
        told = route.fetch(headers=headers)
        document = told.json()
        for trade in document["trades"][: CHANGED if answers > 1 else 0]:
            trade["unrealized_pnl"] = f"{answers}.25"
        route.fulfill(status=told.status, headers={"Content-Type": "application/json"}, body=json.dumps(document))

    return answer


def refreshed(page: Page, profiler: CDPSession) -> dict[str, float]:
    """What the browser's profiler counts during one refresh, in ms."""
    profiler.send("Performance.enable")
    before = counted(profiler)
    with page.expect_response("**/timed/trades?*"):
        page.keyboard.press("r")
    page.locator(".position-card .changed").first.wait_for(timeout=WAIT_MS)
    spent = counted(profiler)
    return {name: (spent[name] - before[name]) * 1000 for name in ("ScriptDuration", "TaskDuration")}


def counted(profiler: CDPSession) -> dict[str, float]:
    """The profiler's sums so far, in seconds."""
    return {one["name"]: one["value"] for one in profiler.send("Performance.getMetrics")["metrics"]}


def watched(page: Page) -> None:
    """Scroll through all cards while the page polls and its ages go on."""
    page.mouse.move(700, 450)
    for _ in range(20):
        page.mouse.wheel(0, 3_000)
        page.wait_for_timeout(WATCHED_MS / 20)


def longest(page: Page) -> float:
    """The longest task so far, in ms; what is shorter than 50 the browser does not tell."""
    return float(page.evaluate("Math.max(0, ...window.tasks.map(([, took]) => took))"))
