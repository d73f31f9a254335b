"""A second speaker of Discord for tests: the fake's rules called directly, without sockets.

It is the fake half of the adapter's contract suite, and fast enough for laws over many schedules of faults. What travels
badly over HTTP becomes what the adapter would have made of it.
"""

from __future__ import annotations

import json
from typing import Any

from fillbook.notify.model import Answer, Failure, Operation, Request
from infra.local.discord import DiscordFake
from infra.local.discord_shapes import Ask, Reply

_METHODS = {Operation.CREATE: "POST", Operation.EDIT: "PATCH", Operation.DELETE: "DELETE"}


class DirectSpeaker:
    """Asks a ``DiscordFake`` that need not be started; ``webhook`` names are our channel ids."""

    def __init__(self, fake: DiscordFake, *, token: bool = True) -> None:
        self.fake = fake
        self._token = token
        self.sent: list[Request] = []

    @property
    def can_read(self) -> bool:
        return self._token

    def channels(self) -> list[dict[str, Any]]:
        return [
            {
                "channel_id": name, "kind": name, "webhook_id": self.fake.webhook(name).webhook_id,
                "secret_name": f"DISCORD_{name.upper()}_WEBHOOK", "thread_id": None,
            }
            for name in ("executions", "lanes", "ops")
        ]  # fmt: skip

    def send(self, request: Request) -> Answer:
        self.sent.append(request)
        with self.fake.lock:
            reply = self.fake._api.answer(self._ask(request))
        if reply.travel in ("reset", "hang"):
            return Answer(failure=Failure.NO_ANSWER, error=reply.travel)
        if reply.travel in ("drip", "huge"):
            return Answer(status=reply.status, headers=self._headers(reply), failure=Failure.TORN, error=reply.travel)
        document, error = None, None
        if reply.body:
            try:
                document = json.loads(reply.body)
            except ValueError:
                error = "answer_invalid"
        excerpt = reply.body[:500].decode("utf-8", "replace") if reply.status >= 300 else ""
        return Answer(status=reply.status, headers=self._headers(reply), document=document, error=error, excerpt=excerpt)

    @staticmethod
    def _headers(reply: Reply) -> dict[str, str]:
        return {name.lower(): value for name, value in reply.headers.items()}

    def _ask(self, request: Request) -> Ask:
        webhook = self.fake.webhook(request.channel_id)
        path = f"/api/v10/webhooks/{webhook.webhook_id}/{webhook.token}"
        query: dict[str, str] = {}
        headers = {"User-Agent": "DiscordBot (https://fillbook.example, 0)", "Content-Type": "application/json"}
        body = b""
        if request.operation is Operation.LIST:
            path = f"/api/v10/channels/{request.place}/messages"
            headers["Authorization"] = f"Bot {self.fake.read_token}"
            query = {"limit": str(request.limit)} | ({"before": str(request.before)} if request.before is not None else {})
        elif request.operation is Operation.CREATE:
            query = {"wait": "true"}
        elif request.operation is not Operation.HOOK:
            path += f"/messages/{request.message_id}"
        if request.operation in (Operation.CREATE, Operation.EDIT):
            document = {"embeds": [dict(embed) for embed in request.embeds], "allowed_mentions": {"parse": []}}
            body = json.dumps(document | ({"content": ""} if request.operation is Operation.EDIT else {})).encode()
        method = _METHODS.get(request.operation, "GET")
        return Ask(method=method, path=path, query=query, headers=headers, body=body, address="127.0.0.1")
