"""Where a day may be published beside our own API: the fake D1 and the lenient receiver, two processes before one file.

What was written past the API shows in the receiver's readers, as it does where a worker stands before its database.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

D1, LENIENT = "d1", "lenient"
TARGETS: Final = (D1, LENIENT)
D1_BASE: Final = "/client/v4"
D1_ACCOUNT: Final = "0123456789abcdef0123456789abcdef"
D1_DATABASE: Final = "5a4d8f0e-0c1b-4b8e-9a55-1d1f0f4c2b7a"
REAL_D1_BASE: Final = "https://api.cloudflare.com/client/v4"
OWN_D1: Final = ("CF_ACCOUNT_ID", "CF_D1_DATABASE_ID", "CLOUDFLARE_API_TOKEN")
STATE_FILE: Final = "d1.sqlite"


def commands(home: Path, ports: Mapping[str, int], secrets: Mapping[str, str]) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Name, command and environment of each process of the desk in ``home``."""
    given = {
        D1: {"CLOUDFLARE_API_TOKEN": secrets["d1_token"]},
        LENIENT: {"INTERNAL_TOKEN": secrets["lenient_token"], "SNAPSHOT_READ_KEY": secrets["lenient_key"]},
    }
    for name in TARGETS:
        command = [sys.executable, f"infra.local.{name}", "--port", str(ports[name]), "--state", str(home / STATE_FILE)]
        yield name, command, given[name]


def settings(d1_url: str, secrets: Mapping[str, str]) -> dict[str, str]:
    """What a publisher is told of the fake D1; empty where it does not run."""
    if not d1_url:
        return dict.fromkeys(("D1_API_BASE", *OWN_D1), "")
    return {
        "D1_API_BASE": f"{d1_url}{D1_BASE}",
        "CF_ACCOUNT_ID": D1_ACCOUNT,
        "CF_D1_DATABASE_ID": D1_DATABASE,
        "CLOUDFLARE_API_TOKEN": secrets["d1_token"],
    }


def real_d1(found: Mapping[str, str]) -> dict[str, str]:
    """What a person's own D1 brings with it: the real address, and nothing of the fake's where part of it is missing."""
    return {"D1_API_BASE": REAL_D1_BASE, **dict.fromkeys(OWN_D1, "")} if any(name in found for name in OWN_D1) else {}
