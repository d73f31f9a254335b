"""The operator's ways to the room: the database as ``desk_operator`` for what is linked and labelled, HTTP for a sync.

What a person may do is what that role's functions and ``account_sync`` let a person do. An answer is bounded in size and time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import requests

from fillbook.runtime.auth import identity_for
from fillbook.runtime.config import DatabaseConfig
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.runtime.outgoing import read_json, session

CONNECT_SECONDS: Final = 3
ANSWER_SECONDS: Final = 330
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
TOLD: Final = (200, 202, 404, 409, 429)
"""Answers of ``account_sync`` whose document says all there is to say."""


class OperatorConfig(DatabaseConfig):
    """Where the room is and who asks."""

    account_sync_url: str | None = None
    account_sync_audience: str | None = None
    fillbook_operator_account: str = "fb-operator"
    mt5_service_url: str | None = None


class AccountSyncFunction:
    """``account_sync`` over HTTP, with the operator's identity."""

    def __init__(self, config: OperatorConfig) -> None:
        """Speak with what the environment says; an address that is missing is missed when it is needed."""
        self._config = config
        self._identity = identity_for(config, account=config.fillbook_operator_account)

    def sync(self, body: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        """Ask for a sync; the HTTP status and the document. Raises ``Rejected`` or ``Unavailable`` with the function's slug."""
        return self._asked("POST", "/mt5/sync", body)

    def status(self, run_id: str | None) -> tuple[int, Mapping[str, Any]]:
        """How far a run is."""
        return self._asked("GET", "/mt5/sync/status" if run_id is None else f"/mt5/sync/status?run_id={run_id}", None)

    def rebuild(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask for accounts to be made again from their deals; the document. Raises as ``sync``."""
        return self._asked("POST", "/mt5/rebuild", body)[1]

    def header(self) -> Mapping[str, str]:
        """The identity for a call by other means."""
        return self._identity.header(self._config.account_sync_audience or self._base())

    def _base(self) -> str:
        if not self._config.account_sync_url:
            raise Unavailable("function_unknown", "ACCOUNT_SYNC_URL is not set")
        return self._config.account_sync_url.rstrip("/")

    def _asked(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, Mapping[str, Any]]:
        base = self._base()
        try:
            with (
                session() as http,
                http.request(
                    method,
                    f"{base}{path}",
                    headers=dict(self.header()),
                    json=None if body is None else dict(body),
                    timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                    stream=True,
                    allow_redirects=False,
                ) as response,
            ):
                document = read_json(response, seconds=ANSWER_SECONDS, bytes_max=ANSWER_BYTES_MAX)
                status = response.status_code
        except requests.RequestException as error:
            raise Unavailable("function_unreachable", type(error).__name__) from error
        found = document if isinstance(document, dict) else {}
        if status in TOLD and "executionId" in found:
            return status, found
        reason = str(found.get("error", "refused"))
        if status >= 500:
            raise Unavailable(reason, f"HTTP {status}, execution {found.get('executionId')}")
        raise Rejected(reason, f"HTTP {status}", status=status)
