"""Journeys through the frame: logging in, an outage, privacy, the keyboard, and the clocks of the exchange."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.sync_api import Route, expect

from fillbook.calendar import NEW_YORK, Session, calendar
from infra.local.desk import POSTGRES
from tests.browser.conftest import NewTab
from tests.support.browser import ADMIN_KEY, READ_KEY, Desk, Tab

VIEWS = ("today", "positions", "lanes", "history", "snapshot", "accounts", "replay", "alerts")
SHORTCUTS = dict(zip("tpkhsarn", VIEWS, strict=True))
SAID = """() => [document.title, ...[...document.querySelectorAll("#app, #app *")].flatMap(one => [
    ...[...one.childNodes].filter(node => node.nodeType === 3).map(node => node.data),
    ...["title", "aria-label", "aria-valuetext", "aria-description", "alt", "value"]
        .map(name => one.getAttribute(name) ?? "")])]"""
AMOUNT = re.compile(r"[$€£¥]\s?\d|\d[\d,]*\.\d{2} (?:USD|EUR|GBP)")
WATCHED = """() => { window.unseen = []; addEventListener("focusin", ({target: one}) => {
    one.reached = location.pathname; const style = getComputedStyle(one);
    const isSeen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    if (!isSeen && one.tabIndex >= 0) window.unseen.push(one.outerHTML.slice(0, 200)); }); }"""
UNREACHED = """() => [...document.querySelectorAll("a[href], button, input, select, [tabindex='0']")]
    .filter(one => one.checkVisibility() && !one.disabled && one.tabIndex >= 0 && one.reached !== location.pathname)
    .map(one => one.outerHTML.slice(0, 120))"""
DATA_AGE = re.compile(r"^Data as of (\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d E[SD]T · \d+ (s|min|h|d) ago")
CLOCK = re.compile(r"\d\d:\d\d(?!.*(E[SD]T|New York))")
ZONELESS = """() => [...document.querySelectorAll("main *")]
    .filter(one => one.checkVisibility() && [...one.childNodes].some(node => /\\d:\\d/.test(node.data ?? "")))
    .filter(one => !/E[SD]T/.test(one.closest("section")?.querySelector("h2, h3")?.textContent ?? ""))
    .map(one => one.textContent)"""
TABS, ROUNDS_MAX = 25, 16
MINUTE_MS = 60_000
WAIT_MAX_MS = 120_000
TRIES_MAX, LOOK_MS = 300, 200


def test_a_wrong_key_is_told_and_the_right_one_opens_today(new_tab: NewTab, desk: Desk) -> None:
    """Journey 1."""
    tab = new_tab(key=None)
    page = tab.page
    page.goto(desk.url)
    expect(page.get_by_label("Desk key")).to_be_focused()
    assert page.url == f"{desk.url}/app/today"
    page.keyboard.type("not-a-key")
    with tab.expecting(401):
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("does not open the desk")
    page.get_by_label("Desk key").fill(ADMIN_KEY)
    page.keyboard.press("Enter")
    expect(page.locator(".account-equity")).to_be_visible()
    kept = page.evaluate(
        "[document.cookie, JSON.stringify({...localStorage}), JSON.stringify({...sessionStorage}), location.href]"
    )
    assert not any(ADMIN_KEY in one for one in kept)


def test_a_key_is_kept_for_the_tab_only_when_asked_and_forgotten_by_leaving(new_tab: NewTab, desk: Desk) -> None:
    tab = new_tab(key=None)
    page = tab.page
    page.goto(f"{desk.url}/app/positions?direction=LONG")
    page.get_by_label("Desk key").fill(READ_KEY)
    page.get_by_label("Keep for this tab").check()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="LONG")).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(page.get_by_role("button", name="LONG")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Desk key")).to_be_visible()
    assert page.url.endswith("/app/positions?direction=LONG"), "filters are kept"
    assert page.evaluate("sessionStorage.length") == 0


def test_a_key_that_is_refused_or_unused_for_long_leaves_a_clear_screen_and_the_filters(new_tab: NewTab) -> None:
    for why, said in {"refused": "no longer accepted", "unused": "after twelve hours without use"}.items():
        tab = new_tab(key=READ_KEY)
        page = tab.page
        page.clock.install()
        tab.open("positions", direction="LONG")
        shown = set(page.locator(".position-ticker").all_inner_texts())
        assert shown
        if why == "refused":
            page.route(re.compile("/timed/"), lambda route: route.fulfill(status=401, json={"error": {"code": "unauthorized"}}))
            with tab.expecting(401):
                page.keyboard.press("r")
                expect(page.get_by_label("Desk key")).to_be_focused()
        else:
            page.clock.fast_forward(12 * 60 * MINUTE_MS)
            expect(page.get_by_label("Desk key")).to_be_focused()
        expect(page.get_by_role("alert")).to_contain_text(said)
        expect(page.locator(".view, .header, .data-line")).to_have_count(0)
        assert not shown & set(page.evaluate(SAID))
        assert page.url.endswith("/app/positions?direction=LONG")
        assert page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [0, 0, ""]


def test_an_outage_leaves_dated_data_and_a_request_id_and_ends_alone(tab: Tab, desk: Desk) -> None:
    """Journey 17."""
    tab.page.clock.install()
    page = tab.open("positions")
    cards = page.locator(".position-card").all_inner_texts()
    page.locator(".position-ticker").first.focus()
    desk.cloud.kill(POSTGRES, stay_down=True)
    with tab.expecting(503, 500):
        page.clock.fast_forward(12_000)
        box = page.locator(".error-box", has_text="Shown: data as of").first
        expect(box).to_contain_text(re.compile(r"request [\w-]{8,}"))
        expect(page.locator(".data-line")).to_contain_text("Error 503")
        assert len(page.locator(".position-card").all_inner_texts()) == len(cards)
        tab.picture("outage")
        desk.cloud.revive(POSTGRES)
        for _ in range(TRIES_MAX):  # each is as long as a reader may have to wait for the doubled pauses
            page.clock.fast_forward(WAIT_MAX_MS)
            page.wait_for_timeout(LOOK_MS)
            if page.locator(".error-box").count() == 0:
                break
        expect(page.locator(".error-box")).to_have_count(0)
    assert page.evaluate("document.activeElement.className") == "position-ticker", "focus is where it was"


def test_privacy_leaves_no_amount_anywhere_and_stays_on_after_a_reload(tab: Tab, desk: Desk) -> None:
    """Journey 18."""
    trades = desk.ask("/timed/trades", READ_KEY, status="all", limit="1000")["trades"]
    names = ("cost_basis", "unrealized_pnl", "realized_pnl", "total_qty")
    amounts = {value for trade in trades for name in names if (value := trade[name]) is not None and len(value) > 5}
    assert len(amounts) > 5
    page = tab.open("today")
    assert any(AMOUNT.search(text) for text in page.evaluate(SAID)), "amounts are shown before"
    page.keyboard.press("p")
    for view in (*VIEWS, f"positions/{trades[0]['position_id']}"):
        tab.turn(view)
        said = page.evaluate(SAID)
        assert [text for text in said if AMOUNT.search(text)] == [], view
        assert [text for text in said for amount in amounts if amount in text] == [], view
        for button in page.get_by_role("button", name=re.compile("CSV|JSON")).all():
            expect(button).to_be_disabled()
    tab.turn("today")
    expect(page.locator(".account-equity")).to_have_text("•••")
    expect(page.locator(".chart-caption").first).to_contain_text("in percent of its first value")
    expect(page.locator(".account-day-word")).to_contain_text("%")
    page.reload()
    tab.settled()
    assert not any(AMOUNT.search(text) for text in page.evaluate(SAID))
    tab.picture("today-private")
    page.keyboard.press("p")
    expect(page.locator(".account-equity")).not_to_have_text("•••")


def test_every_view_is_walked_by_keyboard_at_double_zoom_in_both_themes(new_tab: NewTab, width: int) -> None:
    """Journey 19; a window half as large is what a zoom of 200 % leaves of a desk's screen."""
    tab = new_tab(width=min(width, 720))
    page = tab.open("positions")
    page.evaluate(WATCHED)
    for letter, view in SHORTCUTS.items():
        tab.theme("light")
        page.evaluate("document.activeElement.blur()")  # what is typed into a field is no short way
        page.keyboard.type(f"g{letter}")  # in one go: the second key counts for as long as a hand needs, however slow the machine
        page.wait_for_url(re.compile(f"/app/{view}"))
        tab.settled()
        assert tab.findings() == [], view
        tab.theme("dark")
        assert tab.findings("color-contrast") == [], view
        if view != "replay":  # of which there may be none yet
            expect(page.locator(".data-line p")).to_have_text(DATA_AGE)
        assert [said for said in page.evaluate(ZONELESS) if CLOCK.search(said)] == [], f"times without a zone: {view}"
        assert not tab.scrolls_sideways(), view
        page.evaluate("document.activeElement.blur()")
        for _ in range(ROUNDS_MAX):
            for _ in range(TABS):
                page.keyboard.press("Tab")
            if not (left := page.evaluate(UNREACHED)):
                break
        assert left == [], view
        assert page.evaluate("window.unseen") == [], "a focus that is not seen"
        tab.pictures(view)


def exchange_at(now: datetime) -> dict[str, Any]:
    """What the session answer says of the exchange at a moment."""
    hours = calendar()
    today = hours.session(now.astimezone(NEW_YORK).date())

    def told(session: Session) -> dict[str, Any]:
        opened, closed = session.open_at, session.close_at
        return {"date": session.date.isoformat(), "open_ts": opened.timestamp() * 1000, "close_ts": closed.timestamp() * 1000}

    return {
        "phase": hours.phase(now),
        "today": None if today is None else told(today),
        "last": told(hours.last_finished(now)),
        "next": told(hours.next_session(now.astimezone(NEW_YORK).date())),
    }


def test_an_hour_away_past_the_close_before_a_clock_change_is_told_right(new_tab: NewTab) -> None:
    """Journey 20: Friday 2026-03-06, 15:59 in New York; on Sunday the clocks go on, on Monday the session is one of EDT."""
    now = datetime(2026, 3, 6, 20, 59, 0, tzinfo=UTC)
    marked_at = now - timedelta(seconds=30)
    asked: list[str] = []

    def session(document: dict[str, Any]) -> None:
        document |= {"server_ts": int(now.timestamp() * 1000), "exchange": exchange_at(now)}

    def marks(document: dict[str, Any]) -> None:
        for trade in document["trades"]:
            trade |= {"price_ts": int(marked_at.timestamp() * 1000), "price_state": "fresh"}

    def visit() -> Tab:
        tab = new_tab()
        tab.page.clock.install(time=now)
        tab.page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => window.isAway === true});")
        tab.rewrite("/timed/session", session)
        tab.rewrite("/timed/trades", marks)
        tab.page.on("request", lambda request: asked.append(request.url) if "/timed/" in request.url else None)
        tab.open("positions")
        return tab

    page = visit().page
    clock = page.locator(".exchange-clock")
    expect(clock).to_contain_text(re.compile(r"15:59:\d\d EST"))
    expect(clock).to_contain_text("open")
    expect(page.locator(".position-age .age").first).to_have_text(re.compile(r"[3-8]\d s ago"))
    page.evaluate("window.isAway = true; document.dispatchEvent(new Event('visibilitychange'))")
    asked.clear()
    page.clock.fast_forward(60 * MINUTE_MS)
    assert asked == [], "a hidden tab asks for nothing"
    now += timedelta(hours=1)
    page.evaluate("window.isAway = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(clock).to_contain_text(re.compile(r"16:59:\d\d EST"))
    expect(clock).to_contain_text("market closed")
    expect(clock).to_have_attribute("title", re.compile("last session 2026-03-06, opens Mon, Mar 9 09:30 EDT"))
    expect(page.locator(".position-age .age").first).to_have_text(re.compile("6[01] min ago"))
    assert any("/timed/trades" in url for url in asked)
    now = datetime(2026, 3, 9, 13, 31, tzinfo=UTC)
    page = visit().page
    expect(page.locator(".exchange-clock")).to_contain_text(re.compile(r"09:31:\d\d EDT"))
    expect(page.locator(".exchange-clock")).to_contain_text("open")
    expect(page.locator(".position-age .age").first).to_have_text("2 d ago")


def test_on_a_phone_the_other_views_are_behind_more_and_escape_gives_the_focus_back(sized_tab: NewTab) -> None:
    tab = sized_tab(width=360)
    page = tab.open("today")
    assert not tab.scrolls_sideways()
    tab.picture("today")
    more = page.get_by_role("button", name="More")
    more.click()
    expect(page.get_by_role("dialog").get_by_role("link")).to_have_count(4)
    page.keyboard.press("Escape")
    expect(more).to_be_focused()
    more.click()
    page.get_by_role("dialog").get_by_role("link", name="Accounts").click()
    expect(page).to_have_url(re.compile("/app/accounts$"))
    expect(page.get_by_role("dialog")).to_have_count(0)
    tab.settled()
    assert not tab.scrolls_sideways()


def test_a_key_without_a_book_sees_nothing_of_it_and_the_page_says_so(new_tab: NewTab) -> None:
    tab = new_tab(key=READ_KEY)
    with tab.expecting(404):
        page = tab.open("positions", books="ibkr:NOBODY")
        expect(page.get_by_text("There is nothing here")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Books: ibkr:NOBODY"))).to_be_visible()


def test_too_many_questions_wait_as_long_as_they_were_told(tab: Tab) -> None:
    """The told wait is many times what a slow machine takes from step to step, because the page's clock goes on meanwhile."""
    tab.page.clock.install()
    asked: list[str] = []
    page = tab.open("positions")

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(
            status=429,
            headers={"Retry-After": "1000", "Content-Type": "application/json"},
            body='{"error": {"code": "rate_limited", "message": "slower, please", "request_id": "abcd-1234"}}',
        )

    page.route(re.compile(r"/timed/trades"), refuse)
    with tab.expecting(429):
        page.clock.fast_forward(12_000)
        expect(page.locator(".error-box")).to_contain_text("asked again in 1000 s")
        assert len(asked) == 1
        with page.expect_response("**/timed/session"):  # others are asked for again: time does go on
            page.clock.fast_forward(700_000)
        assert len(asked) == 1
        with page.expect_response("**/timed/trades?*"):
            page.clock.fast_forward(350_000)
    assert len(asked) == 2
