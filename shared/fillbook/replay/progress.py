"""How far a run is inside a bucket: what was handled of it, and the hashes so far. Pure values that travel in the run record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
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

    def plus(self, ids: bytes, *, lines: Iterable[str], rows: int, conflicts: int, actions: int) -> Progress:
        """After more of the bucket."""
        return replace(
            self,
            rows=self.rows + rows,
            conflicts=self.conflicts + conflicts,
            actions=self.actions + actions,
            hash=chained(self.hash, lines),
            ids=self.ids + ids,
        )

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


def progress_of(document: Mapping[str, Any]) -> Progress:
    """Read what ``Progress.document`` wrote."""
    return Progress(**{**document, "ids": bytes.fromhex(document["ids"])})
