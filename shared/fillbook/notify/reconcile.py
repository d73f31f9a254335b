"""Prove it: fetch every message back, compare it with the ledger, mend what differs, look again.

A run is queued and worked on by ticks: one at a time under a lease, at most 500 reads a tick, continued by its cursor.
The channel is held only for a few reads at once, so that what has to be told meanwhile is told. Repairs are wishes on the
stored rows that the drain sends; a run ends ``proven``, ``repaired`` or ``open``, never with a shrug.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fillbook.notify import accounts, copies, judging, runs
from fillbook.notify.drain import drain
from fillbook.notify.intake import Question
from fillbook.notify.judging import Finding, Subject
from fillbook.notify.model import Row, State
from fillbook.notify.operator import leased
from fillbook.notify.outcomes import UNSEEN
from fillbook.notify.patience import Impatient, Patience
from fillbook.notify.proving import (
    Postponed,
    books_of,
    cleared,
    companions,
    delete,
    fetch,
    next_subjects,
    subject_again,
    subjects_again,
)
from fillbook.notify.render import Style
from fillbook.notify.runs import Progress, Run
from fillbook.notify.store import apply_call, load_call, stored_of
from fillbook.notify.talk import Desk, Talk, log
from fillbook.notify.wishes import at_rest
from fillbook.runtime.db import Tx
from fillbook.runtime.errors import Unavailable
from fillbook.runtime.sql import load_queries

READS_MAX = 500
HELD_READS = 3
"""Messages read under one hold of the channel; then whatever waits there is sent."""
BUSY_WAIT = timedelta(seconds=1)
REPAIR_PATIENCE = timedelta(minutes=15)
FINDINGS_PAGE = 50

_QUERIES = load_queries("fillbook.notify")


def work(desk: Desk, patience: Patience, run_id: UUID | None = None) -> str | None:
    """Work on the run that is next; return its status when it ended, ``running`` when it was postponed, None without one."""
    run = runs.take(desk.db, desk.clock.now(), run_id)
    if run is None:
        return None
    worker = Prover(desk, run, patience)
    try:
        return worker.run_on()
    except Postponed:
        worker.save(Progress(status=runs.QUEUED))
        return "running"


class Prover:
    """Works on one run: every message, then copies nobody knows of, then what was mended once more."""

    def __init__(self, desk: Desk, run: Run, patience: Patience) -> None:
        self.desk = desk
        self.run = run
        self.patience = patience
        self.style = Style(zone=desk.settings.zone)
        self.reads = 0

    # --- the whole ----------------------------------------------------------------------------------------------------

    def run_on(self) -> str:
        """Go on at the cursor to the end; raises ``Postponed`` when patience or the reads of a tick are used up."""
        if self.desk.clock.now() - self.run.started_at > runs.RUN_MAX:
            return self._finish(runs.ABORTED, "worked on for more than six hours")
        if self.run.is_new:
            with self.desk.db.transaction(read_only=True) as tx:
                self.run.heads = list(books_of(tx, self.desk.settings.books))
            self.let_go()
            self.save(Progress())
        phases = {
            runs.MESSAGES: self._messages,
            runs.COPIES: self._copies,
            runs.MENDS: self._mends,
            runs.REPAIRS: self._repairs,
        }
        while True:
            following = phases[self.run.phase]()
            if following is None:
                break
            self.run.enter(following)
            self.save(Progress())
        left = self.run.found - self.run.counts["repaired"]
        if not self.run.found:
            return self._finish(runs.PROVEN)
        return self._finish(runs.OPEN if left else runs.REPAIRED)

    def _finish(self, status: str, reason: str | None = None) -> str:
        now = self.desk.clock.now()
        events = [runs.finished_event(self.run, status, now)] if self.run.found else []
        self.save(Progress(status=status, reason=reason, events=events))
        log.info("reconcile_finished", run_id=str(self.run.run_id), status=status, **self.run.counts)
        return status

    def save(self, progress: Progress) -> None:
        """Write progress; raises ``Unavailable`` when another worker has taken the run over."""
        if not runs.record(self.desk.db, self.run, self.desk.clock.now(), progress):
            raise Unavailable("run_taken_over", str(self.run.run_id))

    def let_go(self) -> None:
        """Send what waits in the channel; waits for pauses only while the run itself has patience."""
        drain(self.desk, self.run.channel_id, self.patience)

    @contextmanager
    def held(self) -> Iterator[Talk]:
        """Hold the channel for a few requests; raises ``Postponed`` when it stays busy or patience is over."""
        with ExitStack() as stack:
            yield self._entered(stack)

    def _entered(self, stack: ExitStack) -> Talk:
        while not self.patience.is_over() and self.reads < READS_MAX:
            try:
                return stack.enter_context(leased(self.desk, self.run.channel_id, self.patience))
            except Unavailable:
                if not self.patience.wait(self.desk.clock.now() + BUSY_WAIT):
                    break
        raise Postponed

    # --- every message against the ledger -----------------------------------------------------------------------------

    def _messages(self) -> str | None:
        while True:
            page = next_subjects(self.desk.db, self.run, self.desk.settings.books)
            if not page:
                return runs.COPIES
            while page:
                page = page[self._hold(page) :]

    def _hold(self, page: Sequence[Subject]) -> int:
        """Judge the first subjects of a page under one hold of the channel, at the cost of a few reads; return how many.

        What was found is written once, also when patience ends.
        """
        findings: list[Finding] = []
        proven: dict[str, str | None] = {}
        begun, judged = self.reads, 0
        talk: Talk | None = None
        try:
            with ExitStack() as stack:
                for subject in page:
                    if judging.is_silent(subject):
                        self._count(subject, None, findings, proven)
                    else:
                        talk = talk or self._entered(stack)
                        self._look(talk, subject, findings, proven)
                    self.run.cursor_at, self.run.cursor_key = subject.at, subject.key
                    judged += 1
                    if self.reads - begun >= HELD_READS:
                        break
        finally:
            self.save(Progress(findings=tuple(findings), proven=proven))
        if talk is not None:
            drain(self.desk, self.run.channel_id, Impatient(self.patience))
        return judged

    def _look(self, talk: Talk, subject: Subject, findings: list[Finding], proven: dict[str, str | None]) -> None:
        """Judge a subject. What differs is looked at again as it is now: it may have been told since its page was read.

        What still differs because it is on its way is left to the next run.
        """
        finding = self.judge(talk, subject)
        if finding is not None:
            (now,) = subjects_again(self.desk.db, self.run.channel_id, [subject])
            if now != subject:
                finding = self.judge(talk, now)
            subject = now
            if finding is not None and judging.is_on_its_way(subject, self.run.started_at):
                return
        self._count(subject, finding, findings, proven)

    def _count(self, subject: Subject, finding: Finding | None, findings: list[Finding], proven: dict[str, str | None]) -> None:
        counts = self.run.counts
        counts["actions"] += subject.current is not None
        counts["messages"] += judging.needs_reading(subject)
        if finding is not None:
            counts[finding.kind] += 1
            findings.append(finding)
            proven[subject.key] = finding.said()
        elif judging.needs_reading(subject):
            counts["equal"] += 1
            proven[subject.key] = None

    def judge(self, talk: Talk, subject: Subject) -> Finding | None:
        """Judge one subject, with at most one read."""
        row = subject.row
        if row is None or row.message_id is None:
            return judging.without_message(subject, self.can_look(talk))
        if row.webhook_id is not None and row.webhook_id != talk.channel.webhook_id:
            return judging.unverifiable(subject, "posted by another webhook")
        if talk.channel.status == accounts.DISABLED:
            return judging.unverifiable(subject, f"channel disabled: {talk.channel.status_reason}")
        self.reads += 1
        fetched = fetch(talk, row.message_id, subject.key)
        if fetched.document is not None:
            return judging.with_message(subject, fetched.document, self.style, talk.channel.place)
        return judging.gone(subject) if fetched.is_gone else judging.unverifiable(subject, fetched.problem or "not read")

    def can_look(self, talk: Talk) -> bool:
        """Whether the channel can be listed."""
        return accounts.can_look(talk.limits, talk.channel, self.desk.speaker.can_read, self.desk.clock.now())

    # --- mending ------------------------------------------------------------------------------------------------------

    def _mends(self) -> str | None:
        """Wish for every repair, once all is judged: an edit of one embed would silently mend its neighbours'."""
        while True:
            waiting = self._open_findings()
            if not waiting:
                return runs.REPAIRS
            for found in waiting:
                if found["kind"] != judging.DOUBLE and found["action_id"] is not None:
                    self._mend(found)
                self.run.cursor_key = str(found["ordinal"])
                self.save(Progress())

    def _mend(self, found: dict[str, Any]) -> None:
        subject = self._again_subject(found)
        finding = Finding(kind=found["kind"], subject_key=found["subject_key"], message_id=found["message_id"])
        if found["kind"] == judging.ORPHAN and subject.void is None and subject.current is None:
            with self.held() as talk:
                self._remove(talk, subject)
        else:
            self.desk.db.run(lambda tx: self._wish(tx, subject, finding))

    def _open_findings(self) -> list[dict[str, Any]]:
        after = int(self.run.cursor_key or 0)
        with self.desk.db.transaction(read_only=True) as tx:
            return tx.query(_QUERIES["open_findings"], run_id=self.run.run_id, after=after, rows_max=FINDINGS_PAGE)

    def _again_subject(self, found: dict[str, Any]) -> Subject:
        at = self.run.since
        return subject_again(self.desk.db, self.run.channel_id, found["book_id"], found["action_id"], at)

    def _wish(self, tx: Tx, subject: Subject, finding: Finding) -> None:
        now = self.desk.clock.now()
        (documents,) = tx.call(load_call(Question(keys=((self.run.channel_id, subject.key),))))
        fresh = stored_of(documents).get((self.run.channel_id, subject.key))
        row = judging.repaired(replace(subject, row=fresh), finding, self.style, now)
        if row is not None:
            tx.send(apply_call(None, None, [row], [], now))

    def _remove(self, talk: Talk, subject: Subject) -> None:
        """Delete a message whose only action is unknown; in a digest only its embed goes, by an edit of the others."""
        row = subject.row
        if row is None or row.message_id is None:
            return
        message_id = row.message_id
        with self.desk.db.transaction(read_only=True) as tx:
            others = [one for one in companions(tx, self.run.channel_id, message_id) if one.subject_key != row.subject_key]
        if not others and not delete(talk, message_id, subject.key):
            return
        now = self.desk.clock.now()
        rows: list[Row] = [replace(cleared(row), state=State.REMOVED)]
        rows += [at_rest(replace(one, posted_hash=UNSEEN), now) for one in others[:1]]
        self.desk.db.run(lambda tx: tx.send(apply_call(None, None, rows, [], now)))

    # --- copies -------------------------------------------------------------------------------------------------------

    def _copies(self) -> str | None:
        copies.settle(self)
        return runs.MENDS if self.run.is_repairing and self.run.found else None

    # --- looking again ------------------------------------------------------------------------------------------------

    def _repairs(self) -> str | None:
        begun = self.run.cursor_at or self.desk.clock.now()
        self.run.cursor_at = begun
        while True:
            self.let_go()
            waiting = self._open_findings()
            if not waiting:
                return None
            for start in range(0, len(waiting), HELD_READS):
                with self.held() as talk:
                    for found in waiting[start : start + HELD_READS]:
                        self._again(talk, found, begun)

    def _again(self, talk: Talk, found: dict[str, Any], begun: datetime) -> None:
        repaired: tuple[int, ...] = ()
        proven: dict[str, str | None] = {}
        if found["action_id"] is not None and found["book_id"] is not None:
            now = self.desk.clock.now()
            subject = self._again_subject(found)
            is_under_way = subject.row is not None and subject.row.state in (State.PENDING, State.SENDING)
            if is_under_way and now - begun < REPAIR_PATIENCE:
                raise Postponed
            finding = self.judge(talk, subject)
            if finding is None:
                repaired = (found["ordinal"],)
                self.run.counts["repaired"] += 1
            proven[subject.key] = None if finding is None else finding.said()
        self.run.cursor_key = str(found["ordinal"])
        self.save(Progress(repaired=repaired, proven=proven))


def findings_of(desk: Desk, run_id: UUID, rows_max: int) -> Sequence[dict[str, Any]]:
    """Return the findings of a run for people."""
    with desk.db.transaction(read_only=True) as tx:
        return tx.query(_QUERIES["findings"], run_id=run_id, rows_max=rows_max)


def run_of(desk: Desk, run_id: UUID) -> dict[str, Any] | None:
    """Return one run for people."""
    with desk.db.transaction(read_only=True) as tx:
        found = tx.query(_QUERIES["run"], run_id=run_id)
    return found[0] if found else None
