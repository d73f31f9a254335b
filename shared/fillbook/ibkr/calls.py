"""The operator's way to the desk: HTTP only, to the read API with a desk key and to ``execution_sync`` with an identity.

Nothing here knows the database or the broker: what a person may do is what the two functions let that person do. An answer
is bounded in size and time; a refusal keeps the function's own words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import requests
from pydantic import SecretStr

from fillbook.runtime.auth import identity_for
from fillbook.runtime.config import Config
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.runtime.outgoing import read_json, session

CONNECT_SECONDS = 3
ANSWER_SECONDS = 30
ANSWER_BYTES_MAX = 8 * 1024 * 1024
PAGES_MAX = 200


class OperatorConfig(Config):
    """Where the desk is and who asks: base URLs, a desk key, the audience and the account of the operator's identity."""

    trade_tracker_url: str | None = None
    execution_sync_url: str | None = None
    execution_sync_audience: str | None = None
    fillbook_desk_key: SecretStr | None = None
    fillbook_operator_account: str = "fb-operator"


class Desk:
    """The functions an operator speaks to."""

    def __init__(self, config: OperatorConfig) -> None:
        """Speak with what the environment says; an address that is missing is missed when it is needed."""
        self._config = config
        self._identity = identity_for(config, account=config.fillbook_operator_account)

    def read(self, path: str, **parameters: str) -> Any:
        """Ask the read API; raises ``Rejected`` with its slug, ``Unavailable`` when it is away or not configured."""
        key = self._config.fillbook_desk_key
        if key is None:
            raise Unavailable("desk_key_missing", "FILLBOOK_DESK_KEY is not set")
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"}
        return _asked(_base(self._config.trade_tracker_url, "TRADE_TRACKER_URL"), "GET", path, headers, parameters, None)

    def pages(self, path: str, most: int, **parameters: str) -> Iterator[Mapping[str, Any]]:
        """The items of a list, page after page, ``most`` at most."""
        for _ in range(PAGES_MAX):
            page = self.read(path, **parameters)
            yield from page["items"][:most]
            most -= len(page["items"])
            if most <= 0 or page["next_cursor"] is None:
                return
            parameters["cursor"] = page["next_cursor"]

    def sync(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> Any:
        """Ask ``execution_sync`` with the operator's identity; raises as ``read``."""
        base = _base(self._config.execution_sync_url, "EXECUTION_SYNC_URL")
        headers = self._identity.header(self._config.execution_sync_audience or base)
        return _asked(base, method, path, headers, {}, document)


def _base(url: str | None, name: str) -> str:
    if not url:
        raise Unavailable("desk_unknown", f"{name} is not set")
    return url.rstrip("/")


def _asked(
    base: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    parameters: Mapping[str, str],
    document: Mapping[str, Any] | None,
) -> Any:
    try:
        with (
            session() as http,
            http.request(
                method,
                f"{base}{path}",
                headers=dict(headers),
                params=dict(parameters),
                json=None if document is None else dict(document),
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                stream=True,
                allow_redirects=False,
            ) as response,
        ):
            body = read_json(response, seconds=ANSWER_SECONDS, bytes_max=ANSWER_BYTES_MAX)
            status = response.status_code
    except requests.RequestException as error:
        raise Unavailable("desk_unreachable", type(error).__name__) from error
    if 200 <= status < 300:
        return body
    reason, field = _refusal(body)
    if status >= 500 or status == 429:
        raise Unavailable(reason, f"HTTP {status}")
    raise Rejected(reason, f"HTTP {status}", field=field, status=status)


def _refusal(body: Any) -> tuple[str, str | None]:
    """The slug and the field of either error shape: ``{"error": {code, message}}`` or ``{"ok": false, reason, field}``."""
    document = body if isinstance(body, dict) else {}
    error = document.get("error")
    if isinstance(error, dict):
        return str(error.get("code", "refused")), str(error.get("message", ""))
    return str(document.get("reason", "refused")), document.get("field")


Verb = Callable[[Desk, Any], int]
