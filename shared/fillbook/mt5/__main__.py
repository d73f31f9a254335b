"""The operator verbs of room mt5: accounts are linked and labelled in the database, syncs are asked of ``account_sync``.

python3 infra/dev.py op mt5 link SERVER LOGIN --broker NAME [--name LABEL] [--tenant T] [--instance KEY --url URL]
                                 [--service-id ID] [--since DATE] [--new-credentials] [--yes]
                                 link an account, or take it up again; DATE: how far back (1970-01-01: inception)
python3 infra/dev.py op mt5 deactivate ACCOUNT [--yes]           stop syncing it; nothing is deleted
python3 infra/dev.py op mt5 rename ACCOUNT [LABEL] [--yes]       give it another label, or none
python3 infra/dev.py op mt5 backfill ACCOUNT [--since DATE] [--yes]    read its past as far back as DATE (none: 30 days)
python3 infra/dev.py op mt5 symbol SERVER SYMBOL --size N --currency CCY [--digits N] [--yes]
                                 enter what the service does not know of a symbol; its fills are then handed over again
python3 infra/dev.py op mt5 clock SERVER --zone NAME [--shift MINUTES] [--bonus balance|credit] [--yes]
                                 confirm the clock rule of a server: UTC = its wall time minus MINUTES, read in NAME
python3 infra/dev.py op mt5 rebuild (ACCOUNT | --server SERVER [--symbol SYMBOL]) [--yes]
                                 make trades, cash and book again from the stored deals: a clock was corrected, or to be sure
python3 infra/dev.py op mt5 sync [ACCOUNT] [--force] [--no-wait] [--json]    sync all active accounts, or one
python3 infra/dev.py op mt5 health [ACCOUNT] [--json]            one line per account: how fresh, how whole, what failed last

What changes an account is shown first and done with --yes. Settings: FILLBOOK_DATABASE_URL (as desk_operator), ACCOUNT_SYNC_URL
(ACCOUNT_SYNC_AUDIENCE, FILLBOOK_OPERATOR_ACCOUNT); the running local desk brings its own. Exit: 0 done or shown, 1 refused or
not all synced, 2 usage, 3 the desk is away.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from fillbook.mt5 import deskstore, printed
from fillbook.mt5.calls import AccountSyncFunction, OperatorConfig
from fillbook.mt5.grounds import QUERIES
from fillbook.mt5.model import SymbolFacts
from fillbook.mt5.symbols import normalized
from fillbook.mt5.words import CashBucket, Code
from fillbook.runtime import logs
from fillbook.runtime.clock import clock_for
from fillbook.runtime.db import ConstraintViolated, Database, Tx
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import encode
from fillbook.runtime.verbs import REFUSED, USAGE, ended, said

SHIFT_MAX: Final = 24 * 60
_SUMS: Final = {True: "were wrong", False: "right"}


class Room:
    """What the verbs work on."""

    def __init__(self, config: OperatorConfig) -> None:
        self.config = config
        self.function = AccountSyncFunction(config)
        self._db: Database | None = None

    @property
    def db(self) -> Database:
        """The database as an operator."""
        if self._db is None:
            self._db = Database.open(self.config, application_name="op-mt5", pool_size=1)
        return self._db

    def now(self) -> datetime:
        """Desk time."""
        return clock_for(self.config).now()


Verb = Callable[[Room, argparse.Namespace], int]


@logs.quiet()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    asked = _parser().parse_args(arguments)
    verb: Verb = asked.verb
    return ended(lambda: verb(Room(OperatorConfig.from_environment()), asked))


# --- arguments --------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="op mt5", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    link = _verb(verbs, "link", _link, "link an account, or take it up again", is_change=True)
    link.add_argument("server")
    link.add_argument("login", type=int)
    link.add_argument("--broker", required=True, metavar="NAME")
    link.add_argument("--name", metavar="LABEL")
    link.add_argument("--tenant", default="desk", metavar="T")
    link.add_argument("--instance", default="default", metavar="KEY")
    link.add_argument("--url", help="address of an instance that is not known yet (default: MT5_SERVICE_URL)")
    link.add_argument("--service-id", metavar="ID", help="the account's id in the service's paths (default: our own)")
    link.add_argument("--since", type=date.fromisoformat, metavar="DATE")
    link.add_argument("--new-credentials", action="store_true", help="the service has another password now: try again")
    _account(_verb(verbs, "deactivate", _deactivate, "stop syncing an account", is_change=True))
    rename = _account(_verb(verbs, "rename", _rename, "give an account another label", is_change=True))
    rename.add_argument("label", nargs="?")
    backfill = _account(_verb(verbs, "backfill", _backfill, "read an account's past", is_change=True))
    backfill.add_argument("--since", type=date.fromisoformat, metavar="DATE")
    symbol = _verb(verbs, "symbol", _symbol, "enter what the service does not know of a symbol", is_change=True)
    symbol.add_argument("server")
    symbol.add_argument("symbol")
    symbol.add_argument("--size", required=True, type=_decimal, metavar="N", help="units of one lot")
    symbol.add_argument("--currency", required=True, metavar="CCY", help="in which its profit is counted")
    symbol.add_argument("--digits", type=int, metavar="N")
    clock = _verb(verbs, "clock", _clock, "confirm the clock rule of a server", is_change=True)
    clock.add_argument("server")
    clock.add_argument("--zone", required=True, type=_zone, metavar="NAME")
    clock.add_argument("--shift", type=int, default=0, metavar="MINUTES")
    clock.add_argument("--bonus", type=CashBucket, choices=list(CashBucket), metavar="balance|credit")
    again = _verb(verbs, "rebuild", _rebuild, "make trades, cash and book again from the stored deals", is_change=True)
    again.add_argument("account", nargs="?", type=UUID)
    again.add_argument("--server", metavar="SERVER", help="every account of this server")
    again.add_argument("--symbol", metavar="SYMBOL", help="of these only what was traded in it")
    sync = _verb(verbs, "sync", _sync, "sync all active accounts, or one")
    sync.add_argument("account", nargs="?", type=UUID)
    sync.add_argument("--force", action="store_true", help="also where the login was refused before")
    sync.add_argument("--no-wait", action="store_true", help="let a message do it")
    health = _verb(verbs, "health", _health, "one line per account")
    health.add_argument("account", nargs="?", type=UUID)
    return parser


def _verb(verbs: Any, name: str, verb: Verb, words: str, *, is_change: bool = False) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=words)
    parser.set_defaults(verb=verb)
    if is_change:
        parser.add_argument("--yes", action="store_true", help="really do it; without it the change is only shown")
    else:
        parser.add_argument("--json", action="store_true", help="the document itself")
    return parser


def _account(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("account", type=UUID)
    return parser


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError("is no number") from None
    if not value.is_finite() or value <= 0:
        raise argparse.ArgumentTypeError("is not above zero")
    return value


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError):
        raise argparse.ArgumentTypeError("is no time zone, like America/New_York") from None
    return text


# --- what is linked ---------------------------------------------------------------------------------------------------


def _link(room: Room, asked: argparse.Namespace) -> int:
    link = deskstore.Link(
        tenant_id=asked.tenant,
        server=asked.server,
        login=asked.login,
        broker_name=asked.broker,
        account_name=asked.name,
        instance_key=asked.instance,
        base_url=asked.url or room.config.mt5_service_url,
        service_account_id=asked.service_id,
        backfill_target=asked.since,
        has_new_credentials=asked.new_credentials,
    )
    words = f"link {asked.server} {asked.login} ({asked.broker}) for tenant {asked.tenant} at instance {asked.instance}"
    if not _is_meant(asked, words):
        return 0
    try:
        linked = room.db.run(
            lambda tx: deskstore.link_account(tx, link, room.now()), retry_constraints=deskstore.RETRY_CONSTRAINTS
        )
    except ConstraintViolated as error:
        if error.constraint == "trading_accounts_instance_fk":
            raise Rejected("instance_unknown") from error
        raise Rejected("account_invalid", error.constraint or "") from error
    print(f"{'linked' if linked.is_new else 'linked again'}: account {linked.account_id}, book {linked.book_id}")
    return 0


def _deactivate(room: Room, asked: argparse.Namespace) -> int:
    def change(tx: Tx) -> bool:
        return deskstore.deactivate_account(tx, str(asked.account), room.now())

    return _changed(room, asked, f"stop syncing {asked.account}", change)


def _rename(room: Room, asked: argparse.Namespace) -> int:
    def change(tx: Tx) -> bool:
        return deskstore.rename_account(tx, str(asked.account), asked.label, room.now())

    return _changed(room, asked, f"call {asked.account} {asked.label or 'nothing'}", change)


def _backfill(room: Room, asked: argparse.Namespace) -> int:
    def change(tx: Tx) -> bool:
        return deskstore.set_backfill_target(tx, str(asked.account), asked.since, room.now())

    return _changed(room, asked, f"read {asked.account} back to {asked.since or '30 days before linking'}", change)


def _symbol(room: Room, asked: argparse.Namespace) -> int:
    facts = SymbolFacts(
        server=asked.server,
        symbol=asked.symbol,
        symbol_norm=normalized(asked.symbol),
        contract_size=asked.size,
        digits=asked.digits,
        currency_profit=asked.currency,
    )
    if _is_meant(asked, f"{asked.symbol} at {asked.server}: a lot is {asked.size}, profit in {asked.currency}"):
        room.db.run(lambda tx: deskstore.set_symbol(tx, facts, room.now()))
        print("entered")
    return 0


def _clock(room: Room, asked: argparse.Namespace) -> int:
    if abs(asked.shift) > SHIFT_MAX:
        return said(f"--shift is within {SHIFT_MAX} minutes", USAGE)

    def change(tx: Tx) -> bool:
        return deskstore.confirm_clock(
            tx, asked.server, zone_name=asked.zone, shift_minutes=asked.shift, bonus_bucket=asked.bonus
        )

    words = f"{asked.server}: UTC is its wall time minus {asked.shift} minutes, read in {asked.zone}"
    return _changed(room, asked, words, change)


def _rebuild(room: Room, asked: argparse.Namespace) -> int:
    if (asked.account is None) == (asked.server is None) or (asked.symbol and asked.server is None):
        return said("an ACCOUNT, or --server with perhaps --symbol", USAGE)
    whose = f"{asked.account}" if asked.server is None else f"every account of {asked.server}"
    if not _is_meant(asked, f"make {whose} again from the stored deals{f', in {asked.symbol}' if asked.symbol else ''}"):
        return 0
    if asked.server is None:
        body: dict[str, Any] = {"account_id": str(asked.account)}
    else:
        body = {"server": asked.server, **({"symbol": asked.symbol} if asked.symbol else {})}
    is_whole, after = True, None
    while True:  # each answer is bounded in time; what is left is asked for behind the last account
        document = room.function.rebuild(body if after is None else {**body, "after": after})
        _show([{**one, "sums": _SUMS[one["sums_were_wrong"]]} for one in document["rebuilt"]], printed.REBUILT)
        for account_id in document["busy"]:
            print(f"{account_id} is held by a run or inactive: not rebuilt")
        is_whole, after = is_whole and not document["busy"], document["after"]
        if after is None:
            return 0 if is_whole else REFUSED


def _show(rows: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str]]) -> None:
    if rows:
        print(printed.table(rows, columns))


def _changed(room: Room, asked: argparse.Namespace, words: str, change: Callable[[Tx], bool]) -> int:
    if not _is_meant(asked, words):
        return 0
    if not room.db.run(change):
        raise Rejected("not_found")
    print("done")
    return 0


def _is_meant(asked: argparse.Namespace, words: str) -> bool:
    print(words, file=sys.stderr)
    if not asked.yes:
        print("not done: say --yes", file=sys.stderr)
    return bool(asked.yes)


# --- what is read -----------------------------------------------------------------------------------------------------


def _sync(room: Room, asked: argparse.Namespace) -> int:
    body: dict[str, Any] = {} if asked.account is None else {"account_id": str(asked.account)}
    body |= {"force": True} if asked.force else {}
    body |= {"wait": False} if asked.no_wait else {}
    status, document = room.function.sync(body)
    if asked.json:
        print(encode(dict(document)))
    else:
        print(_told(status, document))
        _show_troubles(room, [one for one in document.get("syncResults", ()) if one["status"] != "success"])
    is_whole = document.get("successCount") == document.get("totalAccounts")  # nothing yet, where it was handed on
    return 0 if document.get("success") and is_whole else REFUSED


def _show_troubles(room: Room, troubles: Sequence[Mapping[str, Any]]) -> None:
    """Accounts that were not synced, by the names people know, and the breakers that keep some from being tried."""
    if not troubles:
        return
    with room.db.transaction(read_only=True) as tx:
        found = tx.query(QUERIES["names_of"], account_ids=[one["account_id"] for one in troubles])
        breakers = tx.query(QUERIES["breakers_not_closed"])
    names = {row["account_id"]: row for row in found}
    _show([{**names.get(one["account_id"], {}), **one} for one in troubles], printed.RESULTS)
    if any(one.get("error_code") == Code.BREAKER_OPEN for one in troubles):
        for row in breakers:
            again = "soon" if row["probe_at"] is None else f"from {row['probe_at']:%Y-%m-%d %H:%M:%S} UTC"
            print(f"breaker {row['key']} is {row['state']} ({row['last_error_code']}); an account is tried again {again}")


def _told(status: int, document: Mapping[str, Any]) -> str:
    execution = f"execution {document['executionId']}"
    if not document.get("totalAccounts") and "statusUrl" not in document:
        return f"{document.get('message') or document.get('error') or 'nothing to sync'}; {execution}"
    if "statusUrl" in document:
        return f"handed on in {document['shards']} shards; {execution}"
    counts = ", ".join(
        f"{document[key]} {word}"
        for key, word in (
            ("successCount", "synced"),
            ("partialCount", "partly"),
            ("failureCount", "failed"),
            ("skippedCount", "skipped"),
            ("deferredCount", "deferred"),
        )
        if document[key] or key == "successCount"
    )
    return f"{document['totalAccounts']} accounts: {counts}; {document['duration_ms']} ms; {execution} (HTTP {status})"


def _health(room: Room, asked: argparse.Namespace) -> int:
    with room.db.transaction(read_only=True) as tx:
        rows = tx.query(QUERIES["health"], account_id=asked.account)
    if asked.json:
        for row in rows:
            print(encode(row))
    elif not rows:
        print("no account")
    else:
        _show(rows, printed.HEALTH)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
