"""The ids, counts and reasons of an operations event as named texts, whatever room wrote it.

Writers may add keys at any time, so nothing here depends on a list of names: scalars are shown in the writer's order,
nested values as lines. Numbers, times and ids stay readable; everything else is escaped. Bounded in count and length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from fillbook.notify.text import cut, escape

FACTS_MAX = 18
FACT_UNITS_MAX = 400
NAME_UNITS_MAX = 64
LINES_MAX = 12

_HIDDEN = frozenset({"title", "traceparent"})
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?")


def pick(data: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of ``names`` that has a scalar value, as text."""
    for name in names:
        value = data.get(name)
        if value is not None and not isinstance(value, Mapping | list | tuple) and str(value):
            return str(value)
    return None


def facts_of(data: Mapping[str, Any], book_id: str | None) -> list[list[str]]:
    """Return ``[name, text]`` pairs, already safe to show, the book first."""
    pairs: list[list[str]] = []
    if book_id is not None and "book_id" not in data:
        pairs.append(["book_id", escape(book_id)])
    for name, value in data.items():
        text = _shown(value)
        label = cut(escape(str(name)), NAME_UNITS_MAX)
        if text and label and name not in _HIDDEN:
            pairs.append([label, cut(text, FACT_UNITS_MAX)])
        if len(pairs) >= FACTS_MAX:
            break
    return pairs


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        lines = [f"{escape(str(name))} {_scalar(item)}" for name, item in list(value.items())[:LINES_MAX] if item is not None]
        return "\n".join(line for line in lines if line.strip())
    if isinstance(value, list | tuple):
        lines = [_shown(item).replace("\n", " · ") for item in value[:LINES_MAX]]
        more = [f"+{len(value) - LINES_MAX} more"] if len(value) > LINES_MAX else []
        return "\n".join([line for line in lines if line] + more)
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping | list | tuple):
        return escape(f"{len(value)} items")
    if isinstance(value, datetime | date):
        return value.isoformat()
    text = format(value, "f") if isinstance(value, Decimal) else str(value)
    return text if _NUMBER.fullmatch(text) or _TIME.fullmatch(text) else escape(text)
