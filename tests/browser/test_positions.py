"""Journeys through the open positions: the grid at each width, what a card says of its day, and the choice of a side."""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from typing import Any

from playwright.sync_api import Locator, expect

from tests.browser.conftest import NewTab
from tests.support.browser import READ_KEY, Desk, Tab
from tests.support.browser_broker import BOOK, LOTS, SOLD, Broker
from tests.support.browser_scenes import SINCE_YESTERDAY
from tests.support.campaigns import small_or_full

COLUMNS = {360: 2, 640: 3, 768: 4, 1024: 5, 1440: 5, 2560: 5}
SIDES = ("LONG", "SHORT")
CARDS = small_or_full(100, 1000)
DAY_MS = 86_400_000
GROUND = "card => getComputedStyle(card).backgroundColor"
VARIABLE = """name => { const probe = document.body.appendChild(document.createElement("i"));
    probe.style.setProperty("background-color", `var(${name})`);
    const found = getComputedStyle(probe).backgroundColor; probe.remove(); return found; }"""

DRAWN = """() => { window.drawn = new Set();
    // ages go on by themselves
    const cardOf = one => one.closest("time") === null && one.closest(".position-card");
    new MutationObserver(all => all.map(({target}) => cardOf(target.parentElement)).filter(Boolean)
        .forEach(card => window.drawn.add(card))
    ).observe(document.querySelector(".position-grid"),
        {subtree: true, childList: true, characterData: true, attributes: true}); }"""


def crowd(document: dict[str, Any], count: int = 12) -> None:
    """The desk's own positions again and again until there are ``count``, long and short in turn, each with an id of its own."""
    trades = document["trades"]
    document["trades"] = [
        {
            **trades[number % len(trades)],
            "position_id": f"{number:08d}-0000-0000-0000-000000000000",
            "direction": SIDES[number % 2],
        }
        for number in range(count)
    ]
    document["count"] = count


def card(tab: Tab, ticker: str) -> Locator:
    """The card of a ticker."""
    return tab.page.locator(".position-card", has=tab.page.locator(".position-ticker", has_text=ticker))


def test_the_grid_has_the_columns_of_its_width_and_the_page_never_scrolls_sideways(tab: Tab) -> None:
    """Journey 3."""
    tab.rewrite("/timed/trades", crowd)
    page = tab.open("positions")
    for width, columns in COLUMNS.items():
        page.set_viewport_size({"width": width, "height": 900})
        lefts = page.locator(".position-card").evaluate_all(
            "cards => cards.map(card => Math.round(card.getBoundingClientRect().left))"
        )
        assert len(set(lefts)) == columns, width
        assert not tab.scrolls_sideways(), width
        if width in (360, 768, 1440):
            tab.picture("positions")


def test_a_card_tells_its_day_by_tint_arrow_and_word_and_its_trim_from_nothing_on(
    tab: Tab, desk: Desk, broker: Broker, width: int
) -> None:
    """Journey 4: three that are held since yesterday, one of a broker that told no price, and one without a day before."""
    up, down, even = SINCE_YESTERDAY
    unpriced, new = SOLD[width], LOTS[width]
    page = tab.open("positions", books=f"live,{BOOK}")
    grounds = {ticker: card(tab, ticker).evaluate(GROUND) for ticker in (up, down, even, unpriced, new)}
    assert grounds[up] == page.evaluate(VARIABLE, "--tt-accent-dim")
    assert grounds[down] == page.evaluate(VARIABLE, "--tt-negative-dim")
    assert grounds[even] == grounds[unpriced] == grounds[new] == page.evaluate(VARIABLE, "--tt-bg-surface")
    words = {up: "▲ +1.20 %", down: "▼ −0.70 %", even: "● 0.00 %", unpriced: "unknown", new: "unknown"}
    for ticker, said in words.items():
        expect(card(tab, ticker)).to_contain_text(said)
    held = {one["ticker"]: one["unrealized_pnl"] for one in desk.ask("/timed/trades", books="live", status="open")["trades"]}
    names = [card(tab, ticker).get_by_role("link").get_attribute("aria-label") for ticker in (up, down, even, unpriced)]
    assert names == [
        f"{up} long, up 1.2 percent today, 0 percent trimmed, unrealized plus {Decimal(held[up]):.2f} dollars",
        f"{down} long, down 0.7 percent today, 0 percent trimmed, unrealized minus {-Decimal(held[down]):.2f} dollars",
        f"{even} long, flat today, 0 percent trimmed, unrealized flat",
        f"{unpriced} long, day unknown, 40 percent trimmed, no price",
    ]
    expect(card(tab, unpriced)).to_contain_text("no price")
    assert "$" not in card(tab, unpriced).locator(".position-result").inner_text()
    for ticker, percent in {even: "0", new: "25"}.items():
        bar = card(tab, ticker).get_by_role("progressbar")
        assert (bar.get_attribute("aria-valuenow"), bar.get_attribute("aria-valuetext")) == (percent, f"{percent} % trimmed")
        box, around = bar.bounding_box(), card(tab, ticker).bounding_box()
        assert box is not None
        assert around is not None
        assert box["height"] >= 6
        assert box["width"] >= around["width"] - 3
        assert bar.evaluate(GROUND) == page.evaluate(VARIABLE, "--tt-track")
        expect(card(tab, ticker)).to_contain_text(f"{percent} % trimmed")
    tab.picture("position-cards")


def test_the_choice_of_a_side_shows_its_cards_and_survives_a_reload(tab: Tab) -> None:
    """Journey 5."""
    tab.rewrite("/timed/trades", lambda document: crowd(document, 5))
    page = tab.open("positions")
    sides = page.get_by_role("group", name="Direction")
    assert sides.get_by_role("button").all_inner_texts() == ["All\n5", "LONG\n3", "SHORT\n2"]
    for name, count in {"SHORT": 2, "LONG": 3}.items():
        sides.get_by_role("button", name=name).click()
        expect(page.locator(".position-card")).to_have_count(count)
        assert set(page.locator(".position-head .pill").all_inner_texts()) == {name}
    page.reload()
    tab.settled()
    expect(page.locator(".position-card")).to_have_count(3)
    expect(sides.get_by_role("button", name="LONG")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("/")
    page.keyboard.type("no such ticker")
    expect(page.get_by_text("No open position fits the filter")).to_be_visible()


def test_no_position_says_what_would_stand_there(tab: Tab) -> None:
    tab.rewrite("/timed/trades", lambda document: crowd(document, 0))
    expect(tab.open("positions").get_by_text("No open positions")).to_be_visible()


def test_of_many_cards_a_refresh_draws_only_those_that_changed(tab: Tab) -> None:
    first: dict[str, Any] = {}

    def changing(document: dict[str, Any]) -> None:
        if not first:
            crowd(document, CARDS)
            for trade in document["trades"]:
                trade["first_entry_ts"] -= DAY_MS  # else one may stop being just opened
            first.update(deepcopy(document))
            return
        document |= deepcopy(first)  # the desk goes on meanwhile; here nothing changes but five cards
        for trade in document["trades"][:5]:
            trade |= {"unrealized_pnl": "4321.00"}

    tab.rewrite("/timed/trades", changing)
    page = tab.open("positions")
    expect(page.locator(".position-card")).to_have_count(CARDS)
    page.evaluate(DRAWN)
    tab.refresh()
    expect(page.locator(".position-card .num", has_text="+$4,321.00")).to_have_count(5)
    assert page.evaluate("window.drawn.size") == 5


def test_totals_are_the_sums_of_the_cards_and_equal_the_api(new_tab: NewTab, desk: Desk) -> None:
    tab = new_tab(key=READ_KEY)
    page = tab.open("positions")
    trades = desk.ask("/timed/trades", READ_KEY, status="open", limit="1000")["trades"]
    assert page.locator(".position-card").count() == len(trades) > 0
    assert page.locator(".total dt").first.inner_text() == f"{len(trades)} position{'' if len(trades) == 1 else 's'}"
    assert sorted(page.locator(".position-ticker").all_inner_texts()) == sorted(trade["ticker"] for trade in trades)
