"""The Pulumi program: manifest and stack settings in, the plan registered, and the few addresses that people need put out.

Run by ``pulumi`` in this folder (``infra/docs/cloud.md``). It has never been run against a project.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pulumi

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # behind everything else: only `infra` is to be found there

from infra.cloud.making import make  # noqa: E402 - the root must be known first
from infra.cloud.plan import plan  # noqa: E402
from infra.cloud.settings import parse  # noqa: E402
from infra.manifest import load  # noqa: E402

MANIFEST = load()
SETTINGS = parse(pulumi.Config("fillbook").require_object("settings"), MANIFEST)
MADE = make(plan(MANIFEST, SETTINGS))

pulumi.export("address_out", MADE["address/out"].address)
pulumi.export("database", MADE["database/server"].connection_name)
if SETTINGS.stage == "desk":
    pulumi.export("address_in", MADE["edge/address"].address)
    pulumi.export("hosts", {name: door.host for name, door in SETTINGS.doors.items()})
