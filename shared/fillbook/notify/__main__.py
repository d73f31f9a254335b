"""The operator verbs of room notify: prove messages, send dead letters again, switch channels, adopt, test.

python3 infra/dev.py op notify reconcile [--since T --until T | --hours N] [--repair | --report] [--json]
                                                      compare what stands on Discord with the ledger (default: 24 hours, repair)
python3 infra/dev.py op notify dead --list            dead letters by reason, with the command that sends them again
python3 infra/dev.py op notify replay --reason R | --subject K | --since T [--channel C] [--dry-run]
python3 infra/dev.py op notify enable --channel C     ask the webhook, then send what waits
python3 infra/dev.py op notify pause --channel C      send nothing until enable
python3 infra/dev.py op notify adopt --link LINK [--channel C]     put a message a person found on record
python3 infra/dev.py op notify test-send --channel C  send one message that says it is a test
python3 infra/dev.py op notify told ACTION_ID [--book B] [--json]      was it told, when, as which message, what did Discord say

What was booked less than a minute before a proof, or waits its turn for less than an hour, is the next proof's.
Times are ISO with a zone. Exit of reconcile: 0 proven, 1 all repaired, 4 findings open, 3 could not run; of the others:
0 done, 1 refused (the reason is printed) or, of told, not told, 2 usage, 3 the database or Discord is away.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from random import randint
from typing import Any
from uuid import UUID

from fillbook.notify import operator, reconcile, runs, service
from fillbook.notify.config import NotifierConfig
from fillbook.notify.drain import drain
from fillbook.notify.model import Channel
from fillbook.notify.pacing import DICE_MAX
from fillbook.notify.patience import Budget
from fillbook.notify.talk import Desk
from fillbook.runtime import logs
from fillbook.runtime.clock import clock_for
from fillbook.runtime.db import Database
from fillbook.runtime.sql import encode
from fillbook.runtime.verbs import AWAY, USAGE, ended, said

FINDINGS_OPEN = 4
NOT_TOLD = 1
RUN_SECONDS = 1800
SEND_SECONDS = 60
FINDINGS_SHOWN_MAX = 500
STATUS_EXITS: Mapping[str, int] = {runs.PROVEN: 0, runs.REPAIRED: 1, runs.OPEN: FINDINGS_OPEN}


@logs.quiet()
def main(arguments: Sequence[str]) -> int:
    """Run one verb and return its exit code."""
    asked = _parser().parse_args(arguments)
    return ended(lambda: _answered(asked, NotifierConfig.from_environment()))


def _answered(asked: argparse.Namespace, config: NotifierConfig) -> int:
    db, discord = Database.open(config, application_name="op notify", pool_size=2), config.discord()
    desk = Desk(db=db, speaker=discord, clock=clock_for(config), settings=config.settings(), dice=lambda: randint(0, DICE_MAX))
    verb: Callable[[argparse.Namespace, Desk], int] = asked.verb
    try:
        service.configure(db, discord.channels(), desk.clock.now())
        return verb(asked, desk)
    finally:
        db.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="op notify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    proof = _verb(verbs, "reconcile", _reconcile, "compare what stands on Discord with the ledger")
    proof.add_argument("--since", type=_instant)
    proof.add_argument("--until", type=_instant)
    proof.add_argument("--hours", type=int, default=24, help="without --since: the last N hours")
    proof.add_argument("--channel", choices=[Channel.EXECUTIONS.value], default=Channel.EXECUTIONS.value)
    mode = proof.add_mutually_exclusive_group()
    mode.add_argument("--repair", dest="repair", action="store_true", default=True)
    mode.add_argument("--report", dest="repair", action="store_false", help="change nothing")
    proof.add_argument("--json", action="store_true", help="one JSON object: the run and its findings")
    dead = _verb(verbs, "dead", _dead, "dead letters by reason")
    dead.add_argument("--list", action="store_true", required=True)
    again = _verb(verbs, "replay", _replay, "send dead letters again")
    again.add_argument("--reason")
    again.add_argument("--subject")
    again.add_argument("--since", type=_instant)
    again.add_argument("--channel", choices=[channel.value for channel in Channel])
    again.add_argument("--dry-run", action="store_true")
    for name, verb, words in (
        ("enable", _enable, "let a channel send again"),
        ("pause", _pause, "stop a channel"),
        ("test-send", _test_send, "send a test message"),
    ):
        _verb(verbs, name, verb, words).add_argument("--channel", required=True, choices=[channel.value for channel in Channel])
    asked = _verb(verbs, "told", _told, "the delivery log of one action")
    asked.add_argument("action_id", type=UUID)
    asked.add_argument("--book", help="one book; all when left out (live and replayed actions share their ids)")
    asked.add_argument("--json", action="store_true", help="one JSON object a request")
    found = _verb(verbs, "adopt", _adopt, "put a found message on record")
    found.add_argument("--link", required=True)
    found.add_argument("--channel", choices=[channel.value for channel in Channel], default=Channel.EXECUTIONS.value)
    return parser


def _verb(verbs: Any, name: str, verb: Callable[[argparse.Namespace, Desk], int], words: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=words)
    parser.set_defaults(verb=verb)
    return parser


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise argparse.ArgumentTypeError("needs a time zone")
    return instant


# --- verbs ------------------------------------------------------------------------------------------------------------


def _reconcile(asked: argparse.Namespace, desk: Desk) -> int:
    now = desk.clock.now()
    until = asked.until or now
    since = asked.since or until - timedelta(hours=asked.hours)
    run_id, _ = runs.ask(desk.db, since=since, until=until, repair=asked.repair, requested_by="operator", now=now)
    status = reconcile.work(desk, Budget(desk.clock, RUN_SECONDS), run_id)
    run = reconcile.run_of(desk, run_id)
    if run is None or status is None:
        return said("another proof is being worked on; this one is queued and will follow", AWAY)
    findings = reconcile.findings_of(desk, run_id, FINDINGS_SHOWN_MAX)
    if asked.json:
        print(encode({**run, "findings": list(findings)}))
    else:
        counts = ", ".join(f"{name} {count}" for name, count in run["counts"].items())
        print(f"{run['status']}: {counts}")
        for found in findings:
            print(f"  {_finding(found)}")
    return STATUS_EXITS.get(run["status"], AWAY)


def _finding(found: Mapping[str, Any]) -> str:
    told = "; ".join(f"{item['field']}: expected {item['expected']!r}, found {item['found']!r}" for item in found["differences"])
    mended = "repaired" if found["repaired_at"] else "open"
    return f"{found['kind']} {found['subject_key']} ({mended}) {told or found['note'] or ''}".rstrip()


def _dead(_: argparse.Namespace, desk: Desk) -> int:
    groups = operator.dead_letters(desk.db)
    for group in groups:
        print(f"{group['channel_id']} {group['dead_reason']}: {group['count']}, oldest {group['oldest']}; {group['remedy']}")
    if not groups:
        print("no dead letters")
    return 0


def _replay(asked: argparse.Namespace, desk: Desk) -> int:
    if not (asked.reason or asked.subject or asked.since):
        return said("say which: --reason, --subject or --since", USAGE)
    chosen = operator.replay(
        desk.db,
        now=desk.clock.now(),
        dry_run=asked.dry_run,
        channel_id=asked.channel,
        reason=asked.reason,
        subject=asked.subject,
        since=asked.since,
    )
    for channel, subject, reason in chosen:
        print(f"{channel} {subject} {reason}")
    print(f"{len(chosen)} {'would be' if asked.dry_run else 'are'} pending again")
    return 0


def _enable(asked: argparse.Namespace, desk: Desk) -> int:
    channel = operator.enable(desk, asked.channel)
    report = drain(desk, asked.channel, Budget(desk.clock, SEND_SECONDS))
    print(f"{channel['channel_id']} is {channel['status']}; {report.requests} requests sent, {report.reason}")
    return 0


def _pause(asked: argparse.Namespace, desk: Desk) -> int:
    operator.pause(desk.db, asked.channel, desk.clock.now())
    print(f"{asked.channel} is paused until enable")
    return 0


def _adopt(asked: argparse.Namespace, desk: Desk) -> int:
    for subject in operator.adopt(desk, asked.channel, asked.link):
        print(f"on record: {subject}")
    return 0


def _test_send(asked: argparse.Namespace, desk: Desk) -> int:
    subject = operator.test_send(desk, asked.channel)
    report = drain(desk, asked.channel, Budget(desk.clock, SEND_SECONDS))
    print(f"{subject}: {report.requests} requests sent, {report.reason}")
    return 0


def _told(asked: argparse.Namespace, desk: Desk) -> int:
    rows = operator.told(desk.db, asked.action_id, asked.book)
    for line in map(encode, rows) if asked.json else told_lines(rows):
        print(line)
    if not rows:
        print("not told: no channel has heard of this action", file=sys.stderr)
    return 0 if any(row["message_id"] for row in rows) else NOT_TOLD


def told_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say per subject what it is and as which message, then each request with what Discord answered."""
    for _, group in groupby(rows, key=itemgetter("channel_id", "subject_key")):
        requests = list(group)
        yield _standing(requests[0])
        for row in requests:
            if row["started_at"] is not None:
                wait = f", wait {row['retry_after_seconds']} s" if row["retry_after_seconds"] else ""
                code = f" code {row['discord_code']}" if row["discord_code"] else ""
                said = row["http_status"] or "no answer"
                as_message = f", message {row['answered_message_id']}" if row["answered_message_id"] else ""
                error = f", {row['error']}" if row["error"] else ""
                yield f"  {row['started_at'].isoformat()} {row['operation']}: {said}{code}{as_message}{wait}{error}"


def _standing(row: Mapping[str, Any]) -> str:
    parts = [
        f"{row['channel_id']} {row['subject_key']}: {row['state']}, version {row['posted_version']} of {row['wanted_version']}"
    ]
    if row["message_id"]:
        link = f"https://discord.com/channels/{row['guild_id'] or '@me'}/{row['place']}/{row['message_id']}"
        parts.append(f"{link} since {row['posted_at'].isoformat()}")
    for name, words in (("dead_reason", "dead"), ("replaced_by", "now told as"), ("last_finding", "last finding")):
        if row[name]:
            parts.append(f"{words}: {row[name]}")
    if row["proven_at"]:
        parts.append(f"proven {row['proven_at'].isoformat()}")
    return "; ".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
