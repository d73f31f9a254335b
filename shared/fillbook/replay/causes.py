"""Why two runs part at a difference: the first cause that fits, with the rule, the limits and the profile key behind it.

Everything is read from what the decisions stored of themselves (``trace.compared``, the account's facts) and from the two
profiles. Which profile keys a rule reads is the catalogue's knowledge (``signal.rules``); no rule is known here. Source:
replay.md 8.

``input``   a receipt is on one side only, or is another one
``start``   the states differ before the ticker's first receipt
``config``  a rule decides differently and its limit differs, or what it reads of the profile does
``facts``   a limit of the book or the quantity differs, and so do the account's facts
``code``    same values and limits, other outcome – but profiles that differ elsewhere are named before code is suspected
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import chain
from typing import Any, Final, NamedTuple

from fillbook.money import plain
from fillbook.replay.compare import QUANTITY, RECEIPT, SIZES, Difference, Line
from fillbook.replay.model import Cause, Divergence
from fillbook.signal.rules import SIZE_KEYS, keys_of
from fillbook.values import frozen

KEYS_MAX: Final = 50
_OPENING: Final = frozenset({"ENTRY", "ADD_ENTRY"})
_LIMIT: Final = "limit"  # the ``why`` of a block that the book's limits gave (``signal.rules.WHYS``)


class Compared(NamedTuple):
    """One entry of a trace."""

    rule: str
    value: Any
    op: str
    limit: Any
    holds: bool


@frozen
class Told:
    """What one side stored of the decision at the difference; ``config`` is its profile's JSON, ``None`` when nobody has it."""

    config_digest: str
    config: Mapping[str, Any] | None
    compared: Sequence[Compared]
    account: Mapping[str, Any] | None
    column: str | None = None
    is_whole: bool = False  # with an intent a trace keeps every comparison, else those that failed

    def under(self, config: Mapping[str, Any]) -> Told:
        """The same, decided under this profile."""
        return replace(self, config=config)


class Parted(NamedTuple):
    """An action that the two books do not share alike: ``side`` is ``a`` or ``b``, ``both`` when its quantity differs."""

    ts: int
    ticker: str
    action_id: str
    action_type: str
    side: str


@frozen
class Judged:
    """One rule as the two sides saw it; ``None`` where a side did not keep it."""

    rule: str
    a: Compared | None
    b: Compared | None

    @property
    def is_decided_otherwise(self) -> bool:
        """Whether it holds on one side only; a rule that a side did not keep held there, or was never asked."""
        return self._held(self.a) != self._held(self.b)

    @property
    def limits_differ(self) -> bool:
        """Whether both limits are known and differ."""
        return self.a is not None and self.b is not None and figure(self.a.limit) != figure(self.b.limit)

    @staticmethod
    def _held(entry: Compared | None) -> bool:
        return entry is None or entry.holds


def explained(found: Difference, a: Told | None, b: Told | None, starts: tuple[Any, Any], taken: Parted | None) -> Divergence:
    """The difference with its cause; ``starts`` are the states before the ticker's first receipt, as stored."""
    cause, rule, detail = _cause(found, a, b, starts, taken)
    return Divergence(
        ticker=found.ticker,
        ts=found.ts,
        receipt_id=found.receipt_id,
        field=found.field,
        value_a=found.value_a,
        value_b=found.value_b,
        cause=cause,
        rule=rule,
        detail=detail if found.is_outcome else {**detail, "figuresOnly": True},
        later_count=found.later_count,
    )


def _cause(
    found: Difference, a: Told | None, b: Told | None, starts: tuple[Any, Any], taken: Parted | None
) -> tuple[Cause, str | None, dict[str, Any]]:
    if found.field == RECEIPT or a is None or b is None:
        return Cause.INPUT, None, {}
    if starts[0] != starts[1]:
        return Cause.START, None, {"differs": sorted(_differing(*starts))[:KEYS_MAX]}
    judged = first_judged(a, b)
    rule = None if judged is None else judged.rule
    if found.field in SIZES and (judged is None or not judged.is_decided_otherwise):
        judged, rule = None, _acting_rule(found)  # a limit that decided nothing does not explain a size
    changed = {} if a.config_digest == b.config_digest else changed_keys(a.config, b.config)
    if judged is not None and a.config_digest != b.config_digest:
        keys = {key: pair for key, pair in changed.items() if _is_under(key, keys_of(judged.rule))}
        if keys or judged.limits_differ:
            return Cause.CONFIG, rule, _config(judged, keys, changed, a.column)
    sized = {key: pair for key, pair in changed.items() if found.field in SIZES and _is_under(key, _size_keys(found))}
    if judged is None and sized:
        modes = [key for key, pair in sized.items() if isinstance(pair[0], str)]  # how sizes are made outweighs how large
        return Cause.CONFIG, rule, {"key": (modes or list(sized))[0], "keys": _listed(sized)}
    if (found.field == QUANTITY or _is_limit(found, rule)) and a.account != b.account:
        return Cause.FACTS, rule, {**_facts(a.account, b.account, taken), "keys": _listed(changed)}
    if a.config_digest != b.config_digest:
        return Cause.CONFIG, rule, {**_sides(judged), "keys": _listed(changed)}
    return Cause.CODE, rule, _sides(judged)


def taken_before(parted: Sequence[Parted], found: Difference) -> Parted | None:
    """The earlier action of another ticker that changed the account: the last opening that only the refused side has.

    Without one, the last action before that the sides do not share. ``parted`` is in the order in which a replay decides.
    """
    refused = {(True, False): "b", (False, True): "a"}.get((_acts(found.left), _acts(found.right)))
    before = [one for one in parted if (one.ts, one.ticker) < (found.ts, found.ticker) and one.ticker != found.ticker]
    openings = [one for one in before if one.side == refused and one.action_type in _OPENING]
    return next(reversed(openings or before), None)


def first_judged(a: Told, b: Told) -> Judged | None:
    """The first rule that the two sides decided otherwise; without one, the first whose limit differs."""
    both = list(_aligned(a, b))
    decided = (one for one in both if one.is_decided_otherwise)
    limited = (one for one in both if one.limits_differ)
    return next(chain(decided, limited), None)


def changed_keys(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> dict[str, tuple[Any, Any]]:
    """The keys whose values differ between two profiles, as dotted paths with both values; the version is no such key."""
    if a is None or b is None:
        return {}
    lefts, rights = dict(_leaves(a)), dict(_leaves(b))
    keys = [*lefts, *(key for key in rights if key not in lefts)]
    pairs = {key: (lefts.get(key), rights.get(key)) for key in keys if key != "version"}
    return {key: pair for key, pair in pairs.items() if figure(pair[0]) != figure(pair[1])}


def figure(value: Any) -> Any:
    """A value of a trace or a profile in one form, so that 1.20, ``"1.2"`` and a decimal are the same."""
    if isinstance(value, list | tuple):
        return [figure(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    return plain(Decimal(value)) if isinstance(value, int | Decimal) else value


def _aligned(a: Told, b: Told) -> Iterator[Judged]:
    """Rules in the order of the side that kept more of them; a rule compared several times is paired by its place."""
    lefts, rights = _numbered(a.compared), _numbered(b.compared)
    longer, shorter = (lefts, rights) if len(lefts) >= len(rights) else (rights, lefts)
    for key in chain(longer, (key for key in shorter if key not in longer)):
        left, right = lefts.get(key), rights.get(key)
        absent = a if left is None else b
        if (left is None or right is None) and absent.is_whole:
            continue  # a side that kept everything did not ask it
        yield Judged(rule=key[0], a=left, b=right)


def _numbered(compared: Sequence[Compared]) -> dict[tuple[str, int], Compared]:
    seen: dict[str, int] = {}
    numbered: dict[tuple[str, int], Compared] = {}
    for entry in compared:
        place = seen.get(entry.rule, 0)
        seen[entry.rule] = place + 1
        numbered[entry.rule, place] = entry
    return numbered


def _config(
    judged: Judged, keys: Mapping[str, tuple[Any, Any]], changed: Mapping[str, tuple[Any, Any]], column: str | None
) -> dict[str, Any]:
    """The limits and the key behind them: of the rule's own keys, else one of all that has these very values."""
    sides = _sides(judged)
    limits = sides["limits"]
    fitting = [key for key, pair in (keys or changed).items() if _fits(limits, pair)] or list(keys)
    key = next((key for key in fitting if key.rpartition(".")[2] == column), fitting[0] if fitting else None)
    if key is not None:
        pair = (keys or changed)[key]
        entries = (judged.a, judged.b)
        sides["limits"] = [figure(pair[place]) if entry is None else entry.limit for place, entry in enumerate(entries)]
    return {**sides, "key": key, "keys": _listed(keys or changed)}


def _fits(limits: Sequence[Any], pair: tuple[Any, Any]) -> bool:
    return all(limit is None or figure(limit) == figure(value) for limit, value in zip(limits, pair, strict=True))


def _facts(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None, taken: Parted | None) -> dict[str, Any]:
    names = sorted({*(a or {}), *(b or {})})
    differing = [name for name in names if (a or {}).get(name) != (b or {}).get(name)]
    accounts = [{name: account.get(name) for name in differing} if account else None for account in (a, b)]
    slot = None
    if taken is not None:
        slot = {
            "ticker": taken.ticker,
            "ts": taken.ts,
            "actionId": taken.action_id,
            "actionType": taken.action_type,
            "side": taken.side,
        }
    return {"account": accounts, "taken": slot}


def _sides(judged: Judged | None) -> dict[str, Any]:
    entries = () if judged is None else (judged.a, judged.b)
    return {
        "values": [None if entry is None else entry.value for entry in entries],
        "limits": [None if entry is None else entry.limit for entry in entries],
        "holds": [entry is None or entry.holds for entry in entries],
    }


def _listed(keys: Mapping[str, tuple[Any, Any]]) -> dict[str, list[Any]]:
    return {key: [figure(value) for value in pair] for key, pair in list(keys.items())[:KEYS_MAX]}


def _acting_rule(found: Difference) -> str | None:
    """The rule that wanted the action whose size differs; both sides agree on it, or their intents would differ."""
    return next((intent["rule"] for line in (found.left, found.right) if line is not None for intent in line.intent_list), None)


def _size_keys(found: Difference) -> tuple[str, ...]:
    lines = [line for line in (found.left, found.right) if line is not None]
    return tuple(chain.from_iterable(SIZE_KEYS.get(action[1], ()) for line in lines for action in line.action_list))


def _acts(line: Line | None) -> bool:
    return line is not None and line.actions is not None


def _is_limit(found: Difference, rule: str | None) -> bool:
    """Whether the rule is one of the book's limits: a block of either side says so."""
    lines = [line for line in (found.left, found.right) if line is not None]
    return rule is not None and any(
        block["rule"] == rule and block["why"] == _LIMIT for line in lines for block in line.block_list
    )


def _is_under(key: str, prefixes: Sequence[str]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths of a profile; a list is a leaf unless it holds objects (tiers, by their number)."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{path}.{number}")
    else:
        yield path, value


def _differing(a: Any, b: Any, path: str = "") -> Iterator[str]:
    """Dotted names of what differs between two stored states."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for name in {*a, *b}:
            yield from _differing(a.get(name), b.get(name), f"{path}.{name}" if path else name)
    elif a != b:
        yield path or ("left is empty" if a is None else "right is empty" if b is None else "state")
