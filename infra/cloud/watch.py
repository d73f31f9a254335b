"""Turns the tables of signs into metrics, alert policies, notification channels and a dashboard of the platform."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from infra.cloud import signs
from infra.cloud.desk import LABELS, Desk
from infra.cloud.model import ALERT, CHANNEL, DASHBOARD, LOG_METRIC, Ref, Resource
from infra.cloud.signs import ALERTS, METRICS, Alert, Condition, LogMetric

RUNBOOK: Final = "infra/docs/runbook.md"
CLOSED_SECONDS: Final = 24 * 3600
BUDGET_NUMERATOR, BUDGET_DENOMINATOR = 8, 10
TILE_WIDTH, TILE_HEIGHT, COLUMNS = 16, 12, 3


def told(desk: Desk) -> Iterator[Resource]:
    """Who is told."""
    for number, address in enumerate(desk.settings.alert_emails, 1):
        yield Resource(
            type=CHANNEL,
            name=f"channel/{number}",
            properties={
                "project": desk.project,
                "type": "email",
                "display_name": f"Fillbook alerts {number}",
                "labels": {"email_address": address},
            },
            depends=("api/monitoring",),
        )


def watch(desk: Desk) -> Iterator[Resource]:
    """What is counted, when somebody is told, and where a person looks first."""
    for metric in METRICS:
        yield _metric(desk, metric)
    for alert in ALERTS:
        yield _alert(desk, alert)
    yield Resource(
        type=DASHBOARD,
        name="dashboard",
        properties={"project": desk.project, "dashboard_json": json.dumps(dashboard(desk), sort_keys=True)},
        depends=tuple(f"metric/{metric.name}" for metric in METRICS),
    )


def channels(desk: Desk) -> list[Ref]:
    """Every channel, as alerts and the budget name them."""
    return [Ref(name=f"channel/{number}", attribute="name") for number, _ in enumerate(desk.settings.alert_emails, 1)]


def limit(desk: Desk, alert: Alert) -> float | None:
    """An alert's upper limit; that of the connections is the budget of all pools together."""
    if alert.name == "connections":
        return desk.manifest.max_connections * BUDGET_NUMERATOR // BUDGET_DENOMINATOR
    return alert.condition.above


def _metric(desk: Desk, metric: LogMetric) -> Resource:
    sign = "severity>=ERROR" if metric.event is None else f'jsonPayload.message="{metric.event}"'
    descriptor: dict[str, Any] = {
        "metric_kind": "DELTA",
        "value_type": "INT64" if metric.field is None else "DISTRIBUTION",
        "unit": "1",
        "display_name": metric.what,
        "labels": [{"key": label, "value_type": "STRING", "description": label} for label in metric.labels],
    }
    properties: dict[str, Any] = {
        "project": desk.project,
        "name": f"fillbook/{metric.name}",
        "description": metric.what,
        "filter": f"{signs.LINES} AND {sign}",
        "metric_descriptor": descriptor,
        "label_extractors": {label: f"EXTRACT(jsonPayload.{label})" for label in metric.labels},
    }
    if metric.field is not None:
        properties["value_extractor"] = f"EXTRACT(jsonPayload.{metric.field})"
        properties["bucket_options"] = {"exponential_buckets": {"num_finite_buckets": 64, "growth_factor": 1.4, "scale": 1}}
    return Resource(type=LOG_METRIC, name=f"metric/{metric.name}", properties=properties, depends=("api/logging",))


def _alert(desk: Desk, alert: Alert) -> Resource:
    logged = alert.condition.metric.removeprefix(f"{signs.LOGGED}/")
    depends = (f"metric/{logged}",) if logged != alert.condition.metric else ("api/monitoring",)
    return Resource(
        type=ALERT,
        name=f"alert/{alert.name}",
        properties={
            "project": desk.project,
            "display_name": f"Fillbook: {alert.title}",
            "combiner": "OR",
            "enabled": True,
            "severity": alert.severity,
            "user_labels": {**LABELS, "alert": alert.name},
            "conditions": [{"display_name": alert.title, **_condition(alert.condition, limit(desk, alert))}],
            "notification_channels": channels(desk),
            "alert_strategy": {"auto_close": f"{CLOSED_SECONDS}s"},
            "documentation": {
                "mime_type": "text/markdown",
                "subject": f"Fillbook: {alert.title}",
                "content": f"{alert.meaning}\n\nWhat to do: `{RUNBOOK}#{alert.section}`",
            },
        },
        depends=depends,
    )


def _condition(condition: Condition, above: float | None) -> dict[str, Any]:
    shared = {"filter": series(condition), "duration": f"{condition.seconds}s", "aggregations": [_aggregation(condition)]}
    if condition.is_absence:
        return {"condition_absent": shared}
    compared = {"comparison": "COMPARISON_LT", "threshold_value": condition.below}
    if above is not None:
        compared = {"comparison": "COMPARISON_GT", "threshold_value": above}
    return {"condition_threshold": {**shared, **compared, "trigger": {"count": 1}}}


def series(condition: Condition) -> str:
    """The filter that picks a condition's time series."""
    parts = (f'metric.type="{condition.metric}"', f'resource.type="{condition.resource}"', condition.where)
    return " AND ".join(filter(None, parts))


def _aggregation(condition: Condition) -> dict[str, Any]:
    found: dict[str, Any] = {
        "alignment_period": f"{condition.period_seconds}s",
        "per_series_aligner": condition.aligner,
        "cross_series_reducer": condition.reducer,
    }
    return {**found, "group_by_fields": list(condition.by)} if condition.by else found


def dashboard(desk: Desk) -> dict[str, Any]:
    """One chart per alert, in its order, each with the alert's limit as a line."""
    tiles = []
    for number, alert in enumerate(ALERTS):
        query = {
            "timeSeriesFilter": {
                "filter": series(alert.condition),
                "aggregation": {
                    "alignmentPeriod": f"{alert.condition.period_seconds}s",
                    "perSeriesAligner": alert.condition.aligner,
                    "crossSeriesReducer": alert.condition.reducer,
                    "groupByFields": list(alert.condition.by),
                },
            }
        }
        line = limit(desk, alert) if alert.condition.below is None else alert.condition.below
        chart = {
            "dataSets": [{"plotType": "LINE", "timeSeriesQuery": query}],
            "thresholds": [] if line is None else [{"value": line}],
        }
        tiles.append(
            {
                "xPos": number % COLUMNS * TILE_WIDTH,
                "yPos": number // COLUMNS * TILE_HEIGHT,
                "width": TILE_WIDTH,
                "height": TILE_HEIGHT,
                "widget": {"title": alert.title, "xyChart": chart},
            }
        )
    return {"displayName": "Fillbook", "mosaicLayout": {"columns": COLUMNS * TILE_WIDTH, "tiles": tiles}}
