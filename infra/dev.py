#!/usr/bin/env python3
"""The one door: every command of a developer or an operator goes through here, and the door lists itself.

It needs nothing but Python 3.11 to 3.13: with the standard library alone it makes the project's environment (``.venv``
from the hashed lock), starts itself again inside it and hands over to the module that knows the verb. It refuses to hold
any knowledge of its own about what a verb does, and to change anything outside the work tree.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ((3, 11), (3, 13))


class Verb(NamedTuple):
    """What a verb does, in one line, and the function that does it: ``module:function`` taking the remaining arguments."""

    help: str
    target: str


VERBS = {
    "run": Verb("the whole desk on this machine, with a demo day (--no-demo, --once)", "infra.local.cloud:run"),
    "test": Verb("every test, the way CI runs them; arguments go to pytest", "infra.door.checks:test"),
    "check": Verb("the fast half: style, types, imports, tidiness, unit and property tests", "infra.door.checks:check"),
    "reliability": Verb(
        "run the reliability checks, or those with given numbers, and write their page", "infra.door.reliability:run"
    ),
    "demo": Verb("play a demo day into the running desk", "infra.local.demo:run"),
    "import-receipts": Verb("send recorded points through the running desk's webhook", "infra.local.demo:import_receipts"),
    "op": Verb("an operator's verb: op ROOM VERB …; op alone lists the rooms", "infra.door.operators:run"),
    "bundle": Verb("write build/NAME, what is deployed of a function (NAME or all)", "infra.door.bundles:run"),
    "migrate": Verb("bring a database to the newest schema", "infra.database.migrate:run"),
    "cloud": Verb("what would be made in the cloud, and its policies: cloud plan|policies|program|lock", "infra.cloud.verbs:run"),
    "bench": Verb("measure against peers and print ratios", "tests.bench.__main__:run"),
    "fuzz": Verb(
        "look for bytes that break a parser, and keep them (PARSER …, --seconds N, --seed S)", "tests.fuzz.__main__:run"
    ),
    "chaos": Verb("days of the whole desk under every fault, from one seed (--seed N --days D)", "infra.chaos.__main__:run"),
    "cost": Verb("what a local day used, and what a month of such days costs (--day DATE, --fleet)", "infra.cost.verb:run"),
    "calendar": Verb("write the table of trading sessions again", "infra.door.sessions:run"),
    "lock": Verb("resolve infra/requirements.in into the hashed requirements.txt", "infra.door.lock:run"),
    "table": Verb("write what is generated: README table, cloudbuild.yaml, the page's types", "infra.door.generated:run"),
    "new": Verb("the furniture of a new function or room: new function|room NAME", "infra.door.scaffold:run"),
}


def main(argv: list[str]) -> int:
    """Run one verb and return its exit status; 2 when there is no such verb."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(listing())
        return 0
    verb = VERBS.get(argv[0])
    if verb is None:
        print(f"no verb {argv[0]!r}\n\n{listing()}", file=sys.stderr)
        return 2
    found = sys.version_info[:2]
    if not VERSIONS[0] <= found <= VERSIONS[1]:
        # said here, before anything is imported that an older Python cannot even read
        start = f"python3.11 infra/dev.py {' '.join(argv)}"
        print(f"Fillbook needs Python 3.11, 3.12 or 3.13; this is {found[0]}.{found[1]}. Start it as: {start}", file=sys.stderr)
        return 2
    # `python infra/dev.py` puts infra/ first on the path, where local/ or database/ would shadow other packages
    sys.path[0] = str(ROOT)
    from infra.door import environment

    environment.enter(ROOT, [str(Path(__file__).resolve()), *argv])
    module, _, function = verb.target.partition(":")
    return int(getattr(importlib.import_module(module), function)(argv[1:]) or 0)


def listing() -> str:
    """The door's own help: each verb with its line."""
    width = max(map(len, VERBS))
    return "\n".join(["python3 infra/dev.py VERB …", *(f"  {name:<{width}}  {verb.help}" for name, verb in VERBS.items())])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
