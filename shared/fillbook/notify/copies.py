"""Copies that nobody has on record: found by listing the channel, recognised by footer, deleted and seen to be gone.

With a read token every message of our webhook since the window began is accounted for, and what was doubted is cleared.
Without one nothing can be listed: whatever may stand twice is named, with time and footer, instead of claiming all is well.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from fillbook.notify import accounts, judging
from fillbook.notify.answers import Verdict
from fillbook.notify.judging import Finding
from fillbook.notify.looking import adoptable, unknown_ids
from fillbook.notify.model import Operation, Request, Row
from fillbook.notify.proving import Postponed, delete, fetch, newest_first, subject_again
from fillbook.notify.rows import rows_of
from fillbook.notify.runs import Progress
from fillbook.notify.search import (
    BEFORE_CLAIM,
    EXECUTION_FOOTER,
    PAGE_SIZE,
    Found,
    Window,
    bare_footer,
    found_in,
    of_webhook,
    oldest_id,
    snowflake,
    subject_of,
    window_of,
)
from fillbook.notify.store import Settled
from fillbook.notify.talk import Talk
from fillbook.runtime.db import Call

if TYPE_CHECKING:
    from fillbook.notify.reconcile import Prover

DOUBTFUL_MAX = 1000


def settle(worker: Prover) -> None:
    """Account for every message of ours in the channel, newest first; raises ``Postponed`` to go on at the next tick."""
    (documents,) = worker.desk.db.call(Call("notify.doubtful", {"channel_id": worker.run.channel_id, "rows_max": DOUBTFUL_MAX}))
    doubtful = rows_of(documents)
    begun = worker.run.cursor_at or worker.desk.clock.now()
    worker.run.cursor_at = begun
    with worker.held() as talk:
        is_open = talk.channel.status != accounts.DISABLED
        can_list = is_open and worker.can_look(talk) and talk.channel.place is not None
    if not can_list:
        _name(worker, [row for row in doubtful if row.message_id is not None])
        return
    doubts = [window_of(suspect) for row in doubtful for suspect in row.suspects]
    after = min([snowflake(worker.run.since - BEFORE_CLAIM) - 1, *(doubt.after for doubt in doubts)])
    window = Window(after=after, before=snowflake(begun + timedelta(seconds=1)))
    about = [row.subject_key for row in doubtful]
    before: int | None = int(worker.run.cursor_key) if worker.run.cursor_key else window.before
    while before is not None:
        before = _page(worker, Window(after=window.after, before=before), about)
    worker.desk.db.call(Call("notify.undoubt", {"channel_id": worker.run.channel_id, "before": begun}))


def _name(worker: Prover, doubtful: Sequence[Row]) -> None:
    findings = tuple(
        Finding(
            kind=judging.UNVERIFIABLE,
            subject_key=row.subject_key,
            book_id=row.book_id,
            action_id=row.action_id,
            message_id=row.message_id,
            note=f"may stand twice: sent at {', '.join(suspect.since.isoformat() for suspect in row.suspects)}, "
            f"footer {row.wanted.footer}",
        )
        for row in doubtful
    )
    worker.run.counts[judging.UNVERIFIABLE] += len(findings)
    worker.save(Progress(findings=findings, proven={one.subject_key: one.said() for one in findings}))


def _page(worker: Prover, window: Window, about: Sequence[str]) -> int | None:
    """Account for one page of the channel; return where the next begins, None after the last."""
    with worker.held() as talk:
        request = Request(
            operation=Operation.LIST,
            channel_id=talk.channel.channel_id,
            place=talk.channel.place,
            before=window.before,
            limit=PAGE_SIZE,
        )
        worker.reads += 1
        said = talk.say(request, about=about[:1])
        if said is None or said.judgement.verdict is not Verdict.DONE:
            raise Postponed
        page = said.judgement.document
        ids = newest_first(unknown_ids(talk, of_webhook(page, talk.channel.webhook_id, window)))
    for message_id in ids:
        with worker.held() as talk:
            worker.reads += 1
            finding = _account_for(worker, talk, message_id)
        worker.run.cursor_key = message_id
        worker.save(Progress(findings=() if finding is None else (finding,)))
        worker.let_go()
    oldest = oldest_id(page)
    if oldest is None or len(page) < PAGE_SIZE or oldest <= window.after:
        return None
    worker.run.cursor_key = str(oldest)
    worker.save(Progress())
    return oldest


def _account_for(worker: Prover, talk: Talk, message_id: str) -> Finding | None:
    """Adopt a message somebody waits for; a copy or a stranger of ours is a finding, and deleted when repairing.

    Whoever sends has had the channel since the page was listed: a message that he put on record is nobody's copy.
    """
    if not unknown_ids(talk, [message_id]):
        return None
    fetched = fetch(talk, message_id, "")
    found = found_in(fetched.document) if fetched.document is not None else ()
    if not found:
        return None
    adopted = adoptable(talk, found)
    if adopted:
        talk.write(Settled(rows=adopted))
        return None
    kind = judging.DOUBLE if _is_on_record(worker, found) else judging.ORPHAN
    book_id, action_id = _identity(found[0])
    is_repaired = worker.run.is_repairing and delete(talk, message_id, subject_of(found[0].key))
    worker.run.counts[kind] += 1
    worker.run.counts["repaired"] += is_repaired
    return Finding(
        kind=kind,
        subject_key=subject_of(found[0].key),
        book_id=book_id,
        action_id=action_id,
        message_id=message_id,
        note=f"{len(found)} embeds nobody has on record" if kind == judging.ORPHAN else "a second message of the same subject",
        is_repaired=is_repaired,
    )


def _is_on_record(worker: Prover, found: Sequence[Found]) -> bool:
    keys = [subject_of(one.key) for one in found]
    (documents,) = worker.desk.db.call(Call("notify.peek", {"channel_id": worker.run.channel_id, "keys": keys}))
    if rows_of(documents):
        return True
    book_id, action_id = _identity(found[0])
    if book_id is None or action_id is None:
        return False
    subject = subject_again(worker.desk.db, worker.run.channel_id, book_id, action_id, worker.run.since)
    return subject.current is not None


def _identity(found: Found) -> tuple[str | None, UUID | None]:
    footer = found.document.get("footer") or {}
    named = EXECUTION_FOOTER.fullmatch(bare_footer(str(footer.get("text"))))
    return (named["book_id"], UUID(named["action_id"])) if named else (None, None)
