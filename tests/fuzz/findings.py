"""What breaks a parser: told apart by the exception and the place it came from, kept as the shortest input that does it."""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SLOW_SECONDS: Final = 2.0
"""Of processor: no input of a few kilobytes may cost so much."""
_OURS: Final = ("shared/fillbook/", "tests/fuzz/")


class Slow(Exception):
    """An input that is read rightly, and takes far too long."""


def broken_by(check: Callable[[bytes], str], data: bytes) -> str | None:
    """What is wrong with what ``check`` does about ``data``, as one line; None: nothing is."""
    begun = time.process_time()
    try:
        check(data)
        if time.process_time() - begun > SLOW_SECONDS:
            raise Slow
    except Exception as error:  # noqa: BLE001 -- that is what is looked for
        return f"{type(error).__name__} in {_place(error)}"
    return None


def _place(error: Exception) -> str:
    """The innermost of our own functions that an exception went through."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
        if name.startswith(_OURS) and path != Path(__file__):
            module = name.removeprefix("shared/").removesuffix(".py").replace("/", ".")
            return f"{module}.{frame.name}"
    return "nowhere of ours"


class Findings:
    """Everything found in one run, each thing once, in a folder that outlives whoever dies of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def note(self, was: str, data: bytes) -> None:
        """Keep an input under what it does, when it is the first or the shortest."""
        if len(data) < self._known.get(was, len(data) + 1):
            self._known[was] = len(data)
            name = hashlib.sha256(was.encode()).hexdigest()[:12]
            (self._folder / name).write_bytes(data)
            (self._folder / f"{name}.was").write_text(was, "utf-8")

    @property
    def found(self) -> list[tuple[str, bytes]]:
        """What it was, and the input."""
        notes = sorted(self._folder.glob("*.was"))
        return [(note.read_text("utf-8"), note.with_suffix("").read_bytes()) for note in notes]


def shortened(data: bytes, is_same: Callable[[bytes], bool], tries: int = 3_000) -> bytes:
    """A shorter input that does the same: ever smaller pieces are left out as long as that changes nothing."""
    size = max(len(data) // 2, 1)
    while size and tries > 0:
        start, is_shorter = 0, False
        while start < len(data) and tries > 0:
            tries -= 1
            shorter = data[:start] + data[start + size :]
            if is_same(shorter):
                data, is_shorter = shorter, True
            else:
                start += size
        size = size if is_shorter and size == 1 else size // 2
    return data
