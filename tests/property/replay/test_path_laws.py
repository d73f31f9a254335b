"""A generated day gives one hash and the same rows by every path: pages, buckets, job, incremental, and live itself.

Each example is a day of its own on a real database, so few are tried by default; ``FILLBOOK_REPLAY_DAYS=500`` tries as many as
the specification asks for, from the seed that is printed (``FILLBOOK_SEED`` takes another one).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from fillbook.replay.parity import check_parity
from fillbook.replay.service import Limits
from fillbook.runtime.clock import monotonic
from tests.support.campaigns import tell
from tests.support.replay_desk import DAY, LATER, OPENS, ReplayDesk, book_rows, walk
from tests.support.replay_guard import guarded_template
from tests.support.signal_live import LiveDesk, wipe

DAYS = int(os.environ.get("FILLBOOK_REPLAY_DAYS", "2"))
SEED = int(os.environ.get("FILLBOOK_SEED", "20260202"))
TICKERS = ["ZZTA", "ZZTB", "ZZTC"]
SIZES = st.sampled_from((1, 3, 4, 7, 11, 15, 16, 23, 40, 60))  # rows a page, of a day of 45
Query = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def template(postgres: Any, _superuser: Callable[[str], None]) -> str:
    return guarded_template(postgres, _superuser)


@pytest.fixture
def desk(open_database: Any, query: Query, db: Any) -> ReplayDesk:
    tell(f"{DAYS} days, FILLBOOK_SEED={SEED}")
    return ReplayDesk(open_database("replay_worker", pool_size=2), query, db)


@pytest.fixture
def live(open_database: Any, query: Query) -> LiveDesk:
    return LiveDesk(open_database("signal_worker", pool_size=2), query)


@seed(SEED)
@settings(max_examples=DAYS, derandomize=False, database=None)
@given(start=st.integers(0, 2**32), missing=st.integers(0, 44), limit=SIZES, page_rows=SIZES)
def test_every_path_through_a_day_ends_the_same(
    desk: ReplayDesk, live: LiveDesk, query: Query, start: int, missing: int, limit: int, page_rows: int
) -> None:
    wipe(query)
    query("truncate replay.run_records cascade")
    day = walk(start, TICKERS, range(15))
    late = day.pop(missing)
    for document in day:
        live.take(document)
    as_live = book_rows(query, "live")
    desk.day(run="incremental", after="", limit=limit)
    assert desk.rows(desk.shown("incremental")["book"]) == as_live
    desk.keep([late], result="late")
    desk.start(name="incremental", date="2026-02-02", mode="incremental")
    desk.start(name="job", date="2026-02-02")
    desk.work_off(page_rows)
    pages = desk.day(run="pages", after="", limit=limit)[-1]
    bucket = desk.call(run="buckets", bucket=OPENS)
    while bucket.next_bucket is not None:
        bucket = desk.call(run="buckets", bucket=bucket.next_bucket)
    hashes = {name: desk.shown(name)["resultHash"] for name in ("incremental", "job", "pages", "buckets")}
    assert set(hashes.values()) == {pages.result_hash}, hashes
    rows = desk.rows(pages)
    for name in ("incremental", "job", "buckets"):
        assert desk.rows(desk.shown(name)["book"]) == rows, name
    [parity] = check_parity(desk.desk, DAY, LATER, limits=Limits(), deadline=monotonic() + 60)
    assert parity.identical, parity.divergences
    assert parity.totals_a.decided == len(day)
    assert book_rows(query, "live") == as_live
