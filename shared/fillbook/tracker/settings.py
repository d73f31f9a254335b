"""What the environment may choose for ``trade_tracker``."""

from __future__ import annotations

from pydantic import Field, SecretStr

from fillbook.runtime.config import DatabaseConfig


class TradeTrackerConfig(DatabaseConfig):
    """Who may read and how often; no keys means nobody. ``desk_rate_factor`` multiplies what each key may."""

    desk_keys: SecretStr = SecretStr("[]")
    desk_rate_factor: int = Field(default=1, ge=1, le=1_000)
    desk_failed_keys_max: int = Field(default=10, ge=1, le=1_000_000)
