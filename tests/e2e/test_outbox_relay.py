"""The bundled relay in the local cloud: an event committed by anybody reaches the topic at the Scheduler's next minute."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import NewDesk
from tests.support.outbox import commit, event, state

pytestmark = [pytest.mark.bundles, pytest.mark.slow]


def test_the_schedule_publishes_what_no_request_did_whatever_fails_meanwhile(new_desk: NewDesk) -> None:
    cloud = new_desk(functions=["outbox_relay"])
    cloud.control.post("/_control/scheduler/pause", {"job": "outbox-relay"})  # only when we say so
    first = [event("live/AMD", version, recorded_at=cloud.clock.now()) for version in (1, 2)]
    commit(cloud.database, first)
    assert cloud.control.run_job("outbox-relay") == 200
    rows = state(cloud.database)
    assert all(row["published_at"] is not None and row["message_id"] for row in rows)

    second = [event("live/NVDA", 1, recorded_at=cloud.clock.now())]
    commit(cloud.database, second)
    cloud.kill("postgres")
    cloud.wait_until_up("postgres")
    assert cloud.control.run_job("outbox-relay") == 200
    assert [row["published_at"] is not None for row in state(cloud.database)] == [True] * 3

    cloud.control.faults("events", refuse=1.0, count=2)
    commit(cloud.database, [event("live/TSLA", 1, recorded_at=cloud.clock.now())])
    assert cloud.control.run_job("outbox-relay") == 200
    (waiting,) = [row for row in state(cloud.database) if row["published_at"] is None]
    assert (waiting["attempts"], waiting["last_error"]) == (1, "pubsub_unavailable")
    cloud.clock.step(2)
    assert cloud.control.run_job("outbox-relay") == 200
    assert all(row["published_at"] is not None for row in state(cloud.database))
