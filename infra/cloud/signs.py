"""What is measured and when somebody is told: log-based metrics and alerts, as two tables.

A metric counts lines that the functions write (the constant event name of a line, one of its fields); a contract test looks up
both in the code. An alert names the section of the runbook that says what to do, and another test looks that up. Numbers here
are limits of attention, not of the platform: where one comes from stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

Severity = Literal["CRITICAL", "ERROR", "WARNING"]
LINES: Final = '(resource.type="cloud_run_revision" OR resource.type="cloud_run_job")'
LOGGED: Final = "logging.googleapis.com/user/fillbook"
SERVICE: Final = "cloud_run_revision"
SUBSCRIPTION: Final = "pubsub_subscription"
DATABASE: Final = "cloudsql_database"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMetric:
    """Lines with an event name, counted, or one of their fields as a distribution; ``labels`` are fields that tell them apart."""

    name: str
    what: str
    event: str | None
    """None: every line of severity ERROR or more."""
    field: str | None = None
    labels: tuple[str, ...] = ()


METRICS: Final = (
    LogMetric(
        name="outbox_oldest_seconds",
        what="age of the oldest event that was not published yet",
        event="outbox_swept",
        field="outbox_oldest_unpublished_seconds",
    ),
    LogMetric(name="outbox_parked", what="events that cannot be published", event="outbox_swept", field="parked_total"),
    LogMetric(
        name="mt5_fresh_permille", what="accounts synced in time, of a thousand", event="run_ended", field="fresh_permille"
    ),
    LogMetric(name="events", what="events that were stored to be told", event="event_stored", labels=("event_type",)),
    LogMetric(name="webhook_unpublished", what="receipts that could not be handed on", event="receipt_not_published"),
    LogMetric(name="messages_dead", what="messages that Discord never took", event="message_dead"),
    LogMetric(name="parity_broken", what="days that live would decide otherwise today", event="parity_broken"),
    LogMetric(name="errors", what="lines of severity ERROR", event=None, labels=("message",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A time series and its limit: more than ``above`` (or less than ``below``) for ``seconds``, or silent for ``seconds``."""

    metric: str
    resource: str
    aligner: str
    reducer: str = "REDUCE_SUM"
    period_seconds: int = 60
    seconds: int = 0
    above: float | None = None
    below: float | None = None
    where: str = ""
    by: tuple[str, ...] = ()

    @property
    def is_absence(self) -> bool:
        """Whether silence is the sign."""
        return self.above is None and self.below is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One reason to tell somebody; ``section`` is the heading in ``infra/docs/runbook.md`` that says what to do."""

    name: str
    title: str
    section: str
    severity: Severity
    condition: Condition
    meaning: str = field(default="")


def _lines(name: str, **rest: object) -> Condition:
    """Lines of one log-based counter within five minutes."""
    where = str(rest.pop("where", ""))
    return Condition(metric=f"{LOGGED}/{name}", resource=SERVICE, aligner="ALIGN_DELTA", period_seconds=300, above=0, where=where)


def _event(event_type: str) -> Condition:
    return _lines("events", where=f'metric.label.event_type="{event_type}"')


ALERTS: Final = (
    Alert(
        name="outbox-age",
        title="Events are not leaving",
        section="outbox-age",
        severity="CRITICAL",
        meaning="The oldest unpublished event is older than five minutes; what happens is not told.",
        condition=Condition(
            metric=f"{LOGGED}/outbox_oldest_seconds",
            resource=SERVICE,
            aligner="ALIGN_PERCENTILE_99",
            reducer="REDUCE_MAX",
            seconds=120,
            above=300,
        ),
    ),
    Alert(
        name="outbox-silent",
        title="Nobody sweeps the outbox",
        section="outbox-silent",
        severity="CRITICAL",
        meaning="outbox_relay has not said for ten minutes that it swept; it does so each minute, also when there is nothing.",
        condition=Condition(
            metric=f"{LOGGED}/outbox_oldest_seconds",
            resource=SERVICE,
            aligner="ALIGN_DELTA",
            seconds=600,
        ),
    ),
    Alert(
        name="dead-letters",
        title="A message was given up",
        section="dead-letters",
        severity="ERROR",
        meaning="Twenty attempts could not deliver a message; it went to the dead letter topic and into the room's quarantine.",
        condition=Condition(
            metric="pubsub.googleapis.com/subscription/dead_letter_message_count",
            resource=SUBSCRIPTION,
            aligner="ALIGN_DELTA",
            period_seconds=300,
            above=0,
            by=("resource.label.subscription_id",),
        ),
    ),
    Alert(
        name="message-age",
        title="Messages wait to be taken",
        section="message-age",
        severity="ERROR",
        meaning="The oldest message of a subscription has waited for a quarter of an hour; or a dead letter topic is not read.",
        condition=Condition(
            metric="pubsub.googleapis.com/subscription/oldest_unacked_message_age",
            resource=SUBSCRIPTION,
            aligner="ALIGN_MAX",
            reducer="REDUCE_MAX",
            seconds=120,
            above=900,
            by=("resource.label.subscription_id",),
        ),
    ),
    Alert(
        name="sync-failed",
        title="A broker cannot be read",
        section="sync-failed",
        severity="ERROR",
        meaning="An import failed five times, or for a reason that stays.",
        condition=_event("sync_failed"),
    ),
    Alert(
        name="sync-lag",
        title="MT5 accounts are late",
        section="sync-lag",
        severity="WARNING",
        meaning="For ten minutes fewer than 99 % of the active accounts were synced in time.",
        condition=Condition(
            metric=f"{LOGGED}/mt5_fresh_permille",
            resource=SERVICE,
            aligner="ALIGN_PERCENTILE_50",
            reducer="REDUCE_MIN",
            period_seconds=300,
            seconds=600,
            below=990,
        ),
    ),
    Alert(
        name="audit-failed",
        title="An invariant of a book does not hold",
        section="audit-failed",
        severity="CRITICAL",
        meaning="The audit after the session found a book that contradicts itself.",
        condition=_event("audit_failed"),
    ),
    Alert(
        name="break-found",
        title="Book and broker disagree",
        section="break-found",
        severity="WARNING",
        meaning="A reconciliation found a difference.",
        condition=_event("break_found"),
    ),
    Alert(
        name="parity-broken",
        title="Live would decide a day otherwise today",
        section="parity-broken",
        severity="ERROR",
        meaning="The day decided again did not come out as live decided it.",
        condition=_lines("parity_broken"),
    ),
    Alert(
        name="snapshot-overdue",
        title="The day is not published",
        section="snapshot-overdue",
        severity="ERROR",
        meaning="16:45 New York has passed without final figures.",
        condition=_event("snapshot_overdue"),
    ),
    Alert(
        name="server-errors",
        title="A function answers 5xx",
        section="server-errors",
        severity="ERROR",
        meaning="More than five answers of 500 and above in five minutes: a bug, or the database is away.",
        condition=Condition(
            metric="run.googleapis.com/request_count",
            resource=SERVICE,
            aligner="ALIGN_DELTA",
            period_seconds=300,
            above=5,
            where='metric.label.response_code_class="5xx"',
            by=("resource.label.service_name",),
        ),
    ),
    Alert(
        name="webhook-slow",
        title="The webhook is slow",
        section="webhook-slow",
        severity="ERROR",
        meaning="One request in a hundred takes longer than two seconds; the chart service gives up after three.",
        condition=Condition(
            metric="run.googleapis.com/request_latencies",
            resource=SERVICE,
            aligner="ALIGN_PERCENTILE_99",
            reducer="REDUCE_MAX",
            seconds=300,
            above=2000,
            where='resource.label.service_name="signal-ingest"',
        ),
    ),
    Alert(
        name="webhook-unpublished",
        title="Receipts are not handed on",
        section="webhook-unpublished",
        severity="CRITICAL",
        meaning="Pub/Sub did not take a receipt; the sender tries three times more.",
        condition=_lines("webhook_unpublished"),
    ),
    Alert(
        name="messages-dead",
        title="A message was never told",
        section="messages-dead",
        severity="ERROR",
        meaning="Discord refused a message, or every try failed.",
        condition=_lines("messages_dead"),
    ),
    Alert(
        name="job-failed",
        title="A job failed",
        section="job-failed",
        severity="ERROR",
        meaning="An execution of a Cloud Run job (migration, backfill, replay, shards) ended without success.",
        condition=Condition(
            metric="run.googleapis.com/job/completed_execution_count",
            resource="cloud_run_job",
            aligner="ALIGN_DELTA",
            period_seconds=300,
            above=0,
            where='metric.label.result="failed"',
            by=("resource.label.job_name",),
        ),
    ),
    Alert(
        name="connections",
        title="The database runs out of connections",
        section="connections",
        severity="ERROR",
        meaning="More connections are open than all pools together may have.",
        condition=Condition(
            metric="cloudsql.googleapis.com/database/postgresql/num_backends",
            resource=DATABASE,
            aligner="ALIGN_MAX",
            seconds=300,
            above=0,  # the plan puts the manifest's budget here: four fifths of max_connections
        ),
    ),
    Alert(
        name="database-disk",
        title="The database's disk fills",
        section="database-disk",
        severity="WARNING",
        meaning="Nine tenths of the disk are used; it grows by itself up to the limit of the settings.",
        condition=Condition(
            metric="cloudsql.googleapis.com/database/disk/utilization",
            resource=DATABASE,
            aligner="ALIGN_MAX",
            reducer="REDUCE_MAX",
            seconds=600,
            above=0.9,
        ),
    ),
    Alert(
        name="database-cpu",
        title="The database is busy",
        section="database-cpu",
        severity="WARNING",
        meaning="The server's processors were used for nine tenths of a quarter of an hour.",
        condition=Condition(
            metric="cloudsql.googleapis.com/database/cpu/utilization",
            resource=DATABASE,
            aligner="ALIGN_MEAN",
            reducer="REDUCE_MAX",
            seconds=900,
            above=0.9,
        ),
    ),
)
