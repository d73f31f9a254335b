"""A stack's file as settings: the example's, or an installation's own ``Pulumi.NAME.yaml``, read without Pulumi."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

EXAMPLE: Final = Path(__file__).with_name("Pulumi.example.yaml")
KEY: Final = "fillbook:settings"


def document(path: Path = EXAMPLE) -> Mapping[str, Any]:
    """The settings in a stack's file, not yet checked; raises ``KeyError`` without any, ``OSError`` without a file."""
    found: Mapping[str, Any] = yaml.safe_load(path.read_text("utf-8"))["config"][KEY]
    return found
