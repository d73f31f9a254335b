"""``cloud``: what would be made, what the policies say of it, and whether the program is one that the provider understands.

None of these verbs needs an account, and none of them changes anything outside the work tree; ``pulumi`` itself does that, and
only where a person starts it (``infra/docs/cloud.md``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.cloud import environment, stack
from infra.cloud.model import Plan, Resource, written
from infra.cloud.plan import ordered, plan
from infra.cloud.policies import POLICIES, violations
from infra.cloud.settings import SettingsError, parse
from infra.manifest import load

HELP = {
    "plan": "every resource in the order it would be made, as a table (--json: with its properties)",
    "policies": "what must hold over every resource, and what does not; exit status 1 where something does not",
    "program": "run the real program with the engine replaced by mocks, its types checked; makes its environment first",
    "lock": "resolve infra/cloud/requirements.in into its hashed lock",
}
SHOWN = ("description", "role", "member", "schedule", "ip_cidr_range", "topic", "secret_id", "display_name", "service", "name")


def run(argv: list[str]) -> int:
    """Run one verb; the exit status is 1 where something does not hold, 2 where the settings cannot be used."""
    arguments = _parser().parse_args(argv)
    if arguments.verb == "lock":
        return environment.lock()
    try:
        document = stack.document(Path(arguments.settings))
        found = plan(load(), parse(document, load()))
    except (OSError, KeyError, SettingsError) as error:
        print(f"{arguments.settings}: {error}", file=sys.stderr)
        return 2
    if arguments.verb == "plan":
        return show_plan(found, is_json=arguments.json)
    return show_policies(found) if arguments.verb == "policies" else check_program(document)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 infra/dev.py cloud", description=__doc__.partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, text in HELP.items():
        verb = verbs.add_parser(name, help=text, description=text)
        verb.add_argument(
            "--settings", default=str(stack.EXAMPLE), help="a stack's file; the example's made-up values by default"
        )
        if name == "plan":
            verb.add_argument("--json", action="store_true", help="with every property")
    return parser


def show_plan(found: Plan, *, is_json: bool) -> int:
    """Print the plan; always 0."""
    if is_json:
        print(
            json.dumps(
                [{"type": one.type, "name": one.name, "properties": written(one.properties)} for one in ordered(found)], indent=1
            )
        )
        return 0
    for one in ordered(found):
        print(f"{one.place:<38} {one.name:<66} {detail(one)}")
    counted = Counter(one.place for one in found)
    print(f"{len(found)} resources of {len(counted)} kinds; nothing was made")
    return 0


def detail(one: Resource) -> str:
    """The property that tells a person most about a resource, on one line."""
    text = next((str(one.get(name)) for name in SHOWN if one.get(name) and one.get(name) not in one.name), "")
    return text if len(text) <= 90 else f"{text[:89]}…"


def show_policies(found: Plan) -> int:
    """Print each policy with what it objects to; 1 where one does."""
    objections = violations(found)
    for name, policy in POLICIES.items():
        own = [one for one in objections if one.policy == name]
        print(f"{'FAILED' if own else 'ok':<7} {name:<20} {(policy.__doc__ or '').partition(chr(10))[0]}")
        for one in own:
            print(f"        {one.resource}: {one.reason}")
    print(f"{len(POLICIES)} policies over {len(found)} resources: {len(objections)} objections")
    return 1 if objections else 0


def check_program(document: Mapping[str, Any]) -> int:
    """Check the program's types against the provider's, then run it under mocks; 1 where either objects."""
    if not environment.is_ready():
        print("making the environment of the cloud program (a minute) …", flush=True)
        environment.make()
    mypy = [str(Path(sys.executable).parent / "mypy"), "--python-executable", str(environment.PYTHON)]
    typed = subprocess.run([*mypy, "--cache-dir", ".mypy_cache/cloud", "infra/cloud"], cwd=environment.ROOT, check=False)
    command = [str(environment.PYTHON), "tests/support/cloud_registered.py"]
    done = subprocess.run(
        command, cwd=environment.ROOT, input=json.dumps({"settings": document}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return 1
    count = len(json.loads(done.stdout)["resources"])
    print(f"the program registers {count} resources; the engine was replaced by mocks, nothing was made")
    return 1 if typed.returncode else 0
