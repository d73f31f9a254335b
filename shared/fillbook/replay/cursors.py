"""Where a run stands: the place of the last receipt handled, and how it travels through a client that must not read it.

The order is ``ts, ticker, received_at, receipt_id``: the place of one receipt alone, so rows that arrive meanwhile are neither
skipped nor met twice. Instants are whole microseconds, as the database keeps them.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"


@frozen
class Cursor:
    """The place right after one receipt; ``before(ts)`` is the place before all of an instant."""

    ts: int
    ticker: str
    received_at: datetime
    receipt_id: str

    @property
    def text(self) -> str:
        """As the run record keeps it."""
        return f"{self.ts}|{self.ticker}|{(self.received_at - EPOCH) // MICROSECOND}|{self.receipt_id}"

    @property
    def token(self) -> str:
        """As a client hands it back: opaque."""
        return base64.urlsafe_b64encode(self.text.encode()).decode().rstrip("=")

    @property
    def key(self) -> tuple[int, str, datetime, str]:
        """For comparing places of one ticker or one instant; the database orders tickers."""
        return (self.ts, self.ticker, self.received_at, self.receipt_id)


def instant_of(text: str) -> datetime:
    """An instant as the database writes it in a session of ours."""
    return datetime.fromisoformat(text).astimezone(UTC)


def before(ts: int) -> Cursor:
    """The place before every receipt of ``ts``."""
    return Cursor(ts=ts, ticker="", received_at=EPOCH, receipt_id=FIRST_ID)


def cursor_of(text: str) -> Cursor:
    """Read a kept cursor; ``ValueError`` when it is none."""
    ts, ticker, received, receipt_id = text.split("|")
    return Cursor(ts=int(ts), ticker=ticker, received_at=EPOCH + int(received) * MICROSECOND, receipt_id=str(UUID(receipt_id)))


def cursor_from(token: str) -> Cursor:
    """Read a client's cursor; ``Rejected('param')`` naming ``after`` when it is none of ours."""
    try:
        return cursor_of(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    except (ValueError, binascii.Error, OverflowError) as error:
        raise Rejected("param", "no cursor of this desk", field="after") from error
