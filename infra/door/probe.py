"""Imports one function's ``main.py`` in an interpreter of its own and tells, as JSON, what came along.

Contract tests ask it what a cold start imports, which settings the function's config class reads and whether a bundle
stands on its own. The import is all it does: no request is served and nothing outside the process is touched.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parents[2] / "shared"


def ask(folder: Path, name: str, *, alone: bool = False) -> dict[str, Any]:
    """What importing ``folder/main.py`` brings in; ``alone`` hides the work tree's own package, as in the cloud.

    Keys: ``entry_point`` (bool), ``config`` (class name, or None), ``settings`` and ``required`` (environment names),
    ``modules`` (all of ``sys.modules``), ``package_files`` (of ``fillbook``), ``pools`` (sizes of the databases it opens),
    ``places`` (how many at once and how many waiting, of each edge that bounds them).
    Raises ``RuntimeError`` with the traceback when the import fails.
    """
    command = [sys.executable, "-P", "-W", "error", str(Path(__file__)), str(folder), name, *(["alone"] if alone else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode != 0:
        raise RuntimeError(f"{folder}/main.py cannot be imported:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def tell(folder: Path, name: str, alone: bool) -> dict[str, Any]:
    """The other side of ``ask``: runs in the new interpreter."""
    if alone:
        sys.path = [path for path in sys.path if Path(path).resolve() != SHARED]
    sys.path.insert(0, str(folder))
    import main  # type: ignore[import-not-found, unused-ignore]

    imported = sorted(sys.modules)
    config = config_class(main)
    fields = config.model_fields if config else {}
    return {
        "entry_point": callable(getattr(main, name, None)),
        "config": config.__name__ if config else None,
        "settings": sorted(field.upper() for field in fields),
        "required": sorted(field.upper() for field, info in fields.items() if info.is_required()),
        "modules": imported,
        "pools": pools(main),
        "places": places(main),
        "package_files": [str(sys.modules[item].__file__) for item in imported if item.split(".")[0] == "fillbook"],
    }


def config_class(main: Any) -> Any:
    """The one config class a shell names that is not one of the runtime's own building blocks; None without one."""
    from fillbook.runtime.config import Config

    found = [item for item in vars(main).values() if isinstance(item, type) and issubclass(item, Config)]
    own = [item for item in found if item.__module__ != Config.__module__]
    if len(own) > 1:
        raise ValueError(f"one config class per function, found {sorted(item.__name__ for item in own)}")
    return own[0] if own else None


def pools(main: Any) -> list[int]:
    """The ``pool_size`` of every ``Database.open`` in the shell, its names looked up in the shell itself."""
    calls = _calls(main, "Database.open")
    sizes = [word.value for call in calls for word in call.keywords if word.arg == "pool_size"]
    if len(sizes) != len(calls):
        raise ValueError("a shell says how many connections it holds: pool_size=…")
    return [int(_value(main, size)) for size in sizes]


def places(main: Any) -> list[list[int]]:
    """How many at once and how many waiting, of every edge of the shell that is given ``places``, likewise."""
    calls = [call for name in ("http_edge", "push_edge", "cron_edge") for call in _calls(main, name)]
    given = [_value(main, word.value) for call in calls for word in call.keywords if word.arg == "places"]
    return [[one.at_once, one.waiting] for one in given]


def _calls(main: Any, name: str) -> list[ast.Call]:
    tree = ast.parse(Path(main.__file__).read_text("utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]


def _value(main: Any, expression: ast.expr) -> Any:
    return eval(ast.unparse(expression), vars(main))  # noqa: S307 - our own source


if __name__ == "__main__":
    print(json.dumps(tell(Path(sys.argv[1]), sys.argv[2], "alone" in sys.argv[3:])))
