"""The only module that speaks Discord's API: builds its own v10 URLs, sends one bounded request, never raises for Discord.

It refuses to follow redirects, to retry (the ladder does), to trust a copied URL's version, and to let a token out: not
into an error, an excerpt or a log. A request is bounded as a whole, headers and dripping bodies included, by a watchdog
that shuts the socket down; whether the body had begun to leave is observed, not guessed from an exception's name.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from typing import Any

import requests
from pydantic import SecretStr
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from fillbook.notify.model import Answer, Failure, Operation, Request
from fillbook.notify.text import clean
from fillbook.notify.webhook import API_BASE, Webhook
from fillbook.runtime import clock
from fillbook.runtime.watched import CALL, Watchdog, WatchedAdapter

USER_AGENT = "DiscordBot (https://fillbook.example, 0.1.0)"
CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 15.0
ANSWER_BYTES_MAX = 256 * 1024
CHUNK_BYTES = 16 * 1024
EXCERPT_CHARACTERS_MAX = 500
IDLE_SECONDS_MAX = 20.0
"""A kept connection idle for longer may be gone without a word; sending on it would leave the fate of a message open."""

_SNOWFLAKE = re.compile(r"\d{15,20}")
_METHODS = {Operation.CREATE: "POST", Operation.EDIT: "PATCH", Operation.DELETE: "DELETE"}


# --- the adapter ------------------------------------------------------------------------------------------------------


class Discord:
    """Says requests to Discord. ``webhooks`` by our channel id; safe to share between threads (a session each)."""

    def __init__(
        self,
        webhooks: Mapping[str, Webhook],
        *,
        api_base: str = API_BASE,
        read_token: SecretStr | None = None,
        username: str = "Fillbook",
        total_seconds: float = TOTAL_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self._webhooks = dict(webhooks)
        self._base = api_base.rstrip("/")
        self._read_token = read_token
        self._username = username
        self._total_seconds = total_seconds
        self._connect_seconds = connect_seconds
        self._local = threading.local()

    @property
    def can_read(self) -> bool:
        """Whether a read token is configured, so that messages of a channel can be listed."""
        return self._read_token is not None

    def channels(self) -> list[dict[str, Any]]:
        """Return the configured channels as ``notify.channels`` knows them; no token, no URL."""
        return [
            {
                "channel_id": channel_id,
                "kind": channel_id,
                "webhook_id": webhook.webhook_id,
                "secret_name": webhook.secret_name,
                "thread_id": webhook.thread_id,
            }
            for channel_id, webhook in sorted(self._webhooks.items())
        ]

    def send(self, request: Request) -> Answer:
        """Send ``request`` once. Whatever happens on the way becomes an ``Answer``; a bug in the request raises."""
        url, params, headers, body = self._prepare(request)
        session = self._session()
        deadline = clock.monotonic() + self._total_seconds
        with Watchdog(self._total_seconds) as watchdog:
            try:
                response = session.request(
                    _METHODS.get(request.operation, "GET"),
                    url,
                    params=params,
                    data=body,
                    headers=headers,
                    stream=True,
                    timeout=(min(self._connect_seconds, self._total_seconds), self._total_seconds),
                    allow_redirects=False,
                )
            except (requests.RequestException, HTTPError, OSError, ValueError) as error:
                self._forget()
                failure = Failure.NO_ANSWER if CALL.is_sending else Failure.NOT_SENT
                is_late = watchdog.has_bitten or isinstance(error, requests.ReadTimeout)  # a read may take all the time there is
                name = "deadline" if is_late else type(error).__name__
                return Answer(failure=failure, error=name)
            raw, failed = self._read(response, deadline)
            failed = "deadline" if failed is not None and watchdog.has_bitten else failed
        return self._answer(response, raw, failed)

    def _read(self, response: requests.Response, deadline: float) -> tuple[bytes, str | None]:
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                chunk = response.raw.read1(CHUNK_BYTES, decode_content=False)
                if not chunk:
                    break
                size += len(chunk)
                parts.append(chunk)
                if size > ANSWER_BYTES_MAX:
                    return self._torn(response, parts, "answer_too_large")
                if clock.monotonic() > deadline:
                    return self._torn(response, parts, "deadline")
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            return self._torn(response, parts, type(error).__name__)
        if clock.monotonic() > deadline:
            return self._torn(response, parts, "deadline")
        response.raw.release_conn()
        return b"".join(parts), None

    def _torn(self, response: requests.Response, parts: list[bytes], error: str) -> tuple[bytes, str]:
        response.close()
        self._forget()
        return b"".join(parts)[:ANSWER_BYTES_MAX], error

    def _answer(self, response: requests.Response, raw: bytes, failed: str | None) -> Answer:
        document: Any = None
        error = failed
        if failed is None and raw:
            try:
                document = json.loads(raw)
            except (ValueError, RecursionError):
                error = "answer_invalid"
        is_error = response.status_code >= 300 or failed is not None
        return Answer(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            document=document,
            failure=None if failed is None else Failure.TORN,
            error=error,
            excerpt=self._excerpt(raw) if is_error else "",
        )

    def _excerpt(self, raw: bytes) -> str:
        text = raw[: 4 * EXCERPT_CHARACTERS_MAX].decode("utf-8", "replace")
        secrets = [webhook.token.get_secret_value() for webhook in self._webhooks.values()]
        if self._read_token is not None:
            secrets.append(self._read_token.get_secret_value())
        for secret in secrets:
            text = text.replace(secret, "***")
        return clean(text)[:EXCERPT_CHARACTERS_MAX]

    # --- what goes out ------------------------------------------------------------------------------------------------

    def _prepare(self, request: Request) -> tuple[str, dict[str, str], dict[str, str], bytes | None]:
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity"}
        if request.operation is Operation.LIST:
            return self._list(request, headers)
        webhook = self._webhooks[request.channel_id]
        url = f"{self._base}/webhooks/{webhook.webhook_id}/{webhook.token.get_secret_value()}"
        if request.operation is Operation.HOOK:
            return url, {}, headers, None
        params = {} if webhook.thread_id is None else {"thread_id": webhook.thread_id}
        if request.operation is Operation.CREATE:
            params["wait"] = "true"
        else:
            url += f"/messages/{_snowflake(request.message_id)}"
        if request.operation in (Operation.GET, Operation.DELETE):
            return url, params, headers, None
        headers["Content-Type"] = "application/json"
        return url, params, headers, json.dumps(self._body(request), ensure_ascii=False, separators=(",", ":")).encode()

    def _body(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = {"embeds": [dict(embed) for embed in request.embeds], "allowed_mentions": {"parse": []}}
        if request.operation is Operation.CREATE:
            return {**body, "username": self._username}
        return {**body, "content": ""}

    def _list(self, request: Request, headers: dict[str, str]) -> tuple[str, dict[str, str], dict[str, str], None]:
        if self._read_token is None:
            raise ValueError("listing needs a read token")
        headers["Authorization"] = f"Bot {self._read_token.get_secret_value()}"
        params = {"limit": str(request.limit)}
        if request.before is not None:
            params["before"] = str(request.before)
        return f"{self._base}/channels/{_snowflake(request.place)}/messages", params, headers, None

    # --- sessions -----------------------------------------------------------------------------------------------------

    def _session(self) -> requests.Session:
        """Return this thread's session; one that was idle for long begins with a new connection."""
        made: requests.Session | None = getattr(self._local, "session", None)
        now = clock.monotonic()
        if made is None:
            made = self._local.session = requests.Session()
            made.trust_env = False
            adapter = WatchedAdapter(max_retries=Retry(total=0, redirect=0), pool_connections=1, pool_maxsize=1)
            made.mount("http://", adapter)
            made.mount("https://", adapter)
        elif now - self._local.used_at > IDLE_SECONDS_MAX:
            made.close()
        self._local.used_at = now
        return made

    def _forget(self) -> None:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is not None:
            session.close()


def _snowflake(value: str | None) -> str:
    if value is None or not _SNOWFLAKE.fullmatch(value):
        raise ValueError("not a snowflake")
    return value
