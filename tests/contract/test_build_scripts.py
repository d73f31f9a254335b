"""What the steps of the build files ask of docker and gcloud, argument by argument; and what they refuse to ask."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from infra.cloud import names
from infra.door import builds
from infra.manifest import load
from tests.support.stand_ins import Workspace

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = load()
BUILD, BACK = "cloudbuild.yaml", f"{builds.CLOUD}/rollback.yaml"
ONE, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
BASE = f"python:3.11-slim-bookworm@{OTHER}"
REGISTRY = f"{MANIFEST.region}-docker.pkg.dev/desk-1/{names.REPOSITORY}"
AT = f"--region={MANIFEST.region}"
WITH_JOB = next(entry.name for entry in MANIFEST.functions.values() if entry.job_entry is not None)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """As after the build step: flags as committed, images by digest."""
    space = Workspace(tmp_path)
    shutil.copytree(ROOT / builds.DEPLOY, space.folder / builds.DEPLOY)
    (space.folder / "build").mkdir()
    for name in (*MANIFEST.functions, names.MIGRATE_ENTRY):
        (space.folder / "build" / f"{name}.image").write_text(f"{REGISTRY}/{name}@{ONE}\n")
    return space


def test_both_images_are_built_pushed_and_known_by_the_digest_that_the_registry_gave(tmp_path: Path) -> None:
    images = {name: f"{REGISTRY}/{name}@{ONE}" for name in ("outbox_relay", names.MIGRATE_ENTRY)}
    answers = {
        f"inspect --format={{{{range .RepoDigests}}}}{{{{println .}}}}{{{{end}}}} {REGISTRY}/{name}:b-7": text
        for name, text in images.items()
    }
    space = Workspace(tmp_path, answers)
    (space.folder / "build").mkdir()
    ran = space.run(BUILD, "build", _FUNCTION="outbox_relay", _BASE=BASE)
    assert (ran.status, ran.stderr) == (0, "")
    asked = [call for call in ran.without_quiet() if not call.startswith("docker inspect")]
    made = (
        f"docker build --file={builds.DOCKERFILE} --target={{}} --build-arg=BASE={BASE} --build-arg=BUNDLE={{}} --tag={{}} build"
    )
    wanted = []
    for name, target in (("outbox_relay", "function"), (names.MIGRATE_ENTRY, "migrate")):
        tag = f"{REGISTRY}/{name}:b-7"
        wanted += [made.format(target, name, tag), f"docker push {tag}"]
    assert asked == wanted
    assert {name: (space.folder / "build" / f"{name}.image").read_text().strip() for name in images} == images


@pytest.mark.parametrize("base", ["python:3.11-slim-bookworm", "python@sha256:12", "python:3.11@sha256:" + "g" * 64, f"{BASE} "])
def test_a_base_that_is_not_named_by_digest_is_refused_before_anything_is_built(tmp_path: Path, base: str) -> None:
    ran = Workspace(tmp_path).run(BUILD, "build", _FUNCTION="outbox_relay", _BASE=base)
    assert (ran.status, ran.calls) == (2, ())
    assert "by digest" in ran.stderr


def test_an_image_whose_digest_is_not_known_is_not_deployed(tmp_path: Path) -> None:
    space = Workspace(tmp_path)  # a registry that answers nothing
    (space.folder / "build").mkdir()
    assert space.run(BUILD, "build", _FUNCTION="outbox_relay", _BASE=BASE).status != 0


def test_the_migration_is_the_jobs_own_work_and_is_waited_for(workspace: Workspace) -> None:
    assert workspace.run(BUILD, "migrate").without_quiet() == [
        f"gcloud run jobs update {names.MIGRATE_JOB} {AT} --image={REGISTRY}/{names.MIGRATE_ENTRY}@{ONE}",
        f"gcloud run jobs execute {names.MIGRATE_JOB} {AT} --wait",
    ]


@pytest.mark.parametrize("function", MANIFEST.functions)
def test_a_function_is_deployed_by_digest_with_its_flags_and_gets_the_traffic(workspace: Workspace, function: str) -> None:
    entry = MANIFEST.functions[function]
    ran = workspace.run(BUILD, "deploy", _FUNCTION=function)
    image, flags = f"--image={REGISTRY}/{function}@{ONE}", f"--flags-file={builds.DEPLOY}/{function}"
    job = [f"gcloud run jobs update {entry.job_name} {AT} {flags}-job.yaml {image}"] if entry.job_entry is not None else []
    assert (ran.status, ran.stderr) == (0, "")
    assert ran.without_quiet() == [
        f"gcloud run services describe {entry.cloud_name} {AT} --format=value(metadata.name)",
        f"gcloud run services update {entry.cloud_name} {AT} {flags}.yaml {image}",
        f"gcloud run services update-traffic {entry.cloud_name} {AT} --to-latest",
        *job,
    ]


def test_the_other_way_is_a_function_from_the_source_of_its_bundle(workspace: Workspace) -> None:
    asked = workspace.run(BUILD, "deploy", _FUNCTION="outbox_relay", _WAY="source").without_quiet()
    flags = f"--flags-file={builds.DEPLOY}/outbox_relay.yaml"
    assert asked[1] == (
        f"gcloud run deploy outbox-relay {AT} {flags} --source=build/outbox_relay --function=outbox_relay --base-image=python311"
    )
    assert asked[2].endswith("--to-latest")


@pytest.mark.parametrize(("step", "bundle"), [("deploy", "outbox_relay"), ("migrate", names.MIGRATE_ENTRY)])
def test_without_a_digest_nothing_is_asked(workspace: Workspace, step: str, bundle: str) -> None:
    (workspace.folder / "build" / f"{bundle}.image").unlink()
    ran = workspace.run(BUILD, step, _FUNCTION="outbox_relay")
    assert ran.status != 0
    assert ran.calls == ()


def test_after_the_migration_alone_nothing_is_deployed(workspace: Workspace) -> None:
    ran = workspace.run(BUILD, "deploy", _FUNCTION=names.MIGRATE_ENTRY)
    assert (ran.status, ran.calls) == (0, ())


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"_FUNCTION": "nobody"}, "no such function"),
        ({"_FUNCTION": "../deploy/outbox_relay"}, "no such function"),
        ({"_FUNCTION": 'outbox_relay"; gcloud projects delete desk-1; "'}, "no such function"),
        ({"_FUNCTION": "outbox_relay", "_WAY": "hand"}, "image or source"),
    ],
)
def test_a_deployment_of_something_unknown_changes_nothing(workspace: Workspace, given: dict[str, str], reason: str) -> None:
    ran = workspace.run(BUILD, "deploy", **given)
    assert ran.status == 2
    assert reason in ran.stderr
    assert [call for call in ran.without_quiet() if " describe " not in call] == [], "looking is no change"


REVISIONS = f"""\
relay-00009-abc {REGISTRY}/outbox_relay@{OTHER} {REGISTRY}/outbox_relay@{OTHER}
relay-00007-abc {REGISTRY}/outbox_relay@{ONE} {REGISTRY}/outbox_relay@{ONE}
relay-00003-abc {REGISTRY}/outbox_relay@{ONE} {REGISTRY}/outbox_relay@{ONE}"""


def test_the_way_back_moves_the_traffic_to_the_newest_revision_that_ran_the_image(tmp_path: Path) -> None:
    ran = Workspace(tmp_path, {"revisions list": REVISIONS}).run(BACK, "rollback", _FUNCTION="outbox_relay", _DIGEST=ONE)
    assert (ran.status, ran.stderr) == (0, "")
    asked = ran.without_quiet()
    assert asked[0].startswith(f"gcloud run revisions list --service=outbox-relay {AT} --sort-by=~metadata.creationTimestamp")
    assert asked[1:] == [f"gcloud run services update-traffic outbox-relay {AT} --to-revisions=relay-00007-abc=100"]


def test_the_way_back_takes_the_functions_job_along(tmp_path: Path) -> None:
    entry = MANIFEST.functions[WITH_JOB]
    revisions = f"it-00002-xyz {REGISTRY}/{WITH_JOB}@{ONE} -"
    asked = Workspace(tmp_path, {"revisions list": revisions}).run(BACK, "rollback", _FUNCTION=WITH_JOB, _DIGEST=ONE)
    assert asked.without_quiet()[2:] == [f"gcloud run jobs update {entry.job_name} {AT} --image={REGISTRY}/{WITH_JOB}@{ONE}"]


def test_an_image_is_taken_up_anew_with_the_settings_of_today_when_that_is_asked(tmp_path: Path) -> None:
    ran = Workspace(tmp_path).run(BACK, "rollback", _FUNCTION="outbox_relay", _DIGEST=ONE, _HOW="anew")
    assert ran.without_quiet() == [
        f"gcloud run services update outbox-relay {AT} --image={REGISTRY}/outbox_relay@{ONE}",
        f"gcloud run services update-traffic outbox-relay {AT} --to-latest",
    ]


def test_an_image_that_no_revision_ran_moves_no_traffic(tmp_path: Path) -> None:
    absent = "sha256:" + "3" * 64
    ran = Workspace(tmp_path, {"revisions list": REVISIONS}).run(BACK, "rollback", _FUNCTION="outbox_relay", _DIGEST=absent)
    assert ran.status == 3
    assert "_HOW=anew" in ran.stderr
    assert [call for call in ran.without_quiet() if "update" in call] == []


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"_DIGEST": "latest"}, "a tag may have moved"),
        ({"_DIGEST": "v12"}, "a tag may have moved"),
        ({"_DIGEST": f"{REGISTRY}/outbox_relay:b-7"}, "a tag may have moved"),
        ({"_DIGEST": ONE[:-1]}, "64 digits"),
        ({"_DIGEST": ONE.upper()}, "64 digits"),
        ({"_DIGEST": f"{ONE}; gcloud projects delete desk-1"}, "64 digits"),
        ({"_FUNCTION": "nobody"}, "no such function"),
        ({"_FUNCTION": "outbox-relay"}, "no such function"),
        ({"_HOW": "fast"}, "traffic or anew"),
    ],
)
def test_the_way_back_refuses_a_tag_and_whatever_it_does_not_know(tmp_path: Path, given: dict[str, str], reason: str) -> None:
    ran = Workspace(tmp_path).run(BACK, "rollback", **{"_FUNCTION": "outbox_relay", "_DIGEST": ONE} | given)
    assert (ran.status, ran.calls) == (2, ())
    assert reason in ran.stderr
