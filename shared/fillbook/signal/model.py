"""Nouns of the room ``signal``: what a receipt says, what is remembered of a ticker, what was decided and why.

Everything here is frozen and pure. Two shapes are used on purpose. Values made for every receipt (``Receipt``,
``TickerState`` and its parts, ``Check``, ``Block``, ``Decision``) are ``NamedTuple``s: a replayed day makes 60,000 of each,
and a tuple is built eight times faster than a frozen dataclass. Values made for an action are frozen dataclasses.

Units: ``ts`` and every ``*_ts`` are milliseconds UTC as sent (int); prices, scores and quantities are ``Decimal``; unknown
is ``None``. A float never enters. Source of every field: specification ``signals``, sections 1.3, 2.2, 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from fillbook.values import frozen

# ``new(Kind, (…))``: a NamedTuple of all its fields in order, past its constructor, which is a function in Python and costs more
# than the tuple. Only for what is made of every receipt: twenty such values were a tenth of a replay.
new: Final = tuple.__new__

LONG: Final = "LONG"
SHORT: Final = "SHORT"

ENTER: Final = "enter"
ADD: Final = "add"
TRIM: Final = "trim"
EXIT: Final = "exit"

# Enum order of the board (specification 3.4).
LANES: Final = (
    "watch", "setup_watch", "flip_watch", "just_flipped", "enter_now", "just_entered", "hold", "trim", "exit", "archive",
)  # fmt: skip
ACTING_LANES: Final = frozenset({"enter_now", "trim", "exit"})
POSITION_LANES: Final = frozenset({"enter_now", "just_entered", "hold", "trim"})
BADGES: Final = ("defend", "exit_pending", "price_unconfirmed", "no_plan")

FLAG_NAMES: Final = (
    "sq30_on", "sq30_release", "phase_dot", "phase_zone_change", "momentum_elite", "ema_cross_1h_13_48", "st_flip_1h",
    "st_flip_30m", "st_flip_10m", "st_flip_3m", "buyable_dip_1h_13_48", "sq10_release", "sq3_release",
    "ema_cross_10m_13_48", "ema_cross_3m_13_48",
)  # fmt: skip
STATES: Final = ("HTF_BULL_LTF_BULL", "HTF_BEAR_LTF_BEAR", "HTF_BULL_LTF_PULLBACK", "HTF_BEAR_LTF_PULLBACK")
ZONES: Final = ("LOW", "MEDIUM", "HIGH", "EXTREME")


class Receipt(NamedTuple):
    """The fields of one stored receipt that the rules read, typed; this order is the order of the decision input.

    Texts, lists and objects that were absent, null or empty are ``None`` (they count as missing in the data share).
    Reduced at decoding, because nothing else of them is read on every receipt: ``triggers`` are counted by direction
    (bull, bear, neutral), stacks are the sum of the six signs and how many were known, ``target_high`` and ``target_low``
    are the extremes of ``tp`` and all level prices. ``levels`` stays packed text (``levels.unpack``): only an entry reads it.
    """

    receipt_id: str
    payload_hash: str
    ticker: str
    ts: int
    time_close: int | None
    script_version: str
    sector: str | None
    price: Decimal
    htf_score: Decimal | None
    ltf_score: Decimal | None
    state: str | None
    completion: Decimal | None
    phase_pct: Decimal | None
    phase_zone: str | None
    trigger_ts: int | None
    trigger_price: Decimal | None
    trigger_reason: str | None
    trigger_dir: str | None
    triggers: tuple[int, int, int]
    sl: Decimal | None
    target_high: Decimal | None
    target_low: Decimal | None
    levels: str | None
    flags: frozenset[str] | None
    cloud_position: str | None
    cloud_upper: Decimal | None
    cloud_lower: Decimal | None
    ichimoku_d: str | None
    ichimoku_w: str | None
    stack_sum: int
    stack_count: int
    divergence: str | None
    td_boost: Decimal | None


@frozen
class Tier:
    """One target of a plan: close up to ``cum`` of the base quantity at ``price``; ``source`` is a level's label or ``atr``."""

    name: str
    cum: Decimal
    price: Decimal
    source: str


@frozen
class Plan:
    """What an ENTRY froze (4.4). Prices are in the units of the entry; a later split is applied on reading."""

    entry: Decimal
    side: str
    stop: Decimal
    anchor: Decimal
    tp_max: Decimal
    atr: Decimal
    tiers: tuple[Tier, Tier, Tier]
    cycle_key: str
    score: Decimal
    rr: Decimal
    confidence: Decimal
    sector: str | None
    profile: str
    config_digest: str
    script_version: str


@frozen
class PositionFacts:
    """The open position of one ticker: quantities and prices from the ledger (it wins), the rest from its plan row.

    ``base_quantity`` is the sum of all opened quantity, ``quantity`` what is open, ``vwap`` of the remaining lots, all in
    today's split-adjusted units. ``initial_value`` is the ENTRY's value, ``opened_value`` of ENTRY and adds together.
    ``split_factor`` is shares today per share at the ENTRY (ledger: split factor of the entry's lot). ``stop`` is as stored
    in the plan row, that is in units of the entry like ``plan``. ``plan`` is ``None`` when the plan table does not know the
    position. ``tiers_taken`` counts tiers from the nearest (0..3). ``cycles_used`` are cycle keys of ENTRY and adds.
    """

    position_id: str
    side: str
    base_quantity: Decimal
    quantity: Decimal
    vwap: Decimal
    initial_value: Decimal
    opened_value: Decimal
    first_entry_ts: int
    last_buy_ts: int
    adds: int = 0
    tiers_taken: int = 0
    stop: Decimal | None = None
    plan: Plan | None = None
    cycles_used: tuple[str, ...] = ()
    sector: str | None = None
    split_factor: Decimal = Decimal(1)


class Shown(NamedTuple):
    """The lane on the board: since when, why, and the lane that waits to replace it."""

    lane: str | None = None
    reason: str = ""
    since: int | None = None
    pending_lane: str | None = None
    pending_count: int = 0


class Market(NamedTuple):
    """What was observed of the ticker, from complete receipts only.

    ``corridor`` is LONG or SHORT when inside, ``""`` when outside, ``None`` before the first complete receipt;
    ``corridor_since`` and ``momentum_since`` are set only when the change was seen between two complete receipts.
    ``recent``: last 6 (ts, htf, ltf). ``buckets``: (ts, htf) of the first receipt of each 5-minute bucket of the last 4 h.
    """

    state: str | None = None
    momentum_since: int | None = None
    corridor: str | None = None
    corridor_since: int | None = None
    setup_long: int | None = None
    setup_short: int | None = None
    recent: tuple[tuple[int, Decimal, Decimal], ...] = ()
    buckets: tuple[tuple[int, Decimal], ...] = ()
    flip_long_until: int | None = None
    flip_short_until: int | None = None


class Desk(NamedTuple):
    """What the desk did with the ticker, and the exits (rule, count, since) that wait for their second receipt.

    Kept per rule: M4 may stop holding while M5 has held on two receipts running. ``first_entry_ts`` and ``last_buy_ts``
    are those of the open position by receipt ``ts`` (timers use ts; the ledger stamps executions with ``time_close``).
    """

    pending_exits: tuple[tuple[str, int, int], ...] = ()
    cycle_keys: tuple[str, ...] = ()
    last_execution_ts: int | None = None
    last_entry_ts: int | None = None
    last_loss_ts: int | None = None
    last_trim_ts: int | None = None
    last_stop_ts: int | None = None
    last_close_ts: int | None = None
    last_close_reason: str | None = None
    position_id: str | None = None
    first_entry_ts: int | None = None
    last_buy_ts: int | None = None
    split_factor: Decimal = Decimal(1)


class TickerState(NamedTuple):
    """Everything ``decide`` knows of one ticker. ``position`` comes from the ledger and is not part of the stored JSON."""

    version: int = 0
    last_ts: int | None = None
    last_price: Decimal | None = None
    price_pending: Decimal | None = None
    badges: tuple[str, ...] = ()
    shown: Shown = Shown()
    market: Market = Market()
    desk: Desk = Desk()
    position: PositionFacts | None = None


EMPTY_STATE: Final = TickerState()

# A value or a limit in a trace: what was compared, never a float.
Value = Decimal | int | str | bool | None | tuple[Any, ...]


class Check(NamedTuple):
    """One comparison: ``op`` is a sign (>=, <=, >, <, ==) or the name of the fact that must hold; null never holds."""

    rule: str
    value: Value
    op: str
    limit: Value
    holds: bool


class Block(NamedTuple):
    """Why something did not happen.

    ``why``: ``gate``, ``limit``, ``add`` (a rule that failed), ``session``, ``age``, ``cooldown``, ``confirm`` (a rule that
    holds but is not yet allowed), ``too_small`` (nothing left after rounding down).
    """

    rule: str
    why: str
    value: Value
    limit: Value


@frozen
class Freed:
    """What the exit of a flip gives back before its entry is admitted; the facts were read before both."""

    sector: str | None
    cost_basis: Decimal
    realized: Decimal


@frozen
class Intent:
    """What the strategy wants of this receipt. ``ordinal`` (1, 2) makes the fill's source id ``<receipt_id>#<ordinal>``.

    ``kind`` enter, add, trim, exit; ``side`` the position's direction; ``reason`` a slug of the catalogue (``rules.py``).
    ``quantity`` is given for trim and exit; for enter and add ``admit`` finds it. ``value_max`` caps an add (A8).
    """

    kind: str
    ordinal: int
    side: str
    ticker: str
    ts: int
    price: Decimal
    rule: str
    reason: str
    quantity: Decimal | None = None
    tiers_taken: int = 0
    sl: Decimal | None = None
    score: Decimal | None = None
    rr: Decimal | None = None
    confidence: Decimal | None = None
    sector: str | None = None
    cycle_key: str | None = None
    value_max: Decimal | None = None
    freed: Freed | None = None

    @property
    def asks(self) -> bool:
        """Whether the book's facts are needed: true for enter and add."""
        return self.kind in (ENTER, ADD)

    @property
    def opens(self) -> bool:
        """``position_effect`` of the fill: true is ``open`` (enter, add), false is ``close`` (trim, exit)."""
        return self.kind in (ENTER, ADD)


@frozen
class Facts:
    """The book as of the receipt's ts and before its own bookings (4.3).

    equity = start cash + realized; buying_power = equity - open cost basis of both sides; counts of open positions per side
    and in the **intent's** sector (0 when it is unknown); ENTRY actions of this session date; the last price of the profile's
    volatility ticker with its ts, whatever its age (``admit`` judges it); ``book_executions`` is the knob of L0.
    """

    equity: Decimal
    buying_power: Decimal
    open_long: int
    open_short: int
    open_in_sector: int
    entries_today: int
    vix: Decimal | None = None
    vix_ts: int | None = None
    book_executions: bool = True


@frozen
class Admission:
    """Answer to one intent: a quantity (trim and exit: the intent's own), or refusals. ``checks`` is what was compared."""

    ordinal: int
    quantity: Decimal | None
    notional: Decimal | None = None
    refusals: tuple[Block, ...] = ()
    checks: tuple[Check, ...] = ()
    facts: Facts | None = None

    @property
    def granted(self) -> bool:
        """Whether the intent may be booked."""
        return self.quantity is not None


@frozen
class Booked:
    """What the ledger answered for one intent: the action and the position right after it (``*_after`` columns)."""

    ordinal: int
    action_id: str
    action_type: str
    position_id: str
    quantity: Decimal
    price: Decimal
    quantity_after: Decimal
    opened_after: Decimal
    vwap_after: Decimal | None
    realized_pnl: Decimal | None = None
    position_realized_pnl_after: Decimal | None = None


@frozen
class StopMove:
    """A stop was tightened. ``old_stop`` and ``new_stop`` in today's units; ``stored_stop`` in units of the entry (plan row)."""

    position_id: str
    ts: int
    old_stop: Decimal
    new_stop: Decimal
    stored_stop: Decimal
    rule: str


class Decision(NamedTuple):
    """The outcome of one decided receipt; ``state`` is the ticker's next state.

    ``lane`` is the shown one, ``computed_lane`` the raw one, ``previous_lane`` what was shown before (``None``: first
    receipt); a lane move happened when ``lane != previous_lane``. ``side`` is the held side while a position is open, else
    the receipt's. ``intents`` are what was wished, ``action_ids`` what was booked of it. ``mark`` is the price to mark an
    open position with (``None``: the price is unconfirmed). ``account`` holds the facts seen when the book was asked.
    ``context`` is what ``conclude`` continues from and is ``None`` on a concluded decision.
    """

    receipt_id: str
    ticker: str
    ts: int
    version: int
    lane: str
    computed_lane: str
    previous_lane: str | None
    rule: str
    reason: str
    badges: tuple[str, ...]
    side: str | None
    score: Decimal | None
    path: str | None
    blocks: tuple[Block, ...]
    intents: tuple[Intent, ...]
    stop_move: StopMove | None
    inputs: Mapping[str, Value]
    compared: tuple[Check, ...]
    account: Facts | None
    action_ids: tuple[str, ...]
    mark: Decimal | None
    profile: str
    config_digest: str
    state: TickerState
    context: Any = None
