"""``calendar``: writes the session tables that functions carry, from the exchange_calendars library.

The library is asked here and nowhere else: at run time it would cost 0.26 s and 76 MB. The table is committed, so a
change of an exchange's days is a reviewed diff. It refuses years it was not asked for: tables hold whole years.
"""

from __future__ import annotations

import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "shared" / "fillbook" / "sessions"
EXCHANGES = ("XNYS",)
FIRST_YEAR, LAST_YEAR = 2015, 2030
HEADER = "date,open_utc,close_utc,half_day"


def table(exchange: str, first_year: int = FIRST_YEAR, last_year: int = LAST_YEAR) -> str:
    """The sessions of whole years as CSV text: ``date,open_utc,close_utc,half_day`` (``HH:MM`` of that UTC date, 0 or 1).

    An exchange whose session crosses midnight UTC does not fit this form: ``ValueError``.
    """
    import exchange_calendars

    # An explicit end, because the library's default ends about a year from now; it computes the announced rules further.
    # Its own use of pandas warns; what it returns is compared with the committed table by a test.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = exchange_calendars.get_calendar(exchange, start=f"{first_year}-01-01", end=f"{last_year}-12-31")
        half_days = {day.date() for day in known.early_closes}
    lines = [HEADER]
    for day, row in known.schedule.iterrows():
        opens, closes = row["open"].to_pydatetime(), row["close"].to_pydatetime()
        if opens.date() != day.date() or closes.date() != day.date():
            raise ValueError(f"{exchange} {day.date()}: the session crosses midnight UTC")
        lines.append(f"{day.date()},{opens:%H:%M},{closes:%H:%M},{int(day.date() in half_days)}")
    return "\n".join(lines) + "\n"


def run(argv: list[str]) -> int:
    """Write every table; print what changed. Takes no arguments."""
    if argv:
        print("calendar takes no arguments")
        return 2
    FOLDER.mkdir(exist_ok=True)
    for exchange in EXCHANGES:
        path, text = FOLDER / f"{exchange}.csv", table(exchange)
        old = path.read_text("utf-8") if path.exists() else ""
        path.write_text(text, "utf-8")
        changed = len(set(old.splitlines()) ^ set(text.splitlines()))
        print(f"{path.relative_to(ROOT)}: {len(text.splitlines()) - 1} sessions, {changed} lines differ from before")
    return 0
