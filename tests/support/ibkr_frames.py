"""Raw frames of the fake TWS as short as a test can say them."""

from __future__ import annotations

from datetime import datetime

from infra.local.tws_book import commission, execution, position
from tests.support.ibkr import DAY, exec_id

PAPER = "DU1234567"


def fill(name: str | int, *, account: str = PAPER, at: datetime = DAY, shares: str = "100", **texts: str) -> list[str]:
    """An execution of an order of its own, unless ``perm_id`` says which."""
    given = {"perm_id": str(1_500_000_000 + int(name))} if str(name).isdigit() else {}
    return execution(exec_id(name), account, at, "BOT", shares, "10.5", **(given | texts))


def paid(name: str | int, amount: str = "1.0") -> list[str]:
    """The commission of a fill."""
    return commission(exec_id(name), amount)


def fills(count: int) -> list[list[str]]:
    """Fills 1 to ``count``, each with its commission after it."""
    return [frame for number in range(1, count + 1) for frame in (fill(number), paid(number))]


def held(conid: str = "265598", quantity: str = "100", cost: str = "10.5", *, account: str = PAPER) -> list[str]:
    """A position frame."""
    return position(account, conid, "AAPL", quantity, cost)
