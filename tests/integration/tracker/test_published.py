"""The published day on the read API: what its readers see, how it was published, and who does not see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.tracker_desk import BROKER_KEY, get, published

Query = Callable[..., list[dict[str, Any]]]


@pytest.mark.usefixtures("booked")
def test_before_anything_is_published_there_is_no_snapshot(client: FlaskClient) -> None:
    status, answer = get(client, "/api/v1/snapshot")
    assert (status, answer["snapshot"], answer["data_as_of_at"]) == (200, None, None)


@pytest.mark.usefixtures("booked")
def test_the_newest_day_is_shown_as_it_was_published(client: FlaskClient, query: Query) -> None:
    published(query, "2026-02-02", version=1)
    published(query, "2026-02-03", version=3, status="published_fallback")
    status, answer = get(client, "/api/v1/snapshot")
    shown = answer["snapshot"]
    assert status == 200
    assert (shown["date"], shown["stage"], shown["version"], shown["content_sha256"]) == ("2026-02-03", "final", 3, "ab" * 32)
    assert (shown["publication"]["status"], shown["publication"]["target"], shown["publication"]["verified"]) == (
        "published_fallback",
        "api",
        True,
    )
    assert [(one["kpi"], one["value"], one["value_num"], one["missing_reason"]) for one in shown["kpis"]] == [
        ("Equity", "$100,200.50", "100200.5", None),
        ("Win rate", "—", None, "none_closed"),
    ]
    assert answer["data_as_of_at"] == "2026-02-03T21:00:00.000Z"


@pytest.mark.usefixtures("booked")
def test_a_day_of_books_that_a_key_does_not_see_is_not_shown(client: FlaskClient, query: Query) -> None:
    published(query, "2026-02-03")
    assert get(client, "/api/v1/snapshot", BROKER_KEY)[1]["snapshot"] is None
    assert get(client, "/api/v1/snapshot?date=2026-02-03")[0] == 400
    assert get(client, "/api/v1/snapshot", None)[0] == 401
