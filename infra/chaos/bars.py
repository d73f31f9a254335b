"""The sender's side of a chaos day: a few minutes of an invented day through the real webhook, repeated until they are taken.

Two minutes a moment, one after the other, so that a ticker's receipts are decided in the order in which the plan sends them and
a run can be told again; whatever the wire does to them in between.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from fillbook.calendar import calendar
from infra.chaos.plan import PLACES, DayPlan
from infra.chaos.stage import Answer, Stage, asked
from infra.local.demo_day import invented_day
from infra.local.receipts import Document
from infra.local.sender import encode_receipt

AT_ONCE: Final = 16
TRIES_MAX: Final = 400
RETRY_SECONDS: Final = 0.1
TICKERS: Final = max(PLACES) + 1
OLD_MINUTES: Final = 25
"""So long before a moment lies the minute that comes too late to be traded; the plan's own minutes are wider apart."""
HOSTILE: Final = (
    b"", b"null", b"[]", b"hello", b"\xff\xfe\x00\x01", b'{"ticker":"A","ts":NaN,"price":NaN}',
    b'{"ticker":"A","ts":1770131700000,"price":1e400}', b'{"ticker":"A\\u0000"}', b'{"ticker":"\\ud800"}',
    b"[" * 5_000 + b"]" * 5_000, b'{"ticker":"A","ticker":"B"}', b'{"ticker":"A","ts":' + b"9" * 70_000 + b"}",
)  # fmt: skip
"""Bodies that no route may take; the last one is longer than the door allows."""
REFUSED_BY_THE_DOOR: Final = range(400, 500)
ACCEPTED: Final = 202


class DayOfBars:
    """The receipts of one session, by minute; ``digest`` is of all that the plan sends."""

    def __init__(self, plan: DayPlan, seed: int) -> None:
        session = calendar().session(plan.day)
        assert session is not None
        self._wanted = sorted({minute for moment in plan.moments for minute in moment.minutes})
        whole = invented_day(session.open_at, self._wanted[-1] + 1, tickers=TICKERS, seed=f"chaos {seed}")
        self.day = plan.day
        self.opened_at: datetime = session.open_at
        self._minutes: list[list[Document]] = [[minute[place] for place in PLACES] for minute in whole]

    def of(self, minute: int) -> list[Document]:
        """Receipts of a minute, one a ticker."""
        return self._minutes[minute]

    @property
    def digest(self) -> str:
        """SHA-256 of the bodies of the plan's minutes."""
        made = hashlib.sha256()
        for receipt in itertools.chain.from_iterable(self._minutes[minute] for minute in self._wanted):
            made.update(encode_receipt(receipt))
        return made.hexdigest()


class Sender:
    """Sends to one stage's door."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._url = f"{stage.cloud.url('signal_ingest')}/timed/ingest"
        self._pool = ThreadPoolExecutor(AT_ONCE)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def send(self, receipts: Iterable[Document]) -> None:
        """Post receipts side by side, each until the door has taken it, and wait until all are decided."""
        list(self._pool.map(self._until_taken, [encode_receipt(one) for one in receipts]))
        self._stage.decide_all()

    def _until_taken(self, body: bytes) -> None:
        for _ in range(TRIES_MAX):
            answer = self._post(body)
            if answer.status == ACCEPTED:
                self._stage.acknowledged.add(str(answer.document["receiptId"]))
                return
            if answer.status in REFUSED_BY_THE_DOOR and answer.status != 429:
                raise AssertionError(f"the door refused a receipt: {answer.status} {answer.body[:200]!r}")
            time.sleep(RETRY_SECONDS)
        raise AssertionError("the door took a receipt never")

    def _post(self, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        usual = {"Authorization": f"Bearer {self._stage.cloud.secrets['ingest_token']}"}
        return asked(self._url, body, usual if headers is None else headers)

    def minutes(self, day: DayOfBars, minutes: Sequence[int], *, is_reversed: bool) -> None:
        """The minutes of a moment, in their order or the later one first."""
        for minute in reversed(minutes) if is_reversed else minutes:
            self.send(day.of(minute))

    # --- what a sender does wrong ---

    def repeat(self, day: DayOfBars, minutes: Sequence[int], times: int) -> bool:
        """The moment's receipts again."""
        for _ in range(times):
            self.send(receipt for minute in minutes for receipt in day.of(minute))
        return True

    def together(self, day: DayOfBars, minutes: Sequence[int], times: int) -> bool:
        """One receipt many times at once."""
        self.send([day.of(minutes[-1])[0]] * times)
        return True

    def stale(self, day: DayOfBars, minutes: Sequence[int]) -> bool:
        """A minute that nobody sent in its time."""
        old = minutes[0] - OLD_MINUTES
        if old < 0:
            return False
        self.send(day.of(old))
        return True

    def other_content(self, day: DayOfBars, minutes: Sequence[int], ticker: int) -> bool:
        """A decided minute of a ticker with another price."""
        receipt = day.of(minutes[-1])[ticker]
        self.send([{**receipt, "price": receipt["price"] + Decimal("0.01")}])
        return True

    def hostile(self, body: int) -> bool:
        """A body that must be refused; raises where it was not."""
        return self._is_refused(self._post(HOSTILE[body]), (400, 413, 422))

    def stranger(self, day: DayOfBars, minutes: Sequence[int], how: str) -> bool:
        """A good receipt from somebody who may not send."""
        token = self._stage.cloud.secrets["ingest_token"]
        wrong: dict[str, Any] = {
            "none": "",
            "wrong": "Bearer wrong",
            "altered": f"Bearer {token[:-1]}{'A' if token[-1] != 'A' else 'B'}",
        }
        return self._is_refused(self._post(encode_receipt(day.of(minutes[-1])[0]), {"Authorization": wrong[how]}), (401, 403))

    def _is_refused(self, answer: Answer, allowed: Sequence[int]) -> bool:
        if answer.status in (0, 500, 502, 503, 504):
            return False  # nobody was there to refuse it
        if answer.status not in allowed:
            raise AssertionError(f"not refused: {answer.status} {answer.body[:200]!r}")
        self._stage.refused[answer.status] += 1
        return True
