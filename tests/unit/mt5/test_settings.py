"""The room's settings: defaults as specified, limits, what must fit together, and keys nobody sees."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fillbook.mt5 import breaker, duetimes, pacing, words
from fillbook.mt5.settings import AccountSyncConfig, AccountSyncJobConfig, AccountSyncShardConfig, Mt5Config
from fillbook.runtime.config import ConfigError

GOOD = {
    "FILLBOOK_ENV": "cloud",
    "FILLBOOK_DATABASE_URL": "postgresql://u:canary-db-password@db/fillbook",
    "FILLBOOK_PROJECT": "p",
    "MT5_SERVICE_URL": "https://mt5.example/api/",
    "MT5_SERVICE_API_KEY": "canary-key-of-all",
}


def read(kind: type[Mt5Config] = AccountSyncConfig, **given: str) -> Mt5Config:
    return kind.from_environment({**GOOD, **{f"MT5_{name}": value for name, value in given.items()}})


def test_the_names_are_those_of_the_specification() -> None:
    names = {name for name in AccountSyncConfig.environment_names() if name.startswith("MT5_")}
    assert names == {f"MT5_{name}" for name in NAMES.split()}
    assert AccountSyncShardConfig.environment_names() == AccountSyncConfig.environment_names()


NAMES = """
SERVICE_URL SERVICE_API_KEY SERVICE_CONTRACT SERVICE_API_KEYS SERVICE_AUDIENCE REQUEST_TIMEOUT_SECONDS CONNECT_TIMEOUT_SECONDS
RATE_PER_MINUTE SESSIONS_MAX BATCH_SIZE BATCH_DELAY_MS PACING_INLINE PACING_SHARD SHARD_WINDOW SHARD_ACCOUNTS_MAX
INLINE_ACCOUNTS_MAX JOB_ABOVE_ACCOUNTS RUN_BUDGET_SECONDS ACCOUNT_BUDGET_SECONDS COMMIT_MARGIN_SECONDS LEASE_SECONDS
MANUAL_COOLDOWN_SECONDS CONTINUATIONS_MAX RETRY_MAX BACKOFF_MINUTES BREAKER_CONSECUTIVE BREAKER_WINDOW BREAKER_COOLDOWN_SECONDS
AUTH_FAILURES_MAX HISTORY_DEFAULT_DAYS HISTORY_OVERLAP_HOURS PAGE_LIMIT PAGES_MAX BACKFILL_CHUNK_DAYS BACKFILL_CHUNKS_PER_RUN
CLOSE_PENDING_POLLS CLOSE_PENDING_ALARM_POLLS ADAPTIVE_ABOVE_ACCOUNTS CADENCE_MINUTES LOG_UNCHANGED_MAX_ACCOUNTS
FLUSH_ACCOUNTS_MAX FLUSH_MS LOG_DAYS FAILURE_LOG_DAYS
"""


@pytest.mark.parametrize(
    ("kind", "budget"), [(AccountSyncConfig, 270), (AccountSyncShardConfig, 480), (AccountSyncJobConfig, 3300)]
)
def test_each_way_to_run_has_its_budget(kind: type[Mt5Config], budget: int) -> None:
    assert read(kind).mt5_run_budget_seconds == budget
    assert read(kind, RUN_BUDGET_SECONDS="100").mt5_run_budget_seconds == 100


def test_the_defaults_are_the_figures_of_the_pure_cores() -> None:
    config = read()
    assert config.breaker_rules == breaker.Rules()
    assert config.backoff == duetimes.BACKOFF
    assert config.cadence == duetimes.Cadence()
    assert config.mt5_adaptive_above_accounts == duetimes.ADAPTIVE_ABOVE
    assert config.mt5_auth_failures_max == duetimes.AUTH_FAILURES_MAX
    assert config.mt5_account_budget_seconds == pacing.ACCOUNT_SECONDS
    assert config.mt5_commit_margin_seconds == pacing.MARGIN_SECONDS
    assert (config.mt5_batch_size, config.mt5_shard_window) == (pacing.BATCH_SIZE, pacing.WINDOW_SIZE)
    assert config.mt5_batch_delay_ms == 1000 * pacing.BATCH_PAUSE_SECONDS
    assert (config.mt5_pacing_inline, config.mt5_pacing_shard) == ("batch", "window")
    assert (config.mt5_lease_seconds, config.mt5_page_limit, config.mt5_pages_max) == (240, 1000, 20)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({}, 40),
        ({"SHARD_WINDOW": "25"}, 50),
        ({"SHARD_WINDOW": "100"}, 50),
        ({"SHARD_ACCOUNTS_MAX": "500", "SHARD_WINDOW": "30"}, 480),
        ({"PACING_SHARD": "batch", "BATCH_SIZE": "15"}, 45),
    ],
)
def test_a_shard_is_as_many_whole_rounds_as_a_message_may_hold(given: dict[str, str], size: int) -> None:
    assert read(**given).shard_size == size


def test_a_fleet_is_counted_as_far_as_its_size_matters() -> None:
    assert read().counted_accounts_max == 1001
    assert read(ADAPTIVE_ABOVE_ACCOUNTS="5000").counted_accounts_max == 5001


def test_the_service_of_the_settings_is_an_instance() -> None:
    instance = read(RATE_PER_MINUTE="100", SERVICE_CONTRACT="v0", SESSIONS_MAX="3").instance
    assert (instance.instance_key, instance.base_url, instance.contract) == (
        "default",
        "https://mt5.example/api",
        words.ContractKind.V0,
    )
    assert (instance.sessions_max, instance.rate_per_minute) == (3, 100)


def test_lists_become_values_of_the_room() -> None:
    config = read(BACKOFF_MINUTES="1,2", BREAKER_COOLDOWN_SECONDS="30,120", CADENCE_MINUTES="10,20,45")
    assert config.backoff == (timedelta(minutes=1), timedelta(minutes=2))
    assert (config.breaker_rules.cooldown_seconds, config.breaker_rules.cooldown_seconds_max) == (30, 120)
    assert config.cadence.asleep == timedelta(minutes=45)


def test_scenario_36_all_that_is_missing_is_named_together() -> None:
    with pytest.raises(ConfigError) as caught:
        AccountSyncConfig.from_environment({"FILLBOOK_ENV": "cloud"})
    assert {"MT5_SERVICE_URL", "MT5_SERVICE_API_KEY", "FILLBOOK_PROJECT"} <= set(caught.value.problems)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVICE_URL", "http://mt5.example"),
        ("SERVICE_URL", "https://user:canary@mt5.example"),
        ("SERVICE_URL", "https://mt5.example?key=canary"),
        ("SERVICE_URL", "mt5.example"),
        ("SERVICE_CONTRACT", "v2"),
        ("SERVICE_API_KEYS", "canary"),
        ("SERVICE_API_KEYS", '["canary"]'),
        ("SERVICE_API_KEYS", '{"a": ""}'),
        ("SERVICE_API_KEYS", '{"a": 1}'),
        ("BATCH_SIZE", "0"),
        ("BATCH_SIZE", "101"),
        ("SHARD_ACCOUNTS_MAX", "501"),
        ("SESSIONS_MAX", "1001"),
        ("RATE_PER_MINUTE", "0"),
        ("PACING_SHARD", "burst"),
        ("PAGE_LIMIT", "1001"),
        ("RETRY_MAX", "2"),
        ("LEASE_SECONDS", "209"),
        ("COMMIT_MARGIN_SECONDS", "61"),
        ("CONNECT_TIMEOUT_SECONDS", "31"),
        ("JOB_ABOVE_ACCOUNTS", "299"),
        ("BREAKER_WINDOW", "4"),
        ("BREAKER_COOLDOWN_SECONDS", "60"),
        ("BREAKER_COOLDOWN_SECONDS", "900,60"),
        ("BACKOFF_MINUTES", "10,5"),
        ("BACKOFF_MINUTES", "0,5"),
        ("CADENCE_MINUTES", "5,30"),
        ("CADENCE_MINUTES", "5,7,60"),
        ("CADENCE_MINUTES", "30,5,60"),
        ("CLOSE_PENDING_ALARM_POLLS", "2"),
        ("FAILURE_LOG_DAYS", "29"),
        ("RUN_BUDGET_SECONDS", "291"),
    ],
)
def test_what_is_out_of_range_or_does_not_fit_is_reported_under_its_own_name_without_its_value(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**{name: value})
    assert set(caught.value.problems) == {f"MT5_{name}"}
    assert "canary" not in str(caught.value)


def test_the_lease_follows_the_budget_of_an_account() -> None:
    assert read(ACCOUNT_BUDGET_SECONDS="105", LEASE_SECONDS="240").mt5_lease_seconds == 240
    with pytest.raises(ConfigError, match=r"MT5_LEASE_SECONDS: .*242: twice MT5_ACCOUNT_BUDGET_SECONDS"):
        read(ACCOUNT_BUDGET_SECONDS="106", LEASE_SECONDS="240")


def test_a_default_that_no_longer_fits_is_reported_too() -> None:
    with pytest.raises(ConfigError, match="MT5_LEASE_SECONDS"):
        read(ACCOUNT_BUDGET_SECONDS="240")
    with pytest.raises(ConfigError, match="MT5_COMMIT_MARGIN_SECONDS"):
        read(RUN_BUDGET_SECONDS="15")


def test_each_instance_is_asked_with_its_own_key_and_no_key_is_ever_shown() -> None:
    config = read(SERVICE_API_KEYS='{"second": "canary-key-of-second"}')
    assert config.api_key("second").get_secret_value() == "canary-key-of-second"
    assert config.api_key("other").get_secret_value() == "canary-key-of-all"
    assert "canary" not in repr(config) + str(config) + config.model_dump_json() + repr(config.api_keys)
