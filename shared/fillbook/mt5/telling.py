"""Events of runs: parts of a run that are to be worked, breakers that opened or closed, fleets beyond what a service can give."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from fillbook.mt5.pacing_store import Change
from fillbook.mt5.runrecords import Run, Shard
from fillbook.outbox.model import Event, event_id

SYNC_REQUESTED: Final = "mt5_sync_requested"


def sync_requested(run: Run, shard: Shard, now: datetime) -> Event:
    """A shard, or its next continuation, waits for a worker. Each is an aggregate of its own: they are worked side by side."""
    data = {
        "run_id": shard.run_id,
        "shard_no": shard.shard_no,
        "continuation": shard.continuation,
        "account_ids": list(shard.account_ids),
        "sync_type": run.sync_type.value,
        "scheduled_for": run.scheduled_for,
    }
    key = f"mt5:run:{shard.run_id}/{shard.shard_no}"
    return _event(SYNC_REQUESTED, key, shard.continuation + 1, data, now)


def breaker_changed(change: Change, now: datetime) -> Event:
    """A service or a broker is left alone, or is asked again."""
    after = change.after
    kind, _, name = after.key.partition(":")
    data = {
        "breaker": after.key,
        "server" if kind == "broker" else "service": name,
        "code": after.last_error_code or change.before.last_error_code,
        "consecutive": after.consecutive,
        "opened_at": after.opened_at or change.before.opened_at,
        "cooldown_seconds": after.cooldown_seconds,
    }
    event_type = "breaker_opened" if change.is_opening else "breaker_closed"
    return _event(event_type, f"mt5:breaker:{after.key}", int(now.timestamp() * 1_000_000), data, now)


def capacity_exceeded(run: Run, instance_key: str, due: int, capacity: int, now: datetime) -> Event:
    """More accounts are due than an instance can give in a tick; a run tells it once."""
    data = {
        "account": f"service {instance_key}",
        "instance_key": instance_key,
        "due_accounts": due,
        "capacity": capacity,
        "run_id": run.run_id,
    }
    return _event(
        "capacity_exceeded", f"mt5:capacity:{instance_key}", int((run.scheduled_for or run.started_at).timestamp()), data, now
    )


def _event(event_type: str, key: str, version: int, data: Mapping[str, object], now: datetime) -> Event:
    return Event(
        event_id=event_id(None, event_type, key, version),
        event_type=event_type,
        aggregate_key=key,
        aggregate_version=version,
        occurred_at=now,
        recorded_at=now,
        data=data,
    )
