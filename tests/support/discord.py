"""Talking to the fake Discord over HTTP in tests, as a client that follows the API's rules would."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import requests

from fillbook.runtime.clock import FixedClock
from infra.local.discord import DiscordFake

USER_AGENT = "DiscordBot (https://fillbook.example, 1.0)"
OPENING = datetime(2026, 2, 3, 14, 30, tzinfo=UTC)


class Caller:
    """One webhook of a fake, called over real HTTP."""

    def __init__(self, fake: DiscordFake, clock: FixedClock, webhook: str = "executions") -> None:
        self.fake = fake
        self.clock = clock
        self.webhook = fake.webhook(webhook)
        self.session = requests.Session()
        self.session.headers["User-Agent"] = USER_AGENT
        self.url = f"{fake.api_base}/webhooks/{self.webhook.webhook_id}/{self.webhook.token}"

    def create(self, body: Any = None, *, wait: bool = True, **query: str) -> requests.Response:
        """Post a message (an embed titled ``note`` without a body)."""
        given = {"embeds": [{"title": "note"}], "allowed_mentions": {"parse": []}} if body is None else body
        return self.session.post(self.url, params={"wait": str(wait).lower(), **query}, json=given, timeout=5)

    def edit(self, message_id: str, body: Any, **query: str) -> requests.Response:
        """Patch a message."""
        return self.session.patch(f"{self.url}/messages/{message_id}", params=query, json=body, timeout=5)

    def get(self, message_id: str, **query: str) -> requests.Response:
        """Fetch a message."""
        return self.session.get(f"{self.url}/messages/{message_id}", params=query, timeout=5)

    def delete(self, message_id: str) -> requests.Response:
        """Delete a message."""
        return self.session.delete(f"{self.url}/messages/{message_id}", timeout=5)

    def list(self, token: str | None = None, **query: str | int) -> requests.Response:
        """List the channel's messages as the read bot."""
        headers = {"Authorization": f"Bot {self.fake.read_token if token is None else token}"}
        url = f"{self.fake.api_base}/channels/{self.webhook.channel_id}/messages"
        return self.session.get(url, params=query, headers=headers, timeout=5)

    def close(self) -> None:
        """Close kept-alive connections."""
        self.session.close()
