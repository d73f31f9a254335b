"""What is built and deployed in the cloud, written from the manifest: the build, the way back, what starts a build, the flags.

``cloudbuild.yaml`` checks, tests, bundles, builds and migrates, and deploys one function; ``rollback.yaml`` goes back to an image
that is there already. Both change what the cloud program made and make nothing themselves: no service, right or secret. The
version of a secret is pinned by the cloud program alone; a build that named versions would undo a rotation. What a person or a
trigger hands over reaches a shell as a variable, never as text in a script. Pure, but for reading what a function reaches.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import indent
from typing import Any

import yaml

from infra.cloud import names
from infra.door import bundles, page
from infra.manifest import Function, Manifest

ROOT = Path(__file__).resolve().parents[2]
CLOUD = "infra/cloud"
DEPLOY = f"{CLOUD}/deploy"
DOCKERFILE = f"{CLOUD}/Dockerfile"
JOB_SECONDS = 3600
JOB_RETRIES = 1
BUILD_SECONDS = 5400
ROLLBACK_SECONDS = 900
DOCKER = "gcr.io/cloud-builders/docker"
GCLOUD = "gcr.io/google.com/cloudsdktool/google-cloud-cli:slim"
HEAD = "# Written by `infra/dev.py table` from infra/functions.yaml; a test fails when the two differ. Do not edit.\n"
DIGEST = "sha256:[0-9a-f]{64}"
TRIGGER_FILES = (
    "cloudbuild.yaml",
    "requirements.txt",
    DOCKERFILE,
    "infra/door/bundles.py",
    "infra/door/lock.py",
    "infra/manifest.py",
)
"""What every image is made with, beside the manifest."""

CLOUDBUILD = """\
{head}#
# Builds and deploys one function: gcloud builds submit --substitutions=_FUNCTION=signal_ingest,_BASE=python@sha256:…
# Neither has a default, on purpose; infra/docs/build.md says more. This was read, checked and run against stand-ins, never
# against a project.
serviceAccount: projects/$PROJECT_ID/serviceAccounts/{account}
substitutions:
  _WAY: image        # or `source`: the service is deployed as a function from its bundle
  _REGION: {region}
  _REPOSITORY: {repository}
options:
  logging: CLOUD_LOGGING_ONLY
timeout: {seconds}s
steps:
  - id: check
    name: $_BASE
    entrypoint: python3
    args: [infra/dev.py, check]
  - id: test
    name: $_BASE
    entrypoint: bash
    args: [.ci/run]
  - id: bundle
    name: $_BASE
    entrypoint: python3
    args: [infra/dev.py, bundle, $_FUNCTION, {migrate}]
  - id: build
    name: {docker}
    env:
      - FUNCTION=$_FUNCTION
      - BASE=$_BASE
      - REGISTRY=$_REGION-docker.pkg.dev/$PROJECT_ID/$_REPOSITORY
      - BUILD=$BUILD_ID
    script: |
{build}
  - id: migrate
    name: {gcloud}
    env:
      - REGION=$_REGION
    script: |
{migration}
  - id: deploy
    name: {gcloud}
    env:
      - FUNCTION=$_FUNCTION
      - WAY=$_WAY
      - REGION=$_REGION
    script: |
{deploy}
"""
BUILD_SCRIPT = """\
#!/bin/sh
# both images are known by digest from here on; a tag is only where they are found again
set -eu
if ! echo "$BASE" | grep -Eq '@{digest}$'; then
  echo "_BASE must name the Python image by digest (…@sha256:…): a tag is another image tomorrow" >&2
  exit 2
fi
for bundle in "$FUNCTION" {migrate}; do
  target=function
  if [ "$bundle" = {migrate} ]; then target={migrate}; fi
  image="$REGISTRY/$bundle"
  docker build --file={dockerfile} --target="$target" --build-arg=BASE="$BASE" --build-arg=BUNDLE="$bundle" \\
    --tag="$image:$BUILD" build
  docker push "$image:$BUILD"
  docker inspect --format='{{{{range .RepoDigests}}}}{{{{println .}}}}{{{{end}}}}' "$image:$BUILD" >build/digests
  grep -Ex "$image@{digest}" build/digests >"build/$bundle.image"
done
"""
MIGRATE_SCRIPT = """\
#!/bin/sh
# by the migration's own identity, as its own job: this build knows no password and no address of the database
set -eu
image=$(cat build/{migrate}.image)
gcloud run jobs update {job} --region="$REGION" --image="$image" --quiet
gcloud run jobs execute {job} --region="$REGION" --wait --quiet
"""
DEPLOY_SCRIPT = """\
#!/bin/sh
# what the cloud program made is changed here, never made: accounts, rights, secrets and networks stay as they are
set -eu
case "$FUNCTION" in
  {functions}) ;;
  {migrate}) exit 0 ;;
  *) echo "no such function: $FUNCTION" >&2; exit 2 ;;
esac
flags="{folder}/$FUNCTION"
image=$(cat "build/$FUNCTION.image")
name=$(echo "$FUNCTION" | tr _ -)
gcloud run services describe "$name" --region="$REGION" --format='value(metadata.name)'
case "$WAY" in
  image) gcloud run services update "$name" --region="$REGION" --flags-file="$flags.yaml" --image="$image" --quiet ;;
  source) gcloud run deploy "$name" --region="$REGION" --flags-file="$flags.yaml" \\
    --source="build/$FUNCTION" --function="$FUNCTION" --base-image={runtime} --quiet ;;
  *) echo "_WAY is image or source, not $WAY" >&2; exit 2 ;;
esac
# after a way back the traffic is pinned to a revision, and a new one would get none
gcloud run services update-traffic "$name" --region="$REGION" --to-latest --quiet
if [ -f "$flags-job.yaml" ]; then
  gcloud run jobs update "$name-job" --region="$REGION" --flags-file="$flags-job.yaml" --image="$image" --quiet
fi
"""
ROLLBACK = """\
{head}#
# Goes back to an image of a function by its digest, without building:
#   gcloud builds submit --no-source --config={path} --substitutions=_FUNCTION=signal_ingest,_DIGEST=sha256:…
# This was read, checked and run against stand-ins, never against a project.
serviceAccount: projects/$PROJECT_ID/serviceAccounts/{account}
substitutions:
  _HOW: traffic      # to the newest revision that ran the image; `anew` makes one of it with the settings and secrets of today
  _REGION: {region}
  _REPOSITORY: {repository}
options:
  logging: CLOUD_LOGGING_ONLY
timeout: {seconds}s
steps:
  - id: rollback
    name: {gcloud}
    env:
      - FUNCTION=$_FUNCTION
      - DIGEST=$_DIGEST
      - HOW=$_HOW
      - REGION=$_REGION
      - REGISTRY=$_REGION-docker.pkg.dev/$PROJECT_ID/$_REPOSITORY
    script: |
{script}
"""
ROLLBACK_SCRIPT = """\
#!/bin/sh
set -eu
case "$FUNCTION" in
  {functions}) ;;
  *) echo "no such function: $FUNCTION" >&2; exit 2 ;;
esac
if ! echo "$DIGEST" | grep -Eqx '{digest}'; then
  echo "_DIGEST must be sha256: and 64 digits: a tag may have moved since" >&2
  exit 2
fi
name=$(echo "$FUNCTION" | tr _ -)
image="$REGISTRY/$FUNCTION@$DIGEST"
case "$HOW" in
  traffic)
    gcloud run revisions list --service="$name" --region="$REGION" --sort-by=~metadata.creationTimestamp \\
      --format='csv[no-heading,separator=" "](metadata.name,status.imageDigest,spec.containers[0].image)' >revisions
    revision=$(grep -F "@$DIGEST" revisions | head -n 1 | cut -d ' ' -f 1)
    if [ -z "$revision" ]; then
      echo "no revision of $name ran $DIGEST; _HOW=anew makes one" >&2
      exit 3
    fi
    gcloud run services update-traffic "$name" --region="$REGION" --to-revisions="$revision=100" --quiet ;;
  anew)
    gcloud run services update "$name" --region="$REGION" --image="$image" --quiet
    gcloud run services update-traffic "$name" --region="$REGION" --to-latest --quiet ;;
  *) echo "_HOW is traffic or anew, not $HOW" >&2; exit 2 ;;
esac
case "$FUNCTION" in
  {jobs}) gcloud run jobs update "$name-job" --region="$REGION" --image="$image" --quiet ;;
esac
"""


def cloudbuild(manifest: Manifest) -> str:
    """``cloudbuild.yaml``: check, test, bundle, build, migrate and deploy one function, named by substitution."""
    migrate = names.MIGRATE_ENTRY
    build = BUILD_SCRIPT.format(digest=DIGEST, dockerfile=DOCKERFILE, migrate=migrate)
    migration = MIGRATE_SCRIPT.format(job=names.MIGRATE_JOB, migrate=migrate)
    functions, runtime = "|".join(manifest.functions), f"python{manifest.python.replace('.', '')}"
    deploy = DEPLOY_SCRIPT.format(folder=DEPLOY, functions=functions, migrate=migrate, runtime=runtime)
    return CLOUDBUILD.format(
        **_common(manifest, BUILD_SECONDS),
        docker=DOCKER,
        migrate=migrate,
        build=_script(build),
        migration=_script(migration),
        deploy=_script(deploy),
    )


def rollback(manifest: Manifest) -> str:
    """``rollback.yaml``: the traffic of one function, and its job, back to an image that was built before."""
    jobs = [entry.name for entry in manifest.functions.values() if entry.job_entry is not None]
    script = ROLLBACK_SCRIPT.format(digest=DIGEST, functions="|".join(manifest.functions), jobs="|".join(jobs))
    return ROLLBACK.format(**_common(manifest, ROLLBACK_SECONDS), path=f"{CLOUD}/rollback.yaml", script=_script(script))


def _common(manifest: Manifest, seconds: int) -> dict[str, Any]:
    account = names.email(names.BUILD_ACCOUNT, "$PROJECT_ID")
    common = {"head": HEAD, "account": account, "region": manifest.region, "repository": names.REPOSITORY}
    return {**common, "seconds": seconds, "gcloud": GCLOUD}


def _script(text: str) -> str:
    return indent(text, " " * 6).rstrip("\n")


def settings(entry: Function) -> dict[str, str]:
    """The settings that belong to a function's code and so are deployed with it; those of a place are the cloud program's."""
    # behind IAM the platform checks the token's signature and cuts it off; our code then checks the rest of it
    asks_identity = any(route.caller in ("oidc", "admin") for route in entry.routes)
    verified = {"FILLBOOK_OIDC_PLATFORM_VERIFIED": "true"} if asks_identity and not names.is_keyed(entry) else {}
    known = {name: value for name, value in entry.env.items() if value is not None}
    return {"FILLBOOK_ENV": "cloud", "THREADS": str(entry.threads), **verified, **known}


def service_flags(entry: Function) -> dict[str, Any]:
    """The flags of a service's deployment, as ``gcloud --flags-file`` reads them."""
    return {
        "--timeout": str(entry.timeout_seconds),
        "--memory": f"{entry.memory_mb}Mi",
        "--concurrency": str(entry.threads),
        "--min-instances": str(entry.min_instances),
        "--max-instances": str(entry.max_instances),
        "--update-env-vars": settings(entry),
    }


def job_flags(entry: Function) -> dict[str, Any]:
    """The flags of its job's deployment."""
    command = names.job_command(entry)
    return {
        "--task-timeout": str(JOB_SECONDS),
        "--max-retries": str(JOB_RETRIES),
        "--memory": f"{entry.memory_mb}Mi",
        "--command": [command[0]],
        "--args": list(command[1:]),
        "--update-env-vars": settings(entry),
    }


def triggers(manifest: Manifest, root: Path = ROOT) -> list[dict[str, Any]]:
    """What starts a build of what: one trigger per function and one of the migration alone, as Cloud Build names their parts.

    A function is built again when a file changes that its bundle is made of or with. Where the repository is, and the base
    image, is for the cloud program to add.
    """
    found = [_trigger(entry.cloud_name, entry.name, _sources(entry.name, root)) for entry in manifest.functions.values()]
    migration = [f"{bundles.MIGRATION_FOLDER}/**", *sorted(name for name in bundles.MIGRATION if name not in TRIGGER_FILES)]
    return [*found, _trigger(names.MIGRATE_JOB, names.MIGRATE_ENTRY, migration)]


def _trigger(name: str, bundle: str, sources: list[str]) -> dict[str, Any]:
    return {
        "name": f"build-{name}",
        "filename": "cloudbuild.yaml",
        "includedFiles": list(dict.fromkeys([*sources, "infra/functions.yaml", *TRIGGER_FILES])),
        "substitutions": {"_FUNCTION": bundle},
    }


def _sources(name: str, root: Path) -> list[str]:
    """Patterns of the files that a function's bundle is made of: its folder, its flags, each room that it reaches."""
    shared = root / "shared"
    carried = bundles.package_files(bundles.reached(root / "functions" / name / "main.py", shared), shared)
    below = [path.relative_to(shared / bundles.PACKAGE).parts for path in carried]
    rooms = sorted({parts[0] for parts in below if len(parts) > 1})
    patterns = [f"shared/{bundles.PACKAGE}/*", *(f"shared/{bundles.PACKAGE}/{room}/**" for room in rooms)]
    sources = ["infra/page/**", "infra/door/page.py"] if name == page.FUNCTION else []
    return [f"functions/{name}/**", *patterns, *sources, f"{DEPLOY}/{name}.yaml", f"{DEPLOY}/{name}-job.yaml"]


def outputs(manifest: Manifest) -> dict[Path, str]:
    """Every file this module writes, with the content it must have."""
    found = {
        ROOT / "cloudbuild.yaml": cloudbuild(manifest),
        ROOT / CLOUD / "rollback.yaml": rollback(manifest),
        ROOT / CLOUD / "triggers.yaml": HEAD + dumped(triggers(manifest)),
    }
    return found | {ROOT / path: text for path, text in flag_files(manifest).items()}


def flag_files(manifest: Manifest) -> dict[str, str]:
    """The files of flags by path: of every service, and of every job."""
    found = {f"{DEPLOY}/{entry.name}.yaml": HEAD + dumped(service_flags(entry)) for entry in manifest.functions.values()}
    jobs = [entry for entry in manifest.functions.values() if entry.job_entry is not None]
    return found | {f"{DEPLOY}/{entry.name}-job.yaml": HEAD + dumped(job_flags(entry)) for entry in jobs}


def dumped(value: object) -> str:
    """A value as YAML, in its own order."""
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=False, width=120)
