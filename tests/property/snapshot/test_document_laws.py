"""Laws of the document: what passes the publisher's checks is taken by the API as it is (snapshot specification, 10.3, 10.5)."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fillbook.runtime.errors import Rejected
from fillbook.snapshot import checks, document, duplicates, normalizer
from fillbook.snapshot.jsontext import jsoned
from fillbook.snapshot.model import EXTREME_NUMBERS, Asset, BadSnapshot, Kind, Kpi, Point, Snapshot, Source
from tests.support.campaigns import small_or_full
from tests.support.snapshot_days import CLOSE_AT, NOW, W1, counted, extreme_row, point_row, w1, watermark, work_day

# --- days, sound and spoilt -------------------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.sampled_from(
        ["AAPL", "AAPL 250321C185", " AAPL", "P&L", "", "—", "-", "N/A", "x\n", "a\u0000", "\ud800", "Cafe\u0301", "\u2003K"]
    ),
    st.text(max_size=8),
    st.text(min_size=30, max_size=110, alphabet="aB9 "),
)
NAMES = st.one_of(st.sampled_from([name for name, *_ in W1]), TEXTS)
NUMBERS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=10),
    st.integers(-(10**6), 10**6).map(lambda cents: Decimal(cents).scaleb(-2)),
    st.sampled_from(["0", "-0.0", "1e15", "1e-21", "NaN", "Infinity", "0.12345678901", "1E+3", "1e999999"]).map(Decimal),
)
SHOWN = st.one_of(TEXTS, st.sampled_from(["$1,234.56", "72.3%", "1h 03m", "1.85x", "—", "1e400", "(€5)"]))
TIMES = st.one_of(
    st.integers(0, 390 * 60_000_000).map(lambda micros: CLOSE_AT - timedelta(microseconds=micros)),
    st.sampled_from([CLOSE_AT, work_day().window_start, work_day().window_end, CLOSE_AT - timedelta(days=500)]),
)
IDS = st.one_of(st.integers(1, 4), st.sampled_from([0, -1, 2**53 - 1, 2**53, None]))


def rarely(common: st.SearchStrategy[Any], rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly ``common``: a day of many parts would else never be sound."""
    return st.integers(0, 30).flatmap(lambda at: rare if at == 0 else common)


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("kpi_name"), st.integers(0, 24), NAMES),
        st.tuples(st.just("display_value"), st.integers(0, 24), SHOWN),
        st.tuples(st.just("value_num"), st.integers(0, 24), NUMBERS),
    ),
    max_size=2,
)


def kpi_parts(changes: list[Any], positions: int) -> dict[str, Any]:
    """Rows of summary and values: W1's own, but for a place or two with another name, text or number."""
    parts = counted(positions)
    rows = [dict(row) for row in parts["kpis"]]
    values = {name: dict(row) for name, row in parts["values"].items()}
    for column, place, value in changes:
        name = rows[place]["kpi_name"]
        if column == "value_num":
            values[name][column] = value
        else:
            rows[place][column] = value
        if column == "kpi_name":
            values[value] = values[name]
    return {"kpis": tuple(rows), "values": values}


POINTS = st.lists(
    st.builds(
        lambda name, at, value, source: {**point_row(name, at, "0", source), "value": value},
        rarely(st.sampled_from(["Daily PnL", "Equity", "Fees paid"]), NAMES),
        rarely(st.integers(1, 300).map(lambda minutes: CLOSE_AT - timedelta(minutes=minutes)), TIMES),
        rarely(st.integers(-(10**6), 10**6).map(lambda cents: Decimal(cents).scaleb(-2)), st.none() | NUMBERS),
        rarely(st.sampled_from(["live", "ledger", "stale", None]), TEXTS | st.just("synthetic")),
    ),
    max_size=8,
)
TRADES = st.lists(
    st.builds(
        lambda name, side, identity, text, column, value: extreme_row(name, side, 1, identity, text, **{column: value}),
        rarely(st.sampled_from(["Daily PnL", "Equity"]), NAMES),
        rarely(st.sampled_from(["hi", "lo", " HI"]), st.sampled_from(["mid", None])),
        rarely(st.integers(1, 3), IDS),
        rarely(st.sampled_from(["AAPL", "TSLA"]), TEXTS),
        st.sampled_from(EXTREME_NUMBERS),
        rarely(st.none() | st.integers(-99, 99).map(Decimal), NUMBERS),
    ),
    max_size=6,
)
HELD = st.lists(
    st.builds(
        lambda identity, symbol, contract: {"trade_id": identity, "symbol": symbol, "contract_name": contract},
        rarely(st.integers(1, 9), IDS),
        rarely(st.sampled_from(["AAPL", None]), TEXTS),
        rarely(st.sampled_from(["AAPL", "AAPL 250321C185"]), TEXTS),
    ),
    max_size=3,
)
PROVENANCES = rarely(st.just({"books": ["live"]}), st.dictionaries(TEXTS, TEXTS | NUMBERS, max_size=2))
HEADLINES = rarely(st.sampled_from(["A day", ""]), TEXTS)


@st.composite
def sources(draw: st.DrawFn) -> Source:
    """A day as views give it: ours or somebody else's, sound or spoilt in a place or two."""
    held = tuple(draw(HELD))
    parts: dict[str, Any] = kpi_parts(draw(rarely(st.just([]), CHANGES)), len(held))
    parts |= {"series": tuple(draw(POINTS)), "extremes": tuple(draw(TRADES)), "portfolio": held}
    if draw(st.booleans()):
        parts |= {"values": None, "watermark": None, "start_cash": None}
    else:
        parts["watermark"] = watermark(open_positions=len(held))
    return w1(**parts)


# --- laws -------------------------------------------------------------------------------------------------------------


@given(sources(), HEADLINES, HEADLINES, PROVENANCES, st.randoms())
def test_whatever_passes_our_checks_is_taken_by_our_normalizer_as_it_is(
    source: Source, headline: str, summary: str, provenance: dict[str, Any], chance: random.Random
) -> None:
    snapshot, _, problems = document.built(source, headline=headline, summary=summary, provenance=provenance)
    assume(not problems and not checks.validated(snapshot, source))
    assert document.size(snapshot) <= checks.bytes_at_most(snapshot), "a day that is not measured is not too large"
    raw = document.encoded(snapshot)
    taken = normalizer.normalized(normalizer.parsed(raw), now=NOW)
    assert taken.snapshot == snapshot
    assert taken.content_sha256 == taken.claimed_hash == document.content_sha256(snapshot)
    assert (taken.dropped.duplicates, taken.dropped.null_points) == (0, 0)
    assert document.encoded(taken.snapshot) == raw
    parts = {part: list(getattr(snapshot, part)) for part in ("rows", "points", "extremes", "assets")}
    for rows in parts.values():
        chance.shuffle(rows)
    turned = dataclasses.replace(snapshot, **{part: tuple(rows) for part, rows in parts.items()})
    assert document.content_sha256(turned) == taken.content_sha256


@settings(max_examples=small_or_full(25, 500))
@given(sources())
def test_building_and_checking_end_with_problems_at_worst(source: Source) -> None:
    snapshot, _, problems = document.built(source, headline="", summary="", provenance={})
    checks.validated(snapshot, source)
    checks.guarded(snapshot, source, checks.History(last=checks.remembered(snapshot, source)))
    assert all(len(one.value or "") <= 80 for one in problems)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | NUMBERS
    | TEXTS
    | st.floats()
    | st.sampled_from(["2026-02-11", "2026-02-11T15:00:00Z"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            TEXTS
            | st.sampled_from(
                "date updated_at rows kpis kpi name value value_num kind unit sort_order overlay seriesByKpi series t v src "
                "extremes byKpi hi lo items side rank trade_id contract_name qty mid_ts portfolioAssets assets id stage "
                "watermark content_sha256".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def grafted(parts: tuple[Any, ...]) -> dict[str, Any]:
    """A document that is whole but for the values put in."""
    rows, series, extremes, assets, top = parts
    overlay = {"seriesByKpi": {"K": series}, "extremes": {"byKpi": {"K": {"hi": extremes}}}, "assets": assets}
    return {"date": "2026-02-11", "rows": rows, "overlay": overlay, "note": top}


def is_told_well(refusal: BadSnapshot) -> bool:
    """Whether a refusal's problems are there, bounded, and can be written anywhere."""
    texts = [text for one in refusal.problems for text in (one.path, one.value or "") if text.encode() is not None]
    return refusal.problem_count >= len(refusal.problems) > 0 and all(len(text) <= 300 for text in texts)


@given(JSON | st.tuples(JSON, JSON, JSON, JSON, JSON).map(grafted))
def test_anything_at_all_is_taken_or_refused_by_name(body: Any) -> None:
    refusals: list[BadSnapshot] = []
    try:
        taken = normalizer.normalized(body, now=NOW)
    except BadSnapshot as refusal:
        refusals.append(refusal)
    else:
        again = normalizer.normalized(normalizer.parsed(document.encoded(taken.snapshot)), now=NOW)
        assert again.snapshot == taken.snapshot
        assert again.content_sha256 == taken.content_sha256
    assert all(map(is_told_well, refusals))


@given(st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_json_or_are_refused(raw: bytes) -> None:
    with contextlib.suppress(Rejected):
        read = normalizer.parsed(raw)
        assert jsoned(read) is not None


@settings(max_examples=small_or_full(25, 500))
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["live", "ledger", "stale", "x", None])), unique=True), st.randoms())
def test_which_point_stays_does_not_depend_on_the_order_where_its_source_decides(drawn: list[Any], chance: random.Random) -> None:
    found = [
        Point(kpi="K", t=CLOSE_AT + timedelta(minutes=at), v=Decimal(place), src=src) for place, (at, src) in enumerate(drawn)
    ]
    assert same_however_shuffled(found, duplicates.points, chance)


@settings(max_examples=small_or_full(25, 500))
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), unique=True), st.randoms())
def test_which_row_stays_does_not_depend_on_the_order_where_one_has_a_number(drawn: list[Any], chance: random.Random) -> None:
    found = [
        Kpi(kpi=name, value=str(place), value_num=Decimal(place) if is_known else None, kind=Kind.NUMBER, sort_order=place + 1)
        for place, (name, is_known) in enumerate(drawn)
    ]
    assert same_however_shuffled(found, duplicates.kpis, chance)


@settings(max_examples=small_or_full(25, 500))
@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from([None, "A"])), unique=True), st.randoms())
def test_which_asset_stays_does_not_depend_on_the_order_where_one_has_a_symbol(drawn: list[Any], chance: random.Random) -> None:
    found = [Asset(trade_id=identity, symbol=symbol, contract_name="C") for identity, symbol in drawn]
    assert same_however_shuffled(found, duplicates.assets, chance)


@settings(max_examples=small_or_full(25, 500))
@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from("AB")), max_size=8), st.randoms())
def test_which_trade_stays_does_not_depend_on_the_order_where_ranks_are_given(drawn: list[Any], chance: random.Random) -> None:
    items = [{"rank": rank, "trade_id": identity, "contract_name": name} for rank, (identity, name) in enumerate(drawn, 1)]

    def taken(order: list[Any]) -> Snapshot:
        body = {"date": "2026-02-11", "updated_at": 1770820200, "overlay": {"extremes": {"byKpi": {"K": {"hi": order}}}}}
        return normalizer.normalized(body, now=NOW).snapshot

    shuffled = list(items)
    chance.shuffle(shuffled)
    assert taken(items) == taken(shuffled)
    assert [one.rank for one in taken(items).extremes] == list(range(1, len(set(drawn)) + 1))


def same_however_shuffled(found: list[Any], resolve: Callable[[Any], duplicates.Resolved], chance: random.Random) -> bool:
    shuffled = list(found)
    chance.shuffle(shuffled)
    one, other = resolve(found), resolve(shuffled)
    return one.kept == other.kept and sorted(one.gone) == sorted(other.gone)
