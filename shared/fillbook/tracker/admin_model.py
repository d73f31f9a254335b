"""What is asked of the owners of the admin actions, and what they answer."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from fillbook.tracker.shapes import Frame

Day = Annotated[str, Field(json_schema_extra={"format": "date"})]
Days = Annotated[list[Day], Field(min_length=1, max_length=100)]
Names = Annotated[list[str], Field(min_length=1, max_length=100)]
RunName = Annotated[str, Field(min_length=1, max_length=64)]
When = Annotated[str | int, Field(description="ISO with its zone, epoch milliseconds, or a New York date (its midnight)")]

ReplayOrder = TypedDict(
    "ReplayOrder",
    {
        "date": Day,
        "from": Day,
        "to": Day,
        "ticker": str | None,
        "name": Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,39}$")],
        "mode": Literal["full", "incremental"],
        "scriptVersion": str,
        "profile": str,
        "session": Literal["regular", "all"],
        "inputs": Literal["all", "as_decided"],
        "start": Literal["empty", "live"],
        "facts": Literal["own", "recorded"],
        "cleanSlate": bool,
        "requireComplete": bool,
        "acceptCode": bool,
        "dates": Days,
        "profiles": Names,
        "tickers": Names,
    },
    total=False,
)
ReplayOrder.__doc__ = (
    "What is to be run again beside the live book: a date, a range, or lists (a sweep). Names are those of ``replay_worker``."
)


class ReplayRuns(Frame):
    """The runs that were made; ``run_id`` is the first of them."""

    run_id: str
    runs: list[str]


class CompareOrder(TypedDict):
    """Two runs, or a run and ``live``; ``date`` narrows both to one session."""

    left: RunName
    right: RunName
    date: NotRequired[Day | None]


class SyncOrder(TypedDict):
    """The account to be synced: a number of IBKR's, the id of a linked one."""

    account_id: Annotated[str, Field(min_length=1, max_length=36)]


class SyncJob(TypedDict):
    """A job of IBKR's, which fetches all of its accounts from one source; not new: it waited already."""

    job_type: str
    job_id: str | None
    is_new: bool | None


class SyncStarted(Frame):
    """Who works it, and under which id: a run of the linked account, or IBKR's jobs, of which ``job_id`` is the first."""

    account_id: str
    platform: Literal["ibkr", "mt5"]
    run_id: str | None
    job_id: str | None
    is_new: bool | None
    jobs: list[SyncJob]


class ProofOrder(TypedDict):
    """Whose messages are compared with the ledger: executions in [since, until), 31 days at most. Repaired unless told not to."""

    since: When
    until: When
    repair: NotRequired[bool]


class ProofStarted(Frame):
    """The run that was queued."""

    run_id: str
