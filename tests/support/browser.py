"""A reader's tab in front of a running desk: what it opened, what it fetched, and everything that went wrong on the way."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from playwright.sync_api import Browser, BrowserContext, Page, expect

from fillbook.runtime.sql import statement
from infra.local import demo
from infra.local.desk import LocalCloud
from infra.local.home import ROOT
from infra.local.receipts import Document
from infra.local.sender import send_minutes
from infra.local.summary import UNTOLD
from tests.support.campaigns import KEEPS_PICTURES

ADMIN_KEY, READ_KEY, LIVE_KEY = "browser-admin-key", "browser-read-key", "browser-live-key"
EVERY_BOOK = ["live", "replay:*", "ibkr:*", "mt5:*"]
HEIGHT = 900
PICTURES = ROOT / "build" / "pictures"
PICTURED = (360, 768, 1440)
LOAD_FAILED = re.compile(r"Failed to load resource: .*?(?:status of (\d{3})|net::(\w+))")
CSP_REPORTS = """addEventListener("securitypolicyviolation", event => console.error(
    `policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));"""
KEPT_KEY = """if (!sessionStorage.getItem("fillbook.key") && sessionStorage.getItem("left") === null)
    sessionStorage.setItem("fillbook.key", JSON.stringify({{key: {key}, used: Date.now()}}));"""
AXE = """rules => axe.run(document, {resultTypes: ["violations"], ...(rules.length ? {runOnly: rules} : {})})
    .then(all => all.violations)"""
WAIT_MS = 60_000
"""Patience, not a measure: whoever waits goes on as soon as it is so."""
TELLING = ("outbox-relay", "discord-drain")
TELLING_MINUTES_MAX = 60
SETTLING_TRIES = 30
STANDS = "main.view:not(:has(.skeleton, .loading)) > *"
DRAWN = "() => new Promise(done => setTimeout(() => requestAnimationFrame(() => setTimeout(done))))"
TURN = "address => { history.pushState(null, '', address); dispatchEvent(new PopStateEvent('popstate')); }"
LOOK_MS, HEARD_MS = 5, 200

expect.set_options(timeout=WAIT_MS)


def desk_keys() -> str:
    """``DESK_KEYS``: one that may do everything, one that may read everything, one that sees the live book alone."""
    keys = {
        "browser-admin": (ADMIN_KEY, ["read", "admin"], EVERY_BOOK),
        "browser-read": (READ_KEY, ["read"], EVERY_BOOK),
        "browser-live": (LIVE_KEY, ["read"], ["live"]),
    }
    return json.dumps(
        [
            {
                "id": name,
                "sha256": hashlib.sha256(key.encode()).hexdigest(),
                "scopes": scopes,
                "tenant_id": "desk",
                "books": books,
            }
            for name, (key, scopes, books) in keys.items()
        ]
    )


class Desk:
    """The desk that all journeys share: its day goes on when a journey plays more of it, never back.

    Of its schedules only those run by themselves that tell what was executed; a journey that wants another one has it run.
    """

    def __init__(self, cloud: LocalCloud, minutes: Sequence[Sequence[Document]]) -> None:
        self.cloud = cloud
        self._minutes = iter(minutes)
        cloud.control.pause_jobs()
        for job in TELLING:
            cloud.control.resume_jobs(job)

    @property
    def url(self) -> str:
        """Where the page is."""
        return self.cloud.url("trade_tracker")

    @property
    def now(self) -> datetime:
        """The desk's clock."""
        return self.cloud.clock.now().astimezone(UTC)

    def play(self, minutes: int) -> None:
        """Send the next minutes of the day through the webhook and wait until the desk has told them all."""
        self._sent(list(itertools.islice(self._minutes, minutes)))
        self.tell()

    def send(self, *receipts: Document) -> None:
        """Send receipts of a journey's own, of one minute, on their own time, and wait until they are decided."""
        self._sent([receipts])

    def _sent(self, minutes: Sequence[Sequence[Document]]) -> None:
        desk, _ = demo.desk_of(self.cloud)

        def send() -> None:
            asyncio.run(send_minutes(desk, minutes, total=sum(map(len, minutes)), progress=lambda *_: None))

        with ThreadPoolExecutor(1) as pool:  # the browser's own loop runs in this thread
            pool.submit(send).result()

    def tell(self) -> None:
        """Let what was executed be told; Discord takes so many messages a minute, so the clock goes on."""
        for _ in range(TELLING_MINUTES_MAX):
            for job in TELLING:
                assert self.cloud.control.run_job(job) == 200
            self.cloud.control.wait_idle()
            with self.cloud.database.transaction(read_only=True) as tx:
                if tx.query(UNTOLD)[0]["count"] == 0:
                    return
            self.step(60)
        raise AssertionError("the desk did not tell everything")

    def written(self, text: str, **values: object) -> int:
        """A statement of whoever sets the scene; how many rows it touched."""
        with self.cloud.database.transaction() as tx:
            return tx.execute(statement(text), **values)

    def step(self, seconds: int) -> None:
        """Move the desk clock on."""
        self.cloud.clock.step(timedelta(seconds=seconds).total_seconds())

    def ask(self, path: str, key: str = READ_KEY, **parameters: str) -> Any:
        """What the API answers, as the page gets it; an error's body where it refuses."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        request = Request(f"{self.url}{path}{query}", headers={"Authorization": f"Bearer {key}"})
        try:
            with urlopen(request, timeout=15) as answer:
                return json.load(answer)
        except HTTPError as error:
            return json.load(error)


class Tab:
    """One tab of the browser. ``wrong``: what a reader would call broken; a journey's fixture asserts that it is empty."""

    def __init__(self, context: BrowserContext, desk: Desk) -> None:
        self.desk, self.context = desk, context
        self.page: Page = context.new_page()
        self.wrong: list[str] = []
        self._expected: set[str] = set()
        self._asking: set[Any] = set()
        self.page.on("console", lambda said: self._heard(said.type, said.text))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("request", self._asked)
        for ended in ("requestfinished", "requestfailed"):
            self.page.on(ended, self._answered)

    def _heard(self, kind: str, text: str) -> None:
        failed = LOAD_FAILED.search(text)
        if kind in ("error", "warning") and not (failed and (failed[1] or failed[2]) in self._expected):
            self.wrong.append(f"{kind}: {text}")

    def _asked(self, request: Any) -> None:
        url = request.url
        if "/timed/" in url or "/api/" in url:
            self._asking.add(request)
        if not url.startswith((self.desk.url, "blob:" + self.desk.url)):
            self.wrong.append(f"foreign request: {url}")

    def _answered(self, request: Any) -> None:
        self._asking.discard(request)

    @contextmanager
    def expecting(self, *statuses: int | str) -> Iterator[None]:
        """A stretch in which the browser may complain about answers of these statuses (or ``net::`` errors)."""
        self._expected |= {str(status) for status in statuses}
        yield
        self.answered()
        self.page.wait_for_timeout(HEARD_MS)  # what the console was told in this stretch is heard before it ends
        self._expected.clear()

    def open(self, view: str = "today", **parameters: str) -> Page:
        """Go to a view by its address and wait until nothing of it is loading."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        self.page.goto(f"{self.desk.url}/app/{view}{query}")
        return self.settled()

    def turn(self, view: str, **parameters: str) -> Page:
        """Go to another view within the page, as a press on a link does, and wait until it stands."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        self.page.evaluate(TURN, f"/app/{view}{query}")
        self.page.evaluate(DRAWN)
        return self.settled()

    def settled(self) -> Page:
        """Wait until the view stands: no skeleton is left."""
        self.page.wait_for_selector(STANDS, timeout=WAIT_MS)
        return self.page

    def refresh(self) -> None:
        """Ask for everything on the screen again, as the key ``r`` does, and wait until the answers are drawn."""
        with self.page.expect_request(lambda asked: "/timed/" in asked.url or "/api/" in asked.url):
            self.page.keyboard.press("r")
        self.answered()
        self.page.evaluate(DRAWN)

    def answered(self) -> None:
        """Wait until nothing that was asked is still to be answered."""
        while self._asking:
            self.page.wait_for_timeout(LOOK_MS)

    def rewrite(self, path: str, change: Callable[[Any], None]) -> None:
        """Show the page the desk's own answer with something changed: ``change(document)`` edits it in place."""

        def changed(route: Any) -> None:
            headers = {name: value for name, value in route.request.headers.items() if name != "if-none-match"}
            answer = route.fetch(headers=headers)
            document = answer.json()
            change(document)
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name not in ("etag", "content-encoding", "content-length")
            }
            route.fulfill(status=answer.status, headers=kept, body=json.dumps(document))

        self.page.route(re.compile(re.escape(f"{self.desk.url}{path}") + r"(\?|$)"), changed)

    def scrolls_sideways(self) -> bool:
        """Whether the page is wider than its window, once it has settled."""
        wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        for _ in range(SETTLING_TRIES):
            if not self.page.evaluate(wider):
                return False
            self.page.wait_for_timeout(100)
        return True

    def theme(self, name: str) -> None:
        """What the system prefers: ``dark`` or ``light``."""
        self.page.emulate_media(color_scheme=name)  # type: ignore[arg-type]

    def picture(self, name: str) -> None:
        """Keep what is seen, in both themes, as an output of the tests; a picture costs a second, so only when asked for."""
        if not KEEPS_PICTURES:
            return
        PICTURES.mkdir(parents=True, exist_ok=True)
        for theme in ("light", "dark"):
            self.theme(theme)
            path = PICTURES / f"{name}-{self.page.viewport_size['width'] if self.page.viewport_size else 0}-{theme}.png"
            self.page.screenshot(path=path, full_page=True)

    def pictures(self, name: str) -> None:
        """The same at the three widths at which a view has another form."""
        if not KEEPS_PICTURES:
            return
        before = self.page.viewport_size
        for width in PICTURED:
            self.page.set_viewport_size({"width": width, "height": HEIGHT})
            self.page.evaluate(DRAWN)
            self.picture(name)
        if before is not None:
            self.page.set_viewport_size(before)

    def findings(self, *rules: str) -> list[str]:
        """What axe finds serious or critical on the page as it stands, by all its rules or by these; one line each."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate((ROOT / "infra/page/node_modules/axe-core/axe.min.js").read_text("utf-8"))
        found: list[Mapping[str, Any]] = self.page.evaluate(AXE, list(rules))
        return [
            f"{one['id']}: {one['help']}: {node['html'][:120]} {node.get('failureSummary', '')[:200]}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"][:3]
        ]


@contextmanager
def opened(browser: Browser, desk: Desk, *, width: int = 1440, key: str | None = ADMIN_KEY, **options: Any) -> Iterator[Tab]:
    """A tab of its own, logged in with ``key`` (None: at the log-in); afterwards nothing may have gone wrong in it."""
    context = browser.new_context(viewport={"width": width, "height": HEIGHT}, **options)
    context.add_init_script(CSP_REPORTS)
    if key is not None:
        context.add_init_script(KEPT_KEY.format(key=json.dumps(key)))
    try:
        tab = Tab(context, desk)
        yield tab
        tab.page.unroute_all(behavior="ignoreErrors")  # an answer that is being changed when the journey ends is nobody's
        assert not tab.wrong, tab.wrong
    finally:
        context.close()
