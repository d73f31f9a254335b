"""What a person does by hand: list and replay dead letters, switch a channel, adopt a message, send a test.

Every verb keeps the room's rules: one writer per channel, order and pacing of what goes out, no message without a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from fillbook.notify import accounts
from fillbook.notify.answers import Verdict
from fillbook.notify.looking import adoptable
from fillbook.notify.model import Channel, Embed, Operation, Request, SubjectKind
from fillbook.notify.patience import Patience
from fillbook.notify.search import SUBJECT_PREFIX, found_in
from fillbook.notify.store import Lease, Settled, apply_call, lease_call, release_call, turn_call, turn_of
from fillbook.notify.talk import Desk, Talk
from fillbook.notify.text import escape, instant
from fillbook.notify.wishes import standalone
from fillbook.notify.wording import Color
from fillbook.runtime.db import Call, Database
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.runtime.sql import load_queries

ROWS_MAX = 1000

_QUERIES = load_queries("fillbook.notify")
_LINK = re.compile(r"https://(?:ptb\.|canary\.)?discord(?:app)?\.com/channels/(?:\d+|@me)/(?P<place>\d+)/(?P<message>\d{15,20})")


class _Once:
    """Patience of a person's verb: never waits for a pause, is never over."""

    @property
    def of_a_search(self) -> _Once:
        return self

    def is_over(self) -> bool:
        return False

    def wait(self, until: datetime) -> bool:  # noqa: ARG002 -- the protocol's signature
        return False


def dead_letters(db: Database) -> list[dict[str, Any]]:
    """Return dead letters grouped by channel and reason: count, oldest, and the command that sends them again."""
    with db.transaction(read_only=True) as tx:
        return tx.query(_QUERIES["dead_letters"])


def replay(
    db: Database,
    *,
    now: datetime,
    dry_run: bool,
    channel_id: str | None = None,
    reason: str | None = None,
    subject: str | None = None,
    since: datetime | None = None,
) -> list[list[str]]:
    """Make dead letters pending again, attempts 0; return ``[channel, subject, reason]`` of each (none when posted)."""
    document = {
        "channel_id": channel_id,
        "reason": reason,
        "subject": subject,
        "since": since,
        "now": now,
        "rows_max": ROWS_MAX,
        "dry_run": dry_run,
    }
    (chosen,) = db.run(lambda tx: tx.call(Call("notify.replay", document)))
    return [list(item) for item in chosen]


def pause(db: Database, channel_id: str, now: datetime) -> None:
    """Stop sending in a channel until ``enable``; what waits, waits."""
    _switch(db, channel_id, {"status": accounts.PAUSED, "status_reason": "operator"}, now)


def enable(desk: Desk, channel_id: str) -> Mapping[str, Any]:
    """Ask the webhook whether it answers, and only then let the channel send again.

    Asked like everything else: logged, and not before a pause is over. Raises ``Rejected('webhook_refused')`` when Discord
    still refuses it, ``Unavailable``: ``discord_unavailable`` when it could not be asked, ``channel_busy`` while another sends.
    """
    with leased(desk, channel_id, _Once()) as talk:
        said = talk.say(Request(operation=Operation.HOOK, channel_id=channel_id))
    if said is None:
        raise Unavailable("discord_unavailable", "paused")
    if said.judgement.verdict is Verdict.DONE:
        return _switch(desk.db, channel_id, {"status": accounts.ACTIVE, "status_reason": None}, desk.clock.now())
    if said.judgement.verdict in (Verdict.CHANNEL_GONE, Verdict.REJECTED):
        raise Rejected("webhook_refused", said.judgement.reason, status=409)
    raise Unavailable("discord_unavailable", said.judgement.reason)


def told(db: Database, action_id: UUID, book_id: str | None = None) -> list[dict[str, Any]]:
    """Return what the delivery log knows of an action, one row a request, oldest first; one row without request when unsent.

    Was it told, when, as which message, what did Discord say: one query. Empty when no channel has heard of the action.
    """
    with db.transaction(read_only=True) as tx:
        return tx.query(_QUERIES["told"], action_id=action_id, book_id=book_id, rows_max=ROWS_MAX)


def _switch(db: Database, channel_id: str, status: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
    document = {"guild_id": None, "discord_channel_id": None, **status, "channel_id": channel_id, "now": now}
    (channel,) = db.run(lambda tx: tx.call(Call("notify.switch", document)))
    if not channel or channel.get("channel_id") is None:
        raise Rejected("channel_unknown", channel_id)
    return dict(channel)


def adopt(desk: Desk, channel_id: str, link: str) -> list[str]:
    """Put a message a person found on record for the subjects its footers name; return their keys.

    Only subjects without a message on record are touched. Raises ``Rejected``: ``link_invalid``, ``message_unknown``,
    ``message_not_ours`` (no footer names a waiting subject), ``Unavailable('channel_busy')`` while another drainer sends.
    """
    found = _LINK.fullmatch(link.strip())
    if found is None:
        raise Rejected("link_invalid", "not a link to a Discord message")
    with leased(desk, channel_id, _Once()) as talk:
        said = talk.say(Request(operation=Operation.GET, channel_id=channel_id, message_id=found["message"]))
        if said is None or said.judgement.verdict is Verdict.RATE_LIMITED:
            raise Unavailable("discord_unavailable", "paused")
        if said.judgement.verdict is not Verdict.DONE:
            raise Rejected("message_unknown", said.judgement.reason, status=404)
        seen = {one.key: one for one in found_in(said.judgement.document)}
        rows = adoptable(talk, list(seen.values()))
        if not rows:
            raise Rejected("message_not_ours", "no footer names a subject that waits for its message")
        talk.write(Settled(rows=rows))
    return [row.subject_key for row in rows]


def test_send(desk: Desk, channel_id: str) -> str:
    """Store one message that says it is a test, to be sent like every other; return its subject."""
    now = desk.clock.now()
    subject = f"test/{instant(now)}"
    embed = Embed(
        title="Test",
        description=f"A test of channel {escape(channel_id)} by an operator: nothing was executed.",
        color=int(Color.INFO),
        timestamp=now,
        fields=(),
        footer=f"{SUBJECT_PREFIX}{escape(subject)}",
    )
    row = standalone(Channel(channel_id), SubjectKind.OPS, subject, embed, None, now)
    desk.db.run(lambda tx: tx.send(apply_call(None, None, [row], [], now)))
    return subject


@contextmanager
def leased(desk: Desk, channel_id: str, patience: Patience) -> Iterator[Talk]:
    """Hold a channel for a procedure of several requests; raises ``Unavailable('channel_busy')`` when somebody else does."""
    lease, now = Lease(channel_id=channel_id, token=uuid4()), desk.clock.now()
    answers = desk.db.run(lambda tx: tx.call(lease_call(lease, now), turn_call(lease, now)))
    turn = turn_of(answers[-1])
    if turn is None:
        raise Unavailable("channel_busy", channel_id)
    try:
        yield Talk(desk, lease, turn, patience)
    finally:
        desk.db.call(release_call(lease, desk.clock.now()))
