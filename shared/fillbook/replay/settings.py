"""What the environment may choose for ``replay_worker``, and what that means to its use cases (replay.md 11)."""

from __future__ import annotations

from pydantic import Field, SecretStr

from fillbook.replay.service import Limits
from fillbook.runtime.config import DatabaseConfig, OidcConfig, PubSubConfig


class ReplayWorkerConfig(DatabaseConfig, OidcConfig, PubSubConfig):
    """Settings of ``replay_worker``: who may call, where its job is, the profile of a run that names none, limits."""

    desk_keys: SecretStr = SecretStr("[]")
    fillbook_region: str = Field(default="us-east4", pattern=r"^[a-z0-9-]{1,32}$")
    replay_default_profile: str = "tt-2026-02"
    replay_live_target_enabled: bool = False
    replay_page_rows_max: int = Field(default=2_000, gt=0, le=2_000)
    replay_payload_batch_bytes_max: int = Field(default=8_388_608, gt=0, le=67_108_864)
    replay_tickers_max: int = Field(default=2_000, gt=0)
    replay_lease_seconds: int = Field(default=90, ge=10, le=600)
    replay_tasks_default: int = Field(default=1, gt=0)
    replay_tasks_max: int = Field(default=10, gt=0, le=100)
    replay_runs_kept: int = Field(default=50, gt=0)
    replay_run_days_kept: int = Field(default=30, gt=0)

    def limits(self) -> Limits:
        """What a page and a book may hold."""
        return Limits(tickers_max=self.replay_tickers_max, body_bytes_max=self.replay_payload_batch_bytes_max)
