"""How far a run is inside a bucket: what was handled of it, and the hashes so far. Pure values that travel in the run record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fillbook.replay.hashing import NOTHING, chained, input_digest
from fillbook.values import frozen


@frozen
class Progress:
    """One bucket as far as it is handled; ``ids`` are those of its receipts in order, 16 bytes each, conflicts included."""

    bucket: int
    rows: int = 0
    conflicts: int = 0
    actions: int = 0
    hash: str = NOTHING
    ids: bytes = b""

    @property
    def handled(self) -> int:
        """Receipts that are behind the run."""
        return self.rows + self.conflicts

    @property
    def digest(self) -> str:
        """The digest of what was handled."""
        return input_digest(self.ids)

    def closes(self, result_hash: str) -> str:
        """The run's hash with this bucket behind it."""
        return chained(result_hash, [f"bucket|{self.bucket}|{self.hash}"])

    def document(self) -> dict[str, Any]:
        """As the run record keeps it."""
        return {
            "bucket": self.bucket,
            "rows": self.rows,
            "conflicts": self.conflicts,
            "actions": self.actions,
            "hash": self.hash,
            "ids": self.ids.hex(),
        }


class Tally:
    """A bucket while it is worked: its progress, moved on in place, because a value for each receipt costs more than its hash."""

    __slots__ = ("_ids", "actions", "bucket", "conflicts", "hash", "rows")

    def __init__(self, progress: Progress) -> None:
        self.bucket = progress.bucket
        self.rows = progress.rows
        self.conflicts = progress.conflicts
        self.actions = progress.actions
        self.hash = progress.hash
        self._ids = bytearray(progress.ids)

    def met(self, ids: bytes) -> None:
        """One receipt more, whatever becomes of it."""
        self._ids += ids

    def decided(self, lines: Sequence[str], actions: int) -> None:
        """It was decided, with these lines of results."""
        self.rows += 1
        self.actions += actions
        self.hash = chained(self.hash, lines)

    def set_aside(self) -> None:
        """It was not."""
        self.conflicts += 1

    @property
    def progress(self) -> Progress:
        """As it stands."""
        return Progress(
            bucket=self.bucket,
            rows=self.rows,
            conflicts=self.conflicts,
            actions=self.actions,
            hash=self.hash,
            ids=bytes(self._ids),
        )


def progress_of(document: Mapping[str, Any]) -> Progress:
    """Read what ``Progress.document`` wrote."""
    return Progress(**{**document, "ids": bytes.fromhex(document["ids"])})
