"""The catalogue: every rule the room can name, and every reason it can give, in plain words.

A rule is an id, a slug and one sentence with the placeholders ``{value}`` and ``{limit}``; the page and the operator read
why something happened, or did not, from these sentences and from stored values alone. A reason is a slug with words for
people, and a neutral form for when the outcome must not sound like a gain (``notify`` replaces the first by the second when
the amount is not positive). No rule is decided here. Pure and light: ``notify`` imports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from fillbook.money import plain


class Rule(NamedTuple):
    """``id`` as in the specification, ``slug`` for machines, ``sentence`` for people."""

    id: str
    slug: str
    sentence: str


class Reason(NamedTuple):
    """Words for people; ``neutral`` says the same without a word of gain."""

    words: str
    neutral: str


_RULES: Final = (
    Rule("P0", "price_unconfirmed", "Price moved {value} %, more than {limit} %: it needs a second print before any rule runs."),
    Rule("D1", "incomplete", "State or one of the two blends is missing, so nothing but the price is known."),
    Rule("D2", "late_cycle", "The daily move is late (phase or zone {value}, late from {limit}) and the momentum is not elite."),
    Rule("D3", "entry", "Entry path {value} matched, the gate held and the book had room."),
    Rule("D4", "just_flipped", "Momentum entered its corridor {value} minutes ago, at most {limit}."),
    Rule("D5", "flip_watch", "Almost ready: {value}."),
    Rule("D6", "setup_watch", "A setup inside its corridor."),
    Rule("D7", "recently_closed", "A position here closed {value} hours ago, at most {limit}."),
    Rule("D8", "watch", "Nothing else fits: the ticker is watched."),
    Rule("M1", "sl_breached", "Price {value} is at or beyond the stop {limit}."),
    Rule("M2", "max_loss", "Profit and loss {value} % is at or below {limit} %."),
    Rule("M3", "tp_full", "Price {value} is at or through the last target {limit}."),
    Rule("M4", "invalidated", "The move broke: {value} % against its anchor, {limit} % allowed."),
    Rule("M5", "flip", "The other side has an entry path ({value}) and passes the gate."),
    Rule("M6", "tp_hit", "Price {value} is at or through the target {limit}."),
    Rule("M7", "near_tp", "Close to the first target: {value}, limit {limit}."),
    Rule("M8", "warning", "Warning: {value}."),
    Rule("M9", "scale_in", "All scale-in rules hold on path {value}."),
    Rule("M10", "just_entered", "The position is {value} minutes old, new below {limit}."),
    Rule("M11", "hold", "The position is held; nothing asks for action."),
    Rule("E1", "corridor_momentum", "Momentum in the corridor: score {value}, needed {limit}."),
    Rule("E2", "elite_momentum", "Elite momentum: score {value}, needed {limit}."),
    Rule("E3", "strong_momentum", "Strong blends on both time frames: {value}, needed {limit}."),
    Rule("E4", "squeeze_momentum", "Squeeze released in the corridor: score {value}, needed {limit}."),
    Rule("E5", "cross_momentum", "One-hour cross or dip in the corridor: score {value}, needed {limit}."),
    Rule("E6", "flip_setup", "A watched flip in the corridor: score {value}, needed {limit}."),
    Rule("E7", "squeeze_setup", "Squeeze released on a setup: score {value}, needed {limit}."),
    Rule("G01", "tradable", "{value} must be tradable here: no future, not on the list of what is not traded."),
    Rule("G02", "session", "The session is {value}; entries happen in {limit}."),
    Rule("G03", "stop_and_target_known", "Stop and farthest target must both be known; known: {value}."),
    Rule("G04", "sides", "Stop and target must lie on their own sides of the price; wrong: {value}."),
    Rule("G05", "in_corridor", "The lower blend {value} must be inside its corridor {limit}."),
    Rule("G06", "trigger", "Something must have started the move; found: {value}."),
    Rule("G07", "fresh", "The start must be fresh; found: {value}."),
    Rule("G08", "move_active", "The move must be {limit}; it is {value}."),
    Rule("G09", "regime", "Daily cloud and Ichimoku must not stand against the side."),
    Rule("G10", "not_late", "The daily move must not be late unless the momentum is elite."),
    Rule("G11", "score", "Score {value} must be at least {limit}."),
    Rule("G12", "reward_risk", "Reward to risk {value} must be at least {limit}."),
    Rule("G13", "completion", "Completion {value} must be at most {limit}."),
    Rule("G14", "phase", "Phase {value} must be at most {limit}."),
    Rule("G15", "cooldown", "{value} minutes have passed since the last action here; {limit} are needed."),
    Rule("G16", "new_cycle", "The cycle {value} must not have been entered before."),
    Rule("L0", "book_executions", "Booking of new positions is switched off."),
    Rule("L1", "sector_limit", "{value} positions are open in the sector; fewer than {limit} are allowed."),
    Rule("L2", "side_limit", "{value} positions are open on this side; fewer than {limit} are allowed."),
    Rule("L3", "daily_entries", "{value} entries were made today; fewer than {limit} are allowed."),
    Rule("L4", "buying_power", "Buying power {value} must be at least {limit}."),
    Rule("A1", "add_gate", "An add needs a path and the gate on the same side; missing: {value}."),
    Rule("A2", "adds_left", "{value} adds were made; fewer than {limit} are allowed."),
    Rule("A3", "add_new_cycle", "The cycle {value} must be new to this position."),
    Rule("A4", "in_favour", "Price must be {limit} in favour (percent or ATR); it is {value}."),
    Rule("A5", "stop_on_loss_side", "The stop {value} must lie on the loss side of the price {limit}."),
    Rule("A6", "add_gap", "{value} minutes have passed since the last buy; {limit} are needed."),
    Rule("A7", "no_tier_taken", "{value} targets were taken; an add needs none."),
    Rule("A8", "add_value", "Room for {value} more in this position; at least {limit} is needed."),
    Rule("S1", "stop_to_average", "First target taken: stop to the average price {value}, from {limit}."),
    Rule("S2", "stop_to_first_target", "Second target taken: stop to the first target {value}, from {limit}."),
    Rule("S3", "stop_trails", "Most of the position is closed: stop trails to {value}, from {limit}."),
    Rule("S4", "stop_break_even", "The trade works: stop to {value}, from {limit}."),
)  # fmt: skip

RULES: Final[Mapping[str, Rule]] = {rule.id: rule for rule in _RULES}

# The keys of a profile that a rule reads, as paths; a path stands for everything below it.
PROFILE_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "P0": ("price_guard",),
    "D2": ("late",),
    "D4": ("just_flipped_min", "corridor"),
    "D5": ("flip_watch",),
    "D6": ("corridor",),
    "D7": ("archive_hours",),
    "M1": ("session.stop_hits", "stop"),
    "M2": ("exit.max_adverse_pct", "session.stop_hits"),
    "M3": ("tiers", "session.target_hits"),
    "M4": (
        "exit.anchor_breach_pct",
        "exit.corridor_adverse_pct",
        "exit.min_age_min",
        "exit.confirm_receipts",
        "session.signal_exits",
    ),
    "M5": ("exit.min_age_min", "exit.confirm_receipts", "session.signal_exits"),
    "M6": ("tiers", "trim.cooldown_min", "session.target_hits", "instruments.quantity_step"),
    "M7": ("trim", "tiers", "session.signal_exits"),
    "M8": ("exit.warn_behind_pct", "exit.warn_adverse_pct", "late", "corridor"),
    "M9": ("scale_in", "session.entries"),
    "M10": ("just_entered_min",),
    "E1": ("paths.corridor_score", "corridor"),
    "E2": ("paths.elite",),
    "E3": ("paths.strong",),
    "E4": ("paths.squeeze", "corridor"),
    "E5": ("paths.cross", "corridor"),
    "E6": ("paths.flip", "flip_watch", "corridor"),
    "E7": ("paths.setup_squeeze", "corridor"),
    "G01": ("instruments",),
    "G02": ("session.entries", "session.calendar"),
    "G05": ("corridor",),
    "G06": ("entry.fresh_min", "entry.max_trigger_age_min", "flip_watch"),
    "G07": ("entry.fresh_min", "entry.from_setup_min", "entry.max_trigger_age_min", "flip_watch"),
    "G08": ("exit.anchor_breach_pct", "exit.max_adverse_pct"),
    "G10": ("late",),
    "G11": ("entry.score",),
    "G12": ("entry.rr",),
    "G13": ("entry.completion",),
    "G14": ("entry.phase",),
    "G15": ("entry.cooldown_min", "entry.cooldown_after_entry_min", "entry.cooldown_after_loss_min"),
    "L1": ("limits.per_sector",),
    "L2": ("limits.per_side",),
    "L3": ("limits.entries_per_day",),
    "L4": ("size.min", "size.start_cash", "instruments.quantity_step"),
    "A2": ("scale_in.max_adds",),
    "A4": ("scale_in.min_favour_pct", "scale_in.min_favour_atr"),
    "A6": ("scale_in.min_gap_min",),
    "A8": ("scale_in.max_notional_x", "size.min"),
    "S1": ("stop.keep_off_price_pct", "stop.min_step_pct"),
    "S2": ("stop.keep_off_price_pct", "stop.min_step_pct", "tiers"),
    "S3": ("stop", "tiers"),
    "S4": ("stop",),
}

# The keys behind the size of an action, where no rule was decided otherwise.
SIZE_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "ENTRY": ("size", "instruments.quantity_step"),
    "ADD_ENTRY": ("size", "scale_in.max_notional_x", "instruments.quantity_step"),
    "TRIM": ("tiers", "instruments.quantity_step"),
    "EXIT": (),
}

# Why a rule that holds was not allowed to act yet, or why one that failed matters (``Block.why``).
WHYS: Final[Mapping[str, str]] = {
    "gate": "the entry gate refused",
    "limit": "the book has no room",
    "add": "the scale-in rules refused",
    "session": "it waits for the regular session",
    "age": "the position is too young",
    "cooldown": "it came too soon after the last one",
    "confirm": "it waits for a second receipt",
    "too_small": "nothing is left after rounding down",
}

REASONS: Final[Mapping[str, Reason]] = {
    "corridor_momentum": Reason("momentum in its corridor", "momentum in its corridor"),
    "elite_momentum": Reason("elite momentum", "elite momentum"),
    "strong_momentum": Reason("strong momentum on both time frames", "strong momentum on both time frames"),
    "squeeze_momentum": Reason("squeeze released with momentum", "squeeze released with momentum"),
    "cross_momentum": Reason("one-hour cross with momentum", "one-hour cross with momentum"),
    "flip_setup": Reason("a watched flip turned", "a watched flip turned"),
    "squeeze_setup": Reason("squeeze released on a setup", "squeeze released on a setup"),
    "scale_in": Reason("added in the direction of the move", "added in the direction of the move"),
    "tp_hit": Reason("price target reached", "price level reached"),
    "near_tp": Reason("close to its first target", "close to its first price level"),
    "tp_full": Reason("last price target reached", "last price level reached"),
    "sl_breached": Reason("stop reached", "stop reached"),
    "max_loss": Reason("largest allowed loss reached", "largest allowed loss reached"),
    "invalidated": Reason("the move broke down", "the move broke down"),
    "flip": Reason("the other side took over", "the other side took over"),
    "closed_elsewhere": Reason("closed by another path", "closed by another path"),
    "incomplete": Reason("the receipt is incomplete", "the receipt is incomplete"),
    "late_cycle": Reason("the daily move is late", "the daily move is late"),
    "blocked": Reason("wanted, but blocked", "wanted, but blocked"),
    "corridor": Reason("momentum just entered its corridor", "momentum just entered its corridor"),
    "flip_points": Reason("close to a flip", "close to a flip"),
    "setup": Reason("a setup in its corridor", "a setup in its corridor"),
    "default": Reason("nothing special", "nothing special"),
    "age": Reason("just entered", "just entered"),
    "behind_anchor": Reason("price fell behind its anchor", "price fell behind its anchor"),
    "daily_regime_break": Reason(
        "price is on the wrong side of the daily cloud", "price is on the wrong side of the daily cloud"
    ),
    "ichimoku_regime_break": Reason("daily and weekly Ichimoku are against it", "daily and weekly Ichimoku are against it"),
    "overextended": Reason("nearly at its farthest target", "nearly at its farthest price level"),
    "left_corridor": Reason("left its corridor against us", "left its corridor against us"),
    "adverse_warning": Reason("moving against us", "moving against us"),
}

CLOSED_PREFIX: Final = "closed:"


def slug_of(rule: str) -> str:
    """The slug of a rule id; ``KeyError`` for an id that is not in the catalogue."""
    return RULES[rule].slug


def keys_of(rule: str) -> tuple[str, ...]:
    """Paths of the profile keys that a rule reads; none for a rule without a threshold."""
    return PROFILE_KEYS.get(rule, ())


def sentence_of(rule: str, value: Any, limit: Any) -> str:
    """The rule's sentence with what was compared; unknown is said as ``unknown``."""
    return RULES[rule].sentence.format(value=_say(value), limit=_say(limit))


def reason_words(slug: str, *, neutral: bool = False) -> str:
    """A reason in plain words: a slug of the catalogue, a path id, ``closed:<slug>``, else the slug spelled out."""
    if slug.startswith(CLOSED_PREFIX):
        return f"closed: {reason_words(slug.removeprefix(CLOSED_PREFIX), neutral=neutral)}"
    reason = REASONS.get(RULES[slug].slug if slug in RULES else slug)
    if reason is None:
        return slug.replace("_", " ")
    return reason.neutral if neutral else reason.words


def _say(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, tuple | list):
        return " to ".join(_say(item) for item in value)
    return str(value)
