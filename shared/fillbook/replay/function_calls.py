"""The function ``replay_worker`` over HTTP, with a desk key; answers are bounded in size and time.

A refusal keeps the function's own slug. The key is sent in a header and nowhere else.
"""

from __future__ import annotations

from typing import Any, Final

import requests
from pydantic import SecretStr

from fillbook.replay.client import Busy, Document
from fillbook.runtime.config import Config
from fillbook.runtime.errors import Conflict, Rejected, Unavailable
from fillbook.runtime.outgoing import read_json, session

CONNECT_SECONDS: Final = 3
ANSWER_SECONDS: Final = 75  # a request is answered within 55 s, a comparison may take a little longer
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
BUSY_SECONDS: Final = 5


class ReplayClientConfig(Config):
    """Where the function is, who asks, and the options of the verb ``run`` that may stand in the environment."""

    replay_worker_url: str | None = None
    fillbook_desk_key: SecretStr | None = None
    date: str | None = None
    ticker: str | None = None
    bucket: int | None = None
    clean_slate: bool = False
    delay_ms: int = 0


class ReplayFunction:
    """One connection that is kept."""

    def __init__(self, url: str, key: SecretStr) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._http = session(pool_size=1)

    def get(self, path: str, **parameters: str) -> Document:
        """Ask; see ``client.Server``."""
        return self._asked("GET", path, parameters, None)

    def post(self, path: str, document: Document) -> Document:
        """Tell; see ``client.Server``."""
        return self._asked("POST", path, None, document)

    def _asked(self, method: str, path: str, parameters: Document | None, document: Document | None) -> Document:
        try:
            with self._http.request(
                method,
                f"{self._url}{path}",
                params=parameters,
                json=document,
                headers={"Authorization": f"Bearer {self._key.get_secret_value()}"},
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                stream=True,
                allow_redirects=False,
            ) as response:
                found = read_json(response, seconds=ANSWER_SECONDS, bytes_max=ANSWER_BYTES_MAX)
                retry_after = response.headers.get("Retry-After")
                return judged(response.status_code, retry_after, found if isinstance(found, dict) else {})
        except requests.RequestException as error:
            raise Unavailable("connection_lost", type(error).__name__) from error


def judged(status: int, retry_after: str | None, found: dict[str, Any]) -> Document:
    """The document of an answer, or what it means that there is none; see ``client.Server``."""
    if status < 300:
        return found
    reason = str(found.get("reason", "refused"))
    if status >= 500:
        raise Unavailable(reason, f"HTTP {status}, request {found.get('request_id')}")
    if reason == "run_busy":
        raise Busy(_seconds(retry_after))
    told = ", ".join(f"{name} {value}" for name, value in found.items() if name not in ("ok", "reason"))
    if status == 409:
        raise Conflict(reason, told)
    raise Rejected(reason, told, field=found.get("field"), status=status)


def _seconds(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else BUSY_SECONDS
