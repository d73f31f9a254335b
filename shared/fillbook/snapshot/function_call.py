"""The function ``snapshot_publisher`` over HTTP, with an operator's identity; answers are bounded in size and time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import requests

from fillbook.runtime.auth import identity_for
from fillbook.runtime.config import Config
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.runtime.outgoing import read_json, session

CONNECT_SECONDS: Final = 3
ANSWER_SECONDS: Final = 600  # a call is answered within 540 s
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024


class OperatorConfig(Config):
    """Where the function is and who asks."""

    snapshot_publisher_url: str | None = None
    snapshot_publisher_audience: str | None = None
    fillbook_operator_account: str = "fb-operator"


class PublisherFunction:
    """One call of a person."""

    def __init__(self, config: OperatorConfig) -> None:
        """An address that is missing is missed when it is needed."""
        self._config = config
        self._identity = identity_for(config, account=config.fillbook_operator_account)

    def publish(self, body: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        """Ask; the HTTP status and the document of the outcome. Raises ``Unavailable`` or ``Rejected`` where there is none."""
        if not self._config.snapshot_publisher_url:
            raise Unavailable("function_unknown", "SNAPSHOT_PUBLISHER_URL is not set")
        base = self._config.snapshot_publisher_url.rstrip("/")
        header = self._identity.header(self._config.snapshot_publisher_audience or base)
        try:
            with (
                session() as http,
                http.post(
                    f"{base}/",
                    headers=dict(header),
                    json=dict(body),
                    timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                    stream=True,
                    allow_redirects=False,
                ) as response,
            ):
                document = read_json(response, seconds=ANSWER_SECONDS, bytes_max=ANSWER_BYTES_MAX)
                status = response.status_code
        except requests.RequestException as error:
            raise Unavailable("function_unreachable", type(error).__name__) from error
        if isinstance(document, dict) and "results" in document:
            return status, document
        reason = str(document.get("reason", "refused")) if isinstance(document, dict) else "refused"
        if status >= 500:
            raise Unavailable(reason, f"HTTP {status}")
        raise Rejected(reason, f"HTTP {status}", status=status)
