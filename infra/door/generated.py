"""``table``: writes what is derived: the README's table of functions, ``cloudbuild.yaml``, the page's types of the read API.

All are committed so that they can be read where people look; a contract test fails when they differ from what this
module would write. It refuses to claim anything: the build file says what would be run, not that it ever was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.door import pagetypes
from infra.manifest import Function, Manifest, load

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- functions: begin -->", "<!-- functions: end -->"
JOB_SECONDS = 3600
BUILD_IMAGE = "python:{python}-slim-bookworm"
CLOUDBUILD = """\
# Written by `infra/dev.py table` from infra/functions.yaml; a test fails when the two differ. Do not edit.
#
# Deploys one function: gcloud builds submit --substitutions=_FUNCTION=signal_ingest,_DATABASE_URL_SECRET=…
# It has been read and checked offline; nobody has run it against a project yet. What it takes for granted (topics,
# schedules, service accounts, secrets, the database) is made by the cloud program, not here.
substitutions:
  _FUNCTION: {first}
  _REGION: {region}
  _REPOSITORY: fillbook
  _DATABASE_URL_SECRET: fillbook-database-url
options:
  logging: CLOUD_LOGGING_ONLY
  dynamicSubstitutions: true
availableSecrets:
  secretManager:
    - versionName: projects/$PROJECT_ID/secrets/${{_DATABASE_URL_SECRET}}/versions/latest
      env: FILLBOOK_DATABASE_URL
steps:
  - id: check
    name: {image}
    entrypoint: python3
    args: [infra/dev.py, check]
  - id: test
    name: {image}
    entrypoint: bash
    args: [.ci/run]
  - id: bundle
    name: {image}
    entrypoint: python3
    args: [infra/dev.py, bundle, "$_FUNCTION"]
  - id: build
    name: gcr.io/k8s-skaffold/pack
    entrypoint: pack
    args:
      - build
      - $_REGION-docker.pkg.dev/$PROJECT_ID/$_REPOSITORY/$_FUNCTION:$BUILD_ID
      - --path=build/$_FUNCTION
      - --builder=gcr.io/buildpacks/builder:google-22
      - --env=GOOGLE_FUNCTION_TARGET=$_FUNCTION
      - --env=GOOGLE_RUNTIME_VERSION={python}
      - --publish
  - id: migrate
    name: {image}
    entrypoint: python3
    args: [infra/dev.py, migrate]
    secretEnv: [FILLBOOK_DATABASE_URL]
  - id: deploy
    name: gcr.io/google.com/cloudsdktool/cloud-sdk:slim
    entrypoint: bash
    args:
      - -ceu
      - |
        case "$_FUNCTION" in
{cases}
          *) echo "no such function: $_FUNCTION" >&2; exit 2 ;;
        esac
        gcloud run deploy "$$name" --region="$_REGION" $$flags \\
          --image="$_REGION-docker.pkg.dev/$PROJECT_ID/$_REPOSITORY/$_FUNCTION:$BUILD_ID"
        case "$_FUNCTION" in
{jobs}
          *) exit 0 ;;
        esac
        gcloud run jobs deploy "$$name" --region="$_REGION" $$flags \\
          --command=launcher --args="python,-c,import main; main.$$entry()" \\
          --image="$_REGION-docker.pkg.dev/$PROJECT_ID/$_REPOSITORY/$_FUNCTION:$BUILD_ID"
timeout: 3600s
"""


def readme_table(manifest: Manifest) -> str:
    """The table of functions as Markdown, one row each in the manifest's order."""
    lines = ["| function | what it does | started by |", "|---|---|---|"]
    lines += [f"| `{entry.name}` | {entry.purpose} | {starters(manifest, entry)} |" for entry in manifest.functions.values()]
    return "\n".join(lines)


def starters(manifest: Manifest, entry: Function) -> str:
    """What makes a function run, in words: its topics, its schedules, its public routes."""
    topics = [f"`{item.topic}`" for item in manifest.subscriptions if item.function == entry.name]
    crons = sorted({f"`{item.cron}`" for item in manifest.schedules if item.function == entry.name})
    routes = [f"`{item.method} {item.path}`" for item in entry.routes if item.caller != "oidc"]
    parts = [("topics " + ", ".join(topics)) if topics else "", ("cron " + ", ".join(crons)) if crons else ""]
    shown = ", ".join(routes[:2]) + (" …" if len(routes) > 2 else "")
    return "; ".join(part for part in (shown, *parts) if part)


def readme(text: str, manifest: Manifest) -> str:
    """``text`` with its table written anew between the two markers; ``ValueError`` when a marker is missing."""
    before, found_begin, rest = text.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found_begin or not found_end:
        raise ValueError(f"the README needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{readme_table(manifest)}\n{END}{after}"


def cloudbuild(manifest: Manifest) -> str:
    """``cloudbuild.yaml``: check, test, bundle, build, migrate and deploy one function, named by substitution."""
    return CLOUDBUILD.format(
        first=next(iter(manifest.functions)),
        image=BUILD_IMAGE.format(python=manifest.python),
        python=manifest.python,
        region=manifest.region,
        cases=deploy_cases(manifest),
        jobs=job_cases(manifest),
    )


def deploy_cases(manifest: Manifest) -> str:
    """One line of shell per function: its cloud name and the flags that its limits ask for."""
    return "\n".join(
        f'          {entry.name}) name={entry.cloud_name}; flags="{" ".join(flags(entry))}" ;;'
        for entry in manifest.functions.values()
    )


def job_cases(manifest: Manifest) -> str:
    """One line of shell per function that is deployed as a job too: its entry in main.py, and the flags jobs know."""
    known = ("--memory=", "--service-account=", "--update-env-vars=", "--update-secrets=")
    lines = []
    for entry in manifest.functions.values():
        if entry.job_entry is not None:
            kept = [flag for flag in flags(entry) if flag.startswith(known)]
            shown = " ".join([f"--task-timeout={JOB_SECONDS}", "--max-retries=1", *kept])
            lines.append(f'          {entry.name}) name={entry.job_name}; entry={entry.job_entry}; flags="{shown}" ;;')
    return "\n".join(lines)


def flags(entry: Function) -> list[str]:
    """The deploy flags of one function; only a function with a route of its own credential is open to the internet."""
    public = any(route.caller != "oidc" for route in entry.routes)
    # behind IAM the platform checks the token's signature and cuts it off; our code then checks the rest of it
    verified = {} if public else {"FILLBOOK_OIDC_PLATFORM_VERIFIED": "true"}
    known = {name: value for name, value in entry.env.items() if value is not None}
    # ^;^ changes gcloud's separator, because some values are lists with commas
    settings = ";".join(
        f"{name}={value}"
        for name, value in ({"FILLBOOK_ENV": "cloud", "THREADS": str(entry.concurrency)} | verified | known).items()
    )
    secrets = ",".join(f"{name}={secret_id(name)}:latest" for name in entry.secrets)
    return [
        f"--timeout={entry.timeout_seconds}",
        f"--memory={entry.memory_mb}Mi",
        f"--concurrency={entry.concurrency}",
        f"--min-instances={entry.min_instances}",
        f"--max-instances={entry.max_instances}",
        f"--service-account={entry.service_account}@$PROJECT_ID.iam.gserviceaccount.com",
        "--allow-unauthenticated" if public else "--no-allow-unauthenticated",
        f"--update-env-vars=^;^{settings}",
        *([f"--update-secrets={secrets}"] if secrets else []),
    ]


def secret_id(name: str) -> str:
    """The name of a secret in the cloud: the setting's name in small letters with hyphens."""
    return name.lower().replace("_", "-")


def outputs(manifest: Manifest) -> dict[Path, str]:
    """Every generated file with the content it must have."""
    path = ROOT / "README.md"
    return {
        path: readme(path.read_text("utf-8"), manifest),
        ROOT / "cloudbuild.yaml": cloudbuild(manifest),
        ROOT / pagetypes.FILE: pagetypes.types(read_api()),
    }


def read_api() -> dict[str, Any]:
    """The OpenAPI document of the read API, as the function tells it."""
    from fillbook.tracker import openapi
    from fillbook.tracker.api import ROUTES

    return openapi.document(ROUTES)


def run(argv: list[str]) -> int:
    """Write them; say which changed. Takes no arguments."""
    if argv:
        print("table takes no arguments")
        return 2
    for path, text in outputs(load()).items():
        changed = not path.exists() or path.read_text("utf-8") != text
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        print(f"{path.relative_to(ROOT)}: {'written' if changed else 'as it was'}")
    return 0
