"""What the environment tells ``trade_tracker``: the database, the desk's keys, and where the owners of the admin actions are.

An owner's address comes from here only, never from a request or a row; one that is not set cannot be asked.
Source: tracker.md 1, 5.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from fillbook.runtime.config import LOOPBACK, DatabaseConfig

OWNERS = ("account_sync", "discord_notifier", "execution_sync", "replay_worker")


class TradeTrackerConfig(DatabaseConfig):
    """Settings of ``trade_tracker``. An owner's audience is its address unless another one is set.

    ``desk_rate_factor`` multiplies how often each key may ask; ``desk_failed_keys_max``: wrong keys of an address in a minute.
    """

    desk_keys: SecretStr = SecretStr("[]")
    desk_rate_factor: int = Field(default=1, ge=1, le=1_000)
    desk_failed_keys_max: int = Field(default=10, ge=1, le=1_000_000)
    account_sync_url: str | None = None
    account_sync_audience: str | None = None
    discord_notifier_url: str | None = None
    discord_notifier_audience: str | None = None
    execution_sync_url: str | None = None
    execution_sync_audience: str | None = None
    replay_worker_url: str | None = None
    replay_worker_audience: str | None = None

    @field_validator(*(f"{owner}_url" for owner in OWNERS))
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        if not is_safe or not parts.hostname or parts.query or parts.fragment or parts.username is not None:
            raise ValueError("must be https, or http on a loopback address, without a query")
        return url.rstrip("/")
