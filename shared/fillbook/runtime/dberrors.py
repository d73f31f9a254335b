"""What the server says about a statement, in our words.

A named constraint is the room's business (``ConstraintViolated``); a lost race may run again (``Contended``); a server that
is down, full, starting or read-only is ``Unavailable``; everything else is a bug of ours (``DatabaseFailed``), whose text
stays in the log.
"""

from __future__ import annotations

from fillbook.runtime.errors import Unavailable
from fillbook.runtime.wire import ServerError, WireBroken


class DatabaseFailed(Exception):
    """The server refused a statement for a reason that is a bug of ours; the text is for the log, never for a caller."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(f"{sqlstate}: {message}")
        self.sqlstate = sqlstate


class ConstraintViolated(Exception):
    """A named constraint refused the write; rooms map ``constraint`` to their own errors."""

    def __init__(self, constraint: str, sqlstate: str, message: str = "") -> None:
        super().__init__(f"{constraint} ({sqlstate}) {message}".rstrip())
        self.constraint = constraint
        self.sqlstate = sqlstate


class Contended(Unavailable):
    """Serialization failure, deadlock or lock timeout: nothing was committed and the whole use case may run again."""


READ_ONLY = "25006"
_CONTENDED = frozenset({"40001", "40P01", "55P03"})
# server shutting down or starting, no connection left, cancelled by a timeout, read-only after a failover
_UNAVAILABLE = frozenset({"57P01", "57P02", "57P03", "57P05", "57014", READ_ONLY, "25P03", "25P04"})
_UNAVAILABLE_CLASSES = frozenset({"08", "53", "58"})


def in_our_words(error: ServerError, *, read_only: bool = False) -> Exception:
    """Return the exception that stands for a refused statement; in a read-only transaction 25006 is a bug of ours."""
    state = error.sqlstate
    if state in _CONTENDED:
        return Contended("database_contended", f"sqlstate {state}")
    if error.constraint and (state.startswith("23") or state == "P0001"):
        return ConstraintViolated(error.constraint, state, error.message)
    if (state in _UNAVAILABLE or state[:2] in _UNAVAILABLE_CLASSES) and not (read_only and state == READ_ONLY):
        return Unavailable("database_unavailable", f"sqlstate {state}")
    return DatabaseFailed(state, error.message)


def connection_lost(broken: WireBroken) -> Unavailable:
    """Return ``Unavailable`` for a lost connection; whether anything was committed is not known."""
    last_word = f", sqlstate {broken.server.sqlstate}" if broken.server is not None else ""
    return Unavailable("database_unavailable", f"{broken}{last_word}")
