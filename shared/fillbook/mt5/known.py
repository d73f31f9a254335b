"""The noun of rows that came before; ``told`` makes it of a page and knows them again by it."""

from __future__ import annotations

from fillbook.values import frozen


@frozen
class Told:
    """The list of rows of a page, as far as it is needed to know it again.

    ``rows_hash``: of its bytes; ``content``: of what they say (``told.content``);
    ``count``: its rows, each of another ticket; ``first_msc``, ``last_msc``: the earliest and the latest of their times on the
    server clock.
    """

    rows_hash: bytes
    content: bytes
    count: int
    first_msc: int
    last_msc: int
