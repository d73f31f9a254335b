"""The two clocks of a question: what was executed by T, as it was known at K. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from fillbook.runtime.errors import Rejected
from fillbook.values import frozen


@frozen
class Moment:
    """``as_of`` T on the clock of the venue, ``known_as_of`` K on the clock of the book."""

    as_of: datetime
    known_as_of: datetime


def moment(as_of: datetime | None, known_as_of: datetime | None, now: datetime) -> Moment:
    """Both clocks, checked. K defaults to ``now``; T to K, because nobody knows at K what is executed after it.

    Raises ``Rejected('instant_invalid')`` for an instant without a zone and ``Rejected('instant_in_future')``.
    """
    for name, given in (("as_of", as_of), ("known_as_of", known_as_of)):
        if given is not None and given.tzinfo is None:
            raise Rejected("instant_invalid", "an instant needs its zone", field=name)
        if given is not None and given > now:
            raise Rejected("instant_in_future", "not known yet", field=name)
    known = (known_as_of or now).astimezone(UTC)
    return Moment(as_of=known if as_of is None else as_of.astimezone(UTC), known_as_of=known)
