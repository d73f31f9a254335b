"""The page in a browser: its function served on a port of its own, a browser without a window, and everything that goes wrong."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page
from werkzeug.serving import make_server

from infra.door.page import build
from tests.support.functions import FunctionApps
from tests.support.tracker_desk import entry

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
READER, ADMIN = "journey-reader", "journey-admin"
BOOKS = ("live", "ibkr:*")
KEPT_KEY = """key => sessionStorage.setItem("fillbook.key", JSON.stringify({key, used: Date.now()}))"""


@contextmanager
def served(database_url: str, folder: Path, now: datetime) -> Iterator[str]:
    """The function on a clock that stands still, with a reader's key and an admin's, at an address of its own."""
    build(ROOT)
    clock = folder / "clock.json"
    clock.write_text(json.dumps({"desk_at": now.isoformat(), "real_at": 0, "speed": 1.0, "paused": True}))
    keys = [entry("reader", READER, books=list(BOOKS)), entry("admin", ADMIN, books=list(BOOKS), scopes=["read", "admin"])]
    apps = FunctionApps()
    client = apps(
        "trade_tracker",
        {
            "FILLBOOK_ENV": "local",
            "FILLBOOK_DATABASE_URL": f"{database_url}?role=trade_tracker",
            "FILLBOOK_DESK_CLOCK": str(clock),
            "DESK_KEYS": json.dumps(keys),
            "DESK_RATE_FACTOR": "100",
        },
    )
    assert client.get("/timed/health", headers={"Authorization": f"Bearer {READER}"}).status_code == 200
    server = make_server("127.0.0.1", 0, client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        apps.restore()


class Visitor:
    """One page of the browser with a key in hand; ``wrong`` is what must stay empty."""

    def __init__(self, browser: Browser, address: str, key: str, *, width: int = 1440, height: int = 900, scheme: Any = "dark") -> None:
        self.address = address
        self.wrong: list[str] = []
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type in {"error", "warning"} else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda asked: None if asked.url.startswith((address, "blob:")) else self.wrong.append(asked.url))
        self.page.goto(f"{address}/robots.txt")
        self.page.evaluate(KEPT_KEY, key)

    def open(self, path: str) -> Page:
        """Open a view by its address."""
        self.page.goto(self.address + path)
        return self.page

    def texts(self, selector: str) -> Sequence[str]:
        """The texts of all elements of a selector, as they are seen, read at once."""
        found: list[str] = self.page.eval_on_selector_all(selector, "all => all.map(one => one.innerText.trim())")
        return found

    def refresh(self) -> None:
        """Ask for everything on the screen now."""
        self.page.get_by_role("button", name="Refresh now").click()

    def close(self) -> None:
        """Leave; nothing may have gone wrong."""
        self.context.close()
        assert self.wrong == []
