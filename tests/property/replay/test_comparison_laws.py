"""Laws of a comparison over generated histories: equal to itself, the same from either side, explained by what was changed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fillbook.replay.compare import FIELDS, Line, compare
from fillbook.replay.model import Cause
from fillbook.signal.profile import load
from tests.support.replay_logs import Log, divergences
from tests.support.signal_histories import history
from tests.support.signal_keys import FIRST, ROWS, SECOND, changed

SEEDS = st.integers(0, 10_000)
KEYS = st.sampled_from([(path, value) for path, value, _ in ROWS if path != "version"])


def outcome(line: Line) -> list[object]:
    return [value_of(line) for _, value_of in FIELDS]


@settings(max_examples=15)
@given(seed=SEEDS)
def test_a_log_equals_itself_and_two_logs_part_alike_from_either_side(seed: int) -> None:
    story = history(seed, length=50, tickers=4)
    a, b = Log(story), Log(story, load(SECOND))
    assert compare(a.lines(), a.lines()) == []
    forth, back = compare(a.lines(), b.lines()), compare(b.lines(), a.lines())
    assert [(one.ticker, one.ts, one.field, one.value_a, one.value_b, one.later_count) for one in forth] == [
        (one.ticker, one.ts, one.field, one.value_b, one.value_a, one.later_count) for one in back
    ]


@settings(max_examples=25)
@given(seed=SEEDS, key=KEYS)
def test_before_a_difference_all_outcomes_are_equal_and_another_profile_or_its_book_explains_it(
    seed: int, key: tuple[str, object]
) -> None:
    story = history(seed, length=50, tickers=4)
    path, value = key
    a, b = Log(story), Log(story, changed(FIRST, path, value))
    for one in divergences(a, b):
        assert one.cause in (Cause.CONFIG, Cause.FACTS)
        assert one.detail is not None
        assert path in one.detail["keys"]
        if "figuresOnly" in one.detail:
            continue
        earlier = [[outcome(line) for line in log.lines() if line.ticker == one.ticker and line.ts < one.ts] for log in (a, b)]
        assert earlier[0] == earlier[1]


@settings(max_examples=15)
@given(seed=SEEDS, place=st.integers(0, 49))
def test_a_receipt_that_is_left_out_is_where_its_ticker_parts(seed: int, place: int) -> None:
    story = history(seed, length=50, tickers=4)
    gone = story[place]
    found = {one.ticker: one for one in divergences(Log(story), Log([*story[:place], *story[place + 1 :]]))}
    own = found.pop(gone.ticker)
    assert (own.ts, own.field, own.cause, own.value_b) == (gone.ts, "receipt", Cause.INPUT, None)
    assert all(one.cause is Cause.FACTS and one.ts > gone.ts for one in found.values())
