"""The person at the desk: what nobody but an operator may do, done as the operator's verbs do it, in this process.

Exactly what ``op notify enable``, ``op notify replay`` and ``op snapshot publish`` call, without the second that each new process
costs. A run has hundreds of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from random import randint
from typing import Final

from fillbook.notify import operator
from fillbook.notify.config import NotifierConfig
from fillbook.notify.pacing import DICE_MAX
from fillbook.notify.talk import Desk
from fillbook.runtime import logs
from fillbook.runtime.clock import clock_for
from fillbook.runtime.db import Database
from fillbook.runtime.errors import FillbookError
from fillbook.snapshot.function_call import OperatorConfig, PublisherFunction
from infra.local.desk import LocalCloud

LONG_AGO: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


@contextmanager
def desk(cloud: LocalCloud) -> Iterator[Desk]:
    """The desk of the notifier's verbs, for as long as a verb takes."""
    config = NotifierConfig.from_environment(cloud.operator_environment)
    db, discord = Database.open(config, application_name="op notify", pool_size=2), config.discord()
    clock, settings = clock_for(config), config.settings()
    try:
        with logs.quiet():
            yield Desk(db=db, speaker=discord, clock=clock, settings=settings, dice=lambda: randint(0, DICE_MAX))
    finally:
        db.close()


def enable(cloud: LocalCloud, channel_id: str) -> bool:
    """Let a channel send again; False where Discord still refuses it, or could not be asked."""
    with desk(cloud) as here:
        try:
            operator.enable(here, channel_id)
        except FillbookError:
            return False
        return True


def send_dead_letters(cloud: LocalCloud) -> int:
    """Begin the ladder of every dead letter anew; how many."""
    with desk(cloud) as here:
        try:
            return len(operator.replay(here.db, now=here.clock.now(), dry_run=False, since=LONG_AGO))
        except FillbookError:
            return 0


def publish(cloud: LocalCloud, day: date) -> str:
    """Publish a day after its close; the status of the answer, or why there was none."""
    config = OperatorConfig.from_environment(cloud.operator_environment)
    try:
        _, document = PublisherFunction(config).publish({"date": day.isoformat(), "slot": "postmarket"})
    except FillbookError as error:
        return str(error)
    return str(document["status"])
