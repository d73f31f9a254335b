"""How answers to readers are put together: a head of ours, and parts that are JSON already as the database wrote them.

Rows never pass through Python one by one, so their numbers stay as they are stored. Source: snapshot specification, 5.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from fillbook.runtime.sql import encode


def instant_text(at: datetime) -> str:
    """An instant as it is published: UTC with milliseconds, cut."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def framed(head: Mapping[str, object], **parts: str | None) -> str:
    """A JSON object of ``head`` and then ``parts``, texts that are JSON; a part that is None is null."""
    text = encode(head)
    joined = ",".join(f'"{name}":{"null" if part is None else part}' for name, part in parts.items())
    return text if not joined else f"{text[:-1]}{',' if head else ''}{joined}}}"
