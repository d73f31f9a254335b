"""Lanes of a ticker without a position: D1..D8, first match wins (specification 3.4).

Called a second time with ``refusals`` when the book had no room: the same rules then find the next lane that fits, so that
enter_now is never shown without its entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from fillbook.signal.model import Block, Check, Desk, Receipt, new
from fillbook.signal.profile import Profile
from fillbook.signal.reading import Reading
from fillbook.signal.rules import CLOSED_PREFIX
from fillbook.signal.sessions import HOUR_MS, MINUTE_MS
from fillbook.signal.verdict import Entry, Verdict, enter, failed


class _Seen(NamedTuple):
    receipt: Receipt
    reading: Reading
    entry: Entry
    desk: Desk
    config: Profile
    refusals: tuple[Block, ...]


def discover(
    receipt: Receipt, reading: Reading | None, entry: Entry | None, desk: Desk, config: Profile, refusals: tuple[Block, ...] = ()
) -> Verdict:
    """The verdict for a ticker without a position; an incomplete receipt has neither reading nor entry."""
    if reading is None or entry is None:
        missing = ",".join(name for name in ("state", "htf_score", "ltf_score") if getattr(receipt, name) is None)
        check = Check("D1", missing, "missing", None, True)
        return Verdict("D1", "watch", "incomplete", check, checks=(check,))
    seen = _Seen(receipt, reading, entry, desk, config, refusals)
    for rule in _RULES:
        verdict = rule(seen)
        if verdict is not None:
            break
    else:
        raise AssertionError("D8 always matches")
    blocks = () if verdict.intents else (*failed(entry.gate, "gate"), *refusals)
    rule_id, lane, reason, check, _, intents, *_ = verdict
    return new(Verdict, (rule_id, lane, reason, check, entry.path, intents, blocks, (), (*entry.paths, *entry.gate, check), ()))


def _late(seen: _Seen) -> Verdict | None:
    if not seen.reading.late or seen.reading.elite:
        return None
    phase = seen.receipt.phase_pct
    by_phase = phase is not None and phase >= seen.config.late.phase
    value, limit = (phase, seen.config.late.phase) if by_phase else (seen.receipt.phase_zone, seen.config.late.zones)
    return Verdict("D2", "archive", "late_cycle", Check("D2", value, "late", limit, True))


def _entry(seen: _Seen) -> Verdict | None:
    path = seen.entry.path
    if path is None or seen.refusals or not seen.entry.passes:
        return None
    intent = enter(seen.receipt, seen.reading, seen.entry)
    return Verdict("D3", "enter_now", path, Check("D3", path, "path_and_gate", True, True), intents=(intent,))


def _just_flipped(seen: _Seen) -> Verdict | None:
    reading, since = seen.reading, seen.reading.market.corridor_since
    if not (reading.momentum and reading.corridor) or since is None:
        return None
    age = seen.receipt.ts - since
    if age > seen.config.just_flipped_min * MINUTE_MS:
        return None
    check = Check("D4", age // MINUTE_MS, "<=", seen.config.just_flipped_min, True)
    return Verdict("D4", "just_flipped", "corridor" if seen.entry.path is None else "blocked", check)


def _almost(seen: _Seen) -> Verdict | None:
    """A path that something refused, or a flip watch: in both cases only little is missing."""
    if seen.entry.path is not None:
        return Verdict("D5", "flip_watch", "blocked", Check("D5", seen.entry.path, "path_refused", True, True))
    if not seen.reading.flip_watch:
        return None
    # Within the sticky time the points of this very receipt may be lower: then the value says so and the watch still holds.
    check = Check("D5", seen.reading.flip_points, "flip_watch", seen.config.flip_watch.min, True)
    return Verdict("D5", "flip_watch", "flip_points", check)


def _setup(seen: _Seen) -> Verdict | None:
    if seen.reading.momentum or not seen.reading.corridor:
        return None
    return Verdict("D6", "setup_watch", "setup", Check("D6", seen.receipt.ltf_score, "corridor", True, True))


def _recently_closed(seen: _Seen) -> Verdict | None:
    closed, hours = seen.desk.last_close_ts, seen.config.archive_hours
    if closed is None or seen.receipt.ts - closed > hours * HOUR_MS:
        return None
    check = Check("D7", (seen.receipt.ts - closed) // HOUR_MS, "<=", hours, True)
    return Verdict("D7", "archive", f"{CLOSED_PREFIX}{seen.desk.last_close_reason}", check)


def _otherwise(_: _Seen) -> Verdict | None:
    return Verdict("D8", "watch", "default", _OTHERWISE)


_OTHERWISE: Final = Check("D8", None, "otherwise", None, True)
_RULES: Final[tuple[Callable[[_Seen], Verdict | None], ...]] = (
    _late,
    _entry,
    _just_flipped,
    _almost,
    _setup,
    _recently_closed,
    _otherwise,
)
