"""What the desk's order system tells: how large each order is. Executions alone never prove an order complete.

One message is one transaction: inbox, sizes, the status of the trades they are about, and the two jobs that fetch what was
executed. A message told twice has no effect, and an older one never overwrites a newer one. Source: ibkr.md 11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from fillbook.ibkr import columns, jobs, store
from fillbook.ibkr.allowlist import Account
from fillbook.ibkr.parents import resolve
from fillbook.ibkr.payloads import Requested
from fillbook.ibkr.store import News
from fillbook.money import NumberError, parse
from fillbook.outbox.service import receive
from fillbook.runtime.bodies import parse_json_object
from fillbook.runtime.db import Call, Database, Tx
from fillbook.runtime.errors import Rejected
from fillbook.values import frozen

CONSUMER: Final = "execution_sync"
ORDERS_MAX: Final = 1_000
MESSAGE_BYTES_MAX: Final = 256 * 1024
ID_MAX: Final = 2**63 - 1
EXPONENT_MAX: Final = 18
SOON: Final = timedelta(seconds=5)
_NOTHING: Final = News(payloads=(), returned=(), cancels=(), unpaid=frozenset(), is_opened=True)


@frozen
class OrdersProcessed:
    """A message of topic ``orders-processed``; ``sizes``: permanent id -> quantity ordered."""

    event_id: UUID
    account: str
    processed_count: int
    sizes: Mapping[int, Decimal]


@frozen
class OrdersTaken:
    """How a message was taken; ``partitions``: to relay after the commit."""

    is_new: bool
    trades_count: int = 0
    job_ids: tuple[str, ...] = ()
    partitions: tuple[int, ...] = ()


def read(body: bytes) -> OrdersProcessed:
    """Parse a message; raises ``Rejected`` naming the field."""
    if len(body) > MESSAGE_BYTES_MAX:
        raise Rejected("message_too_large")
    document = parse_json_object(body)
    account, count, orders = document.get("account"), document.get("processed_count"), document.get("orders", [])
    if not isinstance(account, str) or not account or len(account) > 64:
        raise Rejected("account_invalid", field="account")
    if type(count) is not int or count < 0:
        raise Rejected("processed_count_invalid", field="processed_count")
    if not isinstance(orders, list) or len(orders) > ORDERS_MAX:
        raise Rejected("orders_invalid", f"a list of at most {ORDERS_MAX}", field="orders")
    try:
        event_id = UUID(document["event_id"])
    except (KeyError, ValueError, TypeError, AttributeError):
        raise Rejected("event_id_invalid", field="event_id") from None
    return OrdersProcessed(
        event_id=event_id, account=account, processed_count=count, sizes=dict(_size(order) for order in orders)
    )


def _size(order: object) -> tuple[int, Decimal]:
    if not isinstance(order, Mapping):
        raise Rejected("orders_invalid", "not an object", field="orders")
    perm_id = order.get("ib_perm_id")
    if isinstance(perm_id, str) and perm_id.isascii() and perm_id.isdigit() and len(perm_id) <= 19:
        perm_id = int(perm_id)
    if type(perm_id) is not int or not 0 < perm_id <= ID_MAX:
        raise Rejected("ib_perm_id_invalid", field="ib_perm_id")
    try:
        quantity = parse(order.get("order_quantity"))
    except (NumberError, TypeError):
        raise Rejected("order_quantity_invalid", field="order_quantity") from None
    if quantity <= 0 or quantity.adjusted() > EXPONENT_MAX or int(quantity.as_tuple().exponent) < -EXPONENT_MAX:
        raise Rejected("order_quantity_invalid", field="order_quantity")
    return perm_id, quantity


def take(
    db: Database, message: OrdersProcessed, syncs: Sequence[Requested], *, received_at: datetime, now: datetime
) -> OrdersTaken:
    """Store a message's sizes and enqueue ``syncs`` where anything was processed.

    Raises ``Rejected('account_not_allowed')`` for an account that is not on the list.
    """

    def work(tx: Tx) -> OrdersTaken:
        account = store.allow_list(tx).find(message.account)
        if account is None:
            raise Rejected("account_not_allowed", field="account")
        if not receive(tx, CONSUMER, message.event_id, now):
            return OrdersTaken(is_new=False)
        trades = _store(tx, account, message.sizes, received_at=received_at, now=now) if message.sizes else 0
        queued = [
            jobs.enqueue(tx, one, requested_by="orders-processed", now=now, not_before=now + SOON)
            for one in sorted(syncs, key=lambda one: one.job_type)
            if message.processed_count
        ]
        return OrdersTaken(
            is_new=True,
            trades_count=trades,
            job_ids=tuple(one.job_id for one in queued),
            partitions=tuple(sorted({number for one in queued for number in one.partitions})),
        )

    return db.run(work, retry_constraints=jobs.RETRY_CONSTRAINTS)


def _store(tx: Tx, account: Account, sizes: Mapping[int, Decimal], *, received_at: datetime, now: datetime) -> int:
    tx.query(store.QUERIES["lock_account"], account_id=account.account_id)
    rows = [{"ib_perm_id": perm_id, "order_quantity": sizes[perm_id]} for perm_id in sorted(sizes)]
    document = {"account_id": account.account_id, "now": now, "received_at": received_at, "rows": rows}
    (changed,) = tx.call(Call("ibkr.store_order_sizes", document))
    return _refresh(tx, account, changed, now) if changed else 0


def _refresh(tx: Tx, account: Account, perm_ids: Sequence[int], now: datetime) -> int:
    """Summarize the trades of these orders anew; their executions stay as they are."""
    around = store.kin_of(tx, account, perm_ids=perm_ids)
    former = {name: one.trade_id for name, one in around.executions.items()}
    resolved = resolve(account, list(around.executions.values()), around.order_sizes, former)
    asked = {f"perm:{perm_id}" for perm_id in perm_ids}
    trades = [trade for trade in resolved.trades if asked & set(trade.keys)]
    if not trades:
        return 0
    document: dict[str, Any] = store.apply_document(account, None, now, _NOTHING)
    document["trades"] = [columns.trade_row(trade) for trade in sorted(trades, key=lambda trade: trade.trade_id)]
    document["anomalies"] = store.anomaly_rows(account, resolved.anomalies)
    document["examined"] = store.examined_rows(resolved.examined)
    tx.send(Call("ibkr.apply", document))
    return len(trades)
