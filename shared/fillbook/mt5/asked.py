"""What a caller of ``account_sync`` asks for: the bodies of its requests as strict values, and a cursor as text.

An empty body means everything that is active; a body that cannot be read is refused, never taken for everything.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from fillbook.mt5.words import SyncType
from fillbook.runtime.bodies import parse_json_object
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

KEYS: Final = frozenset({"account_id", "sync_type", "cursor", "wait", "force", "task"})
REBUILD_KEYS: Final = frozenset({"account_id", "server", "symbol", "after"})
NAME_MAX: Final = 128
CURSOR_MAX: Final = 256
UUID_CHARACTERS: Final = 36
CONTINUATION_MAX: Final = 1_000
SHARD_NO_MAX: Final = 2**31 - 1


class Task(StrEnum):
    """What a call may be for beside accounts."""

    MAINTENANCE = "maintenance"


@frozen
class Cursor:
    """Where a run stopped: a shard that holds the accounts it did not come to."""

    run_id: str
    shard_no: int
    continuation: int


@frozen
class Asked:
    """One call. ``account_id`` None: all accounts; ``wait`` False: the work is done elsewhere; ``force``: also where logins
    were refused before.
    """

    account_id: str | None = None
    sync_type: SyncType = SyncType.MANUAL
    cursor: Cursor | None = None
    wait: bool = True
    force: bool = False
    task: Task | None = None


@frozen
class AskedRebuild:
    """What is to be made again from its deals: one account, or the accounts of a server, of one symbol or whole, behind one."""

    account_id: str | None = None
    server: str | None = None
    symbol: str | None = None
    after: str | None = None


def read_rebuild(body: bytes) -> AskedRebuild:
    """Read the body of a rebuild; raises ``Rejected`` as ``read``."""
    document = parse_json_object(body)
    if not set(document) <= REBUILD_KEYS:
        raise Rejected("key_unknown", "a key that means nothing here")
    asked = AskedRebuild(
        account_id=_account_id(document.get("account_id")),
        server=_name(document, "server"),
        symbol=_name(document, "symbol"),
        after=None if document.get("after") is None else uuid_text(document["after"], "after"),
    )
    is_one = asked.account_id is not None
    if is_one == (asked.server is not None) or (is_one and (asked.symbol or asked.after)):
        raise Rejected("keys_contradict", "an account, or a server with perhaps a symbol")
    return asked


def read(body: bytes) -> Asked:
    """Read a request's body; raises ``Rejected`` (``json_invalid``, ``key_unknown``, ``value_invalid``, ``keys_contradict``)."""
    document = parse_json_object(body)
    unknown = sorted(set(document) - KEYS)
    if unknown:
        raise Rejected("key_unknown", "a key that means nothing here")
    asked = Asked(
        account_id=_account_id(document.get("account_id")),
        sync_type=_choice(
            document, "sync_type", SyncType.MANUAL, {one.value: one for one in (SyncType.SCHEDULED, SyncType.MANUAL)}
        ),
        cursor=_cursor(document.get("cursor")),
        wait=_flag(document, "wait", True),
        force=_flag(document, "force", False),
        task=_choice(document, "task", None, {one.value: one for one in Task}),
    )
    is_partial = asked.account_id is not None or asked.cursor is not None
    both = asked.account_id is not None and asked.cursor is not None
    if both or (is_partial and asked.sync_type is SyncType.SCHEDULED) or (asked.task is not None and len(document) > 1):
        raise Rejected("keys_contradict", "these keys do not go together")
    return asked


def cursor_text(cursor: Cursor) -> str:
    """A cursor as callers see it."""
    parts = json.dumps([cursor.run_id, cursor.shard_no, cursor.continuation], separators=(",", ":"))
    return base64.urlsafe_b64encode(parts.encode()).decode().rstrip("=")


def uuid_text(value: object, name: str) -> str:
    """The canonical text of an id; raises ``Rejected('value_invalid')``."""
    try:
        found = UUID(value) if isinstance(value, str) and len(value) == UUID_CHARACTERS else None
    except ValueError:
        found = None
    if found is None:
        raise _wrong(name)
    return str(found)


def _account_id(value: object) -> str | None:
    return None if value is None else uuid_text(value, "account_id")


def _cursor(value: object) -> Cursor | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= CURSOR_MAX:
        raise _wrong("cursor")
    try:
        parts: Any = json.loads(base64.urlsafe_b64decode(f"{value}{'=' * (-len(value) % 4)}"))
    except ValueError:
        raise _wrong("cursor") from None
    if not isinstance(parts, list) or [type(part) for part in parts] != [str, int, int]:
        raise _wrong("cursor")
    run_id, shard_no, continuation = parts
    if not (0 <= shard_no <= SHARD_NO_MAX and 0 <= continuation <= CONTINUATION_MAX):
        raise _wrong("cursor")
    return Cursor(run_id=uuid_text(run_id, "cursor"), shard_no=shard_no, continuation=continuation)


def _name(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is not None and not (isinstance(value, str) and 0 < len(value) <= NAME_MAX and value.isprintable()):
        raise _wrong(name)
    return value


def _flag(document: Mapping[str, Any], name: str, default: bool) -> bool:
    value = document.get(name, default)
    if not isinstance(value, bool):
        raise _wrong(name)
    return value


def _choice(document: Mapping[str, Any], name: str, default: Any, choices: Mapping[str, Any]) -> Any:
    value = document.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or value not in choices:
        raise _wrong(name)
    return choices[value]


def _wrong(name: str) -> Rejected:
    return Rejected("value_invalid", "the value is none that this key takes", field=name)
