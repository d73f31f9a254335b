"""What the runner says to a person: plain lines with times, coloured on a terminal, and one summary line per process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

NAME_WIDTH = 20
MEBIBYTE = 1024 * 1024
BOLD, DIM, GREEN, RED, PLAIN = "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m"


class Console:
    """Writes to ``out``; colours only on a terminal and never under NO_COLOR."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._colours = out.isatty() and "NO_COLOR" not in os.environ
        self._begun = time.monotonic()

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self._colours else text

    def line(self, text: str = "") -> None:
        """One line as it is."""
        self._out.write(text + "\n")
        self._out.flush()

    def title(self, text: str) -> None:
        """A heading."""
        self.line(self._paint(BOLD, text))

    def step(self, what: str, detail: str) -> None:
        """A step of the start, with the seconds since the console was made."""
        seconds = self._paint(DIM, f"{time.monotonic() - self._begun:6.1f} s")
        self.line(f"{seconds}  {self._paint(GREEN, what.ljust(NAME_WIDTH))}{detail}")

    def failure(self, text: str) -> None:
        """What went wrong."""
        self.line(self._paint(RED, text))

    def links(self, links: Mapping[str, str]) -> None:
        """Names and URLs."""
        for name, url in links.items():
            self.line(f"  {name.ljust(NAME_WIDTH)}{self._paint(BOLD, url)}")

    def processes(self, figures: Mapping[str, Mapping[str, Any]], pushed: Mapping[str, int]) -> None:
        """One line per process: pushes it took, restarts, exit status, peak memory."""
        for name, one in figures.items():
            told = [f"pushes {pushed[name]:,}"] if name in pushed else []
            told += [f"restarts {one['restarts']}", f"exit {0 if one['exit'] is None else one['exit']}"]
            told += [f"peak {one['peak_bytes'] // MEBIBYTE} MiB"] if one["peak_bytes"] else []
            self.line(f"  {name.ljust(NAME_WIDTH)}" + "  ".join(told))
