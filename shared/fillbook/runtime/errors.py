"""The four ways a use case can fail, and what each means at an edge.

    FillbookError
    ├── Rejected      the input is wrong and stays wrong     HTTP 4xx    push: quarantine, 204   cron: log, 200
    ├── Conflict      the same key came with other content   HTTP 409    push: quarantine, 204   cron: log, 200
    └── Unavailable   the outside is down, trying again helps HTTP 503   push: 503, redelivered  cron: 500, next tick
    anything else     a bug                                  HTTP 500 with an opaque id, never the text

A duplicate is not an error: it is a result that says so. Reasons are slugs (``ticker_invalid``); they may be shown to
anyone, so they never hold a value from the input. ``detail`` is for logs and may hold ids, never secrets.
"""

from __future__ import annotations


class FillbookError(Exception):
    """Base of the three expected failures; ``reason`` is a slug, ``detail`` a sentence for the log."""

    def __init__(self, reason: str, detail: str = "", *, field: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.field = field


class Rejected(FillbookError):
    """The input is wrong and stays wrong; ``status`` is the HTTP answer (400 unless a contract says otherwise).

    ``retry_after_seconds``: when the same may be asked again, where only its number was wrong (429).
    """

    def __init__(
        self,
        reason: str,
        detail: str = "",
        *,
        field: str | None = None,
        status: int = 400,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(reason, detail, field=field)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class Conflict(FillbookError):
    """The same key arrived with other content; what was stored first stands."""


class Unavailable(FillbookError):
    """The outside (database, broker, Discord) is down or busy; the caller should try again."""

    def __init__(self, reason: str, detail: str = "", *, retry_after_seconds: int = 5) -> None:
        super().__init__(reason, detail)
        self.retry_after_seconds = retry_after_seconds
