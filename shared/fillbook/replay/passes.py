"""A ticker that is run again by itself in a book of all tickers: its asks meet the book as it was at their own ts.

The other tickers' fills are folded into the book in memory as time goes on; none of their rows is touched. The pass ends where
the run stands. No bucket is hashed anew: a run with a pass is not held against full runs. Source: replay.md 4.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

from fillbook.ledger import service as ledger
from fillbook.ledger.model import ActionType
from fillbook.replay import inputstore, rewinding, runs, service
from fillbook.replay.buckets import bucket_of
from fillbook.replay.cursors import Cursor
from fillbook.replay.model import FactsFrom, Run
from fillbook.replay.progress import Progress, Tally
from fillbook.replay.runbook import RunBook, unused
from fillbook.replay.service import Limits, Turn
from fillbook.replay.store import Held
from fillbook.replay.walk import Arrival, Page, Walk
from fillbook.runtime.db import Tx
from fillbook.signal import intents
from fillbook.signal import store as signal_store
from fillbook.signal.intents import SOURCE
from fillbook.signal.state import state_from_json


def work_pass(
    tx: Tx, held: Held, arrivals: Sequence[Arrival], following: Cursor | None, day: date, now: datetime, limits: Limits
) -> Turn:
    """Settle the ticker's receipts; where nothing follows the pass is over."""
    page, run = Page(), held.run
    if arrivals:
        walk = _walk(tx, run, arrivals[0].receipt.ticker, day, limits)
        book = walk.book
        assert book is not None
        if run.pins.facts is FactsFrom.RECORDED:
            book.recorded = inputstore.recorded_facts(tx, [arrival.receipt for arrival in arrivals])
        unused_tally = Tally(Progress(bucket=bucket_of(arrivals[0].receipt.ts)))
        for arrival in arrivals:
            walk.take(arrival, page, unused_tally)
        walk.write_out(page, unused_tally, now)
        opened = sum(action.action_type is ActionType.ENTRY for action in book.booked)
        service.write_page(tx, walk, page, now)
        run = replace(run, rows=run.rows + page.decided, trades_created=run.trades_created + opened)
        held = replace(held, run=run, pass_cursor=arrivals[-1].place.text)
    if following is None:
        held = replace(held, pass_ticker=None, pass_cursor=None)
    return Turn(held=held, page=page, last=arrivals[-1].place if arrivals else None, next_place=following)


def _walk(tx: Tx, run: Run, ticker: str, day: date, limits: Limits) -> Walk:
    """The ticker as it stands, and the book before anything: what happened in it follows by its place."""
    profile = runs.profile_of(run)
    walk = Walk(run.book_id, profile, tickers_max=limits.tickers_max)
    (document,) = tx.call(signal_store.page_call(run.book_id, [ticker]))
    loaded = next(one for one in signal_store.page_of(document) if one.ticker == ticker)
    walk.plans = {} if loaded.plan is None else {ticker: loaded.plan}
    state = ledger.read_state(tx.call(ledger.load_call(run.book_id, [ticker]))[0])
    walk.book = RunBook(unused(state), walk.plans, profile, walk.vix, day=day)
    walk.book.sectors = inputstore.sectors(tx, run.book_id)
    _fold(tx, run, walk)
    vix = signal_store.vix_ticker_of(profile)
    walk.vix_line = None if vix is None else inputstore.prices(tx, run.book_id, vix)
    position = state.position(ticker)
    walk.remember(ticker, loaded.version, state_from_json(loaded.state, intents.position_facts(position, loaded.plan)))
    return walk


def _fold(tx: Tx, run: Run, walk: Walk) -> None:
    """What came before the run began is in the book; everything else follows in its place."""
    places = inputstore.actions_by_place(tx, run.book_id)
    _, fills = rewinding.split(tx, run, set())
    others = []
    for fill in fills:
        place = places.get(fill.source_id.partition("#")[0]) if fill.source == SOURCE and fill.origin != "history" else None
        if place is None:
            walk.book_of_run.apply(fill)
        else:
            others.append((place, fill))
    others.sort(key=lambda entry: (*entry[0], entry[1].venue_order))
    walk.timeline = deque(others)
