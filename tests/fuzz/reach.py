"""``python -m tests.fuzz.reach PARSER DATA FOLDER…``: prints how many lines of a parser's modules the inputs of folders reach."""

from __future__ import annotations

import sys
from pathlib import Path

import coverage

SHARED = Path(__file__).resolve().parents[2] / "shared" / "fillbook"


def main(argv: list[str]) -> None:
    """Measure before anything of ours is imported, so that a module's own lines count too."""
    name, data, *folders = argv
    measured = coverage.Coverage(data_file=data, config_file=False, include=[str(SHARED / "*")])
    measured.start()
    from tests.fuzz.findings import broken_by
    from tests.fuzz.parsers import PARSERS

    parser = PARSERS[name]
    for folder in folders:
        for path in sorted(Path(folder).iterdir()):
            broken_by(parser.check, path.read_bytes())
    measured.stop()
    lines = missed = 0
    for module in parser.modules:
        _, statements, _, missing, _ = measured.analysis2(str(SHARED / f"{module.replace('.', '/')}.py"))
        lines, missed = lines + len(statements), missed + len(missing)
    sys.stdout.write(f"{lines - missed} of {lines} lines\n")


if __name__ == "__main__":
    main(sys.argv[1:])
