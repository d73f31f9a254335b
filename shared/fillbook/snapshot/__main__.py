"""The operator verbs of room snapshot: a day is published by the function, a person only asks for it.

python3 infra/dev.py op snapshot publish [--date DATE | --from DATE --to DATE] [--slot premarket|midday|postmarket|watch]
                                         [--force GUARD … --reason TEXT] [--dry-run] [--no-refresh] [--verify] [--json]
                                         publish a day (today in New York) or a range of sessions
                                         GUARD: empty_view, missing_kpi, null_rise, sharp_fall, older, no_session

Settings: SNAPSHOT_PUBLISHER_URL (SNAPSHOT_PUBLISHER_AUDIENCE, FILLBOOK_OPERATOR_ACCOUNT); the running local desk brings its own.
Exit: 0 published, unchanged or closed, 1 refused at the door, 2 wrong call or not configured, 3 views broken, 4 refused by a
guard, 5 refused by validation, 6 kept, 7 refused by the receiver, 8 busy, 9 database away, 10 some days failed, 11 desk away.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fillbook.runtime import logs
from fillbook.runtime.sql import encode
from fillbook.runtime.verbs import ended
from fillbook.snapshot.function_call import OperatorConfig, PublisherFunction
from fillbook.snapshot.model import Status
from fillbook.snapshot.outcomes import ENDINGS
from fillbook.snapshot.publisher import add_options, body_of

AWAY = 11
SHOWN_PROBLEMS: Final = 20


@logs.quiet()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    given = _parser().parse_args(arguments)
    return ended(lambda: _published(given), away=AWAY)


def _published(given: argparse.Namespace) -> int:
    _, document = PublisherFunction(OperatorConfig.from_environment()).publish(body_of(given))
    if given.json:
        print(encode(document))
    else:
        print("\n".join(lines(document)))
    return ENDINGS[Status(document["status"])].exit


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The answer for a person: a line per day, and below it what kept the day from being published."""
    for result in document["results"]:
        yield " ".join(_words(result))
        for guard in result["guards"]:
            yield f"  {guard['guard']}: {guard['message']}"
        for problem in result["problems"][:SHOWN_PROBLEMS]:
            yield f"  {problem['path']}: {problem['message']}"
    for problem in document.get("problems", ()):
        yield f"{problem['path']} {problem['code']}".strip()
    yield f"{document['status']} (run {document['run_id']})"


def _words(result: Mapping[str, Any]) -> Iterator[str]:
    yield f"{result['date']}  {result['status']:<20}"
    if result["stage"] is not None:
        yield result["stage"]
    if result["version"] is not None:
        yield f"version {result['version']}"
    if result["target"] != "none":
        yield f"to {result['target']}" + ("" if result["verified"] else ", not verified")
    if result["torn"]:
        yield "in parts"
    if result["counts"] is not None:
        yield f"{sum(result['counts'].values()):,} rows"
    if result["content_sha256"] is not None:
        yield result["content_sha256"][:16]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="op snapshot", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    publish = verbs.add_parser("publish", help="publish a day or a range of days")
    add_options(publish)
    publish.add_argument("--json", action="store_true", help="the answer itself")
    return parser


if __name__ == "__main__":
    sys.exit(main())
