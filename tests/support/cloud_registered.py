"""Runs the real cloud program with the engine replaced by mocks, and writes as JSON what it registered.

Started by the Python of the cloud program's own environment (``infra/cloud/environment.py``), with the stack's settings as JSON
on its input (``settings``), and properties that the provider is asked about without registering anything (``probes``). Each
attribute that the plan refers to comes back as its reference's text, so that what was registered can be compared with it.
"""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from infra.cloud.model import references  # noqa: E402
from infra.cloud.plan import plan  # noqa: E402
from infra.cloud.settings import parse  # noqa: E402
from infra.manifest import load  # noqa: E402


def camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


class Recorder(pulumi.runtime.Mocks):
    """Remembers every registration and answers with the texts of references."""

    def __init__(self, wanted: dict[str, set[str]]) -> None:
        self.wanted = wanted
        self.found: list[dict[str, Any]] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.found.append({"type": args.typ, "name": args.name, "inputs": args.inputs})
        made_up = {camel(name): f"${{{args.name}.{name}}}" for name in self.wanted.get(args.name, ())}
        return f"${{{args.name}.id}}", {**args.inputs, **made_up}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        raise AssertionError(f"the program asks the platform: {args.token}")


def objection(probe: dict[str, Any]) -> str:
    """What the provider's types say against the properties of a resource; empty where they say nothing."""
    from infra.cloud.making import classes, shaped

    try:
        shaped(classes(probe["type"])[1], probe["properties"], {}, "probe")
    except TypeError as error:
        return str(error)
    return ""


def main() -> None:
    asked = json.load(sys.stdin)
    settings = asked["settings"]
    wanted: dict[str, set[str]] = {}
    for one in plan(load(), parse(settings, load())):
        for ref in references(one.properties):
            wanted.setdefault(ref.name, set()).add(ref.attribute)
    recorder = Recorder(wanted)
    pulumi.runtime.set_mocks(recorder, project="fillbook", stack="example", preview=False)
    pulumi.runtime.set_all_config({"fillbook:settings": json.dumps(settings)})

    @pulumi.runtime.test
    def program() -> None:
        runpy.run_path(str(ROOT / "infra" / "cloud" / "__main__.py"), run_name="__main__")

    program()
    json.dump({"resources": recorder.found, "objections": [objection(probe) for probe in asked.get("probes", ())]}, sys.stdout)


if __name__ == "__main__":
    main()
