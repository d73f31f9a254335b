"""The calls of one account in one run: snapshot, history in windows, the past in chunks, then what the closing still wants.

Positions always precede history: a close in between shows up twice, and closed wins. An answer about another account ends
everything and leaves nothing. Runs in a pool thread; pages of a large window are handed over to be written every five of them.
Source: mt5 specification, 2, 5 and 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, Protocol

from fillbook.mt5 import server_time, windows
from fillbook.mt5.clocks import rule_of
from fillbook.mt5.desk import Time
from fillbook.mt5.faults import FINAL, TEXTS, Retries
from fillbook.mt5.heard import Answers, Needs, Read, StepNote
from fillbook.mt5.history import Next, Reading, begin
from fillbook.mt5.known import Told
from fillbook.mt5.model import (
    Deal,
    DealPage,
    Head,
    Instance,
    ServiceFailure,
    Snapshot,
    StepFailure,
    SymbolFacts,
    Target,
    Window,
)
from fillbook.mt5.pages import Pages
from fillbook.mt5.records import Claimed
from fillbook.mt5.sources import ReadsAccount, ReadsSymbols
from fillbook.mt5.terms import Limits
from fillbook.mt5.unchanged import is_new_hour
from fillbook.mt5.words import POSITION_READS_MAX, SYMBOLS_MAX, BackfillState, CashState, Code, Step

POSITION_PAGES_MAX: Final = 5
"""Pages of one position's life; a longer one is left to the windows."""
_EXPIRED: Final = frozenset({Code.INVALID_REQUEST, Code.NOT_FOUND})
_REFUSED: Final = frozenset({Code.INVALID_REQUEST, Code.NOT_FOUND, Code.FORBIDDEN})
"""Of a window of the past, where the present was read a moment ago: it is the window that the service does not like."""


class Keep(Protocol):
    """Writes pages of a large window. Not ``is_last``: where more is wanted first, nothing is written and that is returned."""

    def __call__(self, heard: Answers, *, is_last: bool) -> Needs | None:
        """``heard``: the account's answers with the pages to be written as its history."""


class Service(ReadsAccount, ReadsSymbols, Protocol):
    """What is asked of an MT5 service about one account."""


class Fetching:
    """One account's calls; used by one thread."""

    def __init__(
        self, service: Service, claimed: Claimed, instance: Instance, limits: Limits, *, deadline: float, clocks: Time, keep: Keep
    ) -> None:
        """``keep`` writes the pages of a large window while the account is still being read."""
        account = claimed.account
        self._service, self._claimed, self._limits, self._deadline, self._time = service, claimed, limits, deadline, clocks
        self._keep = keep
        self._retries = Retries(limits.retries_max)
        self._rule = claimed.rule
        self._target = Target(
            instance=instance,
            account_id=account.account_id,
            service_account_id=account.service_account_id or account.account_id,
            login=account.login,
            server=account.server,
            rule=claimed.rule,
        )
        self._attempts = 1
        self.answers = Answers(claimed=claimed, started_at=clocks.now(), started=clocks.monotonic())

    def first(self, *, is_degraded: bool = False) -> Answers:
        """Snapshot, history, and the past where there is time for it. ``is_degraded``: the service said so; no history then."""
        try:
            self._snapshot()
            failed = self.answers.failures.get(Step.INFO)
            if failed is not None and failed.code in FINAL:
                self._fail(replace(failed, step=Step.HISTORY))
            elif is_degraded:
                self._fail(_failure(Code.SERVICE_DEGRADED))
            else:
                self._history()
                self._past()
        except ServiceFailure as error:
            self._discard(error.failure)
        return self.answers

    def opened(self) -> Answers:
        """The answers with rows that were only known so far, read."""
        read = self.answers.history
        if read is not None and read.later is not None:
            deals = read.later()
            tickets = frozenset(deal.deal_ticket for deal in deals)
            self._change(history=replace(read, deals=deals, tickets=tickets, later=None))
        return self.answers

    def more(self, needs: Needs) -> Answers:
        """The lives and symbols that the closing wants; what does not come is asked for again in another run."""
        try:
            self._ask(needs.symbols)
            lives: dict[int, tuple[Deal, ...]] = {}
            for position_id in needs.positions[:POSITION_READS_MAX]:
                life = self._life(position_id)
                if life is None:
                    break
                lives[position_id] = life
            self._change(lives=lives)
        except ServiceFailure as error:
            self._discard(error.failure)
        return self.answers

    # --- the snapshot -------------------------------------------------------------------------------------------------

    def _snapshot(self) -> None:
        began = self._time.monotonic()
        snapshot = self._service.snapshot(self._target, deadline=self._deadline, retries=self._retries)
        ms = self._ms(began)
        info, positions = snapshot.info, snapshot.positions
        if not isinstance(info, StepFailure):
            self._change(info=info)
            self._note(Step.INFO, ms, snapshot.attempts, 1)
        else:
            self._fail(info)
            self._note(Step.INFO, ms, info.attempts)
        if not isinstance(positions, StepFailure):
            self._change(positions=positions)
            self._note(Step.POSITIONS, ms, snapshot.attempts, len(positions))
        else:
            self._fail(positions)
            self._note(Step.POSITIONS, ms, positions.attempts)
        self._take_clock(snapshot)

    def _take_clock(self, snapshot: Snapshot) -> None:
        """A new server's rule is measured by the first answer that tells its clock."""
        head = snapshot.head
        if head is None:
            return
        told = head.server_time_msc is not None
        if head.server_time_msc is not None:
            self._rule = rule_of(self._claimed, head)
        self._change(head=self._filled(head), has_told_clock=told)

    def _filled(self, head: Head) -> Head:
        """The head with the server's time; the three-endpoint service tells UTC alone."""
        if head.server_time_msc is not None:
            return head
        return replace(head, server_time_msc=server_time.to_server(self._rule, head.as_of))

    def _server_msc(self) -> int:
        head = self.answers.head
        if head is not None and head.server_time_msc is not None:
            return head.server_time_msc
        return server_time.to_server(self._rule, self._time.now())

    # --- history ------------------------------------------------------------------------------------------------------

    def _history(self) -> None:
        began = self._time.monotonic()
        state = self._claimed.state
        read, failure = self._forward(state.page_cursor)
        has_expired = failure is not None and read.reading.is_resumed and not read.reading.count and failure.code in _EXPIRED
        if has_expired:
            read, failure = self._forward(None)  # the window from its beginning
        if failure is not None:
            self._fail(failure)
        if self._is_stuck(read, failure, has_expired=has_expired):
            self._change(stuck=(read.window,))
        attempts = 1 if failure is None else failure.attempts
        came = failure is None or read.reading.count > 0
        self._change(history=read if came else None)
        self._note(Step.HISTORY, self._ms(began), max(attempts, self._attempts), read.rows)

    @staticmethod
    def _is_stuck(read: Read, failure: StepFailure | None, *, has_expired: bool) -> bool:
        """Whether going on in the next run will not complete a window: pages shift, or what was read is lost again by then."""
        if failure is not None:
            return failure.code is Code.PAGE_DRIFT
        return not read.reading.is_whole and (has_expired or not read.is_resumable)

    def _forward(self, cursor: str | None) -> tuple[Read, StepFailure | None]:
        state = replace(self._claimed.state, page_cursor=cursor)
        wanted = windows.forward(
            state,
            self._server_msc(),
            self._claimed.account.backfill_target,
            overlap_is_large=state.page_from_msc is not None and cursor is None,
            spans=self._limits.spans,
        )
        return self._window(begin(wanted.window, wanted.cursor), self._limits.pages_max, keeps=True, known=state.told)

    def _window(
        self, reading: Reading, pages_max: int, *, keeps: bool, rows_max: int | None = None, known: Told | None = None
    ) -> tuple[Read, StepFailure | None]:
        """Read pages until the window is whole, enough, or broken; what came before a failure is returned with it.

        ``known``: rows that need not be read where they are all that the window holds.
        """
        pages = Pages(reading)
        while True:
            try:
                page = self._page(pages.reading, known)
            except ServiceFailure as error:
                if error.failure.code is Code.IDENTITY_MISMATCH:
                    raise
                return pages.read(), error.failure
            self._attempts = max(self._attempts, page.attempts)
            following = pages.take(page, pages_max, rows_max)
            if following in (Next.DONE, Next.STOP):
                return pages.read(), None
            if following is Next.DRIFT:
                return pages.read(), _failure(Code.PAGE_DRIFT)
            if following is Next.READ and pages.reading.is_due and keeps:
                self._written(pages.read())
                pages.forget()

    def _written(self, read: Read) -> None:
        """Have the pages that came written. What a lot of their symbols is is asked first: told without it, every fill of them
        would have to be told again.
        """
        needs = self._keep(replace(self.answers, history=read, is_kept=True), is_last=False)
        if needs is not None:
            self._ask(needs.symbols)
            self._keep(replace(self.answers, history=read, is_kept=True), is_last=True)
        self._change(facts=())

    def _page(self, reading: Reading, known: Told | None) -> DealPage:
        page = self._service.deals(
            self._target,
            reading.window,
            cursor=reading.cursor,
            limit=self._limits.page_limit,
            deadline=self._deadline,
            retries=self._retries,
            known=known,
        )
        return replace(page, head=self._filled(page.head))

    # --- the past -----------------------------------------------------------------------------------------------------

    def _past(self) -> None:
        """Chunks below the floor, the upper one first; one that is not whole ends it."""
        state, account = self._claimed.state, self._claimed.account
        began, now = self.answers.started, self._time.monotonic()
        may = windows.may_backfill(
            timedelta(seconds=self._deadline - now),
            timedelta(seconds=self._deadline - began),
            has_failed=bool(self.answers.failures) or state.page_cursor is not None,
            has_gap=state.cash_state is CashState.GAP,
        )
        history = self.answers.history
        if not may or history is None or not history.reading.is_whole or history.is_paired:
            return
        left = self._limits.pages_max - history.reading.count
        target = account.backfill_target
        state = replace(state, backfill_state=windows.backfill_state(state, target))
        if state.backfill_state is BackfillState.BLOCKED and is_new_hour(account.last_successful_sync_at, self._time.now()):
            state = replace(state, backfill_state=BackfillState.RUNNING)
        for window in windows.backfill(state, target, self._limits.spans):
            read = self._chunk(window, left)
            if read is None:
                return
            self._change(chunks=(*self.answers.chunks, read))
            left -= read.reading.count
            if read.window != window:  # only its upper part: what lies below is another run's
                return

    def _chunk(self, wanted: Window, pages: int) -> Read | None:
        """A chunk read whole, or as much of its upper end as the pages left can hold; None: nothing was.

        A window that says it holds more than these is narrowed after its first page. One that is too large at its smallest, or
        for half of a run's pages and more, is stuck, and so is one whose pages shift; one that is refused blocks the past.
        """
        window, has_room = wanted, pages * 2 >= self._limits.pages_max
        while pages > 0 and window.from_msc < window.to_msc - 1:
            read, failure = self._window(begin(window), pages, keeps=False, rows_max=pages * self._limits.page_limit)
            if failure is not None:
                if failure.code is Code.PAGE_DRIFT:
                    self._change(stuck=(*self.answers.stuck, wanted))
                elif failure.code in _REFUSED:
                    self._change(refused=window)
                return None
            if read.reading.is_whole:
                return read
            pages -= read.reading.count
            window = windows.narrowed(window, read.reading.total, pages * self._limits.page_limit)
        if has_room:
            self._change(stuck=(*self.answers.stuck, wanted))
        return None

    # --- what the closing wants ---------------------------------------------------------------------------------------

    def _life(self, position_id: int) -> tuple[Deal, ...] | None:
        deals: list[Deal] = []
        cursor: str | None = None
        for _ in range(POSITION_PAGES_MAX):
            try:
                page = self._service.deals(
                    self._target, position_id, cursor=cursor, deadline=self._deadline, retries=self._retries
                )
            except ServiceFailure as error:
                if error.failure.code is Code.IDENTITY_MISMATCH:
                    raise
                return None
            deals += page.deals
            cursor = page.next_cursor
            if cursor is None:
                return tuple(deals)
        return ()

    def _ask(self, wanted: Sequence[str]) -> None:
        """What the service knows of symbols joins the answers."""
        names = wanted[:SYMBOLS_MAX]
        facts = self._facts(names)
        if facts is not None:
            self._change(facts=facts, asked=self.answers.asked.union(names))

    def _facts(self, names: Sequence[str]) -> tuple[SymbolFacts, ...] | None:
        """What the service knows of symbols; None: it did not answer, so that nothing was asked."""
        if not names:
            return ()
        try:
            return self._service.symbols(self._target, names, deadline=self._deadline)
        except ServiceFailure as error:
            if error.failure.code is Code.IDENTITY_MISMATCH:
                raise
            return None

    # --- notes --------------------------------------------------------------------------------------------------------

    def _discard(self, failure: StepFailure) -> None:
        """An answer was about another account: nothing of this run counts."""
        kept = self.answers
        self.answers = Answers(
            claimed=kept.claimed,
            started_at=kept.started_at,
            started=kept.started,
            failures={failure.step: failure},
            notes=kept.notes,
        )

    def _change(self, **values: object) -> None:
        self.answers = replace(self.answers, **values)  # type: ignore[arg-type]

    def _fail(self, failure: StepFailure) -> None:
        self._change(failures={**self.answers.failures, failure.step: failure})

    def _note(self, step: Step, ms: int, attempts: int = 1, rows: int = 0) -> None:
        self._change(notes={**self.answers.notes, step: StepNote(ms=ms, attempts=attempts, rows=rows)})

    def _ms(self, began: float) -> int:
        return int((self._time.monotonic() - began) * 1000)


def _failure(code: Code) -> StepFailure:
    return StepFailure(step=Step.HISTORY, code=code, text=TEXTS[code])
