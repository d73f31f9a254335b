"""Where a message may go: the webhooks the desk configured, read from the URLs that Discord shows to be copied.

Knows the shape of an address and nothing of speaking to it; ``discord.py`` speaks, and costs a start 40 ms to import.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pydantic import SecretStr

from fillbook.values import frozen

API_BASE = "https://discord.com/api/v10"
HOSTS = frozenset(f"{stage}{host}" for stage in ("", "ptb.", "canary.") for host in ("discord.com", "discordapp.com"))

_WEBHOOK_PATH = re.compile(r"/webhooks/(\d{17,20})/([\w-]{60,90})$")


@frozen
class Webhook:
    """One configured webhook: id and token of its URL, the thread it posts to, and the name of its secret."""

    webhook_id: str
    token: SecretStr
    secret_name: str
    thread_id: str | None = None


def parse_webhook(url: str) -> tuple[str, str]:
    """Return (id, token) of a copied webhook URL; raises ``ValueError`` that repeats nothing of it."""
    try:
        parts = urlsplit(url.strip())
        is_discord = parts.hostname in HOSTS and parts.scheme == "https" and not parts.query
    except ValueError:
        raise ValueError("is not a Discord webhook URL") from None
    found = _WEBHOOK_PATH.search(parts.path)
    if found is None or not is_discord:
        raise ValueError("is not a Discord webhook URL")
    return found[1], found[2]
