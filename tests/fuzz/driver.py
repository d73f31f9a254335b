"""Runs inside the fuzzer's own environment: ``python -m tests.fuzz.driver PARSER FOUND [libFuzzer's arguments]``.

Coverage guides it: every branch of the parser's modules tells that it was reached. A finding is noted and the search goes on,
so one run finds what there is; only what dies (memory beyond all bounds, a hang) ends it, with the input in its place.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from tests.fuzz.findings import Findings, broken_by
from tests.fuzz.parsers import PARSERS

SHARED = Path(__file__).resolve().parents[2] / "shared"
MEMORY_BYTES_MAX = 3 * 1024**3


def main(argv: list[str]) -> None:
    """Fuzz until libFuzzer's own limits end the process."""
    import atheris

    name, folder, *options = argv
    with atheris.instrument_imports(include=["fillbook"], exclude=_others(PARSERS[name].modules)):
        check = PARSERS[name].check
    findings = Findings(Path(folder))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))

    def one(data: bytes) -> None:
        was = broken_by(check, data)
        if was is not None:
            findings.note(was, data)

    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


def _others(modules: list[str]) -> list[str]:
    """Every module of ``fillbook`` but these: to instrument them takes longer than many a search."""
    shared = SHARED / "fillbook"
    names = (path.relative_to(SHARED).with_suffix("").as_posix().replace("/", ".") for path in shared.rglob("*.py"))
    known = {f"fillbook.{module}" for module in modules}
    return sorted({name.removesuffix(".__init__") for name in names} - known)


if __name__ == "__main__":
    main(sys.argv[1:])
