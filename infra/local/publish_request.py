"""A publish request, read as Google reads it: the limits, the refusals and their JSON error shape.

``parse`` turns the body into ``Incoming`` messages or raises ``Refused`` with Google's code, status and a like text. A message is
made into its push form once, at the door, and travels as those bytes from then on.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

BODY_BYTES_MAX = 10 * 1024 * 1024
MESSAGES_MAX = 1_000
ATTRIBUTES_MAX = 100
ATTRIBUTE_KEY_BYTES_MAX = 256
ATTRIBUTE_VALUE_BYTES_MAX = 1_024
ORDERING_KEY_BYTES_MAX = 1_024
DATA = b'"data":"'
REQUEST_BYTES_MIN = 1_000
"""A request to publish or to deliver is charged for at least so much."""
STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class Refused(Exception):
    """A request that Google would refuse."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    def document(self) -> dict[str, Any]:
        """Google's JSON error shape."""
        return {"error": {"code": self.code, "message": str(self), "status": STATUS_NAMES.get(self.code, "UNKNOWN")}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One message as published; ``data`` is standard base64 text."""

    data: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    ordering_key: str = ""

    def body(self, message_id: str, published: datetime) -> bytes:
        """The push envelope without its closing parts: ``{"message":{…}``; both spellings, as Google sends them."""
        moment = published.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message: dict[str, Any] = {}
        if self.data:
            message["data"] = self.data
        message["attributes"] = dict(self.attributes)
        message |= {"messageId": message_id, "message_id": message_id, "publishTime": moment, "publish_time": moment}
        if self.ordering_key:
            message["orderingKey"] = self.ordering_key
        return b'{"message":' + json.dumps(message, separators=(",", ":")).encode()


def charged_bytes(bodies: Iterable[bytes]) -> int:
    """What a request with these messages is charged for: their data as bytes and what goes with it (``Incoming.body``)."""
    total = 0
    for body in bodies:
        begin = body.find(DATA)
        encoded = body.find(b'"', begin + len(DATA)) - begin - len(DATA) if begin >= 0 else 0
        total += len(body) - encoded // 4
    return max(total, REQUEST_BYTES_MIN)


def parse(body: bytes) -> list[Incoming]:
    """The messages of one request, all with one ordering key; raises Refused."""
    if len(body) > BODY_BYTES_MAX:
        raise Refused(400, f"Request payload size exceeds the limit: {BODY_BYTES_MAX} bytes.")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "Invalid JSON payload received.") from error
    if not isinstance(document, dict):
        raise Refused(400, "Invalid JSON payload received. Root element must be a message.")
    unknown = set(document) - {"messages"}
    if unknown:
        raise Refused(400, f'Invalid JSON payload received. Unknown name "{min(unknown)}": Cannot find field.')
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "The value for message_count is too small. You passed 0 in the request, but the minimum value is 1.")
    if len(messages) > MESSAGES_MAX:
        raise Refused(
            400,
            f"The value for message_count is too large. You passed {len(messages)} in the request, "
            f"but the maximum value is {MESSAGES_MAX}.",
        )
    incoming = [_message(one, number) for number, one in enumerate(messages)]
    if len({one.ordering_key for one in incoming}) > 1:
        raise Refused(400, "In a publish request, all messages must have the same ordering key.")
    return incoming


def _message(one: object, number: int) -> Incoming:
    where = f"messages[{number}]"
    if not isinstance(one, dict) or set(one) - {"data", "attributes", "orderingKey"}:
        raise Refused(400, f"Invalid JSON payload received. Unknown field at '{where}'.")
    attributes = one.get("attributes") or {}
    key = one.get("orderingKey") or ""
    if not isinstance(attributes, dict) or len(attributes) > ATTRIBUTES_MAX:
        raise Refused(400, f"Invalid value at '{where}.attributes'.")
    for name, value in attributes.items():
        _text(value, f"{where}.attributes", ATTRIBUTE_VALUE_BYTES_MAX)
        if _text(name, f"{where}.attributes", ATTRIBUTE_KEY_BYTES_MAX) == 0:
            raise Refused(400, f"Invalid value at '{where}.attributes': empty key.")
    _text(key, f"{where}.ordering_key", ORDERING_KEY_BYTES_MAX)
    data = _base64(one.get("data") or "", where)
    if not data and not attributes:
        raise Refused(400, f"Invalid value at '{where}': a message must have data or at least one attribute.")
    return Incoming(data=data, attributes=attributes, ordering_key=key)


def _text(value: object, where: str, limit: int) -> int:
    if not isinstance(value, str):
        raise Refused(400, f"Invalid value at '{where}' (TYPE_STRING).")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise Refused(400, f"Invalid value at '{where}': not valid UTF-8.") from error
    if size > limit:
        raise Refused(400, f"The value at '{where}' is too long: {size} bytes, the maximum is {limit}.")
    return size


def _base64(value: object, where: str) -> str:
    """Standard base64 as given; the URL-safe alphabet and missing padding are accepted and made standard."""
    if not isinstance(value, str):
        raise Refused(400, f"Invalid value at '{where}.data' (TYPE_BYTES).")
    try:
        binascii.a2b_base64(value, strict_mode=True)
        return value
    except ValueError:
        pass
    try:
        plain = value.replace("-", "+").replace("_", "/").rstrip("=")
        data = binascii.a2b_base64(plain + "=" * (-len(plain) % 4), strict_mode=True)
    except ValueError as error:
        raise Refused(400, f"Invalid value at '{where}.data' (TYPE_BYTES), Base64 decoding failed.") from error
    return base64.b64encode(data).decode("ascii")
