"""What a service said of one account in one run, as far as it came: the input of the closing piece.

Everything is frozen and pure. A step that failed has its failure here, never an empty list in place of an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import datetime

from fillbook.mt5.history import PAGES_PER_COMMIT, Reading
from fillbook.mt5.known import Told
from fillbook.mt5.model import Deal, Head, Info, OpenPosition, PairedTrade, StepFailure, SymbolFacts, Window
from fillbook.mt5.records import Claimed
from fillbook.mt5.trades import View
from fillbook.mt5.words import Code, Step
from fillbook.values import frozen


@frozen
class Read:
    """A window as far as it was read. ``deals``, ``paired``: rows not written yet; ``tickets``: all rows read of it in this run.

    ``was_kept``: some of its pages were written before; ``tickets`` are then those of the rest alone, ``rows`` counts all.
    ``told``, ``later``: as its only page has them; with ``later`` neither ``deals`` nor ``tickets`` are there yet.
    """

    reading: Reading
    deals: tuple[Deal, ...] = ()
    paired: tuple[PairedTrade, ...] = ()
    tickets: frozenset[int] = frozenset()
    is_paired: bool = False
    was_kept: bool = False
    rows: int = 0
    told: Told | None = None
    later: Callable[[], tuple[Deal, ...]] | None = None

    @property
    def window(self) -> Window:
        """What was asked for."""
        return self.reading.window

    @property
    def is_whole_here(self) -> bool:
        """Whether absence from it means anything."""
        return self.reading.is_whole and not (self.reading.is_resumed or self.is_paired or self.was_kept)

    @property
    def is_resumable(self) -> bool:
        """Whether enough of an unfinished window was read that the next run goes on inside it."""
        return not self.reading.is_whole and self.reading.cursor is not None and self.reading.count >= PAGES_PER_COMMIT


@frozen
class StepNote:
    """How a step went: what ``sync_logs.steps`` says of it."""

    ms: int
    attempts: int = 1
    rows: int = 0


@frozen
class Needs:
    """What the closing of an account still wants to be read: whole lives of positions, facts of symbols."""

    positions: tuple[int, ...] = ()
    symbols: tuple[str, ...] = ()


@frozen
class Late:
    """Positions that are told again, more than the transaction of the answers should hold: to be told before it, in batches.

    ``facts`` of symbols, by name, are known for them.
    """

    positions: frozenset[int]
    facts: Mapping[str, SymbolFacts]


@frozen
class Answers:
    """One account's answers. ``head``: of the snapshot, its server time always filled in; None: neither of its parts came.

    ``has_told_clock``: the service told its server's clock itself. ``history`` holds what came even where the step failed.
    ``lives``: whole lives of positions; ``facts``: of the symbols ``asked`` about. ``is_kept``: pages are written, the account's
    work goes on. ``crash``: our own code broke; nothing of the rest counts. ``stuck``: windows whose pages cannot be completed,
    however often one goes on; ``refused``: a part of the past that the service does not let be read.
    """

    claimed: Claimed
    started_at: datetime
    started: float
    head: Head | None = None
    has_told_clock: bool = False
    info: Info | None = None
    positions: tuple[OpenPosition, ...] | None = None
    history: Read | None = None
    chunks: tuple[Read, ...] = ()
    lives: Mapping[int, tuple[Deal, ...]] = field(default_factory=dict)
    facts: tuple[SymbolFacts, ...] = ()
    asked: frozenset[str] = frozenset()
    failures: Mapping[Step, StepFailure] = field(default_factory=dict)
    notes: Mapping[Step, StepNote] = field(default_factory=dict)
    stuck: tuple[Window, ...] = ()
    refused: Window | None = None
    is_kept: bool = False
    crash: str | None = None

    @property
    def at_msc(self) -> int | None:
        """The moment on the server clock that the snapshot describes."""
        if self.head is None or self.head.server_time_msc is None:
            return None
        return self.head.server_time_msc - self.head.cache_age_ms

    @property
    def view(self) -> View | None:
        """The open positions, where they came completely."""
        if self.positions is None or self.at_msc is None or self.is_kept:
            return None
        return View.of(self.at_msc, self.positions)

    @property
    def is_mismatch(self) -> bool:
        """Whether an answer was about another account: then nothing counts."""
        return any(failure.code is Code.IDENTITY_MISMATCH for failure in self.failures.values())

    @property
    def is_deferred(self) -> bool:
        """Whether the service asked for a pause that is longer than the run may wait."""
        return any(failure.code is Code.RATE_LIMITED for failure in self.failures.values())

    @property
    def has_history(self) -> bool:
        """Whether the history step brought what it was to bring in this run."""
        return self.history is not None and Step.HISTORY not in self.failures

    @property
    def has_data(self) -> bool:
        """Whether anything came that is to be stored."""
        came = self.info is not None or self.positions is not None or self.history is not None
        return came and not self.is_mismatch and self.crash is None

    @property
    def reads(self) -> tuple[Read, ...]:
        """The windows, forward first."""
        return (() if self.history is None else (self.history,)) + self.chunks

    @property
    def deals(self) -> tuple[Deal, ...]:
        """Every deal that came and is not written yet."""
        lives = tuple(deal for life in self.lives.values() for deal in life)
        return tuple(deal for read in self.reads for deal in read.deals) + lives

    @property
    def paired(self) -> tuple[PairedTrade, ...]:
        """Every paired trade that came."""
        return tuple(pair for read in self.reads for pair in read.paired)

    @property
    def is_paired(self) -> bool:
        """Whether the service tells trades instead of deals."""
        return any(read.is_paired for read in self.reads)


def emptied(heard: Answers) -> Answers:
    """The answers without anything that came."""
    return Answers(
        claimed=heard.claimed,
        started_at=heard.started_at,
        started=heard.started,
        failures=heard.failures,
        notes=heard.notes,
    )
