"""The page in a real browser: what it says of MT5 accounts, on a phone and on a wall, and that texts stay texts."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page, sync_playwright
from werkzeug.serving import make_server

from fillbook.mt5 import deskstore
from fillbook.runtime.clock import FixedClock
from fillbook.runtime.db import Database
from infra.door.page import build
from infra.local import mt5_desk
from infra.local.mt5 import Mt5Fake
from infra.local.mt5_demo import furnish
from tests.support import mt5_runs
from tests.support.mt5_linked import NOW, LinkedDesk, Query, closed, info, trade
from tests.support.mt5_runs import Fleet
from tests.support.tracker_desk import KEY, entry, published
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = (360, 768, 1440, 2560)
STEPS = ("account info", "positions", "history")
ARE_VISIBLE = """cells => cells.length > 0 && cells.every(cell => {
    const {width, height} = cell.getBoundingClientRect();
    return width * height > 0 && getComputedStyle(cell).visibility === "visible"; })"""
COLOURS = """cells => cells.map(cell => [cell, cell.closest("table") ?? document.body].map((one, ground) =>
    getComputedStyle(one)[ground ? "backgroundColor" : "color"]))"""
SCRIPT = "<img src=x onerror=\"document.title='broken'\">"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture
def address(
    database_url: str, function_app: Callable[..., FlaskClient], tmp_path: Path, open_database: Any, query: Query
) -> Iterator[str]:
    """The function with three accounts behind it, served on a port of its own."""
    desk = LinkedDesk(open_database("mt5_writer"), open_database("desk_operator"), query)
    good, bad, barred = desk.link(50000123, account_name=SCRIPT), desk.link(50000456), desk.link(50000789, account_name="Prop")
    trades = [trade(good, 1), trade(good, 2, status="close_pending"), closed(trade(good, 3))]
    desk.sync(good, money=info("1234567.89", equity="1234563.54", profit="-4.35"), trades=trades)
    desk.sync(bad, NOW - timedelta(hours=3), money=info("50", currency="EUR"))
    desk.fail(bad, NOW - timedelta(minutes=2), 4)
    desk.fail(barred, NOW - timedelta(minutes=2), 3, needs_login=True)
    published(query, "2026-03-03", version=2)
    query("update mt5.trading_accounts set last_connection_error = :words where id = :id", words=f"refused {SCRIPT}", id=barred)
    with served(database_url, function_app, tmp_path, NOW) as address:
        yield address


@pytest.fixture
def demo_address(
    db: Database,
    database_url: str,
    function_app: Callable[..., FlaskClient],
    tmp_path: Path,
    open_database: Any,
    query: Query,
) -> Iterator[str]:
    """The same with the 25 accounts of the demo, synced as ``account_sync`` does it while one of them is refused."""
    clock = FixedClock(mt5_runs.NOW)
    with Mt5Fake(clock=clock) as fake:
        furnish(fake.world)
        fleet = Fleet(db, query, fake, clock, worker=open_database("account_sync", pool_size=2))
        with db.transaction() as tx:
            for link in mt5_desk.links(fake.base_url, mt5_runs.NOW.date()):
                deskstore.link_account(tx, link, mt5_runs.NOW)
        fake.fault("status", code=401, error_code="AUTH_FAILED", account="demo-07")
        assert fleet.call()["successCount"] == 24
    with served(database_url, function_app, tmp_path, mt5_runs.NOW + timedelta(minutes=1)) as address:
        yield address


@contextmanager
def served(database_url: str, function_app: Callable[..., FlaskClient], folder: Path, now: datetime) -> Iterator[str]:
    """The function on a paused clock, served on a port of its own."""
    build(ROOT)
    clock = folder / "clock.json"
    clock.write_text(json.dumps({"desk_at": now.isoformat(), "real_at": 0, "speed": 1.0, "paused": True}))
    settings = {
        "FILLBOOK_ENV": "local",
        "FILLBOOK_DATABASE_URL": f"{database_url}?role=tracker_reader",
        "FILLBOOK_DESK_CLOCK": str(clock),
        "DESK_KEYS": json.dumps([entry("desk", KEY, books=["live", "mt5:*"])]),
    }
    client = function_app("trade_tracker", settings)
    assert client.get("/timed/health", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
    server = make_server("127.0.0.1", 0, client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The browser, without pages of tests before."""
    yield chromium
    for context in chromium.contexts:
        context.close()


def opened_page(browser: Browser, address: str, width: int) -> tuple[Page, list[str]]:
    """The desk, opened with a key; and everything that went wrong or left the server's own address."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(address) else wrong.append(asked.url))
    page.goto(address)
    page.fill("#key", KEY)
    page.keyboard.press("Enter")
    page.wait_for_selector("#linked-rows tr")
    return page, wrong


def cells(page: Page) -> list[list[str]]:
    """The texts of the list, read in one go: it may be drawn again at any moment."""
    read = "rows => rows.map(row => [...row.querySelectorAll('th, td')].map(cell => cell.innerText.trim()))"
    found: list[list[str]] = page.eval_on_selector_all("#linked-rows tr", read)
    return found


def asked(address: str) -> dict[str, dict[str, Any]]:
    """The accounts that the API answers with, by label."""
    request = Request(f"{address}/api/v1/accounts?platform=mt5", headers={"Authorization": f"Bearer {KEY}"})
    with urlopen(request, timeout=10) as answer:
        return {one["label"]: one for one in json.load(answer)["items"]}


def test_accounts_stand_with_their_health_and_the_worst_first(browser: Browser, address: str) -> None:
    page, wrong = opened_page(browser, address, 1440)
    told = asked(address)
    read = {label: f" · history {one['backfill_percent']} %" for label, one in told.items()}
    good, bad, barred = f"{SCRIPT} •••123", "Alpha Markets •••456", "Prop •••789"
    words = "timeout: Failed to fetch account info: no answer in time"
    assert cells(page) == [
        [barred, "needs login · 3 in a row", "—", "—", "never", "0", "0", "ok" + read[barred], f"timeout: refused {SCRIPT}"],
        [bad, "failing · 4 in a row", "50.00 EUR", "FLAT", "3 h ago", "0", "0", "ok" + read[bad], words],
        [good, "ok", "1,234,567.89 USD", "-4.35 USD", "2 min ago", "2 (1 closing)", "1", "ok" + read[good], "—"],
    ]
    assert (
        page.get_attribute("#linked-rows tr:nth-child(3) td[data-label=Balance] span", "title")
        == told[good]["balances"]["balance"]
    )
    share = "33.33 % of active accounts read within 10 minutes"
    assert page.inner_text("#linked-fleet") == f"1 needs login · 1 failing · 1 ok · {share}"
    assert page.inner_text("#linked-title") == "MT5 accounts · 3"
    tones = [cell.get_attribute("class") for cell in page.query_selector_all("#linked-rows td[data-label=State]")]
    assert tones == ["loss", "loss", "gain"]
    assert not page.is_visible("#sync-sources")
    assert wrong == []


def test_the_demos_accounts_stand_with_their_broker_figures_and_the_refused_one_first(
    browser: Browser, demo_address: str
) -> None:
    page, wrong = opened_page(browser, demo_address, 1440)
    assert page.inner_text("#linked-title") == "MT5 accounts · 25"
    assert page.inner_text("#linked-fleet") == "1 failing · 24 ok · 96.00 % of active accounts read within 10 minutes"
    rows, told = {row[0]: row[1:] for row in cells(page)}, asked(demo_address)
    assert len(rows) == 25
    assert rows.keys() == told.keys()
    first, *others = rows
    assert (first, rows[first][0], rows[first][-1]) == (
        "demo-07 •••007",
        "failing · 1 in a row",
        "auth_failed: " + "; ".join(f"Failed to fetch {step}: Broker refused the login" for step in STEPS),
    )
    for label in others:
        state, balance, floating, last, opened, closed_today, cash, error = rows[label]
        money = told[label]["balances"]
        assert (state, last, cash.partition(" · ")[0], error) == ("ok", "60 s ago", "ok", "—"), label
        assert balance == f"{Decimal(money['balance']):,.2f} {money['currency']}"
        assert Decimal(re.sub(r"[^0-9.-]", "", floating) or "0") == Decimal(money["floating_profit"]).quantize(Decimal("0.01"))
        assert (opened, closed_today) == (str(told[label]["open_positions"]), str(told[label]["closed_today"]))
    assert sum(one["open_positions"] for one in told.values()) > 25
    assert wrong == []


def test_no_width_makes_the_page_scroll_sideways_and_every_figure_is_there(browser: Browser, address: str) -> None:
    page, wrong = opened_page(browser, address, WIDTHS[0])
    everything = cells(page)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        inner, outer = page.evaluate(
            "(({scrollWidth, clientWidth}) => [scrollWidth, clientWidth])(document.querySelector('#linked .scroll'))"
        )
        assert inner <= outer or 768 <= width < 1440, "only between a phone and a desk the table scrolls in its frame"
        assert page.eval_on_selector_all("#linked-rows th, #linked-rows td", ARE_VISIBLE)
        assert cells(page) == everything
        label = page.evaluate("getComputedStyle(document.querySelector('#linked-rows td'), '::before').content")
        assert label == ('"State"' if width < 768 else "none")
    assert wrong == []


def test_texts_of_brokers_and_people_stay_texts(browser: Browser, address: str) -> None:
    page, wrong = opened_page(browser, address, 1440)
    page.wait_for_timeout(300)
    assert page.title() == "Trade Tracker · Fillbook"
    assert page.query_selector_all("#linked img, #linked script") == []
    assert page.inner_text("#linked-rows").count(SCRIPT) == 2
    assert wrong == []


def test_the_list_is_reached_and_scrolled_by_keyboard(browser: Browser, address: str) -> None:
    page, wrong = opened_page(browser, address, 360)
    page.set_viewport_size({"width": 800, "height": 900})  # where the table is wider than its frame
    reached = []
    while "linked-title" not in reached and len(reached) < 10:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('aria-labelledby')"))
    assert reached[-1] == "linked-title", reached
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")
    wait_until(lambda: page.evaluate("document.activeElement.scrollLeft") > 0)
    assert wrong == []


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_words_of_states_can_be_read_on_their_ground(browser: Browser, address: str, scheme: Any) -> None:
    page, _ = opened_page(browser, address, 1440)
    page.emulate_media(color_scheme=scheme)
    found = page.eval_on_selector_all("#linked-rows td[data-label=State], #linked-fleet", COLOURS)
    assert len(found) == 4
    for text, ground in found:
        assert contrast(text, ground) >= 4.5, (text, ground)


def contrast(first: str, second: str) -> float:
    """The contrast of two colours as WCAG counts it."""
    lights = sorted(luminance([int(part) for part in re.findall(r"\d+", one)[:3]]) for one in (first, second))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def luminance(parts: list[int]) -> float:
    """How bright a colour is to the eye, 0 to 1."""
    red, green, blue = (part / 3294.6 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_published_snapshot_stands_with_stage_version_hash_and_its_figures(browser: Browser, address: str) -> None:
    page, wrong = opened_page(browser, address, 1440)
    page.wait_for_selector("#snapshot-kpis div")
    assert page.inner_text("#snapshot-title") == "Published snapshot · 2026-03-03 · final · version 2"
    proof = page.inner_text("#snapshot-proof")
    assert proof.startswith("published ")
    assert "392 rows · SHA-256 abababababababab…" in proof
    assert page.get_attribute("#snapshot-proof", "title") == "ab" * 32
    read = "boxes => boxes.map(box => [...box.children].map(one => one.innerText).concat(box.title))"
    assert page.eval_on_selector_all("#snapshot-kpis div", read) == [
        ["Equity", "$100,200.50", "100200.5"],
        ["Win rate", "—", "none closed"],
    ]
    assert wrong == []
