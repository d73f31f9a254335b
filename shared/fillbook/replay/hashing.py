"""What makes two runs comparable at a glance: lines of results, a chain of hashes over them, digests of inputs and states.

Lines are chained within their bucket and buckets with each other, so that a run may stop after any receipt and go on, and so that
a bucket that was decided again moves the hash of all later ones without reading them. Book, ids and times of recording are left
out: same inputs, profile, start, facts and code give the same hash. Pure. Source: replay.md 5.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from fillbook.ledger.model import Action, Position
from fillbook.money import plain
from fillbook.runtime.errors import Rejected
from fillbook.signal.model import Decision
from fillbook.values import frozen

NOTHING: Final = hashlib.sha256(b"fillbook replay 1").hexdigest()
STATES_BYTES_MAX: Final = 2_097_152

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def result_lines(final: Decision, blocks: str, actions: Sequence[Action]) -> list[str]:
    """The lines of one decided receipt: one per action, or one without any; ``blocks`` as they are stored."""
    head = f"{final.ts}|{final.ticker}|{final.receipt_id}|{final.computed_lane}|{final.lane}|{final.reason}|{blocks}"
    return [f"{head}|{_action(action)}" for action in actions] or [f"{head}||||"]


def _action(action: Action) -> str:
    realized = "" if action.realized_pnl is None else plain(action.realized_pnl)
    return f"{action.action_type.value}|{plain(action.quantity)}|{plain(action.price)}|{realized}"


def chained(head: str, lines: Iterable[str]) -> str:
    """The hash after these lines, in order."""
    for line in lines:
        head = hashlib.sha256(f"{head}\n{line}".encode()).hexdigest()
    return head


def end_hash(result_hash: str, state_hash: str) -> str:
    """The hash of a finished run: of all results and of the book they made."""
    return chained(result_hash, [f"book|{state_hash}"])


def input_digest(receipt_ids: bytes) -> str:
    """The digest of a bucket's receipts: their ids in order, 16 bytes each; the database computes the same."""
    return hashlib.sha256(receipt_ids).hexdigest()


def run_input_digest(digests: Iterable[tuple[int, str]]) -> str:
    """The digest of a run's inputs: of its buckets, in order."""
    return chained(NOTHING, (f"{bucket}|{digest}" for bucket, digest in digests))


def id_bytes(receipt_id: str) -> bytes:
    """A receipt id as the 16 bytes that a digest is made of."""
    return bytes.fromhex(receipt_id.replace("-", ""))


# --- states -----------------------------------------------------------------------------------------------------------


@frozen
class Remembered:
    """A ticker as a checkpoint keeps it: the count of its decisions, its state and its open plan as JSON."""

    version: int
    state: Mapping[str, Any]
    plan: Mapping[str, Any] | None


def memory_text(state: Mapping[str, Any], plan: Mapping[str, Any] | None) -> str:
    """State and plan of a ticker as one canonical text; the count of decisions is no part of what it remembers."""
    return joined(_compact({name: value for name, value in state.items() if name != "version"}), plan)


def joined(state: str, plan: Mapping[str, Any] | None) -> str:
    """As ``memory_text``, from the state's own text of what it remembers."""
    return f"[{state},{'null' if plan is None else _compact(plan)}]"


def state_digest(memories: Mapping[str, str], positions: Iterable[Position], totals: Sequence[Any]) -> str:
    """The digest of everything the next receipt is decided from: tickers, open positions with their lots, account totals."""
    digest = hashlib.sha256()
    for ticker in sorted(memories):
        digest.update(f"{ticker}|{memories[ticker]}\n".encode())
    for position in sorted(positions, key=lambda position: position.position_id):
        lots = [[lot.lot_id, plain(lot.quantity_open)] for lot in position.lots]
        held = [position.position_id, plain(position.quantity_open), plain(position.quantity_opened), lots]
        digest.update(f"{_compact(held)}\n".encode())
    digest.update(_compact(list(totals)).encode())
    return digest.hexdigest()


def packed(memories: Mapping[str, str], versions: Mapping[str, int]) -> bytes:
    """The states of a checkpoint; raises ``Rejected('checkpoint_too_large')`` beyond 2 MB."""
    rows = (f"{_compact(ticker)}:[{versions[ticker]},{memories[ticker]}]" for ticker in sorted(memories))
    text = gzip.compress(f"{{{','.join(rows)}}}".encode(), compresslevel=1, mtime=0)
    if len(text) > STATES_BYTES_MAX:
        raise Rejected("checkpoint_too_large", f"{len(text)} bytes")
    return text


def unpacked(states: bytes) -> dict[str, Remembered]:
    """The tickers of a checkpoint."""
    rows = json.loads(gzip.decompress(states))
    return {
        ticker: Remembered(version=version, state={**state, "version": version}, plan=plan)
        for ticker, (version, (state, plan)) in rows.items()
    }
