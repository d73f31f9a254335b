"""Pub/Sub over its REST API: the push envelope as one strict model, and a publisher with a bounded budget.

The gRPC client would cost 0.2-0.3 s at import; functions-framework's CloudEvent conversion loses ordering key and
delivery attempt. The same code speaks to the local cloud and to Google; credentials are only sought in the cloud. A
publish that timed out may have happened: consumers keep an inbox by our event id, never by message id.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import AliasChoices, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from fillbook.instants import in_utc
from fillbook.runtime import clock
from fillbook.runtime.auth import AccessToken
from fillbook.runtime.config import PubSubConfig
from fillbook.runtime.errors import Rejected, Unavailable
from fillbook.runtime.sql import encode
from fillbook.values import frozen

if TYPE_CHECKING:
    import requests

GOOGLE = "https://pubsub.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/pubsub"
PUSH_BYTES_MAX = 14_000_000  # 10 MB of data as base64, and the envelope around it
MESSAGES_MAX = 1_000
REQUEST_BYTES_MAX = 9_500_000
PUBLISH_SECONDS = 5.0
_PERMANENT = frozenset({400, 413, 422})
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


class _Inner(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    data: bytes = b""
    attributes: dict[str, str] = Field(default_factory=dict)
    message_id: str = Field(validation_alias=AliasChoices("messageId", "message_id"), min_length=1, max_length=256)
    ordering_key: str = Field(default="", validation_alias=AliasChoices("orderingKey", "ordering_key"))
    publish_time: AwareDatetime = Field(validation_alias=AliasChoices("publishTime", "publish_time"))

    @field_validator("data", mode="before")
    @classmethod
    def _from_base64(cls, text: Any) -> Any:
        if not isinstance(text, str):
            raise ValueError("data is not text")  # noqa: TRY004 -- pydantic collects ValueError
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ValueError("data is not base64") from error

    @field_validator("publish_time")
    @classmethod
    def _is_in_utc(cls, at: datetime) -> datetime:
        return in_utc(at)

    @field_validator("attributes", mode="before")
    @classmethod
    def _none_is_empty(cls, attributes: Any) -> Any:
        return {} if attributes is None else attributes


class _Envelope(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    message: _Inner
    subscription: str = Field(min_length=1, max_length=512)
    delivery_attempt: int | None = Field(default=None, validation_alias=AliasChoices("deliveryAttempt", "delivery_attempt"))


@frozen
class PushMessage:
    """One delivery of one message. ``delivery_attempt`` is None for subscriptions without a dead-letter topic."""

    data: bytes
    attributes: Mapping[str, str]
    message_id: str
    ordering_key: str
    publish_time: datetime
    delivery_attempt: int | None
    subscription: str

    @classmethod
    def parse(cls, body: bytes) -> PushMessage:
        """Read a push request's body; raises ``Rejected('envelope_invalid')`` naming the field, never a value."""
        try:
            envelope = _Envelope.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or None
            raise Rejected("envelope_invalid", str(first["type"]), field=place) from None
        inner = envelope.message
        return cls(
            data=inner.data,
            attributes=inner.attributes,
            message_id=inner.message_id,
            ordering_key=inner.ordering_key,
            publish_time=inner.publish_time,
            delivery_attempt=envelope.delivery_attempt,
            subscription=envelope.subscription,
        )


@frozen
class OutMessage:
    """A message to publish; ``data`` as it shall arrive, attributes are text."""

    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)
    ordering_key: str = ""


class Publish(Protocol):
    """The port that rooms use to publish."""

    def publish(self, topic: str, messages: Sequence[OutMessage], *, timeout_seconds: float = PUBLISH_SECONDS) -> list[str]:
        """Publish messages of one ordering key; return their ids in order."""
        ...


class Publisher:
    """Publishes to the topics of one project over kept connections; safe to share between threads."""

    def __init__(self, project: str, *, base_url: str = GOOGLE, token: Any = None) -> None:
        self._url = f"{base_url}/v1/projects/{project}/topics"
        self._token = token  # a function that returns a valid access token, or None where none is needed
        self._idle: deque[requests.Session] = deque()  # the newest is taken first, so what a rush opened is left to end

    def publish(self, topic: str, messages: Sequence[OutMessage], *, timeout_seconds: float = PUBLISH_SECONDS) -> list[str]:
        """Publish in one request; return message ids in order.

        Raises ``Unavailable('pubsub_unavailable')`` (also when we may not publish: nothing is lost by trying again),
        ``Rejected('publish_refused')`` when Pub/Sub refuses the messages for good, ``ValueError`` for mixed ordering keys or
        more than 1,000 messages. Answers within ``timeout_seconds``.
        """
        body = _request_body(messages)
        if not messages:
            return []
        import requests

        deadline = clock.monotonic() + timeout_seconds
        try:
            headers = {"Content-Type": "application/json", **self._authorization()}
            status, said = self._post(f"{self._url}/{topic}:publish", body, headers, deadline, timeout_seconds)
        except requests.RequestException as error:
            raise Unavailable("pubsub_unavailable", type(error).__name__) from error
        if status in _PERMANENT:
            raise Rejected("publish_refused", f"status {status}", status=502)
        if status != 200:
            raise Unavailable("pubsub_unavailable", f"status {status}")
        return _ids(said, len(messages))

    def _post(
        self, url: str, body: bytes, headers: Mapping[str, str], deadline: float, timeout_seconds: float
    ) -> tuple[int, bytes]:
        """Post, and once more when the answer says that it may help and a quarter of the time is not yet gone."""
        status, said = self._post_once(url, body, headers, deadline, timeout_seconds)
        if status in _AGAIN and deadline - clock.monotonic() > timeout_seconds * 3 / 4:
            status, said = self._post_once(url, body, headers, deadline, timeout_seconds)
        return status, said

    def _post_once(
        self, url: str, body: bytes, headers: Mapping[str, str], deadline: float, timeout_seconds: float
    ) -> tuple[int, bytes]:
        """One request; its answer is read against the deadline, so that one that drips is left like one that is silent."""
        from fillbook.runtime.outgoing import read_bounded

        timeout = (timeout_seconds / 4, timeout_seconds / 2)
        with (
            self._session() as session,
            session.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False, stream=True) as response,
        ):
            return response.status_code, read_bounded(response, seconds=max(deadline - clock.monotonic(), 0))

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        """A session of one's own while it is used: there are as many connections as publishes at once, never one per thread."""
        try:
            kept = self._idle.pop()
        except IndexError:
            from fillbook.runtime.outgoing import session

            kept = session(pool_size=1)
        try:
            yield kept
        finally:
            self._idle.append(kept)

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token()}"} if self._token is not None else {}


def _request_body(messages: Sequence[OutMessage]) -> bytes:
    if len(messages) > MESSAGES_MAX or len({message.ordering_key for message in messages}) > 1:
        raise ValueError(f"one request takes at most {MESSAGES_MAX} messages of one ordering key")
    documents: list[dict[str, object]] = []
    for message in messages:
        document: dict[str, object] = {"data": base64.b64encode(message.data).decode("ascii"), "attributes": message.attributes}
        if message.ordering_key:
            document["orderingKey"] = message.ordering_key
        documents.append(document)
    body = encode({"messages": documents}).encode()
    if len(body) > REQUEST_BYTES_MAX:
        raise ValueError(f"a publish request of {len(body)} bytes is above the limit of {REQUEST_BYTES_MAX}")
    return body


def _ids(said: bytes, count: int) -> list[str]:
    try:
        ids = json.loads(said)["messageIds"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable("pubsub_unavailable", "an answer without message ids") from error
    if not isinstance(ids, list) or len(ids) != count:
        raise Unavailable("pubsub_unavailable", "an answer with another number of message ids")
    return [str(one) for one in ids]


def publisher_for(config: PubSubConfig) -> Publisher:
    """Return the publisher of a configuration: Google with our credentials, or the local cloud without any."""
    if config.fillbook_local_url is not None:
        return Publisher(config.fillbook_project, base_url=config.fillbook_local_url)
    return Publisher(config.fillbook_project, token=AccessToken(SCOPE, "pubsub_unavailable"))
