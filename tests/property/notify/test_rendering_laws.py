"""Laws of rendering: pure, within limits, money whole, nothing alive, and what was rendered can be read back."""

from __future__ import annotations

import re
from dataclasses import replace
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from fillbook.notify.execution import Execution, Telling
from fillbook.notify.fit import TooLarge, embed_units, fit
from fillbook.notify.model import Embed, Field
from fillbook.notify.proof import PROVEN_NUMBERS, compare, read_embed
from fillbook.notify.render import SACRIFICE, Style, render_execution, render_unfitted
from fillbook.notify.text import clean, cut, escape, unescape, units
from fillbook.notify.wording import GAIN_WORDS
from tests.support.notify_strategies import INSTANTS, WORDS, executions, storable

STYLE = Style(zone=ZoneInfo("America/New_York"))


def rendered(execution: Execution) -> Embed | None:
    try:
        return render_execution(execution, STYLE)
    except TooLarge:
        return None


@given(executions())
def test_the_same_row_gives_the_same_bytes(execution: Execution) -> None:
    one, two = rendered(execution), rendered(replace(execution))
    assert one == two
    if one is not None and two is not None:
        assert one.content_hash() == two.content_hash()
        assert compare(one, Embed.from_json(one.to_json(("resent", "out of order")))) == []


@given(executions())
def test_what_was_rendered_reads_back_as_the_row(execution: Execution) -> None:
    embed = rendered(execution)
    if embed is None:
        return
    told = read_embed(Embed.from_json(embed.to_json(("resent",))))
    seen = replace(execution, ticker=clean(execution.ticker) or "unknown")
    assert told.differences(seen) == []
    assert told.is_struck == (execution.telling is Telling.BUSTED)
    shown = {"quantity", "price", "value", "fees", "position_quantity_after", "position_vwap_after"}
    assert shown <= set(told.numbers)
    assert ("realized_pnl" in told.numbers) == execution.is_closing


@given(executions())
def test_no_limit_is_ever_exceeded(execution: Execution) -> None:
    embed = rendered(execution)
    if embed is None:
        return
    assert units(embed.title) <= 256
    assert units(embed.description) <= 4096
    assert units(embed.footer) <= 2048
    assert len(embed.fields) <= 25
    assert all(0 < units(item.value) <= 1024 and 0 < units(item.name) <= 256 for item in embed.fields)
    assert embed_units(embed) <= 5900
    for text in (embed.title, embed.description, *(item.value for item in embed.fields)):
        assert text == text.strip()
        assert text


@given(executions(tellings=st.sampled_from([Telling.BOOKED, Telling.CORRECTED])))
def test_no_word_of_gain_is_told_about_what_is_none(execution: Execution) -> None:
    embed = rendered(replace(execution, ticker="AMD"))
    if embed is None or execution.is_gain:
        return
    told = " ".join([embed.title, embed.description, *(item.value for item in embed.fields)])
    assert not GAIN_WORDS.search(told)


@given(st.integers(0, 3000), st.text(max_size=3000), st.text(max_size=1500), st.text(max_size=1500), INSTANTS)
def test_fit_never_alters_what_identifies_or_is_money(size: int, description: str, reason: str, lots: str, at: object) -> None:
    money = Field(name="value", value=f"{'9' * (size % 900 + 1)}.00 USD")
    fields = (money, Field(name="lots", value=lots), Field(name="reason", value=reason))
    embed = Embed(title="T" * (size % 400), description=description, color=1, timestamp=at, fields=fields, footer="f" * 500)  # type: ignore[arg-type]
    fitted = fit(embed, SACRIFICE)
    assert fitted.fields[0] == money
    assert fitted.footer == embed.footer
    assert embed_units(fitted) <= 5800


@given(st.text(max_size=300), st.integers(24, 200))
def test_a_cut_text_says_how_much_is_missing_and_tears_no_escape(text: str, units_max: int) -> None:
    escaped = escape(text)
    short = cut(escaped, units_max)
    assert units(short) <= units_max
    if short != escaped:
        kept, _, missing = short.rpartition("…[+")
        assert units(kept) + int(missing.removesuffix("]")) == units(escaped)
        assert len(re.findall(r"\\+$", kept)) == 0 or kept.endswith("\\\\")


@given(WORDS.filter(storable))
def test_escaped_text_is_inert_and_reads_back(text: str) -> None:
    escaped = escape(text)
    assert "://" not in escaped
    assert not re.search(r"(?<!\\)(?:\\\\)*[*_~`|>#\[\]()<@:-]", escaped)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x1f\x7f-\x9f]", escaped)
    if "[:]//" not in text:
        assert unescape(escaped) == clean(text)


@given(executions())
def test_every_figure_is_the_stored_decimal_unrounded(execution: Execution) -> None:
    embed = render_unfitted(execution, STYLE)
    values = {item.name: item.value for item in embed.fields}
    for name in PROVEN_NUMBERS:
        value = getattr(execution, name)
        if name in values and value is None:
            assert values[name] == "unknown"
        elif name in values:
            assert "e" not in values[name].lower().replace("eur", "")
            assert "," not in values[name]
