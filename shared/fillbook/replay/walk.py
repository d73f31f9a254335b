"""The page loop: receipts in order, each settled by the function that live calls, everything that is to be written gathered.

A ``Walk`` remembers what the next receipt is decided from: every ticker's state and open plan, and the book in memory. It takes
one receipt after the other and fills a ``Page``; writing is the caller's. It reads no clock but the ``now`` it is given, which
only ends up as times of recording. Pure. Source: replay.md 3.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from fillbook.ledger.booking import MISFITS
from fillbook.ledger.model import Action, Fill, Mark
from fillbook.replay.cursors import Cursor, instant_of
from fillbook.replay.hashing import id_bytes, joined, packed, result_lines, state_digest
from fillbook.replay.model import Checkpoint
from fillbook.replay.progress import Progress, Tally
from fillbook.replay.runbook import RunBook
from fillbook.runtime.errors import Rejected
from fillbook.signal import intents, store
from fillbook.signal.deciding import Settled, mark_of, rows_of, settle
from fillbook.signal.model import EMPTY_STATE, Decision, Receipt, TickerState
from fillbook.signal.profile import Profile
from fillbook.signal.sessions import session_date
from fillbook.signal.state import memory_text
from fillbook.signal.store import PlanRow, Row

LISTED = ("decisions", "snapshots", "moves", "stops")


class Arrival(NamedTuple):
    """One receipt of the scope, in its place; ``received`` as the database writes instants, few are ever read."""

    receipt: Receipt
    received: str

    @property
    def received_at(self) -> datetime:
        """When it came."""
        return instant_of(self.received)

    @property
    def place(self) -> Cursor:
        """Where it stands among all receipts."""
        receipt = self.receipt
        return Cursor(ts=receipt.ts, ticker=receipt.ticker, received_at=self.received_at, receipt_id=receipt.receipt_id)


class Taken(NamedTuple):
    """A receipt that was settled and is not written out yet: what it met, what came of it, what was booked."""

    receipt: Receipt
    before: TickerState
    plan: PlanRow | None
    settled: Settled
    profile: Profile
    actions: Sequence[Action]


@dataclass(slots=True)
class Page:
    """What a page is to write: rows for ``signal.apply``, marks, checkpoints; and what it counted.

    ``taken``: receipts of the bucket in hand that are settled and not written out yet.
    """

    taken: list[Taken] = field(default_factory=list)
    rows: dict[str, list[Any]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    finals: dict[str, Decision] = field(default_factory=dict)
    opened: dict[str, Row] = field(default_factory=dict)
    changed: dict[str, Row] = field(default_factory=dict)
    closed: dict[str, Row] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    decided: int = 0
    conflicts: int = 0
    skipped: int = 0
    actions: int = 0

    def put(self, rows: Mapping[str, list[Any]]) -> None:
        """Gather a receipt's rows; a plan that was opened on this page is changed and closed where it stands."""
        for name in LISTED:
            if name in rows:
                self.rows.setdefault(name, []).extend(rows[name])
        if len(rows) == 1:  # a decision and nothing else, as nearly always
            return
        for row in rows.get("plans_changed", ()):
            self._place(row, self.changed)
        for row in rows.get("plans_closed", ()):
            self._place(row, self.closed)
        for row in rows.get("plans_opened", ()):
            self.opened[row["position_id"]] = row

    def _place(self, row: Row, elsewhere: dict[str, Row]) -> None:
        opened = self.opened.get(row["position_id"])
        if opened is None:
            elsewhere[row["position_id"]] = row
        else:
            opened |= row

    def document(self, walk: Walk, now: datetime) -> dict[str, list[Any]]:
        """The document of ``signal.apply``, as the page's walk stands."""
        rows = dict(self.rows)
        rows["states"] = [
            store.state_row(
                walk.book_id,
                final,
                loaded_version=walk.stored.get(ticker, 0),
                day_change=None,
                now=now,
                memory=walk.memory(ticker),
            )
            for ticker, final in self.finals.items()
        ]
        plans = {"plans_changed": self.changed, "plans_closed": self.closed, "plans_opened": self.opened}
        rows |= {name: list(held.values()) for name, held in plans.items()}
        return {name: held for name, held in rows.items() if held}


class Walk:
    """A run between two receipts.

    ``timeline`` and ``vix_line`` serve a ticker that is run alone: what else happened in the book by (ts, ticker), and the prices
    of the volatility ticker by ts.
    """

    def __init__(self, book_id: str, profile: Profile, *, tickers_max: int) -> None:
        self.book_id = book_id
        self.profile = profile
        self.states: dict[str, TickerState] = {}
        self.stored: dict[str, int] = {}  # versions as the database has them
        self.plans: dict[str, PlanRow] = {}
        self.profiles: Mapping[str, Profile] = {}  # by receipt, where each is decided under the profile live decided it under
        self.book: RunBook | None = None
        self._memories: dict[str, str] = {}  # what is remembered, as text, of tickers that nothing was decided on since
        self._joined: dict[str, str] = {}  # the same with the open plan
        self._tickers_max = tickers_max
        self.timeline: deque[tuple[tuple[int, str], Fill]] = deque()
        self.vix_line: Sequence[tuple[int, Decimal]] | None = None
        self._now_ts = 0

    @property
    def book_of_run(self) -> RunBook:
        """The book in memory; a walk is handed its book right after it is made."""
        assert self.book is not None
        return self.book

    def remember(self, ticker: str, version: int, state: TickerState) -> None:
        """A ticker as it was loaded."""
        self.states[ticker] = state
        self.stored[ticker] = version
        self._forget(ticker)

    def _forget(self, ticker: str) -> None:
        self._memories.pop(ticker, None)
        self._joined.pop(ticker, None)

    def vix(self) -> tuple[Decimal | None, int | None]:
        """Last price of the profile's volatility ticker in this book, and its ts."""
        if self.vix_line is not None:
            place = bisect_right(self.vix_line, (self._now_ts, Decimal("Infinity")))
            return (self.vix_line[place - 1][1], self.vix_line[place - 1][0]) if place else (None, None)
        ticker = store.vix_ticker_of(self.profile)
        state = self.states.get(ticker, EMPTY_STATE) if ticker is not None else EMPTY_STATE
        return state.last_price, state.last_ts

    def take(self, arrival: Arrival, page: Page, tally: Tally) -> None:
        """Settle one receipt and count it in its bucket. Raises what the ledger refuses of a decision."""
        receipt = arrival.receipt
        before = self.states.get(receipt.ticker)
        if before is None:
            if len(self.states) >= self._tickers_max:
                raise Rejected("too_many_tickers", f"the book knows {len(self.states)}")
            before = EMPTY_STATE
        tally.met(id_bytes(receipt.receipt_id))
        if before.last_ts is not None and receipt.ts <= before.last_ts:
            page.conflicts += 1
            tally.set_aside()
            return
        try:
            taken = self._settled(arrival, before)
        except Rejected as refusal:
            if refusal.reason not in MISFITS:
                raise
            page.conflicts += 1  # live would have put the receipt aside: nothing of it was decided
            tally.set_aside()
            return
        page.decided += 1
        page.finals[receipt.ticker] = taken.settled.final
        page.counts[receipt.ticker] = page.counts.get(receipt.ticker, 0) + 1
        page.taken.append(taken)

    def _settled(self, arrival: Arrival, before: TickerState) -> Taken:
        assert self.book is not None
        receipt, ticker = arrival.receipt, arrival.receipt.ticker
        self._advance(receipt)
        plan = self.plans.get(ticker)
        self.book.received = arrival.received
        profile = self.book.profile = self.profiles.get(receipt.receipt_id, self.profile)
        known = len(self.book.booked)
        settled = settle(receipt, before, profile, self.book)
        actions = self.book.booked[known:]
        self._follow(ticker, settled.final)
        return Taken(receipt, before, plan, settled, profile, actions)

    def write_out(self, page: Page, tally: Tally, now: datetime) -> None:
        """Turn what was taken of a bucket into rows, marks and lines of its hash.

        After the settling of all of them, not in between: either kind of work then stays in the processor's nearest memory,
        which saves a fifth of both.
        """
        for receipt, before, plan, settled, profile, actions in page.taken:
            page.put(rows_of(self.book_id, receipt, before, plan, settled, profile, now))
            mark = mark_of(receipt, before, settled.final)
            if mark is not None:
                page.marks.append(mark)
            tally.decided(result_lines(settled.final, settled.blocks, actions), len(actions))
            page.actions += len(actions)
        page.taken.clear()

    def _advance(self, receipt: Receipt) -> None:
        """Where one ticker is run alone: what the others did before this receipt happens now."""
        self._now_ts = receipt.ts
        while self.timeline and self.timeline[0][0] < (receipt.ts, receipt.ticker):
            self.book_of_run.apply(self.timeline.popleft()[1])

    def _follow(self, ticker: str, final: Decision) -> None:
        """State and plan as the next receipt would load them: quantities and prices of a position are the ledger's."""
        assert self.book is not None
        self._forget(ticker)
        held = final.state.position
        if held is None:
            self.plans.pop(ticker, None)
            self.states[ticker] = final.state
            return
        if held.plan is not None and held.stop is not None:
            self.plans[ticker] = PlanRow(
                position_id=held.position_id,
                plan=held.plan,
                stop=held.stop,
                tiers_taken=held.tiers_taken,
                adds=held.adds,
                cycles_used=held.cycles_used,
                sector=held.sector,
            )
        else:
            self.plans.pop(ticker, None)
        position = intents.position_facts(self.book.position(ticker), self.plans.get(ticker))
        self.states[ticker] = final.state._replace(position=position)

    def memories(self) -> dict[str, str]:
        """What is remembered of every ticker that was ever decided, as canonical text."""
        for ticker, state in self.states.items():
            if state.last_ts is not None and ticker not in self._joined:
                plan = self.plans.get(ticker)
                self._joined[ticker] = joined(self.memory(ticker), None if plan is None else store.plan_document(plan))
        return self._joined

    def memory(self, ticker: str) -> str:
        """What is remembered of a ticker, without its plan, as canonical text; made once between two receipts of it."""
        found = self._memories.get(ticker)
        if found is None:
            found = self._memories[ticker] = memory_text(self.states[ticker])
        return found

    def checkpoint(self, run_id: str, progress: Progress, result_hash: str, now: datetime) -> Checkpoint:
        """Where the run stands after a bucket; ``result_hash`` includes it."""
        memories = self.memories()
        versions = {ticker: self.states[ticker].version for ticker in memories}
        return Checkpoint(
            run_id=run_id,
            bucket=progress.bucket,
            rows=progress.rows,
            conflicts=progress.conflicts,
            actions=progress.actions,
            input_digest=progress.digest,
            bucket_hash=progress.hash,
            state_digest=self.digest(session_date(progress.bucket, self.profile.trading)),
            result_hash=result_hash,
            states=packed(memories, versions),
            recorded_at=now,
        )

    def digest(self, day: date) -> str:
        """The digest of everything the next receipt is decided from."""
        assert self.book is not None
        held: list[Any] = [position for positions in self.book.positions.values() for position in positions]
        return state_digest(self.memories(), held, self.book.totals_for_digest(day))
