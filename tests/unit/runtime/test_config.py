"""The environment is read once, as declared, and every fault is told at once without telling a value."""

from typing import Literal

import pytest
from pydantic import Field, SecretStr

from fillbook.runtime import logs
from fillbook.runtime.config import Config, ConfigError, DatabaseConfig, OidcConfig, PubSubConfig
from fillbook.runtime.target import Target, parse_target


class WorkerConfig(DatabaseConfig, OidcConfig, PubSubConfig):
    book: str
    age_seconds_max: int = Field(default=900, ge=1)
    mode: Literal["a", "b"] = "a"
    tokens: tuple[SecretStr, ...] = ()
    is_dry: bool = False


GOOD = {
    "FILLBOOK_ENV": "cloud",
    "FILLBOOK_DATABASE_URL": "postgresql://u:canary-db-password@db/fillbook",
    "FILLBOOK_PROJECT": "p",
    "BOOK": "live",
}


def test_fields_are_named_like_their_variables_and_strings_become_values():
    config = WorkerConfig.from_environment(
        {**GOOD, "AGE_SECONDS_MAX": "60", "IS_DRY": "true", "TOKENS": "one-token, two-token", "FILLBOOK_OIDC_CALLERS": "a@x,b@x"}
    )
    assert (config.book, config.age_seconds_max, config.is_dry) == ("live", 60, True)
    assert config.fillbook_oidc_callers == ("a@x", "b@x")
    assert [token.get_secret_value() for token in config.tokens] == ["one-token", "two-token"]


def test_a_list_may_be_json_because_a_value_may_hold_a_comma():
    config = WorkerConfig.from_environment({**GOOD, "TOKENS": '["a,b-token", "c-token-x"]'})
    assert config.tokens[0].get_secret_value() == "a,b-token"


def test_all_faults_are_reported_together_by_variable_and_without_values():
    environ = {"FILLBOOK_ENV": "moon-canary", "AGE_SECONDS_MAX": "canary", "MODE": "canary", "TOKENS": "[canary"}
    with pytest.raises(ConfigError) as caught:
        WorkerConfig.from_environment(environ)
    expected = {"FILLBOOK_ENV", "AGE_SECONDS_MAX", "MODE", "TOKENS", "BOOK", "FILLBOOK_PROJECT"}
    assert expected <= set(caught.value.problems)
    assert "canary" not in str(caught.value)


def test_an_empty_variable_is_not_set():
    with pytest.raises(ConfigError, match="BOOK: is missing"):
        WorkerConfig.from_environment({**GOOD, "BOOK": " "})


@pytest.mark.parametrize("extra", [{}, {"FILLBOOK_DATABASE_INSTANCE": "p:r:i"}])
def test_a_database_is_named_in_one_whole_way(extra):
    environ = {name: value for name, value in GOOD.items() if name != "FILLBOOK_DATABASE_URL"}
    with pytest.raises(ConfigError, match="FILLBOOK_DATABASE_URL"):
        WorkerConfig.from_environment({**environ, **extra})
    with pytest.raises(ConfigError, match="not both"):
        WorkerConfig.from_environment({**GOOD, "FILLBOOK_DATABASE_INSTANCE": "p:r:i"})


def test_secrets_are_masked_in_every_representation_and_in_every_log_line(capsys):
    config = WorkerConfig.from_environment({**GOOD, "TOKENS": "canary-token-1"})
    assert "canary" not in repr(config) + str(config) + config.model_dump_json()
    logs.get("x").info(
        "said", text="it is canary-token-1", url="postgresql://u:canary-db-password@db/x", note="canary-db-password"
    )
    assert "canary" not in capsys.readouterr().out


def test_each_secret_of_a_map_of_secrets_is_masked_alone(capsys):
    WorkerConfig.from_environment({**GOOD, "TOKENS": '["{\\"a\\": \\"canary-in-a-map\\", \\"b\\": 1}", "{no-json-canary"]'})
    logs.get("x").info("said", text="it is canary-in-a-map")
    assert "canary" not in capsys.readouterr().out


def test_what_is_local_does_not_exist_in_the_cloud():
    local = {"FILLBOOK_LOCAL_URL": "http://127.0.0.1:9000/", "FILLBOOK_DESK_CLOCK": "/tmp/clock.json"}
    in_cloud = Config.from_environment({"FILLBOOK_ENV": "cloud", **local})
    assert (in_cloud.fillbook_local_url, in_cloud.fillbook_desk_clock) == (None, None)
    at_home = Config.from_environment({"FILLBOOK_ENV": "local", **local})
    assert at_home.fillbook_local_url == "http://127.0.0.1:9000"


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "http://example.com", "http://10.0.0.1", "127.0.0.1:9000"])
def test_the_local_cloud_is_on_this_machine_or_nowhere(url):
    with pytest.raises(ConfigError, match="FILLBOOK_LOCAL_URL"):
        Config.from_environment({"FILLBOOK_ENV": "local", "FILLBOOK_LOCAL_URL": url})


def test_the_environment_names_are_the_fields():
    assert WorkerConfig.environment_names() == (
        "AGE_SECONDS_MAX",
        "BOOK",
        "FILLBOOK_DATABASE_INSTANCE",
        "FILLBOOK_DATABASE_NAME",
        "FILLBOOK_DATABASE_URL",
        "FILLBOOK_DATABASE_USER",
        "FILLBOOK_DESK_CLOCK",
        "FILLBOOK_ENV",
        "FILLBOOK_LOCAL_URL",
        "FILLBOOK_OIDC_AUDIENCE",
        "FILLBOOK_OIDC_CALLERS",
        "FILLBOOK_OIDC_PLATFORM_VERIFIED",
        "FILLBOOK_PROJECT",
        "IS_DRY",
        "MODE",
        "TOKENS",
    )


class TestTarget:
    def test_a_plain_url_on_loopback_has_no_tls(self):
        assert parse_target("postgresql://u@127.0.0.1:5433/d") == Target(user="u", database="d", host="127.0.0.1", port=5433)

    def test_elsewhere_tls_is_on_unless_the_url_says_otherwise(self):
        assert parse_target("postgres://u:p%40ss@db.example/d").tls == "require"
        assert parse_target("postgres://u:p%40ss@db.example/d").password == "p@ss"
        assert parse_target("postgres://u@db.example/d?sslmode=disable").tls == "disable"
        assert parse_target("postgres://u@db.example/d?sslmode=verify-full").tls == "verify-full"

    def test_cloud_runs_socket_is_a_folder_with_the_usual_file_in_it(self):
        target = parse_target("postgresql://u@/d?host=/cloudsql/project:region:instance")
        assert (target.socket_path, target.host) == ("/cloudsql/project:region:instance/.s.PGSQL.5432", None)

    @pytest.mark.parametrize(
        "url",
        [
            "mysql://u@h/d",
            "postgresql://h/d",
            "postgresql://u@h",
            "postgresql://u@/d",
            "postgresql://u@h:port/d",
            "postgresql://u@h/d?sslmode=prefer",
            "postgresql://u@h/d?options=-c",
            "postgresql://u@/d?host=/" + "x" * 120,
        ],
    )
    def test_a_url_that_would_have_to_be_guessed_is_refused_without_repeating_it(self, url):
        with pytest.raises(ConfigError, match="FILLBOOK_DATABASE_URL") as caught:
            parse_target(url)
        assert "@" not in str(caught.value)
