"""A bundle is deployed in two ways, and both are started here: as a function from its source, and as an image by the Dockerfile.

By day one function comes from its source and one from an image, with ``FILLBOOK_FULL=1`` all of both, with the settings that the
cloud program gives.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.cloud import names, run
from infra.cloud.desk import Desk
from infra.cloud.settings import Settings
from infra.door import builds, bundles
from infra.door.lock import LOCK
from infra.local.postgres import PostgresServer
from infra.manifest import Function
from tests.support.campaigns import full_only, small_or_full
from tests.support.dockerfile import BASE, Builder, Image, NoIndex
from tests.support.environments import installed, linked, plain_environment
from tests.support.every_function import MANIFEST, WEBHOOK, Door, desk_keys, doors, metrics_keys
from tests.support.served import Served, serving, tree
from tests.support.servers import TEMPLATE

pytestmark = [pytest.mark.slow, pytest.mark.bundles]

ROOT = Path(__file__).resolve().parents[2]
MIGRATE = names.MIGRATE_ENTRY
SECRETS = {
    "DESK_KEYS": desk_keys(),
    "METRICS_KEYS": metrics_keys(),
    "DISCORD_EXECUTIONS_WEBHOOK": WEBHOOK.format(number=1, token="e" * 68),
    "DISCORD_OPS_WEBHOOK": WEBHOOK.format(number=2, token="o" * 68),
}
PLACE = {
    "SNAPSHOT_API_URL": "https://snapshot.example",
    "IBKR_ACCOUNTS": '[{"id": 1, "code": "U1234567"}]',
    "IBKR_TWS_TARGETS": '[{"host": "10.0.0.2", "port": 4001}]',
    "MT5_SERVICE_URL": "https://mt5.example",
}
"""What the manifest leaves to the one who installs the desk."""
STOP_SECONDS = 10  # what the platform gives after SIGTERM
SMALL = "signal_ingest"
"""The function with the fewest packages: its image costs least."""
DESK = Desk(
    manifest=MANIFEST,
    settings=Settings(
        project="desk-1",
        project_number="123456789",
        billing_account="000000-000000-000000",
        stage="desk",
        operators=(),
        alert_emails=("desk@desk.example",),
        budget=1,
        env={name: {key: PLACE[key] for key in entry.env if key in PLACE} for name, entry in MANIFEST.functions.items()},
    ),
)


def drawn(salt: str) -> str:
    """The function of the day."""
    digest = hashlib.sha256(f"{salt} {datetime.now(UTC).date()}".encode()).digest()
    return list(MANIFEST.functions)[int.from_bytes(digest[:4]) % len(MANIFEST.functions)]


def deployed(function: Function) -> dict[str, str]:
    """What the function is told in the cloud; secrets as they look there, of nobody."""
    secrets = {name: SECRETS.get(name, "0123456789abcdef0123456789abcdef") for name in function.secrets}
    return plain_environment() | run.settings_of(DESK, function) | secrets


def stranger(served: Served, function: Function) -> int:
    """The status of a first request that shows nothing: of a route with a credential."""
    door: Door = next(door for door in doors() if door.function == function and door.route.caller != "none")
    status, _ = served.ask(door.route.method, door.path, {"Content-Type": "application/json"}, b"{}")
    return status


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``infra/dev.py bundle`` leaves in ``build/``, as far as these tests build images of it."""
    folder = tmp_path_factory.mktemp("build")
    (folder / bundles.INSTALLER).write_text(bundles.installer(ROOT))
    return folder


@pytest.fixture(scope="module")
def image(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Image]:
    """Builds the image of a bundle, each time it is asked, in a folder of its own; skips where nothing can be installed."""
    folder = tmp_path_factory.mktemp("images")
    builder = Builder(ROOT / builds.DOCKERFILE, context, folder)

    def build(bundle: str, name: str = "image") -> Image:
        if not (context / bundle).exists():
            make = bundles.build_migration if bundle == MIGRATE else bundles.build
            arguments = {} if bundle == MIGRATE else {"name": bundle}
            make(**arguments, target=context / bundle)
        try:
            return builder.build("migrate" if bundle == MIGRATE else "function", f"{bundle}-{name}", BASE=BASE, BUNDLE=bundle)
        except NoIndex as error:
            pytest.skip(f"no packages are kept here, and no index answers: {error}")

    return build


def started(image: Image, environment: dict[str, str], log: Path, prefix: tuple[str, ...] = ()) -> Iterator[Served]:
    """The image's own command in its own surroundings, with what a service is told over them."""
    command = [str(image.python) if word == "python" else word for word in image.command]
    return serving([*prefix, *command], environment | image.environment(), image.inside("."), log)


@pytest.mark.parametrize("name", small_or_full([drawn("source")], list(MANIFEST.functions)))
def test_a_function_starts_from_the_source_of_its_bundle_as_the_builder_starts_it(
    name: str, bundles: Path, tmp_path: Path
) -> None:
    python = installed(tmp_path / "environment", bundles / name / LOCK)
    function = MANIFEST.functions[name]
    told = deployed(function) | {"FUNCTION_TARGET": name}  # what --function becomes
    with serving([str(python.with_name("functions-framework"))], told, bundles / name, tmp_path / "log") as served:
        assert stranger(served, function) == 401


@pytest.fixture(scope="module")
def small(image: Callable[..., Image]) -> Image:
    return image(SMALL)


def test_equal_bundles_give_equal_images(small: Image, image: Callable[..., Image]) -> None:
    again = image(SMALL, "again")
    assert again.root != small.root
    assert again.digest() == small.digest()


def test_an_image_holds_its_bundle_and_its_packages_compiled_and_nothing_else(small: Image, context: Path) -> None:
    assert {path.name for path in small.root.iterdir()} == {"srv"}
    assert {path.name for path in small.inside("..").iterdir()} == {"bundle", "packages"}
    assert bundles.digest(small.inside(".")) == bundles.digest(context / SMALL)
    assert [path for path in small.root.rglob("*.py") if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))] == []
    assert not (small.inside("..") / "packages" / "bin").exists()
    assert not (small.inside("..") / "packages" / "uv").exists()


def test_an_image_runs_as_nobody_who_can_read_it_and_change_nothing(small: Image) -> None:
    assert small.user == "65532:65532"
    modes = {path: path.stat().st_mode for path in small.root.rglob("*")}
    assert [path for path, mode in modes.items() if not mode & 0o004 or mode & 0o002] == []
    assert [path for path, mode in modes.items() if path.is_dir() and not mode & 0o001] == []


def process_one() -> tuple[str, ...] | None:
    """What makes a command process 1 of a space of its own; None where this machine does not allow it."""
    prefix = ("unshare", "--user", "--map-root-user", "--pid", "--fork")
    works = shutil.which("unshare") and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return prefix if works else None


def test_an_image_answers_as_process_1_and_ends_in_order_when_the_platform_says_so(small: Image, tmp_path: Path) -> None:
    prefix, function = process_one(), MANIFEST.functions[SMALL]
    assert small.command[0] == "python", "no shell in between"
    with started(small, deployed(function), tmp_path / "log", prefix or ()) as served:
        assert stranger(served, function) == 401
        first = tree(served.process.pid)[1 if prefix else 0]
        os.kill(first, signal.SIGTERM)
        assert served.process.wait(STOP_SECONDS) == 0


@pytest.fixture(scope="module")
def migrated(postgres: PostgresServer, _superuser: Callable[[str], None]) -> Iterator[str]:
    _superuser(f"create database from_image template {TEMPLATE} strategy = file_copy")
    yield postgres.url(database="from_image")
    _superuser("drop database from_image with (force)")


def test_the_migration_starts_from_its_bundle_with_its_own_requirements_alone(migrated: str, tmp_path: Path) -> None:
    bundle = bundles.build_migration(target=tmp_path / MIGRATE)
    python = linked(tmp_path / "environment", (bundle.path / LOCK).read_text("utf-8"))
    assert (
        migrate([str(python), "-m", "infra.database.migrate"], bundle.path, plain_environment(), migrated)
        == "the database is at head"
    )


@full_only
def test_the_migration_starts_from_its_image(image: Callable[..., Image], migrated: str) -> None:
    made = image(MIGRATE)
    command = [str(made.python) if word == "python" else word for word in made.command]
    told = migrate(command, made.inside("."), plain_environment() | made.environment(), migrated)
    assert told == "the database is at head"


def migrate(command: list[str], folder: Path, environment: dict[str, str], url: str) -> str:
    """Run the migration's command on a database that needs none; what it says last."""
    told = environment | {"FILLBOOK_ENV": "local", "FILLBOOK_DATABASE_URL": url}
    done = subprocess.run(command, env=told, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip().splitlines()[-1]


@full_only
@pytest.mark.parametrize("name", MANIFEST.functions)
def test_every_function_has_an_image_that_is_equal_twice_and_answers(
    name: str, image: Callable[..., Image], tmp_path: Path
) -> None:
    made, entry = image(name, "first"), MANIFEST.functions[name]
    with started(made, deployed(entry), tmp_path / "log") as served:
        assert stranger(served, entry) == 401
    if entry.job_entry is not None:
        python, flag, text = names.job_command(entry)
        assert python == "python"
        looked = text.replace(f"main.{entry.job_entry}()", f"print(callable(main.{entry.job_entry}))")
        told = deployed(entry) | made.environment()
        command = [str(made.python), flag, looked]
        done = subprocess.run(command, env=told, cwd=made.inside("."), capture_output=True, text=True, check=True)
        assert done.stdout == "True\n"
    assert image(name, "second").digest() == made.digest()
