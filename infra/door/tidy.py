"""The house rules that no tool on the market knows, as functions from a work tree to sentences about what breaks them.

Each rule yields ``path:line: what is wrong`` and nothing when all is well; ``tests/contract/test_tidy.py`` runs them over
the project, and over a specimen that breaks each. Rules look at syntax only: they start nothing and import nothing of ours.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 400
SHELL_LINES_MAX = 50
TEST_NAME_WORDS_MIN = 3

CARRIED = ("shared/fillbook/", "functions/")
CONFIG, CLOCK = "shared/fillbook/runtime/config.py", "shared/fillbook/runtime/clock.py"
# seconds of budgets, backoffs and deadlines, never an amount: the only modules where a float may be written
TIMING = {
    "runtime": ("clock", "db", "pool", "places", "bodies", "outgoing", "watched", "auth", "pubsub"),
    "outbox": ("relay", "store"),
    "notify": ("answers", "pacing", "discord", "patience"),
    "ibkr": ("tws_rules", "tws_talk", "flex", "calls"),
    "replay": ("client", "service", "store", "calls", "catchup", "comparisonwire", "jobs", "parity"),
    "tracker": ("owners",),
    "snapshot": ("d1", "sources", "sending", "receiver", "publish", "publishing"),
    "mt5": (
        *("sources", "mt5_calls", "mt5_service", "pacing", "tokens", "allowance", "desk", "crew", "pacing_store"),
        *("accounts", "fetching", "heard"),
        *("grounds", "health", "limits", "sessions", "part", "taking", "dispatch", "runs", "shards", "worker"),
    ),
}
TIMING_MODULES = frozenset(f"shared/fillbook/{room}/{name}.py" for room, names in TIMING.items() for name in names)
# a library that is dear or dangerous, and the only places that may import it
SOLE_IMPORTERS = {
    "pg8000": ("shared/fillbook/runtime/db.py", "infra/database/"),
    "google.cloud": ("shared/fillbook/runtime/db.py",),
    "alembic": ("infra/database/",),
    "sqlalchemy": ("infra/database/",),
    "exchange_calendars": ("infra/door/sessions.py",),
    "pandas": (),
    "numpy": (),
    "grpc": (),
    "ib_insync": ("shared/fillbook/ibkr/tws.py",),
    "ib_async": (),
}
CLOCK_CALLS = frozenset({"now", "utcnow", "today"})
CLOCK_READERS = frozenset(
    f"{name}{suffix}" for name in ("time", "monotonic", "perf_counter", "process_time") for suffix in ("", "_ns")
) | {"localtime", "gmtime", "ctime"}
ROOM_SCHEMAS = {"snapshot": ("metrics", "utils_statistics")}
SCHEMAS = ("signal", "ledger", "ibkr", "mt5", "metrics", "utils_statistics", "replay", "outbox", "notify", "tracker", "ops")
# views that carry no v_ because their own specification fixes the name
FLAT_VIEWS = frozenset({"ledger.trades", "ledger.trade_events"}) | {
    f"mt5.{name}"
    for name in (
        "recent_sync_executions",
        "account_success_24h",
        "accounts_with_failures",
        "sync_performance_by_hour",
        "recent_sync_failures",
        "account_sync_health",
        "coverage_days",
        "fleet_freshness",
        "account_trades",
        "ledger_differences",
    )
}
BANNED_NAMES = frozenset({"utils.py", "helpers.py", "common.py", "misc.py"})
SQL_CLOCK = re.compile(r"\bnow\s*\(|\bcurrent_(?:date|timestamp|time)\b|\blocaltime(?:stamp)?\b", re.IGNORECASE)
SQL_TABLE = re.compile(r"\b(?:from|join|into|update|using|truncate|table)\s+(?:only\s+)?(\w+)\.(\w+)(\s*\()?", re.IGNORECASE)
SQL_TEXT = re.compile(r"\s*(?:select|insert\s+into|update\s+\w+\.|delete\s+from|with\s+\w+\s+as)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One text file of the work tree; ``path`` is relative and has forward slashes."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The file's syntax tree; only Python files have one."""
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes of the tree that say something, which many rules walk through; breadth first, without Load and Store."""
        found: list[ast.AST] = [self.tree]
        for node in found:  # grows as it is walked through: three times as fast as ``ast.walk``, over a million nodes
            for value in vars(node).values():
                if isinstance(value, list):
                    found += [one for one in value if isinstance(one, ast.AST)]
                elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                    found.append(value)
        return found

    @property
    def is_python(self) -> bool:
        """Whether the rules about code apply."""
        return self.path.endswith(".py")

    @property
    def is_carried(self) -> bool:
        """Whether functions carry the file with them: the domain package and the functions themselves."""
        return self.is_python and self.path.startswith(CARRIED)

    def at(self, node: ast.AST | int, sentence: str) -> str:
        """A finding at a line of this file."""
        line = node if isinstance(node, int) else getattr(node, "lineno", 1)
        return f"{self.path}:{line}: {sentence}"


Rule = Callable[[Source], Iterator[str]]


def sources(root: Path) -> list[Source]:
    """Every text file that is in the repository or would be added to it."""
    found = []
    for name in sorted(listed(root)):
        try:
            found.append(Source(path=name, text=(root / name).read_text("utf-8")))
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a binary file, or one that is being moved
    return found


def listed(root: Path) -> Iterator[str]:
    """Paths as git sees them; without git or outside a repository (an unpacked archive) by reading ``.gitignore``."""
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        ignored = [".git", *(line.rstrip("/") for line in (root / ".gitignore").read_text("utf-8").split())]
        yield from walked(root, ignored)
    else:
        yield from filter(None, done.stdout.split("\0"))


def walked(root: Path, ignored: Sequence[str]) -> Iterator[str]:
    """Paths of all files below ``root``; a folder that is left out is not gone into."""
    for folder, folders, files in os.walk(root):
        above = Path(folder).relative_to(root)
        kept = [name for name in folders if not any(is_ignored((above / name).as_posix(), pattern) for pattern in ignored)]
        folders[:] = kept
        names = ((above / name).as_posix() for name in files)
        yield from (name for name in names if not any(is_ignored(name, pattern) for pattern in ignored))


def is_ignored(name: str, pattern: str) -> bool:
    """Whether one line of ``.gitignore`` leaves a path out: a pattern with a slash is a path, another one a name anywhere."""
    if "/" in pattern:
        return f"{name}/".startswith(f"{pattern}/")
    return any(fnmatch(part, pattern) for part in name.split("/"))


def module_docstrings(source: Source) -> Iterator[str]:
    """Every module says why it exists."""
    if source.is_python and not (ast.get_docstring(source.tree) or "").strip():
        yield source.at(1, "no module docstring")


def sizes(source: Source) -> Iterator[str]:
    """Files, functions and shells stay short enough to be read in one go."""
    if not source.is_python:
        return
    lines = len(source.text.splitlines())
    limit = SHELL_LINES_MAX if re.fullmatch(r"functions/\w+/main\.py", source.path) else FILE_LINES_MAX
    if lines > limit:
        yield source.at(1, f"{lines} lines, at most {limit}")
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield source.at(node, f"{node.name} has {length} lines, at most {FUNCTION_LINES_MAX}")


def environment(source: Source) -> Iterator[str]:
    """Only the configuration looks at the environment."""
    if not source.is_carried or source.path == CONFIG:
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "putenv"} and is_name(node.value, "os"):
            yield source.at(node, f"os.{node.attr} belongs into runtime/config.py")
        if isinstance(node, ast.ImportFrom) and node.module == "os" and {"environ", "getenv"} & imported_names(node):
            yield source.at(node, "the environment belongs into runtime/config.py")


def clock(source: Source) -> Iterator[str]:
    """Time is a value; only the clock reads it."""
    if not source.is_carried or source.path == CLOCK:
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and node.attr in CLOCK_CALLS and is_date_type(node.value):
            yield source.at(node, f"{node.attr}() belongs into runtime/clock.py")
        if isinstance(node, ast.Attribute) and node.attr in CLOCK_READERS and is_name(node.value, "time"):
            yield source.at(node, f"time.{node.attr} belongs into runtime/clock.py")
        if isinstance(node, ast.ImportFrom) and node.module == "time" and CLOCK_READERS & imported_names(node):
            yield source.at(node, "the clock belongs into runtime/clock.py")


def floats(source: Source) -> Iterator[str]:
    """No float in money paths: neither written, nor made, nor declared, outside the modules that count seconds."""
    if not source.is_carried or source.path in TIMING_MODULES:
        return
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield source.at(node, f"the float {node.value}")
        if isinstance(node, ast.Call) and is_name(node.func, "float"):
            yield source.at(node, "float() makes a float")
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation and names_float(node.annotation):
            yield source.at(node, "declared as float")
        if isinstance(node, ast.FunctionDef) and node.returns and names_float(node.returns):
            yield source.at(node, f"{node.name} returns a float")


def sole_importers(source: Source) -> Iterator[str]:
    """A dear or dangerous library has one importer."""
    if not source.is_python or source.path.startswith("tests/"):
        return
    for node in source.nodes:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for library, places in SOLE_IMPORTERS.items():
            wrong = any(name == library or name.startswith(f"{library}.") for name in names)
            if wrong and not source.path.startswith(places):
                yield source.at(node, f"{library} is imported only in {places or 'nothing of ours'}")


def shells(source: Source) -> Iterator[str]:
    """A shell parses, calls one use case and answers: nothing runs at import, and it decides nothing."""
    if not re.fullmatch(r"functions/\w+/main\.py", source.path):
        return
    name = source.path.split("/")[1]
    if not any(isinstance(node, ast.FunctionDef) and node.name == name for node in source.tree.body):
        yield source.at(1, f"no entry point named {name}")
    allowed = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
    for statement in source.tree.body[1:]:
        if not isinstance(statement, allowed):
            yield source.at(statement, "runs at import")
    for node in source.nodes:
        if isinstance(node, ast.If | ast.Match | ast.While):
            yield source.at(node, "a shell decides nothing")


def queries(source: Source) -> Iterator[str]:
    """A room's statements touch its own tables and other rooms' views."""
    match = re.fullmatch(r"shared/fillbook/(\w+)/\w+\.sql", source.path)
    if match is None:
        return
    own = ROOM_SCHEMAS.get(match[1], (match[1],))
    for number, line in enumerate(source.text.splitlines(), 1):
        for schema, table, is_call in SQL_TABLE.findall(line.partition("--")[0]):
            is_view = table.startswith("v_") or f"{schema}.{table}" in FLAT_VIEWS
            if schema in SCHEMAS and schema not in own and not is_view and not is_call:
                yield source.at(number, f"{schema}.{table} is another room's table")


def sql_clock(source: Source) -> Iterator[str]:
    """SQL has no business time of its own: the time is a parameter (leases use ``clock_timestamp``, which says what it is)."""
    if not source.path.endswith(".sql"):
        return
    for number, line in enumerate(source.text.splitlines(), 1):
        if SQL_CLOCK.search(line.partition("--")[0]):
            yield source.at(number, "the time is a parameter")


def statements(source: Source) -> Iterator[str]:
    """SQL lives in queries.sql and in the runtime, not between lines of Python."""
    if not source.is_carried or source.path.startswith("shared/fillbook/runtime/"):
        return
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL_TEXT.match(node.value) and " " in node.value:
            yield source.at(node, "a statement outside queries.sql")


def values(source: Source) -> Iterator[str]:
    """Values of the domain are frozen, slotted and keyword-only."""
    if not source.path.startswith("shared/fillbook/") or not source.path.endswith("/model.py"):
        return
    for node in source.nodes:
        if isinstance(node, ast.ClassDef):
            for decorator in node.decorator_list:
                if is_name(decorator, "dataclass") or (isinstance(decorator, ast.Call) and is_name(decorator.func, "dataclass")):
                    keywords = {word.arg for word in decorator.keywords} if isinstance(decorator, ast.Call) else set()
                    missing = {"frozen", "slots", "kw_only"} - keywords
                    if missing:
                        yield source.at(node, f"{node.name} is not {', '.join(sorted(missing))}")


def test_names(source: Source) -> Iterator[str]:
    """A test's name is a sentence."""
    if not re.fullmatch(r"tests/.*/test_\w+\.py", source.path):
        return
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            words = node.name.removeprefix("test_").split("_")
            if len(words) < TEST_NAME_WORDS_MIN:
                yield source.at(node, f"{node.name} is no sentence")


def names(source: Source) -> Iterator[str]:
    """Nothing is called utils, and a function's folder holds its shell, its requirements and static files only."""
    parts = source.path.split("/")
    if parts[-1] in BANNED_NAMES:
        yield source.at(1, "name it after what it does")
    if parts[0] == "functions" and parts[2:] not in (["main.py"], ["requirements.txt"]) and parts[2:3] != ["static"]:
        yield source.at(1, "a function's folder holds main.py, requirements.txt and static files")


def leftovers(source: Source) -> Iterator[str]:
    """Nothing is left for later inside the code, and no file knows one machine or one index."""
    if source.path.endswith((".svg", "package-lock.json")):
        return
    met = [(pattern, sentence) for pattern, sentence in LEFTOVERS if pattern.search(source.text)]
    for number, line in enumerate(source.text.splitlines() if met else (), 1):
        for pattern, sentence in met:
            if pattern.search(line):
                yield source.at(number, sentence)


def lock_of_pages(source: Source) -> Iterator[str]:
    """A lock of page packages names no host either."""
    if source.path.endswith("package-lock.json") and '"resolved"' in source.text:
        yield source.at(1, "resolved URLs name a host")


def is_name(node: ast.AST, name: str) -> bool:
    """Whether a node is the bare name."""
    return isinstance(node, ast.Name) and node.id == name


def is_date_type(node: ast.AST) -> bool:
    """``datetime``, ``date`` or ``datetime.datetime``: the types whose ``now`` and ``today`` read the clock."""
    return (
        is_name(node, "datetime")
        or is_name(node, "date")
        or (isinstance(node, ast.Attribute) and node.attr in ("datetime", "date"))
    )


def imported_names(node: ast.ImportFrom) -> set[str]:
    """The names one import statement brings in."""
    return {alias.name for alias in node.names}


def names_float(annotation: ast.expr) -> bool:
    """Whether an annotation mentions float anywhere."""
    return any(is_name(node, "float") for node in ast.walk(annotation))


def spelled(*parts: str) -> str:
    """A pattern written in parts, so that this file does not break its own rule."""
    return "".join(parts)


LEFTOVERS = (
    (re.compile(spelled(r"\b(?:TO", r"DO|FIX", r"ME)\b")), "left for later"),
    (re.compile(spelled(r"(?:^|[\s\"'=(`])/(?:ro", r"ot|wo", r"rk|ho", r"me/\w+|Us", r"ers/\w+)/")), "a path of one machine"),
    (
        re.compile(spelled(r"files\.python", r"hosted\.org|py", r"pi\.org/simple|registry\.npm", r"js\.org")),
        "the host of an index",
    ),
    (re.compile(spelled(r"--(?:extra-)?ind", r"ex-url\s*[= ]\s*\S|--find-", r"links")), "an index line"),
)

RULES: tuple[Rule, ...] = (
    module_docstrings,
    sizes,
    environment,
    clock,
    floats,
    sole_importers,
    shells,
    queries,
    sql_clock,
    statements,
    values,
    test_names,
    names,
    leftovers,
    lock_of_pages,
)
