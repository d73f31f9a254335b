"""``python -m tests.fuzz.reach PARSER DATA FOLDER…``: what the inputs in folders reach of a parser's modules.

Prints one JSON object: ``lines`` in words, ``fewest``: paths of inputs, the shortest first, each of which goes a step from line
to line that none before it went.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import coverage

SHARED = str(Path(__file__).resolve().parents[2] / "shared" / "fillbook")


def main(argv: list[str]) -> None:
    """Measure before anything of ours is imported, so that a module's own lines count too."""
    name, data, *folders = argv
    paths = sorted((path for folder in folders for path in Path(folder).iterdir()), key=lambda path: (path.stat().st_size, path))
    measured = coverage.Coverage(data_file=data, config_file=False, include=[f"{SHARED}/*"])
    measured.start()
    from tests.fuzz.findings import broken_by
    from tests.fuzz.parsers import PARSERS

    parser = PARSERS[name]
    for path in paths:
        broken_by(parser.check, path.read_bytes())
    measured.stop()
    lines = missed = 0
    for module in parser.modules:
        _, statements, _, missing, _ = measured.analysis2(f"{SHARED}/{module.replace('.', '/')}.py")
        lines, missed = lines + len(statements), missed + len(missing)
    known: set[tuple[str, int, int]] = set()
    fewest = []
    for path in paths:
        steps = steps_of(lambda path=path: broken_by(parser.check, path.read_bytes()))  # type: ignore[misc]
        if steps - known:
            known |= steps
            fewest.append(str(path))
    sys.stdout.write(json.dumps({"lines": f"{lines - missed} of {lines} lines", "fewest": fewest}))


def steps_of(work: Callable[[], object]) -> set[tuple[str, int, int]]:
    """File, line and the line after it, of every step that ``work`` takes in our code."""
    found: set[tuple[str, int, int]] = set()
    last: dict[FrameType, int] = {}

    def step(frame: FrameType, event: str, _: Any) -> Any:
        if event == "call" and not frame.f_code.co_filename.startswith(SHARED):
            return None
        found.add((frame.f_code.co_filename, last.get(frame, 0), frame.f_lineno))
        last[frame] = frame.f_lineno
        return step

    sys.settrace(step)
    try:
        work()
    finally:
        sys.settrace(None)
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
