"""What the environment may choose for the two functions of this room, and what that means to their use cases.

Both classes stand here because a shell holds no rules: bounds of the knobs are rules (signals.md 6).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from fillbook.runtime.config import DatabaseConfig, OidcConfig, PubSubConfig
from fillbook.signal.ingest import BODY_BYTES_MAX, TOKENS_MAX, DoorSettings
from fillbook.signal.receipt import Limits


class SignalIngestConfig(PubSubConfig):
    """Settings of ``signal_ingest``: one or two tokens (two during a rotation; none means closed), topics, limits."""

    ingest_tokens: Annotated[tuple[SecretStr, ...], Field(max_length=TOKENS_MAX)] = ()
    signals_topic: str = "signals"
    quarantine_topic: str = "signals-quarantine"
    body_bytes_max: int = Field(default=BODY_BYTES_MAX, gt=0, le=BODY_BYTES_MAX)
    ts_age_days_max: int = Field(default=7, gt=0)
    ts_future_seconds_max: int = Field(default=120, ge=0)
    publish_budget_seconds: int = Field(default=2, gt=0, le=2)
    ingest_repairs: tuple[Literal["nan_null", "array_comma"], ...] = ("nan_null", "array_comma")

    def door(self) -> DoorSettings:
        """What the door is told; an empty token is no token."""
        tokens = (token.get_secret_value().strip() for token in self.ingest_tokens)
        return DoorSettings(
            tokens=tuple(token for token in tokens if token),
            signals_topic=self.signals_topic,
            quarantine_topic=self.quarantine_topic,
            publish_budget_seconds=self.publish_budget_seconds,
            limits=Limits(
                ts_age_days_max=self.ts_age_days_max,
                ts_future_seconds_max=self.ts_future_seconds_max,
                repairs=self.ingest_repairs,
            ),
        )


class SignalWorkerConfig(DatabaseConfig, OidcConfig, PubSubConfig):
    """Settings of ``signal_worker``: the book it decides for, the strategy, ages and limits, what it books and tells."""

    book: str = "live"
    strategy_profile: str = "tt-2026-02"
    live_age_seconds_max: int = Field(default=900, gt=0)
    lock_timeout_seconds: int = Field(default=3, gt=0, le=30)
    tickers_max: int = Field(default=2_000, gt=0)
    book_executions: bool = True
    lane_events: bool = False
