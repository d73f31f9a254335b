"""Nouns between the room's use cases and its tables: claims, what is read of an account, what is written of it.

Everything is frozen and pure. Ids are uuid texts. ``LONG_AGO`` and ``NEVER`` stand for the infinite instants of
``account_sync_state.next_due_at``: due since ever, and not scheduled at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from fillbook.mt5.model import (
    Account,
    AccountState,
    CashOperation,
    DealVersion,
    Info,
    ServerRule,
    SymbolFacts,
    Trade,
    Window,
)
from fillbook.mt5.revisions import Missed
from fillbook.mt5.words import (
    CashResult,
    Code,
    ConnectionStatus,
    GapCause,
    SyncStatus,
    SyncType,
)
from fillbook.runtime.errors import FillbookError
from fillbook.values import frozen


class StaleLease(FillbookError):
    """Another worker holds the account: nothing of this one's is written."""

    def __init__(self, account_id: str) -> None:
        super().__init__("stale_lease", f"account {account_id}")


LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
NEVER: Final = datetime.max.replace(tzinfo=UTC)

# --- claims -----------------------------------------------------------------------------------------------------------


@frozen
class Claimed:
    """An account that this worker holds. ``state.lease_token`` is the fence of everything it writes.

    ``is_rule_measured``: an answer of the server was taken in before, so that ``rule`` is more than the guess of linking.
    """

    account: Account
    state: AccountState
    rule: ServerRule
    is_rule_measured: bool

    @property
    def account_id(self) -> str:
        """The account."""
        return self.account.account_id

    @property
    def lease_token(self) -> int:
        """The fence."""
        return self.state.lease_token


@frozen
class Unclaimed:
    """An account that was asked for and not claimed: ``done`` in this run, ``leased`` (by ``lease_run_id``), or ``inactive``."""

    account_id: str
    reason: str
    lease_run_id: str | None = None

    @property
    def is_being_written(self) -> bool:
        """Somebody holds its row right now; whose lease that will have been is not to be seen yet."""
        return self.reason == "leased" and self.lease_run_id is None


@frozen
class Claims:
    """What a claim brought, in the order asked."""

    claimed: tuple[Claimed, ...] = ()
    unclaimed: tuple[Unclaimed, ...] = ()


@frozen
class ByHand:
    """What a claim by hand came to: ``claimed``, ``not_found``, ``leased``, ``cooling`` or ``needs_reauth``."""

    outcome: str
    claimed: Claimed | None = None
    lease_run_id: str | None = None
    retry_after_seconds: int | None = None


# --- what is read of an account ---------------------------------------------------------------------------------------


@frozen
class CashAsked:
    """What a cash check is to be computed of: deals from the floor up to ``at_msc``, those within ``near_ms`` one by one."""

    at_msc: int
    floor_msc: int | None = None
    near_ms: int = 1_000


@frozen
class Wanted:
    """What an answer about an account touches.

    ``tickets``: deal tickets in it · ``told``: further ones, with position and hash of content (``revisions.content_hash``): only
    what is stored otherwise is read of them · ``position_ids``: positions of the deals among ``tickets`` and of its snapshot ·
    ``symbols``: names beside those of stored deals and trades · ``windows``: spans that were read completely, in which stored
    deals that were not told are missing · ``spans``: repeated hours of the server clock, of which every ticket is needed.
    """

    tickets: Sequence[int] = ()
    told: Mapping[int, tuple[int, bytes]] = field(default_factory=dict)
    position_ids: Sequence[int] = ()
    symbols: Sequence[str] = ()
    windows: Sequence[Window] = ()
    spans: Sequence[Window] = ()
    cash: CashAsked | None = None


@frozen
class CountedDeal:
    """A deal as far as a cash check needs it; ``amount`` = profit + commission + swap + fee."""

    deal_ticket: int
    time_msc: int
    deal_type: int
    amount: Decimal


@frozen
class CashFound:
    """Stored deals that count, from the floor on: sums of those ``near_ms`` and more before the moment, and those near it.

    ``bonus`` and ``credit`` are the sums of deal types 6 and 3, ``amount`` that of all others; ``first``: the earliest of all.
    """

    amount: Decimal
    bonus: Decimal
    credit: Decimal
    near: tuple[CountedDeal, ...] = ()
    first: CountedDeal | None = None


@frozen
class Gap:
    """A span of the server clock whose deals are not proven whole; (``from_msc``, ``opened_at``) is its key in the account."""

    from_msc: int
    to_msc: int
    opened_at: datetime
    cause: GapCause


@frozen
class CashCheckRow:
    """A row of ``mt5.cash_checks``; ``gap`` = balance - expected."""

    checked_at: datetime
    balance: Decimal
    expected: Decimal | None
    gap: Decimal | None
    result: CashResult


@frozen
class Loaded:
    """What stands around an answer, read under the account's fence.

    ``account``, ``state`` and ``rule`` are newer than those of the claim: what is written is computed from these.
    ``deals``: every revision. ``same``: tickets told whose newest revision says just that and counts; they are not among
    ``deals``, unless their position was asked for. ``missing``: tickets inside the windows asked that count and were not told.
    ``clocks``: ticket to server clock, inside the spans asked.
    """

    account: Account
    state: AccountState
    rule: ServerRule
    is_rule_measured: bool
    symbols: Mapping[str, SymbolFacts]
    same: frozenset[int]
    deals: tuple[DealVersion, ...]
    trades: tuple[Trade, ...]
    missing: tuple[int, ...]
    missed: tuple[Missed, ...]
    clocks: Mapping[int, int]
    gaps: tuple[Gap, ...]
    last_check: CashCheckRow | None
    cash: CashFound | None


# --- what is written of an account ------------------------------------------------------------------------------------


@frozen
class Outcome:
    """How one account's run ended: a row of ``sync_logs`` (when ``is_logged``) and a count in ``sync_hours``.

    ``log_id`` derives from run and account (``ids.log_id``); ``trades_synced`` is counted by the database where it writes trades.
    ``steps``: outcome, code, milliseconds, attempts and rows by step.
    """

    log_id: str
    sync_type: SyncType
    started_at: datetime
    completed_at: datetime
    status: SyncStatus
    duration_ms: int
    error_code: Code | None = None
    error_message: str | None = None
    attempts: int = 1
    steps: Mapping[str, Any] = field(default_factory=dict)
    is_logged: bool = True


@frozen
class AccountUpdate:
    """The columns of ``trading_accounts`` that a run owns. ``info`` None: it did not come, balances stay as they are.

    Instants of None stay as they are; the others are written as given.
    """

    info: Info | None
    info_at: datetime | None
    positions_at: datetime | None
    last_sync_at: datetime | None
    last_successful_sync_at: datetime | None
    sync_failure_count: int
    last_error_code: Code | None
    last_connection_error: str | None
    connection_status: ConnectionStatus


@frozen
class AccountWork:
    """Everything one transaction writes of an account. ``outcome`` None: pages are kept, the account's work goes on.

    ``state`` is the whole new state, but for its lease: the watermark never falls, and an outcome ends the lease.
    ``missed`` None: no complete read happened, what was missing stays so; else every deal that is missing now.
    """

    account_id: str
    lease_token: int
    run_id: str
    account: AccountUpdate
    state: AccountState
    deals: Sequence[DealVersion] = ()
    trades: Sequence[Trade] = ()
    trades_removed: Sequence[tuple[int, int]] = ()
    cash_operations: Sequence[CashOperation] = ()
    cash_removed: Sequence[int] = ()
    cash_check: CashCheckRow | None = None
    missed: Sequence[Missed] | None = None
    gaps_opened: Sequence[Gap] = ()
    gaps_closed: Sequence[Gap] = ()
    symbols: Sequence[SymbolFacts] = ()
    outcome: Outcome | None = None


@frozen
class Applied:
    """What a transaction really wrote; ``trades_changed`` counts trades inserted, changed or removed."""

    deals_inserted: int
    trades_changed: int
    cash_changed: int


@frozen
class Unchanged:
    """An account whose answer is what is stored already. ``history_until_msc`` None: the watermark stays."""

    account_id: str
    lease_token: int
    next_due_at: datetime
    outcome: Outcome
    history_until_msc: int | None = None


@frozen
class Skipped:
    """An account that was not tried. ``lease_token`` None: never claimed; ``next_due_at`` None: as due as it was."""

    account_id: str
    outcome: Outcome
    lease_token: int | None = None
    next_due_at: datetime | None = None


# --- how an account's run ended ---------------------------------------------------------------------------------------
