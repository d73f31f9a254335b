"""What the environment may choose for ``replay_worker``, and what that means to its use cases (replay.md 11)."""

from __future__ import annotations

from pydantic import Field, SecretStr

from fillbook.replay.service import Limits
from fillbook.runtime.config import DatabaseConfig, OidcConfig


class ReplayWorkerConfig(DatabaseConfig, OidcConfig):
    """Settings of ``replay_worker``: who may call, the profile of a run that names none, limits.

    ``replay_job``: the Cloud Run job that works runs off, ``projects/P/locations/R/jobs/J``; without it nothing is started and
    runs wait for a task that somebody starts.
    """

    desk_keys: SecretStr = SecretStr("[]")
    default_profile: str = "tt-2026-02"
    live_target_enabled: bool = False
    page_rows_max: int = Field(default=2_000, gt=0, le=2_000)
    payload_batch_bytes_max: int = Field(default=8_388_608, gt=0, le=67_108_864)
    tickers_max: int = Field(default=2_000, gt=0)
    lease_seconds: int = Field(default=90, ge=10, le=600)
    tasks_default: int = Field(default=1, gt=0)
    tasks_max: int = Field(default=10, gt=0, le=100)
    runs_kept: int = Field(default=50, gt=0)
    run_days_kept: int = Field(default=30, gt=0)
    replay_job: str | None = None

    def limits(self) -> Limits:
        """What a page and a book may hold."""
        return Limits(tickers_max=self.tickers_max, body_bytes_max=self.payload_batch_bytes_max)
