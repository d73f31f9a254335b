"""What the fake Discord answers: one function from a request to a reply, no sockets.

Real paths and shapes of API v10 (``/api/v10/webhooks/{id}/{token}…``, ``/api/v10/channels/{id}/messages``); a path without
a version behaves like an old one: waits are told in milliseconds. Faults strike here, limits are kept here, every
request is logged here. How a reply travels (whole, torn, dripping, never) is the server's business (``discord.py``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from fillbook.runtime.clock import Clock
from infra.local.discord_faults import Fault, Faults
from infra.local.discord_limits import Limited, Limits
from infra.local.discord_rules import EmptyMessage, check, pings, require_something
from infra.local.discord_shapes import (
    STATE_ANSWERS,
    Ask,
    Reply,
    banned,
    json_object,
    new_message,
    refusal,
    server_error,
    spoiled,
    webhook_document,
)
from infra.local.discord_store import DiscordStore, Webhook, written

_WEBHOOK_PATH = re.compile(
    r"/api(?:/v(?P<version>\d+))?/webhooks/(?P<webhook>\d+)/(?P<token>[^/]+)(?:/messages/(?P<message>[^/]+))?"
)
_CHANNEL_PATH = re.compile(r"/api(?:/v(?P<version>\d+))?/channels/(?P<channel>\d+)/messages")
_OPERATIONS = {
    ("POST", False): "create", ("GET", False): "get_webhook",
    ("GET", True): "get", ("PATCH", True): "edit", ("DELETE", True): "delete",
}  # fmt: skip
WRITES = frozenset({"create", "edit", "delete"})
OLD_VERSION_MAX = 7
LIST_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    operation: str
    webhook: Webhook | None
    webhook_id: str
    token: str
    message_id: str
    channel_id: str
    is_old: bool

    @property
    def is_write(self) -> bool:
        return self.operation in WRITES

    @property
    def bucket(self) -> str:
        return f"write:{self.webhook_id}" if self.is_write else f"read:{self.webhook_id or self.channel_id}"

    @property
    def limited_channel(self) -> str | None:
        return self.webhook.channel_id if self.is_write and self.webhook else None

    @property
    def scopes(self) -> list[str]:
        channel = self.limited_channel
        return ["global", self.bucket, *([f"channel:{channel}"] if channel else [])]


class DiscordApi:
    """The rules of the fake, over its store, limits and faults. Callers hold one lock around ``answer``."""

    def __init__(self, store: DiscordStore, faults: Faults, limits: Limits, clock: Clock) -> None:
        self.store = store
        self.faults = faults
        self.limits = limits
        self.clock = clock

    def answer(self, ask: Ask) -> Reply:
        """Log, judge and answer one request."""
        now = self.clock.now()
        route = self._route(ask)
        if route is None:
            return refusal(404, 0, "404: Not Found")
        self.limits.settle(now)
        name = route.webhook.name if route.webhook else None
        logged = self.store.log_request(
            {
                "at": written(now), "operation": route.operation, "method": ask.method, "webhook": name,
                "path": ask.path.replace(route.token, "***") if route.token else ask.path,
                "early_by": self.limits.early_by(route.scopes, now), "message_id": route.message_id or None,
                "user_agent": ask.headers.get("User-Agent"), "body": ask.body.decode("utf-8", "replace")[:65_536] or None,
            }
        )  # fmt: skip
        fault = self.faults.strike(route.operation, name)
        reply = self._judge(ask, route, fault, now)
        if reply.status in (401, 403) or (reply.status == 429 and reply.headers.get("X-RateLimit-Scope") != "shared"):
            self.limits.count_invalid(ask.address, now)
        document = reply.document if isinstance(reply.document, dict) else {}
        told = {"message_id": str(document["id"])} if route.operation == "create" and document.get("id") else {}
        self.store.amend_request(
            logged, status=reply.status, code=document.get("code"), limited=int(reply.status == 429),
            fault=fault.knob if fault else None, **told,
        )  # fmt: skip
        if reply.headers.get("Via") != "none":
            reply.headers.setdefault("Via", "1.1 google")
        else:
            del reply.headers["Via"]
        return reply

    def _route(self, ask: Ask) -> _Route | None:
        found = _WEBHOOK_PATH.fullmatch(ask.path)
        if found:
            operation = _OPERATIONS.get((ask.method, found["message"] is not None))
            parts = found.groupdict()
        else:
            found = _CHANNEL_PATH.fullmatch(ask.path)
            operation = "list" if found and ask.method == "GET" else None
            parts = found.groupdict() if found else {}
        if operation is None:
            return None
        version = parts.get("version")
        return _Route(
            operation=operation, webhook=self.store.webhook(parts.get("webhook") or ""), webhook_id=parts.get("webhook") or "",
            token=parts.get("token") or "", message_id=parts.get("message") or "", channel_id=parts.get("channel") or "",
            is_old=version is None or int(version) <= OLD_VERSION_MAX,
        )  # fmt: skip

    def _judge(self, ask: Ask, route: _Route, fault: Fault | None, now: datetime) -> Reply:
        if not ask.headers.get("User-Agent", "").startswith("DiscordBot ("):
            return refusal(403, 40333, "internal network error")
        struck = self._strike_before(route, fault, now) if fault else None
        if struck is not None:
            return struck
        limited = self.limits.take(route.bucket, route.limited_channel, ask.address, route.scopes, now)
        if limited is not None:
            return self._limited(route, limited, now)
        reply = self._operate(ask, route, now)
        if reply.status < 300 and fault is not None:
            reply = self._strike_after(route, fault, reply, now)
        reply.headers.update(self.limits.headers(route.bucket, now))
        return reply

    # -- faults ---------------------------------------------------------------------------------------------------------

    def _strike_before(self, route: _Route, fault: Fault, now: datetime) -> Reply | None:
        group, _, kind = fault.knob.partition(".")
        if group == "rate_limit":
            return self._rate_limited(route, fault, kind, now)
        if group == "server_error" and not fault.options.get("applied"):
            return server_error(int(kind))
        if fault.knob in ("network.hang", "network.reset"):
            return Reply(status=0, travel=kind)
        if group == "state" and not kind.startswith("message_"):
            return refusal(*STATE_ANSWERS[kind.removeprefix("webhook_")])
        return None

    def _rate_limited(self, route: _Route, fault: Fault, kind: str, now: datetime) -> Reply:
        default = {"remaining_2": 20.0, "ban": 600.0, "old_edits": 60.0}.get(kind, 3.0)
        seconds = float(fault.options.get("retry_after", default))
        until = now + timedelta(seconds=seconds)
        if kind == "ban":
            self.limits.forbid_until("global", until, is_ban=True)
            return banned()
        if kind == "old_edits":
            reply = self._limited(route, Limited(scope="user", retry_after=seconds, remaining=3), now)
            reply.document.update(code=30046, message="Maximum number of edits to messages older than 1 hour reached.")
            return reply
        scope = {"global": "global", "remaining_2": f"channel:{route.limited_channel}"}.get(kind, route.bucket)
        self.limits.forbid_until(scope, until)
        named = kind if kind in ("shared", "global") else "user"
        reply = self._limited(route, Limited(scope=named, retry_after=seconds), now)
        if kind == "header_only":
            del reply.document["retry_after"]
        if kind in ("ms_header", "ms_both"):
            reply.headers["Retry-After"] = str(math.ceil(seconds * 1000))
        if kind in ("ms_body", "ms_both"):
            reply.document["retry_after"] = math.ceil(seconds * 1000)
        if kind == "remaining_2":
            reply.headers.update({"X-RateLimit-Remaining": "2", "X-RateLimit-Reset-After": "0.500"})
        return reply

    def _limited(self, route: _Route, limited: Limited, now: datetime) -> Reply:
        if limited.is_ban:
            return banned()
        is_global = limited.scope == "global"
        seconds = math.ceil(limited.retry_after * 1000) / 1000
        headers = self.limits.headers(route.bucket, now)
        headers["X-RateLimit-Remaining"] = str(limited.remaining)
        if limited.remaining == 0:
            headers["X-RateLimit-Reset-After"] = f"{seconds:.3f}"
        headers["X-RateLimit-Scope"] = limited.scope
        headers["Retry-After"] = str(math.ceil(seconds * 1000) if route.is_old else math.ceil(seconds))
        if is_global:
            headers["X-RateLimit-Global"] = "true"
        document = {
            "message": "You are being rate limited.",
            "retry_after": math.ceil(seconds * 1000) if route.is_old else seconds,
            "global": is_global,
        }
        return Reply(status=429, document=document, headers=headers)

    def _strike_after(self, route: _Route, fault: Fault, reply: Reply, now: datetime) -> Reply:
        group, _, kind = fault.knob.partition(".")
        if group == "server_error":
            return server_error(int(kind))
        if group == "network":
            return replace(reply, travel=kind.removesuffix("_after_accept"), options=fault.options)
        if group == "body":
            return spoiled(reply, kind)
        if kind.startswith("message_") and isinstance(reply.document, dict):
            self.meddle(kind.removeprefix("message_"), str(reply.document.get("id", route.message_id)), now)
        return reply

    def meddle(self, how: str, message_id: str, now: datetime, patch: Mapping[str, Any] | None = None) -> str | None:
        """Do what a person could: ``deleted``, ``edited`` (by ``patch``) or ``doubled``; return the id concerned."""
        message = self.store.message(message_id)
        if message is None:
            return None
        if how == "deleted":
            self.store.delete(message_id)
        elif how == "doubled":
            message_id = self.store.next_id(now)
            self.store.save({**message, "id": message_id, "timestamp": written(now)})
        else:
            changed = dict(patch) if patch is not None else {"embeds": [{**one, "title": "edited"} for one in message["embeds"]]}
            self.store.save({**message, **changed, "edited_timestamp": written(now)})
        return message_id

    # -- operations -----------------------------------------------------------------------------------------------------

    def _operate(self, ask: Ask, route: _Route, now: datetime) -> Reply:
        if route.operation == "list":
            return self._list(ask, route)
        webhook = route.webhook
        if webhook is None:
            return refusal(*STATE_ANSWERS["deleted"])
        if webhook.token != route.token:
            return refusal(*STATE_ANSWERS["token_bad"])
        if webhook.state != "ok":
            return refusal(*STATE_ANSWERS[webhook.state])
        if route.operation == "get_webhook":
            return Reply(status=200, document=webhook_document(webhook))
        place = self._place(webhook, ask.query.get("thread_id"))
        if place is None:
            return refusal(404, 10003, "Unknown Channel")
        if route.operation == "create":
            return self._create(ask, webhook, place, now)
        message = self.store.message(route.message_id)
        if message is None or message["webhook_id"] != webhook.webhook_id or message["channel_id"] != place:
            return refusal(404, 10008, "Unknown Message")
        if route.operation == "get":
            return Reply(status=200, document=message)
        if route.operation == "delete":
            self.store.delete(route.message_id)
            return Reply(status=204)
        return self._edit(ask, message, now)

    def _place(self, webhook: Webhook, thread_id: str | None) -> str | None:
        if thread_id is None:
            return webhook.channel_id
        threads = [one for one in self.store.channels() if one["parent_id"] == webhook.channel_id and not one["gone"]]
        return next((str(one["channel_id"]) for one in threads if one["channel_id"] == thread_id), None)

    def _create(self, ask: Ask, webhook: Webhook, place: str, now: datetime) -> Reply:
        waits = ask.query.get("wait", "").lower() in ("true", "1")
        if place == webhook.channel_id and self.store.is_forum(place):
            return refusal(400, 220001, "Webhooks posted to forum channels must have a thread_name or thread_id")
        body = json_object(ask)
        if isinstance(body, Reply):
            return body if waits else Reply(status=204)
        form, errors = check(body)
        if errors.found:
            return Reply(status=400, document=errors.document()) if waits else Reply(status=204)
        try:
            require_something(form.content or "", form.embeds or [])
        except EmptyMessage:
            return refusal(400, 50006, "Cannot send an empty message") if waits else Reply(status=204)
        message = new_message(self.store.next_id(now), webhook, place, now)
        message["author"]["username"] = form.username or webhook.name
        message["content"], message["embeds"] = form.content or "", form.embeds or []
        self.store.save(message)
        self.store.add_pings(message["id"], now, "create", pings(form))
        return Reply(status=200, document=message) if waits else Reply(status=204)

    def _edit(self, ask: Ask, message: dict[str, Any], now: datetime) -> Reply:
        body = json_object(ask)
        if isinstance(body, Reply):
            return body
        form, errors = check(body)
        if errors.found:
            return Reply(status=400, document=errors.document())
        content = message["content"] if form.content is None else form.content
        embeds = message["embeds"] if form.embeds is None else form.embeds
        try:
            require_something(content, embeds)
        except EmptyMessage:
            return refusal(400, 50006, "Cannot send an empty message")
        edited = {**message, "content": content, "embeds": embeds, "edited_timestamp": written(now)}
        self.store.save(edited)
        self.store.add_pings(message["id"], now, "edit", pings(replace(form, content=content, embeds=embeds)))
        return Reply(status=200, document=edited)

    def _list(self, ask: Ask, route: _Route) -> Reply:
        if ask.headers.get("Authorization") != f"Bot {self.store.read_token()}":
            return refusal(401, 0, "401: Unauthorized")
        if route.channel_id not in {one["channel_id"] for one in self.store.channels() if not one["gone"]}:
            return refusal(404, 10003, "Unknown Channel")
        numbers = {key: int(text) for key, text in ask.query.items() if key in ("before", "after", "limit") and text.isdigit()}
        if not 1 <= numbers.get("limit", 50) <= LIST_MAX:
            error = {"_errors": [{"code": "NUMBER_TYPE_MAX", "message": "int value should be less than or equal to 100."}]}
            return Reply(status=400, document={"message": "Invalid Form Body", "code": 50035, "errors": {"limit": error}})
        found = self.store.messages(
            route.channel_id, before=numbers.get("before"), after=numbers.get("after"), limit=numbers.get("limit", 50)
        )
        return Reply(status=200, document=[{**one, "embeds": [], "content": ""} for one in found])
