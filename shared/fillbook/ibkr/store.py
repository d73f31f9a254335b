"""This room's tables as documents: what a chunk asks for, what it learns, what it writes. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from fillbook.ibkr import columns, execid, ids, intake
from fillbook.ibkr.allowlist import Account, AllowList
from fillbook.ibkr.cancels import FRACTION_TYPE
from fillbook.ibkr.fills import Booked, Slot
from fillbook.ibkr.model import Anomaly, Cancel, CommissionReport, Execution, RawRow, Refusal, Sighting
from fillbook.ibkr.words import PARSER_VERSION, AnomalyKind, CancelKind, PayloadKind, Source
from fillbook.runtime.db import Call, Tx
from fillbook.runtime.sql import load_queries
from fillbook.values import frozen

QUERIES = load_queries("fillbook.ibkr")

Payload = Sighting | CommissionReport


@frozen
class News:
    """What of a batch is new. ``returned``: known texts that speak again; ``unpaid``: rows whose commission is not known.

    ``begins_at``: as of when the opening balance was stated (None: unknown); ``has_quarantine``: whether any refused row is open.
    """

    payloads: tuple[Payload, ...]
    returned: tuple[Payload, ...]
    cancels: tuple[Cancel, ...]
    unpaid: frozenset[str]
    is_opened: bool
    begins_at: datetime | None = None
    has_quarantine: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether the batch says nothing that is not stored."""
        return not (self.payloads or self.returned or self.cancels)


@frozen
class Surroundings:
    """What the new rows touch: every text and cancel of their families, every row that shares a key with one of them.

    ``executions`` are rows as stored, by ib_exec_id, without their raw text; ``families`` names those whose texts are given.
    """

    sightings: tuple[Sighting, ...]
    reports: tuple[CommissionReport, ...]
    cancels: tuple[Cancel, ...]
    executions: Mapping[str, Execution]
    families: frozenset[str]
    order_sizes: Mapping[int, Decimal]
    booked: Mapping[Slot, Booked]


def news(tx: Tx, account: Account, payloads: Sequence[Payload], cancels: Sequence[Cancel]) -> News:
    """Lock the account until the end of the transaction and learn what of the batch is new."""
    asked = [_asked(one) for one in payloads]
    document = {"account_id": account.account_id, "payloads": asked, "events": [cancel.event_key for cancel in cancels]}
    (answer,) = tx.call(Call("ibkr.known", document))
    unknown, returned, events = set(answer["payloads"]), set(answer["returned"]), set(answer["events"])
    return News(
        payloads=tuple(one for one in payloads if one.payload_hash.hex() in unknown),
        returned=tuple(one for one in payloads if one.payload_hash.hex() in returned),
        cancels=tuple(cancel for cancel in cancels if cancel.event_key in events),
        unpaid=frozenset(answer["unpaid"]),
        is_opened=bool(answer["is_opened"]),
        begins_at=None if answer["begins_at"] is None else datetime.fromisoformat(answer["begins_at"]),
        has_quarantine=bool(answer["has_quarantine"]),
    )


def _asked(one: Payload) -> dict[str, Any]:
    row = columns.payload_row(one)
    del row["raw"]
    return row


def surroundings(tx: Tx, account: Account, found: News) -> Surroundings:
    """Read what new rows touch, and put the new rows among it."""
    (answer,) = tx.call(Call("ibkr.load", _keys(account, found)))
    return _surroundings(account, found, answer)


def kin_of(tx: Tx, account: Account, *, perm_ids: Sequence[int]) -> Surroundings:
    """Read what stands around orders of which something else than an execution was told."""
    nothing = News(payloads=(), returned=(), cancels=(), unpaid=frozenset(), is_opened=True)
    keys = _keys(account, nothing) | {"perm_ids": sorted(set(perm_ids))}
    (answer,) = tx.call(Call("ibkr.load", keys))
    return _surroundings(account, nothing, answer)


def _surroundings(account: Account, found: News, answer: Mapping[str, Any]) -> Surroundings:
    texts = {(one.ib_exec_id, one.payload_hash): one for one in (_stored(account, row) for row in answer["payloads"])}
    for one in (*found.payloads, *found.returned):
        texts[one.ib_exec_id, one.payload_hash] = one
    told = {cancel.event_key: cancel for cancel in (_stored_cancel(account, row) for row in answer["events"])}
    told |= {cancel.event_key: cancel for cancel in found.cancels}
    executions = [columns.execution_of(row) for row in answer["executions"]]
    booked = [columns.booked_of(row) for row in answer["booked"]]
    return Surroundings(
        sightings=tuple(one for one in texts.values() if isinstance(one, Sighting)),
        reports=tuple(one for one in texts.values() if isinstance(one, CommissionReport)),
        cancels=tuple(told.values()),
        executions={one.ib_exec_id: one for one in executions},
        families=frozenset(answer["families"]),
        order_sizes={row["ib_perm_id"]: Decimal(row["order_quantity"]) for row in answer["order_sizes"]},
        booked={one.slot: one for one in booked},
    )


def _stored(account: Account, row: Mapping[str, Any]) -> Payload:
    raw = RawRow(
        source=Source(row["source"]),
        kind=PayloadKind(row["kind"]),
        raw=row["raw"],
        observed_at=datetime.fromisoformat(row["observed_at"]),
    )
    read = intake.read_stored(raw, account)
    if isinstance(read, Cancel):
        raise TypeError("a stored payload reads as a cancel")
    return read


def _stored_cancel(account: Account, row: Mapping[str, Any]) -> Cancel:
    raw = RawRow(source=Source(row["source"]), raw=row["raw"], observed_at=datetime.fromisoformat(row["observed_at"]))
    read = intake.read_stored(raw, account)
    if not isinstance(read, Cancel):
        raise TypeError("a stored cancel reads as something else")
    return replace(read, event_key=row["event_key"])


def _keys(account: Account, found: News) -> dict[str, Any]:
    """Everything by which a new row may reach stored ones."""
    texts = (*found.payloads, *found.returned)
    facts = [one.facts for one in texts if isinstance(one, Sighting)]
    identities = [execid.parse(one.ib_exec_id) for one in texts]
    cancels = found.cancels
    fractions = [one.conid for one in facts if one.transaction_type == FRACTION_TYPE]
    fractions += [one.conid for one in cancels if one.kind is CancelKind.FRACTION_CANCEL and one.conid is not None]
    labels = [one.order_ref for one in facts if one.order_ref and one.order_ref.startswith(account.trusted_ref_prefixes)]
    return {
        "account_id": account.account_id,
        "exec_ids": _distinct(one.ib_exec_id for one in texts),
        "settled_keys": _distinct(one.settled_key for one in identities),
        "bases": _distinct(one.exec_id_base for one in identities),
        "transaction_ids": _distinct([*(one.transaction_id for one in facts), *(one.orig_transaction_id for one in cancels)]),
        "trade_ids": _distinct([*(one.broker_trade_id for one in facts), *(one.orig_trade_id for one in cancels)]),
        "fractions": _distinct(fractions),
        "event_keys": _distinct(one.event_key for one in cancels),
        "perm_ids": _distinct(one.ib_perm_id for one in facts),
        "flex_ids": _distinct(one.flex_order_id for one in facts),
        "combos": _distinct(one.combo_key for one in identities),
        "brokerages": _distinct(one.brokerage_order_id for one in facts),
        "refs": _distinct(labels),
        "composites": _distinct(
            f"order:{'' if one.client_id is None else one.client_id}:{one.ib_order_id}:{one.conid}:{one.side}:{one.trade_day}"
            for one in facts
            if one.ib_order_id
        ),
        "ref_prefixes": list(account.trusted_ref_prefixes),
    }


def _distinct(values: Iterable[Any]) -> list[Any]:
    return sorted({value for value in values if value is not None})


def apply_document(account: Account, run_id: str | None, now: datetime, found: News) -> dict[str, Any]:
    """The document of a chunk with the new texts in it; what follows from them is added by the caller."""
    lists = ("event_states", "emptied", "trades", "keys", "cleared", "executions", "moved", "anomalies", "examined", "booked")
    return {
        "account_id": account.account_id,
        "run_id": run_id,
        "now": now,
        "parser_version": PARSER_VERSION,
        "payloads": [columns.payload_row(one) for one in sorted(found.payloads, key=_payload_key)],
        "returned": [
            {"ib_exec_id": one.ib_exec_id, "payload_hash": one.payload_hash, "observed_at": one.observed_at}
            for one in sorted(found.returned, key=_payload_key)
        ],
        "events": [columns.event_row(cancel) for cancel in sorted(found.cancels, key=lambda one: one.event_key)],
        **{name: [] for name in lists},
    }


def _payload_key(one: Payload) -> tuple[str, bytes]:
    return (one.ib_exec_id, one.payload_hash)


def examined_rows(examined: Iterable[tuple[AnomalyKind, str]]) -> list[dict[str, Any]]:
    """What was looked at, by kind: an open anomaly among it that is not told again is closed."""
    by_kind: dict[AnomalyKind, list[str]] = {}
    for kind, subject in sorted(examined):
        by_kind.setdefault(kind, []).append(subject)
    return [{"kind": kind, "subjects": subjects} for kind, subjects in by_kind.items()]


def anomaly_rows(account: Account, anomalies: Iterable[Anomaly]) -> list[dict[str, Any]]:
    """Open anomalies, each once."""
    rows = {(one.kind, one.subject): columns.anomaly_row(account.code, one) for one in anomalies}
    return [rows[key] for key in sorted(rows)]


def put_aside(refusals: Iterable[Refusal], run_id: str | None, now: datetime) -> Call:
    """Keep refused rows."""
    rows = [
        {
            "id": ids.quarantine_id(one.source, one.account_code, one.raw),
            "source": one.source,
            "account_code": one.account_code,
            "reason": one.reason,
            "detail": one.detail,
            "raw": one.raw,
        }
        for one in refusals
    ]
    return Call("ibkr.put_aside", {"run_id": run_id, "now": now, "rows": rows})


def resolve_quarantine(found: News) -> Call:
    """Settle refused rows whose very text is read well now: the account was let in, or a bare time may be read."""
    read = [*found.payloads, *found.cancels]
    return Call("ibkr.resolve_quarantine", {"ids": sorted({intake.quarantined_as(one) for one in read})})


def allow_list(tx: Tx) -> AllowList:
    """Every text that names an enabled account."""
    by_text: dict[str, Account] = {}
    for row in tx.query(QUERIES["enabled_accounts"]):
        account = Account(
            account_id=row["id"],
            code=row["code"],
            base_currency=row["base_currency"],
            flex_time_zone=row["flex_time_zone"],
            trade_day_zone=row["trade_day_zone"],
            trusted_ref_prefixes=tuple(row["trusted_ref_prefixes"]),
        )
        by_text |= dict.fromkeys((account.code, *row["aliases"]), account)
    return AllowList(by_text)
