"""The shapes of the fake Discord: a request, a reply, and the documents and errors that Discord answers with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from infra.local.discord_store import GUILD_ID, Webhook, written

STATE_ANSWERS: Mapping[str, tuple[int, int, str]] = {
    "deleted": (404, 10015, "Unknown Webhook"),
    "token_bad": (401, 50027, "Invalid Webhook Token"),
    "forbidden": (403, 50013, "Missing Permissions"),
    "channel_deleted": (404, 10003, "Unknown Channel"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer. ``travel`` says how it leaves: plain, reset, hang, drip or huge."""

    status: int
    document: Any = None
    html: str | None = None
    raw: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    travel: str = "plain"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The bytes of the answer."""
        if self.raw is not None:
            return self.raw
        if self.html is not None:
            return self.html.encode()
        return b"" if self.document is None else json.dumps(self.document, ensure_ascii=False).encode()


def refusal(status: int, code: int, message: str) -> Reply:
    """Return Discord's error body."""
    return Reply(status=status, document={"message": message, "code": code})


def server_error(status: int) -> Reply:
    """Return a failure as Discord (500) or its edge (the others, HTML) tells it."""
    if status == 500:
        return Reply(status=500, document={"message": "500: Internal Server Error", "code": 0})
    return Reply(status=status, html=f"<html><head><title>{status}</title></head><body><h1>Error {status}</h1></body></html>")


def banned() -> Reply:
    """Return the edge network's refusal: HTML, no ``Via``."""
    return Reply(
        status=429, html="<html><body><h1>Access denied</h1><p>error code: 1015</p></body></html>", headers={"Via": "none"}
    )


def spoiled(reply: Reply, kind: str) -> Reply:
    """Return a good reply as it must not be: torn, empty, with a wrong id or other embeds."""
    if kind == "no_content":
        return replace(reply, status=204, document=None)
    if kind == "empty_200":
        return replace(reply, raw=b"")
    if kind == "invalid_json":
        return replace(reply, raw=reply.body[: len(reply.body) // 2])
    wrong = {"id": {"low": 17}} if kind == "wrong_id" else {"embeds": [{"type": "rich", "title": "something else"}]}
    if isinstance(reply.document, list):
        return replace(reply, document=[{**message, **wrong} for message in reply.document])
    return replace(reply, document={**(reply.document or {}), **wrong})


def json_object(ask: Ask) -> Mapping[str, Any] | Reply:
    """Return the body as an object, or the refusal of what it is instead."""
    if not ask.headers.get("Content-Type", "").startswith("application/json"):
        return refusal(400, 50109, "The request body contains invalid JSON.")
    try:
        body = json.loads(ask.body)
    except ValueError:
        return refusal(400, 50109, "The request body contains invalid JSON.")
    if isinstance(body, dict):
        return body
    error = {"_errors": [{"code": "MODEL_TYPE_CONVERT", "message": "Only dictionaries may be used in a ModelType"}]}
    return Reply(status=400, document={"message": "Invalid Form Body", "code": 50035, "errors": error})


def webhook_document(webhook: Webhook) -> dict[str, Any]:
    """Return what ``GET /webhooks/{id}/{token}`` answers."""
    return {
        "id": webhook.webhook_id, "type": 1, "name": webhook.name, "avatar": None, "channel_id": webhook.channel_id,
        "guild_id": GUILD_ID, "application_id": None, "token": webhook.token, "url": webhook.url,
    }  # fmt: skip


def new_message(message_id: str, webhook: Webhook, place: str, now: datetime) -> dict[str, Any]:
    """Return an empty message of a webhook."""
    author = {
        "id": webhook.webhook_id, "username": webhook.name, "avatar": None, "discriminator": "0000", "public_flags": 0,
        "flags": 0, "bot": True, "global_name": None,
    }  # fmt: skip
    return {
        "id": message_id, "type": 0, "content": "", "mentions": [], "mention_roles": [], "attachments": [], "embeds": [],
        "timestamp": written(now), "edited_timestamp": None, "flags": 0, "components": [], "channel_id": place,
        "author": author, "pinned": False, "mention_everyone": False, "tts": False, "webhook_id": webhook.webhook_id,
    }  # fmt: skip
