"""The webhook's use case: who sends, what is sent, publish, answer. It stores nothing itself and opens no database.

``Door.take`` reads size → token → parse → token in the body → validate → publish → answer; the order is the protection:
an unknown sender costs no parsing, a flood costs not even the reading. A token is removed or masked before anything is
hashed, published or logged. An authenticated body that is refused goes to quarantine; failing to put it there changes
nothing for the sender. Source: signals.md 1.1 and 1.2.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final, NamedTuple

from fillbook.runtime.clock import Clock
from fillbook.runtime.errors import FillbookError, Rejected
from fillbook.runtime.logs import Logger
from fillbook.runtime.places import Places
from fillbook.runtime.pubsub import OutMessage, Publish
from fillbook.signal import document, receipt
from fillbook.signal.document import Document
from fillbook.signal.payload import TOKEN_FIELD
from fillbook.signal.receipt import Limits, ParsedReceipt
from fillbook.values import frozen

SCHEMA: Final = "receipt.v1"
CONCURRENCY: Final = 40  # bodies looked at at once
WAITING: Final = 128
PATIENCE_MS: Final = 500
"""A whole desk's alerts come in the same instant, and are answered within a second; with the publisher's two seconds to come
nobody waits longer than the sender does, who gives up after three."""
TOKENS_MAX: Final = 2
BODY_BYTES_MAX: Final = 65_536
CONTENT_TYPES: Final = ("application/json", "text/plain", "")
RETRY_AFTER_SECONDS: Final = 5
REFUSALS_MAX: Final = 20
REFUSALS_WINDOW: Final = timedelta(seconds=60)
ADDRESSES_MAX: Final = 4_096

_TOKEN_VALUE: Final = re.compile(rb'("token"\s*:\s*")(?:[^"\\]++|\\.)*+("|\Z)', re.DOTALL)


@frozen
class Arrival:
    """One request as the shell saw it; ``read`` reads the bounded body and may raise ``Rejected`` (413, 408)."""

    read: Callable[[], bytes]
    address: str
    authorization: str | None = None
    key_header: str | None = None
    path_token: str | None = None
    query_token: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None


class Reply(NamedTuple):
    """What the sender is told: a status and one JSON document."""

    status: int
    document: Mapping[str, Any]
    headers: tuple[tuple[str, str], ...] = ()


@frozen
class DoorSettings:
    """What a deployment may choose; ``tokens`` are one or two, none means that nobody may enter."""

    tokens: tuple[str, ...] = field(repr=False)
    signals_topic: str = "signals"
    quarantine_topic: str = "signals-quarantine"
    publish_budget_seconds: int = 2
    limits: Limits = field(default_factory=Limits)


class Guard:
    """Knows the tokens by their digests and remembers, per address, how often it refused lately."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._digests = [_digest(token) for token in tokens]
        self._refusals: OrderedDict[str, deque[datetime]] = OrderedDict()
        self._lock = Lock()

    @property
    def is_configured(self) -> bool:
        """Whether there is any token at all."""
        return bool(self._digests)

    def knows(self, presented: str) -> bool:
        """Compare with every token in constant time."""
        digest = _digest(presented)
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0

    def is_flooded(self, address: str, now: datetime) -> bool:
        """Whether this address was refused 20 times within the last 60 s."""
        with self._lock:
            times = self._refusals.get(address)
            while times and now - times[0] > REFUSALS_WINDOW:
                times.popleft()
            return times is not None and len(times) >= REFUSALS_MAX

    def refuse(self, address: str, now: datetime) -> None:
        """Remember a refusal; the least recently refused addresses are forgotten beyond 4,096."""
        with self._lock:
            times = self._refusals.setdefault(address, deque(maxlen=REFUSALS_MAX))
            times.append(now)
            self._refusals.move_to_end(address)
            if len(self._refusals) > ADDRESSES_MAX:
                self._refusals.popitem(last=False)


class Door:
    """The way in for receipts, one per process."""

    def __init__(self, settings: DoorSettings, *, publisher: Publish, clock: Clock, log: Logger) -> None:
        self._settings = settings
        self._publisher = publisher
        self._clock = clock
        self._log = log
        self._guard = Guard(settings.tokens)

    def take(self, arrival: Arrival) -> Reply:
        """Take one request in and say what the sender is told; raises only what ``arrival.read`` raises."""
        if not self._guard.is_configured:
            self._log.error("ingest_token_not_configured")
            return _try_again("not_configured")
        outer = _outer_token(arrival)
        is_known = outer is not None and self._guard.knows(outer)
        if not is_known and self._guard.is_flooded(arrival.address, self._clock.now()):
            return self._unauthorized(arrival)
        body = arrival.read()
        if outer is not None and not is_known:
            return self._unauthorized(arrival)
        parsed = self._parse(arrival, body)
        if not is_known and not self._guard.knows(_inner_token(parsed, body)):
            return self._unauthorized(arrival)
        return self._accept(parsed, body)

    def _parse(self, arrival: Arrival, body: bytes) -> Document | Rejected:
        try:
            _check_headers(arrival)
            return document.read(document.decode_text(body), self._settings.limits.repairs)
        except Rejected as refusal:
            return refusal

    def _accept(self, parsed: Document | Rejected, body: bytes) -> Reply:
        now = self._clock.now()
        try:
            if isinstance(parsed, Rejected):
                raise parsed
            if parsed.fields.get("debug") == "HEARTBEAT":
                self._log.info("heartbeat_received")
                return _heartbeat(parsed)
            accepted = receipt.validate(parsed, now=now, limits=self._settings.limits)
        except Rejected as refusal:
            self._put_aside(refusal, parsed, body, now)
            return _refused(refusal)
        try:
            self._publish(self._settings.signals_topic, receipt_message(accepted, now))
        except FillbookError as error:
            self._log.error("receipt_not_published", receipt_id=accepted.receipt.receipt_id, reason=error.reason)
            return _try_again("publish_failed")
        self._log.info("receipt_accepted", receipt_id=accepted.receipt.receipt_id, ticker=accepted.receipt.ticker)
        return _accepted(accepted)

    def _publish(self, topic: str, message: OutMessage) -> None:
        self._publisher.publish(topic, [message], timeout_seconds=self._settings.publish_budget_seconds)

    def _unauthorized(self, arrival: Arrival) -> Reply:
        self._guard.refuse(arrival.address, self._clock.now())
        return Reply(status=401, document={"ok": False, "reason": "unauthorized"})

    def _put_aside(self, refusal: Rejected, parsed: Document | Rejected, body: bytes, now: datetime) -> None:
        attributes = {"reason": refusal.reason, "field": refusal.field or "", "received_at": now.isoformat()}
        if isinstance(parsed, Document):
            attributes["ticker"] = _ticker_or_none(parsed) or ""
        self._log.warning("receipt_refused", reason=refusal.reason, field=refusal.field)
        try:
            masked = masked_body(body, self._settings.tokens)
            self._publish(self._settings.quarantine_topic, OutMessage(data=masked, attributes=attributes))
        except FillbookError as error:
            self._log.error("refused_body_not_kept", reason=error.reason)


def places() -> Places:
    """Bodies at work, and in line."""
    return Places(CONCURRENCY, waiting=WAITING, patience_ms=PATIENCE_MS)


def masked_body(body: bytes, tokens: Sequence[str]) -> bytes:
    """Return the body with every configured token, and whatever stands in a field ``token``, replaced by ``***``."""
    for token in tokens:
        for form in {token, json.dumps(token)[1:-1], json.dumps(token)[1:-1].replace("/", "\\/")}:
            body = body.replace(form.encode("utf-8", "surrogatepass"), b"***")
    return _TOKEN_VALUE.sub(rb"\1***\2", body)[:BODY_BYTES_MAX]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _outer_token(arrival: Arrival) -> str | None:
    """The first token present outside the body: header, path, query."""
    scheme, _, bearer = (arrival.authorization or "").partition(" ")
    candidates = (
        bearer.strip() if scheme.lower() == "bearer" else "",
        arrival.key_header,
        arrival.path_token,
        arrival.query_token,
    )
    return next((token for token in candidates if token), None)


def _inner_token(parsed: Document | Rejected, body: bytes) -> str:
    """The token of the body, also of one that cannot be parsed; an empty text is nobody's token."""
    if isinstance(parsed, Rejected):
        return document.token_in_text(body) or ""
    token = parsed.fields.get(TOKEN_FIELD)
    return token if isinstance(token, str) else ""


def _check_headers(arrival: Arrival) -> None:
    kind, *parameters = (arrival.content_type or "").lower().split(";")
    named = (part.partition("=") for part in parameters)
    charsets = [value.strip(" \"'") for name, _, value in named if name.strip() == "charset"]
    if kind.strip() not in CONTENT_TYPES or any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise Rejected("content_type")
    if (arrival.content_encoding or "").strip():
        raise Rejected("encoding")


def receipt_message(accepted: ParsedReceipt, now: datetime) -> OutMessage:
    """The message that carries a receipt to the worker."""
    told = accepted.receipt
    attributes = {
        "schema": SCHEMA,
        "receipt_id": told.receipt_id,
        "ticker": told.ticker,
        "ts": str(told.ts),
        "script_version": told.script_version,
        "received_at": now.isoformat(),
        "repairs": ",".join(accepted.repairs),
    }
    return OutMessage(data=accepted.canonical, attributes=attributes, ordering_key=told.ticker)


def _accepted(accepted: ParsedReceipt) -> Reply:
    told = accepted.receipt
    return Reply(
        status=202,
        document={
            "ok": True,
            "ticker": told.ticker,
            "receiptId": told.receipt_id,
            "ts": told.ts,
            "bucket": accepted.bucket,
            "repairs": list(accepted.repairs),
        },
    )


def _heartbeat(parsed: Document) -> Reply:
    """A heartbeat is answered like a receipt, as far as it says anything; nothing was stored under an id."""
    document = {"ok": True, "ticker": _ticker_or_none(parsed), "receiptId": None, "ts": None, "bucket": None}
    return Reply(status=202, document={**document, "repairs": list(parsed.repairs)})


def _ticker_or_none(parsed: Document) -> str | None:
    sent = parsed.fields.get("ticker")
    try:
        return receipt.normal_ticker(sent) if isinstance(sent, str) else None
    except Rejected:
        return None


def _refused(refusal: Rejected) -> Reply:
    told: dict[str, Any] = {"ok": False, "reason": refusal.reason}
    if refusal.field is not None:
        told["field"] = refusal.field
    return Reply(status=400, document=told)


def _try_again(reason: str) -> Reply:
    told = {"ok": False, "reason": reason}
    return Reply(status=503, document=told, headers=(("Retry-After", str(RETRY_AFTER_SECONDS)),))
