"""Operator verbs of the outbox: ``python3 infra/dev.py op outbox parked | retry | quarantine | backlog``.

``parked`` lists events that Pub/Sub refused for good, ``retry`` puts them back in line, ``quarantine`` lists (or, with
``--resolve``, closes) messages that consumers refused, ``backlog`` shows what waits and how old it is. Output is JSON
lines, newest first. Exit 0 done, 1 nothing matched, 2 usage, 3 the database is not available.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from fillbook.outbox import store
from fillbook.runtime import logs
from fillbook.runtime.clock import Clock, clock_for
from fillbook.runtime.config import DatabaseConfig
from fillbook.runtime.db import Database, Tx
from fillbook.runtime.sql import encode
from fillbook.runtime.verbs import USAGE, ended, said

DONE, NOTHING = 0, 1


@logs.quiet()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    options = _parser().parse_args(arguments)
    return ended(lambda: _answered(options, DatabaseConfig.from_environment()))


def _answered(options: argparse.Namespace, config: DatabaseConfig) -> int:
    database = Database.open(config, application_name="op outbox", pool_size=1)
    try:
        with database.transaction() as tx:
            return _VERBS[options.verb](tx, clock_for(config), options)
    finally:
        database.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="op outbox", description="events that wait, were refused, or were not understood")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("backlog", help="depth and age of what is not published yet")
    parked = verbs.add_parser("parked", help="events that Pub/Sub refused for good")
    parked.add_argument("--topic")
    parked.add_argument("--reason")
    retry = verbs.add_parser("retry", help="put parked events back in line")
    chosen = retry.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--event", type=UUID, metavar="EVENT_ID")
    chosen.add_argument("--reason")
    chosen.add_argument("--all", action="store_true")
    quarantine = verbs.add_parser("quarantine", help="messages that a consumer refused")
    quarantine.add_argument("--consumer")
    quarantine.add_argument("--resolved", action="store_true", help="list resolved ones too")
    quarantine.add_argument("--resolve", metavar="BODY_HASH", help="mark one as dealt with (needs --consumer)")
    return parser


def _print_rows(rows: Sequence[Mapping[str, object]]) -> int:
    for row in rows:
        print(encode(row))
    return DONE


def _backlog(tx: Tx, clock: Clock, _: argparse.Namespace) -> int:
    left = store.backlog(tx, clock.now())
    seconds = round(left.oldest_unpublished_seconds)
    return _print_rows([{"depth": left.depth, "parked": left.parked, "oldest_unpublished_seconds": seconds}])


def _parked(tx: Tx, _: Clock, options: argparse.Namespace) -> int:
    return _print_rows(store.parked(tx, topic=options.topic, reason=options.reason))


def _retry(tx: Tx, clock: Clock, options: argparse.Namespace) -> int:
    count = store.retry(tx, clock.now(), event_id=options.event, reason=options.reason)
    _print_rows([{"retried": count}])
    return DONE if count else NOTHING


def _quarantine(tx: Tx, clock: Clock, options: argparse.Namespace) -> int:
    if options.resolve is None:
        return _print_rows(store.quarantined(tx, consumer=options.consumer, with_resolved=options.resolved))
    if options.consumer is None:
        return said("--resolve needs --consumer", USAGE)
    is_known = store.resolve(tx, clock.now(), consumer=options.consumer, body_hash=options.resolve)
    return DONE if is_known else NOTHING


_VERBS: Mapping[str, Callable[[Tx, Clock, argparse.Namespace], int]] = {
    "backlog": _backlog,
    "parked": _parked,
    "retry": _retry,
    "quarantine": _quarantine,
}


if __name__ == "__main__":
    sys.exit(main())
