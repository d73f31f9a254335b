"""desk_keeper: audits every book after the session, anchors its chain, ages its breaks and deletes what has expired."""

import functools

import functions_framework
from flask import Request, Response

from fillbook.calendar import calendar
from fillbook.ledger import audit, keeping, reconcile
from fillbook.outbox.model import PARTITIONS
from fillbook.outbox.service import relay_own
from fillbook.runtime.auth import verifier_for
from fillbook.runtime.clock import clock_for
from fillbook.runtime.config import DatabaseConfig, OidcConfig, PubSubConfig
from fillbook.runtime.db import Database
from fillbook.runtime.http import CronCall, cron_edge
from fillbook.runtime.pubsub import publisher_for
from fillbook.signal.retention import expire


class DeskKeeperConfig(DatabaseConfig, OidcConfig, PubSubConfig):
    """What the function is told by its environment."""


config = functools.cache(DeskKeeperConfig.from_environment)
publisher = functools.cache(lambda: publisher_for(config()))
verifier = functools.cache(lambda: verifier_for(config()))
# an audit reads whole books: its statements may take minutes, not seconds
database = functools.cache(
    lambda: Database.open(config(), application_name="desk_keeper", pool_size=4, statement_timeout_seconds=300)
)


def keep(call: CronCall) -> dict[str, object]:
    """The night's chores, then what they announced."""
    clock = clock_for(config())
    chores = {"audits": audit.audit_due, "breaks": reconcile.reconcile_due, "marks": keeping.expire_marks}
    chores |= {"sums": keeping.carry_results, "signal": expire}  # a mark that goes takes kept days with it: sums come after
    done = keeping.keep_desk(database(), slot=call.slot, now=clock.now(), sessions=calendar(), chores=chores)
    relay_own(database(), publisher(), range(PARTITIONS), now_from=clock)
    return done


edge = cron_edge("desk_keeper", {"/": keep}, verify=lambda request: verifier().check(request))


@functions_framework.http
def desk_keeper(request: Request) -> Response:
    """Entry point."""
    return edge(request)
