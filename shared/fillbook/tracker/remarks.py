"""What may be said about a trade: the body of a notes request understood whole, or refused by the name of the field.

Texts are kept as they were written, but for blanks around tags and strategies and for words that say nothing: these clear. Pure.
Source: tracker.md 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

NOTES_LENGTH_MAX = 10_000
TAGS_MAX = 20
TAG_LENGTH_MAX = 40
STRATEGY_LENGTH_MAX = 100
OF_POSITION = frozenset({"notes", "tags"})
OF_TRADE = OF_POSITION | {"strategy", "is_hidden"}
VERSION_MAX = 2**31 - 1
_VERSION = re.compile(r'(?:W/)?"?([0-9]{1,10})"?')


@frozen
class Remark:
    """What was said; ``tags`` in the order given, none twice."""

    notes: str | None = None
    tags: tuple[str, ...] = ()
    strategy: str | None = None
    is_hidden: bool = False

    def with_changes(self, changes: Mapping[str, Any]) -> Remark:
        """The same, but for what is named."""
        return Remark(
            notes=changes.get("notes", self.notes),
            tags=changes.get("tags", self.tags),
            strategy=changes.get("strategy", self.strategy),
            is_hidden=changes.get("is_hidden", self.is_hidden),
        )


def changes(body: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """What a body names, each field understood; null clears.

    Raises ``Rejected('body_invalid')`` naming the field that is wrong (``unknown`` for one that is not known, ``body`` for none).
    """
    if not body:
        raise _refused("body")
    if not body.keys() <= known:
        raise _refused("unknown")
    return {name: _FIELDS[name](value) for name, value in body.items()}


def version_seen(header: str | None) -> int:
    """The version that ``If-Match`` names, as it was shown, or quoted as an entity tag.

    Raises ``Rejected``: 428 ``if_match_required`` without one, ``parameter_invalid`` for what is no version.
    """
    if header is None:
        raise Rejected("if_match_required", "If-Match says which version was seen", field="If-Match", status=428)
    match = _VERSION.fullmatch(header.strip())
    if match is None or not 1 <= int(match[1]) <= VERSION_MAX:
        raise Rejected("parameter_invalid", "header If-Match", field="If-Match")
    return int(match[1])


def _notes(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > NOTES_LENGTH_MAX:
        raise _refused("notes")
    return value if value.strip() else None


def _tags(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > TAGS_MAX:
        raise _refused("tags")
    return tuple(dict.fromkeys(_word(tag, "tags", TAG_LENGTH_MAX) for tag in value))


def _strategy(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return _word(value, "strategy", STRATEGY_LENGTH_MAX)


def _word(value: Any, name: str, longest: int) -> str:
    """A text of one line that shows something."""
    word = value.strip() if isinstance(value, str) else ""
    if not 0 < len(word) <= longest or not word.isprintable():
        raise _refused(name)
    return word


def _flag(value: Any) -> bool:
    if value is not None and not isinstance(value, bool):
        raise _refused("is_hidden")
    return bool(value)


def _refused(name: str) -> Rejected:
    return Rejected("body_invalid", f"field {name}", field=name)


_FIELDS: Mapping[str, Any] = {"notes": _notes, "tags": _tags, "strategy": _strategy, "is_hidden": _flag}
