"""Settings of the publisher: half a configuration is refused by name, and no secret is ever shown."""

from __future__ import annotations

import pytest

from fillbook.runtime.config import ConfigError
from fillbook.snapshot.publisher_settings import SnapshotPublisherConfig

SECRETS = {
    "INTERNAL_TOKEN": "canary-internal-token",
    "SIGNING_SECRET": "canary-signing-secret",
    "SNAPSHOT_READ_KEY": "canary-read-key",
    "CLOUDFLARE_API_TOKEN": "canary-cloudflare-token",
}
GOOD = {
    "FILLBOOK_ENV": "cloud",
    "FILLBOOK_DATABASE_URL": "postgresql://u:canary-db-password@db/fillbook",
    "FILLBOOK_PROJECT": "p",
    "SNAPSHOT_API_URL": "https://api.example/base/",
    "INTERNAL_TOKEN": SECRETS["INTERNAL_TOKEN"],
}
FALLBACK = {"CF_ACCOUNT_ID": "a1", "CF_D1_DATABASE_ID": "d-1", "CLOUDFLARE_API_TOKEN": SECRETS["CLOUDFLARE_API_TOKEN"]}


def read(**given: str) -> SnapshotPublisherConfig:
    return SnapshotPublisherConfig.from_environment({**GOOD, **given})


def problems(**given: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        read(**given)
    assert not [text for text in (*SECRETS.values(), *given.values()) if len(text) > 3 and text in str(caught.value)]
    return dict(caught.value.problems)


def test_the_least_that_is_needed_is_the_api_and_its_token() -> None:
    config = read()
    assert (config.snapshot_api_url, config.snapshot_endpoint) == (
        "https://api.example/base",
        "/v1/internal/trades/snapshot",
    )
    assert config.views.is_ours
    assert not config.has_fallback
    assert set(problems(SNAPSHOT_API_URL="", INTERNAL_TOKEN="")) == {"SNAPSHOT_API_URL", "INTERNAL_TOKEN"}


@pytest.mark.parametrize("names", [("CF_ACCOUNT_ID",), ("CLOUDFLARE_API_TOKEN",), ("CF_ACCOUNT_ID", "CF_D1_DATABASE_ID")])
def test_scenario_23_a_fallback_that_lacks_a_part_is_a_configuration_error(names: tuple[str, ...]) -> None:
    assert read(**FALLBACK).has_fallback
    found = problems(**{name: FALLBACK[name] for name in names})
    assert found == {
        "CLOUDFLARE_API_TOKEN": "Value error, set CF_ACCOUNT_ID, CF_D1_DATABASE_ID and CLOUDFLARE_API_TOKEN, or none of them"
    }


@pytest.mark.parametrize("name", ["a.b; drop table x", "(select 1)", "a.b.c", '"A".b', "A.b", "b"])
def test_scenario_11_a_view_is_a_plain_name_or_nothing_is_done(name: str) -> None:
    assert "MV_KPI_TABLE" in problems(MV_KPI_TABLE=name)


def test_views_of_somebody_else_are_not_refreshed() -> None:
    assert list(problems(MV_SERIES_TABLE="reports.series")) == ["SNAPSHOT_REFRESH"]
    views = read(MV_SERIES_TABLE="reports.series", SNAPSHOT_REFRESH="off").views
    assert (views.series, views.is_ours) == ("reports.series", False)
    assert list(problems(SNAPSHOT_REFRESH="sometimes")) == ["SNAPSHOT_REFRESH"]


@pytest.mark.parametrize("url", ["http://api.example", "ftp://api.example", "https://u:p@api.example", "https://a.example?x=1"])
def test_the_api_is_spoken_to_safely(url: str) -> None:
    assert list(problems(SNAPSHOT_API_URL=url)) == ["SNAPSHOT_API_URL"]
    assert read(SNAPSHOT_API_URL="http://127.0.0.1:8080").snapshot_api_url == "http://127.0.0.1:8080"


def test_a_secret_that_fits_no_header_is_refused_without_being_shown() -> None:
    assert list(problems(INTERNAL_TOKEN="canary\nX-Other: 1")) == ["INTERNAL_TOKEN"]
    assert list(problems(SNAPSHOT_READ_KEY="canary-schlüssel")) == ["SNAPSHOT_READ_KEY"]


def test_no_secret_stands_in_what_is_printed() -> None:
    config = read(**FALLBACK, SIGNING_SECRET=SECRETS["SIGNING_SECRET"], SNAPSHOT_READ_KEY=SECRETS["SNAPSHOT_READ_KEY"])
    assert "canary" not in f"{config!r} {config}"
