"""What the environment tells the functions of this room: the service, how fast it is asked, what a run may take.

Names and defaults are those of section 12 of the specification, in small letters; all other figures are fixed in the code.
Everything missing or malformed is reported by name at the first call, never with a value. Which accounts there are, and at which
instances, is said by the database alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from fillbook.mt5 import breaker
from fillbook.mt5.duetimes import TICK, Cadence
from fillbook.mt5.model import Instance
from fillbook.mt5.words import PAGE_ROWS_MAX, ContractKind
from fillbook.runtime.config import LOOPBACK, DatabaseConfig, OidcConfig, PubSubConfig

DEFAULT_INSTANCE: Final = "default"
INSTANCES_MAX: Final = 100
KEY_CHARACTERS_MAX: Final = 512
BACKOFF_STEPS_MAX: Final = 10
LEASE_MARGIN_SECONDS: Final = 30
EXPECTED_SECONDS: Final = 10
"""What the first account of a run is expected to take (``pacing.FIRST_GUESS_SECONDS``)."""

Pacing = Literal["batch", "window"]
Minutes = Annotated[int, Field(ge=1, le=24 * 60)]


class Mt5Config(DatabaseConfig, OidcConfig, PubSubConfig):
    """Settings that both functions share; a subclass sets the budget of a run and of what it is a part."""

    model_config = ConfigDict(validate_default=True)  # a default, too, must fit what was set beside it

    mt5_service_url: str = Field(min_length=1)
    mt5_service_api_key: SecretStr = Field(min_length=1, max_length=KEY_CHARACTERS_MAX)
    mt5_service_contract: ContractKind = ContractKind.AUTO
    mt5_service_api_keys: SecretStr | None = None
    mt5_service_audience: str | None = None
    mt5_request_timeout_seconds: int = Field(default=30, ge=1, le=60)
    mt5_connect_timeout_seconds: int = Field(default=5, ge=1, le=30)
    mt5_rate_per_minute: int | None = Field(default=None, ge=1, le=1_000_000)
    mt5_sessions_max: int = Field(default=10, ge=1, le=1000)

    mt5_batch_size: int = Field(default=10, ge=1, le=100)
    mt5_batch_delay_ms: int = Field(default=100, ge=0, le=60_000)
    mt5_pacing_inline: Pacing = "batch"
    mt5_pacing_shard: Pacing = "window"
    mt5_shard_window: int = Field(default=20, ge=1, le=200)
    mt5_shard_accounts_max: int = Field(default=50, ge=1, le=500)
    mt5_inline_accounts_max: int = Field(default=300, ge=0, le=5000)
    mt5_job_above_accounts: int = Field(default=20_000, ge=1)
    fillbook_region: str = Field(default="us-east4", pattern=r"^[a-z0-9-]{1,32}$")

    mt5_run_budget_seconds: int = Field(ge=1)
    mt5_account_budget_seconds: int = Field(default=90, ge=1, le=240)
    mt5_commit_margin_seconds: int = Field(default=5, ge=1, le=60)
    mt5_lease_seconds: int = Field(default=240, ge=60, le=3600)
    mt5_manual_cooldown_seconds: int = Field(default=60, ge=0, le=3600)
    mt5_continuations_max: int = Field(default=20, ge=0, le=100)

    mt5_retry_max: int = Field(default=1, ge=0, le=1)
    mt5_backoff_minutes: tuple[Minutes, ...] = Field(default=(5, 10, 20, 40, 60), min_length=1, max_length=BACKOFF_STEPS_MAX)
    mt5_breaker_consecutive: int = Field(default=5, ge=1, le=100)
    mt5_breaker_window: int = Field(default=20, ge=2, le=100)
    mt5_breaker_cooldown_seconds: tuple[int, ...] = Field(default=(60, 900), min_length=2, max_length=2)
    mt5_auth_failures_max: int = Field(default=3, ge=1, le=20)

    mt5_history_default_days: int = Field(default=30, ge=1, le=365)
    mt5_history_overlap_hours: int = Field(default=48, ge=1, le=24 * 14)
    mt5_page_limit: int = Field(default=PAGE_ROWS_MAX, ge=1, le=PAGE_ROWS_MAX)
    mt5_pages_max: int = Field(default=20, ge=1, le=1000)
    mt5_backfill_chunk_days: int = Field(default=7, ge=1, le=365)
    mt5_backfill_chunks_per_run: int = Field(default=2, ge=0, le=100)
    mt5_close_pending_polls: int = Field(default=3, ge=1, le=100)
    mt5_close_pending_alarm_polls: int = Field(default=12, ge=1, le=1000)

    mt5_adaptive_above_accounts: int = Field(default=300, ge=0)
    mt5_cadence_minutes: tuple[Minutes, ...] = Field(default=(5, 30, 60), min_length=3, max_length=3)
    mt5_log_unchanged_max_accounts: int = Field(default=1000, ge=0)
    mt5_flush_accounts_max: int = Field(default=50, ge=1, le=500)
    mt5_flush_ms: int = Field(default=500, ge=1, le=60_000)
    mt5_log_days: int = Field(default=30, ge=1, le=3650)
    mt5_failure_log_days: int = Field(default=90, ge=1, le=3650)

    # --- each for itself ---

    @field_validator("mt5_service_url")
    @classmethod
    def _service_is_spoken_to_safely(cls, url: str) -> str:
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        if not is_safe or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ValueError("must be https (http on a loopback address only), without user, query or fragment")
        return url.rstrip("/")

    @field_validator("mt5_service_api_keys")
    @classmethod
    def _keys_can_be_read(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            read_keys(keys)
        return keys

    @field_validator("mt5_backoff_minutes")
    @classmethod
    def _backoff_rises(cls, minutes: tuple[int, ...]) -> tuple[int, ...]:
        if list(minutes) != sorted(minutes):
            raise ValueError("is a list of minutes that do not fall, like 5,10,20,40,60")
        return minutes

    @field_validator("mt5_breaker_cooldown_seconds")
    @classmethod
    def _cooldown_is_a_span(cls, span: tuple[int, ...]) -> tuple[int, ...]:
        if not 1 <= span[0] <= span[1] <= 86_400:
            raise ValueError("is the first and the longest pause in seconds, like 60,900")
        return span

    @field_validator("mt5_cadence_minutes")
    @classmethod
    def _cadence_rises_in_ticks(cls, minutes: tuple[int, ...]) -> tuple[int, ...]:
        tick = TICK // timedelta(minutes=1)
        if list(minutes) != sorted(minutes) or any(one % tick for one in minutes):
            raise ValueError(f"is three multiples of {tick} minutes that do not fall, like 5,30,60")
        return minutes

    # --- against each other ---

    @field_validator("mt5_lease_seconds")
    @classmethod
    def _lease_outlives_two_accounts(cls, seconds: int, given: ValidationInfo) -> int:
        least = 2 * given.data.get("mt5_account_budget_seconds", 0) + LEASE_MARGIN_SECONDS
        if seconds < least:
            raise ValueError(f"must be at least {least}: twice MT5_ACCOUNT_BUDGET_SECONDS and {LEASE_MARGIN_SECONDS}")
        return seconds

    @field_validator("mt5_commit_margin_seconds")
    @classmethod
    def _margin_leaves_time(cls, seconds: int, given: ValidationInfo) -> int:
        if given.data.get("mt5_run_budget_seconds", seconds + EXPECTED_SECONDS + 1) <= seconds + EXPECTED_SECONDS:
            raise ValueError(f"leaves less than {EXPECTED_SECONDS} s of MT5_RUN_BUDGET_SECONDS: no account would ever begin")
        return seconds

    @field_validator("mt5_connect_timeout_seconds")
    @classmethod
    def _connecting_is_part_of_a_request(cls, seconds: int, given: ValidationInfo) -> int:
        return _at_most(seconds, given, "mt5_request_timeout_seconds")

    @field_validator("mt5_job_above_accounts")
    @classmethod
    def _a_job_takes_more_than_a_run(cls, count: int, given: ValidationInfo) -> int:
        return _at_least(count, given, "mt5_inline_accounts_max")

    @field_validator("mt5_breaker_window")
    @classmethod
    def _window_remembers_a_whole_row(cls, count: int, given: ValidationInfo) -> int:
        return _at_least(count, given, "mt5_breaker_consecutive")

    @field_validator("mt5_close_pending_alarm_polls")
    @classmethod
    def _alarm_comes_after_the_second_look(cls, count: int, given: ValidationInfo) -> int:
        return _at_least(count, given, "mt5_close_pending_polls")

    @field_validator("mt5_failure_log_days")
    @classmethod
    def _failures_are_kept_longer(cls, days: int, given: ValidationInfo) -> int:
        return _at_least(days, given, "mt5_log_days")

    # --- as the room reads them ---

    @property
    def instance(self) -> Instance:
        """The service that is configured here; the database may know more, and more of it."""
        return Instance(
            instance_key=DEFAULT_INSTANCE,
            base_url=self.mt5_service_url,
            contract=self.mt5_service_contract,
            sessions_max=self.mt5_sessions_max,
            rate_per_minute=self.mt5_rate_per_minute,
        )

    @property
    def api_keys(self) -> Mapping[str, SecretStr]:
        """Instances with a key of their own; all others use ``mt5_service_api_key``."""
        return {} if self.mt5_service_api_keys is None else read_keys(self.mt5_service_api_keys)

    @property
    def shard_size(self) -> int:
        """Accounts of a message: as many whole rounds of what is in flight as it may hold, for a last round of a few accounts
        takes as long as a full one.
        """
        most = self.mt5_shard_accounts_max
        round_size = self.mt5_batch_size if self.mt5_pacing_shard == "batch" else self.mt5_shard_window
        return most - most % round_size or most

    @property
    def counted_accounts_max(self) -> int:
        """How far a fleet is counted by those who only ask whether it is large: one more than makes it so."""
        return max(self.mt5_adaptive_above_accounts, self.mt5_log_unchanged_max_accounts) + 1

    def api_key(self, instance_key: str) -> SecretStr:
        """The key that an instance is asked with."""
        return self.api_keys.get(instance_key, self.mt5_service_api_key)

    @property
    def breaker_rules(self) -> breaker.Rules:
        """When breakers open and how long they pause."""
        first, longest = self.mt5_breaker_cooldown_seconds
        return breaker.Rules(
            consecutive=self.mt5_breaker_consecutive,
            window=self.mt5_breaker_window,
            cooldown_seconds=first,
            cooldown_seconds_max=longest,
        )

    @property
    def backoff(self) -> tuple[timedelta, ...]:
        """Pauses after failures in a row."""
        return tuple(timedelta(minutes=minutes) for minutes in self.mt5_backoff_minutes)

    @property
    def cadence(self) -> Cadence:
        """How often accounts of a large fleet are read."""
        active, idle, asleep = (timedelta(minutes=minutes) for minutes in self.mt5_cadence_minutes)
        return Cadence(active=active, idle=idle, asleep=asleep)


class AccountSyncConfig(Mt5Config):
    """Settings of ``account_sync``: a run ends well before the function's 300 s."""

    mt5_run_budget_seconds: int = Field(default=270, ge=1, le=290)


class AccountSyncShardConfig(Mt5Config):
    """Settings of ``account_sync_shard``: a shard ends well before the function's 540 s."""

    mt5_run_budget_seconds: int = Field(default=480, ge=1, le=530)


class AccountSyncJobConfig(Mt5Config):
    """Settings of the same as a job: a task ends well before its 3,600 s."""

    mt5_run_budget_seconds: int = Field(default=3300, ge=1, le=3590)
    cloud_run_execution: str = Field(default="by-hand", min_length=1, max_length=128)
    cloud_run_task_index: int = Field(default=0, ge=0, le=1023)
    cloud_run_task_count: int = Field(default=1, ge=1, le=1024)
    mt5_job_run_id: str | None = Field(default=None, pattern=r"^[0-9a-f-]{36}$")
    """The slot that started the execution; None: a person did."""


def _at_least(value: int, given: ValidationInfo, other: str) -> int:
    """Refuse a value below that of a setting declared before; one that is malformed itself was reported already."""
    if value < given.data.get(other, value):
        raise ValueError(f"must not be below {other.upper()}")
    return value


def _at_most(value: int, given: ValidationInfo, other: str) -> int:
    if value > given.data.get(other, value):
        raise ValueError(f"must not exceed {other.upper()}")
    return value


def read_keys(keys: SecretStr) -> Mapping[str, SecretStr]:
    """``MT5_SERVICE_API_KEYS``: a JSON object, instance to key; raises ``ValueError`` without any value of it."""
    try:
        found = json.loads(keys.get_secret_value())
    except ValueError:
        raise ValueError("is no JSON") from None
    if not isinstance(found, dict) or len(found) > INSTANCES_MAX:
        raise ValueError(f"is no object of at most {INSTANCES_MAX} instances")
    if not all(isinstance(key, str) and 0 < len(key) <= KEY_CHARACTERS_MAX for key in found.values()):
        raise ValueError("holds a key that is no text, empty or too long")
    return {instance: SecretStr(key) for instance, key in found.items()}
