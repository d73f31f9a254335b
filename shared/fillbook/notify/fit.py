"""Discord's limits, kept before anything is sent: what is too long is cut in a fixed order, or the message is refused.

Identity and money fields are never cut. A refused message becomes a dead letter for a person, never a shortened amount.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fillbook.notify.model import Embed
from fillbook.notify.text import cut, units

TITLE_UNITS_MAX = 256
DESCRIPTION_UNITS_MAX = 4096
NAME_UNITS_MAX = 256
VALUE_UNITS_MAX = 1024
FOOTER_UNITS_MAX = 2048
FIELDS_MAX = 25
TOTAL_UNITS_MAX = 5800
"""Below Discord's 6,000 over all embeds of a message, so that footer notes and struck values still fit."""

CUT_UNITS_MIN = 30
"""A cut text keeps at least its marker."""


class TooLarge(ValueError):
    """The message does not fit although everything that may be cut was cut."""


def embed_units(embed: Embed) -> int:
    """Return what Discord counts against the limit over all embeds."""
    return (
        units(embed.title)
        + units(embed.description)
        + units(embed.footer)
        + sum(units(item.name) + units(item.value) for item in embed.fields)
    )


def fit(embed: Embed, sacrifice: Sequence[str], *, reserve: int = 0) -> Embed:
    """Return ``embed`` within every limit, cutting only ``description`` and the fields named in ``sacrifice``, in order.

    ``reserve`` units are left free in every value and the description (for what is put around them later).
    Raises ``TooLarge`` when that is not enough.
    """
    fitted = replace(
        embed,
        title=cut(embed.title, TITLE_UNITS_MAX),
        description=cut(embed.description, DESCRIPTION_UNITS_MAX - reserve),
        fields=tuple(
            replace(item, value=cut(item.value, VALUE_UNITS_MAX - reserve)) if item.name in sacrifice else item
            for item in embed.fields
        ),
    )
    _check_parts(fitted, reserve)
    total_max = TOTAL_UNITS_MAX - reserve * (len(fitted.fields) + 1)
    for name in sacrifice:
        excess = embed_units(fitted) - total_max
        if excess <= 0:
            break
        fitted = _shorten(fitted, name, excess)
    if embed_units(fitted) > total_max:
        raise TooLarge("over the limit of a whole message")
    return fitted


def _shorten(embed: Embed, name: str, excess: int) -> Embed:
    if name == "description":
        return replace(embed, description=_by(embed.description, excess))
    fields = tuple(replace(item, value=_by(item.value, excess)) if item.name == name else item for item in embed.fields)
    return replace(embed, fields=fields)


def _by(text: str, excess: int) -> str:
    return cut(text, max(units(text) - excess, CUT_UNITS_MIN))


def _check_parts(embed: Embed, reserve: int) -> None:
    if len(embed.fields) > FIELDS_MAX:
        raise TooLarge("more than 25 fields")
    if units(embed.footer) > FOOTER_UNITS_MAX:
        raise TooLarge("footer")
    for item in embed.fields:
        if units(item.name) > NAME_UNITS_MAX or units(item.value) > VALUE_UNITS_MAX - reserve:
            raise TooLarge(f"field {item.name}")
