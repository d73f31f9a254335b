"""The operator verbs of room ibkr; they speak HTTP to the desk's functions and nothing else, and none can touch an order.

python3 infra/dev.py op ibkr list_trades [--account ID] [--status S] [--symbol S] [--from T] [--to T] [--limit N]
                                         [--include-merged] [--json]
                                         broker trades, newest first
python3 infra/dev.py op ibkr enqueue_trades_sync_job [--host H --port P] [--client-id N] [--connect-timeout-seconds N]
                                         [--lookback-days N] [--yes] [--json]
                                         show the payload of a trades.sync job; with --yes ask for it
python3 infra/dev.py op ibkr list_breaks [--book B] [--json]        open differences between broker and book, with cause and age
python3 infra/dev.py op ibkr list_quarantine [--json]               refused rows that wait for a decision
python3 infra/dev.py op ibkr accept_quarantined ID --reason R [--yes]   say that a refused row may be left out

Settings: TRADE_TRACKER_URL and FILLBOOK_DESK_KEY for what reads, EXECUTION_SYNC_URL (EXECUTION_SYNC_AUDIENCE,
FILLBOOK_OPERATOR_ACCOUNT) for the rest; the running local desk brings its own. Exit: 0 done or shown, 1 refused (the reason
is printed), 2 usage, 3 the desk is away.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from fillbook.ibkr.calls import Desk, OperatorConfig, Verb
from fillbook.runtime import logs
from fillbook.runtime.sql import encode
from fillbook.runtime.verbs import USAGE, ended, said

PAGE = 500
TRADES_MAX = 10_000
RAW_SHOWN_MAX = 160
_TRADE_COLUMNS = (
    ("last_executed_at", "executed"),
    ("account_code", "account"),
    ("symbol", "symbol"),
    ("side", "side"),
    ("total_quantity", "quantity"),
    ("avg_price", "price"),
    ("currency", "ccy"),
    ("commission", "commission"),
    ("status", "status"),
    ("match_kind", "held by"),
    ("trade_id", "trade"),
)
_BREAK_COLUMNS = (
    ("first_seen_at", "since"),
    ("book_id", "book"),
    ("kind", "kind"),
    ("ticker", "ticker"),
    ("expected", "book says"),
    ("actual", "broker says"),
    ("difference", "difference"),
    ("cause", "cause"),
)
_QUARANTINE_COLUMNS = (
    ("id", "id"),
    ("source", "source"),
    ("account_code", "account"),
    ("reason", "reason"),
    ("detail", "detail"),
    ("raw", "text"),
)


@logs.quiet()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    asked = _parser().parse_args(arguments)
    verb: Verb = asked.verb
    return ended(lambda: verb(Desk(OperatorConfig.from_environment()), asked))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="op ibkr", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    trades = _verb(verbs, "list_trades", _list_trades, "broker trades, newest first")
    trades.add_argument("--account", metavar="ID")
    trades.add_argument("--status")
    trades.add_argument("--symbol")
    trades.add_argument("--from", dest="executed_from", metavar="T")
    trades.add_argument("--to", dest="executed_to", metavar="T")
    trades.add_argument("--limit", type=int, default=100)
    trades.add_argument("--include-merged", action="store_true")
    job = _verb(verbs, "enqueue_trades_sync_job", _enqueue, "ask for a trades.sync job")
    job.add_argument("--host")
    for name in ("--port", "--client-id", "--connect-timeout-seconds", "--lookback-days"):
        job.add_argument(name, type=int)
    job.add_argument("--yes", action="store_true", help="really ask; without it the payload is only shown")
    _verb(verbs, "list_breaks", _list_breaks, "open differences between broker and book").add_argument("--book")
    _verb(verbs, "list_quarantine", _list_quarantine, "refused rows that wait for a decision")
    accept = _verb(verbs, "accept_quarantined", _accept, "say that a refused row may be left out")
    accept.add_argument("id", type=UUID)
    accept.add_argument("--reason", required=True)
    accept.add_argument("--yes", action="store_true", help="really accept it; without it the request is only shown")
    return parser


def _verb(verbs: Any, name: str, verb: Verb, words: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=words)
    parser.set_defaults(verb=verb)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _list_trades(desk: Desk, asked: argparse.Namespace) -> int:
    if not 1 <= asked.limit <= TRADES_MAX:
        return said(f"--limit is 1 to {TRADES_MAX}", USAGE)
    wanted = {
        "account_id": asked.account,
        "status": asked.status,
        "symbol": asked.symbol,
        "executed_from": asked.executed_from,
        "executed_to": asked.executed_to,
        "include_merged": "true" if asked.include_merged else None,
        "limit": str(min(asked.limit, PAGE)),
    }
    parameters = {name: text for name, text in wanted.items() if text is not None}
    _show(list(desk.pages("/api/v1/trades", asked.limit, **parameters)), _TRADE_COLUMNS, asked.json, "no trade")
    return 0


def _enqueue(desk: Desk, asked: argparse.Namespace) -> int:
    names = ("host", "port", "client_id", "connect_timeout_seconds", "lookback_days")
    payload = {name: getattr(asked, name) for name in names if getattr(asked, name) is not None}
    document = {"job_type": "trades.sync", "payload": payload}
    print(f"POST /api/v1/jobs {encode(document)}", file=sys.stderr)
    if not asked.yes:
        print("not asked: say --yes", file=sys.stderr)
        return 0
    job = desk.sync("POST", "/api/v1/jobs", document)
    words = "queued" if job["is_new"] else f"was there already, {job['state']}"
    print(encode(job) if asked.json else f"job {job['job_id']}: {words}")
    return 0


def _list_breaks(desk: Desk, asked: argparse.Namespace) -> int:
    parameters = {} if asked.book is None else {"book_id": asked.book}
    _show(desk.read("/timed/audit", **parameters)["breaks"], _BREAK_COLUMNS, asked.json, "no break")
    return 0


def _list_quarantine(desk: Desk, asked: argparse.Namespace) -> int:
    _show(desk.sync("GET", "/api/v1/quarantine")["items"], _QUARANTINE_COLUMNS, asked.json, "nothing waits")
    return 0


def _accept(desk: Desk, asked: argparse.Namespace) -> int:
    path = f"/api/v1/quarantine/{asked.id}/accept"
    print(f"POST {path} {encode({'reason': asked.reason})}", file=sys.stderr)
    if not asked.yes:
        print("not asked: say --yes", file=sys.stderr)
        return 0
    answer = desk.sync("POST", path, {"reason": asked.reason})
    print(encode(answer) if asked.json else f"accepted: {asked.id}")
    return 0


def _show(rows: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str]], as_json: bool, nothing: str) -> None:
    if as_json:
        for row in rows:
            print(encode(row))
    elif not rows:
        print(nothing)
    else:
        cells = [[title for _, title in columns], *([_cell(row.get(name)) for name, _ in columns] for row in rows)]
        for line in _aligned(cells):
            print(line)


def _cell(value: object) -> str:
    text = "-" if value is None else str(value)
    # a broker's text is shown, never obeyed: no control character reaches the terminal
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:RAW_SHOWN_MAX]


def _aligned(cells: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
