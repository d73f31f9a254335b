"""The door of the room: one row's texts become a value or one refusal; inside no one checks again.

Both adapters hand their rows to ``read``, so that sides, signs, ids, accounts, numbers and times are understood in one
place, and a stored text can be read again at any time with the same result. What a row says is never completed by
guessing: a text that does not fit is refused with a reason and kept. Source: ibkr.md 7.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fillbook.ibkr import flex_row, ids, tws_row
from fillbook.ibkr.allowlist import Account, AllowList
from fillbook.ibkr.fields import Refused, is_storable
from fillbook.ibkr.model import CommissionReport, RawRow, Refusal, Row, Sighting, Texts
from fillbook.ibkr.times import TimeRefused
from fillbook.ibkr.words import RAW_TEXT_MAX, PayloadKind, Reason, Source

_DETAIL_MAX = 500
_ACCOUNT_TEXT_MAX = 64


def read(row: RawRow, allow_list: AllowList) -> Row | Refusal:
    """Return what the row says, or why it is refused; raises nothing."""
    account_text = account_text_of(row)
    try:
        _check_texts(row.raw)
        if row.kind is PayloadKind.COMMISSION:
            return tws_row.read_commission(row.raw, row.observed_at)
        account = allow_list.find(account_text)
        if account is None:
            raise Refused(Reason.ACCOUNT_NOT_ALLOWED, "account")
        return read_stored(row, account)
    except (Refused, TimeRefused) as refused:
        return refusal(row.source.value, account_text, refused.reason, refused.detail, row.raw)


def read_stored(row: RawRow, account: Account) -> Row:
    """Read a row of a known account; raises ``Refused`` or ``TimeRefused``."""
    if row.kind is PayloadKind.COMMISSION:
        return tws_row.read_commission(row.raw, row.observed_at, account_id=account.account_id)
    if row.source is Source.TWS:
        return tws_row.read_execution(row.raw, account, row.observed_at)
    return flex_row.read(row.raw, account, row.source, row.observed_at)


def account_text_of(row: RawRow) -> str:
    """The account a row names itself, else the one of its statement."""
    name = "acctNumber" if row.source is Source.TWS else "accountId"
    return (row.raw.get(name, "").strip() or row.account_text.strip())[:_ACCOUNT_TEXT_MAX]


def refusal(source: str, account_text: str, reason: Reason, detail: str, raw: Texts | Sequence[str]) -> Refusal:
    """Make a quarantine entry; ``raw`` is a row's texts, or the fields of a frame that could not even be named."""
    shape: object = dict(sorted(raw.items())) if isinstance(raw, dict) or hasattr(raw, "items") else list(raw)
    # ASCII with escapes, so that also texts which Postgres cannot hold are kept as they came
    text = json.dumps(shape, separators=(",", ":"))
    return Refusal(
        source=source,
        account_code=json.dumps(account_text)[1:-1] if not is_storable(account_text) else account_text,
        reason=reason,
        detail=detail[:_DETAIL_MAX],
        raw=text[:RAW_TEXT_MAX],
    )


def quarantined_as(row: Row) -> str:
    """The id that a row's text has in quarantine if it was refused before; a zone told by the target is not the broker's."""
    raw = {name: text for name, text in row.raw.items() if name != tws_row.BARE_TIME_ZONE}
    source = Source.TWS if isinstance(row, CommissionReport) else row.source
    code = "" if isinstance(row, CommissionReport) else row.account_code
    account_text = account_text_of(RawRow(source=source, raw=raw, observed_at=row.observed_at, account_text=code))
    return ids.quarantine_id(source.value, account_text, refusal(source.value, account_text, Reason.BAD_TEXT, "", raw).raw)


def assign_commissions(rows: Iterable[Row]) -> tuple[list[CommissionReport], list[tuple[int, str]]]:
    """Give each commission report the account of its execution, which the frame does not name.

    Returns the reports that belong to exactly one account, and (account_id, ib_exec_id) of those that could belong to
    several and so stay unknown. A report whose execution was not seen belongs to nobody and is left out.
    """
    owners: dict[str, set[int]] = {}
    reports: list[CommissionReport] = []
    for row in rows:
        if isinstance(row, Sighting):
            owners.setdefault(row.ib_exec_id, set()).add(row.account_id)
        elif isinstance(row, CommissionReport):
            reports.append(row)
    assigned: list[CommissionReport] = []
    ambiguous: set[tuple[int, str]] = set()
    for report in reports:
        accounts = owners.get(report.ib_exec_id, set())
        if len(accounts) == 1:
            assigned.append(replace(report, account_id=min(accounts)))
        else:
            ambiguous |= {(account_id, report.ib_exec_id) for account_id in accounts}
    return assigned, sorted(ambiguous)


def _check_texts(raw: Texts) -> None:
    # all texts at once: a statement has some 160 of them a row
    text = "".join(raw) + "".join(raw.values())
    if not is_storable(text):
        raise Refused(Reason.BAD_TEXT, "a character that cannot be stored")
    if len(text) > RAW_TEXT_MAX // 2:
        raise Refused(Reason.BAD_TEXT, "too long")
