"""The operator verbs of room signal: look at refused bodies, send a fixed one again, or put one to rest.

python3 infra/dev.py op signal quarantine [--all] [--limit N] [--json]      refused bodies, the last seen first
python3 infra/dev.py op signal quarantine ID                                one of them, with its body
python3 infra/dev.py op signal quarantine ID --resolve "why"                nothing to do: note why
python3 infra/dev.py op signal redrive ID [--body FILE]                     send it again, as it is or as fixed in FILE

Exit: 0 done, 1 refused (the reason is printed), 2 usage, 3 the database or Pub/Sub is away.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from fillbook.runtime import logs
from fillbook.runtime.clock import clock_for
from fillbook.runtime.config import DatabaseConfig, PubSubConfig
from fillbook.runtime.db import Database
from fillbook.runtime.pubsub import publisher_for
from fillbook.runtime.sql import encode
from fillbook.runtime.verbs import USAGE, ended, said
from fillbook.signal import quarantine

BODY_BYTES_SHOWN = 65_536


class SignalOperatorConfig(DatabaseConfig, PubSubConfig):
    """Settings of the verbs: the database as ``desk_operator``, and the topic of receipts."""

    signals_topic: str = "signals"


@logs.quiet()
def main(arguments: Sequence[str]) -> int:
    """Run one verb and return its exit code."""
    asked = _parser().parse_args(arguments)
    return ended(lambda: _answered(asked, SignalOperatorConfig.from_environment()))


def _answered(asked: argparse.Namespace, config: SignalOperatorConfig) -> int:
    db = Database.open(config, application_name="op signal", pool_size=1)
    try:
        return int(asked.verb(asked, config, db))
    finally:
        db.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="op signal", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    listing = verbs.add_parser("quarantine", help="refused bodies, or one of them with its body")
    listing.add_argument("id", nargs="?", type=UUID)
    listing.add_argument("--all", action="store_true", help="resolved ones too")
    listing.add_argument("--limit", type=int, default=100)
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.add_argument("--resolve", metavar="WHY", help="note that nothing has to be done")
    listing.set_defaults(verb=_quarantine)
    again = verbs.add_parser("redrive", help="send a refused body again")
    again.add_argument("id", type=UUID)
    again.add_argument("--body", type=Path, metavar="FILE", help="the fixed body; default: as it was kept")
    again.set_defaults(verb=_redrive)
    return parser


def _quarantine(asked: argparse.Namespace, config: SignalOperatorConfig, db: Database) -> int:
    if asked.id is None:
        for row in quarantine.listed(db, unresolved_only=not asked.all, limit=asked.limit):
            print(encode(row) if asked.json else _line(row))
    elif asked.resolve:
        quarantine.resolve(db, asked.id, asked.resolve, clock_for(config).now())
        print(f"{asked.id} resolved")
    else:
        row = dict(quarantine.shown(db, asked.id))
        kept = row.pop("body")
        print(encode(row) if asked.json else _line(row))
        print("no body was kept" if kept is None else bytes(kept)[:BODY_BYTES_SHOWN].decode("utf-8", "replace"))
    return 0


def _redrive(asked: argparse.Namespace, config: SignalOperatorConfig, db: Database) -> int:
    try:
        body = None if asked.body is None else asked.body.read_bytes()
    except OSError as error:
        return said(f"cannot read {asked.body}: {error.strerror}", USAGE)
    done = quarantine.redrive(
        db, asked.id, clock_for(config).now(), publisher=publisher_for(config), topic=config.signals_topic, body=body
    )
    print(json.dumps({"quarantine_id": str(asked.id), "receipt_id": done.receipt_id, "ticker": done.ticker, "ts": done.ts}))
    return 0


def _line(row: Mapping[str, Any]) -> str:
    what = " ".join(str(row[name]) for name in ("reason", "field", "ticker") if row[name])
    return f"{row['quarantine_id']}  {row['last_seen_at']:%Y-%m-%d %H:%M:%S}  x{row['count']}  {row['source']}: {what}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
