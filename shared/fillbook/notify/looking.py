"""The search for messages whose id was never learned: list, fetch what is unknown, recognise by footer, adopt.

Nothing is sent here but reads. A search that could not be completed decides nothing, except that a try of the ladder is
used; a message that Discord accepted for sure is never sent again because a search found nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from fillbook.notify import accounts, outcomes
from fillbook.notify.answers import Verdict
from fillbook.notify.intake import Question
from fillbook.notify.model import Operation, Request, Row, State
from fillbook.notify.outcomes import Moment
from fillbook.notify.rows import rows_of
from fillbook.notify.search import PAGE_SIZE, PAGES_MAX, Found, Window, found_in, of_webhook, oldest_id, subject_of, windows
from fillbook.notify.store import Settled, load_call
from fillbook.notify.talk import Talk
from fillbook.runtime import logs
from fillbook.runtime.db import Call
from fillbook.values import frozen

WAITING = frozenset({State.PENDING, State.AMBIGUOUS, State.DEAD})

log = logs.get("notify")


@frozen
class Sight:
    """What a search saw: embeds of ours that are on nobody's record; ``is_complete``: nothing was left out."""

    found: tuple[Found, ...]
    is_complete: bool


def look(talk: Talk, rows: Sequence[Row]) -> bool:
    """Search for ``rows`` and write what follows; False when patience ended before anything could be decided."""
    sight = search(talk, rows)
    if sight is None:
        return False
    settled = settle_sight(talk, rows, sight)
    talk.write(settled)
    for row in settled.rows:
        log.info("message_searched", subject_key=row.subject_key, state=row.state.value, message_id=row.message_id)
    return True


def settle_sight(talk: Talk, rows: Sequence[Row], sight: Sight) -> Settled:
    """Return the rows as the search leaves them; a message that was found is adopted for everything it shows."""
    moment = Moment(now=talk.desk.clock.now(), dice=talk.desk.dice(), can_look=True)
    found = adoptable(talk, sight.found)
    keys = {row.subject_key for row in found}
    left = [row for row in rows if row.subject_key not in keys]
    decide = outcomes.not_found if sight.is_complete else outcomes.not_looked
    after = [decide(row, moment) for row in left]
    dead = [row for row, before in zip(after, left, strict=True) if row.deaths > before.deaths]
    return Settled(rows=(*found, *after), events=tuple(accounts.dead_events(dead, moment.now)))


def adoptable(talk: Talk, found: Sequence[Found]) -> tuple[Row, ...]:
    """Return every waiting subject among ``found`` with its message on record; the oldest copy of a subject wins.

    All subjects of a message are taken, not only those that were searched for: half a digest on record would hide the rest.
    """
    first: dict[str, Found] = {}
    for one in found:
        first.setdefault(subject_of(one.key), one)
    channel_id = talk.channel.channel_id
    (documents,) = talk.call(load_call(Question(keys=tuple((channel_id, subject) for subject in first))))
    now = talk.desk.clock.now()
    adopted = []
    for row in rows_of(documents if isinstance(documents, list) else []):
        one = first[row.subject_key]
        if row.is_create and row.state in WAITING:
            adopted.append(
                outcomes.adopted(row, one.message_id, one.embed_index, talk.channel.webhook_id, one.posted_hash(), now)
            )
    return tuple(adopted)


def search(talk: Talk, rows: Sequence[Row]) -> Sight | None:
    """Return what stands in the channel around the suspected creates of ``rows``; None when patience ended."""
    about = [row.subject_key for row in rows]
    place = _place(talk, about)
    if place is None:
        return Sight(found=(), is_complete=False)
    found: list[Found] = []
    is_complete = True
    for window in windows(rows):
        ids = _listed(talk, place, window, about)
        if ids is None:
            return None
        is_complete = is_complete and ids.is_complete
        fetched = _fetched(talk, unknown_ids(talk, ids.ids), about)
        if fetched is None:
            return None
        found += fetched.found
        is_complete = is_complete and fetched.is_complete
    return Sight(found=tuple(found), is_complete=is_complete)


@frozen
class _Ids:
    ids: tuple[str, ...]
    is_complete: bool


def _place(talk: Talk, about: Sequence[str]) -> str | None:
    if talk.channel.place is None:
        talk.ask_webhook(about)
    return talk.channel.place


def _listed(talk: Talk, place: str, window: Window, about: Sequence[str]) -> _Ids | None:
    ids: list[str] = []
    before = window.before
    for _ in range(PAGES_MAX):
        request = Request(
            operation=Operation.LIST, channel_id=talk.channel.channel_id, place=place, before=before, limit=PAGE_SIZE
        )
        said = talk.say(request, about=about)
        if said is None:
            return None
        if said.judgement.verdict is not Verdict.DONE:
            if said.judgement.verdict is Verdict.REJECTED:
                _give_up_reading(talk)
            return _Ids(ids=tuple(ids), is_complete=False)
        page = said.judgement.document
        ids += of_webhook(page, talk.channel.webhook_id, window)
        oldest = oldest_id(page)
        if oldest is None or len(page) < PAGE_SIZE or oldest <= window.after:
            return _Ids(ids=tuple(dict.fromkeys(ids)), is_complete=True)
        before = oldest
    return _Ids(ids=tuple(dict.fromkeys(ids)), is_complete=False)


def _give_up_reading(talk: Talk) -> None:
    """The read token is refused: say so, and work as without one for an hour."""
    limit = accounts.reads_refused(talk.limits, talk.channel, talk.desk.clock.now())
    talk.limits[limit.scope] = limit
    log.error("discord_read_token_refused", channel=talk.channel.channel_id)
    talk.write(Settled(limits=(limit,)))


def unknown_ids(talk: Talk, ids: Sequence[str]) -> list[str]:
    """Return the ids that stand on nobody's record, in the order given."""
    if not ids:
        return []
    (known,) = talk.call(Call("notify.known", {"channel_id": talk.channel.channel_id, "message_ids": list(ids)}))
    on_record = set(known) if isinstance(known, list) else set()
    return [message_id for message_id in ids if message_id not in on_record]


def _fetched(talk: Talk, ids: Sequence[str], about: Sequence[str]) -> Sight | None:
    found: list[Found] = []
    is_complete = True
    for message_id in ids:
        request = Request(operation=Operation.GET, channel_id=talk.channel.channel_id, message_id=message_id)
        said = talk.say(request, about=about)
        if said is None:
            return None
        if said.judgement.verdict is Verdict.DONE:
            found += found_in(said.judgement.document)
        elif said.judgement.verdict is not Verdict.MESSAGE_GONE:
            is_complete = False
    return Sight(found=tuple(found), is_complete=is_complete)
