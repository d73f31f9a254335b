"""Finding a message whose id is not known: which ids to list, and which row an embed belongs to. Pure.

Discord's ids are snowflakes: their time part bounds where a copy can be. A listed message shows no content to the read
token, so each unknown one of our webhook is fetched by the webhook's own token and recognised by its footer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from fillbook.notify.model import Embed, Row, Suspect
from fillbook.notify.pacing import OUT_OF_ORDER, RESENT
from fillbook.notify.text import unescape
from fillbook.values import frozen

DISCORD_EPOCH_MILLISECONDS = 1_420_070_400_000
SNOWFLAKE_SHIFT = 22
BEFORE_CLAIM = timedelta(seconds=5)
AFTER_CLAIM = timedelta(seconds=60)
PAGE_SIZE = 100
PAGES_MAX = 5
ID_DIGITS_MAX = 20
SUBJECT_PREFIX = "subject "

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOTES = re.compile(f"( · (?:{RESENT}|{OUT_OF_ORDER}))+$")
EXECUTION_FOOTER = re.compile(
    r"action_id (?P<action_id>[0-9a-f-]{36}) · position_id (?P<position_id>[0-9a-f-]{36}) · "
    r"book (?P<book_id>\S+) · v(?P<version>\d{1,9})"
)


def snowflake(instant: datetime) -> int:
    """Return the smallest id a message of ``instant`` can have."""
    milliseconds = (instant - _EPOCH) // timedelta(milliseconds=1) - DISCORD_EPOCH_MILLISECONDS
    return max(milliseconds, 0) << SNOWFLAKE_SHIFT


def instant_of_snowflake(message_id: str) -> datetime:
    """Return when Discord made the message."""
    return _EPOCH + timedelta(milliseconds=(int(message_id) >> SNOWFLAKE_SHIFT) + DISCORD_EPOCH_MILLISECONDS)


@frozen
class Window:
    """The ids between which a copy can be: ``after`` < id < ``before``."""

    after: int
    before: int


def window_of(suspect: Suspect) -> Window:
    """Return the ids that a message of this create can have."""
    first, last = sorted((suspect.since, suspect.until))
    return Window(after=snowflake(first - BEFORE_CLAIM) - 1, before=snowflake(last + AFTER_CLAIM))


def windows(rows: Iterable[Row]) -> tuple[Window, ...]:
    """Return the id windows of all suspected creates of ``rows``, overlapping ones merged, oldest first.

    Each reaches from shortly before the claim to shortly after the request was given up, whichever way the desk clock went.
    """
    found = sorted({window_of(suspect) for row in rows for suspect in row.suspects}, key=lambda window: window.after)
    merged: list[Window] = []
    for window in found:
        if merged and window.after <= merged[-1].before:
            merged[-1] = Window(after=merged[-1].after, before=max(merged[-1].before, window.before))
        else:
            merged.append(window)
    return tuple(merged)


def bare_footer(text: str) -> str:
    """Return a footer without the notes of its sending."""
    return _NOTES.sub("", text)


def footer_key(text: str) -> str | None:
    """Return the subject a footer names, in the form ``row_key`` gives, or None when it is not one of ours."""
    found = EXECUTION_FOOTER.fullmatch(bare_footer(text))
    if found is not None:
        return f"{found['book_id']}/{found['action_id']}"
    return bare_footer(text) if text.startswith(SUBJECT_PREFIX) else None


def subject_of(key: str) -> str:
    """Return the subject a footer's key stands for."""
    return unescape(key.removeprefix(SUBJECT_PREFIX)) if key.startswith(SUBJECT_PREFIX) else key


def row_key(row: Row) -> str:
    """Return what the footer of a row's message names."""
    return footer_key(row.wanted.footer) or row.subject_key


@frozen
class Found:
    """One embed of ours as it stands in the channel."""

    key: str
    message_id: str
    embed_index: int
    document: Mapping[str, Any]

    def posted_hash(self) -> str:
        """Return the content hash of what stands there, which equals the wish of a row that needs no edit."""
        try:
            embed = Embed.from_json(self.document)
        except ValueError:
            return "unreadable"
        footer = bare_footer(embed.footer)
        bare = Embed(
            title=embed.title,
            description=embed.description,
            color=embed.color,
            timestamp=embed.timestamp,
            fields=embed.fields,
            footer=footer,
        )
        return bare.content_hash()


def found_in(message: Mapping[str, Any]) -> tuple[Found, ...]:
    """Return the embeds of ours in a message document, in order."""
    message_id = str(message.get("id"))
    found = []
    for index, embed in enumerate(message.get("embeds") or ()):
        footer = embed.get("footer") if isinstance(embed, Mapping) else None
        text = footer.get("text") if isinstance(footer, Mapping) else None
        key = footer_key(text) if isinstance(text, str) else None
        if key is not None:
            found.append(Found(key=key, message_id=message_id, embed_index=index, document=embed))
    return tuple(found)


def of_webhook(listed: Sequence[Any], webhook_id: str | None, window: Window) -> list[str]:
    """Return the ids of our webhook's messages inside the window, oldest first."""
    ids = [
        str(message["id"])
        for message in listed
        if isinstance(message, Mapping)
        and message.get("webhook_id") == webhook_id
        and is_id(message.get("id"))
        and window.after < int(message["id"]) < window.before
    ]
    return sorted(ids, key=int)


def is_id(text: object) -> bool:
    """Whether it is an id of Discord's: a number of 64 bits, as text."""
    said = str(text)
    return said.isascii() and said.isdigit() and len(said) <= ID_DIGITS_MAX


def oldest_id(listed: Sequence[Any]) -> int | None:
    """Return the smallest id of a page."""
    ids = [int(message["id"]) for message in listed if isinstance(message, Mapping) and is_id(message.get("id"))]
    return min(ids, default=None)
